//! One attempt: a connection to a server, the request on it, and the head of the response.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::task::{Context, Poll};

use headgate_wire::{parse_response, Parsed, Version};

use super::Plan;
use crate::failure::{Failure, FailureKind};
use crate::http::bodies::failures::body_failure;
use crate::http::bodies::failures::client_body_timeout;
use crate::http::bodies::request_body::{BodyBroken, RequestBody, Waits};
use crate::http::h1::disconnect::DisconnectWatcher;
use crate::http::h1::response_head::write_interim;
use crate::state::connection::Connection;
use headgate_net::limits::Limit;
use headgate_net::peer::{Broken, Peer};
use headgate_shared::metrics::Counter;
use headgate_upstream::LimitCounter;
use headgate_upstream::{DialFailed, Pooled, Reason, Step, Terms};

/// The first read of a response: a head and a small body, yet little to keep for a client that reads slowly.
const FIRST_READ_BYTES: usize = 32 * 1024;

/// Interim responses before the final one; RFC 9110 section 15.2 sets no bound.
const MAX_INTERIM: u32 = 16;

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

/// Runs one attempt. A pooled connection that turns out to be closed, or to hold bytes that are not a response (the late content
/// of a response that has none: to HEAD, 204, 304), is replaced by a fresh one where that is safe: it is not a failure of the
/// server with this request.
pub(super) async fn run(
    plan: &Plan<'_>,
    connection: &mut Connection,
    server: usize,
    head_bytes: &[u8],
    body: &mut RequestBody,
) -> Result<Ready, AttemptFailed> {
    if let Some(http2) = &plan.upstream.servers[server].http2 {
        return super::attempt_http2::run(plan, connection, (server, http2), head_bytes, body).await;
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
                if failure.status() == 502 && plan.is_idempotent && !body.is_committed => {}
            other => return other,
        }
    }
    connection.peer.settle();
    // boxed, as all that is rare here: what a request holds while it is forwarded stays small
    let fresh = Box::pin(connect(plan, connection, server)).await?;
    exchange_heads(plan, connection, fresh, head_bytes, body).await
}

/// Opens a connection to the server.
pub(super) async fn connect(
    plan: &Plan<'_>,
    connection: &Connection,
    server: usize,
) -> Result<Box<Pooled>, AttemptFailed> {
    let shared = &connection.shared;
    let began = shared.clock.tick();
    let terms = Terms {
        watch: &connection.watch,
        connect_ms: plan.connect_ms,
        send_ms: plan.send_ms,
        tls_ms: plan.tables.timeouts.tls_handshake,
        client: &*plan.exchange.client,
    };
    let dialed = shared.dialer().dial(plan.upstream, server, &terms).await;
    let timings = &plan.exchange.timings;
    timings
        .connect_us
        .set(timings.connect_us.get() + shared.clock.tick() - began);
    match dialed {
        Ok(peer) => Ok(Pooled::new(peer, 0)),
        Err(failed) => Err(not_connected(plan, &failed)),
    }
}

