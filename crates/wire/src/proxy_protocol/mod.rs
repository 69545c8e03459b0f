//! The PROXY protocol, versions 1 and 2: who the client is, said by the proxy before the first byte of the connection.
//!
//! Source: the specification that comes with HAProxy, `doc/proxy-protocol.txt` (revision of 2020/03/05), sections 2.1
//! (version 1, text), 2.2 (version 2, binary; type-length-values). How it works: [`parse_proxy`] looks at the first bytes,
//! refuses at the first byte that cannot belong to a header, and never reads past it. [`write_v1`] and [`write_v2`] make
//! what it reads.

mod crc32c;
mod header;
mod tlv;
mod v1;
mod v2;

pub use header::{
    ProxyAddresses, ProxyError, ProxyHeader, ProxySsl, ProxyTlvs, ProxyVersions, PROXY_V1_MAX_BYTES,
};
pub use v1::write_v1;
pub use v2::write_v2;

use crate::Parsed;

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
