//! What choosing a server costs, with 10 and with 4,000 of them, for every way of balancing.
//!
//! `cargo test --release -p headgate-route --test choice_cost -- --ignored --nocapture`

use std::hint::black_box;
use std::time::Instant;

use headgate_route::{Balance, Balancer, HashAlgorithm, HashSpec, Loads, ServerSpec, Tried};

const CHOICES: u64 = 200_000;

/// What is in flight, with a sum that is known, as the gateway has it.
struct InFlight(Vec<u32>);

impl Loads for InFlight {
    fn of(&self, server: usize) -> u32 {
        self.0[server]
    }

    fn total(&self, servers: usize) -> u64 {
        servers as u64
    }
}

fn balancer(balance: Balance, algorithm: HashAlgorithm, servers: usize) -> Balancer {
    let hash = HashSpec {
        algorithm,
        bound_percent: 125,
    };
    let specs = (1..=servers as u64).map(|identity| ServerSpec {
        identity,
        ..ServerSpec::default()
    });
    let mut balancer = Balancer::with_hash(balance, hash, specs.collect());
    balancer.seed(7);
    for server in 0..servers {
        balancer.responded(server, 1, 5_000 + 17 * (server as u64 % 101));
    }
    balancer
}

/// Nanoseconds a choice, the best of five rounds: the others were disturbed.
fn cost(balance: Balance, algorithm: HashAlgorithm, servers: usize) -> u128 {
    let mut balancer = balancer(balance, algorithm, servers);
    let loads = InFlight((0..servers).map(|server| u32::from(server % 3 == 0)).collect());
    let tried = Tried::new();
    let mut round = |round: u64| {
        let start = Instant::now();
        for number in 0..CHOICES {
            let key = (number ^ round << 32).to_be_bytes();
            black_box(balancer.pick(number / 100, black_box(&key), &loads, &tried));
        }
        start.elapsed().as_nanos() / u128::from(CHOICES)
    };
    (0..5).map(&mut round).min().expect("there are rounds")
}

#[test]
#[ignore = "a measurement: run it alone, optimised"]
fn measure_a_choice() {
    let ring = HashAlgorithm::Ring;
    let ways = [
        ("round_robin", Balance::RoundRobin, ring),
        ("least_conn", Balance::LeastConn, ring),
        ("least_time", Balance::LeastTime, ring),
        ("p2c", Balance::P2c, ring),
        ("random", Balance::Random, ring),
        ("first", Balance::First, ring),
        ("hash, ring", Balance::Hash, ring),
        ("hash, rendezvous", Balance::Hash, HashAlgorithm::Rendezvous),
        ("hash, maglev", Balance::Hash, HashAlgorithm::Maglev),
    ];
    let mut late = Vec::new();
    for (name, balance, algorithm) in ways {
        let (few, many) = (cost(balance, algorithm, 10), cost(balance, algorithm, 4_000));
        println!("{name:<18} {few:>5} ns of 10, {many:>5} ns of 4,000");
        if few > 300 || many > 1_000 {
            late.push(name);
        }
    }
    assert!(
        late.is_empty(),
        "the bar is 300 ns of 10 and 1,000 ns of 4,000: {late:?}"
    );
}
