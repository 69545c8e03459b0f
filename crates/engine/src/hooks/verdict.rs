//! What hooks return, and the bodies they make.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::Poll;

use tokio::io::ReadBuf;

use super::message::Message;
use super::piece::Chunk;
use headgate_net::virtual_stream::VirtualEnd;
use headgate_route::Subset;
use headgate_wire::Head;

/// A future on the worker's own thread.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// What a hook decided.
pub enum Verdict {
    /// Go on with the next hook or step.
    Continue,
    /// Send the client this response instead of going on.
    Respond(Box<HookResponse>),
    /// The hook raised, took too long or returned an invalid value, and is declared to fail closed. Already logged.
    Failed,
    /// A `balance` hook chose that server; the index is of the exchange's upstream.
    Server(usize),
    /// A `retry` hook wants no further attempt.
    NoRetry,
    /// A `balance` hook chose among the servers with these metadata.
    Subset(Box<Subset>),
}

/// The first step of a hook, taken inline.
pub enum Step<T = Verdict> {
    /// The hook is done.
    Ready(T),
    /// The hook waits for something; the future gives its verdict.
    Pending(LocalFuture<'static, T>),
}

/// What a hook of a body phase decided.
pub enum BodyVerdict {
    /// The piece stays as it is.
    Keep,
    /// This takes its place; empty drops it.
    Replace(Chunk),
    /// Send the client this response instead: nothing was sent to it yet.
    Respond(Box<HookResponse>),
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

/// A response made by user code.
pub struct HookResponse {
    /// 200 to 599.
    pub status: u16,
    /// Its fields; framing fields are not among them.
    pub head: Head,
    /// What follows the head.
    pub body: HookResponseBody,
}

/// The body of an [`HookResponse`].
pub enum HookResponseBody {
    /// The whole body.
    Bytes(Vec<u8>),
    /// Chunks as they come, for instance from an async generator.
    Stream(Box<dyn BodySource>),
    /// Bytes both ways after a 101: the client requested another protocol, and user code speaks it.
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
pub enum ChunkVerdict {
    /// It goes on as it is.
    Pass,
    /// This goes on in its place; nothing, if empty.
    Replace(Vec<u8>),
    /// The hook raised, took too long or returned an invalid value. Already logged.
    Failed,
}

/// The first step of a hook on a chunk.
pub type ChunkStep = Step<ChunkVerdict>;

/// Reads from a socket into some room.
pub type Read<'a> = &'a mut dyn FnMut(&mut ReadBuf<'_>) -> Poll<io::Result<()>>;
