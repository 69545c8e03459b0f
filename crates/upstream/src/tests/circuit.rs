use headgate_shared::metrics::ZONE_CELLS;
use headgate_shared::Zone;

use super::*;
use crate::described::describe_server;
use crate::group::Upstream;

const FIRST_CELL: u32 = 300;

/// A circuit as two workers of a gateway see it.
struct Pair {
    upstreams: [Upstream; 2],
    metrics: [Metrics; 2],
}

fn pair(probes: usize, open: u64) -> Pair {
    let zone = Zone::create(2, ZONE_CELLS).expect("a memory file can be made");
    let mut described = describe_server("10.0.0.1:80").expect("it is an address");
    described.circuit_breaker = Some(spec::CircuitBreaker {
        error_percent: 50,
        min_requests: 4,
        window: 60_000,
        open,
        max_open: open,
        probes,
        kinds: vec![FailedBy::Connect],
        statuses: vec![(500, 599)],
    });
    let build = || {
        let mut cells = FIRST_CELL..;
        Upstream::build(&described, &mut |_| cells.next().expect("there are enough")).expect("it is one")
    };
    Pair {
        upstreams: [build(), build()],
        metrics: [0, 1].map(|slot| {
            let file = zone
                .fd()
                .try_clone_to_owned()
                .expect("there are descriptors left");
            Metrics::new(Zone::open(file).expect("it is a zone"), slot)
        }),
    }
}

impl Pair {
    fn pass(&self, worker: usize) -> Option<Pass<'_>> {
        self.upstreams[worker].pass(&self.metrics[worker])
    }

    fn attempt(&self, worker: usize, status: u16) -> bool {
        let pass = self.pass(worker);
        pass.map(|mut pass| pass.responded(status)).is_some()
    }

    /// Attempts in both workers, all of which fail: four within the window that the first worker looks at.
    fn trip(&self) {
        for at in [0, 1, 0, 1, 0] {
            assert!(self.attempt(at, 503));
        }
    }

    fn is_closed(&self) -> bool {
        [0, 1].map(|worker| {
            let breaker = self.upstreams[worker].breaker.as_ref().expect("there is one");
            breaker.circuit(&self.metrics[worker])
        }) == [Circuit::Closed; 2]
    }

    fn counted(&self, counter: Counter) -> u64 {
        self.metrics[0].sum(counter as u32)
    }
}

#[test]
fn failures_of_all_workers_open_it_for_all_of_them() {
    let pair = pair(1, 60_000);
    pair.trip();
    assert!(!pair.attempt(0, 200) && !pair.attempt(1, 200));
    assert!(pair.upstreams[0].is_circuit_open(&pair.metrics[0]));
    assert_eq!(pair.counted(Counter::CircuitsOpened), 1);
    assert_eq!(pair.counted(Counter::LimitCircuit), 2);
    let known = pair.metrics[0].zone().known_servers();
    assert_eq!(known.len(), 1);
    assert!(known[0].name.ends_with('/') && known[0].state.is_circuit && known[0].ejected_ms > 0);
}

#[test]
fn what_does_not_count_neither_opens_nor_closes_it() {
    let pair = pair(1, 60_000);
    for _ in 0..20 {
        pair.pass(0).expect("it is closed").failed(FailedBy::Timeout);
    }
    for _ in 0..5 {
        assert!(pair.attempt(0, 404));
    }
    for _ in 0..4 {
        assert!(pair.attempt(0, 503));
    }
    assert!(pair.is_closed(), "four of nine");
    pair.pass(0).expect("it is closed").failed(FailedBy::Connect);
    assert!(!pair.is_closed(), "five of ten");
}

#[test]
fn a_probe_closes_it_and_what_was_counted_before_is_forgotten() {
    let pair = pair(1, 0);
    pair.trip();
    assert!(pair.attempt(1, 200), "it is half-open at once");
    assert!(pair.is_closed());
    for at in 0..3 {
        assert!(pair.attempt(at % 2, 503));
    }
    assert!(pair.is_closed(), "three are too few again");
    assert!(pair.metrics[0].zone().known_servers().is_empty());
}

#[test]
fn a_probe_that_ends_on_any_way_gives_its_place_back() {
    let pair = pair(1, 60_000);
    pair.trip();
    half_open(&pair);
    let probe = pair.pass(0).expect("the place is free");
    assert!(pair.pass(1).is_none(), "one at a time");
    drop(probe);
    let mut probe = pair.pass(1).expect("the place is free again");
    probe.failed(FailedBy::Timeout);
    drop(probe);
    assert!(
        pair.attempt(0, 404),
        "a timeout does not count here, a 404 is a success"
    );
    assert!(pair.is_closed());
}

#[test]
fn a_probe_that_is_lost_is_replaced_and_its_late_result_ignored() {
    let pair = pair(1, 60_000);
    pair.trip();
    half_open(&pair);
    let mut lost = pair.pass(0).expect("the place is free");
    let entry = pair.metrics[0]
        .zone()
        .find_server(&format!("{}/", pair.upstreams[0].name));
    let word = |word| {
        pair.metrics[0]
            .zone()
            .server_word(entry.expect("it is open"), word)
    };
    // it began long ago
    word(ServerWord::Probe0).store(1, Relaxed);
    lost.probe.as_mut().expect("it is one").since_ms = 1;
    let probe = pair.pass(1).expect("the place counts as free");
    lost.responded(200);
    assert!(!pair.is_closed());
    drop(probe);
    assert!(pair.attempt(1, 200) && pair.is_closed());
}

#[test]
fn late_results_of_the_closed_phase_are_ignored() {
    let pair = pair(1, 60_000);
    let mut late = [
        pair.pass(0).expect("it is closed"),
        pair.pass(1).expect("it is closed"),
    ];
    pair.trip();
    half_open(&pair);
    late[0].responded(200);
    late[1].responded(503);
    assert!(!pair.is_closed());
    assert_eq!(pair.counted(Counter::CircuitsOpened), 1);
}

#[test]
fn all_probes_must_succeed_and_one_failure_opens_it_again() {
    let pair = pair(3, 60_000);
    pair.trip();
    half_open(&pair);
    let mut probes: Vec<_> = (0..3)
        .map(|at| pair.pass(at % 2).expect("there are three"))
        .collect();
    assert!(pair.pass(0).is_none());
    probes[0].responded(200);
    probes[1].responded(503);
    probes[2].responded(200);
    assert!(pair.upstreams[1].is_circuit_open(&pair.metrics[1]));
    half_open(&pair);
    for at in 0..3 {
        assert!(!pair.is_closed(), "{at}");
        assert!(pair.attempt(at % 2, 200));
    }
    assert!(pair.is_closed());
}

/// The time for which it is open is over.
fn half_open(pair: &Pair) {
    let zone = pair.metrics[0].zone();
    let entry = zone.find_server(&format!("{}/", pair.upstreams[0].name));
    zone.server_word(entry.expect("it is open"), ServerWord::EjectedUntil)
        .store(1, Relaxed);
}
