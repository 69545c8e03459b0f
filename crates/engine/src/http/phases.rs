//! Running the hooks of a phase, and noticing meanwhile that the client disconnects.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::failure::{Failure, FailureKind};
use crate::hooks::exchange::Exchange;
use crate::hooks::{HookResponse, HookResponseBody, LocalFuture, Step, Verdict};
use crate::http::bodies::intake;
use crate::http::bodies::request_body::RequestBody;
use crate::http::h1::disconnect::DisconnectWatcher;
use crate::state::connection::Connection;

/// Runs hooks in order until one responds or fails.
pub(crate) async fn run_hooks(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    hooks: &[usize],
) -> Result<Option<Box<HookResponse>>, Failure> {
    if hooks.is_empty() {
        return Ok(None);
    }
    connection.shared.clock.tick();
    run_hooks_now(connection, exchange, hooks).await
}

/// As [`run_hooks`], for a phase right before which the clock was read; by each hook that ends it is read again.
pub(crate) async fn run_hooks_now(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    hooks: &[usize],
) -> Result<Option<Box<HookResponse>>, Failure> {
    run(connection, exchange, hooks, None).await
}

/// As [`run_hooks_now`], for phase `request`: its hooks may also read the body.
pub(crate) async fn run_request_hooks(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    hooks: &[usize],
    body: &mut RequestBody,
) -> Result<Option<Box<HookResponse>>, Failure> {
    exchange.is_body_open.set(true);
    exchange.has_no_body.set(body.is_read());
    let outcome = run(connection, exchange, hooks, Some(body)).await;
    // a streamed response may be made of what is still to be read: whoever sends it closes
    let goes_on = matches!(&outcome, Ok(Some(reply)) if matches!(reply.body, HookResponseBody::Stream(_)));
    if !goes_on {
        close_body(exchange);
    }
    outcome
}

/// From now on no hook may read the request's body.
pub(crate) fn close_body(exchange: &Exchange) {
    exchange.is_body_open.set(false);
    if let Some(rare) = exchange.known_rare() {
        rare.intake.close();
    }
}

async fn run(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    hooks: &[usize],
    mut body: Option<&mut RequestBody>,
) -> Result<Option<Box<HookResponse>>, Failure> {
    let tables = exchange.tables.borrow().clone();
    exchange.tell_hooks_of_trace();
    let began = exchange.now_us();
    connection.watch.disarm();
    let mut outcome = Ok(None);
    for hook in hooks {
        let verdict = match tables.hooks.call(*hook, exchange) {
            Step::Ready(verdict) => verdict,
            Step::Pending(future) => {
                let half_close = tables.limits.allow_half_close;
                match unless_disconnected(future, connection, exchange, body.as_deref_mut(), half_close).await
                {
                    Ok(verdict) => verdict,
                    Err(failure) => {
                        outcome = Err(failure);
                        break;
                    }
                }
            }
        };
        match verdict {
            Verdict::Continue => {}
            Verdict::NoRetry => {
                exchange.rare().is_final.set(true);
                break;
            }
            Verdict::Server(server) => {
                exchange.picked.set(Some(server));
                break;
            }
            Verdict::Subset(subset) => {
                exchange.rare().subset.replace(Some(*subset));
                break;
            }
            Verdict::Respond(reply) => {
                outcome = Ok(Some(reply));
                break;
            }
            Verdict::Failed => {
                outcome = Err(Failure::new(
                    FailureKind::HookFailed,
                    "the gateway could not handle this request",
                ));
                break;
            }
        }
    }
    let spent = exchange.now_us() - began;
    exchange
        .timings
        .hook_us
        .set(exchange.timings.hook_us.get() + spent);
    outcome
}

/// Waits for a hook and reads what it wants of the body; fails (and the hook is cancelled) if the client disconnects meanwhile or
/// its body is bad.
async fn unless_disconnected(
    mut future: LocalFuture<'static, Verdict>,
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    mut body: Option<&mut RequestBody>,
    allow_half_close: bool,
) -> Result<Verdict, Failure> {
    let mut disconnect = DisconnectWatcher::new(allow_half_close);
    poll_fn(|context| {
        if let Poll::Ready(verdict) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(verdict));
        }
        poll_client(
            context,
            connection,
            exchange,
            body.as_deref_mut(),
            &mut disconnect,
        )
        .map(Err)
    })
    .await
}

/// What the client does while user code is waited for: reads what that wants of the body, if it may. Ready with the failure
/// that ends the request.
pub(crate) fn poll_client(
    context: &mut Context<'_>,
    connection: &mut Connection,
    exchange: &Exchange,
    body: Option<&mut RequestBody>,
    disconnect: &mut DisconnectWatcher,
) -> Poll<Failure> {
    // what a later step of the hook may request wakes this task
    if let Some(body) = body {
        let intake = &exchange.rare().intake;
        if let Poll::Ready(failure) = intake::poll(intake, context, connection, exchange, body) {
            return Poll::Ready(failure);
        }
        // what waits to be read is the body
        if intake.is_reading() {
            return Poll::Pending;
        }
    }
    if disconnect.poll(context, &mut connection.peer) {
        return Poll::Ready(Failure::client_disconnected());
    }
    if connection.shared.is_closed.get() {
        return Poll::Ready(Failure::shutting_down());
    }
    // the end of the worker wakes whoever waits
    connection.watch.register(context);
    Poll::Pending
}
