//! Choosing a server, and waiting for one while all that could take the request have as many as they may.
//!
//! # How it works
//! Whoever waits has a place in the upstream's queue ([`Place`]), which says whose turn it is and how long one may wait. The
//! one whose turn it is looks again when this worker gives a server back, and a few times a second for what other workers give
//! back and for servers that have come back. Where a new configuration has another upstream in the place of this one, all who wait
//! go on there: see [`super::progress`].

use std::future::{poll_fn, Future};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::choice::pick;
use super::plan::Plan;
use crate::access_log::StepKind;
use crate::failure::{Failure, FailureKind};
use crate::http::h1::disconnect::DisconnectWatcher;
use crate::state::connection::Connection;
use crate::state::Shared;
use headgate_net::limits::Limit;
use headgate_net::peer::{late, Broken};
use headgate_route::{fnv, Tried};
use headgate_shared::metrics::Counter;
use headgate_upstream::{LimitCounter, Place};
use tokio::time::Instant;

/// How often to look for what other workers gave back.
const RECHECK_INTERVAL: Duration = Duration::from_millis(20);

/// The server for the next attempt; `None` if every one was tried, or the request goes on in another upstream.
pub(super) async fn server(
    connection: &mut Connection,
    plan: &Plan<'_>,
    tried: &Tried,
) -> Result<Option<usize>, Failure> {
    let (shared, upstream) = (connection.shared.clone(), plan.upstream);
    let pick = || pick(&shared, plan, tried);
    let Some(queue) = &upstream.queue else {
        return Ok(pick());
    };
    if queue.is_empty() {
        if let Some(server) = pick() {
            return Ok(Some(server));
        }
    }
    if moves(&shared, plan) || tried.len() >= upstream.servers.len() {
        return Ok(None);
    }
    let client = fnv(plan.exchange.client.address.as_bytes());
    let level = upstream.urgency(&plan.exchange.request.borrow());
    let Some(place) = queue.enter((client, level), shared.clock.now_ms(), &shared.metrics) else {
        plan.exchange.limit.set("queue.max_pending");
        return Err(Failure::from(FailureKind::QueueFull));
    };
    Box::pin(wait(connection, plan, place, !tried.is_empty(), pick)).await
}

async fn wait(
    connection: &mut Connection,
    plan: &Plan<'_>,
    place: Place,
    has_tried: bool,
    pick: impl Fn() -> Option<usize>,
) -> Result<Option<usize>, Failure> {
    let shared = &connection.shared.clone();
    let began = shared.clock.tick();
    note_length(plan);
    let mut shed = pin!(shed(place.limit_ms));
    let mut recheck = pin!(tokio::time::sleep(RECHECK_INTERVAL));
    connection.peer.settle();
    let mut disconnect = DisconnectWatcher::new(plan.tables.limits.allow_half_close);
    connection.watch.arm(Limit::Queue, plan.queue_ms);
    let outcome = poll_fn(|context| {
        if moves(shared, plan) {
            return Poll::Ready(Ok(None));
        }
        if let Some(server) = look(shared, &place, has_tried, &pick) {
            place.served();
            return Poll::Ready(Ok(Some(server)));
        }
        if disconnect.poll(context, &mut connection.peer) {
            return Poll::Ready(Err(Failure::client_disconnected()));
        }
        if shed.as_mut().poll(context).is_ready() {
            shared.metrics.count(Counter::QueueShed);
            plan.exchange.limit.set("queue.target");
            return Poll::Ready(Err(Failure::from(FailureKind::QueueShed)));
        }
        place.register(context);
        if place.has_turn(shared.clock.now_ms()) && recheck.as_mut().poll(context).is_ready() {
            shared.clock.tick();
            recheck.as_mut().reset(Instant::now() + RECHECK_INTERVAL);
            context.waker().wake_by_ref();
        }
        late(&connection.watch, context).map(|broken| Err(too_long(shared, plan, &broken)))
    })
    .await;
    let (exchange, now_us) = (plan.exchange, shared.clock.tick());
    let waited = &exchange.timings.queue_us;
    waited.set(waited.get() + now_us - began);
    exchange
        .timings
        .note(StepKind::Queue, exchange.attempt.get() + 1, began, now_us);
    if let Some(series) = &plan.tables.series {
        series.queued_for(exchange.configured_upstream(), now_us - began);
    }
    drop(place);
    note_length(plan);
    outcome
}

/// Whether another upstream has taken the place of the request's, in which it goes on.
fn moves(shared: &Shared, plan: &Plan<'_>) -> bool {
    if !plan.upstream.is_replaced() {
        return false;
    }
    let tables = shared.tables();
    let next = tables.upstream_index(&plan.upstream.name);
    let next = next.map(|index| tables.upstreams[index].clone());
    // the former servers serve on where there are no others
    let next = next.filter(|next| !Rc::ptr_eq(next, plan.upstream) && !next.servers.is_empty());
    let moves = next.is_some();
    plan.moved_to.replace(next);
    moves
}

/// Tells metrics how many wait.
fn note_length(plan: &Plan<'_>) {
    if let (Some(series), Some(queue)) = (&plan.tables.series, &plan.upstream.queue) {
        series.queue_is(plan.exchange.configured_upstream(), queue.waiting());
    }
}

/// A server, if it is this request's turn and one has room.
fn look(shared: &Shared, place: &Place, has_tried: bool, pick: &impl Fn() -> Option<usize>) -> Option<usize> {
    let now_ms = shared.clock.now_ms();
    if !place.may_look(now_ms) {
        return None;
    }
    let found = pick();
    if found.is_none() && has_tried {
        place.give_turn_on(now_ms);
    }
    found
}

/// Ends when a request that may wait for so long has done so.
async fn shed(limit_ms: Option<u64>) {
    match limit_ms {
        Some(limit_ms) => tokio::time::sleep(Duration::from_millis(limit_ms)).await,
        None => std::future::pending().await,
    }
}

fn too_long(shared: &Shared, plan: &Plan<'_>, broken: &Broken) -> Failure {
    if let Broken::Limit(limit) = broken {
        shared.metrics.count(limit.counter());
        plan.exchange.limit.set(limit.name());
    }
    Failure::from(FailureKind::QueueTimeout)
}
