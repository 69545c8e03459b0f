//! The bounds a caller sets on what a peer may send.

/// Bounds on one message head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeadLimits {
    /// The most bytes of the start line and all field lines together.
    pub max_bytes: usize,
    /// The most field lines.
    pub max_fields: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self {
            max_bytes: 32_768,
            max_fields: 100,
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
}

impl Default for ChunkLimits {
    fn default() -> Self {
        Self {
            max_extension_bytes: 4096,
            max_trailer_bytes: 8192,
        }
    }
}
