use super::*;

#[test]
fn each_time_is_in_a_bucket_whose_bound_is_near() {
    for us in (4..5_000).chain([1 << 20, (1 << 20) + 1, 3_600_000_000]) {
        let bound = bound_of(bucket_of(us));
        assert!(bound >= us && bound * 4 <= us * 5, "{us}: {bound}");
    }
    assert_eq!(bucket_of(0), bucket_of(4));
    assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
}

#[test]
fn a_percentile_is_not_below_so_many_of_a_hundred_and_not_far_above() {
    let mut times = RecentTimes::default();
    for us in 1..=1_000 {
        times.add(0, us * 100);
    }
    for percent in [50, 90, 95, 99] {
        let found = times.percentile(0, percent).expect("there are many");
        let exact = u64::from(percent) * 1_000;
        assert!(found >= exact && found * 4 <= exact * 5, "{percent}: {found}");
    }
}

#[test]
fn nothing_is_said_of_few() {
    let mut times = RecentTimes::default();
    for _ in 1..MIN_TIMES {
        times.add(0, 100);
    }
    assert_eq!(times.percentile(0, 95), None);
    times.add(0, 100);
    assert!(times.percentile(0, 95).is_some());
}

#[test]
fn what_is_old_is_forgotten() {
    let mut times = RecentTimes::default();
    (0..100).for_each(|_| times.add(0, 1_000_000));
    assert!(
        times.percentile(WINDOW_MS, 50).is_some(),
        "it is the window before"
    );
    (0..30).for_each(|_| times.add(WINDOW_MS, 100));
    assert!(times.percentile(WINDOW_MS, 50).is_some_and(|us| us >= 1_000_000));
    assert!(times.percentile(2 * WINDOW_MS, 99).is_some_and(|us| us < 200));
    assert_eq!(times.percentile(10 * WINDOW_MS, 50), None);
}