fn not_connected(plan: &Plan<'_>, failed: &DialFailed) -> AttemptFailed {
    if let Reason::Late(limit) = failed.reason {
        plan.exchange.limit.set(limit.name());
    }
    let kind = match (failed.step, &failed.reason) {
        (Step::Connect, Reason::Late(_)) => FailureKind::ConnectTimeout,
        (Step::Connect, _) => FailureKind::Connect,
        (Step::Tls, Reason::Late(_)) => FailureKind::UpstreamTlsTimeout,
        (Step::Tls, _) => FailureKind::UpstreamTls,
    };
    AttemptFailed::Server(Failure::new(kind, failed.message()))
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
    let is_reused = server.served > 0;
    server.served += 1;
    let sent = send(plan, connection, &mut server.peer, head_bytes, body).await;
    if let Err(Broken::Limit(limit)) = sent {
        shared.metrics.count(limit.counter());
        plan.exchange.limit.set(limit.name());
        return Err(AttemptFailed::Server(Failure::from(
            FailureKind::UpstreamSendTimeout,
        )));
    }
    // a write that failed may still be followed by a response that explains it: read on
    let is_head = plan.exchange.request.borrow().is_head();
    let mut interim = 0;
    let mut is_sound = true;
    let mut in_flight = RequestInFlight {
        plan,
        is_head,
        disconnect: DisconnectWatcher::new(plan.tables.limits.allow_half_close),
        upload_closed: sent.is_err(),
        is_first: true,
    };
    loop {
        let status =
            in_flight
                .head(connection, &mut server.peer, body)
                .await
                .map_err(|failure| match failure {
                    AttemptFailed::Server(mut failure)
                        if failure.kind == FailureKind::UpstreamClosed && !is_reused =>
                    {
                        failure.message = "the server closed the connection before it responded".into();
                        // not the kind that means a stale connection
                        failure.kind = FailureKind::UpstreamReset;
                        AttemptFailed::Server(failure)
                    }
                    other => other,
                })?;
        if !(100..200).contains(&status) || status == 101 {
            plan.exchange.timings.head_us.set(shared.clock.tick() - began);
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
            let failure = Failure::from(FailureKind::EndlessInterim);
            return Err(AttemptFailed::Server(failure));
        }
        if plan.exchange.request.borrow().version == Version::Http11 {
            let mut out = Vec::new();
            if let Some(response) = &response {
                write_interim(response, &mut out);
            }
            connection
                .peer
                .write_all(&connection.watch, &out, plan.send_ms)
                .await
                .map_err(|_| AttemptFailed::Request(Failure::client_left()))?;
        }
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

/// The wait for a response head, while the request's body may still be on its way.
struct RequestInFlight<'a> {
    plan: &'a Plan<'a>,
    is_head: bool,
    disconnect: DisconnectWatcher,
    upload_closed: bool,
    /// It was not polled yet.
    is_first: bool,
}

impl RequestInFlight<'_> {
    /// The status of the head, which is put into the exchange.
    async fn head(
        &mut self,
        connection: &mut Connection,
        server: &mut Peer,
        body: &mut RequestBody,
    ) -> Result<u16, AttemptFailed> {
        self.arm(connection, body, Waits::Client);
        poll_fn(|context| self.poll(context, connection, server, body)).await
    }

    fn arm(&self, connection: &Connection, body: &RequestBody, waits: Waits) {
        match self.limit(body, waits) {
            Some((limit, ms)) => connection.watch.arm(limit, ms),
            None => connection.watch.disarm(),
        }
    }

    /// What bounds the wait; a hook has its own deadline.
    fn limit(&self, body: &RequestBody, waits: Waits) -> Option<(Limit, u64)> {
        match waits {
            _ if body.is_done() || self.upload_closed => {
                Some((Limit::UpstreamHead, self.plan.upstream_head_ms))
            }
            Waits::Client => Some((Limit::ClientBody, self.plan.client_body_ms)),
            Waits::Server => Some((Limit::Send, self.plan.send_ms)),
            Waits::Hook => None,
        }
    }

    /// The head, if it is all there.
    fn parse(&self, connection: &Connection, server: &mut Peer) -> Option<Result<u16, AttemptFailed>> {
        if server.unread().is_empty() {
            return None;
        }
        let limits = self.plan.tables.response_head_limits(self.plan.upstream);
        match parse_response(server.unread(), limits, self.is_head) {
            Ok(Parsed::Complete { head, len }) => {
                server.consume(len);
                let status = head.status;
                self.plan.exchange.response.replace(Some(head));
                Some(Ok(status))
            }
            Ok(Parsed::Partial) => None,
            Err(error) => {
                connection.shared.metrics.count(Counter::BadResponses);
                let failure = Failure::new(
                    FailureKind::MalformedResponse(error),
                    format!("the server's response is refused: {error}"),
                );
                Some(Err(AttemptFailed::Server(failure)))
            }
        }
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
        connection: &mut Connection,
        server: &mut Peer,
        body: &mut RequestBody,
    ) -> Poll<Result<u16, AttemptFailed>> {
        loop {
            if let Some(parsed) = self.parse(connection, server) {
                return Poll::Ready(parsed);
            }
            // a server has seldom responded already: check before a buffer is taken to read into
            if std::mem::take(&mut self.is_first) && server.waits(context) {
                break;
            }
            match server.poll_fill_head(context, FIRST_READ_BYTES) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(ended(server, None))),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(ended(server, Some(&error)))),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        if !body.is_done() && !self.upload_closed {
            let (mut moved, mut waits) = (false, Waits::Client);
            let before = body.received;
            let pumped = body.poll_pump(context, &mut connection.peer, server, &mut moved, &mut waits);
            let exchange = self.plan.exchange;
            exchange
                .request_bytes
                .set(exchange.request_bytes.get() + body.received - before);
            match pumped {
                Poll::Ready(Err(BodyBroken::Server)) => {
                    // perhaps it has responded and closed: its response is read in the next round
                    self.upload_closed = true;
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(Err(broken)) => {
                    return Poll::Ready(Err(AttemptFailed::Request(body_failure(&broken, exchange))))
                }
                Poll::Ready(Ok(())) => self.arm(connection, body, waits),
                Poll::Pending if moved => self.arm(connection, body, waits),
                // a hook that waited was not bounded by the watch
                Poll::Pending if body.made.is_some() => {
                    let limit = self.limit(body, waits);
                    if limit.is_none_or(|(limit, _)| !connection.watch.is_armed_for(limit)) {
                        self.arm(connection, body, waits);
                    }
                }
                Poll::Pending => {}
            }
        }
        if body.is_done() && self.disconnect.poll(context, &mut connection.peer) {
            return Poll::Ready(Err(AttemptFailed::Request(Failure::client_left())));
        }
        if let Some(limit) = connection.watch.expired() {
            return Poll::Ready(Err(self.late(connection, body, limit)));
        }
        connection.watch.register(context);
        Poll::Pending
    }

    fn late(&self, connection: &Connection, body: &RequestBody, limit: Limit) -> AttemptFailed {
        connection.shared.metrics.count(limit.counter());
        self.plan.exchange.limit.set(limit.name());
        match limit {
            Limit::ClientBody => AttemptFailed::Request(
                body.made
                    .as_ref()
                    .map_or_else(client_body_timeout, |made| made.late()),
            ),
            Limit::Send => AttemptFailed::Server(Failure::from(FailureKind::UpstreamSendTimeout)),
            _ => AttemptFailed::Server(Failure::from(FailureKind::UpstreamHeadTimeout)),
        }
    }
}

/// Why a server's bytes end before its response's head does.
fn ended(server: &Peer, error: Option<&io::Error>) -> AttemptFailed {
    AttemptFailed::Server(match error.map(|error| (error.kind(), error)) {
        // only a stream of HTTP/2 knows that its server has not begun with it
        Some((ErrorKind::ConnectionRefused, _)) => Failure::from(FailureKind::UpstreamRefused),
        // nor that it takes no WebSockets, which is not a failure of it
        Some((ErrorKind::Unsupported, _)) => {
            return AttemptFailed::Request(Failure::from(FailureKind::WebSocketUnsupported))
        }
        // TLS 1.3 lets a server refuse the gateway's certificate after the handshake
        Some((ErrorKind::InvalidData, error)) => Failure::new(
            FailureKind::UpstreamTlsBroken,
            format!(
                "the TLS session with the server broke: {}",
                headgate_net::tls::reason(error)
            ),
        ),
        _ => Failure::new(
            if server.unread().is_empty() {
                FailureKind::UpstreamClosed
            } else {
                FailureKind::UpstreamReset
            },
            "the server closed the connection before it responded",
        ),
    })
}
