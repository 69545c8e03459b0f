//! One attempt: a connection to a server, the request on it, and the head of the response.

use std::future::Future;

use headgate_wire::{ResponseHead, Version};

use super::attempt_shared::{self, Shares};
use super::in_flight::RequestInFlight;
use super::plan::Plan;
use crate::access_log::StepKind;
use crate::failure::{Failure, FailureKind};
use crate::http::bodies::request_body::RequestBody;
use crate::http::h1::response_head::write_interim;
use crate::state::connection::Connection;
use crate::state::Shared;
use headgate_net::deadline::Watched;
use headgate_net::peer::{Broken, Peer};
use headgate_shared::metrics::Counter;
use headgate_upstream::LimitCounter;
use headgate_upstream::{DialFailed, DialOptions, Pooled, Reason, Step};

/// Interim responses before the final one; RFC 9110 section 15.2 sets no bound.
pub(super) const MAX_INTERIM: u32 = 16;

/// The connection that a response comes from, the head of which is in the exchange.
pub(super) struct Ready {
    pub(super) server: Box<Pooled>,
    /// The server takes no more of the request's body.
    pub(super) upload_closed: bool,
}

/// Why an attempt has no response.
pub(super) enum AttemptFailed {
    /// The request itself cannot go on: the client left, or its body is bad.
    Request(Failure),
    /// The server is to blame; another one may do better.
    Server(Failure),
}

/// Runs one attempt. A pooled connection that turns out to be closed, or to hold bytes that are not a response to this
/// request (the late content of a response that has none: to HEAD, 204, 304; a 408 about the time before it), is replaced
/// by a fresh one where that is safe: it is not a failure of the server with this request.
pub(super) async fn run(
    plan: &Plan<'_>,
    connection: &mut Connection,
    server: usize,
    head_bytes: &[u8],
    body: &mut RequestBody,
) -> Result<Ready, AttemptFailed> {
    if let Some(shares) = Shares::of(&plan.upstream.servers[server]) {
        return attempt_shared::run(plan, connection, (server, shares), head_bytes, body).await;
    }
    let own = connection
        .reserved_server
        .take_if(|own| own.leads_to(plan.upstream, server));
    let own = own.map(|own| own.pooled);
    let own = own.and_then(|mut own| own.is_usable().then_some(own));
    if let Some(pooled) = own.or_else(|| plan.upstream.servers[server].pool.take()) {
        connection.shared.metrics.count(Counter::UpstreamReuses);
        match exchange_heads(plan, connection, pooled, head_bytes, body).await {
            Err(AttemptFailed::Server(failure))
                if failure.retry().on_fresh_connection(true, plan.is_repeatable) && !body.is_committed => {}
            Ok(_) if is_about_the_connection(plan) && plan.is_repeatable && !body.is_committed => {
                plan.exchange.response.take();
            }
            other => return other,
        }
    }
    connection.peer.settle();
    // boxed, as all that is rare here: what a request holds while it is forwarded stays small
    let fresh = Box::pin(connect(plan, &connection.shared, &connection.watch, server)).await?;
    exchange_heads(plan, connection, fresh, head_bytes, body).await
}

fn is_about_the_connection(plan: &Plan<'_>) -> bool {
    let response = plan.exchange.response.borrow();
    response
        .as_ref()
        .is_some_and(ResponseHead::ends_an_idle_connection)
}

/// Opens a connection to the server.
pub(super) async fn connect(
    plan: &Plan<'_>,
    shared: &Shared,
    watch: &Watched,
    server: usize,
) -> Result<Box<Pooled>, AttemptFailed> {
    let options = options(plan, watch);
    let dialer = shared.dialer();
    let peer = timed(plan, shared, dialer.dial(plan.upstream, server, &options)).await?;
    let mut pooled = Pooled::new(peer, 0);
    pooled.end_ms = plan.upstream.keepalive.end_ms(shared.clock.now_ms());
    Ok(pooled)
}

/// The same to one that speaks HTTP/3.
pub(super) async fn connect_http3(
    plan: &Plan<'_>,
    shared: &Shared,
    watch: &Watched,
    server: usize,
) -> Result<headgate_net::quic::Connection, AttemptFailed> {
    let options = options(plan, watch);
    let dialer = shared.dialer();
    timed(plan, shared, dialer.dial_http3(plan.upstream, server, &options)).await
}

fn options<'a>(plan: &'a Plan<'_>, watch: &'a Watched) -> DialOptions<'a> {
    DialOptions {
        watch,
        connect_ms: plan.connect_ms,
        send_ms: plan.send_ms,
        tls_ms: plan.tables.timeouts.tls_handshake,
        client: &*plan.exchange.client,
    }
}

/// Dials, and counts the time that it takes.
async fn timed<T>(
    plan: &Plan<'_>,
    shared: &Shared,
    dialing: impl Future<Output = Result<T, DialFailed>>,
) -> Result<T, AttemptFailed> {
    let (clock, attempt) = (&shared.clock, plan.exchange.attempt.get());
    let began = clock.tick();
    let dialed = dialing.await;
    note_connect(plan, attempt, (began, clock.tick()));
    dialed.map_err(|failed| not_connected(plan, &failed))
}

/// Keeps how long the attempt has waited for a connection.
pub(super) fn note_connect(plan: &Plan<'_>, attempt: u32, (began_us, now_us): (u64, u64)) {
    let timings = &plan.exchange.timings;
    timings
        .connect_us
        .set(timings.connect_us.get() + now_us.saturating_sub(began_us));
    timings.note(StepKind::Connect, attempt, began_us, now_us);
    if let Some(series) = &plan.tables.series {
        series.connected_in(
            plan.exchange.configured_upstream(),
            now_us.saturating_sub(began_us),
        );
    }
}

