//! What the relay needs to know of a protocol of messages.
//!
//! # How it works
//! A codec keeps the protocol's state of one side and does no I/O: it takes bytes from a [`Wire`], and writes what it has to
//! say into the side's `out`. When to read, when a side is full, what hooks see, and how long anything may take is not its
//! matter: see [`super::side`] and [`super::relay`].

use std::io::{self, Read, Write};
use std::task::{ready, Context, Poll};

use crate::failure::Failure;
use crate::hooks::message::{Message, Party, Utf8Bytes};
use headgate_net::limits::Limit;
use headgate_net::peer::{Peer, BUFFER_BYTES};
use headgate_shared::metrics::Counter;

/// The protocol's state of one side.
pub(super) trait Codec {
    /// What a peer can do wrong.
    type Fault: Fault;

    /// What is counted, and which limits of the configuration hold.
    const NAMES: Names;

    /// What comes next. `Ready(None)`: something of the protocol's own was dealt with. After anything but a message it is not
    /// asked again.
    fn poll_next(&mut self, wire: &mut Wire<'_, '_>) -> Poll<Option<Event<Self::Fault>>>;

    /// Writes a message.
    fn write(&mut self, message: Message, out: &mut Vec<u8>);

    /// Asks whether the peer is there; any byte of it is a reply.
    fn ping(&mut self, out: &mut Vec<u8>);

    /// Says that nothing more comes from here.
    fn close(&mut self, close: Option<Close>, out: &mut Vec<u8>);

    /// Replies to the peer's close, if that is still to be done.
    fn reply_to_close(&mut self, out: &mut Vec<u8>);

    /// The code that tells a peer of such an end.
    fn code(ending: Ending) -> u16;
}

/// What a peer did wrong.
pub(super) trait Fault: Copy {
    /// What the peer is told as it is closed.
    fn close(self) -> Close;

    /// The failure, if `by` did it.
    fn failure(self, by: Party) -> Failure;

    /// The name of the limit that was hit, if one was.
    fn limit(self) -> Option<&'static str>;
}

/// What of a protocol is counted and bounded, and under which names.
pub(super) struct Names {
    /// Messages.
    pub(super) messages: Counter,
    /// Peers that broke the protocol.
    pub(super) faults: Counter,
    /// Peers that broke a limit of it.
    pub(super) limited: Counter,
    /// The longest time without a message.
    pub(super) idle: Limit,
    /// How long a silent side may take to respond.
    pub(super) ping: Limit,
    /// How long a close's reply is awaited.
    pub(super) close: Limit,
}

/// What came from a side.
pub(super) enum Event<F> {
    Message(Message),
    /// The peer closed, properly.
    Closed(Option<Close>),
    /// The peer closed the connection without saying so.
    Gone,
    /// The peer broke the protocol, or a limit.
    Broken(F),
}

/// What is said at the end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Close {
    pub(super) code: u16,
    pub(super) reason: Utf8Bytes,
}

impl Close {
    pub(super) fn new(code: u16, reason: &str) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }
}

/// Why the gateway closes both sides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    ShuttingDown,
    /// The server was removed from its upstream long ago.
    ServerRemoved,
    Idle,
    /// The other side does not respond.
    PeerGone,
    /// The client broke the protocol.
    ClientBroke,
    /// The server did.
    ServerBroke,
    HookFailed,
}

impl Ending {
    /// The reason that peers are told.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::ShuttingDown => "the gateway is shutting down",
            Self::ServerRemoved => "the server is going away",
            Self::Idle => "nothing was said for too long",
            Self::PeerGone => "the other side is gone",
            Self::ClientBroke | Self::ServerBroke => "the other side broke the protocol",
            Self::HookFailed => "the gateway could not handle a message",
        }
    }
}

/// A peer as a codec reads it, and what waits to be written to it.
pub(super) struct Wire<'a, 'b> {
    pub(super) peer: &'a mut Peer,
    pub(super) out: &'a mut Vec<u8>,
    pub(super) context: &'a mut Context<'b>,
    /// Bytes that the codec has taken.
    pub(super) received: &'a mut u64,
}

impl Wire<'_, '_> {
    /// What is here to be read, after a wait if there is nothing; empty at the peer's end.
    pub(super) fn poll_unread(&mut self) -> Poll<io::Result<&[u8]>> {
        if self.peer.unread().is_empty() {
            ready!(self.peer.poll_fill(self.context, BUFFER_BYTES))?;
        }
        Poll::Ready(Ok(self.peer.unread()))
    }

    /// Marks `n` bytes as taken.
    pub(super) fn consume(&mut self, n: usize) {
        self.peer.consume(n);
        *self.received += n as u64;
    }
}

impl Read for Wire<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Poll::Ready(unread) = self.poll_unread() else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let unread = unread?;
        let n = unread.len().min(buffer.len());
        buffer[..n].copy_from_slice(&unread[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl Write for Wire<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
