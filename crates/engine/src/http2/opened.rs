//! A stream to a server as the byte stream that an attempt writes its request to.
//!
//! # How it works
//! The request's head is parsed as it is written and sent as HEADERS; then [`Outgoing`] takes the body. Reads give the
//! answer as HTTP/1 text: interim heads, the head, then [`Incoming`]. The text says `Connection: close`, since the stream
//! serves one request; its connection goes on.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{ready, Context, Poll};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::Reason;
use headgate_wire::{parse_request, Framing, Parsed, RequestHead, TargetForm};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{header, HeaderValue, Method, Request};

use super::accepted::OWN_HEADS;
use super::answer_text;
use super::fields::to_map;
use super::grpc_web::{self, Form};
use super::incoming::Incoming;
use super::outgoing::Outgoing;
use super::upstream::Place;
use crate::virtual_stream::{Duplex, Peek};

enum Asking {
    /// The head is not complete.
    Head(Vec<u8>),
    /// It is, and its stream waits to be opened.
    Ready(Box<RequestHead>),
    Body(Outgoing),
    /// The request never reached the server.
    Refused,
}

enum Answering {
    /// Nothing was asked yet.
    Silent,
    Head {
        response: ResponseFuture,
        /// What is to be read before the head itself: interim heads.
        text: Vec<u8>,
    },
    Body(Incoming),
}

/// See the module.
pub(crate) struct Opened {
    send: SendRequest<Bytes>,
    scheme: Scheme,
    asking: Asking,
    /// In a cell, because asking whether bytes are there may take them from `h2`.
    answering: RefCell<Answering>,
    is_head: bool,
    translates_grpc_web: bool,
    /// How a browser's call is written, if this is one.
    web: Option<Form>,
    _place: Place,
}

impl Opened {
    pub(super) fn new(
        send: SendRequest<Bytes>,
        scheme: Scheme,
        translates_grpc_web: bool,
        place: Place,
    ) -> Self {
        Self {
            send,
            scheme,
            asking: Asking::Head(Vec::new()),
            answering: RefCell::new(Answering::Silent),
            is_head: false,
            translates_grpc_web,
            web: None,
            _place: place,
        }
    }

    /// Takes a part of the request's head: how much.
    fn take_head(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Asking::Head(text) = &mut self.asking else {
            return Ok(0);
        };
        let before = text.len();
        text.extend_from_slice(bytes);
        match parse_request(text, OWN_HEADS) {
            Ok(Parsed::Complete { head, len }) => {
                self.asking = Asking::Ready(Box::new(head));
                Ok(len - before)
            }
            Ok(Parsed::Partial) => Ok(bytes.len()),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }

    /// Opens the stream, as soon as the server allows one more.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Asking::Ready(head) = &self.asking else {
            return Poll::Ready(Ok(()));
        };
        if ready!(self.send.poll_ready(context)).is_err() {
            self.asking = Asking::Refused;
            return Poll::Ready(Err(refused()));
        }
        let (mut request, framing) = (request_of(head, &self.scheme)?, head.framing);
        if self.translates_grpc_web {
            self.web = grpc_web::translate_request(request.headers_mut());
        }
        self.is_head = head.is_head();
        if let Ok((response, stream)) = self.send.send_request(request, is_whole(framing)) {
            self.asking =
                Asking::Body(Outgoing::new(stream, framing).out_of_base64(self.web == Some(Form::Text)));
            self.answering.replace(Answering::Head {
                response,
                text: Vec::new(),
            });
            Poll::Ready(Ok(()))
        } else {
            self.asking = Asking::Refused;
            Poll::Ready(Err(refused()))
        }
    }
}

