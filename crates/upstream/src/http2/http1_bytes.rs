//! A message as HTTP/1 bytes, whichever version of HTTP it comes in: its head, then its body as the head frames it.
//!
//! # How it works
//! Bytes leave in this order: `text` (the head, a chunk's size, the last chunk), then `data`. Who fills it asks for the next
//! frame when both are empty.

use std::io;
use std::task::Poll;

use bytes::{Buf, Bytes};
use headgate_wire::write_chunk_size;
use http::HeaderMap;

use super::fields::write_lines;

/// How the body looks as HTTP/1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyFraming {
    /// There is none.
    None,
    /// As it is; the head told its length, which whoever reads the frames holds it to. Trailers have no place.
    Length,
    /// In chunks, with trailers.
    Chunked,
    /// As it is until it ends: a tunnel.
    Raw,
}

/// See the module.
pub struct Http1Bytes {
    text: Vec<u8>,
    text_read: usize,
    data: Bytes,
    framing: BodyFraming,
    owes_crlf: bool,
    is_ended: bool,
}

impl Http1Bytes {
    /// A message whose head is that text.
    #[must_use]
    pub fn new(head: Vec<u8>, framing: BodyFraming) -> Self {
        Self {
            text: head,
            text_read: 0,
            data: Bytes::new(),
            framing,
            owes_crlf: false,
            is_ended: framing == BodyFraming::None,
        }
    }

    /// How its body is framed.
    #[inline]
    #[must_use]
    pub fn framing(&self) -> BodyFraming {
        self.framing
    }

    /// The end is one that a reader must see (a tunnel's), not just that of a message.
    #[inline]
    #[must_use]
    pub fn is_end_told(&self) -> bool {
        self.framing == BodyFraming::Raw
    }

    /// Nothing is here, and nothing more will come.
    #[inline]
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.is_ended && self.is_empty()
    }

    /// Nothing is here to read.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text_read == self.text.len() && self.data.is_empty()
    }

    /// Nothing is here, and more may come.
    #[inline]
    #[must_use]
    pub fn wants_more(&self) -> bool {
        self.is_empty() && !self.is_ended
    }

    /// A piece of so many bytes begins: what is put from now on is of it.
    #[inline]
    pub fn begin_piece(&mut self, length: usize) {
        // an empty piece must not look like the last chunk
        if self.framing == BodyFraming::Chunked && length > 0 {
            self.restart_text();
            write_chunk_size(length, &mut self.text);
            self.owes_crlf = true;
        }
    }

    /// Bytes of the piece that has begun.
    #[inline]
    pub fn put(&mut self, data: Bytes) {
        self.data = data;
    }

    /// The body is over.
    pub fn end(&mut self, trailers: Option<&HeaderMap>) {
        if self.framing == BodyFraming::Chunked {
            self.restart_text();
            self.text.extend_from_slice(b"0\r\n");
            if let Some(trailers) = trailers {
                write_lines(trailers, &mut self.text);
            }
            self.text.extend_from_slice(b"\r\n");
        }
        self.is_ended = true;
    }

    fn restart_text(&mut self) {
        self.text.clear();
        self.text_read = 0;
        if std::mem::take(&mut self.owes_crlf) {
            self.text.extend_from_slice(b"\r\n");
        }
    }

    /// Moves what is here, at most `most` bytes, to the end of `buffer`: how many, and how many of them are of the body.
    #[inline]
    pub fn copy(&mut self, buffer: &mut Vec<u8>, most: usize) -> (usize, usize) {
        let text = &self.text[self.text_read..];
        let of_text = text.len().min(most);
        buffer.extend_from_slice(&text[..of_text]);
        self.text_read += of_text;
        let of_data = self.data.len().min(most - of_text);
        if of_data > 0 {
            buffer.extend_from_slice(&self.data[..of_data]);
            self.data.advance(of_data);
        }
        (of_text + of_data, of_data)
    }
}

/// Reads at most `limit` bytes by a step that reads at most what it is told, 0 at the end: what was read before it fails or
/// waits is told first.
#[inline]
pub fn read_up_to(
    limit: usize,
    mut step: impl FnMut(usize) -> Poll<io::Result<usize>>,
) -> Poll<io::Result<usize>> {
    let mut left = limit;
    while left > 0 {
        match step(left) {
            Poll::Ready(Ok(0)) => break,
            Poll::Ready(Ok(n)) => left -= n,
            Poll::Ready(Err(_)) | Poll::Pending if left < limit => break,
            other => return other,
        }
    }
    Poll::Ready(Ok(limit - left))
}
