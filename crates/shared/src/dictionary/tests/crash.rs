//! Death after every single store of every operation: the repaired dictionary is that before or that after it.

use std::collections::BTreeMap;

use super::*;
use crate::dictionary::layout::LOCK;

/// A token that no live process has: this one's id with another start time.
fn dead() -> u64 {
    crate::process::token() ^ (1 << 40)
}

/// All that can be seen of a dictionary.
fn seen(dictionary: &Dictionary) -> BTreeMap<Vec<u8>, (Vec<Owned>, Option<u64>)> {
    let copy = image(dictionary);
    let reader = from_image(dictionary, &copy);
    let keys = reader.keys(usize::MAX).expect("the lock is free");
    keys.into_iter()
        .map(|key| {
            let ttl = reader.ttl(&key).expect("the lock is free").flatten();
            let values = match reader.get(&key) {
                Ok(value) => value.into_iter().collect(),
                Err(_) => std::iter::from_fn(|| reader.pop(End::Left, &key).ok().flatten()).collect(),
            };
            (key, (values, ttl))
        })
        .collect()
}

fn image(dictionary: &Dictionary) -> Vec<u64> {
    let words = dictionary.memory.words().iter();
    words.map(|word| word.load(Relaxed)).collect()
}

fn from_image(like: &Dictionary, image: &[u64]) -> Dictionary {
    let made = dictionary(like.layout.bytes);
    for (word, value) in made.memory.words().iter().zip(image) {
        word.store(*value, Relaxed);
    }
    opened(&made)
}

/// Opens it anew, since the hash's key is in the header.
fn opened(made: &Dictionary) -> Dictionary {
    let mut again = opened_again(made);
    again.now = now;
    again
}

/// Dies after each store of `operation`, and once more within the repair.
fn die_everywhere(prepare: impl Fn(&Dictionary), operation: impl Fn(&Dictionary)) {
    let original = opened(&dictionary(MIN_BYTES));
    prepare(&original);
    let before = seen(&original);
    let start = image(&original);
    let stores = journal::of(|| operation(&original));
    let after = seen(&original);
    assert!(!stores.is_empty());
    for died_after in 0..=stores.len() {
        let torn = from_image(&original, &start);
        let shard = &torn.memory.words()[HEADER_WORDS..];
        for (word, value) in &stores[..died_after] {
            shard[*word].store(*value, Relaxed);
        }
        shard[LOCK].store(dead(), Relaxed);
        let torn_image = image(&torn);
        let repairs = journal::of(|| drop(torn.locked(b"any").expect("the dead lose it")));
        check(&torn, &before, &after, died_after);
        // A repair that is killed: at a few places, since there are many.
        for died_again in (0..repairs.len()).step_by(repairs.len() / 7 + 1) {
            let twice = from_image(&original, &torn_image);
            let shard = &twice.memory.words()[HEADER_WORDS..];
            for (word, value) in &repairs[..died_again] {
                shard[*word].store(*value, Relaxed);
            }
            shard[LOCK].store(dead(), Relaxed);
            check(&twice, &before, &after, died_after);
        }
    }
}

type Seen = BTreeMap<Vec<u8>, (Vec<Owned>, Option<u64>)>;

fn check(repaired: &Dictionary, before: &Seen, after: &Seen, died_after: usize) {
    repaired
        .audit()
        .unwrap_or_else(|problem| panic!("after store {died_after}: {problem}"));
    let found = seen(repaired);
    for key in before.keys().chain(after.keys()) {
        let now = found.get(key);
        assert!(
            now == before.get(key) || now == after.get(key),
            "after store {died_after}: {key:?} is {now:?}, was {:?}, was to be {:?}",
            before.get(key),
            after.get(key)
        );
    }
    assert!(found
        .keys()
        .all(|key| before.contains_key(key) || after.contains_key(key)));
}

