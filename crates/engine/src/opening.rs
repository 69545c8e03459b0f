//! What happens on a connection before its first byte of HTTP: a PROXY header, `connect` hooks.
//!
//! # How it works
//! Only connections of listeners that ask for it come here ([`Settings::is_plain`]); all others are served at once. The
//! stages run in one task, which ends by starting the one that serves the connection: so what the stages held is gone.

use std::net::SocketAddr;
use std::rc::Rc;

use headgate_wire::{parse_proxy, Parsed, ProxyAddresses, ProxyHeader, ProxyVersions};
use tokio::task::spawn_local;

use crate::admission::Admission;
use crate::connection::{log_refusal, Connection, Refusal};
use crate::connection_state::{ConnectionState, Opened};
use crate::deadline::Watched;
use crate::exchange_state::ClientInfo;
use crate::hooks::{Step, Verdict};
use crate::limits::Limit;
use crate::listener_settings::Settings;
use crate::metrics::Counter;
use crate::peer::{Broken, Peer, BUFFER_BYTES};
use crate::stream::Stream;
use crate::tables::Tables;
use crate::worker::Shared;

/// A connection between its acceptance and its service.
pub(crate) struct Opening {
    pub(crate) peer: Peer,
    pub(crate) watch: Watched,
    pub(crate) client: ClientInfo,
    pub(crate) settings: Rc<Settings>,
    pub(crate) tables: Rc<Tables>,
    pub(crate) shared: Rc<Shared>,
    pub(crate) admission: Admission,
}

impl Opening {
    pub(crate) fn new(
        stream: Stream,
        client: ClientInfo,
        settings: Rc<Settings>,
        tables: Rc<Tables>,
        shared: Rc<Shared>,
        admission: Admission,
    ) -> Self {
        let watch = shared.deadlines.watch(&shared.clock);
        shared.busy.notify_one();
        Self {
            peer: Peer::new(stream, shared.buffers.clone()),
            watch,
            client,
            settings,
            tables,
            shared,
            admission,
        }
    }

    /// Runs the stages, then the service.
    pub(crate) async fn run(mut self) {
        let began_us = self.shared.clock.tick();
        match self.prepare().await {
            Ok(state) => self.serve(state),
            Err(refusal) => self.refuse(&refusal, began_us),
        }
    }

    async fn prepare(&mut self) -> Result<Rc<Opened>, Refusal> {
        let mut header = None;
        let peer = self.client.address.clone();
        if let Some(versions) = self.settings.proxy_protocol {
            header = Some(self.read_proxy_header(versions).await?);
        }
        if let Some(proxy) = &header {
            self.believe(proxy)?;
        }
        let state = Opened::new(ConnectionState {
            address: self.client.address.clone(),
            port: self.client.port,
            peer,
            destination: self.client.destination,
            listener: self.client.listener.clone(),
            protocol: self.settings.protocol.name(),
            proxy: header,
            hello: None.into(),
            chosen: None.into(),
            refusal: None.into(),
            idle_ms: None.into(),
            lifetime_ms: None.into(),
            max_requests: None.into(),
            tables: self.tables.clone(),
            attachment: None.into(),
        });
        run_hooks(&self.shared, &state, &self.settings.hooks.connect).await?;
        Ok(state)
    }

    /// Reads the header that must come first; nothing behind it is consumed.
    async fn read_proxy_header(&mut self, versions: ProxyVersions) -> Result<ProxyHeader, Refusal> {
        if !self.settings.trusted.contains_text(&self.client.address) {
            return Err(Refusal::new("untrusted_proxy", Counter::ProxyHeadersRefused));
        }
        let most = self.tables.limits.max_proxy_header_bytes;
        self.watch
            .arm(Limit::ProxyHeader, self.tables.timeouts.proxy_header);
        loop {
            match parse_proxy(self.peer.unread(), versions, most) {
                Ok(Parsed::Complete { head, len }) => {
                    self.peer.consume(len);
                    return Ok(head);
                }
                Ok(Parsed::Partial) => {}
                Err(error) => return Err(Refusal::new(error.reason(), Counter::ProxyHeadersRefused)),
            }
            self.peer
                .fill(&self.watch, BUFFER_BYTES)
                .await
                .map_err(|broken| Refusal::broken(&broken))?;
        }
    }

    /// Takes the header's addresses for the connection's.
    fn believe(&mut self, header: &ProxyHeader) -> Result<(), Refusal> {
        self.shared.metrics.count(Counter::ProxyHeaders);
        match &header.addresses {
            ProxyAddresses::Ip { source, destination } => {
                self.client.address = source.ip().to_canonical().to_string();
                self.client.port = source.port();
                self.client.destination = Some(canonical(*destination));
            }
            ProxyAddresses::Unix { .. } => {
                "unix:".clone_into(&mut self.client.address);
                self.client.port = 0;
                self.client.destination = None;
            }
            ProxyAddresses::Unknown => return Ok(()),
        }
        self.admission
            .count_client(&self.tables.limits, &self.client.address)
            .map_err(|full| Refusal::full(&full))
    }

    fn serve(self, state: Rc<Opened>) {
        let mut client = self.client;
        client.opening = Some(state);
        spawn_local(Connection::resume(self.peer, Rc::new(client), self.shared, self.admission).run());
    }

    fn refuse(&self, refusal: &Refusal, began_us: u64) {
        self.shared.metrics.count(refusal.counter);
        self.shared.metrics.count(Counter::ConnectionsRefused);
        log_refusal(&self.tables, &self.shared, &self.client, refusal, began_us);
    }
}

/// Runs hooks of a connection in order until one refuses it or fails.
pub(crate) async fn run_hooks(
    shared: &Shared,
    state: &Rc<ConnectionState>,
    hooks: &[usize],
) -> Result<(), Refusal> {
    for hook in hooks {
        shared.begin_request(&*state.tables.hooks);
        let verdict = match state.tables.hooks.connection(*hook, state) {
            Step::Ready(verdict) => verdict,
            Step::Waiting(future) => future.await,
        };
        if matches!(verdict, Verdict::Failed) {
            shared.metrics.count(Counter::HookFailures);
            return Err(Refusal::new("hook_failed", Counter::HookFailures));
        }
        if state.refusal.borrow().is_some() {
            return Err(Refusal::new("refused_by_hook", Counter::RefusedByHook));
        }
    }
    Ok(())
}

impl Refusal {
    /// The client's bytes did not come, or not in time.
    pub(crate) fn broken(broken: &Broken) -> Self {
        match broken {
            Broken::Limit(limit) => Self {
                error: "client_too_slow",
                limit: limit.name(),
                counter: limit.counter(),
            },
            Broken::Closed | Broken::Io(_) => Self::new("client_left", Counter::ClientLeft),
        }
    }
}

/// An IPv4 address in IPv6 form as IPv4.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
