//! A worker: what its connections share, and its few commands.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use headgate_shared::Zone;
use tokio::task::{spawn_local, yield_now};

use crate::accept::protocol;
use crate::accept::sockets;
use crate::hooks::configuration::Configuration;
use crate::hooks::connection::ClientInfo;
use crate::hooks::{Hooks, LocalFuture, NoHooks};
use crate::http::fetch::{self, FetchError, FetchRequest, Fetched};
use crate::redis::{self, Redis, RedisFailure, Script, Value};
use crate::snapshot::Snapshot;
use crate::state::admission::Counted;
use crate::state::connection::Connection;
use crate::state::Shared;
use crate::sweep::sweep;
use crate::tables::assembly::{parse_log, Assembly};
use crate::tables::draft::{parse, Draft, Drafter};
use crate::tables::SnapshotError;
use crate::trace_export;
use headgate_net::limits::Limit;
use headgate_net::stream::Stream;
use headgate_net::tls::{TicketKeys, TICKET_KEY_BYTES};
use headgate_net::virtual_stream::{virtual_pair, VirtualEnd};
use headgate_shared::metrics::{Counter, NAMES};
use headgate_shared::series::Registry;

/// How long an idle keep-alive connection is still served while draining, for a request already on its way.
const DRAIN_IDLE_MS: u64 = 1_000;

/// A configuration that is checked and built, and not in force yet.
pub struct Prepared(Rc<Configuration>);

/// A worker's data plane. Cheap to clone; lives on one thread.
#[derive(Clone)]
pub struct Worker {
    shared: Rc<Shared>,
}

/// A worker that this does not keep alive: for what its own configuration holds.
pub struct WeakWorker(Weak<Shared>);

impl WeakWorker {
    /// The worker, unless it has ended.
    pub fn upgrade(&self) -> Option<Worker> {
        self.0.upgrade().map(|shared| Worker { shared })
    }
}

impl Worker {
    /// The same worker, not kept alive.
    pub fn downgrade(&self) -> WeakWorker {
        WeakWorker(Rc::downgrade(&self.shared))
    }

    /// A worker without routes that counts in `slot` of `zone`. `seed` makes its request ids differ from others'.
    pub fn new(zone: Zone, slot: u32, seed: [u8; 16]) -> Self {
        let snapshot: Snapshot =
            serde_json::from_str(include_str!("empty_snapshot.json")).expect("the text is part of the crate");
        let ticket_keys = Arc::<TicketKeys>::default();
        let draft = Drafter::new(Arc::clone(&ticket_keys), None).of(snapshot);
        let configuration = draft.and_then(|draft| assemble(draft, Rc::new(NoHooks), None));
        let configuration = configuration.expect("it has nothing that could fail");
        Self {
            shared: Rc::new(Shared::new(zone, slot, seed, configuration, ticket_keys)),
        }
    }

    /// Puts a new configuration in force. Requests in flight keep the old one.
    ///
    /// # Errors
    /// The snapshot is not usable; the old one stays in force.
    pub fn apply(&self, snapshot: &str, hooks: Rc<dyn Hooks>) -> Result<(), SnapshotError> {
        self.prepare(snapshot, hooks)
            .map(|prepared| self.commit(prepared))
    }

    /// Makes a new configuration ready, which changes nothing yet.
    ///
    /// # Errors
    /// The snapshot is not usable.
    pub fn prepare(&self, snapshot: &str, hooks: Rc<dyn Hooks>) -> Result<Prepared, SnapshotError> {
        let draft = self.drafter().draft(snapshot.as_bytes())?;
        let old = self.shared.tables();
        assemble(draft, hooks, Some(&old)).map(|made| Prepared(Rc::new(made)))
    }

    /// What drafts configurations for this worker, in other threads.
    pub fn drafter(&self) -> Drafter {
        Drafter::new(Arc::clone(&self.shared.ticket_keys), self.registry())
    }

    /// The same as [`Worker::prepare`] for what was drafted, in slices between which the worker serves.
    ///
    /// # Errors
    /// The snapshot is not usable.
    pub async fn prepare_draft(&self, draft: Draft, hooks: Rc<dyn Hooks>) -> Result<Prepared, SnapshotError> {
        let old = self.shared.tables();
        let mut assembly = Assembly::new(draft, &old.upstreams);
        while !assembly.advance()? {
            yield_now().await;
        }
        Configuration::finish(assembly, hooks, Some(&old)).map(|made| Prepared(Rc::new(made)))
    }

    /// Makes the configuration in force ready with other routes, as a difference says; this costs as much as that changes.
    ///
    /// # Errors
    /// The difference is not usable, or is none to the configuration in force.
    pub fn prepare_difference(&self, difference: &str) -> Result<Prepared, SnapshotError> {
        let difference = serde_json::from_str(difference)
            .map_err(|error| SnapshotError(format!("bad difference: {error}")))?;
        let changed = self.shared.tables().changed(difference)?;
        Ok(Prepared(Rc::new(changed)))
    }

