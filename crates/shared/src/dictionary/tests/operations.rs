use super::*;
use crate::dictionary::layout::{CELL_BYTES, RECENCY};

const KIB: u64 = 1024;

#[test]
fn test_values_come_back_as_they_went_in() {
    let counters = dictionary(64 * KIB);
    let long = vec![7; 1000];
    for (value, back) in [
        (Value::None, Owned::None),
        (Value::Bool(true), Owned::Bool(true)),
        (Value::Int(i64::MIN), Owned::Int(i64::MIN)),
        (Value::Float(-0.5), Owned::Float(-0.5)),
        (Value::Bytes(b""), Owned::Bytes(vec![])),
        (Value::Bytes(&long), Owned::Bytes(long.clone())),
        (
            Value::Text(b"exactly16 bytes."),
            Owned::Text(b"exactly16 bytes.".to_vec()),
        ),
        (Value::Json(b"[1]"), Owned::Json(b"[1]".to_vec())),
    ] {
        for key in [&b"k"[..], b"a key of more than two words", &[0; 300]] {
            counters.set(key, value, 0).expect("it fits");
            assert_eq!(counters.get(key), Ok(Some(back.clone())));
        }
    }
    counters.audit().expect("all fits together");
}

#[test]
fn test_keys_that_differ_in_padding_only_are_two() {
    let counters = dictionary(64 * KIB);
    counters.set(b"a", Value::Int(1), 0).expect("it fits");
    counters.set(b"a\0", Value::Int(2), 0).expect("it fits");
    assert_eq!(counters.get(b"a"), Ok(Some(Owned::Int(1))));
    assert_eq!(counters.len(), Ok(2));
}

#[test]
fn test_add_and_replace_look_at_what_is_there() {
    let counters = dictionary(64 * KIB);
    assert_eq!(counters.replace(b"k", Value::Int(1), 0), Ok(false));
    assert_eq!(counters.add(b"k", Value::Int(1), 100), Ok(true));
    assert_eq!(counters.add(b"k", Value::Int(2), 0), Ok(false));
    assert_eq!(counters.replace(b"k", Value::Int(3), 100), Ok(true));
    wait(100);
    assert_eq!(counters.replace(b"k", Value::Int(4), 0), Ok(false));
    assert_eq!(counters.add(b"k", Value::Int(5), 0), Ok(true));
    assert_eq!(counters.get(b"k"), Ok(Some(Owned::Int(5))));
    counters.audit().expect("all fits together");
}

#[test]
fn test_a_bucket_lets_a_burst_in_and_then_one_request_a_step() {
    let buckets = dictionary(64 * KIB);
    let rate = CellRate::new(0.5, 1.5).expect("a rate");
    let wait = |now: f64| buckets.throttle(b"client", rate, now).expect("a verdict").wait;
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} is not {b}");
    (0..3).for_each(|_| near(wait(100.0), 0.0)); // the burst
    near(wait(100.0), 0.5);
    near(wait(100.2), 0.3);
    near(wait(100.5), 0.0);
    near(wait(100.5), 0.5);
    near(wait(90.0), 11.0); // a clock that goes back makes nobody free
    near(wait(1000.0), 0.0);
    near(
        buckets
            .throttle(b"client", rate, 1000.0)
            .expect("a verdict")
            .full_in,
        1.0,
    );
    buckets.audit().expect("all fits together");
}

#[test]
fn test_a_bucket_that_is_full_again_is_gone() {
    let buckets = dictionary(64 * KIB);
    let rate = CellRate::new(0.05, 0.1).expect("a rate");
    buckets.throttle(b"client", rate, 5.0).expect("a verdict");
    assert_eq!(buckets.contains(b"client"), Ok(true));
    buckets.throttle(b"client", rate, 5.0).expect("a verdict");
    wait(60);
    assert_eq!(buckets.contains(b"client"), Ok(true), "each request lengthens it");
    wait(40);
    assert_eq!(buckets.contains(b"client"), Ok(false));
}

