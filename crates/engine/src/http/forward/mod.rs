//! A request's way to a server and its response's way back.
//!
//! # How it works
//! [`forward`] makes attempts until one has a response head: choose a server ([`begin`]), take or open a connection, send, await
//! ([`attempt`]; several at a time: [`hedge`]). What may be tried again is decided in one place, [`may_retry`]; whether and when it is, in [`again`]. Then the response goes through its hooks and is relayed.

mod again;
mod attempt;
mod attempt_shared;
mod begin;
mod beside;
mod carry;
mod choice;
mod deadline;
mod fallback;
mod filtered;
mod hedge;
mod in_flight;
mod max_forwards;
mod plan;
mod progress;
mod pulled;
mod queue;
mod relay;
mod reversed;
mod session;
mod stale;
mod upgrade;

use std::rc::Rc;

use headgate_route::Tried;

use crate::failure::{Failure, FailureKind};
use crate::hooks::configuration::Configuration;
use crate::hooks::connection::Protocol;
use crate::hooks::exchange::Exchange;
use crate::http::bodies::begin as begin_body;
use crate::http::bodies::failures::body_failure;
use crate::http::bodies::request_body::RequestBody;
use crate::http::bodies::wanting::wanting;
use crate::http::reply::Outcome;
use crate::snapshot::{BodyHook, Phase};
use crate::state::connection::Connection;
use crate::state::server_failures::log_server_failure;
use crate::state::Shared;
use attempt::{AttemptFailed, Ready};
use begin::{Begin, Why};
use headgate_upstream::{FailedBy, Upstream};
use hedge::Raced;
pub(crate) use max_forwards::count_down;
use plan::Plan;
use progress::Progress;

/// Sends the request to a server of the upstream and its response to the client.
pub(crate) async fn forward(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    tables: &Rc<Configuration>,
    upstream: Rc<Upstream>,
    body: &mut RequestBody,
) -> Result<Outcome, Failure> {
    // gRPC, whose calls declare their deadline, comes over HTTP/2 and HTTP/3 only
    if exchange.client.protocol != Protocol::Http1 || upstream.has_deadlines() {
        let head = &exchange.request.borrow().head;
        let deadline = upstream.deadline(exchange.timings.started_us.get(), |name| head.get(name));
        if let Some(deadline) = deadline {
            exchange.rare().deadline.replace(Some(deadline));
        }
    }
    let served = if exchange.has_deadline() {
        let shared = connection.shared.clone();
        let served = Box::pin(try_servers(connection, exchange, tables, upstream, body));
        deadline::within(&shared, exchange, served).await
    } else {
        try_servers(connection, exchange, tables, upstream, body).await
    };
    connection.watch.bind(0);
    served
}

/// Logs what the server did wrong, if it did.
#[inline]
fn logged(
    connection: &Connection,
    exchange: &Exchange,
    served: Result<Outcome, Failure>,
) -> Result<Outcome, Failure> {
    served.inspect_err(|failure| log_server_failure(&connection.shared, exchange, failure))
}

/// Sends the request to servers of the upstream, with what is here of its body.
async fn try_servers(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    tables: &Rc<Configuration>,
    upstream: Rc<Upstream>,
    body: &mut RequestBody,
) -> Result<Outcome, Failure> {
    let here = {
        let body_hooks = wanting(request_body_hooks(exchange, tables), &*tables.hooks, exchange);
        if begin_body::is_needed(exchange, &body_hooks) {
            Box::pin(begin_body::begin(connection, exchange, tables, body, &body_hooks)).await?
        } else {
            take_available(connection, exchange, &upstream, body)?
        }
    };
    let (upstream, served) = progress::serve(connection, exchange, tables, upstream, (&here, body)).await;
    match served {
        Err(failure) if upstream.fallback().is_some() && fallback::covers(&failure, exchange) => {
            let way = (exchange, tables, &*upstream);
            Box::pin(fallback::serve(connection, way, (&here, body), failure)).await
        }
        served => served,
    }
}

/// Makes attempts until one has a response.
async fn attempts(
    connection: &mut Connection,
    plan: &Plan<'_>,
    here: &[u8],
    body: &mut RequestBody,
    progress: &mut Progress,
) -> Result<Outcome, Failure> {
    let (exchange, upstream) = (plan.exchange, plan.upstream);
    let shared = connection.shared.clone();
    let Progress { tried, made, failure } = progress;
    let mut next = None;
    while *made <= upstream.retries {
        if next.is_none() && upstream.refuses(&shared.metrics) {
            return Err(or_else(failure, FailureKind::CircuitOpen));
        }
        let why = why(*made, &mut next);
        let begun = match begin::begin(connection, plan, &shared, tried, why).await? {
            Begin::Begun(begun) => begun,
            Begin::Reply(reply) => return Ok(Outcome::reply(reply)),
            Begin::NoServer => break,
            Begin::CircuitOpen => return Err(or_else(failure, FailureKind::CircuitOpen)),
        };
        *made += 1;
        body.restart();
        let so_far = (&mut *tried, &mut *made);
        let ran = hedge::run(connection, plan, &shared, begun, (here, body), so_far).await?;
        let (mut begun, ended) = match ran {
            Raced::Ended(begun, ended) => (begun, ended),
            Raced::Reply(reply) => return Ok(Outcome::reply(reply)),
        };
        match ended {
            Ok(ready) => {
                let status = begun.responded(&shared, plan)?;
                if *made <= upstream.retries && upstream.retries_status(status, &shared.metrics) {
                    let instead = again::instead(connection, plan, body, (&mut *tried, *made), status);
                    if let Some(instead) = Box::pin(instead).await? {
                        next = Some(instead.begin(connection, plan, (ready, begun), status).await?);
                        continue;
                    }
                }
                if let Some(reply) = stale::in_place(&shared, plan, status) {
                    begun.given_up(&shared, plan, (status, "status"));
                    return Ok(Outcome::reply(reply));
                }
                let relayed = relay::respond(connection, plan, ready, body, begun.lease).await;
                return logged(connection, exchange, relayed);
            }
            Err(AttemptFailed::Request(failure)) => return logged(connection, exchange, Err(failure)),
            Err(AttemptFailed::Server(failed)) => {
                begun.failed(&shared, plan, &failed);
                drop(begun);
                if !goes_on(connection, plan, body, (&mut *tried, *made), &failed).await? {
                    return Err(failed);
                }
                *failure = Some(failed);
            }
        }
    }
    Err(unserved(plan, failure))
}

