//! Doing a coding.

use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::core::Level;
use compression_codecs::{brotli, flate, BrotliEncoder, EncodeV2, GzipEncoder, ZlibEncoder, ZstdEncoder};

use crate::{Coding, CodingBroken, STEP_BYTES};

/// Does a coding. All that is given is flushed, so that a slow stream is not held back.
pub struct Encoder {
    library: Box<dyn EncodeV2>,
}

/// A step of an [`Encoder`].
pub struct Encoded {
    /// What was made: at most [`STEP_BYTES`].
    pub bytes: Vec<u8>,
    /// How much of what was given is used up.
    pub used: usize,
    /// All that was given is used up and flushed; with `is_last` this is the end.
    pub is_flushed: bool,
}

impl Encoder {
    /// One at the begin of a body.
    pub fn new(coding: Coding) -> Self {
        let level = flate::params::FlateEncoderParams::from(Level::Default);
        let library: Box<dyn EncodeV2> = match coding {
            Coding::Gzip => Box::new(GzipEncoder::new(level)),
            Coding::Deflate => Box::new(ZlibEncoder::new(level)),
            // the quality usual for responses made on the fly; the default is for files
            Coding::Brotli => Box::new(BrotliEncoder::new(
                brotli::params::EncoderParams::default().quality(Level::Precise(5)),
            )),
            Coding::Zstd => Box::new(ZstdEncoder::new(3)),
        };
        Self { library }
    }

    /// Encodes some of `bytes`; with what is not used it is called again, also with nothing, until all is flushed.
    ///
    /// # Errors
    /// The library failed, which none of those here does.
    pub fn encode(&mut self, bytes: &[u8], is_last: bool) -> Result<Encoded, CodingBroken> {
        let mut out = vec![0; STEP_BYTES];
        let mut output = WriteBuffer::new_initialized(&mut out);
        let (mut used, mut is_flushed) = (0, false);
        while !output.has_no_spare_space() && !is_flushed {
            if used < bytes.len() {
                let mut input = PartialBuffer::new(&bytes[used..]);
                self.library
                    .encode(&mut input, &mut output)
                    .map_err(|_| CodingBroken)?;
                used += input.written_len();
            } else if is_last {
                is_flushed = self.library.finish(&mut output).map_err(|_| CodingBroken)?;
            } else {
                is_flushed = self.library.flush(&mut output).map_err(|_| CodingBroken)?;
            }
        }
        let made = output.written_len();
        out.truncate(made);
        Ok(Encoded {
            bytes: out,
            used,
            is_flushed,
        })
    }
}
