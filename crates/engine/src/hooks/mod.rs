//! The seam to the user's code: a trait that the engine calls and `bridge` implements.
//!
//! # How it works
//! A hook is an index into the table that came with the snapshot. The engine calls it with the exchange; the hook responds
//! at once ([`Step::Ready`], the common case, also for an `async def` that does not wait) or with a future that the
//! request's task awaits. Dropping that future cancels the hook: this is what happens when the client disconnects or the
//! hook's deadline passes. A phase without hooks never comes here.

pub(crate) mod channel;
pub(crate) mod configuration;
pub mod connection;
pub mod exchange;
pub(crate) mod intake;
pub(crate) mod message;
pub(crate) mod native;
pub(crate) mod notes;
pub(crate) mod piece;
pub(crate) mod spool;
mod verdict;

use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::task::{ready, Poll};

use tokio::io::ReadBuf;

use connection::ConnectionState;
use exchange::Exchange;
use message::{Message, Party};
use piece::Chunk;
pub use verdict::{
    BodyFailed, BodySource, BodyStep, BodyVerdict, ChunkStep, ChunkVerdict, HookResponse, HookResponseBody,
    LocalFuture, MatcherFailed, MessageStep, MessageVerdict, Read, Step, Verdict,
};

/// Everything the engine calls in user code.
pub trait Hooks {
    /// Runs one hook of any phase. `exchange` has the phase's other arguments (response, attempt, failure).
    fn call(&self, hook: usize, exchange: &Rc<Exchange>) -> Step;

    /// Runs one hook of a connection. It refuses by what it leaves in `connection`; `Verdict::Failed` refuses as well.
    fn connection(&self, hook: usize, connection: &Rc<ConnectionState>) -> Step;

    /// Shows a hook a chunk of what a connection carries.
    fn chunk(&self, hook: usize, connection: &Rc<ConnectionState>, chunk: &[u8]) -> ChunkStep;

    /// Runs one hook of a body phase on a piece of the body, or on all of it; with `is_last` nothing follows.
    fn call_body(&self, _hook: usize, _exchange: &Rc<Exchange>, _chunk: &Chunk, _is_last: bool) -> BodyStep {
        BodyStep::Ready(BodyVerdict::Keep)
    }

    /// Whether a hook of a body phase is to see the body of this exchange at all, as far as is known when it begins.
    fn wants_body(&self, _hook: usize, _exchange: &Rc<Exchange>) -> bool {
        true
    }

    /// Shows a hook a message of a WebSocket.
    fn message(
        &self,
        _hook: usize,
        _exchange: &Rc<Exchange>,
        _message: &Message,
        _from: Party,
    ) -> MessageStep {
        MessageStep::Ready(MessageVerdict::Pass)
    }

    /// A copy of some bytes in the form that hooks take best.
    fn piece(&self, bytes: &[u8]) -> Chunk {
        Rc::new(bytes.to_vec())
    }

    /// A piece in that form which `read` fills, without a copy: with at most `most` bytes, none at the end.
    fn read_piece(&self, most: usize, read: Read<'_>) -> Poll<io::Result<Chunk>> {
        let mut bytes = vec![0; most];
        let mut room = ReadBuf::new(&mut bytes);
        ready!(read(&mut room))?;
        let filled = room.filled().len();
        bytes.truncate(filled);
        Poll::Ready(Ok(Rc::new(bytes)))
    }

    /// A piece in that form of what a pipe holds: as much of `most` bytes as it does.
    fn read_pipe(&self, most: usize, pipe: BorrowedFd<'_>) -> io::Result<Chunk> {
        let mut bytes = Vec::with_capacity(most);
        rustix::io::read(pipe, rustix::buffer::spare_capacity(&mut bytes))?;
        Ok(Rc::new(bytes))
    }

    /// Asks a matcher function whether a route that otherwise fits takes the request. One that fails open counts as no.
    ///
    /// # Errors
    /// It failed (which is logged), and is to fail closed.
    fn matches(&self, function: usize, exchange: &Rc<Exchange>) -> Result<bool, MatcherFailed>;

    /// Lets other threads of the interpreter run; called between requests when the last such break is over a millisecond ago.
    fn yield_gil(&self);
}

/// Hooks for a gateway without any.
pub struct NoHooks;

impl Hooks for NoHooks {
    fn call(&self, _: usize, _: &Rc<Exchange>) -> Step {
        Step::Ready(Verdict::Continue)
    }

    fn connection(&self, _: usize, _: &Rc<ConnectionState>) -> Step {
        Step::Ready(Verdict::Continue)
    }

    fn chunk(&self, _: usize, _: &Rc<ConnectionState>, _: &[u8]) -> ChunkStep {
        ChunkStep::Ready(ChunkVerdict::Pass)
    }

    fn matches(&self, _: usize, _: &Rc<Exchange>) -> Result<bool, MatcherFailed> {
        Ok(false)
    }

    fn yield_gil(&self) {}
}
