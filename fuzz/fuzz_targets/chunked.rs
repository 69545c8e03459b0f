//! A chunked body: no panic, the same data however the bytes are cut. The first byte is the size of the cuts.
#![no_main]

use headgate_wire::{ChunkError, ChunkLimits, ChunkStep, ChunkedDecoder, Lenient};
use libfuzzer_sys::fuzz_target;

fn decode(bytes: &[u8], cut: usize) -> (Vec<u8>, Result<bool, ChunkError>) {
    let mut decoder = ChunkedDecoder::new(ChunkLimits {
        max_extension_bytes: 64,
        max_trailer_bytes: 512,
        is_from_server: false,
        lenient: Lenient::NONE,
    });
    let mut data = Vec::new();
    for mut piece in bytes.chunks(cut) {
        while !piece.is_empty() {
            match decoder.step(piece) {
                Ok(ChunkStep::Data { consumed_before, len }) => {
                    data.extend_from_slice(&piece[consumed_before..consumed_before + len]);
                    piece = &piece[consumed_before + len..];
                }
                Ok(ChunkStep::NeedMore { consumed }) => {
                    assert_eq!(consumed, piece.len());
                    piece = &[];
                }
                Ok(ChunkStep::End { .. }) => {
                    if let Some(trailers) = decoder.take_trailers() {
                        assert!(trailers.get(b"content-length").is_none());
                    }
                    return (data, Ok(decoder.is_done()));
                }
                Err(error) => return (data, Err(error)),
            }
        }
    }
    (data, Ok(false))
}

fuzz_target!(|bytes: &[u8]| {
    let Some((cut, bytes)) = bytes.split_first() else {
        return;
    };
    assert_eq!(decode(bytes, usize::from(*cut) + 1), decode(bytes, usize::MAX));
});
