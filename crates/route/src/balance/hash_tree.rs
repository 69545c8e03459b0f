//! The same key to the same server among many: weighted rendezvous hashing level by level.
//!
//! How it works: the servers are the leaves of a tree in which each node has up to [`FANOUT`] children, and a node weighs what
//! its leaves weigh. A key goes down from the root, at each node to the child that wins the rendezvous (see
//! [`super::ip_hash`]): `FANOUT log n` steps. A server added at the end takes keys from others and moves none between them
//! (Wang and Ravishankar, "Hash-Based Virtual Hierarchies for Scalable Location Service", 2003).

use super::ip_hash::score;
use super::random::mix;

/// Children of a node.
const FANOUT: usize = 16;

/// The shape of the tree; the weights are sums that the caller keeps.
#[derive(Debug, Clone, Copy)]
pub(super) struct HashTree {
    leaves: usize,
    /// Leaves below a child of the root.
    below_root: usize,
}

impl HashTree {
    /// For weights given as sums up to and with each.
    pub(super) fn new(sums: &[u64]) -> Self {
        let mut below_root = 1;
        while below_root * FANOUT < sums.len() {
            below_root *= FANOUT;
        }
        Self {
            leaves: sums.len(),
            below_root,
        }
    }

    /// The position that the hash of a key leads to; there is one at least.
    pub(super) fn find(&self, sums: &[u64], hash: u64) -> usize {
        let (mut start, mut end) = (0, self.leaves);
        let mut below = self.below_root;
        loop {
            let before = |position: usize| position.checked_sub(1).map_or(0, |at| sums[at]);
            let children = (start..end).step_by(below).map(|first| {
                let last = (first + below).min(end);
                // a node is known by its level and its first leaf
                let node = mix((below as u64) << 32 | first as u64);
                (first, score(hash, node, before(last) - before(first)))
            });
            let winner = children.max_by(|one, other| one.1.total_cmp(&other.1));
            start = winner.map_or(start, |(first, _)| first);
            end = (start + below).min(end);
            if below == 1 {
                return start;
            }
            below /= FANOUT;
        }
    }
}
