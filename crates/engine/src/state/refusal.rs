//! Connections that are closed before they are served.

use super::admission::Full;
use super::Shared;
use crate::access_log::{Entry, TlsFacts};
use crate::hooks::connection::ClientInfo;
use crate::tables::Tables;
use headgate_net::peer::Broken;
use headgate_shared::metrics::{Counter, Metrics};
use headgate_upstream::LimitCounter;

/// Why a connection is closed before it is served.
pub(crate) struct Refusal {
    pub(crate) error: &'static str,
    pub(crate) limit: &'static str,
    /// Absent for what is counted where it happens.
    pub(crate) counter: Option<Counter>,
}

impl Refusal {
    pub(crate) fn new(error: &'static str, counter: Counter) -> Self {
        Self {
            error,
            limit: "",
            counter: Some(counter),
        }
    }

    /// A hook failed, which is counted where it is called.
    pub(crate) fn hook_failed() -> Self {
        Self {
            error: "hook_failed",
            limit: "",
            counter: None,
        }
    }

    /// Counts it.
    pub(crate) fn count(&self, metrics: &Metrics) {
        if let Some(counter) = self.counter {
            metrics.count(counter);
        }
    }

    pub(crate) fn full(full: &Full) -> Self {
        Self {
            error: "connection_refused",
            limit: full.limit,
            counter: Some(full.counter),
        }
    }
}

/// Counts and logs now what a client is not served.
pub(crate) fn note_refusal(shared: &Shared, client: &ClientInfo, refusal: &Refusal) {
    refusal.count(&shared.metrics);
    log_refusal(
        &shared.tables(),
        shared,
        client,
        (refusal, ""),
        shared.clock.tick(),
    );
}

/// Logs a connection that was closed unserved; `host` is its server name in TLS, if it got so far.
pub(crate) fn log_refusal(
    tables: &Tables,
    shared: &Shared,
    client: &ClientInfo,
    (refusal, host): (&Refusal, &str),
    began_us: u64,
) {
    if let Some(records) = shared.access_records(tables) {
        let now = shared.clock.tick();
        records.record(&Entry {
            time_unix_ms: shared.clock.unix_ms(began_us),
            client: &client.address,
            host: host.as_bytes(),
            tls: client.tls.as_deref().map(TlsFacts::from),
            limit: refusal.limit,
            error: refusal.error,
            total_us: now.saturating_sub(began_us),
            ..Entry::default()
        });
    }
}

impl Refusal {
    /// The client's bytes did not come, or not in time.
    pub(crate) fn broken(broken: &Broken) -> Self {
        match broken {
            Broken::Limit(limit) => Self {
                error: "client_too_slow",
                limit: limit.name(),
                counter: Some(limit.counter()),
            },
            Broken::Closed | Broken::Io(_) => Self::new("client_disconnected", Counter::ClientDisconnects),
        }
    }
}
