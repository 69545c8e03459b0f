//! A stream to a server as the byte stream that an attempt writes its request to.
//!
//! # How it works
//! The request's head is parsed as it is written and sent as HEADERS; then [`Outgoing`] takes the body. Reads give the
//! response as HTTP/1 text: interim heads, the head, then [`Incoming`]. The text says `Connection: close`, since the stream
//! serves one request; its connection goes on. A stream that is dropped before its request is whole is reset.

use std::cell::RefCell;
use std::io;
use std::task::{ready, Context, Poll};

use headgate_net::quic::ReceiveStream;
use headgate_net::virtual_stream::{Duplex, Peek};
use headgate_wire::http3::{code, write_field, FrameHead, FrameKind};
use headgate_wire::{parse_request, Parsed, RequestHead};
use http::uri::Scheme;
use http::{Request, Response};

use super::connections::Place;
use super::fields::{frame, response, write_section, Unusable};
use super::frames::{Frames, Wrong};
use super::incoming::Incoming;
use super::outgoing::{put, Outgoing};
use crate::http2::fields::OWN_HEADS;
use crate::http2::outgoing::take_both;
use crate::http2::response_text;
use crate::http2::server_stream::{is_websocket, request_of};

enum Asking {
    /// The head is not complete.
    Head(Vec<u8>),
    /// It is, and its stream waits to be opened.
    Ready(Box<RequestHead>),
    Body(Outgoing),
    /// The request never reached the server.
    Refused,
    /// It asks for a WebSocket, which is not spoken with servers over HTTP/3.
    Unsupported,
}

