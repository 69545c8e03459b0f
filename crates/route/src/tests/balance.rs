use proptest::prelude::*;

use super::*;

/// A bit for each server that was tried.
fn tried(mask: u64) -> Tried {
    (0..64).filter(|at| mask >> at & 1 == 1).collect()
}

fn weighted(weights: &[u32]) -> Vec<ServerSpec> {
    let spec = |weight: &u32| ServerSpec {
        weight: *weight,
        ..ServerSpec::default()
    };
    weights.iter().map(spec).collect()
}

fn pick(balancer: &mut Balancer, now_ms: u64) -> Option<usize> {
    balancer.pick(now_ms, b"", &|_| 0, &tried(0))
}

fn picks(balancer: &mut Balancer, now_ms: u64, count: usize) -> Vec<usize> {
    (0..count).filter_map(|_| pick(balancer, now_ms)).collect()
}

fn shares(chosen: &[usize], servers: usize) -> Vec<usize> {
    (0..servers)
        .map(|server| chosen.iter().filter(|at| **at == server).count())
        .collect()
}

#[test]
fn test_round_robin_is_smooth_as_in_nginx() {
    let mut balancer = Balancer::new(Balance::RoundRobin, weighted(&[5, 1, 1]));
    assert_eq!(picks(&mut balancer, 0, 7), [0, 0, 1, 0, 2, 0, 0]);
}

proptest! {
    #[test]
    fn test_round_robin_heeds_weights_over_a_cycle(weights in prop::collection::vec(1_u32..20, 1..8), cycles in 1_usize..4) {
        let sum: u32 = weights.iter().sum();
        let mut balancer = Balancer::new(Balance::RoundRobin, weighted(&weights));
        for _ in 0..cycles {
            let chosen = picks(&mut balancer, 0, sum as usize);
            let expected: Vec<usize> = weights.iter().map(|weight| *weight as usize).collect();
            prop_assert_eq!(shares(&chosen, weights.len()), expected);
        }
    }

    #[test]
    fn test_a_pick_is_never_tried_full_or_weightless(
        way in prop::sample::select(vec![
            Balance::RoundRobin, Balance::LeastConn, Balance::LeastTime, Balance::P2c, Balance::Random, Balance::IpHash,
            Balance::Hash, Balance::First,
        ]),
        servers in prop::collection::vec((0_u32..3, any::<bool>(), 0_u32..3, 0_u32..3), 0..6),
        steps in prop::collection::vec((any::<u8>(), 0_u64..64, 0_u64..9_000), 1..30),
    ) {
        let specs = servers.iter().map(|(weight, backup, limit, _)| ServerSpec {
            weight: *weight, backup: *backup, max_connections: *limit, ..ServerSpec::default()
        });
        let mut balancer = Balancer::new(way, specs.collect());
        let mut now_ms = 0;
        for (key, mask, pause_ms) in steps {
            now_ms += pause_ms;
            let is_usable = |at: usize| {
                let (weight, _, limit, held) = servers[at];
                weight > 0 && mask >> at & 1 == 0 && (limit == 0 || held < limit)
            };
            let chosen = balancer.pick(now_ms, &[key], &|at: usize| servers[at].3, &tried(mask));
            prop_assert_eq!(chosen.is_some(), (0..servers.len()).any(is_usable));
            if let Some(server) = chosen {
                prop_assert!(is_usable(server));
                if key % 2 == 0 { balancer.failed(server, now_ms); } else { balancer.succeeded(server, now_ms); }
            }
        }
    }
}

#[test]
fn test_least_conn_compares_connections_with_weight() {
    let mut balancer = Balancer::new(Balance::LeastConn, weighted(&[1, 2, 1]));
    let chosen = balancer.pick(0, b"", &|at| [2, 3, 2][at], &tried(0));
    assert_eq!(chosen, Some(1));
    let chosen = balancer.pick(0, b"", &|at| [1, 3, 4][at], &tried(0));
    assert_eq!(chosen, Some(0));
}

