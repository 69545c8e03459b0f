//! What happens on a connection before its first byte of HTTP: a PROXY header, `connect` hooks, a look at its `ClientHello`.
//!
//! # How it works
//! Only connections of listeners that need it come here ([`Settings::is_plain`]); all others are served at once. The
//! stages run in one task, which ends by starting the one that serves the connection: so what the stages held is gone.

mod hello;

use std::rc::Rc;

use headgate_wire::{parse_proxy, Parsed, ProxyAddresses, ProxyHeader, ProxyVersions};
use tokio::task::spawn_local;

use crate::accept::protocol;
use crate::hooks::configuration::Configuration;
use crate::hooks::connection::ClientInfo;
use crate::hooks::connection::{ConnectionState, Preread};
use crate::snapshot::{ListenerProtocol, Phase};
use crate::state::admission::Admission;
use crate::state::connection::Connection;
use crate::state::connection_hooks::run_hooks;
use crate::state::refusal::{log_refusal, Refusal};
use crate::state::Shared;
use crate::streams::tcp;
use crate::tables::listener::Settings;
use crate::tables::networks::canonical;
use headgate_net::deadline::Watched;
use headgate_net::limits::Limit;
use headgate_net::peer::{Peer, BUFFER_BYTES};
use headgate_net::stream::Stream;
use headgate_net::tls::{self, HandshakeFailed, HandshakeOptions, Handshakes, ListenerTls, TlsInfo};
use headgate_shared::metrics::Counter;
use headgate_upstream::LimitCounter;

use hello::UNRECOGNIZED_NAME;

/// A connection between its acceptance and its service.
pub(crate) struct PendingConnection {
    pub(crate) peer: Peer,
    pub(crate) watch: Watched,
    pub(crate) client: ClientInfo,
    pub(crate) settings: Rc<Settings>,
    pub(crate) tables: Rc<Configuration>,
    pub(crate) shared: Rc<Shared>,
    pub(crate) admission: Admission,
    /// Counted as one, from the first byte of TLS that is ended here.
    handshake: Option<Handshakes>,
    /// The server name in TLS, for the log of a connection that is refused.
    server_name: String,
}

