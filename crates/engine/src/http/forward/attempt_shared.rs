//! An attempt on a server that speaks HTTP/2 or HTTP/3: a stream on a connection that others use too.

use std::rc::Rc;

use http::uri::Scheme;

use tokio::sync::MutexGuard;

use super::attempt::{connect, connect_http3, exchange_heads, note_connect, AttemptFailed, Ready};
use super::plan::Plan;
use crate::failure::{Failure, FailureKind};
use crate::http::bodies::request_body::RequestBody;
use crate::state::connection::Connection;
use crate::state::Shared;
use headgate_net::deadline::Watched;
use headgate_net::limits::Limit;
use headgate_net::peer::{Broken, Peer};
use headgate_net::stream::Stream;
use headgate_shared::metrics::Counter;
use headgate_upstream::LimitCounter;
use headgate_upstream::Pooled;
use headgate_upstream::{is_used_by, Http3Connections, Server, SharedConnections, Sharing};

/// Where a server's connections are that many requests share.
#[derive(Clone, Copy)]
pub(super) enum Shares<'a> {
    Http2(&'a Rc<SharedConnections>),
    Http3(&'a Rc<Http3Connections>),
}

impl<'a> Shares<'a> {
    /// Those of a server, if it has such.
    pub(super) fn of(server: &'a Server) -> Option<Self> {
        let http2 = server.http2.as_ref().map(Self::Http2);
        http2.or_else(|| server.http3.as_ref().map(Self::Http3))
    }

    fn reuse(self, sharing: Sharing<'_>, scheme: &Scheme, max_requests: u64) -> Option<Stream> {
        match self {
            Self::Http2(open) => open.reuse(sharing, scheme.clone(), max_requests),
            Self::Http3(open) => open.reuse(sharing, max_requests),
        }
    }

    async fn turn(self, watch: &Watched) -> Result<MutexGuard<'a, ()>, Broken> {
        match self {
            Self::Http2(open) => open.turn(watch).await,
            Self::Http3(open) => open.turn(watch).await,
        }
    }
}

/// Runs one attempt. A stream that the server says it never began with, or one on a connection that turns out to be
/// closed, is replaced by another where that is safe: it is not a failure of the server.
pub(super) async fn run(
    plan: &Plan<'_>,
    connection: &mut Connection,
    (server, carriers): (usize, Shares<'_>),
    head_bytes: &[u8],
    body: &mut RequestBody,
) -> Result<Ready, AttemptFailed> {
    let (shared, watch) = (connection.shared.clone(), &connection.watch);
    if plan.exchange.request.borrow().head.has_inner_codings() {
        // RFC 9113 section 8.2.2, RFC 9114 section 4.2: there is no place for it, and without it the content could not be
        // decoded
        return Err(AttemptFailed::Request(Failure::from(
            FailureKind::UnsupportedTransferCoding,
        )));
    }
    let stream = open(plan, &shared, watch, (server, carriers)).await?;
    let was_reused = stream.served > 0;
    match exchange_heads(plan, connection, stream, head_bytes, body).await {
        Err(AttemptFailed::Server(failure))
            if failure
                .retry()
                .on_fresh_connection(was_reused, plan.is_repeatable)
                && !body.is_committed => {}
        other => return other,
    }
    let stream = open(plan, &shared, &connection.watch, (server, carriers)).await?;
    exchange_heads(plan, connection, stream, head_bytes, body).await
}

/// A stream on a connection that has room, or on a new one.
pub(super) async fn open(
    plan: &Plan<'_>,
    shared: &Shared,
    watch: &Watched,
    (server, carriers): (usize, Shares<'_>),
) -> Result<Box<Pooled>, AttemptFailed> {
    let keepalive = &plan.upstream.keepalive;
    let scheme = scheme_of(plan, server);
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
    if let Some(stream) = carriers.reuse(sharing, &scheme, keepalive.max_requests) {
        return Ok(reused(stream));
    }
    let (began, attempt) = (shared.clock.tick(), plan.exchange.attempt.get());
    watch.arm(Limit::Connect, plan.connect_ms);
    // one at a time opens a connection; the others find room on it
    let _turn = match carriers.turn(watch).await {
        Ok(turn) => turn,
        Err(broken) => {
            note_connect(plan, attempt, (began, shared.clock.tick()));
            return Err(late(plan, shared, &broken));
        }
    };
    if let Some(stream) = carriers.reuse(sharing, &scheme, keepalive.max_requests) {
        note_connect(plan, attempt, (began, shared.clock.tick()));
        return Ok(reused(stream));
    }
    let dialer = shared.dialer();
    let opened = match carriers {
        Shares::Http2(open) => {
            let fresh = connect(plan, shared, watch, server).await?;
            let kept = open.open(fresh.peer, sharing, scheme, keepalive.clone(), &dialer);
            kept.await
                .map_err(|error| ("the server does not speak HTTP/2", Some(error.to_string())))
        }
        Shares::Http3(open) => {
            let fresh = connect_http3(plan, shared, watch, server).await?;
            let kept = open.keep(fresh, sharing, keepalive.clone(), &dialer);
            kept.await.ok_or(("the server does not speak HTTP/3", None))
        }
    };
    opened
        .map(|stream| Pooled::new(Peer::new(stream, shared.buffers.clone()), 0))
        .map_err(|(what, detail)| {
            AttemptFailed::Server(Failure::new(FailureKind::ConnectFailed, what).with_detail(detail))
        })
}

fn scheme_of(plan: &Plan<'_>, server: usize) -> Scheme {
    if plan.upstream.servers[server].is_secure() {
        Scheme::HTTPS
    } else {
        Scheme::HTTP
    }
}

fn late(plan: &Plan<'_>, shared: &Shared, broken: &Broken) -> AttemptFailed {
    if let Broken::Limit(limit) = broken {
        shared.metrics.count(limit.counter());
        plan.exchange.limit.set(limit.name());
    }
    AttemptFailed::Server(Failure::from(FailureKind::ConnectTimeout))
}
