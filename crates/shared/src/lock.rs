//! A lock in shared memory that outlives its owner: one word that says which process holds it, or 0.
//!
//! How it works: it is taken by one compare-and-exchange and given back by one store. Whoever waits long enough to
//! wonder asks whether the owner still lives (see [`crate::process`]); if not, it takes the lock from the dead with
//! another compare-and-exchange, which one waiter wins, and has to mend what the lock protects. What is held for is
//! short (well below a microsecond, but for large values), so waiting is spinning, then yielding, then naps.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::{is_alive, pid, token};

/// How the lock was had.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Acquired {
    /// It was free.
    Free,
    /// Its owner died with it: what it protects may be half changed.
    FromTheDead,
}

/// A live owner has kept the lock longer than [`LIMIT`]; it was stopped, or frozen.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stuck {
    pub(crate) pid: u32,
}

/// The longest wait for a live owner.
pub(crate) const LIMIT: Duration = Duration::from_secs(1);

const SPINS: u32 = 200;
const YIELDS: u32 = 50;
const NAP: Duration = Duration::from_micros(50);
/// How often a waiter asks whether the owner lives.
const ASK_EVERY: Duration = Duration::from_millis(1);

/// Takes the lock.
#[inline]
pub(crate) fn take(word: &AtomicU64) -> Result<Acquired, Stuck> {
    let me = token();
    if exchange(word, 0, me) {
        return Ok(Acquired::Free);
    }
    wait(word, me)
}

/// Gives it back.
#[inline]
pub(crate) fn give_back(word: &AtomicU64) {
    word.store(0, Ordering::Release);
}

#[cold]
fn wait(word: &AtomicU64, me: u64) -> Result<Acquired, Stuck> {
    for _ in 0..SPINS {
        std::hint::spin_loop();
        if word.load(Ordering::Relaxed) == 0 && exchange(word, 0, me) {
            return Ok(Acquired::Free);
        }
    }
    let began = Instant::now();
    let mut asked = Duration::ZERO;
    for round in 0u32.. {
        let owner = word.load(Ordering::Relaxed);
        if owner == 0 {
            if exchange(word, 0, me) {
                return Ok(Acquired::Free);
            }
            continue;
        }
        let waited = began.elapsed();
        if waited >= asked + ASK_EVERY {
            asked = waited;
            if !is_alive(owner) {
                if exchange(word, owner, me) {
                    return Ok(Acquired::FromTheDead);
                }
                continue;
            }
            if waited > LIMIT {
                return Err(Stuck { pid: pid(owner) });
            }
        }
        if round < YIELDS {
            thread::yield_now();
        } else {
            thread::sleep(NAP);
        }
    }
    unreachable!("the loop ends by returning, long before its counter does")
}

fn exchange(word: &AtomicU64, from: u64, to: u64) -> bool {
    word.compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed)
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_a_free_lock_is_had_at_once() {
        let word = AtomicU64::new(0);
        assert_eq!(take(&word), Ok(Acquired::Free));
        assert_eq!(word.load(Ordering::Relaxed), token());
        give_back(&word);
        assert_eq!(take(&word), Ok(Acquired::Free));
    }

    #[test]
    fn test_a_dead_owner_loses_it() {
        let word = AtomicU64::new(token() ^ (1 << 40));
        assert_eq!(take(&word), Ok(Acquired::FromTheDead));
    }

    #[test]
    fn test_a_live_owner_keeps_it_and_is_named() {
        let word = AtomicU64::new(token());
        assert_eq!(
            take(&word),
            Err(Stuck {
                pid: std::process::id()
            })
        );
    }

    #[test]
    fn test_threads_take_turns() {
        let word = AtomicU64::new(0);
        let sum = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5000 {
                        take(&word).expect("it is held for a short time only");
                        sum.store(sum.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                        give_back(&word);
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 20_000);
    }
}
