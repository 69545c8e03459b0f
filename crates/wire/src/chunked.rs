//! The chunked transfer coding (RFC 9112 section 7.1).
//!
//! How it works: the decoder is a table of states over single bytes of framing; data is only counted. It never
//! holds input except the trailer section, which is bounded.

use crate::chunk_extension::ExtensionState;
use crate::error::ChunkError;
use crate::head::Head;
use crate::lenient::Lenient;
use crate::limits::ChunkLimits;
use crate::trailers::read_trailers;

const MAX_SIZE_DIGITS: u8 = 16;

/// Decodes a chunked body by naming the ranges of the input that are data.
#[derive(Clone, Debug)]
pub struct ChunkedDecoder {
    state: State,
    limits: ChunkLimits,
    /// Extension bytes seen, less the data bytes seen.
    extension_excess: usize,
    trailer: Vec<u8>,
    trailers: Option<Head>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// In the size: its value and digits so far.
    Size {
        value: u64,
        digits: u8,
    },
    /// In the extensions of a chunk of this size.
    Extension {
        value: u64,
        place: ExtensionState,
    },
    /// Behind the CR of the size line.
    SizeLf {
        value: u64,
    },
    /// In the data, with so many bytes to come.
    Data {
        remaining: u64,
    },
    /// Behind the data.
    DataCr,
    /// Behind the CR behind the data.
    DataLf,
    /// In the trailer section.
    Trailer,
    Done,
    Failed(ChunkError),
}

const SIZE: State = State::Size { value: 0, digits: 0 };

/// What one step found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChunkStep {
    /// All input is used up and the body goes on.
    NeedMore {
        /// The length of the input.
        consumed: usize,
    },
    /// `input[consumed_before..consumed_before + len]` is data; step on behind it.
    Data {
        /// Bytes of framing before the data.
        consumed_before: usize,
        /// Bytes of data, at least one.
        len: usize,
    },
    /// The body ended.
    End {
        /// Bytes used; what follows is not of this message.
        consumed: usize,
    },
}

impl ChunkedDecoder {
    /// A decoder at the start of a body.
    pub fn new(limits: ChunkLimits) -> Self {
        Self {
            state: SIZE,
            limits,
            extension_excess: 0,
            trailer: Vec::new(),
            trailers: None,
        }
    }

    /// Reads on to the next data, the end, or the end of the input. An error is final: every later step
    /// returns it again. After the end every step is `End { consumed: 0 }`.
    pub fn step(&mut self, input: &[u8]) -> Result<ChunkStep, ChunkError> {
        let mut at = 0;
        while self.state != State::Done {
            if let State::Data { remaining } = self.state {
                if at < input.len() {
                    return Ok(self.take_data(remaining, at, input.len() - at));
                }
            }
            let Some(&byte) = input.get(at) else {
                return Ok(ChunkStep::NeedMore { consumed: at });
            };
            at += 1;
            match self.next(byte) {
                Ok(state) => self.state = state,
                Err(error) => {
                    self.state = State::Failed(error);
                    return Err(error);
                }
            }
        }
        Ok(ChunkStep::End { consumed: at })
    }

    /// Whether the end of the body was read.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The trailer fields that may go on, once, after the end; `None` if there are none.
    pub fn take_trailers(&mut self) -> Option<Head> {
        self.trailers.take()
    }

    fn take_data(&mut self, remaining: u64, at: usize, available: usize) -> ChunkStep {
        let len = usize::try_from(remaining).map_or(available, |remaining| remaining.min(available));
        let remaining = remaining - len as u64;
        self.state = if remaining == 0 {
            State::DataCr
        } else {
            State::Data { remaining }
        };
        self.extension_excess = self.extension_excess.saturating_sub(len);
        ChunkStep::Data {
            consumed_before: at,
            len,
        }
    }

