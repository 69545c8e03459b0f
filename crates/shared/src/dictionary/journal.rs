//! For tests: what an operation stores, in order, so that its death can be tried after each store.

use std::cell::RefCell;

thread_local! {
    static JOURNAL: RefCell<Option<Vec<(usize, u64)>>> = const { RefCell::new(None) };
}

/// Called for every store into a shard.
pub(super) fn record(word: usize, value: u64) {
    JOURNAL.with_borrow_mut(|journal| {
        if let Some(journal) = journal {
            journal.push((word, value));
        }
    });
}

/// Runs `operation` and gives its stores. Only for dictionaries of one shard.
pub(super) fn of(operation: impl FnOnce()) -> Vec<(usize, u64)> {
    JOURNAL.set(Some(Vec::new()));
    operation();
    JOURNAL.take().unwrap_or_default()
}
