//! After a request's last byte: counters, the access log's line, `log` hooks.

use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_local;

use crate::access_log::{Entry, StepKind, TlsFacts};
use crate::hooks::configuration::Configuration;
use crate::hooks::exchange::Exchange;
use crate::hooks::Step;
use crate::http::exchange::tracing;
use crate::snapshot::Phase;
use crate::state::connection::Connection;
use crate::state::AccessRecords;
use crate::tables::series::{Finished, SeriesTable};
use crate::tables::Tables;
use headgate_net::clock::Clock;
use headgate_shared::metrics::Counter;
use headgate_wire::{SPAN_ID, TRACE_ID};

/// How long `log` hooks that wait may take after everything else is done.
const LOG_HOOKS_LIMIT: Duration = Duration::from_secs(60);

/// Counts, logs, runs the `log` hooks.
pub(crate) fn finish(connection: &Connection, exchange: &Rc<Exchange>, tables: &Rc<Configuration>) {
    let metrics = &connection.shared.metrics;
    metrics.status(exchange.status.get());
    metrics.add(Counter::RequestBytes, exchange.request_bytes.get());
    metrics.add(Counter::ResponseBytes, exchange.response_bytes.get());
    // a subrequest is a part of the request that made it
    let records = connection
        .shared
        .access_records(tables)
        .filter(|_| connection.depth == 0);
    // most requests are not recorded, whatever they took
    let tracer = tables.tracer.as_ref();
    let tracer = tracer.filter(|tracer| tracing::may_be_recorded(tracer, exchange));
    if tables.series.is_some() || tracer.is_some() || records.is_some() {
        let clock = &connection.shared.clock;
        let now_us = clock.tick();
        if let Some(series) = &tables.series {
            measure(clock, exchange, tables, series, now_us);
        }
        if let Some(tracer) = tracer {
            tracing::end(tracer, exchange, tables, clock, now_us);
        }
        if let Some(records) = records {
            log(clock, exchange, tables, &records, now_us);
        }
    }
    let hooks = match exchange.route.get() {
        Some(route) => &tables.route(route).hooks[Phase::Log],
        None => &tables.phase_hooks[Phase::Log],
    };
    if !hooks.is_empty() {
        connection.shared.clock.tick();
        exchange.tell_hooks_of_trace();
    }
    for (position, hook) in hooks.iter().enumerate() {
        if let Step::Pending(first) = tables.hooks.call(*hook, exchange) {
            // the rest goes on without the connection
            let (rest, exchange, tables) = (hooks[position + 1..].to_vec(), exchange.clone(), tables.clone());
            spawn_local(async move {
                let all = async {
                    first.await;
                    for hook in rest {
                        if let Step::Pending(verdict) = tables.hooks.call(hook, &exchange) {
                            verdict.await;
                        }
                    }
                };
                let _ = tokio::time::timeout(LOG_HOOKS_LIMIT, all).await;
                end(&exchange);
            });
            return;
        }
    }
    end(exchange);
}

/// Nothing of it is needed any more.
fn end(exchange: &Exchange) {
    exchange.is_finished.set(true);
    exchange.notes.clear();
    // views may point back at the exchange
    exchange.attachment.take();
}

/// Counts the request in the series of its route and server.
fn measure(clock: &Clock, exchange: &Exchange, tables: &Tables, series: &SeriesTable, now_us: u64) {
    series.finished(
        tables,
        &Finished {
            route: exchange.route.get(),
            upstream: exchange.configured_upstream(),
            server: exchange
                .server
                .get()
                .map(|server| exchange.place_in_tables(server)),
            method: exchange.request.borrow().method(),
            status: exchange.status.get(),
            total_us: now_us.saturating_sub(exchange.timings.started_us.get()),
            head_us: exchange.timings.head_us.get(),
            request_bytes: exchange.request_bytes.get(),
            response_bytes: exchange.response_bytes.get(),
            failure: exchange.failure.borrow().as_ref(),
            id: &exchange.id.borrow(),
            unix_ms: clock.unix_ms(now_us),
        },
    );
}

fn log(clock: &Clock, exchange: &Exchange, tables: &Tables, records: &AccessRecords<'_>, now_us: u64) {
    let request = exchange.request.borrow();
    let started = exchange.timings.started_us.get();
    let responded_us = exchange.timings.responded_us.get();
    if responded_us > 0 && exchange.response_bytes.get() > 0 {
        exchange.timings.note(StepKind::Body, 0, responded_us, now_us);
    }
    let id = exchange.id.borrow();
    let failure = exchange.failure.borrow();
    let named = exchange.other_upstream();
    let of_tables = exchange.upstream.get().map(|index| &tables.upstreams[index]);
    let upstream = named.as_ref().or(of_tables);
    let place = exchange.trace.get().map(|place| place.own.text());
    let of_trace = |part| {
        let text = place.as_ref().map(|text| &text[part]);
        text.map_or("", |text| std::str::from_utf8(text).unwrap_or_default())
    };
    records.record(&Entry {
        trace: (of_trace(TRACE_ID), of_trace(SPAN_ID)),
        time_unix_ms: clock.unix_ms(started),
        client: &exchange.client.address,
        method: request.method(),
        target: request.target_to_send(),
        host: request.host(),
        version: exchange.version_name(),
        tls: exchange.client.tls.as_deref().map(TlsFacts::from),
        status: exchange.status.get(),
        request_bytes: exchange.request_bytes.get(),
        response_bytes: exchange.response_bytes.get(),
        body_bytes: exchange
            .response_bytes
            .get()
            .saturating_sub(exchange.head_bytes.get()),
        referer: request.head.get(b"referer"),
        user_agent: request.head.get(b"user-agent"),
        request_id: &id,
        route: exchange.route.get().map_or("", |route| &tables.route(route).name),
        upstream: upstream.map_or("", |upstream| &upstream.name),
        server: upstream
            .zip(exchange.server.get())
            .map_or("", |(upstream, server)| &upstream.servers[server].name),
        attempts: exchange.attempt.get(),
        queue_us: exchange.timings.queue_us.get(),
        connect_us: exchange.timings.connect_us.get(),
        head_us: exchange.timings.head_us.get(),
        started_us: started,
        total_us: now_us.saturating_sub(started),
        hook_us: exchange.timings.hook_us.get(),
        steps: Some(&exchange.timings.steps),
        hooks: &exchange.timings.hooks.borrow(),
        limit: exchange.limit.get(),
        error: failure.as_ref().map_or("", |failure| failure.kind.name()),
    });
}
