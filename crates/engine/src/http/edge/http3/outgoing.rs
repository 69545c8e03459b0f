//! A response on its stream, sent when its turn is.

use std::io;
use std::task::{Context, Poll};

use headgate_net::quic::SendStream;
use headgate_upstream::http3::fields::frame;
use headgate_upstream::http3::outgoing::{put, Outgoing as Message};
use headgate_wire::http3::{write_field, write_section_prefix, write_status_field, FrameHead};
use headgate_wire::Framing;
use http::HeaderMap;

use crate::http::edge::priorities::{Turn, PRIORITY};
use crate::http::edge::response_head::Said;

/// A response's head as it is sent.
pub(super) struct Section {
    /// HEADERS.
    frame: Vec<u8>,
    /// What it says of its priority.
    priority: Option<Vec<u8>>,
}

impl Section {
    /// Of these fields. `None` for one that cannot be carried.
    pub(super) fn of(said: &Said<'_>) -> Option<Self> {
        let mut priority = None;
        let mut written = None;
        let frame = frame(FrameHead::HEADERS, |out| {
            write_section_prefix(out);
            write_status_field(said.status, out);
            written = said.each(|name, value| {
                if name == PRIORITY.as_str().as_bytes() {
                    priority = Some(value.to_vec());
                }
                write_field(name, value, out);
            });
        });
        written.map(|()| Self { frame, priority })
    }

    /// Of a status alone.
    pub(super) fn of_status(status: u16) -> Self {
        let frame = frame(FrameHead::HEADERS, |out| {
            write_section_prefix(out);
            write_status_field(status, out);
        });
        Self {
            frame,
            priority: None,
        }
    }
}

/// See the module.
pub(super) struct Outgoing {
    message: Message,
    turn: Turn,
    /// The rank that QUIC knows of.
    rank: i32,
}

impl Outgoing {
    pub(super) fn new(stream: SendStream, turn: Turn) -> Self {
        Self {
            message: Message::new(stream),
            turn,
            rank: 0,
        }
    }

    /// What its client says of how urgent it is.
    pub(super) fn client_says(&self, fields: &HeaderMap) {
        self.turn.client_says(fields);
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
    pub(super) fn send_interim(&mut self, section: Section) {
        self.message.send_interim(section.frame);
    }

    /// Queues the response's head; a response without a body is sent whole.
    pub(super) fn send_head(&mut self, section: Section, framing: Framing) {
        if let Some(priority) = &section.priority {
            self.turn.server_says(priority);
        }
        if let Some(stream) = self.message.stream() {
            set_rank(&self.turn, &mut self.rank, stream);
        }
        self.message.send_head(section.frame, framing);
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
