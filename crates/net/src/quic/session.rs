//! The TLS of connections that clients begin, of which little is kept behind the handshake.
//!
//! # How it works
//! TLS has nothing to say once a handshake is complete: QUIC updates its keys by itself (RFC 9001 section 6), and tickets
//! are sent with the server's last message. A session of rustls keeps its buffers and the keys of records that QUIC does not
//! have all the same, six kilobytes in all. So it is let go of then, and what remains are the secrets that later keys are
//! made of, and what was agreed on.

use std::any::Any;
use std::io::Cursor;
use std::sync::Arc;

use quinn_proto::crypto::rustls::QuicServerConfig;
use quinn_proto::crypto::{
    self, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, ServerConfig as _,
    UnsupportedVersion,
};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectionId, Side, TransportError, TransportErrorCode};
use rustls::pki_types::CertificateDer;
use rustls::quic::{KeyChange, PacketKeySet, Secrets, ServerConnection, Version};
use rustls::{AlertDescription, HandshakeKind};

/// What was agreed on with a client.
#[derive(Debug, Clone, Default)]
pub struct Agreed {
    /// The name that the client asked for.
    pub server_name: Option<String>,
    /// The cipher suite, by its name in RFC 8446.
    pub cipher: &'static str,
    /// Whether a session was taken up again.
    pub is_resumed: bool,
    /// The client's certificate and those that it came with; empty if it has shown none.
    pub certificates: Vec<CertificateDer<'static>>,
}

impl Agreed {
    fn of(tls: &ServerConnection) -> Self {
        let certificates = tls.peer_certificates().unwrap_or_default();
        Self {
            server_name: tls.server_name().map(str::to_owned),
            cipher: tls
                .negotiated_cipher_suite()
                .and_then(|suite| suite.suite().as_str())
                .unwrap_or_default(),
            is_resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
            certificates: certificates.iter().map(|one| one.clone().into_owned()).collect(),
        }
    }
}

/// How connections are accepted; for [`quinn_proto::ServerConfig::new`].
pub struct ServerCrypto {
    tls: Arc<rustls::ServerConfig>,
    /// What goes before a session.
    packets: Arc<QuicServerConfig>,
}

impl ServerCrypto {
    /// Of TLS settings. `None`: they have no TLS 1.3 with the cipher suite that QUIC begins with.
    pub fn new(tls: Arc<rustls::ServerConfig>) -> Option<Self> {
        Some(Self {
            packets: Arc::new(QuicServerConfig::try_from(tls.clone()).ok()?),
            tls,
        })
    }
}

impl crypto::ServerConfig for ServerCrypto {
    fn initial_keys(&self, version: u32, id: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        self.packets.initial_keys(version, id)
    }

    fn retry_tag(&self, version: u32, id: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.packets.retry_tag(version, id, packet)
    }

    fn start_session(
        self: Arc<Self>,
        version: u32,
        parameters: &TransportParameters,
    ) -> Box<dyn crypto::Session> {
        let mut bytes = Vec::new();
        parameters.write(&mut bytes);
        let tls = ServerConnection::new(self.tls.clone(), version_of(version), bytes);
        Box::new(Session {
            config: self,
            version,
            // settings that are not fit for QUIC have no session, and every handshake fails
            tls: tls.ok().map(Box::new),
            agreed: None,
            is_told: false,
            secrets: None,
        })
    }
}

/// Of those that an endpoint of the crate knows.
fn version_of(version: u32) -> Version {
    match version {
        0xff00_001d..=0xff00_0020 => Version::V1Draft,
        _ => Version::V1,
    }
}

/// See the module.
struct Session {
    config: Arc<ServerCrypto>,
    version: u32,
    /// While the handshake is under way.
    tls: Option<Box<ServerConnection>>,
    /// From its end on.
    agreed: Option<Agreed>,
    /// That the client's first message was read.
    is_told: bool,
    /// What the next keys are made of.
    secrets: Option<Secrets>,
}

