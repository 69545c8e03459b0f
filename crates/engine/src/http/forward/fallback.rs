//! What a client gets when no server of the upstream has served its request: the response of another upstream, the last
//! good one, or a fixed one.

use std::rc::Rc;

use headgate_shared::metrics::Counter;
use headgate_upstream::{Retry, Upstream};

use super::{progress, stale};
use crate::failure::{Failure, FailureKind, FaultSide};
use crate::hooks::configuration::Configuration;
use crate::hooks::exchange::Exchange;
use crate::http::bodies::request_body::RequestBody;
use crate::http::reply::{fixed, Outcome};
use crate::state::connection::Connection;

/// Whether a failure is the upstream's, and the client has got nothing yet.
pub(super) fn covers(failure: &Failure, exchange: &Exchange) -> bool {
    let is_upstreams = failure.kind.facts().source == FaultSide::Upstream || is_without_attempt(failure.kind);
    is_upstreams && exchange.status.get() == 0
}

/// Whether no server was asked because of it.
fn is_without_attempt(kind: FailureKind) -> bool {
    use FailureKind::{CircuitOpen, NoServer, QueueFull, QueueShed, QueueTimeout};
    matches!(
        kind,
        NoServer | QueueTimeout | QueueFull | QueueShed | CircuitOpen
    )
}

/// Serves the request otherwise; the failure, if there is no other way, or it fails as well.
pub(super) async fn serve(
    connection: &mut Connection,
    (exchange, tables, upstream): (&Rc<Exchange>, &Rc<Configuration>, &Upstream),
    (here, body): (&[u8], &mut RequestBody),
    failure: Failure,
) -> Result<Outcome, Failure> {
    let Some(fallback) = upstream.fallback() else {
        return Err(failure);
    };
    failure.log(&exchange.id.borrow());
    connection.shared.metrics.count(Counter::Fallbacks);
    exchange.response.take();
    let mut failure = failure;
    let other = fallback.upstream.as_deref().and_then(|name| find(tables, name));
    if let Some((index, other)) = other.filter(|_| may_be_sent(upstream, &failure, exchange, body)) {
        exchange.upstream.set(Some(index));
        exchange.server.set(None);
        exchange.rare().moved_to.take();
        match progress::serve(connection, exchange, tables, other, (here, body))
            .await
            .1
        {
            Err(failed) if covers(&failed, exchange) => failure = failed,
            served => return served,
        }
    }
    let route = exchange.route.get().map_or("", |route| &tables.route(route).name);
    if let Some(reply) = stale::reply(&connection.shared, exchange, upstream, route, None) {
        exchange.response.take();
        exchange.failure.replace(Some(failure));
        return Ok(Outcome::reply(reply));
    }
    let Some(respond) = &fallback.respond else {
        return Err(failure);
    };
    exchange.response.take();
    exchange.failure.replace(Some(failure));
    fixed(respond.status, &respond.headers, &respond.body).map(Outcome::reply)
}

/// Whether another upstream may get what servers of this one may have acted on: the rule of retries.
fn may_be_sent(upstream: &Upstream, failure: &Failure, exchange: &Exchange, body: &RequestBody) -> bool {
    let is_safe = upstream.may_repeat(exchange.request.borrow().method())
        || failure.retry() == Retry::AlwaysSafe
        || is_without_attempt(failure.kind);
    !body.is_committed && is_safe
}

fn find(tables: &Configuration, name: &str) -> Option<(usize, Rc<Upstream>)> {
    let index = tables.upstream_index(name)?;
    Some((index, tables.upstreams[index].clone()))
}
