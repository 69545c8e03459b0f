//! The sending half of a request's stream: a response written as HTTP/1 bytes, sent as HEADERS, DATA and trailers.
//!
//! # How it works
//! Frames' heads, field sections and trailers go through `pending`, which leaves before any payload. Payload is taken only
//! as far as the client's windows and the connection's buffer allow. A body whose length is known is one DATA frame.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{ready, Context, Poll, Waker};

use bytes::{Buf, Bytes};
use headgate_wire::http3::{write_frame_header, FrameHead};
use headgate_wire::{Framing, Head};
use http::{HeaderMap, HeaderName};
use quinn::SendStream;
use tokio::task::spawn_local;

use super::fields::{frame, write_section};
use super::frames::varint;
use super::schedule::Turn;
use headgate_upstream::http2::body_splitter::{BodySplitter, Part};
use headgate_upstream::http2::fields::to_map;
use headgate_upstream::http2::outgoing::take_both;
use headgate_wire::http3::write_status_field;

/// The field that says how urgent a response is (RFC 9218).
pub(super) const PRIORITY: HeaderName = HeaderName::from_static("priority");

/// See the module.
pub(super) struct Outgoing {
    /// Absent once it was given to who sends its rest.
    stream: Option<SendStream>,
    /// Absent until the head is sent.
    body: Option<BodySplitter>,
    pending: Bytes,
    /// So many of the next payload belong to a DATA frame that has begun.
    frame_left: u64,
    turn: Rc<Turn>,
    /// The rank that QUIC knows of.
    rank: i32,
}

impl Outgoing {
    pub(super) fn new(stream: SendStream, turn: Rc<Turn>) -> Self {
        Self {
            stream: Some(stream),
            body: None,
            pending: Bytes::new(),
            frame_left: 0,
            turn,
            rank: 0,
        }
    }

    /// Has QUIC send it where its turn is.
    fn set_rank(&mut self) {
        let rank = self.turn.rank();
        if rank != self.rank {
            self.rank = rank;
            if let Some(stream) = &self.stream {
                // it fails only for a stream that the client has stopped
                let _ = stream.set_priority(rank);
            }
        }
    }

    /// Whether the head is still to come.
    pub(super) fn is_at_head(&self) -> bool {
        self.body.is_none()
    }

    /// The stream is ended as it should be.
    pub(super) fn is_done(&self) -> bool {
        self.body.as_ref().is_some_and(BodySplitter::is_done)
    }

    /// Sends an interim response, which its client may wait for.
    pub(super) fn send_interim(&mut self, status: u16, fields: &HeaderMap) {
        let head = section(fields, Some(status));
        self.queue(&head);
        let _ = self.poll_flush(&mut Context::from_waker(Waker::noop()));
    }

    /// Queues the response's head; a response without a body is sent whole.
    pub(super) fn send_head(&mut self, status: u16, fields: &HeaderMap, framing: Framing) {
        if let Some(priority) = fields.get(PRIORITY) {
            self.turn.server_says(priority.as_bytes());
        }
        self.set_rank();
        let head = section(fields, Some(status));
        self.queue(&head);
        let body = self.body.insert(BodySplitter::new(framing));
        if body.is_done() {
            return self.finish();
        }
        if let Framing::Length(length) = framing {
            self.begin_frame(length);
        }
        // whatever leaves now need not wait for the body
        let _ = self.poll_flush(&mut Context::from_waker(Waker::noop()));
    }

    fn queue(&mut self, bytes: &[u8]) {
        self.pending = if self.pending.is_empty() {
            Bytes::copy_from_slice(bytes)
        } else {
            Bytes::from([&self.pending, bytes].concat())
        };
    }

    fn begin_frame(&mut self, length: u64) {
        let mut head = Vec::with_capacity(headgate_wire::http3::MAX_FRAME_HEAD_BYTES);
        write_frame_header(FrameHead::DATA, length, &mut head);
        self.queue(&head);
        self.frame_left = length;
    }

    /// Sends what goes before payload.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            let pending = self.pending.clone();
            let n = ready!(self.poll_put(context, &pending))?;
            self.pending.advance(n);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_put(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        Pin::new(stream)
            .poll_write(context, bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::ConnectionReset, error))
    }

    /// Takes bytes of the body: how many. Pending if none can leave now.
    pub(super) fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        take_both(bytes, &[], |bytes| self.poll_step(context, bytes))
    }

    fn poll_step(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        Poll::Ready(Ok(match body.next(bytes)? {
            Part::Payload { len, .. } => {
                let n = ready!(self.poll_payload(context, &bytes[..len]))?;
                if self.body.as_mut().is_some_and(|body| body.took(n)) {
                    self.finish();
                }
                n
            }
            Part::Framing(n) => n,
            Part::End(n, trailers) => {
                self.send_trailers(trailers.as_ref());
                n
            }
        }))
    }

    /// Sends payload, in the frame that has begun or a new one.
    fn poll_payload(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if self.frame_left == 0 {
            self.begin_frame(bytes.len() as u64);
        }
        ready!(self.poll_flush(context))?;
        let most = usize::try_from(self.frame_left).unwrap_or(usize::MAX);
        let bytes = &bytes[..most.min(bytes.len())];
        self.set_rank();
        let turn = self.turn.clone();
        let n = ready!(turn.poll_write(context, |context| self.poll_put(context, bytes)))?;
        self.frame_left -= n as u64;
        Poll::Ready(Ok(n))
    }

    fn send_trailers(&mut self, trailers: Option<&Head>) {
        if let Some(trailers) = trailers.and_then(|trailers| to_map(trailers, None)) {
            if !trailers.is_empty() {
                let section = section(&trailers, None);
                self.queue(&section);
            }
        }
        self.finish();
    }

    /// Ends the stream behind what is pending, which may have to wait for the client longer than the writer does.
    fn finish(&mut self) {
        if let Some(body) = &mut self.body {
            body.end();
        }
        let flushed = self.poll_flush(&mut Context::from_waker(Waker::noop()));
        match flushed {
            Poll::Ready(Ok(())) => {
                // it fails only for a stream that the client has stopped
                if let Some(stream) = &mut self.stream {
                    let _ = stream.finish();
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                let rest = std::mem::take(&mut self.pending);
                if let Some(mut stream) = self.stream.take() {
                    spawn_local(async move {
                        if stream.write_all(&rest).await.is_ok() {
                            let _ = stream.finish();
                        }
                    });
                }
            }
        }
    }

    /// The writer has no more: the end of a tunnel.
    pub(super) fn shut(&mut self) {
        if self.body.as_ref().is_some_and(BodySplitter::is_raw) {
            self.finish();
        }
    }

    /// Tells the client that what it got is not whole (RFC 9114 section 4.1).
    pub(super) fn reset(&mut self, code: u64) {
        if let Some(stream) = &mut self.stream {
            let _ = stream.reset(varint(code));
        }
    }
}

fn section(fields: &HeaderMap, status: Option<u16>) -> Bytes {
    frame(FrameHead::HEADERS, |out| {
        let begin = |out: &mut Vec<u8>| {
            if let Some(status) = status {
                write_status_field(status, out);
            }
        };
        write_section(fields, begin, out);
    })
}
