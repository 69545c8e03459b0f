//! Version 1: one line of text (section 2.1).

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::header::{ProxyAddresses, ProxyError, ProxyHeader, ProxyTlvs, PROXY_V1_MAX_BYTES};
use crate::Parsed;

const BEGIN: &[u8] = b"PROXY ";

pub(super) fn parse(bytes: &[u8]) -> Result<Parsed<ProxyHeader>, ProxyError> {
    let common = bytes.len().min(BEGIN.len());
    if bytes[..common] != BEGIN[..common] {
        return Err(ProxyError::Missing);
    }
    let seen = &bytes[..bytes.len().min(PROXY_V1_MAX_BYTES)];
    let Some(end) = memchr::memchr2(b'\r', b'\n', seen) else {
        return match seen.len() {
            PROXY_V1_MAX_BYTES => Err(ProxyError::TooLarge),
            _ => Ok(Parsed::Partial),
        };
    };
    if seen[end] == b'\n' {
        // a line feed alone ends no line here
        return Err(ProxyError::Line);
    }
    match seen.get(end + 1) {
        Some(b'\n') => {}
        Some(_) => return Err(ProxyError::Line),
        None if seen.len() == PROXY_V1_MAX_BYTES => return Err(ProxyError::TooLarge),
        None => return Ok(Parsed::Partial),
    }
    let addresses = parse_line(&seen[BEGIN.len()..end]).ok_or(ProxyError::Line)?;
    Ok(Parsed::Complete {
        head: ProxyHeader {
            version: 1,
            is_local: false,
            addresses,
            tlvs: ProxyTlvs::default(),
        },
        len: end + 2,
    })
}

fn parse_line(line: &[u8]) -> Option<ProxyAddresses> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        // the rest of the line must be ignored, whatever it is
        return Some(ProxyAddresses::Unknown);
    }
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => Ipv4Addr::from_str(text).ok().map(IpAddr::V4),
            "TCP6" => Ipv6Addr::from_str(text).ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let source = address(words.next()?)?;
    let destination = address(words.next()?)?;
    let source = SocketAddr::new(source, parse_port(words.next()?)?);
    let destination = SocketAddr::new(destination, parse_port(words.next()?)?);
    words
        .next()
        .is_none()
        .then_some(ProxyAddresses::Ip { source, destination })
}

/// Decimal digits without a leading zero, at most 65535.
fn parse_port(text: &str) -> Option<u16> {
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    is_plain.then(|| text.parse().ok()).flatten()
}

/// Appends a header; without addresses, or with two of different families, it says `UNKNOWN`.
pub fn write_v1(addresses: Option<(SocketAddr, SocketAddr)>, out: &mut Vec<u8>) {
    let line = addresses.and_then(|(source, destination)| {
        let family = match (source, destination) {
            (SocketAddr::V4(_), SocketAddr::V4(_)) => "TCP4",
            (SocketAddr::V6(_), SocketAddr::V6(_)) => "TCP6",
            _ => return None,
        };
        let mut line = String::with_capacity(PROXY_V1_MAX_BYTES);
        write!(
            line,
            "PROXY {family} {} {} {} {}\r\n",
            source.ip(),
            destination.ip(),
            source.port(),
            destination.port()
        )
        .ok()?;
        Some(line)
    });
    out.extend_from_slice(line.as_deref().unwrap_or("PROXY UNKNOWN\r\n").as_bytes());
}
