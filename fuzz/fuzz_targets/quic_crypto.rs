//! A client's first message in pieces: no panic, nothing beyond its bounds, and one message or none in whatever order the
//! packets come.
#![no_main]

use headgate_wire::{parse_initial, ClientHelloError, CryptoStream};
use libfuzzer_sys::fuzz_target;

const MOST: usize = 512;

/// Inputs below this cannot have as many pieces as may wait: all of them count, in any order.
const FEW_BYTES: usize = 128 * 3;

fn gather<'a>(packets: impl Iterator<Item = &'a [u8]>) -> Result<Vec<u8>, ClientHelloError> {
    let mut stream = CryptoStream::default();
    for packet in packets {
        stream.take(packet, MOST);
    }
    stream.message().map(<[u8]>::to_vec)
}

fuzz_target!(|bytes: &[u8]| {
    if let Some(initial) = parse_initial(bytes) {
        assert!(initial.number_at < initial.bytes.len() && initial.bytes.len() <= bytes.len());
    }
    let packets: Vec<&[u8]> = bytes.split(|byte| *byte == 0xff).collect();
    let message = gather(packets.iter().copied());
    assert!(message.as_ref().is_ok_and(|message| message.len() <= MOST) || message.is_err());
    if bytes.len() < FEW_BYTES {
        assert_eq!(gather(packets.iter().rev().copied()), message);
    }
});
