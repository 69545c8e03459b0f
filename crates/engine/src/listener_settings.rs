//! What a listener does with its connections, as the configuration says.

use std::rc::Rc;

use headgate_wire::ProxyVersions;

use crate::networks::Networks;
use crate::snapshot::{self, ConnectionHooks, ListenerProtocol};

/// The settings of one listener.
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) protocol: ListenerProtocol,
    pub(crate) proxy_protocol: Option<ProxyVersions>,
    pub(crate) trusted: Rc<Networks>,
    pub(crate) hooks: ConnectionHooks,
}

impl Settings {
    pub(crate) fn build(spec: snapshot::Listener, of_gateway: &Rc<Networks>) -> Result<Self, String> {
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
                    "`{other}` is no version of the PROXY protocol\nhint: write `v1`, `v2` or `any`"
                ))
            }
        };
        Ok(Self {
            name: spec.name,
            protocol: spec.protocol,
            proxy_protocol,
            trusted,
            hooks: spec.hooks,
        })
    }

    /// Whether its connections need nothing before they are served.
    pub(crate) fn is_plain(&self) -> bool {
        self.protocol == ListenerProtocol::Http
            && self.proxy_protocol.is_none()
            && self.hooks.connect.is_empty()
    }
}
