//! A response on its way: what `response` hooks make of it, and its way to the client.

use std::rc::Rc;

use headgate_wire::{
    write_chunk_size, write_last_chunk, Framing, ResponseFraming, ResponseHead, Span, Version, CRLF,
};

use super::head::{self, HeadOptions};
use super::writer::{ReaderWait, Writer};
use crate::failure::Failure;
use crate::hooks::configuration::Configuration;
use crate::hooks::exchange::Exchange;
use crate::http::bodies::request_body::RequestBody;
use crate::http::bodies::wanting::wanting;
use crate::http::phases::run_hooks;
use crate::http::reply::filter::filter;
use crate::http::reply::tunnel;
use crate::snapshot::Phase;
use crate::state::connection::{Connection, Next};
use crate::state::Shared;

use super::local_reply::{LocalReply, ReplyBody};

/// Sends a response after `response` hooks have seen it.
pub(crate) async fn send(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    tables: &Rc<Configuration>,
    reply: LocalReply,
    body: &mut RequestBody,
) -> Result<Next, Failure> {
    let is_clean = if reply.reads_on {
        body.is_here(&connection.peer)
    } else {
        drop_rest(connection, exchange, body)
    };
    let persistent = exchange.request.borrow().persistent && !connection.shared.is_draining.get();
    let route = exchange.route.get().filter(|_| !reply.is_final);
    let route_hooks = route.map(|route| &tables.route(route).hooks);
    let hooks = route_hooks.map_or(&[][..], |hooks| &hooks[Phase::Response]);
    // the body's hooks run where the head's would, and not on what one of those gave instead
    let body_hooks = route_hooks.map_or(&[][..], |hooks| hooks.body(Phase::ResponseBody));
    let reply = if hooks.is_empty() && body_hooks.is_empty() {
        reply
    } else {
        // as it comes: a `response` hook that sets another one does that coding itself
        let coding = reply.coding(body_hooks);
        let reply = after_hooks(connection, exchange, reply, hooks).await?;
        let is_tunnel = matches!(reply.body, ReplyBody::Tunnel(_));
        let body_hooks = wanting(body_hooks, &*tables.hooks, exchange);
        if reply.is_seen && !body_hooks.is_empty() && !is_tunnel {
            Box::pin(filter(
                connection,
                exchange,
                tables,
                reply,
                body,
                &body_hooks,
                coding,
            ))
            .await?
        } else {
            reply
        }
    };
    // unless a `response` hook has made another status of the 101
    if reply.status == 101 {
        if let ReplyBody::Tunnel(end) = reply.body {
            return tunnel::open(connection, exchange, tables, &reply.head, end).await;
        }
    }
    let framing = reply.framing(exchange, !persistent || !is_clean);
    let readable = reply.reads_on.then_some(&mut *body);
    write(connection, exchange, tables, reply, framing, readable).await?;
    Ok(match (framing.closes, drop_rest(connection, exchange, body)) {
        (_, false) => Next::Linger,
        (true, true) => Next::Close,
        (false, true) => Next::KeepAlive,
    })
}

/// Drops what is here of a body that is not needed; more is not waited for. True if that was all.
fn drop_rest(connection: &mut Connection, exchange: &Exchange, body: &mut RequestBody) -> bool {
    let before = body.received;
    let is_clean = body.discard_available(&mut connection.peer).is_ok() && body.is_read();
    exchange
        .request_bytes
        .set(exchange.request_bytes.get() + body.received - before);
    is_clean
}

/// Sends a response after which the connection cannot be used further.
pub(crate) async fn send_last(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    tables: &Rc<Configuration>,
    reply: LocalReply,
) -> Next {
    let framing = reply.framing(exchange, true);
    match write(connection, exchange, tables, reply, framing, None).await {
        Ok(()) => Next::Linger,
        Err(_) => Next::Close,
    }
}

/// Shows the response's head to the `response` hooks, which may change or replace it.
async fn after_hooks(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    mut reply: LocalReply,
    hooks: &[usize],
) -> Result<LocalReply, Failure> {
    let empty = Span { start: 0, len: 0 };
    exchange.response.replace(Some(ResponseHead {
        head: std::mem::take(&mut reply.head),
        status: reply.status,
        reason: empty,
        version: Version::Http11,
        framing: Framing::None,
        persistent: true,
        upgrade: false,
        declared_length: None,
    }));
    if let Some(reply) = run_hooks(connection, exchange, hooks).await? {
        return Ok(LocalReply::of_response_hook(reply));
    }
    let response = exchange.response.borrow();
    let Some(response) = &*response else {
        return Ok(reply);
    };
    Ok(LocalReply {
        status: response.status,
        // `log` hooks see it too
        head: response.head.clone(),
        is_final: true,
        is_seen: true,
        ..reply
    })
}

/// Appends the reply's head.
fn write_head(
    shared: &Shared,
    exchange: &Exchange,
    tables: &Configuration,
    reply: &LocalReply,
    framing: ResponseFraming,
    out: &mut Vec<u8>,
) {
    let id = exchange.id.borrow();
    let options = HeadOptions {
        shared,
        version: exchange.request.borrow().version,
        framing,
        request_id: tables
            .request_id_header
            .as_deref()
            .map(|name| (name, id.as_str())),
        client: Some(&exchange.client),
        timings: tables.server_timing.then_some(exchange),
    };
    head::write(reply.status, &reply.head, &options, out);
    exchange.head_bytes.set(out.len() as u64);
}

/// Writes a reply: its head, and the body that it has.
async fn write(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    tables: &Rc<Configuration>,
    reply: LocalReply,
    framing: ResponseFraming,
    readable: Option<&mut RequestBody>,
) -> Result<(), Failure> {
    let mut out = connection.shared.buffers.scrap();
    write_head(&connection.shared, exchange, tables, &reply, framing, &mut out);
    let send_ms = tables.timeout(
        exchange.route.get(),
        None,
        |timeouts| timeouts.send,
        |timeouts| timeouts.send,
    );
    let mut writer = Writer {
        connection,
        exchange,
        status: reply.status,
        send_ms,
    };
    match reply.body {
        ReplyBody::Bytes(bytes) if framing.is_chunked && framing.has_content => {
            if !bytes.is_empty() {
                write_chunk_size(bytes.len(), &mut out);
                out.extend_from_slice(&bytes);
                out.extend_from_slice(CRLF);
            }
            write_last_chunk(exchange.rare().response_trailers.borrow().as_ref(), &mut out);
        }
        ReplyBody::Bytes(bytes) if framing.has_content => out.extend_from_slice(&bytes),
        ReplyBody::File { file, start, length } if framing.has_content => {
            return writer.write_file(out, &file, start, length).await;
        }
        ReplyBody::Stream(mut source) if framing.has_content => {
            let waiting = ReaderWait::new(readable, tables.limits.allow_half_close);
            return writer
                .write_stream(out, &mut *source, framing.is_chunked, waiting)
                .await;
        }
        _ => {}
    }
    let sent = writer.write(&out).await;
    connection.shared.buffers.keep_scrap(out);
    sent
}
