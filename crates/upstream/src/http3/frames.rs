//! A stream read frame by frame; what a peer did wrong, and how it is told.

use std::io;
use std::task::{ready, Context, Poll};

use bytes::{Buf, Bytes};
use headgate_net::quic::{Connection, ReceiveStream, StreamError};
use quinn_proto::VarInt;

use headgate_wire::http3::{code, FrameHead, FrameKind, MAX_FRAME_HEAD_BYTES};

/// Why a stream, or the whole connection, cannot go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// The connection ends with that code.
    Connection(u64, &'static str),
    /// The stream ends with that code: its message is malformed.
    Stream(u64, &'static str),
    /// The peer has given up, or is gone.
    Gone,
    /// It has not begun with the request, which may be sent again (RFC 9114 section 4.1.1).
    Rejected,
}

impl Wrong {
    /// The message is malformed (RFC 9114 section 4.1.2).
    pub fn message(what: &'static str) -> Self {
        Self::Stream(code::MESSAGE_ERROR, what)
    }

    /// A frame is not where it may be (RFC 9114 section 4.1).
    pub fn unexpected(what: &'static str) -> Self {
        Self::Connection(code::FRAME_UNEXPECTED, what)
    }

    /// What is wrong, for logs.
    pub fn words(self) -> &'static str {
        match self {
            Self::Connection(_, what) | Self::Stream(_, what) => what,
            Self::Gone => "the stream was given up",
            Self::Rejected => "the stream was rejected",
        }
    }

    /// As an error of a socket. A connection that it concerns is closed.
    pub fn broken(self, connection: &Connection) -> io::Error {
        match self {
            Self::Connection(code, what) => {
                close(connection, code, what);
                io::Error::new(io::ErrorKind::ConnectionReset, what)
            }
            Self::Stream(_, what) => io::Error::new(io::ErrorKind::InvalidData, what),
            Self::Gone => io::ErrorKind::ConnectionReset.into(),
            Self::Rejected => io::ErrorKind::ConnectionRefused.into(),
        }
    }
}

/// Ends a connection.
pub fn close(connection: &Connection, code: u64, what: &'static str) {
    connection.close(varint(code), what.as_bytes());
}

/// A code as QUIC takes it.
pub fn varint(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}

/// Bytes taken of a stream at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Frames on one stream that carry nothing: unknown ones, and empty parts of bodies.
const MAX_EMPTY_FRAMES: u32 = 1_000;

/// The receiving half of a stream, read frame by frame.
pub struct Frames {
    stream: ReceiveStream,
    /// Received, and not looked at.
    raw: Bytes,
    /// The begin of a frame's head that is not whole.
    partial: Vec<u8>,
    /// Of the frame under way.
    payload_left: u64,
    is_skipping: bool,
    empty: u32,
    is_ended: bool,
}

impl Frames {
    /// Of a stream that nothing was read of.
    pub fn new(stream: ReceiveStream) -> Self {
        Self {
            stream,
            raw: Bytes::new(),
            partial: Vec::new(),
            payload_left: 0,
            is_skipping: false,
            empty: 0,
            is_ended: false,
        }
    }

    /// Waits until something is there. False: the peer has ended the stream.
    fn poll_raw(&mut self, context: &mut Context<'_>) -> Poll<Result<bool, Wrong>> {
        while self.raw.is_empty() {
            if self.is_ended {
                return Poll::Ready(Ok(false));
            }
            match ready!(self.stream.poll_chunk(context, CHUNK_BYTES)) {
                Ok(Some(chunk)) => self.raw = chunk,
                Ok(None) => self.is_ended = true,
                Err(StreamError::GivenUp(with)) if with == varint(code::REQUEST_REJECTED) => {
                    return Poll::Ready(Err(Wrong::Rejected));
                }
                Err(_) => return Poll::Ready(Err(Wrong::Gone)),
            }
        }
        Poll::Ready(Ok(true))
    }

    /// The next frame that has a meaning; what of the last was not read is passed over. `None` at the stream's end.
    pub fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<FrameHead>, Wrong>> {
        loop {
            if self.is_skipping {
                ready!(self.poll_skip(context))?;
            }
            if !ready!(self.poll_raw(context))? {
                let is_whole = self.partial.is_empty();
                return Poll::Ready(is_whole.then_some(None).ok_or(CUT));
            }
            let Some(head) = self.take_head() else { continue };
            self.payload_left = head.length;
            if head.length == 0 || head.kind == FrameKind::Unknown {
                self.empty += 1;
                if self.empty > MAX_EMPTY_FRAMES {
                    return Poll::Ready(Err(Wrong::Connection(
                        code::EXCESSIVE_LOAD,
                        "too many empty frames",
                    )));
                }
            }
            match head.kind {
                FrameKind::Unknown => self.is_skipping = true,
                FrameKind::Forbidden => return Poll::Ready(Err(Wrong::unexpected("a frame of HTTP/2"))),
                _ => return Poll::Ready(Ok(Some(head))),
            }
        }
    }

    /// Whether nothing more comes, as far as that is known now.
    pub fn is_ended_now(&mut self, context: &mut Context<'_>) -> bool {
        self.payload_left == 0
            && self.partial.is_empty()
            && matches!(self.poll_raw(context), Poll::Ready(Ok(false)))
    }

    fn take_head(&mut self) -> Option<FrameHead> {
        if self.partial.is_empty() {
            if let Some((head, used)) = FrameHead::read(&self.raw) {
                self.raw.advance(used);
                return Some(head);
            }
        }
        let before = self.partial.len();
        let more = self.raw.len().min(MAX_FRAME_HEAD_BYTES - before);
        self.partial.extend_from_slice(&self.raw[..more]);
        let Some((head, used)) = FrameHead::read(&self.partial) else {
            self.raw.advance(more);
            return None;
        };
        self.raw.advance(used - before);
        self.partial.clear();
        Some(head)
    }

    fn poll_skip(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Wrong>> {
        while self.payload_left > 0 {
            ready!(self.poll_payload(context))?;
        }
        self.is_skipping = false;
        Poll::Ready(Ok(()))
    }

    /// The next bytes of the frame under way, which has some left.
    pub fn poll_payload(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, Wrong>> {
        if !ready!(self.poll_raw(context))? {
            return Poll::Ready(Err(CUT));
        }
        let left = usize::try_from(self.payload_left).unwrap_or(usize::MAX);
        let bytes = self.raw.split_to(left.min(self.raw.len()));
        self.payload_left -= bytes.len() as u64;
        Poll::Ready(Ok(bytes))
    }

    /// Whether the frame under way has more.
    pub fn has_payload(&self) -> bool {
        self.payload_left > 0
    }

    /// Collects the frame under way into `payload`, which its caller keeps while this waits.
    pub fn poll_whole(
        &mut self,
        context: &mut Context<'_>,
        payload: &mut Vec<u8>,
    ) -> Poll<Result<(), Wrong>> {
        while self.payload_left > 0 {
            payload.extend_from_slice(&ready!(self.poll_payload(context))?);
        }
        Poll::Ready(Ok(()))
    }

    /// Asks the peer to send no more.
    pub fn stop(&mut self, code: u64) {
        if !self.is_ended {
            self.stream.stop(varint(code));
        }
    }
}

/// A frame that is not whole when its stream ends (RFC 9114 section 7.1).
const CUT: Wrong = Wrong::Connection(code::FRAME_ERROR, "a frame ends before its end");
