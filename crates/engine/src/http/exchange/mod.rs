//! One request's life: read, rewrite, route, let in, act, answer, log.
//!
//! # How it works
//! [`serve`] is the page to read. Whatever fails on the way becomes a [`Failure`]; if the client has seen nothing yet, the
//! `error` hooks or the gateway's own page answer it, else the connection is cut, because an answer that ends early must
//! not look complete.

mod completion;
mod tls_rules;

use std::rc::Rc;

use headgate_route::{host_without_port, normalize_path, Candidate, Fields, Found, Params};
use headgate_wire::RequestHead;

use crate::failure::{Failure, FailureKind};
use crate::hooks::configuration::Configuration;
use crate::hooks::exchange::Exchange;
use crate::hooks::Answer;
use crate::http::bodies::failures::{hook_failed, too_large};
use crate::http::bodies::made::keep_trailers;
use crate::http::bodies::request_body::RequestBody;
use crate::http::exchange::completion::finish;
use crate::http::forward;
use crate::http::h1::forwarded::client_of;
use crate::http::h1::read_head::read_head;
use crate::http::phases::{close_body, run_hooks, run_request_hooks};
use crate::http::reply::refuse;
use crate::http::reply::{self, LocalReply};
use crate::messages::websocket;
use crate::metrics::Counter;
use crate::state::connection::{Connection, Next};
use crate::state::request_id::is_acceptable;
use crate::tables::{Action, Tables};
use crate::upstream::Upstream;

/// Serves one request whose first bytes are there.
pub(crate) async fn serve(connection: &mut Connection) -> Next {
    let tables = connection.shared.tables();
    let mut head = match read_head(connection, &tables).await {
        Ok(head) => head,
        Err(none) => return Box::pin(refuse(connection, &tables, none)).await,
    };
    // from here on the worker's clock is right, and other threads have had their turn
    let now = connection.shared.begin_request(&*tables.hooks);
    let client = match &tables.trusted_proxies {
        Some(trusted) => client_of(&mut head.head, &connection.client, trusted),
        None => connection.client.clone(),
    };
    let clock = connection.shared.clock.clone();
    let exchange = Exchange::new(head, client, tables.clone(), clock);
    exchange.timings.started_us.set(now);
    exchange.depth.set(connection.depth);
    if let Some(name) = &tables.request_id_header {
        let own = || connection.shared.next_id();
        let id = exchange
            .request
            .borrow()
            .head
            .get(name.as_bytes())
            .and_then(adopted)
            .unwrap_or_else(own);
        exchange.id.replace(id);
    }
    let active = Active::begin(connection);

    let mut body = None;
    let responded = respond(connection, &exchange, &tables, &mut body).await;
    if let Some(body) = body.as_mut().filter(|body| body.trailers.is_some()) {
        keep_trailers(body, &exchange);
    }
    let next = match responded {
        Ok(next) => next,
        // whatever wait the end of the worker has cut short: nobody took too long
        Err(failure) if failure.status() != 499 && connection.shared.is_closed.get() => {
            exchange.limit.set("");
            Box::pin(end_instead(connection, &exchange, &tables, failure, body)).await
        }
        // nobody is left to answer
        Err(failure) if failure.kind.leaves_nobody() => give_up(connection, &exchange, failure),
        // the client has seen a part of another answer
        Err(failure) if exchange.status.get() != 0 => give_up(connection, &exchange, failure),
        // boxed, as all that is rare: what a forwarded request holds stays small
        Err(failure) => Box::pin(answer_instead(connection, &exchange, &tables, failure, body)).await,
    };

    // the buffers of this request are free again; what the log costs delays nobody's answer
    connection.watch.disarm();
    finish(connection, &exchange, &tables);
    drop(active);
    next
}

