//! The sending half of a stream: a body written as HTTP/1 bytes, sent as DATA and trailers.
//!
//! # How it works
//! The head has told how the body is framed. Payload is taken only as far as the peer's windows allow, so that a writer
//! waits for a slow peer. The frame that ends the stream is sent with the body's last byte where its length is known.

use std::io;
use std::task::{ready, Context, Poll};

use bytes::{Buf, Bytes};
use h2::{Reason, SendStream};
use headgate_wire::{Framing, Head};

use super::body_splitter::{BodySplitter, Part};
use super::fields::to_map;
use super::grpc_web::Base64Decoder;
use super::incoming::broken;

/// Decides when a stream may hand bytes to `h2`, beside the peer's windows, and as what it does.
pub trait Gate {
    /// What `h2` is given.
    type Piece: Buf;

    /// How much may be handed over, of what is wanted. Pending while that is nothing.
    ///
    /// # Errors
    /// The peer has reset the stream.
    fn poll_room(
        &self,
        context: &mut Context<'_>,
        stream: &mut SendStream<Self::Piece>,
        wanted: usize,
    ) -> Poll<io::Result<usize>>;

    /// Bytes that are handed over.
    fn piece(&self, bytes: Bytes) -> Self::Piece;
}

/// Decides nothing.
pub struct Open;

impl Gate for Open {
    type Piece = Bytes;

    #[inline]
    fn poll_room(
        &self,
        _: &mut Context<'_>,
        _: &mut SendStream<Bytes>,
        wanted: usize,
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(wanted))
    }

    #[inline]
    fn piece(&self, bytes: Bytes) -> Bytes {
        bytes
    }
}

/// See the module.
pub struct Outgoing<G: Gate = Open> {
    stream: SendStream<G::Piece>,
    gate: G,
    body: BodySplitter,
    /// The payload is base64 (gRPC-Web) and leaves without it.
    decoder: Option<Base64Decoder>,
}

impl<G: Gate> Outgoing<G> {
    /// For a stream whose head is sent; it is ended already if `framing` says that there is no body.
    pub fn new(stream: SendStream<G::Piece>, framing: Framing, gate: G) -> Self {
        Self {
            stream,
            gate,
            body: BodySplitter::new(framing),
            decoder: None,
        }
    }

    /// The payload is base64, and leaves without it.
    #[inline]
    #[must_use]
    pub fn out_of_base64(mut self, is_base64: bool) -> Self {
        self.decoder = is_base64.then(Base64Decoder::default);
        self
    }

    /// The stream is ended as it should be.
    #[inline]
    pub fn is_done(&self) -> bool {
        self.body.is_done()
    }

    /// Takes bytes of the body: how many. Pending if the windows allow none.
    pub fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        take_both(bytes, &[], |bytes| self.poll_step(context, bytes))
    }

    fn poll_step(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(match self.body.next(bytes)? {
            Part::Payload { len, is_last } => {
                let n = ready!(self.poll_send(context, &bytes[..len], is_last))?;
                self.body.took(n);
                n
            }
            Part::Framing(n) => n,
            Part::End(n, trailers) => {
                self.finish(trailers.as_ref())?;
                n
            }
        }))
    }

    /// Sends what the windows allow. `is_last`: all of it would end the stream.
    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
        is_last: bool,
    ) -> Poll<io::Result<usize>> {
        let room = ready!(self.gate.poll_room(context, &mut self.stream, bytes.len()))?;
        let n = ready!(self.poll_capacity(context, room))?;
        let is_last = is_last && n == bytes.len();
        let data = match &mut self.decoder {
            None => Bytes::copy_from_slice(&bytes[..n]),
            Some(decoder) => {
                let data = decoder.decode(&bytes[..n]).ok();
                let Some(data) = data.filter(|_| !is_last || decoder.is_at_end()) else {
                    // the server must not take what came for the whole
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                };
                data
            }
        };
        self.stream
            .send_data(self.gate.piece(data), is_last)
            .map_err(|error| broken(&error))?;
        Poll::Ready(Ok(n))
    }

    fn poll_capacity(&mut self, context: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        let mut have = self.stream.capacity();
        if have < wanted {
            self.stream.reserve_capacity(wanted);
            have = self.stream.capacity();
        }
        while have == 0 {
            match ready!(self.stream.poll_capacity(context)) {
                Some(Ok(n)) => have = n,
                Some(Err(error)) => return Poll::Ready(Err(broken(&error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        Poll::Ready(Ok(have.min(wanted)))
    }

    fn finish(&mut self, trailers: Option<&Head>) -> io::Result<()> {
        self.body.end();
        let sent = match trailers.and_then(|trailers| to_map(trailers, None)) {
            Some(trailers) => self.stream.send_trailers(trailers),
            None => self.stream.send_data(self.gate.piece(Bytes::new()), true),
        };
        sent.map_err(|error| broken(&error))
    }

    /// The writer has no more: the end of a tunnel.
    #[inline]
    pub fn shut(&mut self) -> io::Result<()> {
        if self.body.is_raw() {
            self.finish(None)?;
        }
        Ok(())
    }

    /// Ready when the peer has reset the stream.
    #[inline]
    pub fn poll_reset(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_reset(context).map(drop)
    }

    /// Tells the peer that what it got is not whole (RFC 9113 section 8.1).
    #[inline]
    pub fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }
}

/// Writes two slices by a step that takes a part of what it is given: what was taken before it fails or waits is told first.
pub fn take_both(
    first: &[u8],
    second: &[u8],
    mut step: impl FnMut(&[u8]) -> Poll<io::Result<usize>>,
) -> Poll<io::Result<usize>> {
    let mut taken = 0;
    for bytes in [first, second] {
        let mut at = 0;
        while at < bytes.len() {
            match step(&bytes[at..]) {
                Poll::Ready(Ok(n)) => at += n,
                Poll::Ready(Err(_)) | Poll::Pending if taken + at > 0 => return Poll::Ready(Ok(taken + at)),
                other => return other,
            }
        }
        taken += at;
    }
    Poll::Ready(Ok(taken))
}
