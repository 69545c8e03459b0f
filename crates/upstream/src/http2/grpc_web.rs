//! gRPC-Web (grpc.io, "PROTOCOL-WEB.md") from a browser as gRPC to a server, and back.
//!
//! Browsers cannot read trailers, so the response's trailers come as the body's last message, marked in its first byte. The text form
//! is the same in base64, because old browsers cannot stream bytes; each piece of it may be padded by itself.

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use bytes::Bytes;
use http::{header, HeaderMap, HeaderValue};

use super::fields::write_lines;

/// The first byte of the message that holds the trailers.
const TRAILERS: u8 = 0x80;

/// How a call's bodies are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// As they are.
    Binary,
    /// In base64.
    Text,
}

/// Makes a browser's call one of gRPC; `None` (and nothing changed) if it is not a call of gRPC-Web.
pub fn translate_request(fields: &mut HeaderMap) -> Option<Form> {
    let kind = fields.get(header::CONTENT_TYPE)?.as_bytes();
    let rest = kind.strip_prefix(b"application/grpc-web")?;
    let (form, rest) = match rest.strip_prefix(b"-text") {
        Some(rest) => (Form::Text, rest),
        None => (Form::Binary, rest),
    };
    if !matches!(rest.first(), None | Some(b'+' | b';')) {
        return None;
    }
    let kind = [&b"application/grpc"[..], rest].concat();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_bytes(&kind).ok()?);
    fields.insert(header::TE, HeaderValue::from_static("trailers"));
    // they speak of the browser's body
    fields.remove(header::CONTENT_LENGTH);
    fields.remove(header::ACCEPT);
    fields.remove("x-grpc-web");
    Some(form)
}

/// Makes the response's head one of gRPC-Web.
pub fn translate_response(form: Form, fields: &mut HeaderMap) {
    let rest = fields
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.as_bytes().strip_prefix(b"application/grpc"));
    let Some(rest) = rest else { return };
    let begin: &[u8] = match form {
        Form::Binary => b"application/grpc-web",
        Form::Text => b"application/grpc-web-text",
    };
    if let Ok(kind) = HeaderValue::from_bytes(&[begin, rest].concat()) {
        fields.insert(header::CONTENT_TYPE, kind);
    }
    fields.remove(header::CONTENT_LENGTH);
}

/// A piece of the response's body.
pub fn encode(form: Form, data: Bytes) -> Bytes {
    match form {
        Form::Binary => data,
        Form::Text => STANDARD.encode(data).into(),
    }
}

/// The trailers as the body's last message.
pub fn encode_trailers(form: Form, trailers: &HeaderMap) -> Bytes {
    let mut lines = Vec::new();
    write_lines(trailers, &mut lines);
    let length = u32::try_from(lines.len()).unwrap_or(u32::MAX);
    let mut message = vec![TRAILERS];
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(&lines);
    encode(form, message.into())
}

/// The request's body on its way out of base64, which may be cut anywhere and padded between messages.
#[derive(Default)]
pub struct Base64Decoder {
    /// Digits of a group that is not whole.
    begun: Vec<u8>,
}

/// A body that is not base64.
#[derive(Debug, PartialEq, Eq)]
pub struct NotText;

impl Base64Decoder {
    /// Decodes on: every whole group.
    pub fn decode(&mut self, text: &[u8]) -> Result<Bytes, NotText> {
        let mut decoded = Vec::with_capacity(text.len());
        self.begun.extend_from_slice(text);
        let whole = self.begun.len() / 4 * 4;
        let mut groups = &self.begun[..whole];
        while !groups.is_empty() {
            // up to and with the next padded group
            let pad = groups.iter().position(|&byte| byte == b'=').unwrap_or(whole);
            let end = (pad / 4 * 4 + 4).min(groups.len());
            let (run, rest) = groups.split_at(end);
            STANDARD.decode_vec(run, &mut decoded).map_err(|_| NotText)?;
            groups = rest;
        }
        self.begun.drain(..whole);
        Ok(decoded.into())
    }

    /// The body may end here.
    #[inline]
    pub fn is_at_end(&self) -> bool {
        self.begun.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(kind: &'static str) -> HeaderMap {
        let mut fields = HeaderMap::new();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        fields
    }

    #[test]
    fn kinds_are_told_apart() {
        let form = |kind| translate_request(&mut fields(kind));
        assert_eq!(form("application/grpc-web"), Some(Form::Binary));
        assert_eq!(form("application/grpc-web+proto"), Some(Form::Binary));
        assert_eq!(form("application/grpc-web-text"), Some(Form::Text));
        assert_eq!(form("application/grpc-web-text+proto"), Some(Form::Text));
        assert_eq!(form("application/grpc"), None);
        assert_eq!(form("application/grpc-website"), None);
    }

    #[test]
    fn content_type_goes_there_and_back() {
        let mut asked = fields("application/grpc-web-text+proto");
        assert_eq!(translate_request(&mut asked), Some(Form::Text));
        assert_eq!(asked[header::CONTENT_TYPE], "application/grpc+proto");
        translate_response(Form::Text, &mut asked);
        assert_eq!(asked[header::CONTENT_TYPE], "application/grpc-web-text+proto");
    }

    #[test]
    fn text_may_be_cut_anywhere_and_padded_between() {
        let text = [STANDARD.encode(b"first"), STANDARD.encode(b"second!")].concat();
        for size in 1..text.len() {
            let mut decoder = Base64Decoder::default();
            let mut body = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                body.extend_from_slice(&decoder.decode(piece).expect("it is base64"));
            }
            assert_eq!(body, b"firstsecond!");
            assert!(decoder.is_at_end());
        }
        assert_eq!(Base64Decoder::default().decode(b"no base64 at all"), Err(NotText));
    }

    #[test]
    fn trailers_are_the_last_message() {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let message = encode_trailers(Form::Binary, &trailers);
        assert_eq!(&message[..], b"\x80\0\0\0\x10grpc-status: 0\r\n");
    }
}