#[test]
fn test_what_is_no_bucket_is_refused_and_what_is_no_number_is_full() {
    let buckets = dictionary(64 * KIB);
    let rate = CellRate::new(1.0, 1.0).expect("a rate");
    buckets.set(b"int", Value::Int(1), 0).expect("it fits");
    buckets.push(End::Right, b"list", Value::Int(1)).expect("it fits");
    buckets.set(b"nan", Value::Float(f64::NAN), 0).expect("it fits");
    buckets
        .set(b"far", Value::Float(f64::INFINITY), 0)
        .expect("it fits");
    assert_eq!(buckets.throttle(b"int", rate, 1.0), Err(Refused::NotANumber));
    assert_eq!(
        buckets.throttle(b"list", rate, 1.0),
        Err(Refused::Kind { is_list: true })
    );
    let wait = |key: &[u8]| buckets.throttle(key, rate, 1.0).expect("a verdict").wait;
    assert!(wait(b"nan") <= 0.0, "let in");
    assert!(wait(b"nan") > 0.0);
    assert!(wait(b"far").is_finite() && wait(b"far") > 0.0);
    for (step, depth) in [
        (0.0, 1.0),
        (1.0, -1.0),
        (f64::NAN, 1.0),
        (1.0, f64::INFINITY),
        (1e10, 1.0),
    ] {
        assert!(CellRate::new(step, depth).is_none(), "{step} {depth}");
    }
}

#[test]
fn test_incr_begins_counts_and_refuses() {
    let counters = dictionary(64 * KIB);
    let (one, half) = (Number::Int(1), Number::Float(0.5));
    assert_eq!(counters.incr(b"n", one, None, 0), Err(Refused::Absent));
    assert_eq!(
        counters.incr(b"n", one, Some(Number::Int(10)), 50),
        Ok(Number::Int(11))
    );
    assert_eq!(
        counters.incr(b"n", one, Some(Number::Int(0)), 0),
        Ok(Number::Int(12))
    );
    assert_eq!(counters.ttl(b"n"), Ok(Some(Some(50))));
    assert_eq!(counters.incr(b"n", half, None, 0), Ok(Number::Float(12.5)));
    assert_eq!(
        counters.ttl(b"n"),
        Ok(Some(Some(50))),
        "a change of kind keeps the time"
    );
    wait(50);
    assert_eq!(
        counters.incr(b"n", one, Some(Number::Int(0)), 0),
        Ok(Number::Int(1))
    );
    counters.set(b"n", Value::Int(i64::MAX), 0).expect("it fits");
    assert_eq!(counters.incr(b"n", one, None, 0), Err(Refused::Overflow));
    counters.set(b"n", Value::Text(b"x"), 0).expect("it fits");
    assert_eq!(counters.incr(b"n", one, None, 0), Err(Refused::NotANumber));
    counters.audit().expect("all fits together");
}

#[test]
fn test_time_runs_out_and_can_be_given_anew() {
    let counters = dictionary(64 * KIB);
    counters.set(b"k", Value::Int(1), 100).expect("it fits");
    wait(99);
    assert_eq!(counters.ttl(b"k"), Ok(Some(Some(1))));
    assert_eq!(counters.expire(b"k", 10), Ok(true));
    wait(10);
    assert_eq!(counters.get(b"k"), Ok(None));
    assert_eq!(counters.contains(b"k"), Ok(false));
    assert_eq!(counters.get_stale(b"k"), Ok(Some((Owned::Int(1), true))));
    assert_eq!(counters.expire(b"k", 10), Ok(false));
    assert_eq!(counters.ttl(b"k"), Ok(None));
    assert_eq!(counters.delete(b"k"), Ok(false));
    counters.set(b"k", Value::Int(2), 5).expect("it fits");
    assert_eq!(counters.expire(b"k", 0), Ok(true));
    assert_eq!(counters.ttl(b"k"), Ok(Some(None)));
}

#[test]
fn test_lists_have_two_ends() {
    let jobs = dictionary(64 * KIB);
    let large = vec![1; 200];
    assert_eq!(jobs.push(End::Right, b"q", Value::Int(2)), Ok(1));
    assert_eq!(jobs.push(End::Right, b"q", Value::Bytes(&large)), Ok(2));
    assert_eq!(jobs.push(End::Left, b"q", Value::Text(b"first")), Ok(3));
    assert_eq!(jobs.list_len(b"q"), Ok(3));
    jobs.audit().expect("all fits together");
    assert_eq!(
        jobs.pop(End::Left, b"q"),
        Ok(Some(Owned::Text(b"first".to_vec())))
    );
    assert_eq!(jobs.pop(End::Right, b"q"), Ok(Some(Owned::Bytes(large))));
    assert_eq!(jobs.pop(End::Right, b"q"), Ok(Some(Owned::Int(2))));
    assert_eq!(jobs.pop(End::Right, b"q"), Ok(None));
    assert_eq!(jobs.contains(b"q"), Ok(false), "a list of nothing is none");
    jobs.audit().expect("all fits together");
}

