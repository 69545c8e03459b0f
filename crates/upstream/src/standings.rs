//! How servers stand with all processes: what is said of them in the zone, and who is ejected there.

use std::cell::{Cell, RefCell};
use std::sync::atomic::Ordering::Relaxed;

use headgate_route::{Balancer, Outliers, ServerStanding};
use headgate_shared::metrics::{Counter, Metrics};
use headgate_shared::servers::{shared_now_ms, AdminState, CheckState, ServerWord};

use crate::failed_by::FailedBy;
use crate::spec;

/// The servers of an upstream as the zone knows them.
pub(crate) struct Standings {
    /// `upstream/address` of each.
    names: Vec<String>,
    /// Until when each is ejected, on this worker's clock.
    ejected_until_ms: Vec<Cell<u64>>,
    /// The number of changes that was seen last.
    seen: Cell<u64>,
    outliers: Option<(RefCell<Outliers>, spec::Outlier)>,
}

/// What came of an attempt.
#[derive(Clone, Copy)]
pub(crate) enum Came {
    /// A response with that status, after so many microseconds.
    Response(u16, u64),
    /// Nothing.
    Failure(FailedBy),
}

impl Standings {
    pub(crate) fn new(upstream: &spec::Upstream) -> Self {
        let names = upstream.servers.iter();
        let names: Vec<String> = names
            .map(|server| format!("{}/{}", upstream.name, server.address))
            .collect();
        let outliers = upstream.outlier.clone().map(|spec| {
            let outliers = Outliers::new(spec.rule(), names.len());
            (RefCell::new(outliers), spec)
        });
        Self {
            ejected_until_ms: names.iter().map(|_| Cell::new(0)).collect(),
            names,
            seen: Cell::new(0),
            outliers,
        }
    }

    /// Whether attempts are to be told to [`Standings::came`].
    #[inline]
    pub(crate) fn watches(&self) -> bool {
        self.outliers.is_some()
    }

    /// Tells the balancer what was said of servers since it was last told.
    #[inline]
    pub(crate) fn refresh(&self, balancer: &RefCell<Balancer>, now_ms: u64, metrics: &Metrics) {
        let changes = metrics.zone().server_changes();
        if self.seen.replace(changes) != changes {
            self.look(&mut balancer.borrow_mut(), now_ms, metrics);
        }
    }

    fn look(&self, balancer: &mut Balancer, now_ms: u64, metrics: &Metrics) {
        let zone = metrics.zone();
        let shared_ms = shared_now_ms();
        for (server, name) in self.names.iter().enumerate() {
            let standing = zone
                .find_server(name)
                .map_or_else(ServerStanding::default, |entry| {
                    let state = zone.server_state(entry);
                    let until_ms = zone.server_word(entry, ServerWord::EjectedUntil).load(Relaxed);
                    ServerStanding {
                        is_down: state.check == CheckState::Down,
                        is_closed: state.admin != AdminState::Ready,
                        keeps_sessions: state.admin == AdminState::Drain,
                        share_percent: state.weight_percent,
                        ejected_until_ms: local(until_ms, shared_ms, now_ms),
                    }
                });
            self.ejected_until_ms[server].set(standing.ejected_until_ms);
            balancer.set_standing(server, standing, now_ms);
        }
    }

    /// Looks at how an attempt went, and ejects who is an outlier by now.
    pub(crate) fn came(&self, server: usize, came: Came, now_ms: u64, metrics: &Metrics) {
        let Some((outliers, spec)) = &self.outliers else {
            return;
        };
        let found = {
            let mut outliers = outliers.borrow_mut();
            match came {
                Came::Response(status, took_us) if !spec.counts_status(status) => {
                    outliers.succeeded(server, now_ms, took_us)
                }
                // what does not count is no success either
                Came::Failure(kind) if !spec.kinds.contains(&kind) => return,
                Came::Response(..) | Came::Failure(_) => outliers.failed(server, now_ms),
            }
        };
        for server in found {
            self.eject(server, &outliers.borrow(), now_ms, metrics);
        }
    }

    fn eject(&self, server: usize, outliers: &Outliers, now_ms: u64, metrics: &Metrics) {
        let is_ejected = |until_ms: &&Cell<u64>| until_ms.get() > now_ms;
        let ejected = self.ejected_until_ms.iter().filter(is_ejected).count();
        let name = &self.names[server];
        if self.ejected_until_ms[server].get() > now_ms {
            return;
        }
        if !outliers.may_eject(ejected, self.names.len()) {
            tracing::debug!(
                server = name,
                ejected,
                "an outlier stays: no more servers may be ejected"
            );
            return;
        }
        let zone = metrics.zone();
        let Some(entry) = zone.claim_server(name) else {
            return;
        };
        let shared_ms = shared_now_ms();
        let (until, count) = (
            zone.server_word(entry, ServerWord::EjectedUntil),
            zone.server_word(entry, ServerWord::Ejections),
        );
        let well_ms = shared_ms.saturating_sub(until.load(Relaxed));
        let before = outliers.remembered(count.load(Relaxed), well_ms);
        let for_ms = outliers.ejection_ms(before);
        until.store(shared_ms + for_ms, Relaxed);
        count.store(before + 1, Relaxed);
        zone.announce_server_change();
        self.ejected_until_ms[server].set(now_ms + for_ms);
        metrics.count(Counter::UpstreamEjections);
        tracing::warn!(server = name, for_ms, "the server is ejected: it is an outlier");
    }
}

/// A moment of the shared clock on this worker's, never 0 for one that was.
fn local(moment_ms: u64, shared_now_ms: u64, now_ms: u64) -> u64 {
    match moment_ms {
        0 => 0,
        later if later > shared_now_ms => now_ms + (later - shared_now_ms),
        past => now_ms.saturating_sub(shared_now_ms - past).max(1),
    }
}
