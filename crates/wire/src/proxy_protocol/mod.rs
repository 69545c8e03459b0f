//! The PROXY protocol, versions 1 and 2: who the client is, said by the proxy before the first byte of the connection.
//!
//! Source: the specification that comes with HAProxy, `doc/proxy-protocol.txt` (revision of 2020/03/05), sections 2.1
//! (version 1, text), 2.2 (version 2, binary; type-length-values). How it works: [`parse_proxy`] looks at the first bytes,
//! refuses at the first byte that cannot belong to a header, and never reads past it. [`write_v1`] and [`write_v2`] make
//! what it reads.

mod crc32c;
mod tlv;
mod v1;
mod v2;

use std::net::SocketAddr;

use thiserror::Error;

pub use tlv::{ProxySsl, ProxyTlvs};
pub use v1::write_v1;
pub use v2::write_v2;

use crate::Parsed;

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

/// Reads a header from the beginning of a connection; `max_bytes` bounds one of version 2 as a whole.
///
/// # Errors
/// The bytes can no longer become a header that is accepted.
pub fn parse_proxy(
    bytes: &[u8],
    versions: ProxyVersions,
    max_bytes: usize,
) -> Result<Parsed<ProxyHeader>, ProxyError> {
    let Some(first) = bytes.first() else {
        return Ok(Parsed::Partial);
    };
    match (first, versions) {
        (b'P', ProxyVersions::V1 | ProxyVersions::Any) => v1::parse(bytes),
        (b'\r', ProxyVersions::V2 | ProxyVersions::Any) => v2::parse(bytes, max_bytes),
        _ => Err(ProxyError::Missing),
    }
}
