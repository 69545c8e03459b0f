//! HTTP/3 as bytes (RFC 9114): frames, settings, and field sections in QPACK (RFC 9204).
//!
//! Of QPACK the static table alone is used: the peer is told that the dynamic one holds nothing (which is the default), so
//! that a section never waits for another stream, and no section decodes to more than a small multiple of its bytes
//! without being noticed.

mod frame;
mod huffman;
mod qpack;
mod settings;
mod static_table;

pub use frame::{read_varint, write_frame_header, write_varint, FrameHead, FrameKind, MAX_FRAME_HEAD_BYTES};
pub use qpack::{decode_section, write_field, write_section_prefix, write_status_field, SectionError};
pub use settings::{check_settings, write_settings, SettingsError};

/// Codes of errors (RFC 9114 section 8.1, RFC 9204 section 6).
pub mod code {
    /// Nothing is wrong.
    pub const NO_ERROR: u64 = 0x100;
    /// A fault of this gateway.
    pub const INTERNAL_ERROR: u64 = 0x102;
    /// A stream that may not be opened.
    pub const STREAM_CREATION_ERROR: u64 = 0x103;
    /// A stream that the connection needs was closed.
    pub const CLOSED_CRITICAL_STREAM: u64 = 0x104;
    /// A frame where it must not be.
    pub const FRAME_UNEXPECTED: u64 = 0x105;
    /// A frame with a wrong length or layout.
    pub const FRAME_ERROR: u64 = 0x106;
    /// The peer does things that make only work.
    pub const EXCESSIVE_LOAD: u64 = 0x107;
    /// An id that may not be used.
    pub const ID_ERROR: u64 = 0x108;
    /// A setting that must not be.
    pub const SETTINGS_ERROR: u64 = 0x109;
    /// The control stream does not begin with settings.
    pub const MISSING_SETTINGS: u64 = 0x10a;
    /// A request that was not begun to be served.
    pub const REQUEST_REJECTED: u64 = 0x10b;
    /// A request or response that is not wanted any more.
    pub const REQUEST_CANCELLED: u64 = 0x10c;
    /// A request that ended before it was whole.
    pub const REQUEST_INCOMPLETE: u64 = 0x10d;
    /// A message that is malformed.
    pub const MESSAGE_ERROR: u64 = 0x10e;
    /// A field section that cannot be decoded.
    pub const QPACK_DECOMPRESSION_FAILED: u64 = 0x200;
    /// An instruction on the encoder's stream that must not be.
    pub const QPACK_ENCODER_STREAM_ERROR: u64 = 0x201;
    /// An instruction on the decoder's stream that must not be.
    pub const QPACK_DECODER_STREAM_ERROR: u64 = 0x202;
}
