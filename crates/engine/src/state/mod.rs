//! What the connections of a worker share ([`Shared`]), and a connection itself ([`connection`]).

pub(crate) mod admission;
pub(crate) mod connection;
pub(crate) mod connection_hooks;
pub(crate) mod leaving;
pub(crate) mod origins;
pub(crate) mod refusal;
pub(crate) mod request_futures;
pub(crate) mod request_id;
pub(crate) mod server_failures;

use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use headgate_route::TargetMask;
use headgate_shared::Zone;
use tokio::sync::Notify;

use crate::access_log::{AccessLog, Entry, Followers, FormerLogs};
use crate::hooks::configuration::Configuration;
use crate::hooks::exchange::Exchange;
use crate::hooks::Hooks;
use crate::http_date::CachedDate;
use crate::tables::Tables;
use connection::{Connection, Next};
use headgate_net::clock::Clock;
use headgate_net::deadline::Deadlines;
use headgate_net::peer::Buffers;
use headgate_net::tls::TicketKeys;
use headgate_shared::metrics::Metrics;
use headgate_shared::series::Registry;
use headgate_upstream::Dialer;
use leaving::Leaving;
use origins::Origins;
use request_futures::RequestFutures;
use request_id::{RequestIds, LENGTH};

/// Microseconds after which other threads of the interpreter get their turn.
const YIELD_INTERVAL_US: u64 = 1_000;

/// A listener that was taken out of the configuration.
struct ClosedListener {
    address: String,
    /// What its connections know it by.
    name: String,
}

/// What all connections of a worker share.
pub(crate) struct Shared {
    pub(crate) clock: Rc<Clock>,
    pub(crate) deadlines: Rc<Deadlines>,
    pub(crate) buffers: Rc<Buffers>,
    pub(crate) request_futures: Rc<RequestFutures<Connection, Next>>,
    pub(crate) metrics: Rc<Metrics>,
    tables: RefCell<Rc<Configuration>>,
    ids: RefCell<RequestIds>,
    date: RefCell<CachedDate>,
    pub(crate) is_draining: Cell<bool>,
    pub(crate) stop: Notify,
    /// Those that the configuration has no more.
    closed_listeners: RefCell<Vec<ClosedListener>>,
    /// The worker ends soon: WebSockets are closed with 1001.
    pub(crate) is_shutting_down: Cell<bool>,
    pub(crate) shutting_down: Notify,
    /// The worker ends now.
    pub(crate) is_closed: Cell<bool>,
    /// WebSockets whose messages hooks see.
    pub(crate) websockets: Cell<usize>,
    /// Wakes the sweep when there is something to watch again.
    pub(crate) busy: Notify,
    pub(crate) connections: Cell<usize>,
    pub(crate) tls_handshakes: Rc<Cell<usize>>,
    pub(crate) ticket_keys: Arc<TicketKeys>,
    /// What the workers of a gateway share, so that each can read what another has issued to clients of HTTP/3.
    pub(crate) http3_secret: RefCell<Vec<u8>>,
    pub(crate) per_client: RefCell<HashMap<String, usize>>,
    last_yield_us: Cell<u64>,
    /// Where URLs are fetched from.
    pub(crate) origins: Origins,
    /// Servers that the configuration has no more.
    pub(crate) leaving: Leaving,
    /// Fetches under way.
    pub(crate) fetches: Cell<usize>,
    /// Where this worker makes its series of metrics, if anybody reads them.
    pub(crate) registry: OnceCell<Arc<Registry>>,
    /// Who follows the access log from outside.
    pub(crate) log_followers: Followers,
    /// Access logs that requests in flight may still write into.
    pub(crate) former_logs: FormerLogs,
}

impl Shared {
    /// Makes connections to servers.
    pub(crate) fn dialer(&self) -> Dialer {
        Dialer {
            clock: self.clock.clone(),
            deadlines: self.deadlines.clone(),
            buffers: self.buffers.clone(),
            metrics: self.metrics.clone(),
        }
    }

    /// What a worker that counts in `slot` of `zone` begins with. `seed` makes its request ids differ from others'.
    pub(crate) fn new(
        zone: Zone,
        slot: u32,
        seed: [u8; 16],
        configuration: Configuration,
        ticket_keys: Arc<TicketKeys>,
    ) -> Self {
        Self {
            clock: Rc::new(Clock::new()),
            deadlines: Rc::default(),
            buffers: Rc::default(),
            request_futures: Rc::default(),
            metrics: Rc::new(Metrics::new(zone, slot)),
            tables: RefCell::new(Rc::new(configuration)),
            ids: RefCell::new(RequestIds::new(seed)),
            date: RefCell::new(CachedDate::new()),
            is_draining: Cell::new(false),
            stop: Notify::new(),
            closed_listeners: RefCell::default(),
            is_shutting_down: Cell::new(false),
            shutting_down: Notify::new(),
            is_closed: Cell::new(false),
            websockets: Cell::new(0),
            busy: Notify::new(),
            connections: Cell::new(0),
            tls_handshakes: Rc::default(),
            ticket_keys,
            http3_secret: RefCell::new(seed.to_vec()),
            per_client: RefCell::default(),
            last_yield_us: Cell::new(0),
            origins: Origins::default(),
            leaving: Leaving::default(),
            fetches: Cell::new(0),
            registry: OnceCell::new(),
            log_followers: Followers::new(),
            former_logs: FormerLogs::default(),
        }
    }

