//! The bandwidth that a route's requests may use.
//!
//! # How it works
//! From the moment its route is known until its end, a request reads from its client, and writes to it, through a paced stream
//! ([`headgate_net::pace`]). What clients and routes share is counted in the zone, over all workers; what a connection's requests
//! share, with the connection's client.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

use headgate_net::pace::{pace, Ledger, Pace};
use headgate_route::fnv;
use headgate_shared::metrics::Metrics;

use crate::hooks::exchange::Exchange;
use crate::snapshot::{Bandwidth, SharedBy};
use crate::state::connection::Connection;
use crate::tables::Route;

/// A number of the zone.
struct ZoneLedger {
    metrics: Rc<Metrics>,
    hash: u64,
}

impl Ledger for ZoneLedger {
    fn load(&self) -> u64 {
        self.metrics.zone().pace_word(self.hash).load(Relaxed)
    }

    fn exchange(&self, from: u64, to: u64) -> bool {
        let word = self.metrics.zone().pace_word(self.hash);
        word.compare_exchange(from, to, AcqRel, Relaxed).is_ok()
    }
}

/// Puts a request under the limits of its route, if there are any.
#[inline]
pub(super) fn limit(connection: &mut Connection, exchange: &Exchange, route: &Route) {
    if !route.bandwidth.is_empty() {
        begin(connection, exchange, &route.name, &route.bandwidth);
    }
}

#[cold]
fn begin(connection: &mut Connection, exchange: &Exchange, route: &str, limits: &[Bandwidth]) {
    let of = |rate: fn(&Bandwidth) -> Option<u64>, direction: &str| {
        let limits = limits.iter().enumerate();
        limits
            .filter_map(|(at, limit)| {
                let name = || format!("{route}\0{at}\0{direction}");
                let ledger = ledger(connection, exchange, limit.per, direction, &name);
                rate(limit).map(|rate| Pace::new(rate, ledger))
            })
            .collect()
    };
    let (up, down) = (of(|limit| limit.up, "up"), of(|limit| limit.down, "down"));
    connection.unpace = Some(Box::new(pace(&mut connection.peer, up, down)));
}

/// What counts the bytes of all who share a limit.
fn ledger(
    connection: &Connection,
    exchange: &Exchange,
    per: SharedBy,
    direction: &str,
    name: &dyn Fn() -> String,
) -> Rc<dyn Ledger> {
    let of_zone = |name: String| -> Rc<dyn Ledger> {
        Rc::new(ZoneLedger {
            metrics: Rc::clone(&connection.shared.metrics),
            hash: fnv(name.as_bytes()),
        })
    };
    match per {
        SharedBy::Request => Rc::new(Cell::new(0)),
        SharedBy::Connection => connection.client.ledger(direction == "up"),
        SharedBy::Client => of_zone(format!("{}\0{}", name(), exchange.client.address)),
        SharedBy::Route => of_zone(name()),
    }
}
