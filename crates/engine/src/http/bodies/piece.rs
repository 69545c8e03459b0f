//! What flows through the stages of a body.

pub(crate) use crate::hooks::piece::Chunk;
use headgate_net::pipe::Pipe;

/// What flows from one stage to the next.
#[derive(Default)]
pub(crate) struct Flow {
    /// Absent or not empty.
    pub(crate) data: Option<Chunk>,
    /// Nothing follows.
    pub(crate) is_last: bool,
    /// All bytes from this one on, where that is known.
    pub(crate) rest: Option<u64>,
    /// The data once more, in a pipe: who leaves it as it is need not copy it back.
    pub(crate) piped: Option<Box<Pipe>>,
}

impl Flow {
    pub(crate) fn of(data: Chunk, is_last: bool) -> Self {
        Self {
            data: (!data.bytes().is_empty()).then_some(data),
            is_last,
            ..Self::default()
        }
    }

    pub(crate) fn end() -> Self {
        Self {
            is_last: true,
            ..Self::default()
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.data.as_ref().map_or(&[], |data| data.bytes())
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes().len()
    }
}

/// Whom a pending poll waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum On {
    /// Whoever sends the body.
    Source,
    /// Whoever receives it.
    Sink,
    /// A hook; its own deadline ends that.
    Hook,
}
