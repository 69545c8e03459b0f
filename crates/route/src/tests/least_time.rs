//! Choice by time, simulated: requests come at a steady rate, and each server has its own time to respond.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::super::*;

/// How a server responds to a request that begins now: after so many microseconds, and whether well.
type Behaviour<'b> = &'b dyn Fn(usize, u64) -> (u64, bool);

struct Simulation {
    balancer: Balancer,
    loads: Vec<u32>,
    now_us: u64,
    /// End, server, time taken, and whether it went well.
    running: BinaryHeap<Reverse<(u64, usize, u64, bool)>>,
}

impl Simulation {
    fn new(balance: Balance, servers: usize) -> Self {
        let mut balancer = Balancer::new(
            balance,
            vec![
                ServerSpec {
                    max_fails: 0,
                    ..ServerSpec::default()
                };
                servers
            ],
        );
        balancer.seed(11);
        Self {
            balancer,
            loads: vec![0; servers],
            now_us: 0,
            running: BinaryHeap::new(),
        }
    }

    /// Requests for so many seconds, at a rate each second; how many each server got.
    fn run(&mut self, seconds: u64, rate: u64, open: usize, behaves: Behaviour<'_>) -> Vec<u32> {
        let mut shares = vec![0; self.loads.len()];
        // those that are not there yet
        let closed: Tried = (open..self.loads.len()).collect();
        for _ in 0..seconds * rate {
            self.now_us += 1_000_000 / rate;
            while self.running.peek().is_some_and(|next| next.0 .0 <= self.now_us) {
                let Reverse((end_us, server, took_us, is_good)) = self.running.pop().expect("it was seen");
                self.loads[server] -= 1;
                if is_good {
                    self.balancer.responded(server, end_us / 1000, took_us);
                } else {
                    self.balancer.disappointed(server, end_us / 1000, took_us);
                }
            }
            let loads = &self.loads;
            let server = self
                .balancer
                .pick(self.now_us / 1000, b"", &|at: usize| loads[at], &closed);
            let server = server.expect("one is free");
            let (took_us, is_good) = behaves(server, self.now_us);
            self.loads[server] += 1;
            shares[server] += 1;
            self.running
                .push(Reverse((self.now_us + took_us, server, took_us, is_good)));
        }
        shares
    }
}

const BY_TIME: [Balance; 2] = [Balance::LeastTime, Balance::P2c];

#[test]
fn test_a_new_server_gets_its_share_from_its_first_second() {
    for way in BY_TIME {
        let mut simulation = Simulation::new(way, 11);
        let even: Behaviour<'_> = &|_, now_us| (20_000 + now_us % 977, true);
        simulation.run(20, 2000, 10, even);
        for second in 0..5 {
            let share = f64::from(simulation.run(1, 2000, 11, even)[10]) / 2000.0 * 11.0;
            assert!((0.2..1.5).contains(&share), "{way:?}, second {second}: {share}");
        }
    }
}

#[test]
fn test_a_server_that_fails_at_once_does_not_attract() {
    for way in BY_TIME {
        let mut simulation = Simulation::new(way, 10);
        let shares = simulation.run(30, 1000, 10, &|server, now_us| {
            if server == 0 {
                (1_000, false)
            } else {
                (50_000 + now_us % 977, true)
            }
        });
        assert!(shares[0] <= 3_000, "{way:?}: {shares:?}");
    }
}

#[test]
fn test_a_server_that_fails_at_once_does_not_attract_while_all_others_are_slow() {
    for way in BY_TIME {
        // one request at a time, as of one client; the machine stalls for each of the good servers once
        let mut simulation = Simulation::new(way, 4);
        let mut failed = 0;
        for number in 0..200 {
            let is_stalled = (20..26).contains(&number);
            let shares = simulation.run(1, 1, 4, &|server, _| match server {
                0 => (500, false),
                _ if is_stalled => (60_000, true),
                _ => (1_000, true),
            });
            failed += shares[0];
            // a client that sends its next request at once
            simulation.now_us -= 990_000;
        }
        assert!(failed <= 10, "{way:?}: {failed} of 200 failed");
    }
}

#[test]
fn test_what_is_known_of_a_group_goes_on_in_its_next_configuration() {
    for way in BY_TIME {
        let mut simulation = Simulation::new(way, 4);
        simulation.run(5, 1000, 3, &|_, now_us| (20_000 + now_us % 977, true));
        let mut next = Balancer::new(way, vec![ServerSpec::default(); 4]);
        next.seed(7);
        for server in 0..3 {
            next.take_over(server, &simulation.balancer, server);
        }
        let mut loads = [0_u32; 4];
        for _ in 0..40 {
            let now_ms = simulation.now_us / 1000;
            let server = next.pick(now_ms, b"", &|at: usize| loads[at], &Tried::new());
            loads[server.expect("one is free")] += 1;
        }
        assert!(
            (2..=20).contains(&loads[3]),
            "{way:?}: the new server has {} of 40",
            loads[3]
        );
    }
}

#[test]
fn test_a_server_that_was_slow_is_asked_again() {
    for way in BY_TIME {
        let mut simulation = Simulation::new(way, 10);
        let slow: Behaviour<'_> = &|server, now_us| {
            (
                if server == 3 {
                    500_000
                } else {
                    20_000 + now_us % 977
                },
                true,
            )
        };
        simulation.run(5, 2000, 10, slow);
        let fast: Behaviour<'_> = &|_, now_us| (20_000 + now_us % 977, true);
        simulation.run(30, 2000, 10, fast);
        let shares = simulation.run(5, 2000, 10, fast);
        assert!(
            shares[3] >= 500,
            "{way:?}, after three times of decay: {shares:?}"
        );
    }
}

#[test]
fn test_slow_servers_get_less() {
    for way in BY_TIME {
        let mut simulation = Simulation::new(way, 10);
        let behaves: Behaviour<'_> = &|server, now_us| {
            (
                if server == 0 {
                    500_000
                } else {
                    5_000 + now_us % 977
                },
                true,
            )
        };
        simulation.run(5, 2000, 10, behaves);
        let shares = simulation.run(20, 2000, 10, behaves);
        // round robin gives it 4,000; with one of a hundred it would be the 99th percentile
        assert!(shares[0] <= 400, "{way:?}: {shares:?}");
    }
}

#[test]
fn test_weights_count_where_times_are_alike() {
    for way in BY_TIME {
        let spec = |weight| ServerSpec {
            weight,
            ..ServerSpec::default()
        };
        let mut balancer = Balancer::new(way, vec![spec(1), spec(4)]);
        balancer.seed(5);
        let mut loads = [0_u32; 2];
        for _ in 0..500 {
            let server = balancer
                .pick(0, b"", &|at: usize| loads[at], &Tried::new())
                .expect("one is free");
            loads[server] += 1;
        }
        assert!(
            loads[1] > 2 * loads[0] || way == Balance::P2c,
            "{way:?}: {loads:?}"
        );
    }
}
