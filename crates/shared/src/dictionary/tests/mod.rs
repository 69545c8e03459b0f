//! Dictionaries in memory, with a clock that the tests set.

mod crash;
mod killed;
mod model;
mod operations;

use std::cell::Cell;

use super::*;

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(1_000) };
}

fn now() -> u64 {
    NOW.get()
}

/// Lets time pass.
fn wait(ms: u64) {
    NOW.set(NOW.get() + ms);
}

fn dictionary(bytes: u64) -> Dictionary {
    let mut made = Dictionary::create(bytes).expect("the system gives a memfd");
    made.now = now;
    made
}

/// The same memory, as another process has it.
fn opened_again(dictionary: &Dictionary) -> Dictionary {
    let copy = dictionary
        .fd()
        .try_clone_to_owned()
        .expect("a descriptor is free");
    Dictionary::open(copy).expect("it is a dictionary")
}
