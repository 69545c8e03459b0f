//! The wait for the head of a response, while the request's body may still be on its way.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::task::{Context, Poll};

use headgate_wire::{parse_response, Parsed, ResponseHead};

use super::attempt::AttemptFailed;
use super::plan::Plan;
use super::reversed;
use crate::failure::{Failure, FailureKind};
use crate::http::bodies::failures::{body_failure, client_body_timeout};
use crate::http::bodies::request_body::{BodyBroken, RequestBody, Waits};
use crate::http::h1::disconnect::DisconnectWatcher;
use crate::state::connection::Connection;
use headgate_net::limits::Limit;
use headgate_net::peer::Peer;
use headgate_net::reason::in_words;
use headgate_shared::metrics::{Counter, Metrics};
use headgate_upstream::{LimitCounter, Pooled};

/// The first read of a response: a head and a small body, yet little to keep for a client that reads slowly.
pub(super) const FIRST_READ_BYTES: usize = 32 * 1024;

/// The wait for a response head, while the request's body may still be on its way.
pub(super) struct RequestInFlight<'a> {
    plan: &'a Plan<'a>,
    is_head: bool,
    disconnect: DisconnectWatcher,
    /// The server takes no more of the request's body.
    pub(super) upload_closed: bool,
    /// It was not polled yet.
    is_first: bool,
}

impl<'a> RequestInFlight<'a> {
    /// `upload_closed`: the server did not even take the head.
    pub(super) fn new(plan: &'a Plan<'a>, upload_closed: bool) -> Self {
        Self {
            plan,
            is_head: plan.exchange.request.borrow().is_head(),
            disconnect: DisconnectWatcher::new(plan.tables.limits.allow_half_close),
            upload_closed,
            is_first: true,
        }
    }

    /// The status of the head, which is put into the exchange.
    pub(super) async fn head(
        &mut self,
        connection: &mut Connection,
        server: &mut Pooled,
        body: &mut RequestBody,
    ) -> Result<u16, AttemptFailed> {
        self.arm(connection, body, Waits::Client);
        let Pooled { peer, leash, .. } = server;
        let head = poll_fn(|context| self.poll(context, connection, peer, body));
        match leash {
            None => head.await,
            Some(leash) => Box::pin(reversed::leashed_head(head, leash)).await,
        }
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

    /// The head's status, if it is all there.
    fn parse(&self, connection: &Connection, server: &mut Peer) -> Option<Result<u16, AttemptFailed>> {
        let parsed = parse_head(self.plan, &connection.shared.metrics, server, self.is_head)?;
        Some(parsed.map(|head| {
            let status = head.status;
            self.plan.exchange.response.replace(Some(head));
            status
        }))
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
        if !body.is_done() && !self.upload_closed && !self.pump(context, connection, server, body)? {
            // perhaps it has responded and closed: its response is read in the next round
            self.upload_closed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if body.is_done() && self.disconnect.poll(context, &mut connection.peer) {
            return Poll::Ready(Err(AttemptFailed::Request(Failure::client_disconnected())));
        }
        if let Some(limit) = connection.watch.expired() {
            return Poll::Ready(Err(self.late(connection, body, limit)));
        }
        connection.watch.register(context);
        Poll::Pending
    }

    /// Moves on what is here of the request's body; false if the server takes no more of it.
    fn pump(
        &self,
        context: &mut Context<'_>,
        connection: &mut Connection,
        server: &mut Peer,
        body: &mut RequestBody,
    ) -> Result<bool, AttemptFailed> {
        let (mut moved, mut waits) = (false, Waits::Client);
        let before = body.received;
        let pumped = body.poll_pump(context, &mut connection.peer, server, &mut moved, &mut waits);
        let exchange = self.plan.exchange;
        exchange
            .request_bytes
            .set(exchange.request_bytes.get() + body.received - before);
        match pumped {
            Poll::Ready(Err(BodyBroken::Server)) => return Ok(false),
            Poll::Ready(Err(broken)) => return Err(AttemptFailed::Request(body_failure(&broken, exchange))),
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
        Ok(true)
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
            Limit::ServerDrain => AttemptFailed::Server(Failure::from(FailureKind::ServerRemoved)),
            _ => AttemptFailed::Server(Failure::from(FailureKind::UpstreamHeadTimeout)),
        }
    }
}

/// The head of a response, if it is all there.
pub(super) fn parse_head(
    plan: &Plan<'_>,
    metrics: &Metrics,
    server: &mut Peer,
    is_head: bool,
) -> Option<Result<ResponseHead, AttemptFailed>> {
    if server.unread().is_empty() {
        return None;
    }
    let limits = plan.tables.response_head_limits(plan.upstream);
    match parse_response(server.unread(), limits, is_head) {
        Ok(Parsed::Complete { head, len }) => {
            server.consume(len);
            Some(Ok(head))
        }
        Ok(Parsed::Partial) => None,
        Err(error) => {
            metrics.count(Counter::BadResponses);
            let failure = Failure::new(
                FailureKind::MalformedResponse(error),
                format!("the server's response is refused: {error}"),
            );
            Some(Err(AttemptFailed::Server(failure)))
        }
    }
}

/// Why a server's bytes end before its response's head does.
pub(super) fn ended(server: &Peer, error: Option<&io::Error>) -> AttemptFailed {
    let failure = match error.map(io::Error::kind) {
        // only a stream of HTTP/2 knows that its server has not begun with it
        Some(ErrorKind::ConnectionRefused) => Failure::from(FailureKind::UpstreamRefused),
        // nor that it takes no WebSockets, which is not a failure of it
        Some(ErrorKind::Unsupported) => {
            return AttemptFailed::Request(Failure::from(FailureKind::WebSocketUnsupported))
        }
        // TLS 1.3 lets a server refuse the gateway's certificate after the handshake
        Some(ErrorKind::InvalidData) => {
            let why = error.map(in_words).unwrap_or_default();
            let message = format!("the TLS connection to the server failed: {why}");
            return AttemptFailed::Server(Failure::new(FailureKind::UpstreamTlsBroken, message));
        }
        _ => Failure::new(
            if server.unread().is_empty() {
                FailureKind::UpstreamClosed
            } else {
                FailureKind::UpstreamReset
            },
            "the server closed the connection before it responded",
        ),
    };
    AttemptFailed::Server(failure.with_detail(error.map(in_words)))
}
