//! Who the client is, as the proxies before this gateway say: X-Forwarded-For, Forwarded (RFC 7239), X-Real-IP.
//!
//! # How it works
//! Only peers of `trusted_proxies` are believed, and each of them only for the hop before it: from the right end of the
//! list, addresses are passed over as long as they are trusted themselves; the first that is not is the client. What an
//! untrusted peer sends is removed from the request first.

use std::net::IpAddr;
use std::rc::Rc;

use headgate_wire::Head;

use crate::hooks::connection::ClientInfo;
use crate::tables::client_fields::{is_of_proxies, FIELDS};
use crate::tables::networks::Networks;

/// The client of a request that came over a connection of `client`.
pub(crate) fn client_of(head: &mut Head, client: &Rc<ClientInfo>, trusted: &Networks) -> Rc<ClientInfo> {
    if !trusted.contains_text(&client.address) {
        if head.iter().any(|(name, _)| is_of_proxies(name)) {
            head.retain(|name, _| !is_of_proxies(name));
        }
        return client.clone();
    }
    let told = forwarded_address(head, trusted);
    let scheme = forwarded_scheme(head).unwrap_or(client.scheme);
    let tells_host = head.get(b"x-forwarded-host").is_some();
    if told.is_none() && scheme == client.scheme && !tells_host {
        return client.clone();
    }
    let mut seen = ClientInfo::clone(client);
    seen.scheme = scheme;
    seen.tells_host = tells_host;
    if let Some(told) = told {
        seen.hop = Some(std::mem::replace(&mut seen.address, told.to_string()));
        // the port of that connection is unknown
        seen.port = 0;
    }
    Rc::new(seen)
}

/// The scheme that the client spoke: `X-Forwarded-Proto`, else the last `proto` of `Forwarded`.
fn forwarded_scheme(head: &Head) -> Option<&'static str> {
    let told = match last_member(head, b"x-forwarded-proto") {
        Some(scheme) => scheme,
        None => parameter(last_member(head, b"forwarded")?, b"proto=")?,
    };
    [("https", b"https".as_slice()), ("http", b"http")]
        .into_iter()
        .find_map(|(name, text)| told.eq_ignore_ascii_case(text).then_some(name))
}

/// The members of a list field from the right, but for empty ones, which mean nothing (RFC 9110 section 5.6.1.2).
fn members_from_the_right<'a>(head: &'a Head, field: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    let values: Vec<&[u8]> = head.get_all(field).collect();
    values
        .into_iter()
        .rev()
        .flat_map(|value| value.rsplit(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

fn last_member<'a>(head: &'a Head, field: &[u8]) -> Option<&'a [u8]> {
    head.get(field)?;
    members_from_the_right(head, field).next()
}

/// The right-most address that is not trusted; the left-most if all are. `None`: nothing that could be read.
fn forwarded_address(head: &Head, trusted: &Networks) -> Option<IpAddr> {
    let field: &[u8] = FIELDS[..3]
        .iter()
        .find(|name| last_member(head, name).is_some())?;
    let is_rfc7239 = field == b"forwarded";
    let mut found = None;
    for member in members_from_the_right(head, field) {
        let address = if is_rfc7239 {
            parameter(member, b"for=").and_then(parse_node)
        } else {
            parse_node(member)
        };
        // `unknown` or malformed: nothing to its left can be trusted
        let Some(address) = address else { break };
        found = Some(address);
        if !trusted.contains(address) {
            break;
        }
    }
    found
}

/// The value of a parameter in one element of `Forwarded`; `name` with its `=`.
fn parameter<'a>(element: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    element.split(|&byte| byte == b';').find_map(|pair| {
        let (given, value) = pair.trim_ascii().split_at_checked(name.len())?;
        if !given.eq_ignore_ascii_case(name) {
            return None;
        }
        match value {
            [b'"', quoted @ .., b'"'] => Some(quoted),
            plain => Some(plain),
        }
    })
}