    /// Where the line of a request goes; none if nobody wants it.
    pub(crate) fn access_records<'a>(&'a self, tables: &'a Tables) -> Option<AccessRecords<'a>> {
        let log = tables.access_log.as_deref();
        let followers = self.log_followers.is_followed().then_some(&self.log_followers);
        (log.is_some() || followers.is_some()).then_some(AccessRecords {
            log,
            followers,
            mask: &tables.target_mask,
        })
    }

    /// Puts another configuration in force; gives the one before.
    pub(crate) fn replace_tables(&self, configuration: Rc<Configuration>) -> Rc<Configuration> {
        self.tables.replace(configuration)
    }

    /// The listener of this address accepts no more, and its connections end after their current response.
    pub(crate) fn close_listener(&self, address: &str) {
        let tables = self.tables();
        let name = tables
            .listener(address)
            .map_or(address, |settings| &settings.name);
        self.closed_listeners.borrow_mut().push(ClosedListener {
            address: address.to_owned(),
            name: name.to_owned(),
        });
        self.stop.notify_waiters();
    }

    /// The listener of this address accepts again.
    pub(crate) fn open_listener(&self, address: &str) {
        self.closed_listeners
            .borrow_mut()
            .retain(|closed| closed.address != address);
    }

    /// Whether the listener of this address accepts no more.
    pub(crate) fn is_closed_listener(&self, address: &str) -> bool {
        self.is_draining.get()
            || self
                .closed_listeners
                .borrow()
                .iter()
                .any(|closed| closed.address == address)
    }

    /// Whether connections that came through the listener of this name are to end after their current response.
    pub(crate) fn drains(&self, listener: &str) -> bool {
        self.is_draining.get()
            || self
                .closed_listeners
                .borrow()
                .iter()
                .any(|closed| closed.name == listener)
    }

    /// The tables now in force.
    pub(crate) fn tables(&self) -> Rc<Configuration> {
        self.tables.borrow().clone()
    }

    /// Reads the clock, and lets other threads run if they have not for a while.
    pub(crate) fn begin_request(&self, hooks: &dyn Hooks) -> u64 {
        let now = self.clock.tick();
        if now - self.last_yield_us.get() > YIELD_INTERVAL_US {
            hooks.yield_gil();
            self.last_yield_us.set(now);
        }
        now
    }

    /// A new request id.
    pub(crate) fn next_id(&self) -> String {
        let mut buffer = [0; LENGTH];
        self.ids.borrow_mut().next(&mut buffer).to_owned()
    }

    /// Sixteen bytes that differ from call to call; no secret.
    pub(crate) fn nonce(&self) -> [u8; 16] {
        let mut buffer = [0; LENGTH];
        let id = self.ids.borrow_mut().next(&mut buffer).as_bytes();
        std::array::from_fn(|at| id[LENGTH - 16 + at])
    }

    /// Appends the current `Date` value.
    pub(crate) fn write_date(&self, out: &mut Vec<u8>) {
        let seconds = self.clock.unix_ms(self.clock.now_us()) / 1000;
        out.extend_from_slice(self.date.borrow_mut().at(seconds));
    }

    /// The request's id, made on first use.
    pub(crate) fn request_id(&self, exchange: &Exchange) -> String {
        let mut id = exchange.id.borrow_mut();
        if id.is_empty() {
            *id = self.next_id();
        }
        id.clone()
    }
}

/// The access log, if there is one, and those who follow it from outside.
pub(crate) struct AccessRecords<'a> {
    log: Option<&'a AccessLog>,
    followers: Option<&'a Followers>,
    mask: &'a TargetMask,
}

impl AccessRecords<'_> {
    /// Adds the line of one request, without the secrets of its targets.
    pub(crate) fn record(&self, entry: &Entry<'_>) {
        let target = self.mask.apply(entry.target);
        let referer = entry.referer.map(|url| self.mask.apply(url));
        if let (Cow::Borrowed(_), None | Some(Cow::Borrowed(_))) = (&target, &referer) {
            return self.write(entry);
        }
        self.write(&Entry {
            target: &target,
            referer: referer.as_deref(),
            ..*entry
        });
    }

    fn write(&self, entry: &Entry<'_>) {
        if let Some(log) = self.log {
            log.record(entry);
        }
        if let Some(followers) = self.followers {
            followers.record(entry);
        }
    }
}
