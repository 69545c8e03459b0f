//! Content codings (RFC 9110 section 8.4.1): gzip, deflate, br and zstd, by libraries, in bounded steps. No I/O, no clock.
//!
//! # How it works
//! A [`Decoder`] makes at most [`STEP_BYTES`] of each call, so that a few bytes that stand for gigabytes become them only as
//! fast as somebody takes them. What a decoder itself holds is bounded by the window that a format may ask for: 32 KB for
//! gzip and deflate, 16 MB for br, 8 MB for zstd.

mod decoder;
mod encoder;

pub use decoder::{decode_whole, Decoder};
pub use encoder::Encoder;

/// Made at once.
pub const STEP_BYTES: usize = 64 * 1024;

/// A content coding that can be undone and done again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coding {
    /// `gzip`, also called `x-gzip`.
    Gzip,
    /// `deflate`: the zlib format (RFC 1950).
    Deflate,
    /// `br` (RFC 7932).
    Brotli,
    /// `zstd` (RFC 8878).
    Zstd,
}

/// A coded body that cannot be read: its sender's fault.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body does not match its content-encoding")]
pub struct CodingBroken;

impl Coding {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Gzip, Self::Deflate, Self::Brotli, Self::Zstd];

    /// The coding of that name; `None` for an unknown one, also for several at once.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        match name.trim_ascii().to_ascii_lowercase().as_slice() {
            b"gzip" | b"x-gzip" => Some(Self::Gzip),
            b"deflate" => Some(Self::Deflate),
            b"br" => Some(Self::Brotli),
            b"zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}