impl PendingConnection {
    pub(crate) fn new(
        stream: Stream,
        client: ClientInfo,
        settings: Rc<Settings>,
        tables: Rc<Configuration>,
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
            handshake: None,
            server_name: String::new(),
        }
    }

    /// Runs the stages, then the service.
    pub(crate) async fn run(mut self) {
        let began_us = self.shared.clock.tick();
        match self.prepare().await {
            Ok(state) => self.serve(state, began_us).await,
            Err(refusal) => {
                if self.handshake.is_some() {
                    self.shared.metrics.count(Counter::TlsHandshakesFailed);
                }
                self.refuse(&refusal, began_us);
            }
        }
    }

    async fn prepare(&mut self) -> Result<Option<Rc<Preread>>, Refusal> {
        if !self.settings.has_state() {
            return Ok(None);
        }
        let mut header = None;
        let peer = self.client.address.clone();
        if let Some(versions) = self.settings.proxy_protocol {
            header = Some(self.read_proxy_header(versions).await?);
        }
        if let Some(proxy) = &header {
            self.apply_proxy_header(proxy)?;
        }
        let state = Preread::new(ConnectionState {
            address: self.client.address.clone(),
            port: self.client.port,
            peer,
            destination: self.client.destination,
            listener: self.client.listener.clone(),
            protocol: self.settings.protocol.name(),
            proxy: header,
            tls: self.settings.tls.clone(),
            ..ConnectionState::under(&self.tables)
        });
        run_hooks(&self.shared, &state, &self.settings.hooks[Phase::Connect]).await?;
        if self.settings.looks_at_hello() {
            self.look_at_hello(&state).await?;
        }
        Ok(Some(state))
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
    fn apply_proxy_header(&mut self, header: &ProxyHeader) -> Result<(), Refusal> {
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

    async fn serve(mut self, state: Option<Rc<Preread>>, began_us: u64) {
        let is_stream = self.settings.protocol == ListenerProtocol::Tcp;
        if let Some(state) = &state {
            if is_stream || state.chosen.borrow().is_some() {
                let is_tls = state.hello.borrow().is_some();
                if is_tls && state.chosen.borrow().is_none() && self.settings.upstream.is_none() {
                    self.alert(UNRECOGNIZED_NAME);
                }
                self.handshake = None;
                let inbound = tcp::Inbound {
                    peer: self.peer,
                    watch: self.watch,
                    client: self.client,
                    settings: self.settings,
                    tables: self.tables,
                    shared: self.shared,
                    admission: self.admission,
                };
                return tcp::serve(inbound, Rc::clone(state), began_us).await;
            }
            // forwarded unread, decrypted here, or refused
            if state.hello.borrow().is_some() && self.settings.tls.is_none() {
                self.alert(UNRECOGNIZED_NAME);
                let refusal = Refusal::new("no_route", Counter::TcpUnrouted);
                return self.refuse(&refusal, began_us);
            }
        }
        if let Some(tls) = self.settings.tls.clone() {
            match Box::pin(self.tls_handshake(&tls, state.as_ref())).await {
                Ok(info) => {
                    self.client.scheme = "https";
                    self.client.tls = Some(Rc::new(info));
                }
                Err(refusal) => {
                    self.shared.metrics.count(Counter::TlsHandshakesFailed);
                    if let Some(refusal) = refusal {
                        self.refuse(&refusal, began_us);
                    }
                    return;
                }
            }
        }
        let mut client = self.client;
        client.preread = state;
        client.accepted.set(Some((began_us, self.shared.clock.tick())));
        let connection = Connection::resume(self.peer, Rc::new(client), self.shared, self.admission);
        spawn_local(protocol::serve(connection));
    }

    /// Does the TLS handshake. What no limit explains is the client's own matter and is not in the access log.
    async fn tls_handshake(
        &mut self,
        tls: &Rc<ListenerTls>,
        state: Option<&Rc<Preread>>,
    ) -> Result<TlsInfo, Option<Refusal>> {
        if self.handshake.is_none() {
            self.begin_handshake()?;
            self.watch
                .arm(Limit::TlsHandshake, self.tables.timeouts.tls_handshake);
        }
        let shared = &self.shared;
        let options = HandshakeOptions {
            listener: tls,
            watch: &self.watch,
            max_client_hello_bytes: self.tables.limits.max_client_hello_bytes,
            now_ms: shared.clock.now_ms(),
            seen_name: state.and_then(|state| state.hello.borrow().as_ref()?.server_name.clone()),
            chosen: state.and_then(|state| state.certificate.take()),
            mode: state.and_then(|state| state.client_certificates.get()),
        };
        match tls::accept(&mut self.peer, &options).await {
            Ok(info) => {
                shared.metrics.count(Counter::TlsHandshakes);
                if info.is_resumed {
                    shared.metrics.count(Counter::TlsResumed);
                }
                Ok(info)
            }
            Err(HandshakeFailed::Limit(limit)) => Err(Some(Refusal {
                error: "connection_refused",
                limit: limit.name(),
                counter: Some(limit.counter()),
            })),
            Err(HandshakeFailed::Refused(reason)) => {
                tracing::debug!(client = self.client.address, "TLS handshake failed: {reason}");
                Err(None)
            }
            Err(HandshakeFailed::Gone) => Err(None),
        }
    }

    fn refuse(&self, refusal: &Refusal, began_us: u64) {
        refusal.count(&self.shared.metrics);
        self.shared.metrics.count(Counter::ConnectionsRefused);
        let told = (refusal, self.server_name.as_str());
        log_refusal(&self.tables, &self.shared, &self.client, told, began_us);
    }
}
