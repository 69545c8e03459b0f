//! Spread, movement and bounds of hashed keys, against what the papers promise.
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "numbers of keys and servers are small"
)]

use super::super::*;

const ALGORITHMS: [HashAlgorithm; 3] = [
    HashAlgorithm::Ring,
    HashAlgorithm::Rendezvous,
    HashAlgorithm::Maglev,
];

fn spec(identity: u64) -> ServerSpec {
    ServerSpec {
        identity,
        ..ServerSpec::default()
    }
}

fn hashed(algorithm: HashAlgorithm, bound_percent: u32, servers: Vec<ServerSpec>) -> Balancer {
    let hash = HashSpec {
        algorithm,
        bound_percent,
    };
    Balancer::with_hash(Balance::Hash, hash, servers)
}

fn place(balancer: &mut Balancer, key: u32) -> usize {
    let found = balancer.pick(0, &key.to_be_bytes(), &|_| 0, &Tried::new());
    found.expect("one is free")
}

fn shares(balancer: &mut Balancer, servers: usize, keys: u32) -> Vec<u32> {
    let mut shares = vec![0; servers];
    (0..keys).for_each(|key| shares[place(balancer, key)] += 1);
    shares
}

#[test]
fn test_keys_spread_as_evenly_as_the_algorithms_promise() {
    for count in [1_usize, 10, 4096] {
        for algorithm in ALGORITHMS {
            let mut balancer = hashed(algorithm, 0, (1..=count as u64).map(spec).collect());
            let keys = if count == 4096 { 200_000 } else { 50_000 };
            let shares = shares(&mut balancer, count, keys);
            let mean = f64::from(keys) / count as f64;
            // the chance of the draw itself, and of a server's own part of the space: 1/sqrt(V) on a ring of V points
            // (NSDI 2016, section 5.3 for Maglev: 1 % with 100 places each), five deviations of both
            let own = match algorithm {
                HashAlgorithm::Rendezvous if count <= 64 => 0.0,
                HashAlgorithm::Ring | HashAlgorithm::Rendezvous => 1.0 / 160.0_f64.sqrt(),
                HashAlgorithm::Maglev => 0.02,
            };
            let deviation = own.hypot(1.0 / mean.sqrt());
            let most = f64::from(*shares.iter().max().expect("there are servers"));
            let least = f64::from(*shares.iter().min().expect("there are servers"));
            assert!(
                most <= mean * 5.0_f64.mul_add(deviation, 1.0),
                "{algorithm:?} {count}: {most} of {mean}"
            );
            assert!(least > 0.0, "{algorithm:?} {count}: a server has no keys");
            if count == 10 {
                assert!(
                    least >= mean * 5.0_f64.mul_add(-deviation, 1.0),
                    "{algorithm:?}: {least} of {mean}"
                );
            }
        }
    }
}

#[test]
fn test_keys_are_weighted() {
    for algorithm in ALGORITHMS {
        let weight = |weight, identity| ServerSpec {
            weight,
            ..spec(identity)
        };
        let mut balancer = hashed(algorithm, 0, vec![weight(1, 1), weight(3, 2), weight(1, 3)]);
        let shares = shares(&mut balancer, 3, 50_000);
        assert!((25_000..35_000).contains(&shares[1]), "{algorithm:?} {shares:?}");
    }
}

#[test]
fn test_few_keys_move_when_a_server_comes_or_goes() {
    for (count, keys) in [(10_u64, 10_000_u32), (200, 20_000)] {
        for algorithm in ALGORITHMS {
            let mut before = hashed(algorithm, 0, (1..=count).map(spec).collect());
            // the new one is listed first: names, not places, decide
            let names: Vec<u64> = std::iter::once(count + 1).chain(1..=count).collect();
            let mut after = hashed(algorithm, 0, names.iter().copied().map(spec).collect());
            let moved = (0..keys).filter(|key| {
                let (was, is) = (
                    place(&mut before, *key) as u64 + 1,
                    names[place(&mut after, *key)],
                );
                // Maglev may also move keys between others; the rest never does
                assert!(is == was || is == count + 1 || algorithm == HashAlgorithm::Maglev);
                is != was
            });
            let share = moved.count() as f64 / f64::from(keys) * (count + 1) as f64;
            // 1 is the least possible; the paper has Maglev move about as many again between others
            let most = if algorithm == HashAlgorithm::Maglev {
                4.0
            } else {
                1.6
            };
            assert!(share <= most, "{algorithm:?} {count}: {share} of a server's keys");
        }
    }
}

