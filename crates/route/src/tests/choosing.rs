//! What servers get, by priority, zone and subset, against the arithmetic that is documented; also after servers come, go and
//! change.

use std::collections::BTreeMap;

use super::super::*;

const WAYS: [Balance; 8] = [
    Balance::RoundRobin,
    Balance::LeastConn,
    Balance::LeastTime,
    Balance::P2c,
    Balance::Random,
    Balance::IpHash,
    Balance::Hash,
    Balance::First,
];

const DOWN: ServerStanding = ServerStanding {
    is_down: true,
    is_closed: false,
    keeps_sessions: false,
    share_percent: 100,
    ejected_until_ms: 0,
};

fn spec(at: usize) -> ServerSpec {
    ServerSpec {
        identity: at as u64 + 1,
        ..ServerSpec::default()
    }
}

fn of_priority(priority: u32) -> impl Fn(usize) -> ServerSpec {
    move |at| ServerSpec { priority, ..spec(at) }
}

fn metadata(pairs: &[(&str, &str)]) -> Metadata {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// How often each server is chosen, by keys that are all different.
fn counts(balancer: &mut Balancer, subset: Option<&Subset>, now_ms: u64, picks: u64) -> BTreeMap<usize, u64> {
    let mut counts = BTreeMap::new();
    for pick in 0..picks {
        let key = pick.to_be_bytes();
        let server = balancer.pick_of(subset, now_ms, &key, &|_| 0, &Tried::new());
        *counts.entry(server.expect("one may be asked")).or_default() += 1;
    }
    counts
}

/// The share in percent of those servers.
fn percent(counts: &BTreeMap<usize, u64>, servers: std::ops::Range<usize>) -> f64 {
    let all: u64 = counts.values().sum();
    let own: u64 = counts.range(servers).map(|(_, count)| count).sum();
    #[allow(clippy::cast_precision_loss)]
    let percent = own as f64 * 100.0 / all as f64;
    percent
}

/// A share as it is expected, within five standard deviations of so many choices by chance.
fn is_near(got: f64, expected: f64, picks: u64) -> bool {
    #[allow(clippy::cast_precision_loss)]
    let deviation = (expected * (100.0 - expected) / picks as f64).sqrt();
    (got - expected).abs() <= 5.0 * deviation + 0.01
}

#[test]
fn test_spill_over_is_by_health_for_every_policy_and_size() {
    const PICKS: u64 = 4_000;
    for size in [1_usize, 4, 32, 100, 2_048] {
        for way in WAYS {
            let specs = (0..size)
                .map(of_priority(0))
                .chain((size..2 * size).map(of_priority(1)));
            let mut balancer = Balancer::new(way, specs.collect());
            balancer.seed(5);
            assert!(is_near(
                percent(&counts(&mut balancer, None, 0, PICKS), 0..size),
                100.0,
                PICKS
            ));
            // one after the other goes down; then all come back
            for (up_percent, expected) in [(75, 100.0), (50, 70.0), (25, 35.0), (0, 0.0)] {
                if size < 4 && up_percent > 0 {
                    continue;
                }
                for server in size * up_percent / 100..size {
                    balancer.set_standing(server, DOWN, 0);
                }
                let got = percent(&counts(&mut balancer, None, 0, PICKS), 0..size);
                assert!(
                    is_near(got, expected, PICKS),
                    "{way:?}, {size}, {up_percent} % up: {got}"
                );
            }
            for server in 0..size {
                balancer.set_standing(server, ServerStanding::default(), 0);
            }
            let back = percent(&counts(&mut balancer, None, 0, PICKS), 0..size);
            assert!(is_near(back, 100.0, PICKS), "{way:?}, {size}: {back}");
        }
    }
}

#[test]
fn test_servers_that_fail_or_are_ejected_are_missing_until_their_time_is_over() {
    const PICKS: u64 = 4_000;
    let specs: Vec<_> = (0..4)
        .map(of_priority(0))
        .chain((4..8).map(of_priority(1)))
        .collect();
    let mut balancer = Balancer::new(Balance::RoundRobin, specs);
    let share = |balancer: &mut Balancer, now_ms| percent(&counts(balancer, None, now_ms, PICKS), 0..4);
    balancer.failed(0, 1_000);
    balancer.set_standing(
        1,
        ServerStanding {
            ejected_until_ms: 5_000,
            ..ServerStanding::default()
        },
        1_000,
    );
    for (now_ms, expected) in [(1_000, 70.0), (4_999, 70.0), (5_000, 100.0), (11_000, 100.0)] {
        let got = share(&mut balancer, now_ms);
        assert!(is_near(got, expected, PICKS), "at {now_ms}: {got}");
    }
    // a server that was removed is not missing, one that an operator took out is
    balancer.retire(0);
    balancer.set_standing(
        1,
        ServerStanding {
            is_closed: true,
            ..ServerStanding::default()
        },
        20_000,
    );
    let got = share(&mut balancer, 20_000);
    assert!(is_near(got, 140.0 * 2.0 / 3.0, PICKS), "{got}");
}

#[test]
fn test_weights_and_agents_count_and_the_factor_can_be_set() {
    const PICKS: u64 = 4_000;
    let heavy = ServerSpec { weight: 3, ..spec(0) };
    let specs = vec![heavy, spec(1), of_priority(1)(2)];
    let mut balancer = Balancer::new(Balance::Random, specs.clone()).with_overprovisioning(100);
    balancer.set_standing(1, DOWN, 0);
    let got = percent(&counts(&mut balancer, None, 0, PICKS), 0..2);
    assert!(is_near(got, 75.0, PICKS), "{got}");
    balancer.set_standing(
        1,
        ServerStanding {
            share_percent: 0,
            ..ServerStanding::default()
        },
        0,
    );
    let got = percent(&counts(&mut balancer, None, 0, PICKS), 0..2);
    assert!(is_near(got, 75.0, PICKS), "{got}");
    let mut failover = Balancer::new(Balance::Random, specs).with_overprovisioning(100_000);
    failover.set_standing(0, DOWN, 0);
    assert!(is_near(
        percent(&counts(&mut failover, None, 0, PICKS), 0..2),
        100.0,
        PICKS
    ));
    failover.set_standing(1, DOWN, 0);
    assert!(is_near(
        percent(&counts(&mut failover, None, 0, PICKS), 0..2),
        0.0,
        PICKS
    ));
}

#[test]
fn test_a_key_moves_only_with_the_share_of_its_group() {
    let specs: Vec<_> = (0..10)
        .map(of_priority(0))
        .chain((10..20).map(of_priority(1)))
        .collect();
    let mut balancer = Balancer::new(Balance::Hash, specs);
    let place = |balancer: &mut Balancer| -> Vec<usize> {
        let pick = |key: u32| balancer.pick(0, &key.to_be_bytes(), &|_| 0, &Tried::new());
        (0..4_000).filter_map(pick).collect()
    };
    let before = place(&mut balancer);
    (0..5).for_each(|server| balancer.set_standing(server, DOWN, 0));
    let after = place(&mut balancer);
    let moved = before.iter().zip(&after).filter(|(was, is)| was != is).count();
    // half of the keys lose their server, and of the others those move of which the share is not left: 30 %
    assert!((2_400..2_800).contains(&moved), "{moved}");
    let strayed = |(was, is): (&usize, &usize)| *was >= 5 && was != is && *is < 10;
    assert_eq!(before.iter().zip(&after).filter(|pair| strayed(*pair)).count(), 0);
    (0..5).for_each(|server| balancer.set_standing(server, ServerStanding::default(), 0));
    assert_eq!(place(&mut balancer), before);
}

#[test]
fn test_what_a_group_has_no_room_for_goes_to_the_others() {
    let full = |at| ServerSpec {
        max_connections: 1,
        ..spec(at)
    };
    let mut balancer = Balancer::new(Balance::RoundRobin, vec![full(0), full(1), of_priority(1)(2)]);
    let pick = |balancer: &mut Balancer, tried: Tried, loads: [u32; 3]| {
        balancer.pick(0, b"", &move |at: usize| loads[at], &tried)
    };
    assert_eq!(pick(&mut balancer, Tried::new(), [1, 1, 0]), Some(2));
    assert_eq!(pick(&mut balancer, [0, 1].into_iter().collect(), [0; 3]), Some(2));
    (0..3).for_each(|server| balancer.set_standing(server, DOWN, 0));
    for tried in [[0, 1], [1, 2], [0, 2]] {
        let left = (0..3).find(|server| !tried.contains(server));
        assert_eq!(pick(&mut balancer, tried.into_iter().collect(), [0; 3]), left);
    }
}

#[test]
fn test_requests_stay_in_the_own_zone_while_that_is_enough() {
    const PICKS: u64 = 4_000;
    for size in [1_usize, 4, 100, 1_365] {
        for way in WAYS {
            // a third here, two thirds elsewhere
            let place = |at: usize| ServerSpec {
                is_away: at >= size,
                ..spec(at)
            };
            let mut balancer = Balancer::new(way, (0..3 * size).map(place).collect());
            let own = |balancer: &mut Balancer| percent(&counts(balancer, None, 0, PICKS), 0..size);
            assert!(is_near(own(&mut balancer), 100.0, PICKS), "{way:?}, {size}");
            if size >= 4 {
                (size / 2..size).for_each(|server| balancer.set_standing(server, DOWN, 0));
                #[allow(clippy::cast_precision_loss)]
                let expected = 140.0 * (size / 2) as f64 / size as f64;
                let got = own(&mut balancer);
                assert!(
                    is_near(got, expected, PICKS),
                    "{way:?}, {size}: {got} and not {expected}"
                );
            }
            (0..size).for_each(|server| balancer.set_standing(server, DOWN, 0));
            assert!(is_near(own(&mut balancer), 0.0, PICKS), "nothing is lost");
            (size..3 * size).for_each(|server| balancer.set_standing(server, DOWN, 0));
            let got = counts(&mut balancer, None, 0, 50);
            assert_eq!(got.values().sum::<u64>(), 50, "all are asked again");
        }
    }
}

#[test]
fn test_other_zones_get_what_is_spilt_by_their_weight() {
    const PICKS: u64 = 20_000;
    let away = |at, weight| ServerSpec {
        is_away: true,
        weight,
        ..spec(at)
    };
    let specs = vec![spec(0), spec(1), away(2, 3), away(3, 1)];
    let mut balancer = Balancer::new(Balance::RoundRobin, specs);
    balancer.set_standing(0, DOWN, 0);
    let got = counts(&mut balancer, None, 0, PICKS);
    for (servers, expected) in [(0..1, 0.0), (1..2, 70.0), (2..3, 22.5), (3..4, 7.5)] {
        let share = percent(&got, servers.clone());
        assert!(is_near(share, expected, PICKS), "{servers:?}: {share}");
    }
}

#[test]
fn test_a_subset_gets_its_requests_for_every_policy_and_size() {
    for size in [2_usize, 10, 128, 4_096] {
        let marks: Vec<Metadata> = (0..size)
            .map(|at| metadata(&[("version", ["v1", "v2"][at % 2]), ("stage", "live")]))
            .collect();
        let second = Subset::new(metadata(&[("version", "v2")]));
        let both = Subset::new(metadata(&[("stage", "live"), ("version", "v2")]));
        let absent = Subset::new(metadata(&[("version", "v3")]));
        for way in WAYS {
            let mut balancer = Balancer::new(way, (0..size).map(spec).collect()).with_subsets(&marks, None);
            let picks = 8 * size as u64;
            for subset in [&second, &both] {
                let got = counts(&mut balancer, Some(subset), 0, picks);
                assert!(got.keys().all(|server| server % 2 == 1), "{way:?}, {size}");
                if way == Balance::RoundRobin {
                    assert!(
                        got.len() == size / 2 && got.values().all(|count| *count == 16),
                        "{size}"
                    );
                } else if !matches!(way, Balance::First) {
                    assert!(got.len() * 10 >= size / 2 * 9, "{way:?}: {} of {size}", got.len());
                }
            }
            assert_eq!(
                balancer.pick_of(Some(&absent), 0, b"", &|_| 0, &Tried::new()),
                None
            );
        }
    }
}

#[test]
fn test_rounds_of_subsets_and_of_all_do_not_disturb_each_other() {
    let marks = [&["v1"][..], &["v1"], &["v2"], &["v2"], &["v2"]];
    let marks: Vec<Metadata> = marks
        .iter()
        .map(|mark| metadata(&[("version", mark[0])]))
        .collect();
    let mut balancer =
        Balancer::new(Balance::RoundRobin, (0..5).map(spec).collect()).with_subsets(&marks, None);
    let subsets = ["v1", "v2"].map(|version| Subset::new(metadata(&[("version", version)])));
    let mut seen = [[0; 5]; 3];
    for _ in 0..30 {
        for (turn, subset) in [(0, None), (1, Some(&subsets[0])), (2, Some(&subsets[1]))] {
            let server = balancer.pick_of(subset, 0, b"", &|_| 0, &Tried::new());
            seen[turn][server.expect("there is one")] += 1;
        }
    }
    assert_eq!(seen, [[6; 5], [15, 15, 0, 0, 0], [0, 0, 10, 10, 10]]);
}

#[test]
fn test_who_finds_none_of_a_subset_in_rotation_gets_the_fallback() {
    let marks: Vec<Metadata> = ["v1", "v1", "v2"]
        .iter()
        .map(|mark| metadata(&[("version", mark)]))
        .collect();
    let subset = |version: &str| Subset::new(metadata(&[("version", version)]));
    let any = Some(Subset::new(Metadata::new()));
    for (fallback, absent, down) in [
        (None, vec![], vec![2]),
        (any, vec![0, 1, 2], vec![0, 1]),
        (Some(subset("v1")), vec![0, 1], vec![0, 1]),
        (Some(subset("v9")), vec![], vec![2]),
    ] {
        let specs = (0..3).map(spec).collect();
        let mut balancer = Balancer::new(Balance::RoundRobin, specs).with_subsets(&marks, fallback.clone());
        let got = |balancer: &mut Balancer, version: &str| -> Vec<usize> {
            let mut servers: Vec<usize> = (0..12)
                .filter_map(|_| balancer.pick_of(Some(&subset(version)), 0, b"", &|_| 0, &Tried::new()))
                .collect();
            servers.sort_unstable();
            servers.dedup();
            servers
        };
        assert_eq!(got(&mut balancer, "v2"), [2], "{fallback:?}");
        assert_eq!(got(&mut balancer, "v3"), absent, "{fallback:?}");
        // where nothing else is in rotation, its own are asked again
        balancer.set_standing(2, DOWN, 0);
        assert_eq!(got(&mut balancer, "v2"), down, "{fallback:?}");
        (0..2).for_each(|server| balancer.set_standing(server, DOWN, 0));
        assert_eq!(got(&mut balancer, "v2"), [2], "{fallback:?}");
    }
}

#[test]
fn test_a_session_goes_on_only_in_the_subset_that_a_request_wants() {
    let marks = [metadata(&[("version", "v1")]), metadata(&[("version", "v2")])];
    let specs: Vec<_> = (0..2).map(spec).collect();
    let mut strict = Balancer::new(Balance::RoundRobin, specs.clone()).with_subsets(&marks, None);
    let second = Subset::new(metadata(&[("version", "v2")]));
    assert!(strict.resumes(1, Some(&second), 0, &|_| 0) && strict.resumes(0, None, 0, &|_| 0));
    assert!(!strict.resumes(0, Some(&second), 0, &|_| 0));
}

#[test]
fn test_any_number_of_subsets_may_be_asked_for() {
    let marks: Vec<Metadata> = (0..1_000)
        .map(|at| metadata(&[("shard", &at.to_string())]))
        .collect();
    let specs = (0..1_000).map(spec).collect();
    let any = Some(Subset::new(Metadata::new()));
    let mut balancer = Balancer::new(Balance::P2c, specs).with_subsets(&marks, any);
    for round in 0..3_000 {
        let shard = round * 7 % 1_000;
        let subset = Subset::new(metadata(&[("shard", &shard.to_string())]));
        assert_eq!(
            balancer.pick_of(Some(&subset), 0, b"", &|_| 0, &Tried::new()),
            Some(shard)
        );
        assert!(balancer.divisions.len() < 300, "{}", balancer.divisions.len());
    }
}
