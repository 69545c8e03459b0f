//! A request's place in its trace, from its begin to the record at its end.

use headgate_wire::TraceParent;

use crate::failure::Failure;
use crate::hooks::configuration::Configuration;
use crate::hooks::exchange::Exchange;
use crate::trace::{Attempt, Request, Tracer};
use headgate_net::clock::Clock;

/// Gives the request its place. It is told with `traceparent` once somebody looks: hooks, or servers.
pub(super) fn begin(tracer: &Tracer, exchange: &Exchange, now_ms: u64) {
    let mut request = exchange.request.borrow_mut();
    let parent = {
        let mut values = request.head.get_all(b"traceparent");
        let first = values.next().and_then(TraceParent::parse);
        // two of them are none (W3C Trace Context, section 3.2.2)
        first.filter(|_| values.next().is_none())
    };
    if parent.is_none() {
        request.head.remove(b"traceparent");
        // it says more about a parent that is not known
        request.head.remove(b"tracestate");
    }
    exchange.trace.set(Some(tracer.place(parent, now_ms)));
}

/// Whether the request may be recorded, as far as is known without a look at the clock.
#[inline]
pub(super) fn may_be_recorded(tracer: &Tracer, exchange: &Exchange) -> bool {
    let place = exchange.trace.get();
    place.is_some_and(|place| tracer.keeps(&place, exchange.status.get(), u64::MAX))
}

/// Records the request, if it is one of those that are.
pub(super) fn end(tracer: &Tracer, exchange: &Exchange, tables: &Configuration, clock: &Clock, now_us: u64) {
    let Some(place) = exchange.trace.get() else { return };
    let started = exchange.timings.started_us.get();
    if !tracer.keeps(&place, exchange.status.get(), now_us.saturating_sub(started)) {
        return;
    }
    let request = exchange.request.borrow();
    let named = exchange.other_upstream();
    let of_tables = exchange.upstream.get().map(|index| &tables.upstreams[index]);
    let upstream = named.as_ref().or(of_tables);
    let shown = exchange.known_rare().map_or(0, |rare| rare.shown_attempt.get());
    let last = upstream
        .zip(exchange.server.get())
        .map(|(upstream, server)| Attempt {
            number: if shown == 0 { exchange.attempt.get() } else { shown },
            upstream: &upstream.name,
            server: &upstream.servers[server].name,
            start_us: clock.unix_us(exchange.timings.attempt_us.get()),
            has_responded: exchange.timings.head_us.get() > 0,
        });
    let failure = exchange.failure.borrow();
    let hooks = exchange.timings.hooks.borrow();
    let failed = exchange.known_rare().map(|rare| rare.failed_attempts.borrow());
    let fetches = exchange.known_rare().map(|rare| rare.fetches.borrow());
    let id = exchange.id.borrow();
    let route = exchange.route.get();
    tracer.record(&Request {
        place,
        scheme: exchange.client.scheme,
        method: request.method(),
        route: route.map_or("", |route| &tables.route(route).name),
        path: &tables.target_mask.apply(request.path()),
        host: request.host(),
        client: &exchange.client.address,
        id: &id,
        status: exchange.status.get(),
        error: failure
            .as_ref()
            .map_or("", |failure: &Failure| failure.kind.name()),
        start_us: clock.unix_us(started),
        end_us: clock.unix_us(now_us),
        last,
        failed: failed.as_deref().map_or(&[], Vec::as_slice),
        fetches: fetches.as_deref().map_or(&[], Vec::as_slice),
        hooks: &hooks,
        epoch_us: clock.unix_us(0),
    });
}
