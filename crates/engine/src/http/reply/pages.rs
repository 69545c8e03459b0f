//! Error pages.

use std::rc::Rc;

use headgate_wire::{frame_response, Content, RequestKind, Version};

use super::send::write_date;
use crate::access_log::{Entry, TlsFacts};
use crate::failure::{Failure, FailureKind};
use crate::hooks::configuration::Configuration;
use crate::hooks::exchange::Exchange;
use crate::http::h1::read_head::head_failure;
use crate::http::h1::read_head::NoRequest;
use crate::http::h1::request_head::field;
use crate::http::h1::response_head::{write_end, write_status};
use crate::http::reply::grpc;
use crate::http::reply::page::{self as page, reason_phrase};
use crate::messages::websocket::missing_version;
use crate::state::connection::{Connection, Next};
use crate::state::Shared;
use headgate_shared::metrics::Counter;
use headgate_upstream::LimitCounter;

use super::local_reply::{LocalReply, ReplyBody};

/// The page of a failure.
pub(crate) fn error_page(exchange: &Exchange, failure: &Failure, shared: &Shared) -> LocalReply {
    let id = shared.request_id(exchange);
    let request = exchange.request.borrow();
    if grpc::is_grpc(request.head.get(b"content-type")) {
        return grpc_reply(failure, id);
    }
    page_of(failure, &id, request.head.get(b"accept"))
}

/// The failure as a caller of gRPC understands it.
fn grpc_reply(failure: &Failure, id: String) -> LocalReply {
    let status = itoa::Buffer::new()
        .format(grpc::status(failure))
        .as_bytes()
        .to_vec();
    let headers = vec![
        (b"content-type".to_vec(), b"application/grpc".to_vec()),
        (b"grpc-status".to_vec(), status),
        (b"grpc-message".to_vec(), grpc::message(failure.public_message())),
        (b"x-request-id".to_vec(), id.into_bytes()),
    ];
    LocalReply::page(200, headers, ReplyBody::None(None))
}

fn page_of(failure: &Failure, id: &str, accept: Option<&[u8]>) -> LocalReply {
    let (content_type, body) = page::render(failure.status(), "", failure.public_message(), id, accept);
    let mut headers = vec![
        (b"content-type".to_vec(), content_type.as_bytes().to_vec()),
        (b"x-request-id".to_vec(), id.as_bytes().to_vec()),
    ];
    if let Some(version) = missing_version(failure) {
        headers.push((b"sec-websocket-version".to_vec(), version.into()));
    }
    if failure.kind == FailureKind::ShuttingDown {
        // another worker or instance serves already, or soon
        headers.push((b"retry-after".to_vec(), b"1".to_vec()));
    }
    if let Some(allow) = &failure.allow {
        headers.push((b"allow".to_vec(), allow.as_bytes().to_vec()));
    }
    LocalReply::page(failure.status(), headers, ReplyBody::Bytes(body))
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
    let out = last_response(&shared, &reply, body, is_head);
    let sent = connection
        .peer
        .write_all(&connection.watch, &out, tables.timeouts.send)
        .await;
    if let Some(series) = &tables.series {
        series.refused(&failure, out.len() as u64);
    }
    if let Some(log) = &tables.access_log {
        log.record(&Entry {
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
fn last_response(shared: &Shared, reply: &LocalReply, body: &[u8], is_head: bool) -> Vec<u8> {
    let mut out = Vec::new();
    write_status(reply.status, reason_phrase(reply.status).as_bytes(), &mut out);
    for (name, value) in &reply.headers {
        field(&mut out, name, &[value]);
    }
    write_date(shared, &mut out);
    let content = Content::Length(body.len() as u64);
    let request_kind = if is_head {
        RequestKind::Head
    } else {
        RequestKind::Content
    };
    let framing = frame_response(request_kind, reply.status, content, Version::Http11, true);
    write_end(framing, Version::Http11, &mut out);
    if !is_head {
        out.extend_from_slice(body);
    }
    out
}