#[test]
fn test_least_conn_goes_round_among_equals() {
    let mut balancer = Balancer::new(Balance::LeastConn, weighted(&[1, 1, 1]));
    assert_eq!(shares(&picks(&mut balancer, 0, 9), 3), [3, 3, 3]);
}

#[test]
fn test_random_heeds_weights_and_its_seed() {
    let mut balancer = Balancer::new(Balance::Random, weighted(&[1, 3]));
    let chosen = picks(&mut balancer, 0, 8000);
    let share = shares(&chosen, 2)[0];
    assert!((1800..2200).contains(&share), "{share}");
    let again = |seed: u64| {
        let mut balancer = Balancer::new(Balance::Random, weighted(&[1, 1]));
        balancer.seed(seed);
        picks(&mut balancer, 0, 64)
    };
    assert_eq!(again(7), again(7));
    assert_ne!(again(7), again(8));
}

#[test]
fn test_ip_hash_moves_only_the_keys_of_a_server_that_leaves() {
    let mut balancer = Balancer::new(Balance::IpHash, weighted(&[1, 1, 2]));
    let all = |balancer: &mut Balancer, mask: u64| -> Vec<usize> {
        let address = |n: u32| n.to_be_bytes();
        (0..4000)
            .filter_map(|n| balancer.pick(0, &address(0x0a00_0000 + n), &|_| 0, &tried(mask)))
            .collect()
    };
    let before = all(&mut balancer, 0);
    let share = shares(&before, 3);
    assert!(
        (800..1200).contains(&share[0]) && (1800..2200).contains(&share[2]),
        "{share:?}"
    );
    assert_eq!(all(&mut balancer, 0), before);
    let without = all(&mut balancer, 0b100);
    for (was, is) in before.iter().zip(&without) {
        assert!(was == is || *was == 2);
        assert_ne!(*is, 2);
    }
}

#[test]
fn test_a_failed_server_is_out_for_its_timeout_then_tried_once() {
    let mut balancer = Balancer::new(Balance::RoundRobin, weighted(&[1, 1]));
    assert!(balancer.failed(0, 1000));
    assert!(!balancer.is_available(0, 11_000));
    assert_eq!(shares(&picks(&mut balancer, 11_000, 10), 2), [0, 10]);
    assert!(balancer.is_available(0, 11_001));
    // One trial, and no second one while its outcome is open.
    assert_eq!(shares(&picks(&mut balancer, 11_001, 10), 2)[0], 1);
    assert!(!balancer.is_available(0, 11_002));
    balancer.succeeded(0, 11_003);
    assert!(balancer.is_available(0, 11_003));
    assert_eq!(shares(&picks(&mut balancer, 11_003, 10), 2), [5, 5]);
}

#[test]
fn test_a_failed_trial_keeps_the_server_out_and_is_not_reported_again() {
    let mut balancer = Balancer::new(Balance::RoundRobin, weighted(&[1, 1]));
    assert!(balancer.failed(0, 0));
    while pick(&mut balancer, 20_000) != Some(0) {}
    assert!(!balancer.failed(0, 20_001));
    assert!(!balancer.is_available(0, 30_001));
    assert!(balancer.is_available(0, 30_002));
}

#[test]
fn test_successes_in_between_do_not_forgive_failures_within_the_timeout() {
    let spec = ServerSpec {
        max_fails: 3,
        ..ServerSpec::default()
    };
    let mut balancer = Balancer::new(Balance::RoundRobin, vec![spec, spec]);
    assert!(!balancer.failed(0, 0));
    balancer.succeeded(0, 1);
    assert!(!balancer.failed(0, 2));
    balancer.succeeded(0, 3);
    assert!(balancer.failed(0, 4));
}

#[test]
fn test_failures_are_forgiven_after_a_quiet_timeout() {
    let spec = ServerSpec {
        max_fails: 2,
        ..ServerSpec::default()
    };
    let mut balancer = Balancer::new(Balance::RoundRobin, vec![spec, spec]);
    assert!(!balancer.failed(0, 0));
    picks(&mut balancer, 10_001, 2);
    balancer.succeeded(0, 10_002);
    assert!(!balancer.failed(0, 10_003));
    assert!(balancer.is_available(0, 10_003));
}

