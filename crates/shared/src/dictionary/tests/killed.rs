//! Processes that are killed while they write, and others that go on.

use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::*;
use crate::dictionary::cell::NUMBER;

const WRITER_VARIABLE: &str = "HEADGATE_TEST_DICTIONARY_WRITER";

/// The other side of the tests below: writes until it is killed. Does nothing unless started by them.
#[test]
fn helper_process_that_writes() {
    let Ok(name) = std::env::var(WRITER_VARIABLE) else {
        return;
    };
    let inherited = std::io::stdin().as_fd().try_clone_to_owned();
    let dictionary =
        Dictionary::open(inherited.expect("a descriptor is free")).expect("the parent passed one");
    let limit = Instant::now() + Duration::from_secs(60); // should the parent die first
    let mut n = 0u64;
    while Instant::now() < limit {
        for _ in 0..200 {
            write(&dictionary, &name, n);
            n += 1;
        }
    }
}

/// A bit of everything. A pair is written as one value, so its halves always agree.
fn write(dictionary: &Dictionary, name: &str, n: u64) {
    let key = format!("{name} {}", n % 50);
    let size = usize::try_from(n % 190).expect("it is small");
    let pair = [n.to_le_bytes().repeat(size + 1), n.to_le_bytes().to_vec()].concat();
    dictionary
        .set(key.as_bytes(), Value::Bytes(&pair), n % 3)
        .expect("others go");
    let one = Number::Int(1);
    dictionary
        .incr(b"all", one, Some(Number::Int(0)), 0)
        .expect("it is a number");
    dictionary
        .incr(name.as_bytes(), one, Some(Number::Int(0)), 0)
        .expect("it is a number");
    dictionary
        .push(End::Right, b"queue", Value::Bytes(&pair[..8]))
        .expect("it is popped");
    if n % 2 == 1 {
        dictionary.pop(End::Left, b"queue").expect("it is a list");
        dictionary.pop(End::Right, b"queue").expect("it is a list");
    }
    if n % 17 == 0 {
        dictionary.delete(key.as_bytes()).expect("the lock is free");
    }
}

fn writer(dictionary: &Dictionary, name: &str) -> Child {
    let copy = dictionary
        .fd()
        .try_clone_to_owned()
        .expect("a descriptor is free");
    Command::new(std::env::current_exe().expect("a test has a program"))
        .args(["--exact", "dictionary::tests::killed::helper_process_that_writes"])
        .env(WRITER_VARIABLE, name)
        .stdin(Stdio::from(copy))
        .stdout(Stdio::null())
        .spawn()
        .expect("the test program starts again")
}

fn count(dictionary: &Dictionary, key: &[u8]) -> i64 {
    match dictionary.get(key).expect("the lock is free") {
        Some(Owned::Int(n)) => n,
        other => other.map_or(0, |value| panic!("{value:?} is not a count")),
    }
}

/// All halves agree, and the structure is whole.
fn check(dictionary: &Dictionary) {
    dictionary.audit().expect("all fits together");
    for key in dictionary.keys(usize::MAX).expect("the lock is free") {
        if let Ok(Some(Owned::Bytes(pair))) = dictionary.get(&key) {
            let (first, last) = (&pair[..8], &pair[pair.len() - 8..]);
            assert_eq!(first, last, "half a value in {key:?}");
        }
    }
}

#[test]
fn test_killed_writers_leave_it_whole_and_unlocked() {
    let dictionary = opened_again(&dictionary(1 << 20));
    let mut steady = writer(&dictionary, "steady");
    let kills = 40u64;
    let mut dead = 0;
    for number in 0..kills {
        let name = format!("killed {number}");
        let mut child = writer(&dictionary, &name);
        let before = count(&dictionary, b"steady");
        let limit = Instant::now() + Duration::from_secs(30);
        // it writes for a while, a different while each time, since one cannot choose the instruction
        while count(&dictionary, name.as_bytes()) < 200 + i64::try_from(number * 37 % 501).expect("small") {
            assert!(Instant::now() < limit, "the writer writes");
            std::thread::yield_now();
        }
        child.kill().expect("it is ours");
        child.wait().expect("it ended");
        dead += count(&dictionary, name.as_bytes());
        check(&dictionary);
        while count(&dictionary, b"steady") == before {
            assert!(Instant::now() < limit, "the other one goes on");
            std::thread::yield_now();
        }
    }
    steady.kill().expect("it is ours");
    steady.wait().expect("it ended");
    check(&dictionary);
    let all = count(&dictionary, b"all");
    let sum = dead + count(&dictionary, b"steady");
    // Each writer counts in `all` first: killed in between, it has counted there once more.
    assert!((sum..=sum + 41).contains(&all), "{all} in all, {sum} by writer");
}

#[test]
fn test_a_named_lock_of_a_killed_holder_is_free() {
    let locks = opened_again(&dictionary(64 << 10));
    let mut sleeper = Command::new("sleep")
        .arg("60")
        .spawn()
        .expect("there is a `sleep`");
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", sleeper.id())).expect("it runs");
    let started: u64 = stat
        .rsplit_once(") ")
        .and_then(|(_, fields)| fields.split(' ').nth(19))
        .and_then(|field| field.parse().ok())
        .expect("proc_pid_stat(5)");
    // as if that process had taken it
    locks.acquire(b"l", 7, 0).expect("it fits");
    {
        let (shard, hash) = locks.locked(b"l").expect("the lock is free");
        let entry = shard.find(hash, b"l");
        shard.set_field(entry, NUMBER, started << 22 | u64::from(sleeper.id()));
    }
    assert_eq!(locks.acquire(b"l", 1, 0), Ok(false));
    sleeper.kill().expect("it is ours");
    sleeper.wait().expect("it ended");
    assert_eq!(locks.acquire(b"l", 1, 0), Ok(true));
}
