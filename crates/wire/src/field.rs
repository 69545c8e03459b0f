//! One field line as offsets, and what its name means to the gateway.

use std::ops::{Deref, DerefMut};

use crate::scan::is_name;

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

/// Field lines in order, and a summary that tells cheaply which ones cannot be among them: most questions are after
/// fields that are not there.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    lines: Vec<Field>,
    /// A bit for each [`Name`].
    names: u16,
    /// The marks of all names.
    marks: u64,
}

impl Fields {
    pub(crate) fn with_capacity(lines: usize) -> Self {
        Self {
            lines: Vec::with_capacity(lines),
            ..Self::default()
        }
    }

    /// The same lines, and room for so many more.
    pub(crate) fn with_room(&self, more: usize) -> Self {
        let mut lines = Vec::with_capacity(self.lines.len() + more);
        lines.extend_from_slice(&self.lines);
        Self {
            lines,
            names: self.names,
            marks: self.marks,
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, field: Field, name: &[u8]) {
        self.names |= 1 << field.name as u16;
        self.marks |= mark(name);
        self.lines.push(field);
    }

    /// Whether there is, or was before an edit, a field of that name.
    #[inline]
    pub(crate) fn may_have(&self, name: Name) -> bool {
        self.names & (1 << name as u16) != 0
    }

    /// The same for any name.
    #[inline]
    pub(crate) fn may_have_named(&self, name: &[u8]) -> bool {
        self.marks & mark(name) != 0
    }
}

/// One of 64 bits, by the length and the last byte of a name in any case; the first one is an `x` too often.
#[inline]
fn mark(name: &[u8]) -> u64 {
    let last = name.last().map_or(0, |byte| usize::from(byte | 0x20));
    1 << ((name.len() * 7 + last) % 64)
}

impl Deref for Fields {
    type Target = [Field];

    fn deref(&self) -> &[Field] {
        &self.lines
    }
}

impl DerefMut for Fields {
    fn deref_mut(&mut self) -> &mut [Field] {
        &mut self.lines
    }
}

/// Not shown to hooks and not written on: it belongs to the connection, or was removed.
pub(crate) const HIDDEN: u8 = 1;
/// The line is exactly `name: value CRLF`, so it can be copied as it is.
pub(crate) const PLAIN: u8 = 2;

/// The names that decide something. All others are `Other`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
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
    /// What `name`, a token, is; the length picks the few candidates.
    #[inline]
    pub(crate) fn of(name: &[u8]) -> Self {
        match name.len() {
            2 if is_name(name, b"te") => Self::Te,
            4 if is_name(name, b"host") => Self::Host,
            6 if is_name(name, b"expect") => Self::Expect,
            7 if is_name(name, b"upgrade") => Self::Upgrade,
            10 if is_name(name, b"connection") => Self::Connection,
            10 if is_name(name, b"keep-alive") => Self::KeepAlive,
            length if length >= 14 => Self::of_long(name),
            _ => Self::Other,
        }
    }

    fn of_long(name: &[u8]) -> Self {
        match name[0] | 0x20 {
            b'c' if is_name(name, b"content-length") => Self::ContentLength,
            b't' if is_name(name, b"transfer-encoding") => Self::TransferEncoding,
            b'p' if is_name(name, b"proxy-connection") => Self::ProxyConnection,
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
