//! Reading what request hooks want of the request's body ([`Intake`]).

use std::task::{ready, Context, Poll};

use super::failures::{body_failure, client_body_timeout, held_too_large, spool_failure};
use super::made::keep_trailers;
use super::piece::Flow;
use super::request_body::RequestBody;
use crate::failure::Failure;
use crate::hooks::exchange::Exchange;
use crate::hooks::intake::{Delivery, Intake, Taken, Want};
use crate::hooks::spool::Spool;
use crate::state::connection::Connection;
use headgate_net::limits::Limit;
use headgate_shared::metrics::Counter;
use headgate_upstream::LimitCounter;

/// Reads what hooks want; ready only with the failure that ends the request.
pub(crate) fn poll(
    intake: &Intake,
    context: &mut Context<'_>,
    connection: &mut Connection,
    exchange: &Exchange,
    body: &mut RequestBody,
) -> Poll<Failure> {
    loop {
        let Some(want) = intake.wanted() else {
            connection.watch.disarm();
            intake.register(context.waker());
            return Poll::Pending;
        };
        if intake.is_at_end.get() {
            intake.deliver(match want {
                Want::Whole => Delivery::Whole,
                Want::Piece | Want::PieceAway => Delivery::End,
            });
            continue;
        }
        match ready!(poll_read(intake, context, connection, exchange, body, want)) {
            Ok(()) => {}
            Err(failure) => return Poll::Ready(failure),
        }
    }
}

fn poll_read(
    intake: &Intake,
    context: &mut Context<'_>,
    connection: &mut Connection,
    exchange: &Exchange,
    body: &mut RequestBody,
    want: Want,
) -> Poll<Result<(), Failure>> {
    ready!(poll_continue(context, connection, exchange, body))?;
    let hooks = exchange.tables.borrow().hooks.clone();
    let before = body.received;
    let polled = body.poll_flow(context, &mut connection.peer, &*hooks);
    exchange
        .request_bytes
        .set(exchange.request_bytes.get() + body.received - before);
    let flow = match polled {
        Poll::Ready(Ok(flow)) => flow,
        Poll::Ready(Err(broken)) => return Poll::Ready(Err(body_failure(&broken, exchange))),
        Poll::Pending => return poll_client(context, connection, exchange).map(Err),
    };
    connection.watch.disarm();
    intake.is_at_end.set(flow.is_last);
    if flow.is_last {
        keep_trailers(body, exchange);
    }
    let keeps = want != Want::PieceAway && intake.taken.get() != Taken::Away;
    if keeps {
        hold(intake, connection, exchange, &flow)?;
    }
    intake.taken.set(match (keeps, flow.is_last) {
        (false, _) => Taken::Away,
        (true, false) => Taken::Part,
        (true, true) => Taken::Whole,
    });
    if want != Want::Whole {
        if let Some(data) = flow.data {
            intake.deliver(Delivery::Piece(data));
        }
    }
    Poll::Ready(Ok(()))
}

/// Waits for the client's next bytes; ready only with the failure if they take too long.
fn poll_client(context: &mut Context<'_>, connection: &Connection, exchange: &Exchange) -> Poll<Failure> {
    let watch = &connection.watch;
    if !watch.is_armed_for(Limit::ClientBody) {
        watch.arm(Limit::ClientBody, client_body_ms(exchange));
    }
    if let Some(limit) = watch.expired() {
        connection.shared.metrics.count(limit.counter());
        exchange.limit.set(limit.name());
        return Poll::Ready(client_body_timeout());
    }
    watch.register(context);
    Poll::Pending
}

/// Keeps what came of the body, for hooks that want all of it and for servers after them.
fn hold(intake: &Intake, connection: &Connection, exchange: &Exchange, flow: &Flow) -> Result<(), Failure> {
    let (max_bytes, memory) = {
        let limits = &exchange.tables.borrow().limits;
        (limits.max_buffered_body_bytes, limits.buffered_memory_bytes)
    };
    let mut spool = intake.spool.borrow_mut();
    let spool = spool.get_or_insert_with(|| Spool::new(memory));
    if spool.len() + flow.len() as u64 > max_bytes {
        exchange.limit.set("limits.max_buffered_body_bytes");
        connection.shared.metrics.count(Counter::LimitBufferedBody);
        return Err(held_too_large());
    }
    if let Some(data) = &flow.data {
        let has_spilled = spool.write(data.bytes()).map_err(|error| spool_failure(&error))?;
        if has_spilled {
            connection.shared.metrics.count(Counter::BodiesSpilled);
        }
    }
    Ok(())
}

/// The client may wait for a 100 before it sends the body (RFC 9110 section 10.1.1): it is wanted now.
pub(crate) fn poll_continue(
    context: &mut Context<'_>,
    connection: &mut Connection,
    exchange: &Exchange,
    body: &RequestBody,
) -> Poll<Result<(), Failure>> {
    if !exchange.request.borrow().expect_continue {
        return Poll::Ready(Ok(()));
    }
    // within a response that has begun there is no place for it
    let has_begun = exchange.status.get() != 0;
    if body.received == 0 && connection.peer.unread().is_empty() && !body.is_read() && !has_begun {
        let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
        // so few bytes that the kernel takes them at once, or the client does not read at all
        if ready!(connection.peer.stream.poll_write(context, interim, &[])).is_err() {
            return Poll::Ready(Err(Failure::client_disconnected()));
        }
    }
    exchange.request.borrow_mut().expect_continue = false;
    Poll::Ready(Ok(()))
}

pub(crate) fn client_body_ms(exchange: &Exchange) -> u64 {
    exchange.tables.borrow().timeout(
        exchange.route.get(),
        None,
        |timeouts| timeouts.client_body,
        |timeouts| timeouts.client_body,
    )
}
