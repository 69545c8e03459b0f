//! Choosing a server, and waiting for one while all that could take the request have as many as they may.
//!
//! # How it works
//! Whoever waits holds, or waits for, the upstream's turnstile, so the order is that of arrival and no request that comes later
//! goes first. The one at the turnstile looks again when this worker gives a server back, and a few times a second for what
//! other workers give back.

use std::future::{poll_fn, Future};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::plan::Plan;
use crate::failure::{Failure, FailureKind};
use crate::http::h1::disconnect::DisconnectWatcher;
use crate::state::connection::Connection;
use crate::state::Shared;
use headgate_net::limits::Limit;
use headgate_net::peer::{late, Broken};
use headgate_route::Tried;
use headgate_upstream::LimitCounter;
use headgate_upstream::Queue;

/// How often to look for what other workers gave back.
const RECHECK_INTERVAL: Duration = Duration::from_millis(20);

/// The server for the next attempt; `None` if every one was tried.
pub(super) async fn server(
    connection: &mut Connection,
    plan: &Plan<'_>,
    tried: &Tried,
) -> Result<Option<usize>, Failure> {
    let (shared, upstream) = (connection.shared.clone(), plan.upstream);
    let pick = || {
        let request = plan.exchange.request.borrow();
        let key = upstream.key(&request, &plan.exchange.client.address);
        upstream.pick(shared.clock.now_ms(), key, tried, &shared.metrics)
    };
    let Some(queue) = &upstream.queue else {
        return Ok(pick());
    };
    if queue.is_empty() {
        if let Some(server) = pick() {
            return Ok(Some(server));
        }
    }
    if tried.len() >= upstream.servers.len() {
        return Ok(None);
    }
    Box::pin(wait(connection, plan, queue, pick)).await
}

async fn wait(
    connection: &mut Connection,
    plan: &Plan<'_>,
    queue: &Queue,
    pick: impl Fn() -> Option<usize>,
) -> Result<Option<usize>, Failure> {
    let shared = &connection.shared.clone();
    let began = shared.clock.tick();
    let turn = async {
        let _first = queue.turnstile().await;
        loop {
            let freed = queue.freed();
            if let Some(server) = pick() {
                return server;
            }
            tokio::select! {
                () = freed => {}
                () = tokio::time::sleep(RECHECK_INTERVAL) => {
                    shared.clock.tick();
                }
            }
        }
    };
    let mut turn = pin!(turn);
    connection.peer.settle();
    let mut disconnect = DisconnectWatcher::new(plan.tables.limits.allow_half_close);
    connection.watch.arm(Limit::Queue, plan.queue_ms);
    let outcome = poll_fn(|context| {
        if let Poll::Ready(server) = turn.as_mut().poll(context) {
            return Poll::Ready(Ok(Some(server)));
        }
        if disconnect.poll(context, &mut connection.peer) {
            return Poll::Ready(Err(Failure::client_disconnected()));
        }
        late(&connection.watch, context).map(|broken| Err(too_long(shared, plan, &broken)))
    })
    .await;
    let waited = &plan.exchange.timings.queue_us;
    waited.set(waited.get() + shared.clock.tick() - began);
    outcome
}

fn too_long(shared: &Shared, plan: &Plan<'_>, broken: &Broken) -> Failure {
    if let Broken::Limit(limit) = broken {
        shared.metrics.count(limit.counter());
        plan.exchange.limit.set(limit.name());
    }
    Failure::from(FailureKind::QueueTimeout)
}
