//! UDP listeners: datagrams of one client address are a session, which has one server.
//!
//! # How it works
//! The kernel gives all datagrams of a client to the same worker (SO_REUSEPORT), which keeps a bounded table of sessions. A
//! session is a task with a socket of its own towards its server: datagrams reach it through a short queue, responses go
//! back over the listener's socket. It ends when neither side has sent anything within the timeout. What does not fit is dropped
//! and counted, as networks do.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc::{channel, Receiver, Sender};
use tokio::task::spawn_local;

use super::udp_waits::{ended, receive, silence};
use crate::access_log::Entry;
use crate::hooks::configuration::Configuration;
use crate::hooks::connection::{Chosen, ConnectionState, Preread};
use crate::hooks::{ChunkStep, ChunkVerdict};
use crate::snapshot::Phase;
use crate::state::admission::Admission;
use crate::state::connection_hooks::run_hooks;
use crate::state::Shared;
use crate::tables::listener::Settings;
use crate::tables::networks::canonical;
use headgate_net::limits::Limit;
use headgate_net::reason::in_words;
use headgate_route::Tried;
use headgate_shared::metrics::Counter;
use headgate_upstream::{FailedBy, Lease, ServerFailure, Upstream, Wanted};

/// The largest datagram (RFC 768).
const MAX_DATAGRAM_BYTES: usize = 65_535;

/// Datagrams of one client that wait for its session's task.
const QUEUED: usize = 64;

/// How long to wait when the system refuses to receive.
const PAUSE: Duration = Duration::from_millis(50);

/// A bound UDP socket.
pub(crate) struct UdpListener {
    socket: Rc<UdpSocket>,
    name: String,
    sessions: Rc<RefCell<HashMap<SocketAddr, Sender<Vec<u8>>>>>,
}

