//! The receiving half of a stream: a head, then DATA and trailers, read as HTTP/1 bytes (see [`super::http1_bytes`]).
//!
//! Flow control is released as data is read, so that a reader that stops stops its peer.

use std::io;
use std::task::{ready, Context, Poll};

use bytes::Bytes;
use h2::RecvStream;

use super::grpc_web::{self, Form};
use super::http1_bytes::{read_up_to, BodyFraming, Http1Bytes};

/// See the module.
pub struct Incoming {
    message: Http1Bytes,
    body: RecvStream,
    /// The response to a browser's call of gRPC.
    web: Option<Form>,
}

impl Incoming {
    /// A message whose head is that text.
    pub fn new(head: Vec<u8>, body: RecvStream, framing: BodyFraming) -> Self {
        Self {
            message: Http1Bytes::new(head, framing),
            body,
            web: None,
        }
    }

    /// As the response to a browser's call of gRPC, if it is one.
    #[inline]
    #[must_use]
    pub fn into_web(mut self, web: Option<Form>) -> Self {
        self.web = web.filter(|_| self.message.framing() == BodyFraming::Chunked);
        self
    }

    /// What of the message is here.
    #[inline]
    pub fn message(&self) -> &Http1Bytes {
        &self.message
    }

    /// Ready when there are bytes, or the message is finished.
    pub fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.message.wants_more() {
            match ready!(self.body.poll_data(context)) {
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
        self.message.begin_piece(data.len());
        self.message.put(data);
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
        self.message.end(trailers.as_ref());
        Poll::Ready(Ok(()))
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
            let (copied, of_data) = self.message.copy(buffer, most);
            if of_data > 0 && self.web.is_none() {
                // it fails only for a stream that is gone, whose windows no longer matter
                let _ = self.body.flow_control().release_capacity(of_data);
            }
            Poll::Ready(Ok(copied))
        })
    }
}

/// An error of a stream as one of a socket.
pub fn broken(error: &h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, in_words(error))
}

/// What ended a stream, with the name of its code (RFC 9113 section 7).
pub(super) fn in_words(error: &h2::Error) -> String {
    if let Some(error) = error.get_io() {
        return headgate_net::reason::in_words(error);
    }
    let code = error.reason().map(|code| format!("{code:?}")).unwrap_or_default();
    if !error.is_remote() {
        format!("the frames break HTTP/2 ({code})")
    } else if error.is_go_away() {
        format!("the connection was ended (GOAWAY with {code})")
    } else {
        format!("the stream was reset (RST_STREAM with {code})")
    }
}
