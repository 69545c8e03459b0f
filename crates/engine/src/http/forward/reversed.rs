//! A connection that the client of a tunnel has dialled: once the tunnels' broker has let it in, it is a connection to the server
//! behind the tunnel as any other, and waits in that one's pool.
//!
//! # How it works
//! The broker's 101 names the server in a field. What comes on the connection from then on is the server's, so that no byte
//! passes through the broker. The connection to the broker is kept as its leash: the broker ends the one by closing the other.

use std::future::{poll_fn, Future};
use std::pin::pin;
use std::task::Poll;

use headgate_net::peer::Peer;
use headgate_net::stream::Stream;
use headgate_upstream::Pooled;
use headgate_wire::Head;

use super::attempt::AttemptFailed;
use super::plan::Plan;
use crate::failure::{Failure, FailureKind};
use crate::state::connection::{Connection, Next};

/// The field of the broker's 101 with the name that the connection leads to.
const FIELD: &[u8] = b"headgate-reversed";

/// The broker's own socket, beside which those of the names are.
const ENDPOINT: &str = "/endpoint.sock";

/// How long what was sent may stay unacknowledged, in milliseconds: the way through a NAT may be gone without a word.
const SILENT_MS: u32 = 5_000;

/// The address of the server that the client's connection leads to, if that is what the response says.
pub(super) fn leads_to(plan: &Plan<'_>, head: &Head) -> Option<String> {
    let name = std::str::from_utf8(head.get(FIELD)?).ok()?;
    let broker = &plan.upstream.servers[plan.exchange.server.get()?];
    let folder = broker.name.strip_suffix(ENDPOINT)?;
    Some(format!("{folder}/{name}.sock"))
}

/// Sends the 101, and puts the client's connection into the pool of the server; where that has none, the connection ends.
pub(super) async fn keep(
    connection: &mut Connection,
    plan: &Plan<'_>,
    head: &[u8],
    address: &str,
    leash: Peer,
) -> Result<Next, Failure> {
    let exchange = plan.exchange;
    exchange.status.set(101);
    let sent = connection
        .peer
        .write_all(&connection.watch, head, plan.send_ms)
        .await;
    sent.map_err(|_| Failure::client_disconnected())?;
    exchange.response_bytes.set(head.len() as u64);
    exchange.head_bytes.set(head.len() as u64);
    let shared = &connection.shared;
    let is_whole = connection.peer.unread().is_empty() && leash.unread().is_empty();
    let is_own = !matches!(connection.peer.stream, Stream::Virtual(_));
    if !is_whole || !is_own || shared.is_draining.get() {
        return Ok(Next::Close);
    }
    let known = plan.tables.upstreams.iter().flat_map(|upstream| {
        let max_idle = upstream.keepalive.max_idle;
        upstream.servers.iter().map(move |server| (server, max_idle))
    });
    let fitting = known.filter(|(server, _)| server.name == address && server.http2.is_none());
    if let Some((server, max_idle)) = fitting.min_by_key(|(server, _)| server.pool.count()) {
        let nowhere = Peer::new(Stream::nowhere(), shared.buffers.clone());
        let peer = std::mem::replace(&mut connection.peer, nowhere);
        peer.stream.notice_silence(SILENT_MS);
        server
            .pool
            .give(Pooled::reversed(peer, leash, shared.clock.now_ms()), max_idle);
    }
    Ok(Next::Close)
}

/// Waits for whatever a request does on such a connection, unless the broker ends that: it may have noticed that the tunnel is
/// dead, or its token is not valid any more. `failure` is what that means then.
pub(super) async fn leashed<T, E>(
    work: impl Future<Output = Result<T, E>>,
    leash: &mut Peer,
    failure: impl Fn() -> E,
) -> Result<T, E> {
    let mut work = pin!(work);
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(done);
        }
        while leash.stream.poll_read_ready(context).is_ready() {
            if leash.stream.has_news() {
                return Poll::Ready(Err(failure()));
            }
        }
        Poll::Pending
    })
    .await
}

/// The same for the wait for the head of a response.
pub(super) async fn leashed_head<T>(
    head: impl Future<Output = Result<T, AttemptFailed>>,
    leash: &mut Peer,
) -> Result<T, AttemptFailed> {
    let failure = || AttemptFailed::Server(Failure::from(FailureKind::UpstreamClosed));
    leashed(head, leash, failure).await
}

/// The same for what follows the head.
pub(super) async fn leashed_rest<T>(
    rest: impl Future<Output = Result<T, Failure>>,
    leash: &mut Peer,
) -> Result<T, Failure> {
    leashed(rest, leash, || {
        Failure::new(
            FailureKind::UpstreamTruncated,
            "the tunnel to the server was ended",
        )
    })
    .await
}