impl crypto::Session for Session {
    fn initial_keys(&self, id: &ConnectionId, _: Side) -> Keys {
        match self.config.packets.initial_keys(self.version, id) {
            Ok(keys) => keys,
            Err(_) => unreachable!("a connection of a version that none is accepted of"),
        }
    }

    /// An [`Agreed`].
    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        let agreed = match &self.tls {
            Some(tls) => self.is_told.then(|| Agreed::of(tls)),
            None => self.agreed.clone(),
        };
        agreed.map(|agreed| Box::new(agreed) as _)
    }

    /// Part of the [`Agreed`].
    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        None
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        let keys = self.tls.as_ref()?.zero_rtt_keys()?;
        Some((Box::new(keys.header), Box::new(keys.packet)))
    }

    fn early_data_accepted(&self) -> Option<bool> {
        None
    }

    fn is_handshaking(&self) -> bool {
        self.agreed.is_none() && self.tls.as_ref().is_none_or(|tls| tls.is_handshaking())
    }

    fn read_handshake(&mut self, bytes: &[u8]) -> Result<bool, TransportError> {
        let Some(tls) = &mut self.tls else {
            return Err(failed(
                Some(AlertDescription::UnexpectedMessage),
                "a TLS message behind the handshake",
            ));
        };
        if let Err(error) = tls.read_hs(bytes) {
            return Err(failed(tls.alert(), &error.to_string()));
        }
        if self.is_told {
            return Ok(false);
        }
        self.is_told = tls.alpn_protocol().is_some() || tls.server_name().is_some() || !tls.is_handshaking();
        Ok(self.is_told)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        // asked for with the client's first message alone
        let Some(bytes) = self.tls.as_ref().and_then(|tls| tls.quic_transport_parameters()) else {
            return Ok(None);
        };
        let parameters = TransportParameters::read(Side::Server, &mut Cursor::new(bytes))?;
        Ok(Some(parameters))
    }

    fn write_handshake(&mut self, bytes: &mut Vec<u8>) -> Option<Keys> {
        let tls = self.tls.as_mut()?;
        let before = bytes.len();
        let Some(change) = tls.write_hs(bytes) else {
            if bytes.len() == before && !tls.is_handshaking() {
                self.agreed = Some(Agreed::of(tls));
                self.tls = None;
            }
            return None;
        };
        let keys = match change {
            KeyChange::Handshake { keys } => keys,
            KeyChange::OneRtt { keys, next } => {
                self.secrets = Some(next);
                keys
            }
        };
        Some(Keys {
            header: KeyPair {
                local: Box::new(keys.local.header),
                remote: Box::new(keys.remote.header),
            },
            packet: pair(PacketKeySet {
                local: keys.local.packet,
                remote: keys.remote.packet,
            }),
        })
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.secrets
            .as_mut()
            .map(|secrets| pair(secrets.next_packet_keys()))
    }

    fn is_valid_retry(&self, _: &ConnectionId, _: &[u8], _: &[u8]) -> bool {
        // servers send them
        false
    }

    fn export_keying_material(
        &self,
        _: &mut [u8],
        _: &[u8],
        _: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        // nobody asks for it
        Err(ExportKeyingMaterialError)
    }
}

fn pair(keys: PacketKeySet) -> KeyPair<Box<dyn PacketKey>> {
    KeyPair {
        local: Box::new(keys.local),
        remote: Box::new(keys.remote),
    }
}

/// As RFC 9001 section 4.8 has it.
fn failed(alert: Option<AlertDescription>, why: &str) -> TransportError {
    TransportError {
        code: alert.map_or(TransportErrorCode::PROTOCOL_VIOLATION, |alert| {
            TransportErrorCode::crypto(alert.into())
        }),
        frame: None,
        reason: why.to_owned(),
    }
}
