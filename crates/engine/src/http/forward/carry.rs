//! What moves a response to the client, and the rest of the request beside it.

use std::future::poll_fn;
use std::task::{Context, Poll};

use super::plan::Plan;
use super::reversed;
use crate::failure::{Failure, FailureKind};
use crate::http::bodies::failures::body_failure;
use crate::http::bodies::piece::On;
use crate::http::bodies::request_body::{BodyBroken, RequestBody, Waits};
use crate::http::h1::disconnect::DisconnectWatcher;
use crate::http::h1::relay::{Relay, RelayBroken};
use crate::state::connection::{Connection, ReservedServer};
use headgate_net::limits::Limit;
use headgate_net::peer::{Broken, Peer};
use headgate_net::reason::in_words;
use headgate_shared::metrics::Counter;
use headgate_upstream::LimitCounter;
use headgate_upstream::{binds_connection, Pooled};

/// Whatever moves a response from a server to the client.
pub(super) trait Carrier {
    /// Goes on; sets the side that a pending poll waits for.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        server: &mut Peer,
        client: &mut Peer,
        on: &mut On,
    ) -> Poll<Result<(), RelayBroken>>;

    /// A number that grows when anything moves.
    fn progress(&self) -> u64;
}

impl Carrier for Relay {
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        server: &mut Peer,
        client: &mut Peer,
        on: &mut On,
    ) -> Poll<Result<(), RelayBroken>> {
        let mut waits_for_client = false;
        let polled = Relay::poll(self, context, server, client, &mut waits_for_client);
        *on = if waits_for_client { On::Sink } else { On::Source };
        polled
    }

    fn progress(&self) -> u64 {
        self.written
    }
}

/// Relays the response, and the rest of the request beside it.
pub(super) async fn carry<C: Carrier>(
    connection: &mut Connection,
    plan: &Plan<'_>,
    server: &mut Pooled,
    relay: &mut C,
    body: &mut RequestBody,
    upload_closed: &mut bool,
) -> Result<(), Failure> {
    let exchange = plan.exchange;
    let route = exchange.route.get();
    let idle_ms = plan.tables.timeout(
        route,
        Some(plan.upstream),
        |t| t.upstream_idle,
        |t| t.upstream_idle,
    );
    connection.watch.arm(Limit::UpstreamIdle, idle_ms);
    let mut wait = CarryWait {
        send_ms: plan.send_ms,
        idle_ms,
        disconnect: DisconnectWatcher::new(plan.tables.limits.allow_half_close),
        carried: connection.peer.stream.carried(),
    };
    let Pooled {
        peer: server, leash, ..
    } = server;
    let carried = poll_fn(|context| {
        let (before, mut moved) = (relay.progress(), false);
        if !body.is_done() && !*upload_closed {
            *upload_closed = !pump(context, connection, plan, server, body, &mut moved)?;
        }
        let unread = server.unread().len();
        let mut on = On::Source;
        match relay.poll(context, server, &mut connection.peer, &mut on) {
            Poll::Ready(result) => {
                return Poll::Ready(result.map_err(|broken| cut(connection, plan, &broken)))
            }
            Poll::Pending => {}
        }
        if moved || relay.progress() != before || server.unread().len() != unread {
            connection.watch.disarm();
        }
        wait.poll(context, connection, plan, body, on).map(Err)
    });
    match leash {
        None => carried.await,
        Some(leash) => {
            let ended = Box::pin(reversed::leashed_rest(carried, leash));
            ended.await
        }
    }
}

/// Moves on what is here of the request; false if the server takes no more of it.
fn pump(
    context: &mut Context<'_>,
    connection: &mut Connection,
    plan: &Plan<'_>,
    server: &mut Peer,
    body: &mut RequestBody,
    moved: &mut bool,
) -> Result<bool, Failure> {
    let exchange = plan.exchange;
    let received = body.received;
    let pumped = body.poll_pump(context, &mut connection.peer, server, moved, &mut Waits::Client);
    exchange
        .request_bytes
        .set(exchange.request_bytes.get() + body.received - received);
    match pumped {
        Poll::Ready(Err(BodyBroken::Server)) => Ok(false),
        Poll::Ready(Err(broken)) => Err(body_failure(&broken, exchange)),
        Poll::Ready(Ok(())) | Poll::Pending => Ok(true),
    }
}

/// The wait for whoever holds a response up, and what bounds it.
struct CarryWait {
    send_ms: u64,
    idle_ms: u64,
    disconnect: DisconnectWatcher,
    /// Bytes that the client's connection had taken when this was last looked at.
    carried: u64,
}