/// Rewrites, routes, lets in and acts.
async fn respond(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    tables: &Rc<Configuration>,
    body: &mut Option<RequestBody>,
) -> Result<Next, Failure> {
    if connection.shared.drains(&exchange.client.listener) {
        // the answer says `Connection: close`, so that the client goes elsewhere
        exchange.request.borrow_mut().persistent = false;
    }
    let own = connection
        .client
        .opening
        .as_ref()
        .and_then(|opening| opening.max_requests.get());
    let max_requests = own.unwrap_or(tables.limits.max_requests_per_connection);
    if max_requests > 0 && connection.served + 1 >= max_requests {
        exchange.request.borrow_mut().persistent = false;
    }
    if exchange.request.borrow().form == headgate_wire::TargetForm::Authority {
        return Err(Failure::from(FailureKind::ConnectRefused));
    }
    // the body's framing is the client's and stays; its limit is the route's, known below
    let framing = exchange.request.borrow().framing;

    // before routing, so that what routing sees can be changed
    if !tables.phase_hooks.rewrite.is_empty() {
        if let Some(answer) = run_hooks(connection, exchange, &tables.phase_hooks.rewrite).await? {
            let body = body.insert(new_body(framing, tables.limits.max_body_bytes, tables)?);
            return Box::pin(reply::send(
                connection,
                exchange,
                tables,
                LocalReply::from(answer),
                body,
            ))
            .await;
        }
    }
    let route = match choose_route(exchange, tables) {
        Ok(route) => route,
        // does not reveal which routes exist to unauthorized clients
        Err(failure) => return Err(tls_rules::check_request(exchange, None).err().unwrap_or(failure)),
    };
    exchange.route.set(Some(route));
    let route = &tables.routes[route];
    if exchange.client.tls.is_some() || route.needs_client_certificate.is_some() {
        tls_rules::check_request(exchange, route.needs_client_certificate)?;
    }
    if !route.hooks.websocket_message.is_empty() {
        websocket::claim(exchange, &tables.websocket)?;
    }
    // before anything is read or sent for this body
    let body = body.insert(new_body(framing, route.max_body_bytes, tables)?);
    if let Action::Proxy { upstream } = route.action {
        exchange.upstream.set(Some(upstream));
    }
    // let in, answer itself, or choose another upstream
    if !route.hooks.request.is_empty() {
        if let Some(answer) = run_request_hooks(connection, exchange, &route.hooks.request, body).await? {
            let own = LocalReply::of_request_hook(answer);
            let sent = Box::pin(reply::send(connection, exchange, tables, own, body)).await;
            close_body(exchange);
            return sent;
        }
    }
    if !route.hooks.response_body.is_empty() {
        // what hooks make of a part is no part of what they make of the whole
        exchange.request.borrow_mut().head.retain(|name, _| {
            !(name.eq_ignore_ascii_case(b"range") || name.eq_ignore_ascii_case(b"if-range"))
        });
    }
    if let Some(upstream) = chosen_upstream(connection, exchange, tables)? {
        if let Some(answer) = forward::count_down(exchange) {
            return Box::pin(reply::send(connection, exchange, tables, answer.into(), body)).await;
        }
        return forward::forward(connection, exchange, tables, upstream, body).await;
    }
    let own = reply::make(exchange, route, &connection.shared)?;
    Box::pin(reply::send(connection, exchange, tables, own, body)).await
}

/// Where the request goes, if not to an answer of the gateway's own: a server that a hook named, or an upstream.
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
    RequestBody::new(framing, max_bytes, tables.chunk_limits()).map_err(|_| too_large())
}

struct HeadFields<'a>(&'a RequestHead);

impl Fields for HeadFields<'_> {
    fn header(&self, name: &str) -> Option<&[u8]> {
        self.0.head.get(name.as_bytes())
    }
}

fn choose_route(exchange: &Rc<Exchange>, tables: &Rc<Configuration>) -> Result<usize, Failure> {
    let mut params: Params = exchange.params.take();
    let request = exchange.request.borrow();
    let path = normalize_path(request.path())
        .map_err(|error| Failure::new(FailureKind::MalformedPath(error), error.to_string()))?;
    let candidate = Candidate {
        host: host_without_port(request.host()),
        path: &path,
        query: request.query(),
        method: request.method(),
    };
    let mut has_failed = false;
    let mut ask = |route: usize| {
        let Some(function) = tables.function(route) else {
            return false;
        };
        // the search ends with a matcher that failed: a later route may be open to those whom this one would keep out
        tables.hooks.matches(function, exchange).unwrap_or_else(|_| {
            has_failed = true;
            true
        })
    };
    let found = tables
        .router
        .find_normal(&candidate, &HeadFields(&request), &mut params, &mut ask);
    drop(request);
    exchange.params.replace(params);
    match found {
        Found::Route(_) if has_failed => Err(hook_failed()),
        Found::Route(route) => Ok(route),
        Found::MethodNotAllowed(methods) => {
            let mut failure = Failure::new(
                FailureKind::MethodNotAllowed,
                format!("allowed here: {}", methods.join(", ")),
            );
            failure.allow = Some(methods.join(", "));
            Err(failure)
        }
        Found::None => Err(Failure::from(FailureKind::NoRoute)),
    }
}