    /// Puts what was prepared in force, at once and for all that begins from now on. Requests in flight keep the old one.
    pub fn commit(&self, prepared: Prepared) {
        let old = self.shared.replace_tables(prepared.0);
        self.serve_traces(&old);
        let tables = self.shared.tables();
        self.shared.replace_upstreams(&old.upstreams, &tables);
        if let Some(series) = &tables.series {
            series.release();
            series.note_certificates(&tables, self.shared.clock.now_ms());
        }
        // a difference in routes alone leaves the log as it is
        let log = old.access_log.as_ref();
        if let Some(log) =
            log.filter(|log| tables.access_log.as_ref().is_none_or(|new| !Rc::ptr_eq(new, log)))
        {
            self.shared.former_logs.keep(Rc::clone(log));
        }
    }

    /// Counts what metrics are wanted of in series of this registry, from the next configuration on.
    pub fn use_registry(&self, registry: Arc<Registry>) {
        let _ = self.shared.registry.set(registry);
    }

    /// The registry that was given, if any was.
    pub fn registry(&self) -> Option<Arc<Registry>> {
        self.shared.registry.get().cloned()
    }

    /// Has somebody send what the tracer in force records; that of before ends when all of it is sent.
    fn serve_traces(&self, old: &Configuration) {
        let new = self.shared.tables().tracer.clone();
        if let Some(old) = old
            .tracer
            .as_ref()
            .filter(|old| !new.as_ref().is_some_and(|new| Rc::ptr_eq(old, new)))
        {
            old.is_retired.set(true);
            old.wake.notify_one();
        }
        if let Some(tracer) = new.filter(|tracer| !tracer.is_served.replace(true)) {
            spawn_local(trace_export::serve(self.shared.clone(), tracer));
        }
    }

    /// Sends what is recorded of traces now, and nothing of it twice: the worker is about to end. How many requests' spans
    /// are not sent yet.
    pub fn flush_traces(&self) -> usize {
        let tables = self.shared.tables();
        let Some(tracer) = &tables.tracer else { return 0 };
        tracer.is_hurried.set(true);
        tracer.wake.notify_one();
        tracer.unsent()
    }

    /// Takes the keys that tickets of TLS sessions are made with, the newest first; tickets of other keys are void.
    pub fn use_ticket_keys(&self, keys: &[[u8; TICKET_KEY_BYTES]]) {
        self.shared.ticket_keys.replace(keys);
    }

    /// Takes the secret that all workers of the gateway share for HTTP/3: of connections' ids, resets and tokens. To be called
    /// before a socket for HTTP/3 is given.
    pub fn use_http3_secret(&self, secret: Vec<u8>) {
        self.shared.http3_secret.replace(secret);
    }

    /// Accepts connections from a listening socket. Must be called within the runtime's local set.
    pub fn listen(&self, socket: OwnedFd, name: &str) -> io::Result<()> {
        sockets::serve(socket, name, &self.shared)
    }

    /// Stops accepting at a listener's address, while the others go on. Its connections end after their current response. To
    /// be called before a configuration without it is in force.
    pub fn unlisten(&self, address: &str) {
        self.shared.close_listener(address);
    }

    /// Serves a connection in memory as if it had come through a listener, and gives its client's end. It counts towards no
    /// connection limit. Must be called within the runtime's local set.
    pub fn serve_virtual(&self, client: ClientInfo) -> VirtualEnd {
        let (ours, theirs) = virtual_pair();
        let stream = Stream::Virtual(Box::new(ours));
        let connection = Connection::open(stream, Rc::new(client), self.shared.clone(), Counted::Not);
        spawn_local(protocol::serve(connection));
        theirs
    }

    /// Starts the worker's own work (deadlines, pools, log). Must be called once, within the runtime's local set.
    pub fn start(&self) {
        spawn_local(sweep(self.shared.clone()));
        let buffers = Rc::clone(&self.shared.buffers);
        spawn_local(async move { buffers.turns.run().await });
    }

    /// Stops accepting; connections end after their current response, idle ones after a short grace period.
    pub fn drain(&self) {
        let shared = &self.shared;
        shared.is_draining.set(true);
        shared.stop.notify_waiters();
        shared
            .deadlines
            .hasten(Limit::ClientIdle, shared.clock.tick() / 1000 + DRAIN_IDLE_MS);
        shared
            .deadlines
            .hasten(Limit::UdpIdle, shared.clock.now_ms() + DRAIN_IDLE_MS);
        // what is behind a tunnel sees by this which of its connections still matter
        for upstream in &shared.tables().upstreams {
            upstream.servers.iter().for_each(|server| server.pool.clear());
        }
        shared.busy.notify_one();
    }

    /// Stops accepting and ends every connection now.
    pub fn close(&self) {
        self.drain();
        self.shared.is_closed.set(true);
        self.shared.deadlines.expire_all();
    }

    /// Closes every WebSocket whose messages hooks see, with 1001, as the worker is about to end. How many there are.
    pub fn close_websockets(&self) -> usize {
        self.shared.is_shutting_down.set(true);
        self.shared.shutting_down.notify_waiters();
        self.shared.websockets.get()
    }