impl Answering {
    /// Ready when there are bytes to read, or there will be none.
    fn poll_more(
        &mut self,
        context: &mut Context<'_>,
        is_head: bool,
        web: Option<Form>,
    ) -> Poll<io::Result<()>> {
        loop {
            match self {
                Self::Silent => return Poll::Pending,
                Self::Body(incoming) => return incoming.poll_more(context),
                Self::Head { response, text } => {
                    // every interim head is there before the final one
                    while let Poll::Ready(Some(interim)) = response.poll_informational(context) {
                        answer_text::write_interim(&interim.map_err(|error| failed(&error))?, text);
                    }
                    match Pin::new(response).poll(context) {
                        Poll::Ready(Ok(response)) => {
                            let text = std::mem::take(text);
                            *self = Self::Body(answer_text::incoming(response, is_head, web, text)?);
                        }
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(failed(&error))),
                        Poll::Pending if !text.is_empty() => return Poll::Ready(Ok(())),
                        Poll::Pending => return Poll::Pending,
                    }
                }
            }
        }
    }
}

/// The request for `h2`.
fn request_of(head: &RequestHead, scheme: &Scheme) -> io::Result<Request<()>> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let path = if head.form == TargetForm::Authority {
        return Err(invalid());
    } else {
        PathAndQuery::try_from(head.target()).map_err(|_| invalid())?
    };
    let uri = Uri::builder()
        .scheme(scheme.clone())
        .authority(Authority::try_from(head.host()).map_err(|_| invalid())?)
        .path_and_query(path)
        .build()
        .map_err(|_| invalid())?;
    let mut fields = to_map(&head.head, 3).ok_or_else(invalid)?;
    if let Framing::Length(length) = head.framing {
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    if head.te_trailers {
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if head.expect_continue {
        fields.insert(header::EXPECT, HeaderValue::from_static("100-continue"));
    }
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(head.method()).map_err(|_| invalid())?;
    *request.uri_mut() = uri;
    *request.version_mut() = http::Version::HTTP_2;
    *request.headers_mut() = fields;
    Ok(request)
}

fn is_whole(framing: Framing) -> bool {
    matches!(framing, Framing::None | Framing::Length(0))
}

/// The server has not begun with the request: it can be sent again, whatever it is (RFC 9113 section 8.7).
fn refused() -> io::Error {
    io::ErrorKind::ConnectionRefused.into()
}

fn failed(error: &h2::Error) -> io::Error {
    let is_unprocessed =
        error.reason() == Some(Reason::REFUSED_STREAM) || (error.is_go_away() && error.is_remote());
    if is_unprocessed {
        refused()
    } else {
        super::incoming::broken(error)
    }
}

impl Duplex for Opened {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Vec<u8>,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        if let Asking::Refused = self.asking {
            return Poll::Ready(Err(refused()));
        }
        let answering = self.answering.get_mut();
        ready!(answering.poll_more(context, self.is_head, self.web))?;
        match answering {
            Answering::Body(incoming) => incoming.poll_read(context, buffer, limit),
            Answering::Head { text, .. } => {
                let n = text.len().min(limit);
                buffer.extend(text.drain(..n));
                Poll::Ready(Ok(n))
            }
            Answering::Silent => Poll::Pending,
        }
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut taken = 0;
        for bytes in [first, second] {
            let mut at = 0;
            while at < bytes.len() {
                let step = match &mut self.asking {
                    Asking::Head(_) => Poll::Ready(self.take_head(&bytes[at..])),
                    Asking::Ready(_) => self.poll_open(context).map_ok(|()| 0),
                    Asking::Body(outgoing) => outgoing.poll_write(context, &bytes[at..]),
                    Asking::Refused => Poll::Ready(Err(refused())),
                };
                match step {
                    Poll::Ready(Ok(n)) => at += n,
                    Poll::Ready(Err(_)) | Poll::Pending if taken + at > 0 => {
                        return Poll::Ready(Ok(taken + at))
                    }
                    other => return other,
                }
            }
            taken += at;
        }
        // a request without body is whole with its head
        match self.poll_open(context) {
            Poll::Ready(Err(error)) if taken == 0 => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(taken)),
        }
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.answering
            .borrow_mut()
            .poll_more(context, self.is_head, self.web)
    }

    fn poll_write_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn peek(&self) -> Peek {
        match &*self.answering.borrow() {
            Answering::Body(incoming) if incoming.has_bytes() => Peek::Data,
            Answering::Body(incoming) if incoming.is_finished() => Peek::End,
            Answering::Head { text, .. } if !text.is_empty() => Peek::Data,
            _ => Peek::Nothing,
        }
    }
}
