//! The request's head as it goes to a server: the client's fields, what the gateway adds, framing written anew.

use headgate_wire::{Framing, RequestHead, Version};

use super::certificate_fields::{claim_certificate_fields, write_certificate_fields};
use crate::hooks::connection::{ClientInfo, Protocol};
use crate::snapshot::Forwarding;
use headgate_net::tls::ClientCertificate;
use headgate_upstream::HostRule;

/// What decides the head beside the request itself.
pub(crate) struct Outgoing<'a> {
    pub(crate) client: &'a ClientInfo,
    pub(crate) forwarding: &'a Forwarding,
    pub(crate) host: &'a HostRule,
    pub(crate) server_name: &'a str,
    /// Field name and value of the request's id.
    pub(crate) request_id: Option<(&'a str, &'a str)>,
    /// The target to send, if it is not the request's own.
    pub(crate) target: Option<&'a [u8]>,
    /// The body's length where a hook replaced it; else the request's framing holds.
    pub(crate) framing: Framing,
}

/// Takes out of the request what the gateway writes itself. Once per request, before the first attempt.
pub(crate) fn claim_fields(
    request: &mut RequestHead,
    forwarding: &Forwarding,
    request_id_header: Option<&str>,
    is_told: bool,
) {
    if forwarding.x_forwarded {
        request.head.remove(b"x-forwarded-proto");
        // a trusted proxy knows better than this gateway which host the client requested
        if !is_told {
            request.head.remove(b"x-forwarded-host");
        }
    }
    if let Some(name) = request_id_header {
        request.head.remove(name.as_bytes());
    }
    if !forwarding.client_certificate.is_empty() {
        claim_certificate_fields(request, &forwarding.client_certificate);
    }
}

/// Appends the whole head to `out`.
pub(crate) fn write(request: &RequestHead, outgoing: &Outgoing<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(request.method());
    out.push(b' ');
    out.extend_from_slice(outgoing.target.unwrap_or(request.target_to_send()));
    let host = match outgoing.host {
        HostRule::Preserve if !request.host().is_empty() => request.host(),
        HostRule::Preserve | HostRule::Server => outgoing.server_name.as_bytes(),
        HostRule::Literal(host) => host.as_bytes(),
    };
    known_field(out, b" HTTP/1.1\r\nHost: ", host);
    // `X-Forwarded-For`, `Forwarded` and `Via` are lists: the client's own members come first
    write_fields_except_lists(request, outgoing.forwarding, out);
    write_forwarding(request, outgoing, out);
    if !outgoing.forwarding.client_certificate.is_empty() {
        write_certificate_fields(
            client_certificate(outgoing.client),
            &outgoing.forwarding.client_certificate,
            out,
        );
    }
    if let Some((name, id)) = outgoing.request_id {
        field(out, name.as_bytes(), &[id.as_bytes()]);
    }
    match outgoing.framing {
        Framing::Length(length) => {
            known_field(
                out,
                b"Content-Length: ",
                itoa::Buffer::new().format(length).as_bytes(),
            );
        }
        Framing::Chunked => request.head.write_transfer_encoding(out),
        Framing::None | Framing::UntilClose => {}
    }
    if request.expect_continue && !matches!(outgoing.framing, Framing::None | Framing::Length(0)) {
        field(out, b"Expect", &[b"100-continue"]);
    }
    if let Some(protocol) = upgrade_to(request) {
        field(out, b"Connection", &[b"upgrade"]);
        field(out, b"Upgrade", &[protocol]);
    } else if request.te_trailers {
        field(out, b"Connection", &[b"TE"]);
        field(out, b"TE", &[b"trailers"]);
    }
    out.extend_from_slice(b"\r\n");
}

fn client_certificate(client: &ClientInfo) -> Option<&ClientCertificate> {
    client.tls.as_ref()?.client_certificate.as_ref()
}

