//! What a `client_hello` hook chooses for a connection: its certificate, and what is asked of the client.

use std::sync::Arc;

use rustls::CipherSuite;

use super::certificate::OwnCertificate;
use super::listener::ListenerTls;
use super::names::{covers, Keys};

/// The certificate of one connection, for any server name.
#[derive(Debug, Clone)]
pub struct ChosenCertificate {
    pub(crate) keys: Keys,
    /// The names it is for, where it is none of the listener's.
    names: Arc<[String]>,
}

impl ChosenCertificate {
    /// One of the listener's own for that name, each type of key that there is.
    pub fn configured(listener: &ListenerTls, name: &str) -> Option<Self> {
        Some(Self {
            keys: listener.find(&name.to_ascii_lowercase())?,
            names: Arc::new([]),
        })
    }

    /// Whether it is for that host too, in lower case.
    pub fn is_for(&self, listener: &ListenerTls, host: &str) -> bool {
        self.names.iter().any(|name| covers(name, host)) || listener.cover(&self.keys, host)
    }
}

impl From<&OwnCertificate> for ChosenCertificate {
    fn from(certificate: &OwnCertificate) -> Self {
        Self {
            keys: vec![Arc::clone(&certificate.key)],
            names: certificate.names.clone().into(),
        }
    }
}

/// The name of a cipher suite; its number in hex if it has none here.
pub fn cipher_name(suite: u16) -> String {
    let known = CipherSuite::from(suite);
    known
        .as_str()
        .map_or_else(|| format!("0x{suite:04x}"), str::to_owned)
}
