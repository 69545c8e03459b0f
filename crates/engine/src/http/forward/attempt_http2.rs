//! An attempt on a server that speaks HTTP/2: a stream on a connection that others use too.

use std::rc::Rc;

use http::uri::Scheme;

use super::attempt::{connect, exchange_heads, AttemptFailed, Ready};
use super::plan::Plan;
use crate::failure::{Failure, FailureKind};
use crate::http::bodies::request_body::RequestBody;
use crate::state::connection::Connection;
use crate::state::Shared;
use headgate_net::deadline::Watched;
use headgate_net::limits::Limit;
use headgate_net::peer::{Broken, Peer};
use headgate_shared::metrics::Counter;
use headgate_upstream::LimitCounter;
use headgate_upstream::Pooled;
use headgate_upstream::{is_used_by, SharedConnections, Sharing};

/// Runs one attempt. A stream that the server says it never began with, or one on a connection that turns out to be
/// closed, is replaced by another where that is safe: it is not a failure of the server.
pub(super) async fn run(
    plan: &Plan<'_>,
    connection: &mut Connection,
    (server, http2): (usize, &Rc<SharedConnections>),
    head_bytes: &[u8],
    body: &mut RequestBody,
) -> Result<Ready, AttemptFailed> {
    let (shared, watch) = (connection.shared.clone(), &connection.watch);
    if plan.exchange.request.borrow().head.has_inner_codings() {
        // RFC 9113 section 8.2.2: HTTP/2 has no place for it, and without it the content could not be decoded
        return Err(AttemptFailed::Request(Failure::from(
            FailureKind::UnsupportedTransferCoding,
        )));
    }
    let stream = open(plan, &shared, watch, (server, http2)).await?;
    let was_reused = stream.served > 0;
    match exchange_heads(plan, connection, stream, head_bytes, body).await {
        Err(AttemptFailed::Server(failure))
            if failure
                .retry()
                .on_fresh_connection(was_reused, plan.is_idempotent)
                && !body.is_committed => {}
        other => return other,
    }
    let stream = open(plan, &shared, &connection.watch, (server, http2)).await?;
    exchange_heads(plan, connection, stream, head_bytes, body).await
}

/// A stream on a connection that has room, or on a new one.
pub(super) async fn open(
    plan: &Plan<'_>,
    shared: &Shared,
    watch: &Watched,
    (server, http2): (usize, &Rc<SharedConnections>),
) -> Result<Box<Pooled>, AttemptFailed> {
    let keepalive = &plan.upstream.keepalive;
    let scheme = if plan.upstream.servers[server].is_secure() {
        Scheme::HTTPS
    } else {
        Scheme::HTTP
    };
    let client = plan
        .upstream
        .client_address
        .as_ref()
        .and_then(|rule| rule.key(&*plan.exchange.client));
    let sharing = match &client {
        _ if is_used_by(&plan.exchange.request.borrow().head) => Sharing::Nobody,
        Some(client) => Sharing::Client(client),
        None => Sharing::All,
    };
    let reused = |stream| {
        shared.metrics.count(Counter::UpstreamReuses);
        Pooled::new(Peer::new(stream, shared.buffers.clone()), 1)
    };
    if let Some(stream) = http2.reuse(sharing, scheme.clone(), keepalive.max_requests) {
        return Ok(reused(stream));
    }
    watch.arm(Limit::Connect, plan.connect_ms);
    // one at a time opens a connection; the others find room on it
    let _turn = match http2.turn(watch).await {
        Ok(turn) => turn,
        Err(broken) => return Err(late(plan, shared, &broken)),
    };
    if let Some(stream) = http2.reuse(sharing, scheme.clone(), keepalive.max_requests) {
        return Ok(reused(stream));
    }
    let fresh = connect(plan, shared, watch, server).await?;
    match http2
        .open(fresh.peer, sharing, scheme, keepalive.clone(), &shared.dialer())
        .await
    {
        Ok(stream) => Ok(Pooled::new(Peer::new(stream, shared.buffers.clone()), 0)),
        Err(error) => Err(AttemptFailed::Server(
            Failure::new(FailureKind::ConnectFailed, "the server does not speak HTTP/2")
                .with_detail(Some(error.to_string())),
        )),
    }
}

fn late(plan: &Plan<'_>, shared: &Shared, broken: &Broken) -> AttemptFailed {
    if let Broken::Limit(limit) = broken {
        shared.metrics.count(limit.counter());
        plan.exchange.limit.set(limit.name());
    }
    AttemptFailed::Server(Failure::from(FailureKind::ConnectTimeout))
}
