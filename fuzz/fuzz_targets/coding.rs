//! Content codings: no panic, bounded steps, one verdict however the bytes are cut, and what is encoded is decoded again.
#![no_main]

use headgate_coding::{Coding, CodingBroken, Decoder, Encoder, STEP_BYTES};
use libfuzzer_sys::fuzz_target;

/// Where a body that grows without end is given up.
const MAX_BYTES: usize = 1 << 20;

/// The plain body; `None` if it is larger than is of interest.
fn decode(coding: Coding, coded: &[u8], cut: usize) -> Result<Option<Vec<u8>>, CodingBroken> {
    let mut decoder = Decoder::new(coding);
    let (mut plain, mut out) = (Vec::new(), Vec::new());
    for piece in coded.chunks(cut.max(1)) {
        let mut used = 0;
        while used < piece.len() || decoder.has_more() {
            used += decoder.decode(&piece[used..], &mut out)?;
            assert!(out.len() <= STEP_BYTES);
            plain.extend_from_slice(&out);
            if plain.len() > MAX_BYTES {
                return Ok(None);
            }
        }
    }
    decoder.finish().map(|()| Some(plain))
}

fn encode(coding: Coding, plain: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new(coding);
    let (mut coded, mut used) = (Vec::new(), 0);
    loop {
        let step = encoder
            .encode(&plain[used..], true)
            .expect("encoders take any bytes");
        used += step.used;
        coded.extend_from_slice(&step.bytes);
        if step.is_flushed {
            return coded;
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, body)) = bytes.split_first() else {
        return;
    };
    let (coding, cut) = (Coding::ALL[usize::from(choice % 4)], usize::from(choice / 4) + 1);
    let (whole, pieces) = (decode(coding, body, body.len()), decode(coding, body, cut));
    match (whole, pieces) {
        // given up, the one perhaps before it would have broken
        (Ok(None), _) | (_, Ok(None)) => {}
        // of frames that lie about their length the library refuses more when it has the whole
        (Err(_), _) | (_, Err(_)) if coding == Coding::Zstd => {}
        (whole, pieces) => assert_eq!(whole, pieces),
    }
    assert_eq!(
        decode(coding, &encode(coding, body), cut),
        Ok(Some(body.to_vec()))
    );
});
