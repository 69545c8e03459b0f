//! Whether and when a request is tried again after an attempt: what the upstream's rule leaves to ask, and the pause.
//!
//! # How it works
//! The rule comes first (kinds, statuses, methods, budget: [`super::may_retry`]), so that Python runs only for attempts that would
//! be made. Then `retry` hooks may say no. Then there is a pause, where the upstream has `backoff`: not one that the request's
//! deadline would end. The pause is why a server may be asked again after it, if there is no other.

use std::future::{poll_fn, Future};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use headgate_route::Tried;
use headgate_upstream::spec::random_number;
use headgate_upstream::PausedRetry;

use super::attempt::Ready;
use super::begin::Begun;
use super::choice::pick;
use super::plan::Plan;
use crate::failure::Failure;
use crate::hooks::exchange::Exchange;
use crate::http::bodies::request_body::RequestBody;
use crate::http::h1::disconnect::DisconnectWatcher;
use crate::http::overload;
use crate::http::phases::{poll_client, run_hooks};
use crate::http_date;
use crate::state::connection::Connection;
use crate::state::Shared;

/// A further attempt in place of a response.
pub(super) struct Instead {
    /// Where it goes.
    server: usize,
    pause_ms: Option<u64>,
}

/// Whether an attempt follows one that has failed by that kind, to be made now: the pause is over.
pub(super) async fn follows(
    connection: &mut Connection,
    plan: &Plan<'_>,
    (tried, made): (&mut Tried, u32),
    kind: &'static str,
) -> Result<bool, Failure> {
    let shared = connection.shared.clone();
    if tried.len() >= plan.upstream.servers.len() && plan.upstream.backoff().is_none() {
        return Ok(true); // nobody is asked about what finds no server
    }
    if !agrees(connection, plan, (kind, 0)).await? {
        return Ok(false);
    }
    let Some(pause_ms) = pause_ms(plan, made, None) else {
        return Ok(true);
    };
    if !has_time(&shared, plan.exchange, pause_ms) {
        return Ok(false);
    }
    wait(connection, plan, pause_ms).await?;
    if pick(&shared, plan, tried).is_none() {
        *tried = Tried::new();
    }
    Ok(true)
}

/// The attempt that is made in place of a response with that status, if one is; the response is dropped then.
#[cold]
pub(super) async fn instead(
    connection: &mut Connection,
    plan: &Plan<'_>,
    body: &RequestBody,
    (tried, made): (&mut Tried, u32),
    status: u16,
) -> Result<Option<Instead>, Failure> {
    let (shared, exchange, upstream) = (connection.shared.clone(), plan.exchange, plan.upstream);
    let is_spared = upstream.is_circuit_open(&shared.metrics);
    if body.is_committed || !plan.is_repeatable || shared.is_closed.get() || is_spared {
        return Ok(None);
    }
    let asked = {
        let response = exchange.response.borrow();
        let head = response.as_ref().map(|response| &response.head);
        if head.is_some_and(overload::is_told) {
            return Ok(None);
        }
        let after = head.and_then(|head| head.get(b"retry-after"));
        let now_s = shared.clock.unix_ms(shared.clock.now_us()) / 1000;
        after.and_then(|after| http_date::retry_after(after, now_s))
    };
    let mut server = pick(&shared, plan, tried);
    if server.is_none() && upstream.backoff().is_some() {
        server = pick(&shared, plan, &Tried::new());
        if server.is_some() {
            *tried = Tried::new();
        }
    }
    let Some(server) = server else {
        return Ok(None);
    };
    let pause_ms = pause_ms(plan, made, asked);
    let is_late = pause_ms.is_some_and(|pause_ms| !has_time(&shared, exchange, pause_ms));
    if is_late || !agrees(connection, plan, ("", status)).await? {
        return Ok(None);
    }
    exchange.response.take();
    Ok(Some(Instead { server, pause_ms }))
}

impl Instead {
    /// Gives up the response with that status, and waits until the attempt may be made; its server.
    pub(super) async fn begin(
        self,
        connection: &mut Connection,
        plan: &Plan<'_>,
        (ready, begun): (Ready, Begun<'_>),
        status: u16,
    ) -> Result<usize, Failure> {
        begun.given_up(&connection.shared, plan, (status, "status"));
        drop((ready, begun));
        if let Some(pause_ms) = self.pause_ms {
            Box::pin(wait(connection, plan, pause_ms)).await?;
        }
        Ok(self.server)
    }
}

/// Whether `retry` hooks have nothing against it; `came_to`: what the last attempt has failed by, or the status of its response.
async fn agrees(
    connection: &mut Connection,
    plan: &Plan<'_>,
    came_to: (&'static str, u16),
) -> Result<bool, Failure> {
    if plan.retry_hooks.is_empty() {
        return Ok(true);
    }
    let rare = plan.exchange.rare();
    rare.came_to.set(came_to);
    rare.is_final.set(false);
    run_hooks(connection, plan.exchange, plan.retry_hooks).await?;
    Ok(!plan.exchange.rare().is_final.get())
}

/// The pause before the retry of that number; `asked`: what the server wants of it.
fn pause_ms(plan: &Plan<'_>, number: u32, asked: Option<Duration>) -> Option<u64> {
    let backoff = plan.upstream.backoff()?;
    let asked_ms = asked.map(|asked| u64::try_from(asked.as_millis()).unwrap_or(u64::MAX));
    Some(backoff.pause_ms(number, random_number(), asked_ms))
}

/// Whether there is time left for an attempt after such a pause.
fn has_time(shared: &Shared, exchange: &Exchange, pause_ms: u64) -> bool {
    if !exchange.has_deadline() {
        return true;
    }
    let deadline = exchange.rare().deadline.borrow();
    let left_us = deadline
        .as_ref()
        .map(|deadline| deadline.left_us(shared.clock.tick()));
    left_us.is_none_or(|left_us| left_us > pause_ms * 1000)
}

async fn wait(connection: &mut Connection, plan: &Plan<'_>, pause_ms: u64) -> Result<(), Failure> {
    let shared = connection.shared.clone();
    let _counted = PausedRetry::new(Rc::clone(&shared.metrics), plan.upstream);
    let mut disconnect = DisconnectWatcher::new(plan.tables.limits.allow_half_close);
    let mut over = pin!(tokio::time::sleep(Duration::from_millis(pause_ms)));
    connection.peer.settle();
    connection.watch.bind(0);
    connection.watch.disarm();
    let waited = poll_fn(|context| {
        if over.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        poll_client(context, connection, plan.exchange, None, &mut disconnect).map(Err)
    })
    .await;
    shared.clock.tick();
    waited
}