impl UdpListener {
    /// Takes over a socket that is bound.
    pub(crate) fn adopt(socket: OwnedFd, name: &str) -> io::Result<Self> {
        let socket = std::net::UdpSocket::from(socket);
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: Rc::new(UdpSocket::from_std(socket)?),
            name: name.to_owned(),
            sessions: Rc::default(),
        })
    }

    /// Receives until the worker drains.
    pub(crate) async fn run(self, shared: Rc<Shared>) {
        let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
        loop {
            let stop = shared.stop.notified();
            if shared.is_closed_listener(&self.name) {
                return;
            }
            tokio::select! {
                biased;
                received = self.socket.recv_from(&mut buffer) => match received {
                    Ok((size, client)) => self.deliver(&buffer[..size], client, &shared),
                    // a response that could not be delivered is reported to the next read
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                    Err(error) => {
                        tracing::error!(listener = self.name, %error, "cannot receive datagrams");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
                () = stop => {}
            }
        }
    }

    fn deliver(&self, datagram: &[u8], client: SocketAddr, shared: &Rc<Shared>) {
        shared.metrics.count(Counter::UdpDatagramsReceived);
        let known = self.sessions.borrow().get(&client).cloned();
        let queue = known.or_else(|| self.begin(client, shared));
        let is_queued = queue.is_some_and(|queue| queue.try_send(datagram.to_vec()).is_ok());
        if !is_queued {
            shared.metrics.count(Counter::UdpDropped);
        }
    }

    /// Starts a session, if there is room for one.
    fn begin(&self, client: SocketAddr, shared: &Rc<Shared>) -> Option<Sender<Vec<u8>>> {
        let tables = shared.tables();
        let settings = tables.listener(&self.name)?.clone();
        let address = client.ip().to_canonical().to_string();
        let refused = |counter: Counter| {
            shared.metrics.count(counter);
            shared.metrics.count(Counter::ConnectionsRefused);
        };
        let full = settings.max_connections > 0 && self.sessions.borrow().len() >= settings.max_connections;
        if full {
            refused(Counter::LimitConnections);
            return None;
        }
        let mut admission = match Admission::within(shared, &tables.limits, Some(&address)) {
            Ok(admission) => admission,
            Err(full) => {
                refused(full.counter);
                return None;
            }
        };
        let of_client = format!("\0{}\0{address}", settings.name);
        if !admission.count_within(of_client, settings.max_connections_per_client) {
            refused(Counter::LimitClientConnections);
            return None;
        }
        let (queue, datagrams) = channel(QUEUED);
        self.sessions.borrow_mut().insert(client, queue.clone());
        let session = Session {
            client,
            address,
            socket: self.socket.clone(),
            settings,
            tables,
            shared: shared.clone(),
            received: 0,
            sent: 0,
            server: String::new(),
            upstream: String::new(),
            _admission: admission,
        };
        let sessions = self.sessions.clone();
        spawn_local(async move {
            session.run(datagrams).await;
            sessions.borrow_mut().remove(&client);
        });
        Some(queue)
    }
}

/// One client's conversation with one server.
struct Session {
    client: SocketAddr,
    address: String,
    socket: Rc<UdpSocket>,
    settings: Rc<Settings>,
    tables: Rc<Configuration>,
    shared: Rc<Shared>,
    received: u64,
    sent: u64,
    server: String,
    upstream: String,
    _admission: Admission,
}

impl Session {
    async fn run(mut self, datagrams: Receiver<Vec<u8>>) {
        let shared = self.shared.clone();
        let began_us = shared.clock.tick();
        shared.metrics.count(Counter::UdpSessions);
        let error = self.exchange_datagrams(datagrams).await.err().unwrap_or_default();
        shared.metrics.add(Counter::UdpBytesReceived, self.received);
        shared.metrics.add(Counter::UdpBytesSent, self.sent);
        if let Some(records) = shared.access_records(&self.tables) {
            records.record(&Entry {
                time_unix_ms: shared.clock.unix_ms(began_us),
                client: &self.address,
                version: "UDP",
                request_bytes: self.received,
                response_bytes: self.sent,
                body_bytes: self.sent,
                route: &self.settings.name,
                upstream: &self.upstream,
                server: &self.server,
                total_us: shared.clock.tick().saturating_sub(began_us),
                error,
                ..Entry::default()
            });
        }
    }

    async fn exchange_datagrams(&mut self, mut datagrams: Receiver<Vec<u8>>) -> Result<(), &'static str> {
        let state = self.state();
        run_hooks(&self.shared, &state, &self.settings.hooks[Phase::Connect])
            .await
            .map_err(|refusal| {
                refusal.count(&self.shared.metrics);
                refusal.error
            })?;
        let upstream = self.upstream_of(&state)?;
        self.upstream.clone_from(&upstream.name);
        let (shared, address) = (self.shared.clone(), self.address.clone());
        let wanted = Wanted::of(upstream.key_of_source(&address));
        let index = upstream
            .pick(shared.clock.now_ms(), wanted, &Tried::new(), &shared.metrics)
            .ok_or("no_server")?;
        let server = &upstream.servers[index];
        self.server.clone_from(&server.name);
        let _lease = Lease::new(shared.metrics.clone(), &upstream, index);
        let chosen = ChosenServer {
            upstream: &upstream,
            index,
            shared: &shared,
            listener: &self.settings.name.clone(),
        };
        let towards = chosen.socket().await?;
        let idle_ms = state.idle_ms.get().unwrap_or(self.settings.idle_ms);
        let idle = shared.deadlines.watch(&shared.clock);
        shared.busy.notify_one();
        idle.bind(server.identity);
        idle.arm(Limit::UdpIdle, idle_ms);
        let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
        loop {
            tokio::select! {
                datagram = datagrams.recv() => {
                    // the sender is in the table as long as this session is
                    let Some(datagram) = datagram else { return Ok(()) };
                    self.received += datagram.len() as u64;
                    if let Some(datagram) = self.filtered(&state, true, datagram).await? {
                        let sent = towards.send(&datagram).await;
                        let _ = sent.as_ref().inspect_err(|error| chosen.log_reset(error));
                        self.count_drop(&sent);
                    }
                }
                response = receive(&towards, &mut buffer) => {
                    let size = response.map_err(|error| chosen.reset(&error))?;
                    upstream.succeeded(index, shared.clock.now_ms());
                    self.sent += size as u64;
                    if let Some(response) = self.filtered(&state, false, buffer[..size].to_vec()).await? {
                        shared.metrics.count(Counter::UdpDatagramsSent);
                        self.count_drop(&self.socket.send_to(&response, self.client).await);
                    }
                }
                () = silence(&idle) => return ended(&idle, &shared.metrics),
            }
            idle.arm(Limit::UdpIdle, idle_ms);
        }
    }

    fn count_drop(&self, sent: &io::Result<usize>) {
        if sent.is_err() {
            self.shared.metrics.count(Counter::UdpDropped);
        }
    }

    fn state(&self) -> Rc<Preread> {
        Preread::new(ConnectionState {
            address: self.address.clone(),
            port: self.client.port(),
            peer: self.address.clone(),
            destination: self.socket.local_addr().ok().map(canonical),
            listener: self.settings.name.clone(),
            protocol: self.settings.protocol.name(),
            ..ConnectionState::under(&self.tables)
        })
    }

    fn upstream_of(&self, state: &ConnectionState) -> Result<Rc<Upstream>, &'static str> {
        match &*state.chosen.borrow() {
            Some(Chosen::Upstream(index)) => Ok(self.tables.upstreams[*index].clone()),
            Some(Chosen::Address(address)) => self
                .shared
                .origins
                .at_address(address, self.shared.clock.now_ms())
                .map_err(|_| "bad_server_address"),
            None => {
                let index = self.settings.upstream.ok_or("no_route")?;
                Ok(self.tables.upstreams[index].clone())
            }
        }
    }

    /// What hooks make of a datagram; `None`: nothing is sent.
    async fn filtered(
        &self,
        state: &Rc<ConnectionState>,
        is_clients: bool,
        mut datagram: Vec<u8>,
    ) -> Result<Option<Vec<u8>>, &'static str> {
        let hooks = &self.settings.hooks;
        let hooks = if is_clients {
            &hooks[Phase::ClientData]
        } else {
            &hooks[Phase::ServerData]
        };
        for hook in hooks {
            self.shared.begin_request(&*self.tables.hooks);
            let filtered = match self.tables.hooks.chunk(*hook, state, &datagram) {
                ChunkStep::Ready(filtered) => filtered,
                ChunkStep::Pending(future) => future.await,
            };
            match filtered {
                ChunkVerdict::Pass => {}
                ChunkVerdict::Replace(other) if other.is_empty() => return Ok(None),
                ChunkVerdict::Replace(other) => datagram = other,
                ChunkVerdict::Failed => {
                    return Err("hook_failed");
                }
            }
            if state.refusal.borrow().is_some() {
                self.shared.metrics.count(Counter::RefusedByHook);
                return Err("closed_by_hook");
            }
        }
        Ok(Some(datagram))
    }
}

