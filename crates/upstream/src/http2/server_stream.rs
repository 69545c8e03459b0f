//! A stream to a server as the byte stream that an attempt writes its request to.
//!
//! # How it works
//! The request's head is parsed as it is written and sent as HEADERS; then [`Outgoing`] takes the body. Reads give the
//! response as HTTP/1 text: interim heads, the head, then [`Incoming`]. The text says `Connection: close`, since the stream
//! serves one request; its connection goes on.
//!
//! A request for a WebSocket becomes an extended CONNECT where the server takes it (RFC 8441), and its response a 101.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{ready, Context, Poll};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::ext::Protocol;
use h2::{Reason, RecvStream};
use headgate_wire::{parse_request, Framing, Parsed, RequestHead, TargetForm};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{header, HeaderValue, Method, Request, Response};

use super::connections::StreamSlot;
use super::fields::{to_map, OWN_HEADS};
use super::grpc_web::{self, Form};
use super::http1_bytes::BodyFraming;
use super::incoming::Incoming;
use super::outgoing::{take_both, Open, Outgoing};
use super::response_text;
use headgate_net::virtual_stream::{Duplex, Peek};

enum Asking {
    /// The head is not complete.
    Head(Vec<u8>),
    /// It is, and its stream waits to be opened.
    Ready(Box<RequestHead>),
    Body(Outgoing),
    /// The request never reached the server.
    Refused,
    /// It asks for a WebSocket, which the server does not take.
    Unsupported,
}

enum ResponseState {
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
pub struct ServerStream {
    send: SendRequest<Bytes>,
    scheme: Scheme,
    asking: Asking,
    /// In a cell, because asking whether bytes are there may take them from `h2`.
    response: RefCell<ResponseState>,
    is_head: bool,
    translates_grpc_web: bool,
    /// How a browser's call is written, if this is one.
    web: Option<Form>,
    /// The key of a WebSocket, if the request asks for one.
    key: Option<Vec<u8>>,
    slot: StreamSlot,
}

impl ServerStream {
    pub fn new(
        send: SendRequest<Bytes>,
        scheme: Scheme,
        translates_grpc_web: bool,
        slot: StreamSlot,
    ) -> Self {
        Self {
            send,
            scheme,
            asking: Asking::Head(Vec::new()),
            response: RefCell::new(ResponseState::Silent),
            is_head: false,
            translates_grpc_web,
            web: None,
            key: None,
            slot,
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
            ready!(self.slot.poll_settled(context));
            if !self.send.is_extended_connect_protocol_enabled() {
                self.asking = Asking::Unsupported;
                return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
            }
            self.key = head.head.get(b"sec-websocket-key").map(<[u8]>::to_vec);
        }
        if ready!(self.send.poll_ready(context)).is_err() {
            self.asking = Asking::Refused;
            return Poll::Ready(Err(refused()));
        }
        let mut request = request_of(head, &self.scheme)?;
        let framing = if self.key.is_some() {
            extend_connect(&mut request);
            Framing::UntilClose
        } else {
            head.framing
        };
        if self.translates_grpc_web {
            self.web = grpc_web::translate_request(request.headers_mut());
        }
        self.is_head = head.is_head();
        if let Ok((response, stream)) = self.send.send_request(request, is_whole(framing)) {
            self.asking = Asking::Body(
                Outgoing::new(stream, framing, Open).out_of_base64(self.web == Some(Form::Text)),
            );
            self.response.replace(ResponseState::Head {
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

impl ResponseState {
    /// Ready when there are bytes to read, or there will be none.
    fn poll_more(
        &mut self,
        context: &mut Context<'_>,
        is_head: bool,
        web: Option<Form>,
        key: Option<&[u8]>,
    ) -> Poll<io::Result<()>> {
        loop {
            match self {
                Self::Silent => return Poll::Pending,
                Self::Body(incoming) => return incoming.poll_more(context),
                Self::Head { response, text } => {
                    // every interim head is there before the final one
                    while let Poll::Ready(Some(interim)) = response.poll_informational(context) {
                        response_text::write_interim(&interim.map_err(|error| failed(&error))?, text);
                    }
                    match Pin::new(response).poll(context) {
                        Poll::Ready(Ok(response)) => {
                            let text = std::mem::take(text);
                            *self = Self::Body(begun(response, is_head, web, key, text)?);
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

/// A response from its head on; `text` is what is to be read before it, `key` the client's who asks for a WebSocket.
fn begun(
    response: Response<RecvStream>,
    is_head: bool,
    web: Option<Form>,
    key: Option<&[u8]>,
    mut text: Vec<u8>,
) -> io::Result<Incoming> {
    let (parts, body) = response.into_parts();
    if let Some(key) = key.filter(|_| parts.status.is_success()) {
        response_text::write_switching(parts, key, &mut text);
        return Ok(Incoming::new(text, body, BodyFraming::Raw));
    }
    let framing = response_text::write_head(parts, body.is_end_stream(), is_head, web, &mut text)?;
    Ok(Incoming::new(text, body, framing).into_web(web))
}

/// Whether the request asks for a WebSocket. Other upgrades are not for HTTP/2 and are left out.
pub(crate) fn is_websocket(head: &RequestHead) -> bool {
    head.upgrade_protocol()
        .is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
}

/// Makes the request an extended CONNECT (RFC 8441 section 5).
fn extend_connect(request: &mut Request<()>) {
    *request.method_mut() = Method::CONNECT;
    request.headers_mut().remove(header::SEC_WEBSOCKET_KEY);
    request
        .extensions_mut()
        .insert(Protocol::from_static("websocket"));
}

/// The request in the types of the crate `http`.
pub(crate) fn request_of(head: &RequestHead, scheme: &Scheme) -> io::Result<Request<()>> {
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
    let length = match head.framing {
        Framing::Length(length) => Some(length),
        _ => None,
    };
    let mut fields = to_map(&head.head, length).ok_or_else(invalid)?;
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
        io::Error::new(io::ErrorKind::ConnectionRefused, super::incoming::in_words(error))
    } else {
        super::incoming::broken(error)
    }
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
            // a WebSocket waits for the server's settings
            Asking::Ready(_) => ready!(self.poll_open(context))?,
            Asking::Head(_) | Asking::Body(_) => {}
        }
        let response = self.response.get_mut();
        ready!(response.poll_more(context, self.is_head, self.web, self.key.as_deref()))?;
        self.slot.settle();
        match response {
            ResponseState::Body(incoming) => incoming.poll_read(context, buffer, limit),
            ResponseState::Head { text, .. } => {
                let n = text.len().min(limit);
                buffer.extend(text.drain(..n));
                Poll::Ready(Ok(n))
            }
            ResponseState::Silent => Poll::Pending,
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
            Asking::Body(outgoing) => outgoing.poll_write(context, bytes),
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
        Poll::Ready(match &mut self.asking {
            Asking::Body(outgoing) if self.key.is_some() => outgoing.shut(),
            // a message says itself where it ends
            _ => Ok(()),
        })
    }

    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.response
            .borrow_mut()
            .poll_more(context, self.is_head, self.web, self.key.as_deref())
    }

    fn poll_write_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn peek(&self) -> Peek {
        match &*self.response.borrow() {
            ResponseState::Body(incoming) if !incoming.message().is_empty() => Peek::Data,
            ResponseState::Body(incoming) if incoming.message().is_finished() => Peek::End,
            ResponseState::Head { text, .. } if !text.is_empty() => Peek::Data,
            _ => Peek::Nothing,
        }
    }
}