/// The protocol that an upgrade request names, unless it is one that must not be passed on: `h2c` would open a way round
/// every rule of this gateway.
pub(crate) fn upgrade_to(request: &RequestHead) -> Option<&[u8]> {
    let protocol = request.upgrade.then(|| request.upgrade_protocol()).flatten()?;
    let names_h2c = protocol
        .split(|&byte| byte == b',')
        .any(|name| name.trim_ascii().eq_ignore_ascii_case(b"h2c"));
    (!names_h2c).then_some(protocol)
}

fn write_fields_except_lists(request: &RequestHead, forwarding: &Forwarding, out: &mut Vec<u8>) {
    let lists: [(bool, &[u8]); 3] = [
        (forwarding.x_forwarded, b"x-forwarded-for"),
        (forwarding.forwarded, b"forwarded"),
        (forwarding.via, b"via"),
    ];
    // each by itself: whether a name that is known when this is compiled is there is one comparison
    let has_list = (forwarding.x_forwarded && request.head.get(b"x-forwarded-for").is_some())
        || (forwarding.forwarded && request.head.get(b"forwarded").is_some())
        || (forwarding.via && request.head.get(b"via").is_some());
    if !has_list {
        return request.head.write_fields(out);
    }
    let is_list = |name: &[u8]| {
        let mut ours = lists.iter().filter(|(is_ours, _)| *is_ours);
        ours.any(|(_, list)| name.eq_ignore_ascii_case(list))
    };
    for (name, value) in request.head.iter().filter(|(name, _)| !is_list(name)) {
        field(out, name, &[value]);
    }
}

fn write_forwarding(request: &RequestHead, outgoing: &Outgoing<'_>, out: &mut Vec<u8>) {
    let client = outgoing.client;
    let hop = client.hop.as_ref().unwrap_or(&client.address);
    if outgoing.forwarding.x_forwarded {
        list_field(request, b"X-Forwarded-For", &[hop.as_bytes()], out);
        known_field(out, b"X-Forwarded-Proto: ", client.scheme.as_bytes());
        if !request.host().is_empty() && request.head.get(b"x-forwarded-host").is_none() {
            known_field(out, b"X-Forwarded-Host: ", request.host());
        }
    }
    if outgoing.forwarding.forwarded {
        // RFC 7239 section 6: an IPv6 address is bracketed and quoted; so is a host with a port
        let address = hop.as_bytes();
        let node: [&[u8]; 3] = if hop.starts_with("unix:") {
            [b"", b"unknown", b""]
        } else if address.contains(&b':') {
            [b"\"[", address, b"]\""]
        } else {
            [b"", address, b""]
        };
        let mut element: Vec<u8> = [
            b"for=".as_slice(),
            node[0],
            node[1],
            node[2],
            b";proto=",
            client.scheme.as_bytes(),
        ]
        .concat();
        if !request.host().is_empty() {
            element.extend_from_slice(&[b";host=\"", request.host(), b"\""].concat());
        }
        list_field(request, b"Forwarded", &[&element], out);
    }
    if outgoing.forwarding.via {
        let version: &[u8] = match (client.protocol, request.version) {
            (Protocol::Http3, _) => b"3.0 ",
            (Protocol::Http2, _) => b"2.0 ",
            (Protocol::Http1, Version::Http10) => b"1.0 ",
            (Protocol::Http1, Version::Http11) => b"1.1 ",
        };
        list_field(
            request,
            b"Via",
            &[version, outgoing.forwarding.name.as_bytes()],
            out,
        );
    }
}

fn list_field(request: &RequestHead, name: &[u8], last: &[&[u8]], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    for value in request.head.get_all(name) {
        out.extend_from_slice(value);
        out.extend_from_slice(b", ");
    }
    for part in last {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends one field line whose name, colon and space are known when this is compiled, so that they are stored at once.
#[inline]
pub(crate) fn known_field<const N: usize>(out: &mut Vec<u8>, start: &[u8; N], value: &[u8]) {
    out.extend_from_slice(start);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends one field line.
pub(crate) fn field(out: &mut Vec<u8>, name: &[u8], value: &[&[u8]]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    for part in value {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(b"\r\n");
}
