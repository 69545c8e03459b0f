//! The sending half of a request's stream: a response written as HTTP/1 bytes, sent as HEADERS, DATA and trailers.
//!
//! # How it works
//! Frames' heads, field sections and trailers go through `pending`, which leaves before any payload. Payload is taken only
//! as far as the client's windows and the connection's buffer allow. A body whose length is known is one DATA frame.

use std::io;
use std::pin::Pin;
use std::task::{ready, Context, Poll, Waker};

use bytes::{Buf, Bytes};
use headgate_wire::http3::{write_frame_header, FrameHead};
use headgate_wire::{ChunkLimits, ChunkStep, ChunkedDecoder, Framing, Head, Lenient};
use http::HeaderMap;
use quinn::SendStream;
use tokio::task::spawn_local;

use super::fields::{frame, write_section};
use super::frames::varint;
use headgate_upstream::http2::fields::to_map;
use headgate_wire::http3::write_status_field;

/// The bytes come from this gateway itself, which has held the peer's to the configured limits.
const OWN_CHUNKS: ChunkLimits = ChunkLimits {
    max_extension_bytes: 0,
    max_trailer_bytes: 1 << 20,
    is_from_server: false,
    lenient: Lenient::NONE,
};

enum BodyState {
    /// The head is not sent.
    Head,
    Done,
    Length(u64),
    Chunked(Box<ChunkedDecoder>),
    /// Until the writer shuts down.
    Raw,
}

/// See the module.
pub(super) struct Outgoing {
    /// Absent once it was given to who sends its rest.
    stream: Option<SendStream>,
    state: BodyState,
    pending: Bytes,
    /// So many of the next bytes are payload of the chunk under way.
    chunk_left: usize,
    /// So many of the next payload belong to a DATA frame that has begun.
    frame_left: u64,
}

impl Outgoing {
    pub(super) fn new(stream: SendStream) -> Self {
        Self {
            stream: Some(stream),
            state: BodyState::Head,
            pending: Bytes::new(),
            chunk_left: 0,
            frame_left: 0,
        }
    }

    /// Whether the head is still to come.
    pub(super) fn is_at_head(&self) -> bool {
        matches!(self.state, BodyState::Head)
    }

    /// The stream is ended as it should be.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, BodyState::Done)
    }

    /// Sends an interim response, which its client may wait for.
    pub(super) fn send_interim(&mut self, status: u16, fields: &HeaderMap) {
        let head = section(fields, Some(status));
        self.queue(&head);
        let _ = self.poll_flush(&mut Context::from_waker(Waker::noop()));
    }

    /// Queues the response's head; a response without a body is sent whole.
    pub(super) fn send_head(&mut self, status: u16, fields: &HeaderMap, framing: Framing) {
        let head = section(fields, Some(status));
        self.queue(&head);
        self.state = match framing {
            Framing::None | Framing::Length(0) => return self.finish(),
            Framing::Length(length) => {
                self.begin_frame(length);
                BodyState::Length(length)
            }
            Framing::Chunked => BodyState::Chunked(Box::new(ChunkedDecoder::new(OWN_CHUNKS))),
            Framing::UntilClose => BodyState::Raw,
        };
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
        let mut taken = 0;
        while taken < bytes.len() {
            match self.poll_step(context, &bytes[taken..]) {
                Poll::Ready(Ok(n)) => taken += n,
                Poll::Ready(Err(_)) | Poll::Pending if taken > 0 => break,
                other => return other,
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_step(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.state {
            // nothing belongs there
            BodyState::Done | BodyState::Head => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            BodyState::Raw => self.poll_payload(context, bytes),
            BodyState::Length(left) => {
                let left = *left;
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                let n = ready!(self.poll_payload(context, &bytes[..most]))?;
                match left - n as u64 {
                    0 => self.finish(),
                    left => self.state = BodyState::Length(left),
                }
                Poll::Ready(Ok(n))
            }
            BodyState::Chunked(_) if self.chunk_left > 0 => {
                let most = self.chunk_left.min(bytes.len());
                let n = ready!(self.poll_payload(context, &bytes[..most]))?;
                self.chunk_left -= n;
                Poll::Ready(Ok(n))
            }
            BodyState::Chunked(decoder) => match decoder.step(bytes) {
                Ok(ChunkStep::NeedMore { consumed }) => Poll::Ready(Ok(consumed)),
                Ok(ChunkStep::Data { consumed_before, len }) => {
                    self.chunk_left = len;
                    Poll::Ready(Ok(consumed_before))
                }
                Ok(ChunkStep::End { consumed }) => {
                    let trailers = decoder.take_trailers();
                    self.send_trailers(trailers.as_ref());
                    Poll::Ready(Ok(consumed))
                }
                Err(error) => Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error))),
            },
        }
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
        let n = ready!(self.poll_put(context, &bytes[..most.min(bytes.len())]))?;
        self.frame_left -= n as u64;
        Poll::Ready(Ok(n))
    }

    fn send_trailers(&mut self, trailers: Option<&Head>) {
        if let Some(trailers) = trailers.and_then(|trailers| to_map(trailers, 0)) {
            if !trailers.is_empty() {
                let section = section(&trailers, None);
                self.queue(&section);
            }
        }
        self.finish();
    }

    /// Ends the stream behind what is pending, which may have to wait for the client longer than the writer does.
    fn finish(&mut self) {
        self.state = BodyState::Done;
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
        if let BodyState::Raw = self.state {
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