/// Keeps how long the attempt has waited for the head of a response, whether or not one came.
pub(super) fn note_head(plan: &Plan<'_>, attempt: u32, (began_us, now_us): (u64, u64)) {
    plan.exchange
        .timings
        .note(StepKind::Head, attempt, began_us, now_us);
}

fn not_connected(plan: &Plan<'_>, failed: &DialFailed) -> AttemptFailed {
    if let Reason::Late(limit) = failed.reason {
        plan.exchange.limit.set(limit.name());
    }
    let kind = match (failed.step, &failed.reason) {
        (Step::Connect, Reason::Late(_)) => FailureKind::ConnectTimeout,
        (Step::Connect, _) => FailureKind::ConnectFailed,
        (Step::Tls, Reason::Late(_)) => FailureKind::UpstreamTlsTimeout,
        (Step::Tls, _) => FailureKind::UpstreamTls,
    };
    let detail = failed.detail().map(str::to_owned);
    AttemptFailed::Server(Failure::new(kind, failed.message()).with_detail(detail))
}

/// Sends the request and awaits the head of its final response; interim ones go on to the client.
pub(super) async fn exchange_heads(
    plan: &Plan<'_>,
    connection: &mut Connection,
    mut server: Box<Pooled>,
    head_bytes: &[u8],
    body: &mut RequestBody,
) -> Result<Ready, AttemptFailed> {
    let shared = connection.shared.clone();
    let began = shared.clock.now_us();
    // one that was opened beforehand may have been closed since, like one that has served
    let is_reused = server.served > 0 || server.since_ms > 0;
    server.served += 1;
    let sent = send(plan, connection, &mut server.peer, head_bytes, body).await;
    if let Err(Broken::Limit(limit)) = sent {
        shared.metrics.count(limit.counter());
        plan.exchange.limit.set(limit.name());
        note_head(plan, plan.exchange.attempt.get(), (began, shared.clock.tick()));
        return Err(AttemptFailed::Server(Failure::from(
            FailureKind::UpstreamSendTimeout,
        )));
    }
    let mut interim = 0;
    let mut is_sound = true;
    // a write that failed may still be followed by a response that explains it: read on
    let mut in_flight = RequestInFlight::new(plan, sent.is_err());
    loop {
        let head = in_flight.head(connection, &mut server, body).await;
        let status = head.map_err(|failure| {
            note_head(plan, plan.exchange.attempt.get(), (began, shared.clock.tick()));
            blame(failure, is_reused)
        })?;
        if !(100..200).contains(&status) || status == 101 {
            let now_us = shared.clock.tick();
            plan.exchange.timings.head_us.set(now_us - began);
            note_head(plan, plan.exchange.attempt.get(), (began, now_us));
            if let Some(response) = &mut *plan.exchange.response.borrow_mut() {
                response.persistent &= is_sound;
            }
            return Ok(Ready {
                server,
                upload_closed: in_flight.upload_closed,
            });
        }
        let response = plan.exchange.response.take();
        is_sound &= response.as_ref().is_some_and(|response| response.persistent);
        interim += 1;
        if interim > MAX_INTERIM {
            connection.shared.metrics.count(Counter::BadResponses);
            let failure = Failure::from(FailureKind::TooManyInterimResponses);
            return Err(AttemptFailed::Server(failure));
        }
        if plan.exchange.request.borrow().version == Version::Http11 {
            pass_on(plan, connection, response.as_ref()).await?;
        }
    }
}

/// Sends an interim response to the client.
async fn pass_on(
    plan: &Plan<'_>,
    connection: &mut Connection,
    response: Option<&ResponseHead>,
) -> Result<(), AttemptFailed> {
    let mut out = Vec::new();
    if let Some(response) = response {
        write_interim(response, &mut out);
    }
    connection
        .peer
        .write_all(&connection.watch, &out, plan.send_ms)
        .await
        .map_err(|_| AttemptFailed::Request(Failure::client_disconnected()))
}

/// A server that closes a fresh connection has failed: it is not the kind that means a stale one.
pub(super) fn blame(failure: AttemptFailed, is_reused: bool) -> AttemptFailed {
    match failure {
        AttemptFailed::Server(mut failure) if failure.kind == FailureKind::UpstreamClosed && !is_reused => {
            failure.message = "the server closed the connection before it responded".into();
            failure.kind = FailureKind::UpstreamReset;
            AttemptFailed::Server(failure)
        }
        other => other,
    }
}

/// Sends the head, and behind it what was offered of the body: in one piece if there is room for the head before it.
async fn send(
    plan: &Plan<'_>,
    connection: &mut Connection,
    server: &mut Peer,
    head_bytes: &[u8],
    body: &mut RequestBody,
) -> Result<(), Broken> {
    let (watch, client) = (&connection.watch, &mut connection.peer);
    let offered = body.take_offered();
    if offered == 0 {
        return server.write_all(watch, head_bytes, plan.send_ms).await;
    }
    let (head, unread) = if client.prepend(head_bytes) {
        (&[][..], offered + head_bytes.len())
    } else {
        (head_bytes, offered)
    };
    let sent = server
        .write_both(watch, head, &client.unread()[..unread], plan.send_ms)
        .await;
    client.consume(unread);
    sent
}
