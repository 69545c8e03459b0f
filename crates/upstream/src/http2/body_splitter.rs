//! A body written as HTTP/1 bytes, cut into its payload and what frames it, for whoever sends it in frames.

use std::io;

use headgate_wire::{ChunkLimits, ChunkStep, ChunkedDecoder, Framing, Head, Lenient};

/// The bytes come from this gateway itself, which has held the peer's to the configured limits.
const OWN_CHUNKS: ChunkLimits = ChunkLimits {
    max_extension_bytes: 0,
    max_trailer_bytes: 1 << 20,
    is_from_server: false,
    lenient: Lenient::NONE,
};

enum State {
    Done,
    Length(u64),
    Chunked(Box<ChunkedDecoder>),
    /// Until the writer shuts down.
    Raw,
}

/// What the next bytes are.
pub enum Part {
    /// So many are payload; `is_last`: the body ends with them.
    Payload {
        /// At most all that were given.
        len: usize,
        /// No more belongs to the body.
        is_last: bool,
    },
    /// So many only frame what follows.
    Framing(usize),
    /// So many end the body, with these trailers.
    End(usize, Option<Head>),
}

/// See the module.
pub struct BodySplitter {
    state: State,
    /// So many of the next bytes are payload of the chunk under way.
    chunk_left: usize,
}

impl BodySplitter {
    /// For a body whose head has told how it is framed.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(Box::new(ChunkedDecoder::new(OWN_CHUNKS))),
            Framing::UntilClose => State::Raw,
        };
        Self { state, chunk_left: 0 }
    }

    /// The body is over.
    #[inline]
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// The body lasts until the writer shuts down.
    #[inline]
    #[must_use]
    pub fn is_raw(&self) -> bool {
        matches!(self.state, State::Raw)
    }

    /// No more is taken.
    #[inline]
    pub fn end(&mut self) {
        self.state = State::Done;
    }

    /// What the next bytes are. Payload counts as taken only once [`Self::took`] says so.
    ///
    /// # Errors
    /// The body is over already, or its chunks are malformed.
    #[inline]
    pub fn next(&mut self, bytes: &[u8]) -> io::Result<Part> {
        match &mut self.state {
            // nothing belongs there
            State::Done => Err(io::ErrorKind::BrokenPipe.into()),
            State::Raw => Ok(Part::Payload {
                len: bytes.len(),
                is_last: false,
            }),
            State::Length(left) => {
                let len = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                Ok(Part::Payload {
                    len,
                    is_last: len as u64 == *left,
                })
            }
            State::Chunked(_) if self.chunk_left > 0 => Ok(Part::Payload {
                len: self.chunk_left.min(bytes.len()),
                is_last: false,
            }),
            State::Chunked(decoder) => match decoder.step(bytes) {
                Ok(ChunkStep::NeedMore { consumed }) => Ok(Part::Framing(consumed)),
                Ok(ChunkStep::Data { consumed_before, len }) => {
                    self.chunk_left = len;
                    Ok(Part::Framing(consumed_before))
                }
                Ok(ChunkStep::End { consumed }) => Ok(Part::End(consumed, decoder.take_trailers())),
                Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            },
        }
    }

    /// So much payload was taken; gives whether the body ends with it.
    #[inline]
    pub fn took(&mut self, payload: usize) -> bool {
        match &mut self.state {
            State::Length(left) => {
                *left -= payload as u64;
                if *left > 0 {
                    return false;
                }
                self.state = State::Done;
                true
            }
            State::Chunked(_) => {
                self.chunk_left -= payload;
                false
            }
            State::Done | State::Raw => false,
        }
    }
}