#[test]
fn test_lists_and_values_are_not_taken_for_each_other() {
    let mixed = dictionary(64 * KIB);
    mixed.push(End::Left, b"q", Value::Int(1)).expect("it fits");
    mixed.set(b"v", Value::Int(1), 0).expect("it fits");
    assert_eq!(mixed.get(b"q"), Err(Refused::Kind { is_list: true }));
    assert_eq!(
        mixed.incr(b"q", Number::Int(1), None, 0),
        Err(Refused::Kind { is_list: true })
    );
    assert_eq!(mixed.pop(End::Left, b"v"), Err(Refused::Kind { is_list: false }));
    assert_eq!(
        mixed.push(End::Left, b"v", Value::None),
        Err(Refused::Kind { is_list: false })
    );
    mixed.set(b"q", Value::Int(2), 0).expect("a list may be replaced");
    assert_eq!(mixed.get(b"q"), Ok(Some(Owned::Int(2))));
    mixed.audit().expect("all fits together");
}

#[test]
fn test_the_least_recently_used_go_when_it_is_full() {
    let cache = dictionary(MIN_BYTES);
    let cells = cache.free_bytes().expect("the lock is free") / CELL_BYTES as u64;
    for n in 0..cells {
        cache.set(&n.to_le_bytes(), Value::Int(1), 0).expect("it fits");
    }
    assert_eq!((cache.evictions(), cache.free_bytes()), (Ok(0), Ok(0)));
    cache.get(&0u64.to_le_bytes()).expect("the lock is free"); // used: stays
    cache.set(b"new", Value::Int(1), 0).expect("others go");
    assert_eq!(cache.evictions(), Ok(1));
    assert_eq!(cache.contains(&0u64.to_le_bytes()), Ok(true));
    assert_eq!(cache.contains(&1u64.to_le_bytes()), Ok(false));
    cache.audit().expect("all fits together");
}

#[test]
fn test_what_has_expired_goes_before_anything_live() {
    let cache = dictionary(MIN_BYTES);
    let cells = cache.free_bytes().expect("the lock is free") / CELL_BYTES as u64;
    for n in 0..cells {
        cache.set(&n.to_le_bytes(), Value::Int(1), 10).expect("it fits");
    }
    wait(10);
    cache.set(b"new", Value::Int(1), 0).expect("the expired go");
    assert_eq!(cache.evictions(), Ok(0));
    assert_eq!(cache.flush_expired(3), Ok(3));
    cache.flush_expired(usize::MAX).expect("the lock is free");
    assert_eq!(cache.len(), Ok(1));
    cache.audit().expect("all fits together");
}

#[test]
fn test_a_value_too_large_is_refused_and_nothing_goes_for_it() {
    let cache = dictionary(MIN_BYTES);
    cache.set(b"kept", Value::Int(1), 0).expect("it fits");
    let large = vec![0; 12_000];
    assert!(matches!(
        cache.set(b"k", Value::Bytes(&large), 0),
        Err(Refused::TooLarge { bytes: 12_001, .. })
    ));
    assert_eq!(cache.contains(b"kept"), Ok(true));
    assert_eq!(cache.set(b"", Value::None, 0), Err(Refused::Key { bytes: 0 }));
    assert_eq!(cache.get(&vec![0; 70_000]), Err(Refused::Key { bytes: 70_000 }));
}

