//! The response's way to the client: hooks, head, body, and what becomes of both connections.

use headgate_coding::Coding;
use headgate_wire::{frame_response, Content, Framing, ResponseFraming, Version, CRLF};

use super::attempt::Ready;
use super::carry::{carry, keep};
use super::filtered::{self, Filtering};
use super::plan::Plan;
use super::stale::Keeping;
use super::upgrade::upgrade;
use crate::failure::{Failure, FailureKind};
use crate::http::bodies::request_body::RequestBody;
use crate::http::bodies::wanting::wanting;
use crate::http::h1::relay::Relay;
use crate::http::h1::request_head::field;
use crate::http::h1::response_head::{write_end, write_required_upgrades, write_status};
use crate::http::h1::{alt_svc, server_timing};
use crate::http::phases::run_hooks_now;
use crate::http::reply::page::reason_phrase;
use crate::http::reply::{LocalReply, Outcome};
use crate::snapshot::{BodyHook, Phase};
use crate::state::connection::{Connection, Next};
use headgate_upstream::{Lease, Pooled};

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
        upload_closed: mut stopped,
    } = ready;
    let exchange = plan.exchange;
    let mut received = ReceivedHead::of(plan);
    let keeping = Keeping::begin(&connection.shared, plan);
    alt_svc::forget(exchange);
    plan.add_session_cookie(&connection.shared);
    let route_hooks = exchange.route.get().map(|route| &plan.tables.route(route).hooks);
    let hooks = route_hooks.map_or(&[][..], |hooks| &hooks[Phase::Response]);
    if !hooks.is_empty() {
        if let Some(reply) = run_hooks_now(connection, exchange, hooks).await? {
            exchange.response.replace(None);
            return Ok(Outcome::reply(LocalReply::of_response_hook(reply)));
        }
    }
    if received.has_unrequested_coding {
        return Err(Failure::from(FailureKind::UnexpectedTransferCoding));
    }
    let status = settle_status(plan, received.status);
    if status == 101 {
        return Box::pin(upgrade(connection, plan, server))
            .await
            .map(Outcome::Relayed);
    }
    let client = ClientSide::of(connection, plan, &received, status, body);
    if !client.framing.has_content {
        received.leave_content(&mut server);
    }
    let (framing, keeps_server) = (received.framing, received.keeps_server);
    let body_hooks = route_hooks.map_or(&[][..], |hooks| hooks.body(Phase::ResponseBody));
    let is_wanted = |one: &BodyHook| plan.tables.hooks.wants_body(one.hook, exchange);
    if keeping.is_some() || body_hooks.iter().any(is_wanted) || exchange.has_response_trailers() {
        let body_hooks = wanting(body_hooks, &*plan.tables.hooks, exchange);
        let mut response = received.filtering(&body_hooks, client);
        response.keeping = keeping;
        return Box::pin(filtered::respond(
            connection, plan, server, response, body, stopped, lease,
        ))
        .await
        .map(Outcome::Relayed);
    }
    let mut relay = start_relay(connection, plan, &server, framing, client);
    let relayed = carry(connection, plan, &mut server, &mut relay, body, &mut stopped).await;
    note_relayed(connection, plan, relay);
    drop(lease);
    relayed?;
    if body.is_done() && keeps_server && framing != Framing::UntilClose {
        keep(connection, plan, server);
    }
    Ok(Outcome::Relayed(next(client.framing, body)))
}

/// What becomes of the client's connection after a response.
pub(super) fn next(framing: ResponseFraming, body: &RequestBody) -> Next {
    match (framing.closes, body.is_finished()) {
        (_, false) => Next::Linger,
        (true, true) => Next::Close,
        (false, true) => Next::KeepAlive,
    }
}

/// How the client gets a response.
#[derive(Clone, Copy)]
struct ClientSide {
    status: u16,
    version: Version,
    closes: bool,
    framing: ResponseFraming,
}

