//! Undoing a coding.

use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::zstd::params::DParameter;
use compression_codecs::{BrotliDecoder, DecodeV2, GzipDecoder, ZlibDecoder, ZstdDecoder};

use crate::{Coding, CodingBroken, STEP_BYTES};

/// 8 MB, as RFC 9659 bounds it for this use; the library's own bound is 128 MB.
const ZSTD_WINDOW_LOG: u32 = 23;

/// How a stream of "large window brotli" begins, whose window may be 1 GB. It is not valid `br`: RFC 7932 section 9.1 has no such
/// WBITS. The library reads it nevertheless.
const LARGE_WINDOW_BROTLI: u8 = 0x11;

/// Undoes a coding, step by step.
pub struct Decoder {
    coding: Coding,
    library: Box<dyn DecodeV2>,
    has_begun: bool,
    is_ended: bool,
    /// The last step filled its room: more may come of what was used up already.
    has_more: bool,
}

impl Decoder {
    /// One at the begin of a body.
    pub fn new(coding: Coding) -> Self {
        Self {
            coding,
            library: library_decoder(coding),
            has_begun: false,
            is_ended: false,
            has_more: false,
        }
    }

    /// Decodes some of `bytes` into `out`, whose content goes: at most [`STEP_BYTES`]. Gives how many of `bytes` it used, all
    /// of them unless something was made or [`Decoder::has_more`].
    ///
    /// # Errors
    /// The bytes are not of the coding.
    pub fn decode(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, CodingBroken> {
        out.clear();
        let mut used = 0;
        while out.is_empty() && (used < bytes.len() || self.has_more) {
            if self.is_ended {
                // gzip members and zstd frames may follow one another (RFC 1952 section 2.2, RFC 8878 section 3)
                if !matches!(self.coding, Coding::Gzip | Coding::Zstd) {
                    return Err(CodingBroken);
                }
                self.library = library_decoder(self.coding);
                self.is_ended = false;
            }
            if !self.has_begun && self.coding == Coding::Brotli && bytes[0] == LARGE_WINDOW_BROTLI {
                return Err(CodingBroken);
            }
            self.has_begun = true;
            let read = self.step(&bytes[used..], out)?;
            used += read;
            self.has_more = out.len() == STEP_BYTES && !self.is_ended;
            if read == 0 && out.is_empty() && !self.is_ended && used < bytes.len() {
                return Err(CodingBroken);
            }
        }
        Ok(used)
    }

    /// Whether more may come without further bytes.
    pub fn has_more(&self) -> bool {
        self.has_more
    }

    /// Nothing follows.
    ///
    /// # Errors
    /// The body was cut short.
    pub fn finish(&self) -> Result<(), CodingBroken> {
        if self.has_begun && !self.is_ended {
            return Err(CodingBroken);
        }
        Ok(())
    }

    fn step(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, CodingBroken> {
        out.resize(STEP_BYTES, 0);
        let mut input = PartialBuffer::new(bytes);
        let mut output = WriteBuffer::new_initialized(out);
        let decoded = if bytes.is_empty() && matches!(self.coding, Coding::Gzip | Coding::Deflate) {
            // inflating nothing is an error to the library
            self.library.flush(&mut output).map(|_| false)
        } else {
            self.library.decode(&mut input, &mut output)
        };
        self.is_ended = decoded.map_err(|_| CodingBroken)?;
        let (read, made) = (input.written_len(), output.written_len());
        out.truncate(made);
        Ok(read)
    }
}

fn library_decoder(coding: Coding) -> Box<dyn DecodeV2> {
    match coding {
        Coding::Gzip => Box::new(GzipDecoder::new()),
        Coding::Deflate => Box::new(ZlibDecoder::new()),
        Coding::Brotli => Box::new(BrotliDecoder::new()),
        Coding::Zstd => Box::new(ZstdDecoder::new_with_params(&[DParameter::window_log_max(
            ZSTD_WINDOW_LOG,
        )])),
    }
}

/// Undoes a coding of a whole body, up to `max_bytes` (then `Ok(None)`).
///
/// # Errors
/// The body is not what the coding says.
pub fn decode_whole(coding: Coding, body: &[u8], max_bytes: usize) -> Result<Option<Vec<u8>>, CodingBroken> {
    let mut decoder = Decoder::new(coding);
    let (mut whole, mut piece, mut used) = (Vec::new(), Vec::new(), 0);
    while used < body.len() || decoder.has_more() {
        used += decoder.decode(&body[used..], &mut piece)?;
        if whole.len() + piece.len() > max_bytes {
            return Ok(None);
        }
        whole.extend_from_slice(&piece);
    }
    decoder.finish()?;
    Ok(Some(whole))
}
