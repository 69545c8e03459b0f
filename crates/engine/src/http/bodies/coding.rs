//! The stages of a chain that undo a content coding and do it again.

use std::rc::Rc;

use headgate_coding::{Coding, CodingBroken, Decoder, Encoder};

use super::piece::Flow;

/// Undoes a coding: takes one flow, gives several.
pub(crate) struct Decoding {
    decoder: Decoder,
    input: Option<Flow>,
    used: usize,
}

impl Decoding {
    pub(crate) fn new(coding: Coding) -> Self {
        Self {
            decoder: Decoder::new(coding),
            input: None,
            used: 0,
        }
    }

    pub(crate) fn give(&mut self, flow: Flow) {
        self.used = 0;
        self.input = Some(flow);
    }

    /// The next piece; `None`: it wants more.
    pub(crate) fn take(&mut self) -> Result<Option<Flow>, CodingBroken> {
        let Some(flow) = &self.input else { return Ok(None) };
        let (is_last, bytes) = (flow.is_last, flow.bytes());
        let mut out = Vec::new();
        self.used += self.decoder.decode(&bytes[self.used..], &mut out)?;
        if self.used < bytes.len() || self.decoder.has_more() {
            return Ok(Some(Flow::of(Rc::new(out), false)));
        }
        if is_last {
            self.decoder.finish()?;
        }
        self.input = None;
        Ok((is_last || !out.is_empty()).then(|| Flow::of(Rc::new(out), is_last)))
    }
}

/// Does a coding; each flow given is flushed, so that a slow stream is not held back.
pub(crate) struct Encoding {
    encoder: Encoder,
    input: Option<Flow>,
    used: usize,
}

impl Encoding {
    pub(crate) fn new(coding: Coding) -> Self {
        Self {
            encoder: Encoder::new(coding),
            input: None,
            used: 0,
        }
    }

    pub(crate) fn give(&mut self, flow: Flow) {
        self.used = 0;
        self.input = Some(flow);
    }

    /// The next piece; `None`: it wants more.
    pub(crate) fn take(&mut self) -> Result<Option<Flow>, CodingBroken> {
        let Some(flow) = &self.input else { return Ok(None) };
        let is_last = flow.is_last;
        let encoded = self.encoder.encode(&flow.bytes()[self.used..], is_last)?;
        self.used += encoded.used;
        if encoded.is_flushed {
            self.input = None;
        }
        Ok(Some(Flow::of(
            Rc::new(encoded.bytes),
            is_last && encoded.is_flushed,
        )))
    }
}

#[cfg(test)]
mod tests {
    use headgate_coding::STEP_BYTES;

    use super::*;

    fn encode(coding: Coding, pieces: &[&[u8]]) -> Vec<u8> {
        let mut encoding = Encoding::new(coding);
        let mut coded = Vec::new();
        for (at, piece) in pieces.iter().enumerate() {
            encoding.give(Flow::of(Rc::new(piece.to_vec()), at + 1 == pieces.len()));
            while let Some(flow) = encoding.take().unwrap() {
                coded.extend_from_slice(flow.bytes());
            }
        }
        coded
    }

    fn decode(coding: Coding, coded: &[u8], step: usize) -> Vec<u8> {
        let mut decoding = Decoding::new(coding);
        let mut plain = Vec::new();
        let mut pieces = coded.chunks(step).peekable();
        while let Some(piece) = pieces.next() {
            decoding.give(Flow::of(Rc::new(piece.to_vec()), pieces.peek().is_none()));
            while let Some(flow) = decoding.take().unwrap() {
                assert!(flow.len() <= STEP_BYTES);
                plain.extend_from_slice(flow.bytes());
            }
        }
        plain
    }

    #[test]
    fn what_is_encoded_is_decoded_however_it_is_cut() {
        let text: Vec<u8> = (0..200_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for coding in Coding::ALL {
            let coded = encode(coding, &[&text[..10], &[], &text[10..300_000], &text[300_000..]]);
            for step in [7_001, 65_536, 1 << 22] {
                assert_eq!(decode(coding, &coded, step), text, "{coding:?}");
            }
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
