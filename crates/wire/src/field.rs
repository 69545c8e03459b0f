//! One field line as offsets, and what its name means to the gateway.

/// A field line of a head: offsets into the head's bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) name_start: u32,
    pub(crate) value_start: u32,
    pub(crate) value_len: u32,
    pub(crate) name_len: u16,
    pub(crate) name: Name,
    pub(crate) state: u8,
}

/// Not shown to hooks and not written on: it belongs to the connection, or was removed.
pub(crate) const HIDDEN: u8 = 1;
/// The line is exactly `name: value CRLF`, so it can be copied as it is.
pub(crate) const PLAIN: u8 = 2;

/// The names that decide something. All others are `Other`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Name {
    Other,
    Connection,
    ContentLength,
    Expect,
    Host,
    KeepAlive,
    ProxyConnection,
    Te,
    TransferEncoding,
    Upgrade,
    /// Not a framing field, yet some readers would take it for one.
    FramingLookalike,
}

impl Name {
    /// What `name` is; the length picks the few candidates.
    #[inline]
    pub(crate) fn of(name: &[u8]) -> Self {
        let (candidate, known): (&[u8], Self) = match name.len() {
            2 => (b"te", Self::Te),
            4 => (b"host", Self::Host),
            6 => (b"expect", Self::Expect),
            7 => (b"upgrade", Self::Upgrade),
            10 if name[0] | 0x20 == b'k' => (b"keep-alive", Self::KeepAlive),
            10 => (b"connection", Self::Connection),
            length if length >= 14 => return Self::of_long(name),
            _ => return Self::Other,
        };
        if name.eq_ignore_ascii_case(candidate) {
            known
        } else {
            Self::Other
        }
    }

    fn of_long(name: &[u8]) -> Self {
        match name[0] | 0x20 {
            b'c' if name.eq_ignore_ascii_case(b"content-length") => Self::ContentLength,
            b't' if name.eq_ignore_ascii_case(b"transfer-encoding") => Self::TransferEncoding,
            b'p' if name.eq_ignore_ascii_case(b"proxy-connection") => Self::ProxyConnection,
            b'c' if is_lookalike(name, b"contentlength") => Self::FramingLookalike,
            b't' if is_lookalike(name, b"transferencoding") => Self::FramingLookalike,
            _ => Self::Other,
        }
    }

    /// Whether the field belongs to one connection or frames the message, and so is never passed on as it is.
    #[inline]
    pub(crate) fn is_hidden(self) -> bool {
        self != Self::Other
    }
}

/// Whether `name` is `letters` once its separators are gone. CGI and WSGI turn `-` into `_`, so a server may
/// take `Content_Length` for the real one.
fn is_lookalike(name: &[u8], letters: &[u8]) -> bool {
    let mut wanted = letters.iter();
    for &byte in name {
        if matches!(byte, b'-' | b'_' | b'.') {
            continue;
        }
        if wanted.next() != Some(&byte.to_ascii_lowercase()) {
            return false;
        }
    }
    wanted.next().is_none()
}