/// Whether another attempt follows one that has failed.
async fn goes_on(
    connection: &mut Connection,
    plan: &Plan<'_>,
    body: &RequestBody,
    (tried, made): (&mut Tried, u32),
    failed: &Failure,
) -> Result<bool, Failure> {
    let asks = !plan.retry_hooks.is_empty() || plan.upstream.backoff().is_some();
    if !may_retry(failed, plan, body, &connection.shared) {
        return Ok(false);
    }
    if !asks || made > plan.upstream.retries {
        return Ok(true);
    }
    Box::pin(again::follows(
        connection,
        plan,
        (tried, made),
        failed.kind.name(),
    ))
    .await
}

/// What it means that there is no further server; the last failure is kept where the request goes on elsewhere.
fn unserved(plan: &Plan<'_>, failure: &mut Option<Failure>) -> Failure {
    match &*plan.moved_to.borrow() {
        None => or_else(failure, FailureKind::NoServer),
        Some(_) => Failure::from(FailureKind::NoServer),
    }
}

/// Why an attempt after so many is made; `next` is the server for which a response was given up.
fn why(made: u32, next: &mut Option<usize>) -> Why {
    match made {
        0 => Why::First,
        _ => Why::Retry(next.take()),
    }
}

/// What the last attempt has failed by; if there was none, this.
#[cold]
fn or_else(failure: &mut Option<Failure>, kind: FailureKind) -> Failure {
    failure.take().unwrap_or_else(|| Failure::from(kind))
}

/// What the route's hooks do with the request's body.
#[inline]
fn request_body_hooks<'a>(exchange: &Exchange, tables: &'a Configuration) -> &'a [BodyHook] {
    let route = exchange.route.get();
    route.map_or(&[], |route| tables.route(route).hooks.body(Phase::RequestBody))
}

/// The part of the body that is here goes out with the head; the copy of it that is returned can do so again, if an attempt
/// fails.
#[inline]
fn take_available(
    connection: &mut Connection,
    exchange: &Exchange,
    upstream: &Upstream,
    body: &mut RequestBody,
) -> Result<Vec<u8>, Failure> {
    let mut here = Vec::new();
    let client = &mut connection.peer;
    let taken = if body.is_plain() && is_sent_once(exchange, upstream) {
        body.offer_available(client)
    } else {
        body.take_available(client, &mut here)
    };
    exchange.request_bytes.set(body.received);
    taken.map_err(|broken| body_failure(&broken, exchange))?;
    Ok(here)
}

/// Whether nothing of a request may be sent again once a part of it was: see [`may_retry`]. Servers of HTTP/2 and HTTP/3
/// can say that they did not begin with it.
fn is_sent_once(exchange: &Exchange, upstream: &Upstream) -> bool {
    !upstream.may_repeat(exchange.request.borrow().method())
        // all servers of an upstream speak the same
        && upstream.servers.first().is_some_and(|server| server.http2.is_none() && server.http3.is_none())
}

/// A request may go to another server if nothing of it can have been acted on, or acting twice is harmless (RFC 9110
/// section 9.2.2), and everything sent so far can be sent again.
fn may_retry(failure: &Failure, plan: &Plan<'_>, body: &RequestBody, shared: &Shared) -> bool {
    // an attempt that has a limit of its own is given up for another one
    let is_late = failure.kind == FailureKind::UpstreamHeadTimeout && plan.upstream.attempt_ms().is_some();
    !body.is_committed
        && (failure.retry().on_another_server(plan.is_repeatable) || is_late && plan.is_repeatable)
        && plan
            .upstream
            .retries_failure(FailedBy::of(failure.kind.facts().name), &shared.metrics)
        // what ends with the worker has no time for another one
        && !shared.is_closed.get()
}

impl Plan<'_> {
    async fn attempt(
        &self,
        connection: &mut Connection,
        server: usize,
        here: &[u8],
        body: &mut RequestBody,
    ) -> Result<Ready, AttemptFailed> {
        let head_bytes = self.head_bytes(server, here, connection.shared.buffers.scrap());
        let ready = attempt::run(self, connection, server, &head_bytes, body).await;
        connection.shared.buffers.keep_scrap(head_bytes);
        ready
    }
}
