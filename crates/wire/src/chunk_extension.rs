//! Chunk extensions (RFC 9112 section 7.1.1): `*( BWS ";" BWS name [ BWS "=" BWS value ] )`, byte by byte.
//!
//! How it works: a [`ExtensionState`] is where in an extension the next byte stands. White space directly behind the size is legal
//! grammar that clients never send and two readers could read differently, so it is let in from servers only.

use crate::grammar::{is_blank, is_token_byte};

/// Where in a chunk's extensions the next byte stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ExtensionState {
    /// Behind white space behind the size.
    Padding,
    /// Behind `;`.
    Start,
    /// In a name.
    Name,
    /// Behind white space behind a name.
    NameEnd,
    /// Behind `=`.
    ValueStart,
    /// In a value that is a token.
    Value,
    /// In a quoted value.
    Quoted,
    /// Behind a backslash in a quoted value.
    Escape,
    /// Behind a quoted value, or white space behind a value.
    ValueEnd,
    /// Anywhere, where the grammar is not insisted on.
    Loose,
}

impl ExtensionState {
    /// The place behind `byte`; `None`: it must not stand here.
    pub(crate) fn next(self, byte: u8) -> Option<Self> {
        let is_text = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
        match (self, byte) {
            (Self::Loose, _) if is_text => Some(Self::Loose),
            (Self::Quoted, b'"') => Some(Self::ValueEnd),
            (Self::Quoted, b'\\') => Some(Self::Escape),
            (Self::Quoted | Self::Escape, _) if is_text => Some(Self::Quoted),
            (Self::Padding | Self::Name | Self::NameEnd | Self::Value | Self::ValueEnd, b';') => {
                Some(Self::Start)
            }
            (Self::Name | Self::NameEnd, b'=') => Some(Self::ValueStart),
            (Self::ValueStart, b'"') => Some(Self::Quoted),
            (Self::Padding | Self::Start | Self::ValueStart | Self::NameEnd | Self::ValueEnd, _)
                if is_blank(byte) =>
            {
                Some(self)
            }
            (Self::Name, _) if is_blank(byte) => Some(Self::NameEnd),
            (Self::Value, _) if is_blank(byte) => Some(Self::ValueEnd),
            (Self::Start | Self::Name, _) if is_token_byte(byte) => Some(Self::Name),
            (Self::ValueStart | Self::Value, _) if is_token_byte(byte) => Some(Self::Value),
            _ => None,
        }
    }

    /// Whether the line may end here. Old servers pad their sizes with spaces.
    pub(crate) fn may_end(self, is_from_server: bool) -> bool {
        match self {
            Self::Name | Self::Value | Self::Loose | Self::ValueEnd => true,
            Self::Padding | Self::NameEnd => is_from_server,
            Self::Start | Self::ValueStart | Self::Quoted | Self::Escape => false,
        }
    }
}
