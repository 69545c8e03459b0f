//! Before a request goes to a server: its body as the hooks want it, as far as that is known before the head is written.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use headgate_wire::{Framing, Head};

use super::chain::{Chain, ChainContext};
use super::failures::body_failure;
use super::filtered::Pull;
use super::intake::{client_body_ms, poll_continue};
use super::made::{Made, MadeSource};
use super::piece::On;
use crate::failure::{Failure, FailureKind};
use crate::hooks::configuration::Configuration;
use crate::hooks::exchange::Exchange;
use crate::hooks::intake::{Intake, NewBody, Taken};
use crate::http::bodies::request_body::RequestBody;
use crate::http::h1::disconnect::DisconnectWatcher;
use crate::snapshot::BodyHook;
use crate::state::connection::Connection;
use headgate_coding::Coding;
use headgate_net::limits::Limit;
use headgate_upstream::LimitCounter;

/// Whether the body goes to a server otherwise than it comes.
pub(crate) fn is_needed(exchange: &Exchange, hooks: &[BodyHook]) -> bool {
    !hooks.is_empty()
        || exchange
            .known_rare()
            .is_some_and(|rare| rare.intake.is_used() || rare.request_trailers.borrow().is_some())
}

/// Makes the body: what is collected of it so far, framed, to go out behind the head.
pub(crate) async fn begin(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    tables: &Rc<Configuration>,
    body: &mut RequestBody,
    hooks: &[BodyHook],
) -> Result<Vec<u8>, Failure> {
    let source = source(&exchange.rare().intake)?;
    let is_replaced = matches!(source, MadeSource::Bytes(_) | MadeSource::Stream(_));
    let framing = exchange.request.borrow().framing;
    if framing == Framing::None && !is_replaced {
        return Ok(Vec::new());
    }
    if is_replaced {
        // the part of the client's own body that is here precedes its next request
        let _ = body.discard_available(&mut connection.peer);
        exchange.request.borrow_mut().expect_continue = false;
    }
    let coding = coding(exchange, hooks)?;
    let common = ChainContext {
        exchange: Rc::clone(exchange),
        hooks: Rc::clone(&tables.hooks),
        clock: connection.shared.clock.clone(),
        metrics: connection.shared.metrics.clone(),
    };
    let chain = Chain::new(common, hooks, coding, true);
    let max_bytes = exchange
        .route
        .get()
        .map_or(tables.limits.max_body_bytes, |route| {
            tables.route(route).max_body_bytes
        });
    let holds_back = chain.holds_back();
    let mut made = Made::new(chain, source, exchange, &tables.hooks, max_bytes);
    collect(connection, exchange, body, &mut made, holds_back).await?;
    let has_trailers = exchange.rare().request_trailers.borrow().is_some();
    let length = made.length().filter(|_| !has_trailers);
    exchange.request.borrow_mut().framing = length.map_or(Framing::Chunked, Framing::Length);
    let here = made.start(length.is_none());
    body.made = Some(Box::new(made));
    Ok(here)
}

async fn collect(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    body: &mut RequestBody,
    made: &mut Made,
    holds_back: bool,
) -> Result<(), Failure> {
    let client_body_ms = client_body_ms(exchange);
    let mut disconnect = DisconnectWatcher::new(exchange.tables.borrow().limits.allow_half_close);
    connection.watch.arm(Limit::ClientBody, client_body_ms);
    poll_fn(|context: &mut Context<'_>| {
        if holds_back {
            // the head waits for the body, so the server cannot request it
            match poll_continue(context, connection, exchange, body) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Pending => return Poll::Pending,
            }
        }
        let mut on = On::Source;
        let received = body.received;
        if let Poll::Ready(begun) = made.poll_begin(context, body, &mut connection.peer, &mut on) {
            return Poll::Ready(begun.map_err(|broken| body_failure(&broken, exchange)));
        }
        if on == On::Hook {
            connection.watch.disarm();
            if body.is_read() && disconnect.poll(context, &mut connection.peer) {
                return Poll::Ready(Err(Failure::client_disconnected()));
            }
            return Poll::Pending;
        }
        if body.received != received || !connection.watch.is_armed_for(Limit::ClientBody) {
            connection.watch.arm(Limit::ClientBody, client_body_ms);
        }
        if let Some(limit) = connection.watch.expired() {
            connection.shared.metrics.count(limit.counter());
            exchange.limit.set(limit.name());
            return Poll::Ready(Err(made.late()));
        }
        connection.watch.register(context);
        Poll::Pending
    })
    .await
}

fn source(intake: &Intake) -> Result<MadeSource, Failure> {
    match intake.new_body.borrow_mut().take() {
        Some(NewBody::Bytes(chunk)) => {
            let kept = Rc::clone(&chunk);
            // `request.body()` in later phases
            intake.remember(kept);
            return Ok(MadeSource::Bytes(Some(chunk)));
        }
        Some(NewBody::Stream(source)) => return Ok(MadeSource::Stream(Pull::Idle(source))),
        None => {}
    }
    match intake.taken() {
        Taken::Nothing => Ok(MadeSource::Client),
        Taken::Part => Ok(MadeSource::Kept {
            at: 0,
            is_whole: false,
        }),
        Taken::Whole => Ok(MadeSource::Kept {
            at: 0,
            is_whole: true,
        }),
        Taken::Away => Err(Failure::from(FailureKind::BodyConsumed)),
    }
}

/// The coding to undo for hooks that want text.
fn coding(exchange: &Exchange, hooks: &[BodyHook]) -> Result<Option<Coding>, Failure> {
    let request = exchange.request.borrow();
    if request.head.has_inner_codings() && !hooks.is_empty() {
        return Err(Failure::from(FailureKind::UnsupportedRequestCoding));
    }
    let unknown = || Failure::from(FailureKind::UnknownContentCoding);
    content_coding(&request.head, hooks).map_err(|()| unknown())
}

/// The Content-Encoding that hooks want undone; `Err` for one that is unknown.
pub(crate) fn content_coding(head: &Head, hooks: &[BodyHook]) -> Result<Option<Coding>, ()> {
    if !hooks.iter().any(|hook| hook.decode) {
        return Ok(None);
    }
    let mut names = head
        .get_all(b"content-encoding")
        .filter(|name| !name.eq_ignore_ascii_case(b"identity") && !name.is_empty());
    match (names.next(), names.next()) {
        (None, _) => Ok(None),
        (Some(name), None) => Coding::from_name(name).map(Some).ok_or(()),
        (Some(_), Some(_)) => Err(()),
    }
}
