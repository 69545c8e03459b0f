//! What a listener does with its connections, as configured.

use std::rc::Rc;

use headgate_wire::ProxyVersions;

use crate::snapshot::{self, HookLists, ListenerProtocol, Phase};
use crate::tables::networks::Networks;
use headgate_net::tls::ListenerTls;

/// The settings of one listener.
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) protocol: ListenerProtocol,
    pub(crate) proxy_protocol: Option<ProxyVersions>,
    pub(crate) trusted: Rc<Networks>,
    pub(crate) tls_passthrough: bool,
    pub(crate) upstream: Option<usize>,
    pub(crate) max_connections: usize,
    pub(crate) max_connections_per_client: usize,
    pub(crate) idle_ms: u64,
    pub(crate) lifetime_ms: u64,
    pub(crate) http3: bool,
    pub(crate) http3_port: Option<u16>,
    pub(crate) http3_early_data: bool,
    pub(crate) tls: Option<Rc<ListenerTls>>,
    pub(crate) hooks: HookLists,
}

impl Settings {
    pub(crate) fn build(
        spec: snapshot::Listener,
        tls: Option<ListenerTls>,
        of_gateway: &Rc<Networks>,
        upstreams: usize,
    ) -> Result<Self, String> {
        if spec.upstream.is_some_and(|index| index >= upstreams) {
            return Err("it names an upstream that does not exist".to_owned());
        }
        let trusted = match &spec.trusted_proxies {
            Some(texts) => Rc::new(Networks::parse(texts)?),
            None => of_gateway.clone(),
        };
        let proxy_protocol = match spec.proxy_protocol.as_deref() {
            None => None,
            Some("v1") => Some(ProxyVersions::V1),
            Some("v2") => Some(ProxyVersions::V2),
            Some("any") => Some(ProxyVersions::Any),
            Some(other) => {
                return Err(format!(
                    "`{other}` is not a valid version of the PROXY protocol\nhint: write `v1`, `v2` or `any`"
                ))
            }
        };
        Ok(Self {
            tls: tls.map(Rc::new),
            name: spec.name,
            protocol: spec.protocol,
            proxy_protocol,
            trusted,
            tls_passthrough: spec.tls_passthrough,
            upstream: spec.upstream,
            max_connections: spec.max_connections,
            max_connections_per_client: spec.max_connections_per_client,
            idle_ms: spec.idle,
            lifetime_ms: spec.lifetime,
            http3: spec.http3,
            http3_port: spec.http3_port,
            http3_early_data: spec.http3_early_data,
            hooks: spec.hooks,
        })
    }

    /// The value of `Alt-Svc` (RFC 7838) that names its HTTP/3, bound at that port. `None`: it is not spoken.
    pub(crate) fn alt_svc(&self, port: u16, max_age: u64) -> Option<Rc<str>> {
        let port = self.http3_port.unwrap_or(port);
        let is_told = self.http3 && max_age > 0;
        is_told.then(|| format!("h3=\":{port}\"; ma={max_age}").into())
    }

    /// Whether its connections need nothing before they are served.
    pub(crate) fn is_plain(&self) -> bool {
        self.protocol == ListenerProtocol::Http && self.tls.is_none() && !self.has_state()
    }

    /// Whether there is more to know of a connection than its client's address.
    pub(crate) fn has_state(&self) -> bool {
        self.protocol != ListenerProtocol::Http
            || self.proxy_protocol.is_some()
            || self.looks_at_hello()
            || !self.hooks[Phase::Connect].is_empty()
    }

    /// Whether the first TLS message decides something before the handshake goes on.
    pub(crate) fn looks_at_hello(&self) -> bool {
        self.tls_passthrough || (self.tls.is_some() && !self.hooks[Phase::ClientHello].is_empty())
    }
}
