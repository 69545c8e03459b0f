//! The seam to the user's code: a trait that the engine calls and `bridge` implements.
//!
//! # How it works
//! A hook is an index into the table that came with the snapshot. The engine calls it with the exchange; the hook answers
//! at once ([`Step::Ready`], the common case, also for an `async def` that does not wait) or with a future that the
//! request's task awaits. Dropping that future cancels the hook: this is what happens when the client leaves or the
//! hook's deadline passes. A phase without hooks never comes here.

pub mod connection;
pub mod exchange;

use std::future::Future;
use std::io;
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{ready, Poll};

use tokio::io::ReadBuf;

use crate::hooks::connection::ConnectionState;
use crate::hooks::exchange::Exchange;
use crate::http::bodies::piece::Chunk;
use crate::messages::websocket::{Message, Party};
use crate::virtual_stream::VirtualEnd;

/// A future on the worker's own thread.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// What a hook decided.
pub enum Verdict {
    /// Go on with the next hook or step.
    Continue,
    /// Answer the client with this instead of going on.
    Answer(Box<Answer>),
    /// The hook raised, took too long or returned nonsense, and is declared to fail closed. Already logged.
    Failed,
    /// A `balance` hook chose that server; the index is of the exchange's upstream.
    Server(usize),
    /// A matcher function said yes (only from [`Hooks::matches`]-like hooks).
    Matched,
}

/// The first step of a hook, taken inline.
pub enum Step<T = Verdict> {
    /// The hook is done.
    Ready(T),
    /// The hook waits for something; the future gives its verdict.
    Waiting(LocalFuture<'static, T>),
}

/// What a hook of a body phase decided.
pub enum BodyVerdict {
    /// The piece stays as it is.
    Keep,
    /// This takes its place; empty drops it.
    Replace(Chunk),
    /// Answer the client with this instead: nothing was sent to it yet.
    Answer(Box<Answer>),
    /// As [`Verdict::Failed`].
    Failed,
}

/// The first step of a body hook.
pub type BodyStep = Step<BodyVerdict>;

/// What a hook decided on a message of a WebSocket.
pub enum MessageVerdict {
    /// It goes on as it is.
    Pass,
    /// These go on in its place, if any.
    Replace(Vec<Message>),
    /// As [`Verdict::Failed`].
    Failed,
}

/// The first step of a hook on a message.
pub type MessageStep = Step<MessageVerdict>;

/// An answer made by user code.
pub struct Answer {
    /// 200 to 599.
    pub status: u16,
    /// Field names and values; framing fields are not among them.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// What follows the head.
    pub body: AnswerBody,
}

/// The body of an [`Answer`].
pub enum AnswerBody {
    /// The whole body.
    Bytes(Vec<u8>),
    /// Chunks as they come, for instance from an async generator.
    Stream(Box<dyn BodySource>),
    /// Bytes both ways after a 101: the client asked for another protocol, and user code speaks it.
    Tunnel(VirtualEnd),
}

/// A body made piece by piece.
pub trait BodySource {
    /// The next piece, `None` at the end, or an error (already logged) that cuts the response.
    fn next(&mut self) -> LocalFuture<'_, Option<Result<Vec<u8>, BodyFailed>>>;
}

/// A [`BodySource`] could not go on. It has logged why.
#[derive(Debug)]
pub struct BodyFailed;

/// A matcher function failed, so that it is not known which route is meant.
#[derive(Debug)]
pub struct MatcherFailed;

/// What a hook made of a chunk of a connection's bytes.
pub enum Filtered {
    /// It goes on as it is.
    Pass,
    /// This goes on in its place; nothing, if empty.
    Replace(Vec<u8>),
    /// The hook raised, took too long or returned nonsense. Already logged.
    Failed,
}

/// The first step of a hook on a chunk.
pub type ChunkStep = Step<Filtered>;

/// Reads from a socket into some room.
pub type Read<'a> = &'a mut dyn FnMut(&mut ReadBuf<'_>) -> Poll<io::Result<()>>;

/// Everything the engine asks of user code.
pub trait Hooks {
    /// Runs one hook of any phase. `exchange` tells the phase's other arguments (response, attempt, failure).
    fn call(&self, hook: usize, exchange: &Rc<Exchange>) -> Step;

    /// Runs one hook of a connection. It refuses by what it leaves in `connection`; `Verdict::Failed` refuses as well.
    fn connection(&self, hook: usize, connection: &Rc<ConnectionState>) -> Step;

    /// Shows a hook a chunk of what a connection carries.
    fn chunk(&self, hook: usize, connection: &Rc<ConnectionState>, chunk: &[u8]) -> ChunkStep;

    /// Runs one hook of a body phase on a piece of the body, or on all of it; with `is_last` nothing follows.
    fn call_body(&self, _hook: usize, _exchange: &Rc<Exchange>, _chunk: &Chunk, _is_last: bool) -> BodyStep {
        BodyStep::Ready(BodyVerdict::Keep)
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
    fn breathe(&self);
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
        ChunkStep::Ready(Filtered::Pass)
    }

    fn matches(&self, _: usize, _: &Rc<Exchange>) -> Result<bool, MatcherFailed> {
        Ok(false)
    }

    fn breathe(&self) {}
}
