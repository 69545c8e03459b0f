//! The receiving half of a request's stream: a head, then DATA and trailers, read as HTTP/1 bytes.
//!
//! # How it works
//! As for HTTP/2: bytes leave in this order, `text` (the head, a chunk's size, the last chunk), then `data`. When both are
//! empty the next frame is asked for, so that a reader that stops stops its client.

use std::io;
use std::task::{ready, Context, Poll};

use bytes::{Buf, Bytes};
use headgate_wire::http3::FrameKind;
use headgate_wire::write_chunk_size;

use super::fields::{self, Unusable};
use super::frames::{Frames, Wrong};
use headgate_upstream::http2::fields::write_lines;
use headgate_upstream::http2::incoming::BodyFraming;

/// See the module.
pub(super) struct Incoming {
    connection: quinn::Connection,
    frames: Frames,
    text: Vec<u8>,
    text_read: usize,
    data: Bytes,
    framing: BodyFraming,
    /// What the head has declared and has not come yet.
    declared_left: Option<u64>,
    owes_crlf: bool,
    /// The trailer section, as far as it is here.
    trailers: Option<Vec<u8>>,
    max_trailer_bytes: usize,
    is_ended: bool,
    /// What the stream ends with, once its message has turned out to be malformed.
    wrong: Option<u64>,
}

impl Incoming {
    /// A request whose head is that text. `declared`: the length of its body, if the client said it.
    pub(super) fn new(
        connection: quinn::Connection,
        frames: Frames,
        (head, framing): (Vec<u8>, BodyFraming),
        declared: Option<u64>,
        max_trailer_bytes: usize,
    ) -> Self {
        Self {
            connection,
            frames,
            text: head,
            text_read: 0,
            data: Bytes::new(),
            framing,
            declared_left: declared,
            owes_crlf: false,
            trailers: None,
            max_trailer_bytes,
            is_ended: framing == BodyFraming::None,
            wrong: None,
        }
    }

    /// What the stream ends with, if the request turned out to be malformed.
    pub(super) fn wrong(&self) -> Option<u64> {
        self.wrong
    }

    /// Nothing is ready, and nothing more will come.
    pub(super) fn is_finished(&self) -> bool {
        self.is_ended && !self.has_bytes()
    }

    /// The end is one that a reader must see (a tunnel's), not just that of a message.
    pub(super) fn is_end_told(&self) -> bool {
        self.framing == BodyFraming::Raw
    }

    /// Whether something is here to read.
    pub(super) fn has_bytes(&self) -> bool {
        self.text_read < self.text.len() || !self.data.is_empty()
    }

    /// Ready when there are bytes, or the message is finished.
    pub(super) fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.has_bytes() && !self.is_ended {
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
            self.data = ready!(self.frames.poll_payload(context))?;
            return Poll::Ready(Ok(()));
        }
        let Some(head) = ready!(self.frames.poll_head(context))? else {
            return Poll::Ready(self.end(None));
        };
        Poll::Ready(match head.kind {
            FrameKind::Data => self.begin_data(head.length),
            FrameKind::Headers if self.framing == BodyFraming::Raw => {
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
        // an empty frame must not look like the last chunk
        if self.framing == BodyFraming::Chunked && length > 0 {
            self.restart_text();
            write_chunk_size(usize::try_from(length).unwrap_or(usize::MAX), &mut self.text);
            self.owes_crlf = true;
        }
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
        if self.framing == BodyFraming::Chunked {
            self.restart_text();
            self.text.extend_from_slice(b"0\r\n");
            if let Some(trailers) = trailers {
                write_lines(trailers, &mut self.text);
            }
            self.text.extend_from_slice(b"\r\n");
        }
        self.is_ended = true;
        Ok(())
    }

    fn restart_text(&mut self) {
        self.text.clear();
        self.text_read = 0;
        if std::mem::take(&mut self.owes_crlf) {
            self.text.extend_from_slice(b"\r\n");
        }
    }

    /// Copies what is ready, at most `limit` bytes, to the end of `buffer`; asks for more frames while they are there.
    /// 0 means that the message is finished.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Vec<u8>,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        let mut left = limit;
        while left > 0 {
            match self.poll_more(context) {
                Poll::Ready(Ok(())) if self.has_bytes() => left -= self.copy(buffer, left),
                Poll::Ready(Ok(())) => break,
                // what came before it is read first
                Poll::Ready(Err(_)) | Poll::Pending if left < limit => break,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(limit - left))
    }

    fn copy(&mut self, buffer: &mut Vec<u8>, most: usize) -> usize {
        let text = &self.text[self.text_read..];
        let of_text = text.len().min(most);
        buffer.extend_from_slice(&text[..of_text]);
        self.text_read += of_text;
        let of_data = self.data.len().min(most - of_text);
        buffer.extend_from_slice(&self.data[..of_data]);
        self.data.advance(of_data);
        of_text + of_data
    }

    /// Asks the client to send no more of it.
    pub(super) fn stop(&mut self, code: u64) {
        self.frames.stop(code);
    }
}