#[test]
fn test_keys_of_a_server_that_is_out_come_back_with_it() {
    for algorithm in ALGORITHMS {
        let mut balancer = hashed(algorithm, 0, (1..=10).map(spec).collect());
        let before: Vec<usize> = (0..2000).map(|key| place(&mut balancer, key)).collect();
        assert!(balancer.failed(3, 0));
        for (key, was) in (0..).zip(&before) {
            let is = place(&mut balancer, key);
            assert_ne!(is, 3);
            assert!(
                *was == 3 || is == *was,
                "{algorithm:?}: only the keys of the one that is out move"
            );
        }
        let later = |balancer: &mut Balancer, key: u32| {
            let found = balancer.pick(20_000, &key.to_be_bytes(), &|_| 0, &Tried::new());
            balancer.succeeded(3, 20_000);
            found.expect("one is free")
        };
        let again: Vec<usize> = (0..2000).map(|key| later(&mut balancer, key)).collect();
        assert_eq!(again, before);
    }
}

#[test]
fn test_a_hot_key_spills_over_and_goes_home_again() {
    for count in [10_u64, 200] {
        for algorithm in ALGORITHMS {
            let mut balancer = hashed(algorithm, 125, (1..=count).map(spec).collect());
            let home = place(&mut balancer, 7);
            let mut loads = vec![0_u32; count as usize];
            let in_flight = 20 * count as u32;
            for number in 0..in_flight {
                // six of ten have the same key
                let key = if number % 10 < 6 { 7 } else { number };
                let load = |at: usize| loads[at];
                let server = balancer.pick(0, &key.to_be_bytes(), &load, &Tried::new());
                loads[server.expect("one is free")] += 1;
            }
            let most = loads.iter().max().expect("there are servers");
            // ceil(c m / n), the paper's bound
            assert!(*most <= 25, "{algorithm:?} {count}: {most} of 20 in the mean");
            assert_eq!(place(&mut balancer, 7), home, "it is idle again");
        }
    }
}

#[test]
fn test_what_has_no_key_is_spread() {
    for count in [4_usize, 100] {
        let mut balancer = hashed(HashAlgorithm::Ring, 125, (1..=count as u64).map(spec).collect());
        balancer.seed(7);
        let mut shares = vec![0; count];
        for _ in 0..1000 * count {
            let server = balancer.pick(0, b"", &|_| 0, &Tried::new()).expect("one is free");
            shares[server] += 1;
        }
        assert!(
            shares.iter().all(|share| (800..1200).contains(share)),
            "{shares:?}"
        );
    }
}

#[test]
fn test_all_servers_are_found_by_a_key_before_none_is() {
    for count in [5_usize, 80] {
        for algorithm in ALGORITHMS {
            let mut balancer = hashed(algorithm, 125, (1..=count as u64).map(spec).collect());
            let mut tried = Tried::new();
            for _ in 0..count {
                let server = balancer.pick(0, b"key", &|_| 0, &tried).expect("one is left");
                assert!(!tried.contains(server));
                tried.insert(server);
            }
            assert_eq!(balancer.pick(0, b"key", &|_| 0, &tried), None);
        }
    }
}

#[test]
fn test_names_of_algorithms() {
    assert_eq!("maglev".parse(), Ok(HashAlgorithm::Maglev));
    let error = "ketama".parse::<HashAlgorithm>().expect_err("it is not a name");
    assert!(error.to_string().contains("`ketama`"), "{error}");
}