    /// Open client connections.
    pub fn connections(&self) -> usize {
        self.shared.connections.get()
    }

    /// Makes a request of the gateway's own; see [`FetchRequest`].
    pub fn fetch(&self, request: FetchRequest) -> LocalFuture<'static, Result<Fetched, FetchError>> {
        Box::pin(fetch::fetch(self.shared.clone(), request))
    }

    /// Runs a Redis command.
    pub fn redis(
        &self,
        to: &Rc<Redis>,
        command: redis::Command,
        is_repeatable: bool,
    ) -> LocalFuture<'static, Result<Value, RedisFailure>> {
        to.clone().run(self.shared.clone(), command, is_repeatable)
    }

    /// Runs a Redis script.
    pub fn redis_eval(
        &self,
        to: &Rc<Redis>,
        script: Rc<Script>,
        keys: Vec<Vec<u8>>,
        arguments: Vec<Vec<u8>>,
    ) -> LocalFuture<'static, Result<Value, RedisFailure>> {
        to.clone().eval(self.shared.clone(), script, keys, arguments)
    }

    /// Whether the configuration in force has an upstream of that name.
    pub fn has_upstream(&self, name: &str) -> bool {
        self.shared.tables().upstream_index(name).is_some()
    }

    /// The most that is read of a fetched response's body at once.
    pub fn max_fetch_body_bytes(&self) -> usize {
        self.shared.tables().limits.max_fetch_body_bytes
    }

    /// Writes what the access log has buffered.
    pub fn flush_logs(&self) {
        self.shared.former_logs.flush();
        if let Some(log) = &self.shared.tables().access_log {
            log.flush();
        }
    }

    /// Opens the access log's file anew, after it was moved.
    pub fn reopen_logs(&self) -> io::Result<()> {
        let former = self.shared.former_logs.reopen();
        let tables = self.shared.tables();
        let log = tables.access_log.as_ref();
        log.map_or(Ok(()), |log| log.reopen()).and(former)
    }

    /// Sends the line of each request into this socket (a sequence of packets), from now on until its reader goes.
    pub fn follow_log(&self, socket: OwnedFd) {
        self.shared.log_followers.add(socket);
    }

    /// Puts the clock of all deadlines forward, for tests, and ends the waits that are over.
    pub fn advance(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX / 4);
        self.shared.clock.advance(us);
        self.shared.deadlines.sweep(self.shared.clock.tick() / 1000);
    }

    /// For tests: an origin (`https://host`) that is fetched from is served by this socket (`unix:/path`), and no other
    /// one is reached any more.
    ///
    /// # Errors
    /// The socket is not a valid address.
    pub fn replace_origin(&self, origin: &str, socket: &str) -> Result<(), String> {
        self.shared.origins.replace_origin(origin, socket)
    }

    /// Counts a hook that raised, took too long or returned an invalid value, whatever that does to its request.
    pub fn count_hook_failure(&self) {
        self.shared.metrics.count(Counter::HookFailures);
    }

    /// Counts a time that Python code has held the loop for too long.
    pub fn count_loop_stall(&self) {
        self.shared.metrics.count(Counter::LoopStalls);
    }

    /// Counts something that happens outside the engine; false if there is no counter of that name.
    pub fn count(&self, name: &str) -> bool {
        let Some(cell) = (0..)
            .zip(NAMES)
            .find(|(_, known)| **known == name)
            .map(|(cell, _)| cell)
        else {
            return false;
        };
        self.shared.metrics.count_cell(cell);
        true
    }

    /// The counters, summed over all workers of the zone.
    pub fn stats(&self) -> Vec<(&'static str, u64)> {
        (0..)
            .zip(NAMES)
            .map(|(cell, name)| (*name, self.shared.metrics.sum(cell)))
            .collect()
    }
}

/// Makes a configuration of a draft at once.
fn assemble(
    draft: Draft,
    hooks: Rc<dyn Hooks>,
    old: Option<&Configuration>,
) -> Result<Configuration, SnapshotError> {
    let mut assembly = Assembly::new(draft, old.map_or(&[], |old| &old.upstreams));
    while !assembly.advance()? {}
    Configuration::finish(assembly, hooks, old)
}

/// Builds the tables of a snapshot and throws them away.
///
/// # Errors
/// The snapshot is not usable.
pub fn check(snapshot: &str) -> Result<(), SnapshotError> {
    let mut snapshot = parse(snapshot.as_bytes())?;
    // looked at but not opened: a check leaves no file behind
    if let Some(log) = snapshot.access_log.take() {
        parse_log(&log)?;
    }
    for listener in &mut snapshot.listeners {
        if let Some(local) = listener.tls.as_mut().and_then(|tls| tls.local.as_mut()) {
            local.leaves_no_file = true;
        }
    }
    let draft = Drafter::new(Arc::default(), None).of(snapshot)?;
    assemble(draft, Rc::new(NoHooks), None).map(drop)
}
