//! The UDP side of a listener with HTTP/3.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use headgate_net::quic::Endpoint;
use tokio::task::spawn_local;

use super::early;
use super::handshake;
use super::request::max_section_bytes;
use super::socket::WorkerSocket;
use super::transport::{endpoint_config, server_config, Secrets};
use crate::hooks::connection::Preread;
use crate::snapshot::Http3;
use crate::state::Shared;
use crate::tables::listener::Settings;
use crate::tables::Tables;

/// What stands before a listener's address in the name of its socket for HTTP/3.
pub(crate) const HTTP3_PREFIX: &str = "http3:";

/// A bound UDP socket that HTTP/3 is spoken on.
pub(crate) struct Http3Listener {
    endpoint: Endpoint,
    socket: Rc<WorkerSocket>,
    accepting: Rc<Accepting>,
}

/// What new connections need.
pub(super) struct Accepting {
    pub(super) shared: Rc<Shared>,
    /// The name of the socket.
    pub(super) name: Rc<str>,
    pub(super) port: u16,
    secrets: Secrets,
    /// The configuration of the last connection without early data, and of the last with it.
    last: RefCell<[Option<Made>; 2]>,
}

/// A configuration, and what it was made of.
struct Made {
    tls: Arc<rustls::ServerConfig>,
    http3: Http3,
    section_bytes: usize,
    config: Arc<quinn_proto::ServerConfig>,
}

impl Http3Listener {
    /// Takes over a socket that is bound.
    pub(crate) fn adopt(socket: OwnedFd, name: &str, shared: Rc<Shared>) -> io::Result<Self> {
        let secrets = Secrets::new(&shared.http3_secret.borrow());
        let socket = Rc::new(WorkerSocket::adopt(UdpSocket::from(socket), secrets.ids.clone())?);
        let accepting = Accepting {
            shared,
            name: name.into(),
            port: socket.address()?.port(),
            secrets,
            last: RefCell::default(),
        };
        // which connections are accepted with settings of their own
        let first = accepting.any_config().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "HTTP/3 needs a listener with TLS 1.3",
            )
        })?;
        let endpoint = Endpoint::new(
            endpoint_config(&accepting.secrets, socket.endpoint),
            Some(first),
            Rc::clone(&socket) as _,
        );
        Ok(Self {
            endpoint,
            socket,
            accepting: Rc::new(accepting),
        })
    }

    /// Accepts until the worker drains; what was accepted is served to its end.
    pub(crate) async fn run(self) {
        let shared = self.accepting.shared.clone();
        loop {
            let stop = shared.stop.notified();
            if shared.is_closed_listener(&self.accepting.name) {
                break;
            }
            tokio::select! {
                biased;
                () = stop => {}
                incoming = poll_fn(|context| self.endpoint.poll_accept(context)) => {
                    let Some(incoming) = incoming else { return };
                    spawn_local(handshake::serve(self.accepting.clone(), incoming));
                }
            }
        }
        self.socket.drain();
        loop {
            tokio::select! {
                // with the last connection the socket goes, whose address may be wanted again
                () = poll_fn(|context| self.endpoint.poll_idle(context)) => return,
                incoming = poll_fn(|context| self.endpoint.poll_accept(context)) => match incoming {
                    // who has proved an address for this endpoint
                    Some(incoming) if !incoming.may_retry() => {
                        spawn_local(handshake::serve(self.accepting.clone(), incoming));
                    }
                    // who finds nobody that accepts in its place
                    Some(incoming) => incoming.refuse(),
                    None => return,
                },
            }
        }
    }
}

impl Accepting {
    /// What the listener does with its connections. `None`: it is gone.
    pub(super) fn settings(&self, tables: &Tables) -> Option<Rc<Settings>> {
        let address = self.name.strip_prefix(HTTP3_PREFIX).unwrap_or(&self.name);
        tables
            .listener(address)
            .filter(|settings| settings.http3)
            .cloned()
    }

    fn any_config(&self) -> Option<quinn_proto::ServerConfig> {
        let tables = self.shared.tables();
        let settings = self.settings(&tables)?;
        let config = self.server_config(&tables, &settings, None)?;
        Some(quinn_proto::ServerConfig::clone(&config))
    }

    /// What a connection is accepted with: the certificates that are in force now, or those that a hook chose.
    pub(super) fn server_config(
        &self,
        tables: &Tables,
        settings: &Settings,
        state: Option<&Rc<Preread>>,
    ) -> Option<Arc<quinn_proto::ServerConfig>> {
        let tls = settings.tls.as_ref()?;
        let mode = state.and_then(|state| state.client_certificates.get());
        let chosen = state.and_then(|state| state.certificate.borrow().clone());
        let tls = tls.quic_config(self.shared.clock.now_ms(), mode, chosen.as_ref())?;
        let is_early = early::is_offered(settings, state);
        let section_bytes = max_section_bytes(&self.shared);
        let last = &mut self.last.borrow_mut()[usize::from(is_early)];
        let kept = last.as_ref().filter(|made| {
            Arc::ptr_eq(&made.tls, &tls) && made.http3 == tables.http3 && made.section_bytes == section_bytes
        });
        if let Some(made) = kept {
            return Some(Arc::clone(&made.config));
        }
        let for_quic = if is_early {
            early::config(&tls)
        } else {
            Arc::clone(&tls)
        };
        let config = Arc::new(server_config(for_quic, &self.secrets, &tables.http3)?);
        *last = Some(Made {
            tls,
            http3: tables.http3.clone(),
            section_bytes,
            config: Arc::clone(&config),
        });
        Some(config)
    }
}
