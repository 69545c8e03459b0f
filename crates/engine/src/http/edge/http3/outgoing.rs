//! A response on its stream, sent when its turn is.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use headgate_net::quic::SendStream;
use headgate_upstream::http3::fields::{frame, write_section};
use headgate_upstream::http3::outgoing::{put, Outgoing as Message};
use headgate_wire::http3::{write_status_field, FrameHead};
use headgate_wire::Framing;
use http::{HeaderMap, HeaderName};

use super::schedule::Turn;

/// The field that says how urgent a response is (RFC 9218).
pub(super) const PRIORITY: HeaderName = HeaderName::from_static("priority");

/// See the module.
pub(super) struct Outgoing {
    message: Message,
    turn: Rc<Turn>,
    /// The rank that QUIC knows of.
    rank: i32,
}

impl Outgoing {
    pub(super) fn new(stream: SendStream, turn: Rc<Turn>) -> Self {
        Self {
            message: Message::new(stream),
            turn,
            rank: 0,
        }
    }

    /// Whether the head is still to come.
    pub(super) fn is_at_head(&self) -> bool {
        self.message.is_at_head()
    }

    /// The stream is ended as it should be.
    pub(super) fn is_done(&self) -> bool {
        self.message.is_done()
    }

    /// Sends an interim response, which its client may wait for.
    pub(super) fn send_interim(&mut self, status: u16, fields: &HeaderMap) {
        self.message.send_interim(&section(fields, status));
    }

    /// Queues the response's head; a response without a body is sent whole.
    pub(super) fn send_head(&mut self, status: u16, fields: &HeaderMap, framing: Framing) {
        if let Some(priority) = fields.get(PRIORITY) {
            self.turn.server_says(priority.as_bytes());
        }
        if let Some(stream) = self.message.stream() {
            set_rank(&self.turn, &mut self.rank, stream);
        }
        self.message.send_head(&section(fields, status), framing);
    }

    /// Takes bytes of the body: how many. Pending if none can leave now.
    pub(super) fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let (turn, rank) = (&self.turn, &mut self.rank);
        self.message.poll_write(context, bytes, |context, stream, bytes| {
            set_rank(turn, rank, stream);
            turn.poll_write(context, |context| put(context, stream, bytes))
        })
    }

    /// The writer has no more: the end of a tunnel.
    pub(super) fn shut(&mut self) {
        self.message.shut();
    }

    /// Tells the client that what it got is not whole (RFC 9114 section 4.1).
    pub(super) fn reset(&mut self, code: u64) {
        self.message.reset(code);
    }
}

/// Has QUIC send it where its turn is.
fn set_rank(turn: &Turn, known: &mut i32, stream: &SendStream) {
    let rank = turn.rank();
    if rank != *known {
        *known = rank;
        stream.set_priority(rank);
    }
}

fn section(fields: &HeaderMap, status: u16) -> Bytes {
    frame(FrameHead::HEADERS, |out| {
        write_section(fields, |out| write_status_field(status, out), out);
    })
}