/// The server of a session.
struct ChosenServer<'a> {
    upstream: &'a Upstream,
    index: usize,
    shared: &'a Shared,
    listener: &'a str,
}

impl ChosenServer<'_> {
    /// A socket towards it.
    async fn socket(&self) -> Result<UdpSocket, &'static str> {
        let opened = self
            .shared
            .dialer()
            .datagram_socket(self.upstream, self.index)
            .await;
        opened.map_err(|dial| {
            let message = dial.message();
            self.log(&dial.to_log(&message, Some(self.listener)));
            self.failed();
            "connect_failed"
        })
    }

    /// It takes no more datagrams.
    fn reset(&self, error: &io::Error) -> &'static str {
        self.log_reset(error);
        self.failed();
        "reset"
    }

    fn log_reset(&self, error: &io::Error) {
        self.log(&ServerFailure {
            kind: "reset",
            message: "the server takes no datagrams",
            detail: Some(&in_words(error)),
            limit: None,
            route: Some(self.listener),
            request_id: None,
        });
    }

    fn log(&self, failure: &ServerFailure<'_>) {
        self.upstream
            .log_failure(self.index, failure, self.shared.clock.now_us());
    }

    fn failed(&self) {
        let (shared, now_ms) = (self.shared, self.shared.clock.now_ms());
        shared.metrics.count(Counter::UpstreamFailures);
        self.upstream
            .failed(self.index, now_ms, FailedBy::Reset, &shared.metrics);
    }
}
