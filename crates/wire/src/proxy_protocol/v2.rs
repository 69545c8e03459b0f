//! Version 2: a binary header (section 2.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::header::{ProxyAddresses, ProxyError, ProxyHeader, ProxyTlvs};
use super::tlv;
use crate::Parsed;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family and transport, length.
const FIXED_BYTES: usize = 16;

const UNIX_PATH_BYTES: usize = 108;

pub(super) fn parse(bytes: &[u8], max_bytes: usize) -> Result<Parsed<ProxyHeader>, ProxyError> {
    let common = bytes.len().min(SIGNATURE.len());
    if bytes[..common] != SIGNATURE[..common] {
        return Err(ProxyError::Missing);
    }
    let is_local = match bytes.get(12) {
        Some(0x20) => true,
        Some(0x21) => false,
        Some(_) => return Err(ProxyError::Unsupported),
        None => return Ok(Parsed::Partial),
    };
    let Some(fixed) = bytes.first_chunk::<FIXED_BYTES>() else {
        return Ok(Parsed::Partial);
    };
    let len = FIXED_BYTES + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if len > max_bytes {
        return Err(ProxyError::TooLarge);
    }
    let Some(header) = bytes.get(..len) else {
        return Ok(Parsed::Partial);
    };
    let (addresses, tlvs) = if is_local {
        // whatever it holds is to be skipped, its family included
        (ProxyAddresses::Unknown, ProxyTlvs::default())
    } else {
        let (addresses, size) = parse_addresses(fixed[13], &header[FIXED_BYTES..])?;
        (addresses, tlv::parse(header, FIXED_BYTES + size)?)
    };
    Ok(Parsed::Complete {
        head: ProxyHeader {
            version: 2,
            is_local,
            addresses,
            tlvs,
        },
        len,
    })
}

/// The addresses and how many bytes they take.
fn parse_addresses(family: u8, bytes: &[u8]) -> Result<(ProxyAddresses, usize), ProxyError> {
    match family {
        0x00 => Ok((ProxyAddresses::Unknown, 0)),
        0x11 | 0x12 => {
            let block = bytes.first_chunk::<12>().ok_or(ProxyError::Short)?;
            let ip = |at: usize| {
                IpAddr::V4(Ipv4Addr::new(
                    block[at],
                    block[at + 1],
                    block[at + 2],
                    block[at + 3],
                ))
            };
            let port = |at: usize| u16::from_be_bytes([block[at], block[at + 1]]);
            Ok((
                ProxyAddresses::Ip {
                    source: SocketAddr::new(ip(0), port(8)),
                    destination: SocketAddr::new(ip(4), port(10)),
                },
                12,
            ))
        }
        0x21 | 0x22 => {
            let block = bytes.first_chunk::<36>().ok_or(ProxyError::Short)?;
            let ip = |at: usize| {
                let mut octets = [0; 16];
                octets.copy_from_slice(&block[at..at + 16]);
                IpAddr::V6(Ipv6Addr::from(octets))
            };
            let port = |at: usize| u16::from_be_bytes([block[at], block[at + 1]]);
            Ok((
                ProxyAddresses::Ip {
                    source: SocketAddr::new(ip(0), port(32)),
                    destination: SocketAddr::new(ip(16), port(34)),
                },
                36,
            ))
        }
        0x31 | 0x32 => {
            let block = bytes.get(..2 * UNIX_PATH_BYTES).ok_or(ProxyError::Short)?;
            let path = |half: &[u8]| {
                let end = half
                    .iter()
                    .rposition(|&byte| byte != 0)
                    .map_or(0, |last| last + 1);
                half[..end].to_vec()
            };
            let (source, destination) = block.split_at(UNIX_PATH_BYTES);
            Ok((
                ProxyAddresses::Unix {
                    source: path(source),
                    destination: path(destination),
                },
                block.len(),
            ))
        }
        _ => Err(ProxyError::Unsupported),
    }
}

/// Appends a header for a stream, or (`is_datagram`) a datagram; with addresses of two families IPv4 goes as IPv6.
/// Without addresses it is a `LOCAL` command, which has no values. `has_checksum` adds `CRC32c`.
///
/// False, and nothing is written: the values do not fit into 65,535 bytes.
pub fn write_v2(
    addresses: Option<(SocketAddr, SocketAddr)>,
    is_datagram: bool,
    tlvs: &ProxyTlvs,
    has_checksum: bool,
    out: &mut Vec<u8>,
) -> bool {
    let start = out.len();
    out.extend_from_slice(SIGNATURE);
    let Some((source, destination)) = addresses else {
        out.extend_from_slice(&[0x20, 0, 0, 0]);
        return true;
    };
    out.push(0x21);
    let transport = if is_datagram { 2 } else { 1 };
    let mut block = Vec::new();
    let family = match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            block.extend_from_slice(&source.octets());
            block.extend_from_slice(&destination.octets());
            0x10
        }
        (source, destination) => {
            block.extend_from_slice(&as_v6(source).octets());
            block.extend_from_slice(&as_v6(destination).octets());
            0x20
        }
    };
    block.extend_from_slice(&source.port().to_be_bytes());
    block.extend_from_slice(&destination.port().to_be_bytes());
    tlv::write(tlvs, &mut block);
    if has_checksum {
        tlv::write_value(tlv::CRC32C, &[0; 4], &mut block);
    }
    let Ok(length) = u16::try_from(block.len()) else {
        out.truncate(start);
        return false;
    };
    out.push(family | transport);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&block);
    if has_checksum {
        let at = out.len() - 4;
        let sum = tlv::sum(&out[start..], at - start);
        out[at..].copy_from_slice(&sum.to_be_bytes());
    }
    true
}

fn as_v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}
