//! The pool of large buffers that reading borrows from, and the rest that the connections of a worker share.

use std::cell::{Cell, RefCell};

use crate::pipe::Pipes;
use crate::turns::Turns;

/// The size of a pooled buffer, and the most that is read at once.
pub const BUFFER_BYTES: usize = 64 * 1024;

/// The room in front: a head that grew by more is written as a slice of its own.
pub(crate) const HEADROOM: usize = 512;

const POOLED_BUFFERS: usize = 64;

/// Larger heads are rare, and their vectors are not worth keeping.
const MAX_SCRAP_BYTES: usize = 8 * 1024;

/// Free buffers of a worker, each with `HEADROOM` bytes of no meaning.
#[derive(Default)]
pub struct Buffers {
    free: RefCell<Vec<Vec<u8>>>,
    scrap: Cell<Vec<u8>>,
    /// Empty pipes.
    pub pipes: Pipes,
    /// The line of the transfers.
    pub turns: Turns,
}

impl Buffers {
    /// An empty buffer of at least [`BUFFER_BYTES`].
    #[inline]
    pub fn take(&self) -> Vec<u8> {
        let mut buffer = self.take_with_room();
        buffer.clear();
        buffer
    }

    /// One that begins with the room for a head.
    #[inline]
    pub(crate) fn take_with_room(&self) -> Vec<u8> {
        self.free.borrow_mut().pop().unwrap_or_else(|| {
            let mut buffer = Vec::with_capacity(HEADROOM + BUFFER_BYTES);
            buffer.resize(HEADROOM, 0);
            buffer
        })
    }

    /// Takes one back.
    pub fn give(&self, mut buffer: Vec<u8>) {
        // one that has grown is not worth keeping
        if !is_pooled(&buffer) || buffer.capacity() > 2 * BUFFER_BYTES {
            return;
        }
        let mut free = self.free.borrow_mut();
        if free.len() < POOLED_BUFFERS {
            buffer.resize(HEADROOM, 0);
            free.push(buffer);
        }
    }

    /// An empty vector to write a head into.
    #[inline]
    pub fn scrap(&self) -> Vec<u8> {
        self.scrap.take()
    }

    /// Keeps such a vector for the next head.
    #[inline]
    pub fn keep_scrap(&self, mut scrap: Vec<u8>) {
        if scrap.capacity() <= MAX_SCRAP_BYTES {
            scrap.clear();
            self.scrap.set(scrap);
        }
    }
}

/// Whether it is one of the pool's and not one of just the size of what is unread.
pub(crate) fn is_pooled(buffer: &Vec<u8>) -> bool {
    buffer.capacity() >= BUFFER_BYTES
}
