//! Cells of servers in the shared zone.

use std::collections::{HashMap, HashSet};

use headgate_shared::metrics::{FIRST_SERVER_CELL, SERVER_CELLS};

/// Gives each server of the configuration a cell of its own in the shared zone: the same in every worker with the same
/// configuration, whatever came before.
#[derive(Default)]
pub(super) struct Cells {
    taken: HashSet<u32>,
    given: HashMap<String, u32>,
}

impl Cells {
    pub(super) fn assign(&mut self, name: &str) -> u32 {
        if let Some(cell) = self.given.get(name) {
            return *cell;
        }
        // FNV-1a (Fowler, Noll, Vo): stable over processes, which the standard library's hash is not
        let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        let mut cell = hash % SERVER_CELLS;
        if self.taken.len() < SERVER_CELLS as usize {
            while !self.taken.insert(cell) {
                cell = (cell + 1) % SERVER_CELLS;
            }
        }
        self.given.insert(name.to_owned(), FIRST_SERVER_CELL + cell);
        FIRST_SERVER_CELL + cell
    }
}
