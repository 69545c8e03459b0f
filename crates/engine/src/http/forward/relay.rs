//! The response's way to the client: hooks, head, body, and what becomes of both connections.

use std::future::poll_fn;
use std::task::{Context, Poll};

use headgate_coding::Coding;
use headgate_wire::{frame_response, Content, Framing, ResponseFraming, Version, CRLF};

use super::attempt::Ready;
use super::filtered::{self, Filtering};
use super::Plan;
use crate::failure::{Failure, FailureKind};
use crate::http::bodies::failures::body_failure;
use crate::http::bodies::piece::On;
use crate::http::bodies::request_body::{BodyBroken, RequestBody, Waits};
use crate::http::h1::disconnect::DisconnectWatcher;
use crate::http::h1::relay::{Relay, RelayBroken};
use crate::http::h1::request_head::{field, upgrade_to};
use crate::http::h1::response_head::{write_end, write_status, write_switch};
use crate::http::h1::server_timing;
use crate::http::phases::run_hooks_now;
use crate::http::reply::page::reason_phrase;
use crate::http::reply::{LocalReply, Outcome};
use crate::http::upgraded::Switched;
use crate::limits::{Limit, LimitCounter};
use crate::messages::websocket;
use crate::metrics::Counter;
use crate::peer::{Broken, Peer};
use crate::state::connection::{Connection, Next, OwnServer};
use crate::upstream::{binds_connection, Lease, Pooled};

/// Brings a response to the client.
pub(super) async fn respond(
    connection: &mut Connection,
    plan: &Plan<'_>,
    ready: Ready,
    body: &mut RequestBody,
    lease: Lease,
) -> Result<Outcome, Failure> {
    let Ready {
        mut server,
        mut is_deaf,
    } = ready;
    let exchange = plan.exchange;
    let mut came = Came::of(plan);
    let hooks = exchange
        .route
        .get()
        .map_or(&[][..], |route| &plan.tables.routes[route].hooks.response);
    if !hooks.is_empty() {
        if let Some(answer) = run_hooks_now(connection, exchange, hooks).await? {
            exchange.response.replace(None);
            return Ok(Outcome::reply(LocalReply::of_response_hook(answer)));
        }
    }
    if came.has_unasked_coding {
        return Err(Failure::from(FailureKind::UnaskedTransferCoding));
    }
    let status = settle_status(plan, came.status);
    if status == 101 {
        return Box::pin(switch(connection, plan, server))
            .await
            .map(Outcome::Relayed);
    }
    let (client_version, persistent) = {
        let request = exchange.request.borrow();
        (request.version, request.persistent)
    };
    // an answer that came before the request's end: the client may never finish sending
    let closes = !persistent || !body.is_finished() || connection.shared.is_draining.get();
    let content = Content::of(came.framing, came.declared_length);
    let client_framing = frame_response(exchange.asked, status, content, client_version, closes);
    if !client_framing.has_content {
        came.leave_content(&mut server);
    }
    let (framing, keeps_server) = (came.framing, came.keeps_server);
    let body_hooks = exchange
        .route
        .get()
        .map_or(&[][..], |route| &plan.tables.routes[route].hooks.response_body);
    if !body_hooks.is_empty() || exchange.has_response_trailers() {
        let response = Filtering {
            framing,
            keeps_server,
            hooks: body_hooks,
            coding: came.coding,
            status,
            client_version,
            closes,
        };
        return Box::pin(filtered::respond(
            connection, plan, server, response, body, is_deaf, lease,
        ))
        .await
        .map(Outcome::Relayed);
    }
    let now_us = connection.shared.clock.now_us();
    let out = connection.shared.buffers.scrap();
    let head = head(connection, plan, client_framing, client_version, now_us, out);
    let may_splice = server.peer.stream.socket().is_some() && connection.peer.stream.socket().is_some();
    let mut relay = Relay::new(
        head,
        framing,
        client_framing.is_chunked,
        plan.tables.response_chunk_limits(plan.upstream),
        may_splice,
    );
    let relayed = carry(connection, plan, &mut server, &mut relay, body, &mut is_deaf).await;
    exchange.response_bytes.set(relay.written);
    if relay.written == 0 {
        // composed, not sent: the client can still be told what went wrong
        exchange.status.set(0);
    }
    if let Some(trailers) = relay.trailers.take() {
        exchange.rare().response_trailers.replace(Some(trailers));
    }
    connection.shared.buffers.keep_scrap(relay.framing);
    drop(lease);
    relayed?;
    if body.is_done() && keeps_server && framing != Framing::UntilClose {
        keep(connection, plan, server);
    }
    Ok(Outcome::Relayed(
        match (client_framing.closes, body.is_finished()) {
            (_, false) => Next::Linger,
            (true, true) => Next::Close,
            (false, true) => Next::KeepAlive,
        },
    ))
}