#[test]
fn test_a_list_does_not_push_itself_out() {
    let jobs = dictionary(MIN_BYTES);
    let mut pushed = 0;
    let refusal = loop {
        match jobs.push(End::Right, b"q", Value::Int(pushed)) {
            Ok(_) => pushed += 1,
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refusal, Refused::Full);
    assert_eq!(
        jobs.list_len(b"q"),
        Ok(usize::try_from(pushed).expect("a few hundred"))
    );
    jobs.audit().expect("all fits together");
}

#[test]
fn test_keys_and_flush_go_over_all_shards() {
    let large = dictionary(16 << 20);
    for n in 0u32..1000 {
        large.set(&n.to_le_bytes(), Value::Int(1), 0).expect("it fits");
    }
    let mut keys = large.keys(usize::MAX).expect("the lock is free");
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 1000);
    assert_eq!(large.keys(10).map(|keys| keys.len()), Ok(10));
    assert_eq!(large.flush_all(), Ok(1000));
    assert_eq!((large.len(), large.is_empty()), (Ok(0), Ok(true)));
    large.audit().expect("all fits together");
}

#[test]
fn test_a_second_mapping_sees_the_same_entries() {
    let first = dictionary(64 * KIB);
    let second = opened_again(&first);
    first.set(b"k", Value::Text(b"v"), 0).expect("it fits");
    assert_eq!(second.get(b"k"), Ok(Some(Owned::Text(b"v".to_vec()))));
    drop(first);
    assert_eq!(second.delete(b"k"), Ok(true));
    assert_eq!(second.capacity(), 64 * KIB);
}

#[test]
fn test_other_files_are_refused() {
    let plain = std::fs::File::open("/dev/null").expect("it is always there");
    assert!(matches!(
        Dictionary::open(plain.into()),
        Err(DictionaryError::NotADictionary)
    ));
    let zone = crate::Zone::create(1, 1).expect("the system gives a memfd");
    let zone = zone.fd().try_clone_to_owned().expect("a descriptor is free");
    assert!(matches!(
        Dictionary::open(zone),
        Err(DictionaryError::NotADictionary)
    ));
    let other = dictionary(MIN_BYTES);
    other.memory.words()[1].store(VERSION + 1, Relaxed);
    let other = other.fd().try_clone_to_owned().expect("a descriptor is free");
    assert!(matches!(
        Dictionary::open(other),
        Err(DictionaryError::Version { .. })
    ));
    let lying = dictionary(MIN_BYTES);
    lying.memory.words()[3].store(1 << 40, Relaxed);
    let lying = lying.fd().try_clone_to_owned().expect("a descriptor is free");
    assert!(matches!(
        Dictionary::open(lying),
        Err(DictionaryError::NotADictionary)
    ));
}

#[test]
fn test_a_named_lock_has_one_holder() {
    let locks = dictionary(64 * KIB);
    assert_eq!(locks.acquire(b"l", 1, 0), Ok(true));
    assert_eq!(locks.acquire(b"l", 1, 100), Ok(true), "its holder takes it again");
    assert_eq!(locks.acquire(b"l", 2, 0), Ok(false));
    assert_eq!(locks.release(b"l", 2), Ok(false));
    wait(100);
    assert_eq!(locks.acquire(b"l", 2, 0), Ok(true), "its time was up");
    assert_eq!(locks.release(b"l", 1), Ok(false));
    assert_eq!(locks.release(b"l", 2), Ok(true));
    assert_eq!(locks.len(), Ok(0));
}

#[test]
fn test_named_locks_do_not_go_for_others() {
    let locks = dictionary(MIN_BYTES);
    let mut held = 0;
    while locks.acquire(format!("lock {held}").as_bytes(), 1, 0) == Ok(true) {
        held += 1;
    }
    assert_eq!(locks.acquire(b"one more", 1, 0), Err(Refused::Full));
    assert_eq!(locks.len(), Ok(held));
    locks.audit().expect("all fits together");
}

#[test]
fn test_a_panic_within_an_operation_gives_the_lock_back_and_is_repaired() {
    let counters = dictionary(64 * KIB);
    counters.set(b"k", Value::Int(1), 0).expect("it fits");
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let (shard, _) = counters.locked(b"k").expect("the lock is free");
        shard.store(RECENCY, 0); // half of something
        panic!("within an operation");
    }));
    assert!(caught.is_err());
    assert_eq!(counters.get(b"k"), Ok(Some(Owned::Int(1))));
    assert_eq!(counters.repairs(), Ok(1));
    counters.audit().expect("all fits together");
}