impl CarryWait {
    /// Waits on; ready only with the failure of whom it took too long.
    #[inline]
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        connection: &mut Connection,
        plan: &Plan<'_>,
        body: &RequestBody,
        on: On,
    ) -> Poll<Failure> {
        let (limit, ms) = match on {
            On::Sink => (Limit::Send, self.send_ms),
            On::Source => (Limit::UpstreamIdle, self.idle_ms),
            On::Hook => {
                // its own deadline bounds it, and the client's send timeout
                connection.watch.disarm();
                if body.is_finished() && self.disconnect.poll(context, &mut connection.peer) {
                    return Poll::Ready(Failure::client_disconnected());
                }
                return Poll::Pending;
            }
        };
        if !connection.watch.is_armed_for(limit) {
            connection.watch.arm(limit, ms);
        }
        if on == On::Sink && connection.watch.expired().is_some() {
            // the client takes bytes, only not yet those of this stream
            let taken = connection.peer.stream.carried();
            if std::mem::replace(&mut self.carried, taken) != taken {
                connection.watch.arm(limit, ms);
            }
        }
        if let Some(limit) = connection.watch.expired() {
            let broken = Broken::Limit(limit);
            let side = if on == On::Sink {
                RelayBroken::Client(broken)
            } else {
                RelayBroken::Server(broken)
            };
            return Poll::Ready(cut(connection, plan, &side));
        }
        connection.watch.register(context);
        Poll::Pending
    }
}

/// What a relay that broke means.
pub(super) fn cut(connection: &Connection, plan: &Plan<'_>, broken: &RelayBroken) -> Failure {
    let metrics = &connection.shared.metrics;
    let limited = |limit: Limit| {
        metrics.count(limit.counter());
        plan.exchange.limit.set(limit.name());
    };
    match broken {
        RelayBroken::Client(Broken::Limit(Limit::ServerDrain))
        | RelayBroken::Server(Broken::Limit(Limit::ServerDrain)) => {
            limited(Limit::ServerDrain);
            Failure::from(FailureKind::ServerRemoved)
        }
        RelayBroken::Client(Broken::Limit(limit)) => {
            limited(*limit);
            Failure::new(
                FailureKind::ClientSendTimeout,
                "the client took too long to read the response",
            )
        }
        RelayBroken::Client(_) => Failure::client_disconnected(),
        RelayBroken::Server(Broken::Limit(limit)) => {
            limited(*limit);
            Failure::from(FailureKind::UpstreamIdleTimeout)
        }
        RelayBroken::Server(broken) => {
            metrics.count(Counter::UpstreamFailures);
            let detail = match broken {
                Broken::Io(error) => Some(in_words(error)),
                Broken::Closed | Broken::Limit(_) => None,
            };
            Failure::from(FailureKind::UpstreamTruncated).with_detail(detail)
        }
        RelayBroken::Failed(failure) => (**failure).clone(),
        RelayBroken::Framing(error) => {
            metrics.count(Counter::BadResponses);
            Failure::from(FailureKind::BadChunk).with_detail(Some(error.to_string()))
        }
    }
}

/// Puts a connection back into its server's pool, if it is fit for another request.
pub(super) fn keep(connection: &mut Connection, plan: &Plan<'_>, mut server: Box<Pooled>) {
    let keepalive = &plan.upstream.keepalive;
    let is_worn = keepalive.max_requests > 0 && server.served >= keepalive.max_requests;
    let is_old = connection.shared.clock.now_ms() >= server.end_ms;
    if is_worn || is_old || !server.peer.unread().is_empty() || connection.shared.is_draining.get() {
        return;
    }
    if let Some(index) = plan.exchange.server.get() {
        if server.is_bound || binds(plan.exchange) {
            server.is_bound = true;
            connection.reserved_server = Some(Box::new(ReservedServer {
                upstream: plan.upstream.clone(),
                server: index,
                pooled: server,
            }));
            return;
        }
        server.since_ms = connection.shared.clock.now_ms();
        plan.upstream.servers[index].pool.give(server, keepalive.max_idle);
    }
}

/// Whether the server takes whatever comes on the connection for one user's from now on.
fn binds(exchange: &crate::hooks::exchange::Exchange) -> bool {
    let (request, response) = (exchange.request.borrow(), exchange.response.borrow());
    let (status, head) = response
        .as_ref()
        .map_or((0, None), |response| (response.status, Some(&response.head)));
    binds_connection(&request.head, status, head)
}
