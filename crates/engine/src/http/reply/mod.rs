//! Answers that the gateway gives itself: from hooks, redirects, fixed texts, files and error pages.
//!
//! | file | duty |
//! |---|---|
//! | [`make`] | the answer of a route that is no proxy |
//! | [`pages`] | error pages |
//! | [`send`] | `response` hooks, then the way to the client; the head |
//! | [`writer`] | the body |
//! | [`places`] | targets and locations made of a request's parts |

mod filter;
pub(crate) mod grpc;
mod make;
pub(crate) mod page;
mod pages;
mod places;
mod send;
mod tunnel;
mod writer;

use std::fs::File;

use headgate_coding::Coding;
use headgate_wire::{frame_response, Content, Head, ResponseFraming};

use crate::hooks::exchange::Exchange;
use crate::hooks::{Answer, AnswerBody, BodySource};
use crate::http::bodies::begin::content_coding;
use crate::snapshot::BodyHook;
use crate::virtual_stream::VirtualEnd;

pub(crate) use make::make;
pub(crate) use pages::{error_page, refuse};
pub(crate) use places::stripped_path;
pub(crate) use send::{send, send_last};

/// An answer of the gateway's own.
pub(crate) struct Own {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) body: OwnBody,
    /// The `response` hooks have had their say.
    is_final: bool,
    /// They have seen it and let it pass; so the body's hooks see it too.
    is_seen: bool,
    /// The hook that streams it may go on to read the request's body meanwhile.
    pub(crate) reads_on: bool,
}

impl Own {
    fn new(status: u16, headers: Vec<(Vec<u8>, Vec<u8>)>, body: OwnBody) -> Self {
        Self {
            status,
            headers,
            body,
            is_final: false,
            is_seen: false,
            reads_on: false,
        }
    }

    /// A page that tells of a failure: the `error` phase is where it is changed.
    fn page(status: u16, headers: Vec<(Vec<u8>, Vec<u8>)>, body: OwnBody) -> Self {
        Self {
            is_final: true,
            ..Self::new(status, headers, body)
        }
    }

    /// An answer of a `response` hook: no other one sees it.
    pub(crate) fn of_response_hook(answer: Box<Answer>) -> Self {
        Self {
            is_final: true,
            ..answer.into()
        }
    }

    /// An answer of a `request` hook.
    pub(crate) fn of_request_hook(answer: Box<Answer>) -> Self {
        Self {
            reads_on: matches!(answer.body, AnswerBody::Stream(_)),
            ..answer.into()
        }
    }

    /// The Content-Encoding that hooks want undone; `Err` for one that nobody here knows.
    fn coding(&self, hooks: &[BodyHook]) -> Result<Option<Coding>, ()> {
        let mut head = Head::empty();
        for (name, value) in &self.headers {
            // what is no field is refused where the head is written
            let _ = head.add(name, value);
        }
        content_coding(&head, hooks)
    }

    /// How it is framed for its client, whose connection ends with it if it `closes`.
    fn framing(&self, exchange: &Exchange, closes: bool) -> ResponseFraming {
        let content = match &self.body {
            OwnBody::None(told) => Content::None(*told),
            // only chunks have a place for trailers
            OwnBody::Bytes(_) if exchange.has_response_trailers() => Content::Open,
            OwnBody::Bytes(bytes) => Content::Length(bytes.len() as u64),
            OwnBody::Stream(_) => Content::Open,
            // a 101 takes another way; a tunnel with any other status leads nowhere
            OwnBody::Tunnel(_) => Content::None(None),
            OwnBody::File { length, .. } => Content::Length(*length),
        };
        let version = exchange.request.borrow().version;
        frame_response(exchange.asked, self.status, content, version, closes)
    }
}

pub(crate) enum OwnBody {
    /// No body, but perhaps the length that a GET would have had.
    None(Option<u64>),
    Bytes(Vec<u8>),
    Stream(Box<dyn BodySource>),
    Tunnel(VirtualEnd),
    File {
        file: File,
        start: u64,
        length: u64,
    },
}

impl From<Box<Answer>> for Own {
    fn from(answer: Box<Answer>) -> Self {
        let body = match answer.body {
            AnswerBody::Bytes(bytes) => OwnBody::Bytes(bytes),
            AnswerBody::Stream(source) => OwnBody::Stream(source),
            AnswerBody::Tunnel(end) => OwnBody::Tunnel(end),
        };
        Self::new(answer.status, answer.headers, body)
    }
}