fn give_up(connection: &Connection, exchange: &Exchange, failure: Failure) -> Next {
    if failure.kind == FailureKind::ClientLeft {
        connection.shared.metrics.count(Counter::ClientLeft);
    }
    if exchange.status.get() == 0 {
        exchange.status.set(failure.status());
    }
    failure.log(&exchange.id.borrow());
    exchange.failure.replace(Some(failure));
    Next::Cut
}

/// Answers a failure before which the client has seen nothing: by an `error` hook or the gateway's own page.
async fn answer_failure(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    tables: &Rc<Configuration>,
    failure: Failure,
    body: Option<RequestBody>,
) -> Next {
    if failure.kind == FailureKind::BodyTooLarge {
        exchange.limit.set("limits.max_body_bytes");
        connection.shared.metrics.count(Counter::LimitBody);
    }
    failure.log(&exchange.id.borrow());
    exchange.failure.replace(Some(failure.clone()));
    let hooks = match exchange.route.get() {
        Some(route) => &tables.routes[route].hooks.error,
        None => &tables.phase_hooks.error,
    };
    let answer: Option<Box<Answer>> = match run_hooks(connection, exchange, hooks).await {
        Ok(answer) => answer,
        Err(left) if left.kind.leaves_nobody() => return give_up(connection, exchange, left),
        // an error hook that fails is logged by itself; the page tells of the first failure
        Err(_) => None,
    };
    let own = answer.map_or_else(
        || reply::error_page(exchange, &failure, &connection.shared),
        LocalReply::from,
    );
    // a body that was too large from the start, or whose end is not known: nothing after it can be trusted
    let framing = exchange.request.borrow().framing;
    let body = match body {
        None if failure.kind != FailureKind::BodyTooLarge => {
            new_body(framing, tables.limits.max_body_bytes, tables).ok()
        }
        body => body,
    };
    let Some(mut body) = body else {
        return reply::send_last(connection, exchange, tables, own).await;
    };
    reply::send(connection, exchange, tables, own, &mut body)
        .await
        .unwrap_or(Next::Close)
}

/// Answers a request that the worker's end has cut short, if nothing of its response was sent.
async fn end_instead(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    tables: &Rc<Configuration>,
    failure: Failure,
    body: Option<RequestBody>,
) -> Next {
    if exchange.status.get() != 0 {
        return give_up(connection, exchange, failure);
    }
    answer_failure(connection, exchange, tables, Failure::shutting_down(), body).await
}

/// Answers what could not be done as asked: with what a body hook gave instead, or a failure's page.
async fn answer_instead(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    tables: &Rc<Configuration>,
    failure: Failure,
    mut body: Option<RequestBody>,
) -> Next {
    let answer = exchange.known_rare().and_then(|rare| rare.answer.take());
    let (Some(answer), Some(body)) = (answer, &mut body) else {
        return answer_failure(connection, exchange, tables, failure, body).await;
    };
    // one of a response's body is the last to see that response
    let own = if exchange.response.take().is_some() {
        LocalReply::of_response_hook(answer)
    } else {
        LocalReply::from(answer)
    };
    match reply::send(connection, exchange, tables, own, body).await {
        Ok(next) => next,
        Err(failure) => give_up(connection, exchange, failure),
    }
}

/// Counts a request in flight until dropped.
struct Active(Rc<crate::metrics::Metrics>);

impl Active {
    fn begin(connection: &Connection) -> Self {
        let metrics = connection.shared.metrics.clone();
        metrics.count(Counter::Requests);
        metrics.count(Counter::RequestsActive);
        Self(metrics)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.sub(Counter::RequestsActive, 1);
    }
}

/// A client's own id, where it is harmless: whoever stands before this gateway may have logged it already.
fn adopted(id: &[u8]) -> Option<String> {
    is_acceptable(id).then(|| String::from_utf8_lossy(id).into_owned())
}
