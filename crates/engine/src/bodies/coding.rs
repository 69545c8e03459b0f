//! Content codings (RFC 9110 section 8.4.1): gzip, deflate, br and zstd, by libraries, in bounded steps.

use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::core::Level;
use compression_codecs::zstd::params::DParameter;
use compression_codecs::{
    brotli, flate, BrotliDecoder, BrotliEncoder, DecodeV2, EncodeV2, GzipDecoder, GzipEncoder, ZlibDecoder,
    ZlibEncoder, ZstdDecoder, ZstdEncoder,
};

use super::piece::{Chunk, Flow};

/// Made at once, so that a few bytes that stand for gigabytes do not become them in memory.
const STEP_BYTES: usize = 64 * 1024;

/// 8 MB, as RFC 9659 bounds it for this use; the library's own bound is 128 MB.
const ZSTD_WINDOW_LOG: u32 = 23;

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
#[derive(Debug, thiserror::Error)]
#[error("the body is not what its content-encoding says")]
pub struct CodingBroken;

impl Coding {
    /// The coding of that name; `None` for one that nobody here knows, also for several at once.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        match name.trim_ascii().to_ascii_lowercase().as_slice() {
            b"gzip" | b"x-gzip" => Some(Self::Gzip),
            b"deflate" => Some(Self::Deflate),
            b"br" => Some(Self::Brotli),
            b"zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    fn decoder(self) -> Box<dyn DecodeV2> {
        match self {
            Self::Gzip => Box::new(GzipDecoder::new()),
            Self::Deflate => Box::new(ZlibDecoder::new()),
            Self::Brotli => Box::new(BrotliDecoder::new()),
            Self::Zstd => Box::new(ZstdDecoder::new_with_params(&[DParameter::window_log_max(
                ZSTD_WINDOW_LOG,
            )])),
        }
    }

    fn encoder(self) -> Box<dyn EncodeV2> {
        let level = flate::params::FlateEncoderParams::from(Level::Default);
        match self {
            Self::Gzip => Box::new(GzipEncoder::new(level)),
            Self::Deflate => Box::new(ZlibEncoder::new(level)),
            // the quality usual for answers made on the fly; the default is for files
            Self::Brotli => Box::new(BrotliEncoder::new(
                brotli::params::EncoderParams::default().quality(Level::Precise(5)),
            )),
            Self::Zstd => Box::new(ZstdEncoder::new(3)),
        }
    }
}

/// Undoes a coding: takes one flow, gives several.
pub(crate) struct Decoding {
    coding: Coding,
    decoder: Box<dyn DecodeV2>,
    input: Option<Flow>,
    used: usize,
    has_begun: bool,
    is_ended: bool,
    /// The last step filled its room: more may come of what was used up already.
    is_pending: bool,
}

impl Decoding {
    pub(crate) fn new(coding: Coding) -> Self {
        Self {
            coding,
            decoder: coding.decoder(),
            input: None,
            used: 0,
            has_begun: false,
            is_ended: false,
            is_pending: false,
        }
    }

    pub(crate) fn give(&mut self, flow: Flow) {
        self.used = 0;
        self.input = Some(flow);
    }

    /// The next piece; `None`: it wants more.
    pub(crate) fn take(&mut self) -> Result<Option<Flow>, CodingBroken> {
        let Some(flow) = &self.input else { return Ok(None) };
        let (is_last, data) = (flow.is_last, flow.data.clone());
        let bytes = data.as_ref().map_or(&[][..], |data| data.bytes());
        let mut out = Vec::new();
        while out.is_empty() && (self.used < bytes.len() || self.is_pending) {
            if self.is_ended {
                // gzip members and zstd frames may follow one another (RFC 1952 section 2.2, RFC 8878 section 3)
                if !matches!(self.coding, Coding::Gzip | Coding::Zstd) {
                    return Err(CodingBroken);
                }
                self.decoder = self.coding.decoder();
                self.is_ended = false;
            }
            self.has_begun = true;
            let read = self.step(&bytes[self.used..], &mut out)?;
            self.used += read;
            self.is_pending = out.len() == STEP_BYTES && !self.is_ended;
            if read == 0 && out.is_empty() && !self.is_ended && self.used < bytes.len() {
                return Err(CodingBroken);
            }
        }
        if self.used < bytes.len() || self.is_pending {
            return Ok(Some(Flow::of(chunk(out), false)));
        }
        self.input = None;
        if is_last && self.has_begun && !self.is_ended {
            return Err(CodingBroken);
        }
        Ok((is_last || !out.is_empty()).then(|| Flow::of(chunk(out), is_last)))
    }

    /// Decodes into `out`, at most [`STEP_BYTES`]; gives how much of `bytes` it used.
    fn step(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, CodingBroken> {
        out.resize(STEP_BYTES, 0);
        let mut input = PartialBuffer::new(bytes);
        let mut output = WriteBuffer::new_initialized(out);
        let decoded = if bytes.is_empty() && matches!(self.coding, Coding::Gzip | Coding::Deflate) {
            // inflating nothing is an error to the library
            self.decoder.flush(&mut output).map(|_| false)
        } else {
            self.decoder.decode(&mut input, &mut output)
        };
        self.is_ended = decoded.map_err(|_| CodingBroken)?;
        let (read, made) = (input.written_len(), output.written_len());
        out.truncate(made);
        Ok(read)
    }
}

/// Does a coding; each flow given is flushed, so that a slow stream is not held back.
pub(crate) struct Encoding {
    encoder: Box<dyn EncodeV2>,
    input: Option<Flow>,
    used: usize,
}

impl Encoding {
    pub(crate) fn new(coding: Coding) -> Self {
        Self {
            encoder: coding.encoder(),
            input: None,
            used: 0,
        }
    }

