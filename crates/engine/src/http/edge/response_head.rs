//! The head of a response, written as HTTP/1 text, as HTTP/2 and HTTP/3 send it.

use std::io;

use headgate_upstream::http2::fields::{to_map, OWN_HEADS};
use headgate_wire::{parse_response, Framing, Parsed, ResponseHead};
use http::{header, HeaderMap};

/// Takes the text of heads, interim ones too, in whatever pieces it comes.
pub(super) struct ResponseHeadReader {
    /// What of the head is here.
    text: Vec<u8>,
    is_head: bool,
    is_connect: bool,
}

/// A head that is complete.
pub(super) struct FieldHead {
    pub(super) status: u16,
    pub(super) fields: HeaderMap,
    /// How its body is written.
    pub(super) framing: Framing,
}

impl FieldHead {
    /// Another head follows (RFC 9110 section 15.2).
    pub(super) fn is_interim(&self) -> bool {
        self.status < 200
    }
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

    /// Takes a part of the text: how much, and the head that it completes.
    ///
    /// # Errors
    /// The text is malformed, or cannot be said in the other versions.
    pub(super) fn take(&mut self, bytes: &[u8]) -> io::Result<(usize, Option<FieldHead>)> {
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
        let translated = translated(&head, self.is_connect).ok_or(io::ErrorKind::InvalidData)?;
        Ok((len - before, Some(translated)))
    }
}

fn translated(head: &ResponseHead, is_connect: bool) -> Option<FieldHead> {
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
    let mut fields = to_map(&head.head, length)?;
    if head.status == 101 {
        // what proved the upgrade is of HTTP/1 only
        fields.remove(header::SEC_WEBSOCKET_ACCEPT);
    }
    Some(FieldHead {
        status,
        fields,
        framing,
    })
}
