//! The receiving half of a stream: a head, then DATA and trailers, read as HTTP/1 bytes (see [`Http1Bytes`]).
//!
//! The next frame is asked for when nothing is left to read, so that a reader that stops stops its peer.

use std::io;
use std::task::{ready, Context, Poll};

use headgate_net::quic::Connection;
use headgate_wire::http3::FrameKind;

use super::fields::{self, Unusable};
use super::frames::{Frames, Wrong};
use crate::http2::http1_bytes::{read_up_to, BodyFraming, Http1Bytes};

/// See the module.
pub struct Incoming {
    connection: Connection,
    frames: Frames,
    message: Http1Bytes,
    /// What the head has declared and has not come yet.
    declared_left: Option<u64>,
    /// The trailer section, as far as it is here.
    trailers: Option<Vec<u8>>,
    max_trailer_bytes: usize,
    /// What the stream ends with, once its message has turned out to be malformed.
    wrong: Option<u64>,
}

impl Incoming {
    /// A message whose head is that text. `declared`: the length of its body, if its peer said it.
    pub fn new(
        connection: Connection,
        frames: Frames,
        (head, framing): (Vec<u8>, BodyFraming),
        declared: Option<u64>,
        max_trailer_bytes: usize,
    ) -> Self {
        Self {
            connection,
            frames,
            message: Http1Bytes::new(head, framing),
            declared_left: declared,
            trailers: None,
            max_trailer_bytes,
            wrong: None,
        }
    }

    /// What the stream ends with, if the message turned out to be malformed.
    pub fn wrong(&self) -> Option<u64> {
        self.wrong
    }

    /// What of the message is here.
    pub fn message(&self) -> &Http1Bytes {
        &self.message
    }

    /// Ready when there are bytes, or the message is finished.
    pub fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.message.wants_more() {
            if let Err(wrong) = ready!(self.poll_step(context)) {
                if let Wrong::Stream(code, _) = wrong {
                    self.wrong = Some(code);
                }
                return Poll::Ready(Err(wrong.broken(&self.connection)));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Wrong>> {
        if self.trailers.is_some() {
            return self.poll_trailers(context);
        }
        if self.frames.has_payload() {
            self.message.put(ready!(self.frames.poll_payload(context))?);
            return Poll::Ready(Ok(()));
        }
        let Some(head) = ready!(self.frames.poll_head(context))? else {
            return Poll::Ready(self.end(None));
        };
        Poll::Ready(match head.kind {
            FrameKind::Data => self.begin_data(head.length),
            FrameKind::Headers if self.message.framing() == BodyFraming::Raw => {
                Err(Wrong::unexpected("a field section in a tunnel"))
            }
            FrameKind::Headers if head.length > self.max_trailer_bytes as u64 => {
                Err(Wrong::message("trailers that are too large"))
            }
            FrameKind::Headers => {
                self.trailers = Some(Vec::new());
                Ok(())
            }
            _ => Err(Wrong::unexpected("a frame that is not one of requests")),
        })
    }

    fn begin_data(&mut self, length: u64) -> Result<(), Wrong> {
        if let Some(left) = &mut self.declared_left {
            *left = left
                .checked_sub(length)
                .ok_or(Wrong::message("a body that is longer than declared"))?;
        }
        self.message
            .begin_piece(usize::try_from(length).unwrap_or(usize::MAX));
        Ok(())
    }

    fn poll_trailers(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Wrong>> {
        let section = self.trailers.get_or_insert_default();
        ready!(self.frames.poll_whole(context, section))?;
        // nothing may follow (RFC 9114 section 4.1)
        if ready!(self.frames.poll_head(context))?.is_some() {
            return Poll::Ready(Err(Wrong::unexpected("a frame behind the trailers")));
        }
        let section = self.trailers.take().unwrap_or_default();
        Poll::Ready(match fields::trailers(&section, self.max_trailer_bytes) {
            Ok(trailers) => self.end(Some(&trailers)),
            Err(Unusable::Wrong(wrong)) => Err(wrong),
            Err(Unusable::TooLarge) => Err(Wrong::message("trailers that are too large")),
        })
    }

    fn end(&mut self, trailers: Option<&http::HeaderMap>) -> Result<(), Wrong> {
        if self.declared_left.is_some_and(|left| left > 0) {
            return Err(Wrong::message("a body that is shorter than declared"));
        }
        self.message.end(trailers);
        Ok(())
    }

    /// Copies what is ready, at most `limit` bytes, to the end of `buffer`; asks for more frames while they are there.
    /// 0 means that the message is finished.
    pub fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Vec<u8>,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        read_up_to(limit, |most| {
            ready!(self.poll_more(context))?;
            Poll::Ready(Ok(self.message.copy(buffer, most).0))
        })
    }

    /// Asks the peer to send no more of it.
    pub fn stop(&mut self, code: u64) {
        self.frames.stop(code);
    }
}
