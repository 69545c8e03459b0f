//! One request's life: read, rewrite, route, admit, act, respond, log.
//!
//! # How it works
//! [`serve`] is the page to read. Whatever fails on the way becomes a [`Failure`]; if the client has seen nothing yet, the
//! `error` hooks or the gateway's own page respond to it, else the connection is cut, because a response that ends early must
//! not look complete.

mod acme;
mod bandwidth;
mod completion;
mod paths;
mod routing;
mod tls_rules;
mod tracing;

use std::rc::Rc;

use crate::access_log::StepKind;
use crate::failure::{Failure, FailureKind};
use crate::hooks::configuration::Configuration;
use crate::hooks::exchange::Exchange;
use crate::hooks::HookResponse;
use crate::http::bodies::failures::too_large;
use crate::http::bodies::made::keep_trailers;
use crate::http::bodies::request_body::RequestBody;
use crate::http::exchange::completion::finish;
use crate::http::exchange::routing::choose_route;
use crate::http::forward;
use crate::http::h1::forwarded::client_of;
use crate::http::h1::read_head::read_head;
use crate::http::phases::{close_body, run_hooks, run_request_hooks};
use crate::http::reply::refuse;
use crate::http::reply::{self, LocalReply, Outcome};
use crate::messages::websocket;
use crate::snapshot::Phase;
use crate::state::connection::{Connection, Next};
use crate::state::request_id::is_acceptable;
use crate::tables::{Action, Tables};
use headgate_shared::metrics::Counter;
use headgate_upstream::Upstream;

/// Serves one request whose first bytes are there.
pub(crate) async fn serve(connection: &mut Connection) -> Next {
    let tables = connection.shared.tables();
    let (mut head, read_us) = match read_head(connection, &tables).await {
        Ok(read) => read,
        Err(none) => return Box::pin(refuse(connection, &tables, none)).await,
    };
    // from here on the worker's clock is right, and other threads have had their turn
    let now = connection.shared.begin_request(&*tables.hooks);
    if connection.depth == 0 {
        tables.client_fields.strip(&mut head.head);
    }
    let client = match &tables.trusted_proxies {
        Some(trusted) => client_of(&mut head.head, &connection.client, trusted),
        None => connection.client.clone(),
    };
    let clock = connection.shared.clock.clone();
    let exchange = Exchange::new(head, client, tables.clone(), clock);
    begin_timings(connection, &exchange, now, read_us);
    exchange.depth.set(connection.depth);
    if let Some(name) = &tables.request_id_header {
        let own = || connection.shared.next_id();
        let id = exchange
            .request
            .borrow()
            .head
            .get(name.as_bytes())
            .and_then(accepted_request_id)
            .unwrap_or_else(own);
        exchange.id.replace(id);
    }
    if let Some(tracer) = tables.tracer.as_ref().filter(|_| connection.depth == 0) {
        tracing::begin(tracer, &exchange, now / 1000);
    }
    let active = ActiveGuard::begin(connection);

    let mut body = None;
    let responded = match respond(connection, &exchange, &tables, &mut body).await {
        Ok(Outcome::Relayed(next)) => Ok(next),
        // boxed, as all that is rare: what a forwarded request holds stays small
        Ok(Outcome::Reply(reply)) => {
            Box::pin(send(connection, &exchange, &tables, *reply, body.as_mut())).await
        }
        Err(failure) => Err(failure),
    };
    if let Some(body) = body.as_mut().filter(|body| body.trailers.is_some()) {
        keep_trailers(body, &exchange);
    }
    let next = match responded {
        Ok(next) => next,
        Err(failure) => Box::pin(end(connection, &exchange, &tables, failure, body)).await,
    };

    // the buffers of this request are free again; the cost of the log delays no response
    connection.end_request();
    finish(connection, &exchange, &tables);
    drop(active);
    next
}

/// Keeps when the head was complete, and the steps until then, where there were any.
#[inline]
fn begin_timings(connection: &Connection, exchange: &Exchange, now_us: u64, read_us: u64) {
    let timings = &exchange.timings;
    timings.started_us.set(now_us);
    timings
        .is_followed
        .set(connection.shared.log_followers.is_followed());
    if let Some((accepted_us, ready_us)) = connection.client.accepted.take() {
        timings.note(StepKind::Accept, 0, accepted_us, ready_us);
    }
    if read_us > 0 {
        timings.note(StepKind::Read, 0, read_us, now_us);
    }
}

/// Sends a local reply: the one place that does.
async fn send(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    tables: &Rc<Configuration>,
    reply: LocalReply,
    body: Option<&mut RequestBody>,
) -> Result<Next, Failure> {
    let Some(body) = body else {
        return Ok(reply::send_last(connection, exchange, tables, reply).await);
    };
    let reads_on = reply.reads_on;
    let sent = reply::send(connection, exchange, tables, reply, body).await;
    if reads_on {
        close_body(exchange);
    }
    sent
}

