//! What a worker looks at now and then: deadlines, pools, its log, and how its servers are.

use std::rc::Rc;
use std::time::Duration;

use crate::state::Shared;
use crate::tables::Tables;
use headgate_net::alarm::Alarm;
use headgate_net::deadline::SWEEP_MS;
use headgate_shared::metrics::Counter;
use headgate_upstream::{DialOptions, Nobody};
use tokio::task::spawn_local;

/// Looks at deadlines ten times a second, at pools every second, at the log at its interval; sleeps while there is nothing.
pub(crate) async fn sweep(shared: Rc<Shared>) {
    let mut pools_ms = 0;
    let interval = Duration::from_millis(SWEEP_MS);
    let mut alarm = Alarm::every(interval).ok();
    loop {
        match &mut alarm {
            Some(alarm) => alarm.rung().await,
            // a process without descriptors can still sweep, at a higher cost
            None => tokio::time::sleep(interval).await,
        }
        let now_ms = shared.clock.tick() / 1000;
        let tables = shared.tables();
        shared.leaving.sweep(now_ms, &shared.deadlines);
        shared.deadlines.sweep(now_ms);
        if now_ms >= pools_ms + 1000 {
            pools_ms = now_ms;
            tables
                .upstreams
                .iter()
                .for_each(|upstream| upstream.sweep(now_ms));
            shared.origins.sweep(now_ms);
            warm(&shared, &tables, now_ms);
        }
        let mut lost = shared.former_logs.sweep(now_ms);
        if let Some(log) = &tables.access_log {
            log.flush_if_due(now_ms);
            lost += log.take_counts();
        }
        shared.metrics.add(Counter::LogLinesLost, lost.dropped_lines);
        shared.metrics.add(Counter::LogWritesFailed, lost.failed_writes);
        let has_idle =
            tables.upstreams.iter().any(|upstream| upstream.has_idle()) || shared.origins.has_idle();
        let has_lines = tables.access_log.as_ref().is_some_and(|log| log.has_waiting())
            || shared.former_logs.has_waiting();
        let is_idle = shared.deadlines.is_empty() && !has_idle && !has_lines;
        if is_idle || now_ms == pools_ms {
            note_servers(&shared, &tables, now_ms);
        }
        drop(tables);
        if is_idle {
            alarm.iter().for_each(Alarm::stop);
            shared.busy.notified().await;
            alarm.iter().for_each(Alarm::start);
        }
    }
}

/// Opens connections that are to be ready before requests need them.
fn warm(shared: &Rc<Shared>, tables: &Tables, now_ms: u64) {
    if shared.is_draining.get() {
        return;
    }
    for upstream in tables.upstreams.iter().filter(|upstream| upstream.keeps_warm()) {
        let connect_ms = tables.timeout(None, Some(upstream), |t| t.connect, |t| t.connect);
        let send_ms = tables.timeout(None, Some(upstream), |t| t.send, |t| t.send);
        let tls_ms = tables.timeouts.tls_handshake;
        for (server, count) in upstream.cold_servers(now_ms) {
            for _ in 0..count {
                let (shared, upstream) = (shared.clone(), upstream.clone());
                spawn_local(async move {
                    let watch = shared.deadlines.watch(&shared.clock);
                    let options = DialOptions {
                        watch: &watch,
                        connect_ms,
                        send_ms,
                        tls_ms,
                        client: &Nobody,
                    };
                    shared.dialer().warm(&upstream, server, &options).await;
                });
            }
        }
    }
}

/// Notes how servers are now, for metrics.
fn note_servers(shared: &Shared, tables: &Tables, now_ms: u64) {
    let Some(series) = &tables.series else { return };
    series.note_certificates(tables, now_ms);
    for (index, upstream) in tables.upstreams.iter().enumerate() {
        if let Some(limit) = upstream.adaptive_limit(&shared.metrics) {
            series.limit_is(index, limit);
        }
        if let Some(queue) = &upstream.queue {
            series.queue_is(Some(index), queue.waiting());
        }
        let loads = upstream.loads(now_ms, &shared.metrics);
        for (position, (server, load)) in upstream.servers.iter().zip(loads).enumerate() {
            let active = shared.metrics.own(server.cell);
            series.server_is(
                index,
                position,
                active,
                server.pool.count() as u64,
                load.is_available,
            );
        }
    }
}