enum ResponseState {
    /// Nothing was asked yet.
    Silent,
    Head(Awaited),
    Body(Incoming),
    /// It cannot be read on.
    Broken(io::ErrorKind, &'static str),
}

/// A response whose head is to come.
struct Awaited {
    /// Absent once the body took it.
    frames: Option<Frames>,
    section: Vec<u8>,
    is_within: bool,
    /// What is to be read before the head itself: interim heads.
    text: Vec<u8>,
}

/// See the module.
pub(super) struct ServerStream {
    asking: Asking,
    /// In a cell, because asking whether bytes are there may take them from the stream.
    response: RefCell<ResponseState>,
    is_head: bool,
    place: Place,
}

impl ServerStream {
    pub(super) fn new(place: Place) -> Self {
        Self {
            asking: Asking::Head(Vec::new()),
            response: RefCell::new(ResponseState::Silent),
            is_head: false,
            place,
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
        if is_websocket(head) {
            self.asking = Asking::Unsupported;
            return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
        }
        let Ok((send, receive)) = ready!(self.place.0.connection.poll_open(context)) else {
            self.asking = Asking::Refused;
            return Poll::Ready(Err(refused()));
        };
        let section = section(&request_of(head, &Scheme::HTTPS)?);
        self.is_head = head.is_head();
        let mut outgoing = Outgoing::new(send);
        outgoing.send_head(section, head.framing);
        self.asking = Asking::Body(outgoing);
        self.response.replace(ResponseState::Head(Awaited::new(receive)));
        Poll::Ready(Ok(()))
    }

    fn poll_more(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut response = self.response.borrow_mut();
        loop {
            match &mut *response {
                ResponseState::Silent => return Poll::Pending,
                ResponseState::Broken(kind, why) => return Poll::Ready(Err(io::Error::new(*kind, *why))),
                ResponseState::Body(incoming) => return incoming.poll_more(context),
                ResponseState::Head(awaited) => match awaited.poll(context, self.is_head) {
                    Poll::Ready(Ok((text, framing, length))) => {
                        let Some(frames) = awaited.frames.take() else {
                            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                        };
                        let connection = self.place.0.connection.clone();
                        let most = OWN_HEADS.max_bytes;
                        let message = Incoming::new(connection, frames, (text, framing), length, most);
                        *response = ResponseState::Body(message);
                    }
                    Poll::Ready(Err(wrong)) => {
                        let error = wrong.broken(&self.place.0.connection);
                        *response = ResponseState::Broken(error.kind(), wrong.words());
                    }
                    Poll::Pending if !awaited.text.is_empty() => return Poll::Ready(Ok(())),
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
    }
}

type Begun = (Vec<u8>, crate::http2::http1_bytes::BodyFraming, Option<u64>);

impl Awaited {
    fn new(receive: ReceiveStream) -> Self {
        Self {
            frames: Some(Frames::new(receive)),
            section: Vec::new(),
            is_within: false,
            text: Vec::new(),
        }
    }

    /// The head as text, how the body follows it, and the length that it declares.
    fn poll(&mut self, context: &mut Context<'_>, is_head: bool) -> Poll<Result<Begun, Wrong>> {
        let Some(frames) = &mut self.frames else {
            return Poll::Ready(Err(Wrong::Gone));
        };
        loop {
            if !self.is_within {
                let head = ready!(frames.poll_head(context))?.ok_or(Wrong::message("no response"))?;
                if head.kind != FrameKind::Headers {
                    return Poll::Ready(Err(Wrong::unexpected(
                        "a response that does not begin with its fields",
                    )));
                }
                if head.length > OWN_HEADS.max_bytes as u64 {
                    return Poll::Ready(Err(Wrong::message("a head that is too large")));
                }
                self.is_within = true;
            }
            ready!(frames.poll_whole(context, &mut self.section))?;
            self.is_within = false;
            let parts = response(&self.section, OWN_HEADS.max_bytes).map_err(|unusable| match unusable {
                Unusable::Wrong(wrong) => wrong,
                Unusable::TooLarge => Wrong::message("a head that is too large"),
            })?;
            self.section.clear();
            if parts.status.is_informational() {
                response_text::write_interim(&Response::from_parts(parts, ()), &mut self.text);
                continue;
            }
            let is_ended = frames.is_ended_now(context);
            let mut text = std::mem::take(&mut self.text);
            let length = parts.headers.get(http::header::CONTENT_LENGTH).cloned();
            let framing = response_text::write_head(parts, is_ended, is_head, None, &mut text)
                .map_err(|_| Wrong::message("a length that is not one"))?;
            let length = length.and_then(|length| crate::http2::fields::number(length.as_bytes()));
            return Poll::Ready(Ok((text, framing, length)));
        }
    }
}

/// The request's head as a frame.
fn section(request: &Request<()>) -> Vec<u8> {
    let uri = request.uri();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let pseudo: [(&[u8], &[u8]); 4] = [
        (b":method", request.method().as_str().as_bytes()),
        (b":scheme", b"https"),
        (
            b":authority",
            uri.authority().map_or("", |name| name.as_str()).as_bytes(),
        ),
        (b":path", path.as_bytes()),
    ];
    frame(FrameHead::HEADERS, |out| {
        let begin = |out: &mut Vec<u8>| {
            for (name, value) in pseudo {
                write_field(name, value, out);
            }
        };
        write_section(request.headers(), begin, out);
    })
}

/// The server has not begun with the request: it can be sent again, whatever it is (RFC 9114 section 4.1.1).
fn refused() -> io::Error {
    io::ErrorKind::ConnectionRefused.into()
}

impl Duplex for ServerStream {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Vec<u8>,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        match self.asking {
            Asking::Refused => return Poll::Ready(Err(refused())),
            Asking::Unsupported => return Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
            Asking::Ready(_) => ready!(self.poll_open(context))?,
            Asking::Head(_) | Asking::Body(_) => {}
        }
        ready!(self.poll_more(context))?;
        match self.response.get_mut() {
            ResponseState::Body(incoming) => incoming.poll_read(context, buffer, limit),
            ResponseState::Head(awaited) => {
                let n = awaited.text.len().min(limit);
                buffer.extend(awaited.text.drain(..n));
                Poll::Ready(Ok(n))
            }
            ResponseState::Silent | ResponseState::Broken(..) => Poll::Pending,
        }
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = ready!(take_both(first, second, |bytes| match &mut self.asking {
            Asking::Head(_) => Poll::Ready(self.take_head(bytes)),
            Asking::Ready(_) => self.poll_open(context).map_ok(|()| 0),
            Asking::Body(outgoing) => outgoing.poll_write(context, bytes, put),
            Asking::Refused => Poll::Ready(Err(refused())),
            Asking::Unsupported => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
        }))?;
        // a request without body is whole with its head
        match self.poll_open(context) {
            Poll::Ready(Err(error)) if taken == 0 => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(taken)),
        }
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // a message says itself where it ends
        Poll::Ready(Ok(()))
    }

    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_more(context)
    }

    fn poll_write_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn peek(&self) -> Peek {
        match &*self.response.borrow() {
            ResponseState::Body(incoming) if !incoming.message().is_empty() => Peek::Data,
            ResponseState::Body(incoming) if incoming.message().is_finished() => Peek::End,
            ResponseState::Head(awaited) if !awaited.text.is_empty() => Peek::Data,
            ResponseState::Broken(..) => Peek::Broken,
            _ => Peek::Nothing,
        }
    }
}

impl Drop for ServerStream {
    fn drop(&mut self) {
        if let Asking::Body(outgoing) = &mut self.asking {
            if !outgoing.is_done() {
                outgoing.reset(code::REQUEST_CANCELLED);
            }
        }
        match self.response.get_mut() {
            ResponseState::Body(incoming) => incoming.stop(code::REQUEST_CANCELLED),
            ResponseState::Head(Awaited {
                frames: Some(frames), ..
            }) => frames.stop(code::REQUEST_CANCELLED),
            _ => {}
        }
    }
}
