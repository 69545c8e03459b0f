//! `host [":" port]`, as Host and the request-target carry it (RFC 3986 section 3.2, RFC 9110 section 7.2).

use std::net::Ipv6Addr;

use crate::grammar::is_host_byte;

/// A host with an optional port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Authority<'a> {
    /// The host as written; an IPv6 address keeps its brackets.
    pub host: &'a [u8],
    /// The port, if one is written.
    pub port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Reads an authority without user information; `None` if it is malformed or the host is empty.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let end = match bytes.first()? {
            b'[' => read_ip_literal(bytes)?,
            _ => read_name(bytes)?,
        };
        let (host, rest) = bytes.split_at(end);
        let port = read_port(rest).ok()?;
        Some(Self { host, port })
    }
}

/// The length of `[IPv6]`. Zones and future versions of addresses are not for the wire.
fn read_ip_literal(bytes: &[u8]) -> Option<usize> {
    let close = bytes.iter().position(|&byte| byte == b']')?;
    std::str::from_utf8(&bytes[1..close])
        .ok()?
        .parse::<Ipv6Addr>()
        .ok()?;
    Some(close + 1)
}

/// The length of a name or IPv4 address.
fn read_name(bytes: &[u8]) -> Option<usize> {
    let end = bytes
        .iter()
        .position(|&byte| !is_host_byte(byte))
        .unwrap_or(bytes.len());
    let escapes_are_whole = || {
        bytes[..end]
            .split(|&byte| byte == b'%')
            .skip(1)
            .all(|after| after.len() >= 2 && after[..2].iter().all(u8::is_ascii_hexdigit))
    };
    (end > 0 && (!bytes[..end].contains(&b'%') || escapes_are_whole())).then_some(end)
}

/// What follows the host. An empty port is none (RFC 3986 section 3.2.3).
fn read_port(rest: &[u8]) -> Result<Option<u16>, Malformed> {
    match rest {
        [] | [b':'] => Ok(None),
        [b':', digits @ ..] if digits.len() <= 5 => {
            let mut port = 0_u32;
            for &byte in digits {
                if !byte.is_ascii_digit() {
                    return Err(Malformed);
                }
                port = port * 10 + u32::from(byte - b'0');
            }
            u16::try_from(port).map(Some).map_err(|_| Malformed)
        }
        _ => Err(Malformed),
    }
}

struct Malformed;