#[test]
fn test_backups_serve_only_while_no_other_is_in_rotation() {
    let backup = ServerSpec {
        backup: true,
        ..ServerSpec::default()
    };
    let mut balancer = Balancer::new(Balance::RoundRobin, vec![backup, ServerSpec::default()]);
    assert_eq!(picks(&mut balancer, 0, 3), [1, 1, 1]);
    assert!(balancer.failed(1, 0));
    assert_eq!(picks(&mut balancer, 1, 3), [0, 0, 0]);
    assert_eq!(balancer.pick(20_000, b"", &|_| 0, &tried(0b10)), Some(0));
}

#[test]
fn test_all_are_tried_again_when_all_are_out_and_success_brings_back() {
    let mut balancer = Balancer::new(Balance::RoundRobin, weighted(&[1, 1]));
    assert!(balancer.failed(0, 0));
    assert!(balancer.failed(1, 0));
    let first = pick(&mut balancer, 1).expect("all are tried again");
    assert!(!balancer.is_available(first, 1));
    balancer.succeeded(first, 2);
    assert!(balancer.is_available(first, 2));
    assert_eq!(picks(&mut balancer, 3, 4), [first; 4]);
}

#[test]
fn test_the_only_server_is_never_out() {
    let mut balancer = Balancer::new(Balance::RoundRobin, weighted(&[1]));
    for now_ms in 0..5 {
        assert!(!balancer.failed(0, now_ms));
        assert_eq!(pick(&mut balancer, now_ms), Some(0));
    }
    assert!(balancer.is_available(0, 5));
}

#[test]
fn test_nothing_is_picked_when_all_are_tried_or_full() {
    let full = ServerSpec {
        max_connections: 2,
        ..ServerSpec::default()
    };
    let mut balancer = Balancer::new(Balance::LeastConn, vec![full, full]);
    assert_eq!(balancer.pick(0, b"", &|_| 2, &tried(0)), None);
    assert_eq!(balancer.pick(0, b"", &|at| [2, 1][at], &tried(0)), Some(1));
    assert_eq!(balancer.pick(0, b"", &|_| 0, &tried(0b11)), None);
    assert_eq!(pick(&mut Balancer::new(Balance::Random, vec![]), 0), None);
}

#[test]
fn test_names_of_ways_to_balance() {
    assert_eq!("least_conn".parse(), Ok(Balance::LeastConn));
    let error = "leastconn".parse::<Balance>().expect_err("it is not a name");
    assert!(error.to_string().contains("`leastconn`"), "{error}");
    assert!(error.to_string().contains("hint: "), "{error}");
}

#[test]
fn test_first_fills_servers_in_the_order_listed() {
    let bounded = ServerSpec {
        max_connections: 2,
        ..ServerSpec::default()
    };
    let mut balancer = Balancer::new(Balance::First, vec![bounded; 3]);
    let mut loads = [0_u32; 3];
    let mut order = Vec::new();
    for _ in 0..6 {
        let server = balancer
            .pick(0, b"", &|at: usize| loads[at], &tried(0))
            .expect("one has room");
        loads[server] += 1;
        order.push(server);
    }
    assert_eq!(order, [0, 0, 1, 1, 2, 2]);
    assert_eq!(
        balancer.pick(0, b"", &|at: usize| [2, 1, 0][at], &tried(0)),
        Some(1)
    );
}

#[test]
fn test_workers_begin_their_rounds_anywhere() {
    // few requests to each of many workers: they must not all go to the servers listed first
    for count in [10, 100] {
        let mut shares = vec![0; count];
        for worker in 0..8 {
            let mut balancer = Balancer::new(Balance::RoundRobin, weighted(&vec![1; count]));
            balancer.seed(worker);
            for server in picks(&mut balancer, 0, 5) {
                shares[server] += 1;
            }
        }
        assert!(shares.iter().max() <= Some(&8), "{shares:?}");
    }
}
