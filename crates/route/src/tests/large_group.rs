use std::cell::Cell;

use super::super::*;

const WAYS: [Balance; 7] = [
    Balance::RoundRobin,
    Balance::LeastConn,
    Balance::LeastTime,
    Balance::P2c,
    Balance::Random,
    Balance::IpHash,
    Balance::Hash,
];

fn servers(count: usize, weight: impl Fn(usize) -> u32) -> Vec<ServerSpec> {
    let spec = |at| ServerSpec {
        weight: weight(at),
        ..ServerSpec::default()
    };
    (0..count).map(spec).collect()
}

fn counts(balancer: &mut Balancer, servers: usize, picks: usize) -> Vec<usize> {
    let mut counts = vec![0; servers];
    for pick in 0..picks {
        let server = balancer.pick(0, &pick.to_be_bytes(), &|_| 0, &Tried::new());
        counts[server.expect("one is free")] += 1;
    }
    counts
}

#[test]
fn test_every_server_gets_its_share_whatever_their_number() {
    for count in [1, 10, 4096] {
        for way in WAYS {
            let mut balancer = Balancer::new(way, servers(count, |_| 1));
            balancer.seed(7);
            let mean = if count > 1000 { 20 } else { 100 };
            let counts = counts(&mut balancer, count, mean * count);
            // far beyond the deviation of independent draws; round robin has none
            let (least, most) = (counts.iter().min(), counts.iter().max());
            if way == Balance::RoundRobin {
                assert_eq!((least, most), (Some(&mean), Some(&mean)), "{count}");
            } else {
                assert!(
                    least >= Some(&(mean / 10)) && most <= Some(&(3 * mean)),
                    "{way:?} {count}: {least:?} {most:?}"
                );
            }
        }
    }
}

#[test]
fn test_many_servers_are_weighted() {
    for way in WAYS {
        let mut balancer = Balancer::new(way, servers(1000, |at| if at < 500 { 1 } else { 3 }));
        let counts = counts(&mut balancer, 1000, 40_000);
        let light: usize = counts[..500].iter().sum();
        if way == Balance::RoundRobin {
            assert_eq!(light, 10_000);
        } else {
            assert!((9_400..10_600).contains(&light), "{way:?}: {light}");
        }
    }
}

#[test]
fn test_round_robin_among_many_is_spread() {
    let mut balancer = Balancer::new(
        Balance::RoundRobin,
        servers(100, |at| if at == 0 { 100 } else { 1 }),
    );
    let mut since_heavy = 0;
    for _ in 0..398 {
        match balancer.pick(0, b"", &|_| 0, &Tried::new()) {
            Some(0) => since_heavy = 0,
            _ => since_heavy += 1,
        }
        assert!(
            since_heavy < 100,
            "the heavy one waits while all others get theirs"
        );
    }
}

/// Looks at servers for a choice.
fn steps(way: Balance, count: usize, down: impl Fn(usize) -> bool) -> usize {
    let mut specs = servers(count, |_| 1);
    for spec in &mut specs {
        spec.max_connections = 10;
    }
    let mut balancer = Balancer::new(way, specs);
    (0..count).filter(|at| down(*at)).for_each(|at| {
        balancer.failed(at, 0);
    });
    let looks = Cell::new(0);
    let mut most = 0;
    for pick in 0..2000_u32 {
        looks.set(0);
        let load = |_: usize| {
            looks.set(looks.get() + 1);
            1
        };
        let server = balancer.pick(1, &pick.to_be_bytes(), &load, &Tried::new());
        assert!(server.is_some_and(|server| !down(server)), "{way:?}");
        most = most.max(looks.get());
    }
    most
}

#[test]
fn test_a_choice_among_many_looks_at_few() {
    for way in WAYS {
        assert!(steps(way, 4096, |_| false) <= 2 * 2 * 13, "{way:?}");
        assert!(steps(way, 4096, |at| at % 4 == 1) <= 2 * 2 * 13, "{way:?}");
    }
}

#[test]
fn test_the_last_servers_left_are_found() {
    for way in WAYS {
        assert!(steps(way, 1000, |at| at != 777) > 0);
        let mut balancer = Balancer::new(way, servers(200, |_| 1));
        let tried: Tried = (0..199).collect();
        assert_eq!(balancer.pick(0, b"k", &|_| 0, &tried), Some(199));
        let all: Tried = (0..200).collect();
        assert_eq!(balancer.pick(0, b"k", &|_| 0, &all), None);
    }
}

#[test]
fn test_least_conn_among_many_avoids_the_loaded() {
    let mut balancer = Balancer::new(Balance::LeastConn, servers(4096, |_| 1));
    let load = |at: usize| u32::from(at % 2 == 0) * 100;
    let loaded = (0..2000)
        .filter_map(|_| balancer.pick(0, b"", &load, &Tried::new()))
        .filter(|at| at % 2 == 0)
        .count();
    assert_eq!(loaded, 0);
}

#[test]
fn test_a_key_keeps_its_server_among_many() {
    let place = |balancer: &mut Balancer, key: u32, tried: &Tried| {
        balancer
            .pick(0, &key.to_be_bytes(), &|_| 0, tried)
            .expect("one is free")
    };
    let mut balancer = Balancer::new(Balance::IpHash, servers(4096, |_| 1));
    let mut larger = Balancer::new(Balance::IpHash, servers(4097, |_| 1));
    for key in 0..3000 {
        let first = place(&mut balancer, key, &Tried::new());
        assert_eq!(place(&mut balancer, key, &Tried::new()), first);
        let other: Tried = [(first + 1) % 4096].into_iter().collect();
        assert_eq!(
            place(&mut balancer, key, &other),
            first,
            "only the keys of a server that leaves move"
        );
        let without: Tried = [first].into_iter().collect();
        assert_ne!(place(&mut balancer, key, &without), first);
        let grown = place(&mut larger, key, &Tried::new());
        assert!(
            grown == first || grown == 4096,
            "a new server moves no keys between others"
        );
    }
}

#[test]
fn test_backups_among_many_serve_only_while_no_other_does() {
    let mut specs = servers(100, |_| 1);
    specs[99].backup = true;
    let mut balancer = Balancer::new(Balance::RoundRobin, specs);
    assert_eq!(counts(&mut balancer, 100, 990)[99], 0);
    (0..99).for_each(|at| {
        balancer.failed(at, 0);
    });
    assert_eq!(balancer.pick(1, b"", &|_| 0, &Tried::new()), Some(99));
}
