//! The head of a response, written as HTTP/1 text, as HTTP/2 and HTTP/3 send it.

use std::io;

use headgate_upstream::http2::fields::{to_map, OWN_HEADS};
use headgate_wire::{is_token, parse_response, Framing, Head, Parsed, ResponseHead};
use http::{header, HeaderMap};

/// Takes the text of heads, interim ones too, in whatever pieces it comes.
pub(super) struct ResponseHeadReader {
    /// What of the head is here.
    text: Vec<u8>,
    is_head: bool,
    is_connect: bool,
}

/// A head that is complete, its fields as the version has them.
pub(super) struct FieldHead<T> {
    pub(super) status: u16,
    pub(super) fields: T,
    /// How its body is written.
    pub(super) framing: Framing,
}

impl<T> FieldHead<T> {
    /// Another head follows (RFC 9110 section 15.2).
    pub(super) fn is_interim(&self) -> bool {
        self.status < 200
    }
}

/// The fields that are to be said.
pub(super) struct Said<'a> {
    pub(super) status: u16,
    head: &'a Head,
    /// What their Content-Length is.
    length: Option<u64>,
    /// They begin a tunnel, and what proved an upgrade is of HTTP/1 only.
    is_tunnel: bool,
}

/// As the crate `http` has them. `None` for one that cannot be carried.
pub(super) fn map_of(said: &Said<'_>) -> Option<HeaderMap> {
    let mut fields = to_map(said.head, said.length)?;
    if said.is_tunnel {
        fields.remove(header::SEC_WEBSOCKET_ACCEPT);
    }
    Some(fields)
}

impl Said<'_> {
    /// Tells each, its name in lower case. `None` for one that cannot be carried.
    pub(super) fn each(&self, mut field: impl FnMut(&[u8], &[u8])) -> Option<()> {
        let mut lower = Vec::with_capacity(32);
        for (name, value) in self.head.iter() {
            lower.clear();
            lower.extend(name.iter().map(u8::to_ascii_lowercase));
            if !is_token(name) || !value.iter().all(|byte| is_of_value(*byte)) {
                return None;
            }
            let is_replaced = match &*lower {
                b"content-length" => self.length.is_some(),
                b"sec-websocket-accept" => self.is_tunnel,
                _ => false,
            };
            if !is_replaced {
                field(&lower, value);
            }
        }
        if let Some(length) = self.length {
            field(b"content-length", itoa::Buffer::new().format(length).as_bytes());
        }
        Some(())
    }
}

/// RFC 9110 section 5.5: no control characters but tabs.
fn is_of_value(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

impl ResponseHeadReader {
    /// For the response to a HEAD, or to a CONNECT that asked for a tunnel (RFC 8441, RFC 9220), or to neither.
    pub(super) fn new(is_head: bool, is_connect: bool) -> Self {
        Self {
            text: Vec::new(),
            is_head,
            is_connect,
        }
    }

    /// Takes a part of the text: how much, and the head that it completes, whose fields `say` puts into the version's form.
    ///
    /// # Errors
    /// The text is malformed, or cannot be said in the other versions.
    pub(super) fn take<T>(
        &mut self,
        bytes: &[u8],
        say: impl FnOnce(&Said<'_>) -> Option<T>,
    ) -> io::Result<(usize, Option<FieldHead<T>>)> {
        // nearly always the whole head comes at once and needs no copy
        let before = self.text.len();
        let parsed = if before == 0 {
            parse_response(bytes, OWN_HEADS, self.is_head)
        } else {
            self.text.extend_from_slice(bytes);
            parse_response(&self.text, OWN_HEADS, self.is_head)
        };
        let parsed = parsed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let Parsed::Complete { head, len } = parsed else {
            if before == 0 {
                self.text.extend_from_slice(bytes);
            }
            return Ok((bytes.len(), None));
        };
        self.text.clear();
        let translated = translated(&head, self.is_connect, say).ok_or(io::ErrorKind::InvalidData)?;
        Ok((len - before, Some(translated)))
    }
}

fn translated<T>(
    head: &ResponseHead,
    is_connect: bool,
    say: impl FnOnce(&Said<'_>) -> Option<T>,
) -> Option<FieldHead<T>> {
    let (status, framing) = match head.status {
        // RFC 8441 section 5.1, RFC 9220 section 3: a tunnel begins with a 200
        101 if is_connect => (200, Framing::UntilClose),
        // RFC 9113 section 8.6, RFC 9114 section 4.5: there is no 101
        101 => return None,
        status => (status, head.framing),
    };
    let length = match framing {
        Framing::Length(length) => Some(length),
        Framing::None => head.declared_length,
        Framing::Chunked | Framing::UntilClose => None,
    };
    let said = Said {
        status,
        head: &head.head,
        length,
        is_tunnel: head.status == 101,
    };
    Some(FieldHead {
        status,
        fields: say(&said)?,
        framing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str, is_connect: bool) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        let mut map = HeaderMap::new();
        let mut reader = ResponseHeadReader::new(false, is_connect);
        let (_, head) = reader
            .take(text.as_bytes(), |said| {
                map = map_of(said)?;
                said.each(|name, value| {
                    fields.push((
                        String::from_utf8_lossy(name).into_owned(),
                        String::from_utf8_lossy(value).into_owned(),
                    ));
                })
            })
            .expect("the head is well-formed");
        assert!(head.is_some(), "the head is whole");
        // both say the same
        assert_eq!(map.len(), fields.len(), "{fields:?}");
        for (name, value) in &fields {
            let known = map.get_all(name.as_str()).iter();
            assert!(
                known
                    .map(http::HeaderValue::as_bytes)
                    .any(|one| one == value.as_bytes()),
                "{name}"
            );
        }
        fields
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn names_are_in_lower_case_and_a_length_is_said_once() {
        let head = "HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 5\r\nX-A: 2\r\n\r\n";
        let fields = [pair("x-a", "1"), pair("x-a", "2"), pair("content-length", "5")];
        assert_eq!(told(head, false), fields);
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-B: \u{e9}\r\n\r\n";
        assert_eq!(told(head, false), [pair("x-b", "\u{e9}")]);
    }

    #[test]
    fn what_proved_an_upgrade_is_not_said() {
        let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\nX-A: 1\r\n";
        let head = format!("HTTP/1.1 101 Switching Protocols\r\n{upgrade}\r\n");
        assert_eq!(told(&head, true), [pair("x-a", "1")]);
        assert_eq!(
            told(
                "HTTP/1.1 200 OK\r\nSec-WebSocket-Accept: x\r\nContent-Length: 0\r\n\r\n",
                false
            )
            .len(),
            2
        );
    }
}