    fn next(&mut self, byte: u8) -> Result<State, ChunkError> {
        match (self.state, byte) {
            (State::Size { value, digits }, _) if byte.is_ascii_hexdigit() => {
                self.next_digit(value, digits, byte)
            }
            (State::Size { digits: 0, .. }, _) => Err(ChunkError::Size),
            (State::Size { value, .. }, b'\r') => Ok(State::SizeLf { value }),
            (State::Size { value, .. }, b';') => self.count_extension(value, self.first_place()),
            (State::Size { value, .. }, b' ' | b'\t') if self.limits.is_from_server => {
                self.count_extension(value, ExtensionState::Padding)
            }
            (State::Size { .. }, _) => Err(ChunkError::Size),
            (State::Extension { value, place }, _) => self.next_in_extension(value, place, byte),
            (State::SizeLf { value: 0 }, b'\n') => Ok(State::Trailer),
            (State::SizeLf { value }, b'\n') => Ok(State::Data { remaining: value }),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(SIZE),
            (State::SizeLf { .. } | State::DataCr | State::DataLf, _) => Err(ChunkError::LineEnd),
            (State::Trailer, _) => self.next_in_trailer(byte),
            (State::Failed(error), _) => Err(error),
            (State::Data { .. } | State::Done, _) => Ok(self.state),
        }
    }

    /// Leading zeros are no digits, but are bounded as extensions are.
    fn next_digit(&mut self, value: u64, digits: u8, byte: u8) -> Result<State, ChunkError> {
        if value == 0 && digits > 0 {
            self.count_excess()?;
        } else if digits == MAX_SIZE_DIGITS {
            return Err(ChunkError::Size);
        }
        Ok(State::Size {
            value: value << 4 | u64::from(hex_value(byte)),
            digits: if value == 0 { 1 } else { digits + 1 },
        })
    }

    fn first_place(&self) -> ExtensionState {
        if self.limits.lenient.has(Lenient::CHUNK_EXTENSIONS) {
            ExtensionState::Loose
        } else {
            ExtensionState::Start
        }
    }

    fn next_in_extension(
        &mut self,
        value: u64,
        place: ExtensionState,
        byte: u8,
    ) -> Result<State, ChunkError> {
        if byte == b'\r' && place.may_end(self.limits.is_from_server) {
            return Ok(State::SizeLf { value });
        }
        match place.next(byte) {
            Some(next) => self.count_extension(value, next),
            None if place == ExtensionState::Padding => Err(ChunkError::Size),
            None => Err(ChunkError::Extension),
        }
    }

    fn count_extension(&mut self, value: u64, place: ExtensionState) -> Result<State, ChunkError> {
        self.count_excess()?;
        Ok(State::Extension { value, place })
    }

    fn count_excess(&mut self) -> Result<(), ChunkError> {
        self.extension_excess += 1;
        if self.extension_excess > self.limits.max_extension_bytes {
            return Err(ChunkError::ExtensionsTooLarge);
        }
        Ok(())
    }

    fn next_in_trailer(&mut self, byte: u8) -> Result<State, ChunkError> {
        // The empty line that ends a body without trailers does not count against the limit.
        if self.trailer.len() >= self.limits.max_trailer_bytes.max(2) {
            return Err(ChunkError::TrailersTooLarge);
        }
        self.trailer.push(byte);
        if byte != b'\n' {
            return Ok(State::Trailer);
        }
        if !self.trailer.ends_with(b"\r\n") {
            return Err(ChunkError::LineEnd);
        }
        if self.trailer.len() > 2 {
            if !self.trailer.ends_with(b"\r\n\r\n") {
                return Ok(State::Trailer);
            }
            let head = read_trailers(std::mem::take(&mut self.trailer), self.limits.is_from_server)
                .map_err(ChunkError::Trailer)?;
            if head.iter().next().is_some() {
                self.trailers = Some(head);
            }
        }
        Ok(State::Done)
    }
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// Appends the size line of a chunk of `len` bytes: `1a CRLF`. The chunk must not be empty, and CRLF follows it.
pub fn write_chunk_size(len: usize, out: &mut Vec<u8>) {
    debug_assert!(len > 0, "an empty chunk would end the body");
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(len >> (4 * digit)) & 15]);
    }
    out.extend_from_slice(crate::CRLF);
}

/// Appends the last chunk and the trailer section.
pub fn write_last_chunk(trailers: Option<&Head>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        trailers.write_fields(out);
    }
    out.extend_from_slice(crate::CRLF);
}