fn some_entries(dictionary: &Dictionary) {
    for n in 0..5 {
        dictionary
            .set(format!("key {n}").as_bytes(), Value::Int(n), 0)
            .expect("it fits");
    }
    dictionary
        .set(b"text", Value::Text(&[b'x'; 150]), 0)
        .expect("it fits");
    dictionary.set(b"timed", Value::Int(1), 5_000).expect("it fits");
    for n in 0..4 {
        dictionary
            .push(End::Right, b"list", Value::Int(n))
            .expect("it fits");
    }
    dictionary
        .push(End::Right, b"single", Value::Text(&[b'y'; 80]))
        .expect("it fits");
    dictionary.delete(b"key 1").expect("the lock is free");
}

#[test]
fn test_death_within_set() {
    die_everywhere(some_entries, |d| {
        d.set(b"new", Value::Text(&[b'z'; 200]), 700).expect("it fits");
    });
    die_everywhere(some_entries, |d| {
        d.set(b"text", Value::Text(&[b'z'; 90]), 0).expect("it fits");
    });
    die_everywhere(some_entries, |d| {
        d.set(b"timed", Value::Int(2), 0).expect("it fits");
    });
    die_everywhere(some_entries, |d| {
        d.set(b"key 0", Value::Int(9), 0).expect("it fits");
    });
    die_everywhere(some_entries, |d| {
        d.set(b"list", Value::Float(0.5), 0).expect("it fits");
    });
}

#[test]
fn test_death_within_incr_and_expire() {
    let one = Number::Int(1);
    die_everywhere(some_entries, |d| {
        drop(d.incr(b"key 2", one, None, 0));
    });
    die_everywhere(some_entries, |d| {
        drop(d.incr(b"key 2", Number::Float(0.5), None, 0));
    });
    die_everywhere(some_entries, |d| {
        drop(d.incr(b"begun", one, Some(one), 60));
    });
    die_everywhere(some_entries, |d| {
        drop(d.expire(b"key 3", 500));
    });
}

#[test]
fn test_death_within_delete_and_get() {
    die_everywhere(some_entries, |d| {
        drop(d.delete(b"text"));
    });
    die_everywhere(some_entries, |d| {
        drop(d.delete(b"list"));
    });
    die_everywhere(some_entries, |d| {
        drop(d.get(b"key 0"));
    });
    die_everywhere(some_entries, |d| {
        drop(d.flush_all());
    });
}

#[test]
fn test_death_within_pushes_and_pops() {
    for end in [End::Left, End::Right] {
        die_everywhere(some_entries, |d| {
            drop(d.push(end, b"list", Value::Bytes(&[1; 100])));
        });
        die_everywhere(some_entries, |d| {
            drop(d.push(end, b"begun", Value::Bytes(&[1; 100])));
        });
        die_everywhere(some_entries, |d| {
            drop(d.pop(end, b"list"));
        });
        die_everywhere(some_entries, |d| {
            drop(d.pop(end, b"single"));
        });
    }
}

#[test]
fn test_death_within_named_locks() {
    let held = |d: &Dictionary| {
        some_entries(d);
        d.acquire(b"held", 1, 0).expect("it fits");
    };
    die_everywhere(some_entries, |d| {
        drop(d.acquire(b"lock", 1, 900));
    });
    die_everywhere(held, |d| {
        drop(d.release(b"held", 1));
    });
}

#[test]
fn test_death_while_others_make_room() {
    let full = |d: &Dictionary| {
        some_entries(d);
        let mut n = 0u64;
        while d.free_bytes().expect("the lock is free") > 0 {
            d.set(&n.to_le_bytes(), Value::Int(0), 0).expect("it fits");
            n += 1;
        }
    };
    die_everywhere(full, |d| {
        d.set(b"new", Value::Bytes(&[3; 500]), 0).expect("others go");
    });
    die_everywhere(full, |d| {
        drop(d.push(End::Left, b"list", Value::Bytes(&[3; 300])));
    });
}

#[test]
fn test_the_order_of_use_outlives_a_repair() {
    let torn = dictionary(MIN_BYTES);
    some_entries(&torn);
    let before = torn.keys(usize::MAX);
    torn.memory.words()[HEADER_WORDS + LOCK].store(dead(), Relaxed);
    assert_eq!(torn.keys(usize::MAX), before);
    assert_eq!(torn.repairs(), Ok(1));
}