/// What is to be known of a response as it came, before hooks change it.
struct Came {
    framing: Framing,
    declared_length: Option<u64>,
    keeps_server: bool,
    status: u16,
    /// Nobody can undo it: HTTP/2 and HTTP/1.0 have no place for it, and this gateway asks no server for one.
    has_unasked_coding: bool,
    /// A hook that sets another one does that coding itself.
    coding: Result<Option<Coding>, ()>,
}

impl Came {
    fn of(plan: &Plan<'_>) -> Self {
        let response = plan.exchange.response.borrow();
        let response = response.as_ref().expect("set when the head came");
        Self {
            framing: response.framing,
            declared_length: response.declared_length,
            keeps_server: response.persistent,
            status: response.status,
            has_unasked_coding: response.framing == Framing::Chunked && response.head.has_inner_codings(),
            coding: filtered::coding(response, plan.exchange, plan.tables),
        }
    }

    /// The client gets no content: what the server sends of it is not read, and so its connection is of no more use, unless
    /// all of it is here.
    fn leave_content(&mut self, server: &mut Pooled) {
        let left = match std::mem::replace(&mut self.framing, Framing::None) {
            Framing::None => Some(0),
            Framing::Length(length) => usize::try_from(length)
                .ok()
                .filter(|length| server.peer.unread().len() >= *length),
            Framing::Chunked | Framing::UntilClose => None,
        };
        match left {
            Some(length) => server.peer.consume(length),
            None => self.keeps_server = false,
        }
        // a server that has changed protocols speaks HTTP no more
        self.keeps_server &= self.status != 101;
    }
}

/// The status that hooks have left; one that they have set has its own reason phrase.
fn settle_status(plan: &Plan<'_>, came: u16) -> u16 {
    let mut response = plan.exchange.response.borrow_mut();
    let response = response.as_mut().expect("set when the head came");
    if response.status != came {
        response.set_reason(reason_phrase(response.status));
    }
    response.status
}

/// The head for the client.
pub(super) fn head(
    connection: &Connection,
    plan: &Plan<'_>,
    framing: ResponseFraming,
    client: Version,
    now_us: u64,
    mut out: Vec<u8>,
) -> Vec<u8> {
    let response = plan.exchange.response.borrow();
    let response = response.as_ref().expect("set when the head came");
    plan.exchange.status.set(response.status);
    out.reserve(response.head.len_hint() + 192);
    write_status(response.status, response.reason(), &mut out);
    if response.head.get(b"date").is_none() {
        // RFC 9110 section 6.6.1: whoever passes on a response without one adds it
        out.extend_from_slice(b"Date: ");
        connection.shared.write_date(&mut out);
        out.extend_from_slice(CRLF);
    }
    response.head.write_fields(&mut out);
    if plan.tables.forwarding.via {
        let version: &[u8] = if response.version == Version::Http10 {
            b"1.0 "
        } else {
            b"1.1 "
        };
        field(
            &mut out,
            b"Via",
            &[version, plan.tables.forwarding.name.as_bytes()],
        );
    }
    if let Some(name) = &plan.tables.request_id_header {
        if response.head.get(name.as_bytes()).is_none() {
            field(&mut out, name.as_bytes(), &[plan.exchange.id.borrow().as_bytes()]);
        }
    }
    if plan.tables.server_timing {
        server_timing::write(plan.exchange, now_us, &mut out);
    }
    write_end(framing, client, &mut out);
    plan.exchange.head_bytes.set(out.len() as u64);
    out
}

