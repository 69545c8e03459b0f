//! The sending half of a request's stream: a head, then a body written as HTTP/1 bytes, sent as HEADERS, DATA and trailers.
//!
//! # How it works
//! Frames' heads, field sections and trailers go through `pending`, which leaves before any payload. Payload is taken only
//! as far as the peer's windows and the connection's buffer allow. A body whose length is known is one DATA frame.

use std::io;
use std::task::{ready, Context, Poll, Waker};

use headgate_net::quic::SendStream;
use headgate_wire::http3::{write_frame_header, FrameHead};
use headgate_wire::{Framing, Head};
use tokio::task::spawn_local;

use super::fields::{frame, write_section};
use super::frames::varint;
use crate::http2::body_splitter::{BodySplitter, Part};
use crate::http2::fields::to_map;
use crate::http2::outgoing::take_both;

/// See the module.
pub struct Outgoing {
    /// Absent once it was given to who sends its rest.
    stream: Option<SendStream>,
    /// Absent until the head is sent.
    body: Option<BodySplitter>,
    pending: Vec<u8>,
    /// So many of the next payload belong to a DATA frame that has begun.
    frame_left: u64,
}

impl Outgoing {
    /// Of a stream that nothing was written to.
    pub fn new(stream: SendStream) -> Self {
        Self {
            stream: Some(stream),
            body: None,
            pending: Vec::new(),
            frame_left: 0,
        }
    }

    /// The stream, unless its end was given away.
    pub fn stream(&self) -> Option<&SendStream> {
        self.stream.as_ref()
    }

    /// Whether the head is still to come.
    pub fn is_at_head(&self) -> bool {
        self.body.is_none()
    }

    /// The stream is ended as it should be.
    pub fn is_done(&self) -> bool {
        self.body.as_ref().is_some_and(BodySplitter::is_done)
    }

    /// Sends an interim response, which its client may wait for.
    pub fn send_interim(&mut self, section: Vec<u8>) {
        self.queue(section);
        let _ = self.poll_flush(&mut Context::from_waker(Waker::noop()));
    }

    /// Queues the message's head; a message without a body is sent whole.
    pub fn send_head(&mut self, section: Vec<u8>, framing: Framing) {
        self.queue(section);
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

    fn queue(&mut self, bytes: Vec<u8>) {
        if self.pending.is_empty() {
            self.pending = bytes;
        } else {
            self.pending.extend_from_slice(&bytes);
        }
    }

    fn begin_frame(&mut self, length: u64) {
        write_frame_header(FrameHead::DATA, length, &mut self.pending);
        self.frame_left = length;
    }

    /// Sends what goes before payload.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            let Some(stream) = &mut self.stream else {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            };
            let n = ready!(put(context, stream, &self.pending))?;
            self.pending.drain(..n);
        }
        Poll::Ready(Ok(()))
    }

    /// Takes bytes of the body: how many. Pending if none can leave now. `write` gives payload to the stream, as [`put`].
    pub fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
        mut write: impl FnMut(&mut Context<'_>, &mut SendStream, &[u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        take_both(bytes, &[], |bytes| self.poll_step(context, bytes, &mut write))
    }

    fn poll_step(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
        write: impl FnMut(&mut Context<'_>, &mut SendStream, &[u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        Poll::Ready(Ok(match body.next(bytes)? {
            Part::Payload { len, .. } => {
                let n = ready!(self.poll_payload(context, &bytes[..len], write))?;
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
    fn poll_payload(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
        mut write: impl FnMut(&mut Context<'_>, &mut SendStream, &[u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if self.frame_left == 0 {
            self.begin_frame(bytes.len() as u64);
        }
        ready!(self.poll_flush(context))?;
        let most = usize::try_from(self.frame_left).unwrap_or(usize::MAX);
        let bytes = &bytes[..most.min(bytes.len())];
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let n = ready!(write(context, stream, bytes))?;
        self.frame_left -= n as u64;
        Poll::Ready(Ok(n))
    }

    fn send_trailers(&mut self, trailers: Option<&Head>) {
        if let Some(trailers) = trailers.and_then(|trailers| to_map(trailers, None)) {
            if !trailers.is_empty() {
                let section = frame(FrameHead::HEADERS, |out| write_section(&trailers, |_| {}, out));
                self.queue(section);
            }
        }
        self.finish();
    }

    /// Ends the stream behind what is pending, which may have to wait for the peer longer than the writer does.
    fn finish(&mut self) {
        if let Some(body) = &mut self.body {
            body.end();
        }
        match self.poll_flush(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => {
                if let Some(stream) = &mut self.stream {
                    stream.finish();
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                let rest = std::mem::take(&mut self.pending);
                if let Some(mut stream) = self.stream.take() {
                    spawn_local(async move {
                        if stream.write_all(&rest).await.is_ok() {
                            stream.finish();
                        }
                    });
                }
            }
        }
    }

    /// The writer has no more: the end of a tunnel.
    pub fn shut(&mut self) {
        if self.body.as_ref().is_some_and(BodySplitter::is_raw) {
            self.finish();
        }
    }

    /// Tells the peer that what it got is not whole (RFC 9114 section 4.1).
    pub fn reset(&mut self, code: u64) {
        if let Some(stream) = &mut self.stream {
            stream.reset(varint(code));
        }
    }
}

/// Gives bytes to a stream: how many it took.
pub fn put(context: &mut Context<'_>, stream: &mut SendStream, bytes: &[u8]) -> Poll<io::Result<usize>> {
    stream
        .poll_write(context, bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::ConnectionReset, error))
}