/// An address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn parse_node(node: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(node).ok()?;
    let is_port = |port: &str| {
        port.is_empty()
            || port
                .strip_prefix(':')
                .is_some_and(|port| port.parse::<u16>().is_ok())
    };
    let address = if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        if !is_port(port) {
            return None;
        }
        address.parse().ok()?
    } else if let Ok(address) = text.parse() {
        address
    } else {
        let (address, port) = text.split_once(':')?;
        port.parse::<u16>().ok()?;
        IpAddr::V4(address.parse().ok()?)
    };
    Some(IpAddr::to_canonical(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(fields: &[(&str, &str)]) -> (String, Option<String>, Head) {
        let trusted = Networks::parse(&["10.0.0.0/8".to_owned(), "fd00::/8".to_owned()]).expect("good");
        let mut head = Head::empty();
        for (name, value) in fields {
            head.add(name.as_bytes(), value.as_bytes()).expect("good");
        }
        let peer = Rc::new(ClientInfo {
            address: "10.0.0.1".to_owned(),
            ..ClientInfo::default()
        });
        let seen = client_of(&mut head, &peer, &trusted);
        (seen.address.clone(), seen.hop.clone(), head)
    }

    #[test]
    fn right_most_untrusted_hop_is_the_client() {
        for (value, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("1.1.1.1, 192.0.2.1, 10.2.3.4", "192.0.2.1"),
            ("10.9.9.9, 10.2.3.4", "10.9.9.9"),
            ("1.1.1.1, nonsense, 10.2.3.4", "10.2.3.4"),
            ("192.0.2.1:4711", "192.0.2.1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("nonsense", "10.0.0.1"),
            ("192.0.2.1, , 10.2.3.4", "192.0.2.1"),
            ("192.0.2.1,,", "192.0.2.1"),
            (" , ", "10.0.0.1"),
            ("", "10.0.0.1"),
        ] {
            assert_eq!(client(&[("x-forwarded-for", value)]).0, expected, "{value}");
        }
        let lines = [
            ("x-forwarded-for", "1.1.1.1"),
            ("X-Forwarded-For", "192.0.2.9, 10.1.1.1"),
        ];
        assert_eq!(client(&lines).0, "192.0.2.9");
    }

    #[test]
    fn forwarded_is_read_as_well() {
        for (value, expected) in [
            ("for=192.0.2.1;proto=https", "192.0.2.1"),
            ("for=1.1.1.1, proto=https;For=\"[2001:db8::1]:80\"", "2001:db8::1"),
            ("for=1.1.1.1, for=unknown", "10.0.0.1"),
            ("for=1.1.1.1, for=_hidden, for=10.3.3.3", "10.3.3.3"),
        ] {
            assert_eq!(client(&[("forwarded", value)]).0, expected, "{value}");
        }
    }

    #[test]
    fn each_field_is_believed_for_itself() {
        let seen = |fields: &[(&str, &str)]| {
            let trusted = Networks::parse(&["10.0.0.0/8".to_owned()]).expect("good");
            let mut head = Head::empty();
            for (name, value) in fields {
                head.add(name.as_bytes(), value.as_bytes()).expect("good");
            }
            let peer = Rc::new(ClientInfo {
                address: "10.0.0.1".to_owned(),
                ..ClientInfo::default()
            });
            let seen = client_of(&mut head, &peer, &trusted);
            (seen.scheme, seen.tells_host, seen.hop.is_some())
        };
        assert_eq!(seen(&[("x-forwarded-proto", "https")]), ("https", false, false));
        assert_eq!(seen(&[("x-forwarded-host", "a.test")]), ("http", true, false));
        assert_eq!(seen(&[("forwarded", "proto=https")]), ("https", false, false));
        assert_eq!(seen(&[("x-forwarded-for", "192.0.2.1")]), ("http", false, true));
        // an empty field says nothing, so another one may
        let fields = [("x-forwarded-for", ""), ("x-real-ip", "192.0.2.1")];
        assert_eq!(seen(&fields), ("http", false, true));
    }

    #[test]
    fn hop_is_remembered_where_it_is_not_the_client() {
        assert_eq!(
            client(&[("x-real-ip", "192.0.2.1")]).1.as_deref(),
            Some("10.0.0.1")
        );
        assert_eq!(client(&[]).1, None);
    }

    #[test]
    fn what_an_untrusted_peer_says_is_dropped() {
        let mut head = Head::empty();
        head.add(b"X-Forwarded-For", b"1.1.1.1").expect("good");
        head.add(b"forwarded", b"for=1.1.1.1").expect("good");
        head.add(b"x-other", b"kept").expect("good");
        let peer = Rc::new(ClientInfo {
            address: "192.0.2.1".to_owned(),
            ..ClientInfo::default()
        });
        let seen = client_of(&mut head, &peer, &Networks::default());
        assert_eq!(seen.address, "192.0.2.1");
        assert_eq!(head.iter().count(), 1);
    }
}
