//! The response's head as it goes to the client: status line, fields, framing written anew.

use headgate_wire::{Head, ResponseFraming, ResponseHead, Version};

use super::request_head::{field, known_field};

/// Appends the status line.
pub(crate) fn write_status(status: u16, reason: &[u8], out: &mut Vec<u8>) {
    if status == 200 && reason == b"OK" {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

/// Appends the fields that say how long the message and the connection last, and the empty line.
pub(crate) fn write_end(framing: ResponseFraming, client: Version, out: &mut Vec<u8>) {
    if framing.is_chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    } else if let Some(length) = framing.length {
        known_field(
            out,
            b"Content-Length: ",
            itoa::Buffer::new().format(length).as_bytes(),
        );
    }
    if framing.closes {
        field(out, b"Connection", &[b"close"]);
    } else if client == Version::Http10 {
        field(out, b"Connection", &[b"keep-alive"]);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the protocols that a 426 names; its client may ask for them here, and the request goes on.
pub(crate) fn write_required_upgrades(response: &ResponseHead, client: Version, out: &mut Vec<u8>) {
    let mut names_any = false;
    for protocol in response.required_upgrades().filter(|_| client == Version::Http11) {
        field(out, b"Upgrade", &[protocol]);
        names_any = true;
    }
    if names_any {
        field(out, b"Connection", &[b"upgrade"]);
    }
}

/// Appends a server's interim (1xx) response, as it is (RFC 9110 section 15.2).
pub(crate) fn write_interim(response: &ResponseHead, out: &mut Vec<u8>) {
    write_status(response.status, response.reason(), out);
    response.head.write_fields(out);
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of a 101 response, a server's or the gateway's own, with the protocol it switches to.
pub(crate) fn write_switching_protocols(reason: &[u8], head: &Head, protocol: &[u8], out: &mut Vec<u8>) {
    write_status(101, reason, out);
    head.write_fields(out);
    field(out, b"Connection", &[b"upgrade"]);
    field(out, b"Upgrade", &[protocol]);
    out.extend_from_slice(b"\r\n");
}