impl ClientSide {
    #[inline]
    fn of(
        connection: &Connection,
        plan: &Plan<'_>,
        received: &ReceivedHead,
        status: u16,
        body: &RequestBody,
    ) -> Self {
        let (version, persistent) = {
            let request = plan.exchange.request.borrow();
            (request.version, request.persistent)
        };
        // a response that came before the request's end: the client may never finish sending
        let closes = !persistent || !body.is_finished() || connection.shared.is_draining.get();
        let content = Content::of(received.framing, received.declared_length);
        Self {
            status,
            version,
            closes,
            framing: frame_response(plan.exchange.request_kind, status, content, version, closes),
        }
    }
}

/// The relay of a body that no hook sees, behind its head.
#[inline]
fn start_relay(
    connection: &Connection,
    plan: &Plan<'_>,
    server: &Pooled,
    framing: Framing,
    client: ClientSide,
) -> Relay {
    let now_us = connection.shared.clock.now_us();
    let out = connection.shared.buffers.scrap();
    let head = head(connection, plan, client.framing, client.version, now_us, out);
    let may_splice = server.peer.stream.socket().is_some() && connection.peer.stream.socket().is_some();
    Relay::new(
        head,
        framing,
        client.framing.is_chunked,
        plan.tables.response_chunk_limits(plan.upstream),
        may_splice,
    )
}

/// Notes in the exchange what the client got.
#[inline]
fn note_relayed(connection: &Connection, plan: &Plan<'_>, mut relay: Relay) {
    let exchange = plan.exchange;
    exchange.response_bytes.set(relay.written);
    if relay.written == 0 {
        // composed, not sent: the client can still get an error response
        exchange.status.set(0);
    }
    if let Some(trailers) = relay.trailers.take() {
        exchange.rare().response_trailers.replace(Some(trailers));
    }
    connection.shared.buffers.keep_scrap(relay.framing);
}

/// What is to be known of a response as it came, before hooks change it.
struct ReceivedHead {
    framing: Framing,
    declared_length: Option<u64>,
    keeps_server: bool,
    status: u16,
    /// It cannot be undone: HTTP/2 and HTTP/1.0 have no place for it, and this gateway requests it from no server.
    has_unrequested_coding: bool,
    /// A hook that sets another one does that coding itself.
    coding: Result<Option<Coding>, ()>,
}

impl ReceivedHead {
    fn of(plan: &Plan<'_>) -> Self {
        let response = plan.exchange.response.borrow();
        let response = response.as_ref().expect("set when the head came");
        Self {
            framing: response.framing,
            declared_length: response.declared_length,
            keeps_server: response.persistent,
            status: response.status,
            has_unrequested_coding: response.framing == Framing::Chunked && response.head.has_inner_codings(),
            coding: filtered::coding(response, plan.exchange, plan.tables),
        }
    }

    fn filtering<'a>(&self, hooks: &'a [BodyHook], client: ClientSide) -> Filtering<'a> {
        Filtering {
            framing: self.framing,
            keeps_server: self.keeps_server,
            hooks,
            coding: self.coding,
            status: client.status,
            client_version: client.version,
            closes: client.closes,
            keeping: None,
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
fn settle_status(plan: &Plan<'_>, received: u16) -> u16 {
    let mut response = plan.exchange.response.borrow_mut();
    let response = response.as_mut().expect("set when the head came");
    if response.status != received {
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
    plan.exchange.timings.responded_us.set(now_us);
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
    if response.status == 426 {
        write_required_upgrades(response, client, &mut out);
    }
    if let Some(name) = &plan.tables.request_id_header {
        if response.head.get(name.as_bytes()).is_none() {
            field(&mut out, name.as_bytes(), &[plan.exchange.id.borrow().as_bytes()]);
        }
    }
    alt_svc::write(&response.head, &plan.exchange.client, &mut out);
    if plan.tables.server_timing {
        server_timing::write(plan.exchange, now_us, &mut out);
    }
    write_end(framing, client, &mut out);
    plan.exchange.head_bytes.set(out.len() as u64);
    out
}