/// Whatever moves a response from a server to the client.
pub(super) trait Carrier {
    /// Goes on; tells whom a pending poll waits for.
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
    is_deaf: &mut bool,
) -> Result<(), Failure> {
    let exchange = plan.exchange;
    let route = exchange.route.get();
    let idle_ms = plan.tables.timeout(
        route,
        Some(plan.upstream),
        |t| t.upstream_idle,
        |t| t.upstream_idle,
    );
    let send_ms = plan.send_ms;
    connection.watch.arm(Limit::UpstreamIdle, idle_ms);
    let mut disconnect = DisconnectWatcher::new(plan.tables.limits.allow_half_close);
    let mut carried = connection.peer.stream.carried();
    poll_fn(|context| {
        let (before, mut moved) = (relay.progress(), false);
        if !body.is_done() && !*is_deaf {
            let mut waits = Waits::Client;
            let received = body.received;
            let pumped = body.poll_pump(
                context,
                &mut connection.peer,
                &mut server.peer,
                &mut moved,
                &mut waits,
            );
            exchange
                .request_bytes
                .set(exchange.request_bytes.get() + body.received - received);
            match pumped {
                Poll::Ready(Err(BodyBroken::Server)) => *is_deaf = true,
                Poll::Ready(Err(broken)) => return Poll::Ready(Err(body_failure(&broken, exchange))),
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        let unread = server.peer.unread().len();
        let mut on = On::Source;
        match relay.poll(context, &mut server.peer, &mut connection.peer, &mut on) {
            Poll::Ready(result) => {
                return Poll::Ready(result.map_err(|broken| cut(connection, plan, &broken)))
            }
            Poll::Pending => {}
        }
        if moved || relay.progress() != before || server.peer.unread().len() != unread {
            connection.watch.disarm();
        }
        let (limit, ms) = match on {
            On::Sink => (Limit::Send, send_ms),
            On::Source => (Limit::UpstreamIdle, idle_ms),
            On::Hook => {
                // its own deadline bounds it, and the client's patience
                connection.watch.disarm();
                if body.is_finished() && disconnect.poll(context, &mut connection.peer) {
                    return Poll::Ready(Err(Failure::client_left()));
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
            if std::mem::replace(&mut carried, taken) != taken {
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
            return Poll::Ready(Err(cut(connection, plan, &side)));
        }
        connection.watch.register(context);
        Poll::Pending
    })
    .await
}

/// What a relay that broke means.
pub(super) fn cut(connection: &Connection, plan: &Plan<'_>, broken: &RelayBroken) -> Failure {
    let metrics = &connection.shared.metrics;
    let limited = |limit: Limit| {
        metrics.count(limit.counter());
        plan.exchange.limit.set(limit.name());
    };
    match broken {
        RelayBroken::Client(Broken::Limit(limit)) => {
            limited(*limit);
            Failure::new(
                FailureKind::ClientSendTimeout,
                "the client took too long to read the answer",
            )
        }
        RelayBroken::Client(_) => Failure::client_left(),
        RelayBroken::Server(Broken::Limit(limit)) => {
            limited(*limit);
            Failure::from(FailureKind::UpstreamIdleTimeout)
        }
        RelayBroken::Server(_) => {
            metrics.count(Counter::UpstreamFailures);
            Failure::new(
                FailureKind::UpstreamCut,
                "the server closed the connection within its answer",
            )
        }
        RelayBroken::Failed(failure) => (**failure).clone(),
        RelayBroken::Framing => {
            metrics.count(Counter::BadResponses);
            Failure::from(FailureKind::BadChunk)
        }
    }
}

/// Puts a connection back into its server's pool, if it is fit for another request.
pub(super) fn keep(connection: &mut Connection, plan: &Plan<'_>, mut server: Box<Pooled>) {
    let keepalive = &plan.upstream.keepalive;
    let is_worn = keepalive.max_requests > 0 && server.served >= keepalive.max_requests;
    if is_worn || !server.peer.unread().is_empty() {
        return;
    }
    if let Some(index) = plan.exchange.server.get() {
        if server.is_bound || binds(plan.exchange) {
            server.is_bound = true;
            connection.own_server = Some(Box::new(OwnServer {
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

/// A 101: from here on both sides speak another protocol.
async fn switch(
    connection: &mut Connection,
    plan: &Plan<'_>,
    mut server: Box<Pooled>,
) -> Result<Next, Failure> {
    let exchange = plan.exchange;
    let head = {
        let request = exchange.request.borrow();
        let Some(asked) = upgrade_to(&request) else {
            return Err(Failure::from(FailureKind::UnaskedUpgrade));
        };
        let response = exchange.response.borrow();
        let response = response.as_ref().expect("set when the head came");
        if !response.upgrade {
            return Err(Failure::new(
                FailureKind::BadUpgrade,
                "the server's 101 names no protocol",
            ));
        }
        if !is_asked(asked, response.upgrade_protocols()) {
            return Err(Failure::new(
                FailureKind::BadUpgrade,
                "the server switched to another protocol than was asked for",
            ));
        }
        if exchange.channel().is_some() {
            websocket::check_answer(&request, |name| response.head.get_all(name))
                .map_err(|broken| Failure::new(FailureKind::BadWebSocketAnswer, broken))?;
        }
        let mut out = Vec::new();
        write_switch(response, asked, &mut out);
        out
    };
    let switched = Switched {
        exchange,
        tables: plan.tables,
        upstream: Some(plan.upstream),
    };
    switched.carry(connection, &head, &mut server.peer).await
}

/// Whether a server's 101 names nothing that was not asked for (RFC 9110 section 7.8): what the two then speak must be
/// what this gateway has let through.
fn is_asked<'a>(asked: &[u8], mut answered: impl Iterator<Item = &'a [u8]>) -> bool {
    let names = |value: &'a [u8]| value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    answered.all(|value| {
        names(value).all(|name| {
            let mut known = asked.split(|byte| *byte == b',');
            known.any(|known| known.trim_ascii().eq_ignore_ascii_case(name))
        })
    })
}
