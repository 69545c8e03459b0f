//! The bounds a caller sets on what a peer may send.

use crate::lenient::Lenient;

/// Bounds on one message head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeadLimits {
    /// The most bytes of the start line and all field lines together.
    pub max_bytes: usize,
    /// The most field lines.
    pub max_fields: usize,
    /// What is let pass though it is not a valid head.
    pub lenient: Lenient,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self {
            max_bytes: 32_768,
            max_fields: 100,
            lenient: Lenient::NONE,
        }
    }
}

/// Bounds on what a chunked body may carry beside its data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkLimits {
    /// Bytes of chunk extensions allowed beyond the bytes of data seen so far, over the whole body.
    pub max_extension_bytes: usize,
    /// The most bytes of the trailer section.
    pub max_trailer_bytes: usize,
    /// Whether a server sent the body: from servers all white space is let in that the grammar has.
    pub is_from_server: bool,
    /// What is let pass though it is not a valid chunk.
    pub lenient: Lenient,
}

impl ChunkLimits {
    /// The same bounds for bodies that servers send.
    #[must_use]
    pub const fn from_server(self) -> Self {
        Self {
            is_from_server: true,
            ..self
        }
    }
}

impl Default for ChunkLimits {
    fn default() -> Self {
        Self {
            max_extension_bytes: 4096,
            max_trailer_bytes: 8192,
            is_from_server: false,
            lenient: Lenient::NONE,
        }
    }
}
