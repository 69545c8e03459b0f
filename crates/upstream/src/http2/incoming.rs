//! The receiving half of a stream: a head, then DATA and trailers, read as HTTP/1 bytes.
//!
//! # How it works
//! Bytes leave in this order: `text` (the head, a chunk's size, the last chunk), then `data`. When both are empty the next
//! frame is asked for. Flow control is released as data is read, so that a reader that stops stops its peer.

use std::io;
use std::task::{ready, Context, Poll};

use bytes::{Buf, Bytes};
use h2::RecvStream;
use headgate_wire::write_chunk_size;

use super::fields::write_lines;
use super::grpc_web::{self, Form};

/// How the body looks as HTTP/1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyFraming {
    /// There is none.
    None,
    /// As it is; the head told its length, which `h2` holds it to. Trailers have no place.
    Length,
    /// In chunks, with trailers.
    Chunked,
    /// As it is until it ends: a tunnel.
    Raw,
}

/// See the module.
pub struct Incoming {
    text: Vec<u8>,
    text_read: usize,
    data: Bytes,
    body: RecvStream,
    framing: BodyFraming,
    owes_crlf: bool,
    is_ended: bool,
    /// The response to a browser's call of gRPC.
    web: Option<Form>,
}

impl Incoming {
    /// A message whose head is that text.
    pub fn new(head: Vec<u8>, body: RecvStream, framing: BodyFraming) -> Self {
        Self {
            text: head,
            text_read: 0,
            data: Bytes::new(),
            body,
            framing,
            owes_crlf: false,
            is_ended: framing == BodyFraming::None,
            web: None,
        }
    }

    /// As the response to a browser's call of gRPC, if it is one.
    #[inline]
    #[must_use]
    pub fn into_web(mut self, web: Option<Form>) -> Self {
        self.web = web.filter(|_| self.framing == BodyFraming::Chunked);
        self
    }

    /// Nothing is ready, and nothing more will come.
    #[inline]
    pub fn is_finished(&self) -> bool {
        self.is_ended && !self.has_bytes()
    }

    /// The end is one that a reader must see (a tunnel's), not just that of a message.
    #[inline]
    pub fn is_end_told(&self) -> bool {
        self.framing == BodyFraming::Raw
    }

    /// Whether something is here to read.
    #[inline]
    pub fn has_bytes(&self) -> bool {
        self.text_read < self.text.len() || !self.data.is_empty()
    }

    /// Ready when there are bytes, or the message is finished.
    pub fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.has_bytes() && !self.is_ended {
            match ready!(self.body.poll_data(context)) {
                // an empty frame must not look like the last chunk
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => match self.web {
                    None => self.frame(data),
                    Some(form) => {
                        // released before it is read: what is read has another length
                        let _ = self.body.flow_control().release_capacity(data.len());
                        self.frame(grpc_web::encode(form, data));
                    }
                },
                Some(Err(error)) => return Poll::Ready(Err(broken(&error))),
                None => ready!(self.poll_end(context))?,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn frame(&mut self, data: Bytes) {
        if self.framing == BodyFraming::Chunked {
            self.restart_text();
            write_chunk_size(data.len(), &mut self.text);
            self.owes_crlf = true;
        }
        self.data = data;
    }

    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut trailers = ready!(self.body.poll_trailers(context)).map_err(|error| broken(&error))?;
        if let Some(form) = self.web {
            if let Some(told) = trailers.take() {
                // the end itself is told when this is read
                self.frame(grpc_web::encode_trailers(form, &told));
                return Poll::Ready(Ok(()));
            }
        }
        if self.framing == BodyFraming::Chunked {
            self.restart_text();
            self.text.extend_from_slice(b"0\r\n");
            if let Some(trailers) = trailers {
                write_lines(&trailers, &mut self.text);
            }
            self.text.extend_from_slice(b"\r\n");
        }
        self.is_ended = true;
        Poll::Ready(Ok(()))
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
    pub fn poll_read(
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
        if of_data > 0 {
            buffer.extend_from_slice(&self.data[..of_data]);
            self.data.advance(of_data);
            if self.web.is_some() {
                return of_text + of_data;
            }
            // it fails only for a stream that is gone, whose windows no longer matter
            let _ = self.body.flow_control().release_capacity(of_data);
        }
        of_text + of_data
    }
}

/// An error of a stream as one of a socket.
pub fn broken(error: &h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error.to_string())
}
