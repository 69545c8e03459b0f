//! What a PROXY header says, and why one is refused.

use std::net::SocketAddr;

use thiserror::Error;

/// The longest header of version 1, its CRLF included (section 2.1).
pub const PROXY_V1_MAX_BYTES: usize = 107;

/// Which versions are accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProxyVersions {
    /// Version 1 only.
    V1,
    /// Version 2 only.
    V2,
    /// Either.
    Any,
}

/// Whom the header speaks of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProxyAddresses {
    /// The proxy itself (`LOCAL`, a health check), or a connection it could not describe (`UNKNOWN`, `UNSPEC`): the
    /// addresses of the socket hold.
    Unknown,
    /// A connection over TCP or a datagram over UDP.
    Ip {
        /// The client.
        source: SocketAddr,
        /// Where the client connected to.
        destination: SocketAddr,
    },
    /// A connection over a Unix socket.
    Unix {
        /// The client's path, without padding; mostly empty.
        source: Vec<u8>,
        /// The path it connected to, without padding.
        destination: Vec<u8>,
    },
}

/// One header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProxyHeader {
    /// 1 or 2.
    pub version: u8,
    /// Whether it is a `LOCAL` command: the proxy speaks for itself.
    pub is_local: bool,
    /// Who speaks with whom.
    pub addresses: ProxyAddresses,
    /// What version 2 says beyond addresses; empty in version 1.
    pub tlvs: ProxyTlvs,
}

/// What a version 2 header says beyond addresses. Values are a peer's bytes: they may hold anything.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProxyTlvs {
    /// The application protocol that was negotiated, for instance `h2` (`PP2_TYPE_ALPN`).
    pub alpn: Option<Vec<u8>>,
    /// The host name the client asked for, mostly from SNI (`PP2_TYPE_AUTHORITY`).
    pub authority: Option<Vec<u8>>,
    /// An id of the connection, at most 128 bytes (`PP2_TYPE_UNIQUE_ID`).
    pub unique_id: Option<Vec<u8>>,
    /// The client's TLS connection (`PP2_TYPE_SSL`).
    pub ssl: Option<ProxySsl>,
    /// All others, with their types, in order; no-operations apart.
    pub other: Vec<(u8, Vec<u8>)>,
}

/// The client's TLS connection, as the proxy saw it (section 2.2.6).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProxySsl {
    /// The client connected over TLS.
    pub is_tls: bool,
    /// It gave a certificate on this connection.
    pub has_certificate_on_connection: bool,
    /// It gave a certificate in this session.
    pub has_certificate_in_session: bool,
    /// 0: the certificate was verified.
    pub verify: u32,
    /// Such as `TLSv1.3`.
    pub version: Option<Vec<u8>>,
    /// The common name of the certificate.
    pub common_name: Option<Vec<u8>>,
    /// The cipher's name.
    pub cipher: Option<Vec<u8>>,
    /// The algorithm that signed the certificate.
    pub signature_algorithm: Option<Vec<u8>>,
    /// The algorithm of its key.
    pub key_algorithm: Option<Vec<u8>>,
}

/// A header that is refused: the connection has no known meaning and is closed.
#[derive(Error, Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProxyError {
    /// The first bytes are of no header of an accepted version.
    #[error("the connection does not begin with a PROXY header of an accepted version")]
    Missing,
    /// A line of version 1 that is malformed.
    #[error("the PROXY line is malformed")]
    Line,
    /// The header is longer than the limit, or a line than 107 bytes.
    #[error("the PROXY header is longer than the limit; hint: limits.max_proxy_header_bytes")]
    TooLarge,
    /// A version, command, family or transport that version 2 does not know.
    #[error("the PROXY header has an unknown version, command or address family")]
    Unsupported,
    /// The length does not hold the addresses.
    #[error("the PROXY header is shorter than its addresses")]
    Short,
    /// A type-length-value that goes beyond the header, or whose value has a wrong size.
    #[error("the PROXY header has a malformed type-length-value")]
    Tlv,
    /// The checksum is there and wrong.
    #[error("the checksum of the PROXY header is wrong")]
    Checksum,
}

impl ProxyError {
    /// A short fixed word for logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "proxy_header_missing",
            Self::Line => "bad_proxy_line",
            Self::TooLarge => "proxy_header_too_large",
            Self::Unsupported => "proxy_header_unsupported",
            Self::Short => "proxy_header_short",
            Self::Tlv => "bad_proxy_tlv",
            Self::Checksum => "bad_proxy_checksum",
        }
    }
}
