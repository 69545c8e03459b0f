//! A server's response that came over HTTP/2 as the text of an HTTP/1.1 head. What the strict parser then makes of it is the
//! same as for any server.

use std::io;

use http::response::Parts;
use http::{header, HeaderMap, Response, StatusCode};

use super::fields::{is_of_connection, number, write_lines};
use super::grpc_web::{self, Form};
use super::http1_bytes::BodyFraming;
use super::websocket_key::accept;

/// Appends an interim head.
pub fn write_interim(response: &Response<()>, out: &mut Vec<u8>) {
    write_status(response.status(), out);
    write_fields(response.headers(), out);
    out.extend_from_slice(b"\r\n");
}

/// Appends the head, and says how the body follows it. `is_ended`: the stream ended with its fields; `is_head`: the request was
/// HEAD.
pub fn write_head(
    mut parts: Parts,
    is_ended: bool,
    is_head: bool,
    web: Option<Form>,
    out: &mut Vec<u8>,
) -> io::Result<BodyFraming> {
    if let Some(form) = web {
        grpc_web::translate_response(form, &mut parts.headers);
    }
    write_status(parts.status, out);
    write_fields(&parts.headers, out);
    let length = length(&parts.headers)?;
    let has_no_body = is_head || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    // a call of gRPC ends with trailers, which only chunks can carry
    let has_trailers = is_grpc(&parts.headers);
    let framing = match length {
        _ if is_ended || has_no_body => {
            let told = if has_no_body { length } else { Some(0) };
            if let Some(length) = told {
                line(out, "Content-Length", itoa::Buffer::new().format(length));
            }
            BodyFraming::None
        }
        Some(length) if !has_trailers => {
            line(out, "Content-Length", itoa::Buffer::new().format(length));
            BodyFraming::Length
        }
        _ => {
            line(out, "Transfer-Encoding", "chunked");
            BodyFraming::Chunked
        }
    };
    // the stream serves no other request
    out.extend_from_slice(b"Connection: close\r\n\r\n");
    Ok(framing)
}

/// Appends the head that begins a WebSocket, as the 101 it would be in HTTP/1; `key` is the client's.
pub fn write_switching(mut parts: Parts, key: &[u8], out: &mut Vec<u8>) {
    parts.headers.remove(header::SEC_WEBSOCKET_ACCEPT);
    write_status(StatusCode::SWITCHING_PROTOCOLS, out);
    write_fields(&parts.headers, out);
    line(out, "Sec-WebSocket-Accept", &accept(key));
    out.extend_from_slice(b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n");
}

fn is_grpc(fields: &HeaderMap) -> bool {
    fields
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

fn length(fields: &HeaderMap) -> io::Result<Option<u64>> {
    let mut lengths = fields.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else {
        return Ok(None);
    };
    match (number(first.as_bytes()), lengths.next()) {
        (Some(length), None) => Ok(Some(length)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn write_status(status: StatusCode, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or("").as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn write_fields(fields: &HeaderMap, out: &mut Vec<u8>) {
    let mut kept = fields.clone();
    kept.remove(header::CONTENT_LENGTH);
    kept.remove(header::TE);
    let dropped: Vec<_> = kept
        .keys()
        .filter(|name| is_of_connection(name))
        .cloned()
        .collect();
    for name in dropped {
        kept.remove(name);
    }
    write_lines(&kept, out);
}

fn line(out: &mut Vec<u8>, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}