/// Ends a request that failed: with a reply, if the client is still there and has seen nothing of another response.
async fn end(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    tables: &Rc<Configuration>,
    mut failure: Failure,
    mut body: Option<RequestBody>,
) -> Next {
    // the client has disconnected
    if failure.kind.is_disconnect() {
        return give_up(connection, exchange, failure);
    }
    let is_cut_short = connection.shared.is_closed.get();
    if is_cut_short {
        // whatever wait the end of the worker has cut short: no timeout was exceeded
        exchange.limit.set("");
    }
    // the client has seen a part of another response
    if exchange.status.get() != 0 {
        return give_up(connection, exchange, failure);
    }
    // what a body hook gave instead of what it was called for
    let given = exchange.known_rare().and_then(|rare| rare.hook_response.take());
    if is_cut_short {
        failure = Failure::shutting_down();
    } else if let (Some(reply), Some(body)) = (given, &mut body) {
        // one of a response's body is the last to see that response
        let reply = if exchange.response.take().is_some() {
            LocalReply::of_response_hook(reply)
        } else {
            LocalReply::from(reply)
        };
        return match send(connection, exchange, tables, reply, Some(body)).await {
            Ok(next) => next,
            Err(failure) => give_up(connection, exchange, failure),
        };
    }
    match reply_to(connection, exchange, tables, failure, &mut body).await {
        Ok(reply) => send(connection, exchange, tables, reply, body.as_mut())
            .await
            .unwrap_or(Next::Close),
        Err(left) => give_up(connection, exchange, left),
    }
}

/// Rewrites, routes, lets in and acts.
async fn respond(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    tables: &Rc<Configuration>,
    body: &mut Option<RequestBody>,
) -> Result<Outcome, Failure> {
    if is_last_request(connection, exchange, tables) {
        // the response says `Connection: close`, so that the client goes elsewhere
        exchange.request.borrow_mut().persistent = false;
    }
    refuse_head(exchange, tables)?;
    // the body's framing is the client's and stays; its limit is the route's, known below
    let framing = exchange.request.borrow().framing;
    let mut is_plain = paths::settle(&mut exchange.request.borrow_mut(), tables.path_rules)?;
    // before routing, so that what routing sees can be changed
    if tables.acme_challenges.is_some() || !tables.phase_hooks[Phase::Rewrite].is_empty() {
        if let Some(reply) = reply_before_routing(connection, exchange, tables, &mut is_plain).await? {
            *body = Some(new_body(framing, tables.limits.max_body_bytes, tables)?);
            return Ok(Outcome::reply(reply));
        }
    }
    let route = match choose_route(exchange, tables, is_plain) {
        Ok(route) => route,
        // does not reveal which routes exist to unauthorized clients
        Err(failure) => return Err(tls_rules::check_request(exchange, None).err().unwrap_or(failure)),
    };
    exchange.route.set(Some(route));
    let route = tables.route(route);
    if exchange.client.tls.is_some() || route.needs_client_certificate.is_some() {
        tls_rules::check_request(exchange, route.needs_client_certificate)?;
    }
    if !route.hooks[Phase::WebSocketMessage].is_empty() {
        websocket::claim_websocket(exchange, &tables.websocket)?;
    }
    bandwidth::limit(connection, exchange, route);
    // before anything is read or sent for this body
    let body = body.insert(new_body(framing, route.max_body_bytes, tables)?);
    if let Action::Proxy { upstream } = route.action {
        exchange.upstream.set(Some(upstream));
    }
    // admit, respond itself, or choose another upstream
    if !route.hooks[Phase::Request].is_empty() {
        if let Some(reply) =
            run_request_hooks(connection, exchange, &route.hooks[Phase::Request], body).await?
        {
            return Ok(Outcome::reply(LocalReply::of_request_hook(reply)));
        }
    }
    if !route.hooks.body(Phase::ResponseBody).is_empty() {
        ask_for_the_whole(exchange);
        exchange.tell_hooks_of_trace();
    }
    if let Some(upstream) = chosen_upstream(connection, exchange, tables)? {
        if let Some(reply) = forward::count_down(exchange) {
            return Ok(Outcome::reply(reply));
        }
        return forward::forward(connection, exchange, tables, upstream, body).await;
    }
    reply::make(exchange, route, &connection.shared).map(Outcome::reply)
}

/// The reply to an ACME authority, or of a `rewrite` hook; settles anew what such hooks may have changed.
async fn reply_before_routing(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    tables: &Rc<Configuration>,
    is_plain: &mut bool,
) -> Result<Option<LocalReply>, Failure> {
    let folder = tables.acme_challenges.as_deref();
    if let Some(reply) = folder.and_then(|folder| acme::challenge_response(exchange, folder)) {
        return Ok(Some(reply));
    }
    let rewrite = &tables.phase_hooks[Phase::Rewrite];
    if rewrite.is_empty() {
        return Ok(None);
    }
    let reply = run_hooks(connection, exchange, rewrite).await?;
    if reply.is_none() {
        *is_plain = paths::settle(&mut exchange.request.borrow_mut(), tables.path_rules)?;
    }
    Ok(reply.map(LocalReply::from))
}