    pub(crate) fn give(&mut self, flow: Flow) {
        self.used = 0;
        self.input = Some(flow);
    }

    pub(crate) fn take(&mut self) -> Result<Option<Flow>, CodingBroken> {
        let Some(flow) = &self.input else { return Ok(None) };
        let is_last = flow.is_last;
        let bytes = flow.data.as_ref().map_or(&[][..], |data| data.bytes());
        let mut out = vec![0; STEP_BYTES];
        let mut output = WriteBuffer::new_initialized(&mut out);
        let mut is_flushed = false;
        while !output.has_no_spare_space() && !is_flushed {
            if self.used < bytes.len() {
                let mut input = PartialBuffer::new(&bytes[self.used..]);
                self.encoder
                    .encode(&mut input, &mut output)
                    .map_err(|_| CodingBroken)?;
                self.used += input.written_len();
            } else if is_last {
                is_flushed = self.encoder.finish(&mut output).map_err(|_| CodingBroken)?;
            } else {
                is_flushed = self.encoder.flush(&mut output).map_err(|_| CodingBroken)?;
            }
        }
        let made = output.written_len();
        out.truncate(made);
        if is_flushed {
            self.input = None;
        }
        Ok(Some(Flow::of(chunk(out), is_last && is_flushed)))
    }
}

fn chunk(bytes: Vec<u8>) -> Chunk {
    std::rc::Rc::new(bytes)
}

/// Undoes a coding of a whole body, up to `max_bytes` (then `Ok(None)`).
///
/// # Errors
/// The body is not what the coding says.
pub fn decode_whole(coding: Coding, body: &[u8], max_bytes: usize) -> Result<Option<Vec<u8>>, CodingBroken> {
    let mut decoding = Decoding::new(coding);
    decoding.give(Flow::of(chunk(body.to_vec()), true));
    let mut whole = Vec::new();
    while let Some(flow) = decoding.take()? {
        if let Some(data) = &flow.data {
            whole.extend_from_slice(data.bytes());
        }
        if whole.len() > max_bytes {
            return Ok(None);
        }
    }
    Ok(Some(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];

    fn encode(coding: Coding, pieces: &[&[u8]]) -> Vec<u8> {
        let mut encoding = Encoding::new(coding);
        let mut coded = Vec::new();
        for (at, piece) in pieces.iter().enumerate() {
            encoding.give(Flow::of(chunk(piece.to_vec()), at + 1 == pieces.len()));
            while let Some(flow) = encoding.take().unwrap() {
                coded.extend_from_slice(flow.data.as_ref().map_or(&[][..], |data| data.bytes()));
            }
        }
        coded
    }

    fn decode(coding: Coding, coded: &[u8], step: usize) -> Result<Vec<u8>, CodingBroken> {
        let mut decoding = Decoding::new(coding);
        let mut plain = Vec::new();
        let mut pieces = coded.chunks(step).peekable();
        while let Some(piece) = pieces.next() {
            decoding.give(Flow::of(chunk(piece.to_vec()), pieces.peek().is_none()));
            while let Some(flow) = decoding.take()? {
                assert!(flow.len() <= STEP_BYTES);
                plain.extend_from_slice(flow.data.as_ref().map_or(&[][..], |data| data.bytes()));
            }
        }
        Ok(plain)
    }

    #[test]
    fn what_is_encoded_is_decoded_however_it_is_cut() {
        let text: Vec<u8> = (0..200_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for coding in ALL {
            let coded = encode(coding, &[&text[..10], &[], &text[10..300_000], &text[300_000..]]);
            for step in [7_001, 65_536, 1 << 22] {
                assert_eq!(decode(coding, &coded, step).unwrap(), text, "{coding:?}");
            }
        }
    }

    #[test]
    fn a_body_cut_short_is_refused() {
        for coding in ALL {
            let coded = encode(coding, &[&[b'x'; 5_000]]);
            assert!(
                decode(coding, &coded[..coded.len() - 3], 1_000).is_err(),
                "{coding:?}"
            );
        }
    }

    #[test]
    fn random_bytes_are_refused_or_decoded_and_never_panic() {
        let mut state = 1_u64;
        for length in 0..400_usize {
            let bytes: Vec<u8> = (0..length)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    state.to_be_bytes()[0]
                })
                .collect();
            for coding in ALL {
                let _ = decode_whole(coding, &bytes, 1 << 20);
            }
        }
    }

    #[test]
    fn a_bomb_is_given_up_at_the_limit() {
        for coding in ALL {
            let coded = encode(coding, &[&vec![0; 8 << 20]]);
            assert!(coded.len() < 100_000, "{coding:?}");
            assert!(
                decode_whole(coding, &coded, 1 << 20).unwrap().is_none(),
                "{coding:?}"
            );
        }
    }

    #[test]
    fn members_may_follow_one_another() {
        for coding in [Coding::Gzip, Coding::Zstd] {
            let coded = [encode(coding, &[b"one "]), encode(coding, &[b"two"])].concat();
            assert_eq!(decode(coding, &coded, 5).unwrap(), b"one two");
        }
    }

    #[test]
    fn a_body_without_bytes_stays_empty() {
        let mut decoding = Decoding::new(Coding::Gzip);
        decoding.give(Flow::end());
        let flow = decoding.take().unwrap().unwrap();
        assert!(flow.is_last && flow.data.is_none());
    }
}
