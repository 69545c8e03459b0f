//! A response that the gateway gives itself, before its head is written.

use crate::hooks::exchange::Exchange;
use crate::hooks::{BodySource, HookResponse, HookResponseBody};
use crate::http::bodies::begin::content_coding;
use crate::snapshot::BodyHook;
use crate::state::connection::Next;
use headgate_coding::Coding;
use headgate_net::virtual_stream::VirtualEnd;
use headgate_wire::{frame_response, Content, Head, ResponseFraming};
use std::fs::File;

/// What became of a request that did not fail.
pub(crate) enum Outcome {
    /// A server's response was brought to the client, or what they speak after a 101.
    Relayed(Next),
    /// This is to be sent.
    Reply(Box<LocalReply>),
}

impl Outcome {
    /// A local reply, for instance of a hook.
    pub(crate) fn reply(reply: impl Into<LocalReply>) -> Self {
        Self::Reply(Box::new(reply.into()))
    }
}

/// A local reply.
pub(crate) struct LocalReply {
    pub(crate) status: u16,
    /// Its fields, as they are sent: all but those that say how long it is and what becomes of the connection.
    pub(crate) head: Head,
    pub(crate) body: ReplyBody,
    /// The `response` hooks have run.
    pub(super) is_final: bool,
    /// They have seen it and let it pass; so the body's hooks see it too.
    pub(super) is_seen: bool,
    /// The hook that streams it may go on to read the request's body meanwhile.
    pub(crate) reads_on: bool,
}

impl LocalReply {
    pub(super) fn new(status: u16, head: Head, body: ReplyBody) -> Self {
        Self {
            status,
            head,
            body,
            is_final: false,
            is_seen: false,
            reads_on: false,
        }
    }

    /// Bytes for a program, which no hook sees.
    pub(crate) fn plain(body: Vec<u8>) -> Self {
        let mut head = Head::with_room();
        // a literal is a field value
        let _ = head.add(b"content-type", b"application/octet-stream");
        Self {
            is_final: true,
            ..Self::new(200, head, ReplyBody::Bytes(body))
        }
    }

    /// An error page: the `error` phase is where it is changed.
    pub(super) fn page(status: u16, head: Head, body: ReplyBody) -> Self {
        Self {
            is_final: true,
            ..Self::new(status, head, body)
        }
    }

    /// A response of a `response` hook: no other one sees it.
    pub(crate) fn of_response_hook(response: Box<HookResponse>) -> Self {
        Self {
            is_final: true,
            ..response.into()
        }
    }

    /// A response of a `request` hook.
    pub(crate) fn of_request_hook(response: Box<HookResponse>) -> Self {
        Self {
            reads_on: matches!(response.body, HookResponseBody::Stream(_)),
            ..response.into()
        }
    }

    /// The Content-Encoding that hooks want undone; `Err` for one that is unknown.
    pub(super) fn coding(&self, hooks: &[BodyHook]) -> Result<Option<Coding>, ()> {
        content_coding(&self.head, hooks)
    }

    /// How it is framed for its client, whose connection ends with it if it `closes`.
    pub(super) fn framing(&self, exchange: &Exchange, closes: bool) -> ResponseFraming {
        let content = match &self.body {
            ReplyBody::None(told) => Content::None(*told),
            // only chunks have a place for trailers
            ReplyBody::Bytes(_) if exchange.has_response_trailers() => Content::Open,
            ReplyBody::Bytes(bytes) => Content::Length(bytes.len() as u64),
            ReplyBody::Stream(_) => Content::Open,
            // a 101 takes another way; a tunnel with any other status leads nowhere
            ReplyBody::Tunnel(_) => Content::None(None),
            ReplyBody::File { length, .. } => Content::Length(*length),
        };
        let version = exchange.request.borrow().version;
        frame_response(exchange.request_kind, self.status, content, version, closes)
    }
}

pub(crate) enum ReplyBody {
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

impl From<Box<HookResponse>> for LocalReply {
    fn from(response: Box<HookResponse>) -> Self {
        let body = match response.body {
            HookResponseBody::Bytes(bytes) => ReplyBody::Bytes(bytes),
            HookResponseBody::Stream(source) => ReplyBody::Stream(source),
            HookResponseBody::Tunnel(end) => ReplyBody::Tunnel(end),
        };
        Self::new(response.status, response.head, body)
    }
}
