//! Error pages.

use std::rc::Rc;

use headgate_wire::{frame_response, Content, Head, RequestKind, Version};

use super::head::{self, HeadOptions};
use crate::access_log::{Entry, TlsFacts};
use crate::failure::{Failure, FailureKind};
use crate::hooks::configuration::Configuration;
use crate::hooks::exchange::Exchange;
use crate::http::h1::read_head::head_failure;
use crate::http::h1::read_head::NoRequest;
use crate::http::overload;
use crate::http::reply::grpc;
use crate::http::reply::page;
use crate::messages::websocket::missing_version;
use crate::state::connection::{Connection, Next};
use crate::state::Shared;
use crate::tables::Tables;
use headgate_shared::metrics::Counter;
use headgate_upstream::LimitCounter;

use super::local_reply::{LocalReply, ReplyBody};

/// The page of a failure.
pub(crate) fn error_page(exchange: &Exchange, failure: &Failure, shared: &Shared) -> LocalReply {
    let id = shared.request_id(exchange);
    let request = exchange.request.borrow();
    if grpc::is_grpc(request.head.get(b"content-type")) {
        return grpc_reply(failure, &id);
    }
    page_of(failure, &id, request.head.get(b"accept"))
}

/// The failure as a caller of gRPC understands it.
fn grpc_reply(failure: &Failure, id: &str) -> LocalReply {
    let mut status = itoa::Buffer::new();
    let always = [
        ("content-type", &b"application/grpc"[..]),
        ("grpc-status", status.format(grpc::status(failure)).as_bytes()),
        ("grpc-message", &grpc::message(failure.public_message())),
        ("x-request-id", id.as_bytes()),
    ];
    let told = overload::told_of(failure.kind).map(|told| (overload::FIELD, told.as_bytes()));
    let head = made_here(always.into_iter().chain(told));
    LocalReply::page(200, head, ReplyBody::None(None))
}

fn page_of(failure: &Failure, id: &str, accept: Option<&[u8]>) -> LocalReply {
    let (content_type, body) = page::render(failure.status(), "", failure.public_message(), id, accept);
    let always = [("content-type", content_type), ("x-request-id", id)];
    // another worker or instance serves already, or soon
    let soon = (failure.kind == FailureKind::ShuttingDown).then_some("1");
    let retry_after = failure.retry_after.as_deref().or(soon);
    let sometimes = [
        ("sec-websocket-version", missing_version(failure)),
        ("retry-after", retry_after),
        ("allow", failure.allow.as_deref()),
        (overload::FIELD, overload::told_of(failure.kind)),
    ];
    let sometimes = sometimes
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| (name, value)));
    let fields = always.into_iter().chain(sometimes);
    let head = made_here(fields.map(|(name, value)| (name, value.as_bytes())));
    LocalReply::page(failure.status(), head, ReplyBody::Bytes(body))
}

/// A head of fields that have nothing of a request in them.
fn made_here<'a>(fields: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Head {
    head::of_fields(fields).unwrap_or_default()
}

/// Replies (or not) to a connection from which no request could be read.
pub(crate) async fn refuse(connection: &mut Connection, tables: &Rc<Configuration>, none: NoRequest) -> Next {
    let shared = connection.shared.clone();
    if let NoRequest::Late { limit, .. } = &none {
        shared.metrics.count(limit.counter());
    }
    let Some((failure, limit)) = head_failure(&none) else {
        if let NoRequest::Gone = none {
            shared.metrics.count(Counter::ClientDisconnects);
        }
        return Next::Close;
    };
    let started = shared.clock.tick();
    shared.metrics.count(Counter::Requests);
    shared.metrics.count(if limit.is_empty() {
        Counter::BadRequests
    } else {
        Counter::LimitHead
    });
    shared.metrics.status(failure.status());
    let id = shared.next_id();
    let reply = page_of(&failure, &id, None);
    let ReplyBody::Bytes(body) = &reply.body else {
        return Next::Close;
    };
    // a head that is refused may still have been a HEAD (RFC 9110 section 9.3.2)
    let is_head = connection.peer.unread().starts_with(b"HEAD ");
    let out = last_response(&shared, tables, (&reply, body), &id, is_head);
    let sent = connection
        .peer
        .write_all(&connection.watch, &out, tables.timeouts.send)
        .await;
    if let Some(series) = &tables.series {
        series.refused(&failure, out.len() as u64);
    }
    if let Some(records) = shared.access_records(tables) {
        records.record(&Entry {
            time_unix_ms: shared.clock.unix_ms(started),
            client: &connection.client.address,
            tls: connection.client.tls.as_deref().map(TlsFacts::from),
            status: failure.status(),
            response_bytes: out.len() as u64,
            body_bytes: body.len() as u64,
            request_id: &id,
            total_us: shared.clock.tick() - started,
            limit,
            error: failure.kind.name(),
            ..Default::default()
        });
    }
    if sent.is_ok() {
        Next::Linger
    } else {
        Next::Close
    }
}

/// The bytes of a page after which the connection closes; to a HEAD without its body.
fn last_response(
    shared: &Shared,
    tables: &Tables,
    (reply, body): (&LocalReply, &[u8]),
    id: &str,
    is_head: bool,
) -> Vec<u8> {
    let kind = if is_head {
        RequestKind::Head
    } else {
        RequestKind::Content
    };
    let content = Content::Length(body.len() as u64);
    let options = HeadOptions {
        shared,
        version: Version::Http11,
        framing: frame_response(kind, reply.status, content, Version::Http11, true),
        request_id: tables.request_id_header.as_deref().map(|name| (name, id)),
        client: None,
        timings: None,
    };
    let mut out = Vec::new();
    head::write(reply.status, &reply.head, &options, &mut out);
    if !is_head {
        out.extend_from_slice(body);
    }
    out
}
