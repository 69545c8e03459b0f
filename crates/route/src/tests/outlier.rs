use super::*;

const SPEC: OutlierSpec = OutlierSpec {
    consecutive: 3,
    error_percent: 50,
    latency_percent: 300,
    interval_ms: 1_000,
    min_requests: 10,
    ejection_ms: 30_000,
    max_ejection_ms: 100_000,
    max_ejected_percent: 50,
};

fn outliers(spec: OutlierSpec, servers: usize) -> Outliers {
    let mut outliers = Outliers::new(spec, servers);
    outliers.began_ms = 1;
    outliers
}

#[test]
fn test_failures_in_a_row_count_at_once_and_success_forgives_them() {
    let mut outliers = outliers(SPEC, 2);
    assert!(outliers.failed(0, 1).is_empty());
    assert!(outliers.failed(0, 1).is_empty());
    assert!(outliers.succeeded(0, 1, 10).is_empty());
    assert!(outliers.failed(0, 1).is_empty());
    assert!(outliers.failed(1, 1).is_empty());
    assert!(outliers.failed(0, 1).is_empty());
    assert_eq!(outliers.failed(0, 1), [0]);
    assert!(outliers.failed(0, 2).is_empty(), "it begins anew");
}

#[test]
fn test_share_of_failures_is_looked_at_when_an_interval_is_over() {
    let mut outliers = outliers(SPEC, 3);
    for _ in 0..10 {
        outliers.succeeded(0, 5, 10);
        outliers.failed(0, 5);
        outliers.succeeded(1, 5, 10);
    }
    // too few to tell
    outliers.failed(2, 5);
    assert_eq!(outliers.succeeded(1, 1_001, 10), [0]);
    assert!(
        outliers.succeeded(1, 2_001, 10).is_empty(),
        "of the new interval only"
    );
}

#[test]
fn test_times_are_compared_with_the_groups_median() {
    for (slow_us, expected) in [(29_000, &[][..]), (31_000, &[2][..])] {
        let mut outliers = outliers(SPEC, 4);
        for _ in 0..10 {
            for (server, took_us) in [(0, 9_000), (1, 10_000), (2, slow_us), (3, 10_000)] {
                assert!(outliers.succeeded(server, 5, took_us).is_empty());
            }
        }
        assert_eq!(outliers.succeeded(0, 1_001, 9_000), expected);
    }
}

#[test]
fn test_the_most_that_may_be_ejected_is_tested_with_the_one_that_would_be() {
    // (servers, percent): how many are ejected at most
    for (percent, most) in [
        (0, [0, 0, 0, 0]),
        (10, [0, 0, 0, 0]),
        (34, [0, 0, 1, 1]),
        (50, [0, 1, 1, 2]),
        (67, [0, 1, 2, 2]),
        (100, [1, 2, 3, 4]),
    ] {
        for (servers, most) in (1..).zip(most) {
            let spec = OutlierSpec {
                max_ejected_percent: percent,
                ..SPEC
            };
            let outliers = Outliers::new(spec, servers);
            let ejected = (0..servers).take_while(|ejected| outliers.may_eject(*ejected, servers));
            assert_eq!(ejected.count(), most, "{percent} % of {servers}");
        }
    }
}

#[test]
fn test_ejections_grow_to_a_limit_and_are_forgotten() {
    let outliers = Outliers::new(SPEC, 1);
    let times: Vec<u64> = (0..5).map(|before| outliers.ejection_ms(before)).collect();
    assert_eq!(times, [30_000, 60_000, 90_000, 100_000, 100_000]);
    assert_eq!(outliers.remembered(3, 29_000), 3);
    assert_eq!(outliers.remembered(3, 61_000), 1);
    assert_eq!(outliers.remembered(3, 600_000), 0);
}