/// Whether the connection ends with this request: its listener drains, or it has served as many as it may.
#[inline]
fn is_last_request(connection: &Connection, exchange: &Exchange, tables: &Tables) -> bool {
    let own = connection
        .client
        .preread
        .as_ref()
        .and_then(|preread| preread.max_requests.get());
    let max_requests = own.unwrap_or(tables.limits.max_requests_per_connection);
    connection.shared.drains(&exchange.client.listener)
        || (max_requests > 0 && connection.served + 1 >= max_requests)
}

/// Refuses what no route takes: CONNECT, and names of fields that servers could mistake for others.
#[inline]
fn refuse_head(exchange: &Exchange, tables: &Tables) -> Result<(), Failure> {
    let request = exchange.request.borrow();
    if request.form == headgate_wire::TargetForm::Authority {
        return Err(Failure::from(FailureKind::ConnectNotSupported));
    }
    if tables.client_fields.refuses(&request.head) {
        return Err(Failure::from(FailureKind::UnderscoreInFieldName));
    }
    Ok(())
}

/// What hooks make of a part does not apply to what they make of the whole.
fn ask_for_the_whole(exchange: &Exchange) {
    exchange
        .request
        .borrow_mut()
        .head
        .retain(|name, _| !(name.eq_ignore_ascii_case(b"range") || name.eq_ignore_ascii_case(b"if-range")));
}

/// Where the request goes, if not to a local reply: a server that a hook named, or an upstream.
fn chosen_upstream(
    connection: &Connection,
    exchange: &Exchange,
    tables: &Tables,
) -> Result<Option<Rc<Upstream>>, Failure> {
    let Some(address) = exchange.address.take() else {
        return Ok(exchange
            .upstream
            .get()
            .map(|index| tables.upstreams[index].clone()));
    };
    let shared = &connection.shared;
    let upstream = shared
        .origins
        .at_address(&address, shared.clock.now_ms())
        .map_err(|error| Failure::new(FailureKind::BadServerAddress, error))?;
    exchange.at_address.replace(Some(upstream.clone()));
    Ok(Some(upstream))
}

fn new_body(
    framing: headgate_wire::Framing,
    max_bytes: u64,
    tables: &Tables,
) -> Result<RequestBody, Failure> {
    RequestBody::new(framing, max_bytes, tables).map_err(|_| too_large())
}

fn give_up(connection: &Connection, exchange: &Exchange, failure: Failure) -> Next {
    if failure.kind == FailureKind::ClientDisconnected {
        connection.shared.metrics.count(Counter::ClientDisconnects);
    }
    if exchange.status.get() == 0 {
        exchange.status.set(failure.status());
    }
    failure.log(&exchange.id.borrow());
    exchange.failure.replace(Some(failure));
    Next::Cut
}

/// The reply to a failure: of an `error` hook, or the gateway's own page. Fails if the client disconnects meanwhile.
async fn reply_to(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    tables: &Rc<Configuration>,
    failure: Failure,
    body: &mut Option<RequestBody>,
) -> Result<LocalReply, Failure> {
    if failure.kind == FailureKind::BodyTooLarge {
        exchange.limit.set("limits.max_body_bytes");
        connection.shared.metrics.count(Counter::LimitBody);
    }
    failure.log(&exchange.id.borrow());
    exchange.failure.replace(Some(failure.clone()));
    let hooks = match exchange.route.get() {
        Some(route) => &tables.route(route).hooks[Phase::Error],
        None => &tables.phase_hooks[Phase::Error],
    };
    let reply: Option<Box<HookResponse>> = match run_hooks(connection, exchange, hooks).await {
        Ok(reply) => reply,
        Err(left) if left.kind.is_disconnect() => return Err(left),
        // an error hook that fails is logged by itself; the page shows the first failure
        Err(_) => None,
    };
    // a body that was too large from the start, or whose end is not known: nothing after it can be trusted
    if body.is_none() && failure.kind != FailureKind::BodyTooLarge {
        let framing = exchange.request.borrow().framing;
        *body = new_body(framing, tables.limits.max_body_bytes, tables).ok();
    }
    Ok(reply.map_or_else(
        || reply::error_page(exchange, &failure, &connection.shared),
        LocalReply::from,
    ))
}

/// Counts a request in flight until dropped.
struct ActiveGuard(Rc<headgate_shared::metrics::Metrics>);

impl ActiveGuard {
    fn begin(connection: &Connection) -> Self {
        let metrics = connection.shared.metrics.clone();
        metrics.count(Counter::Requests);
        metrics.count(Counter::RequestsActive);
        Self(metrics)
    }
}

impl Drop for ActiveGuard {
    fn drop(&mut self) {
        self.0.sub(Counter::RequestsActive, 1);
    }
}

/// A client's own id, where it is safe: a proxy before this gateway may have logged it already.
fn accepted_request_id(id: &[u8]) -> Option<String> {
    is_acceptable(id).then(|| String::from_utf8_lossy(id).into_owned())
}
