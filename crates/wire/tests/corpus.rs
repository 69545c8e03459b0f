//! The fuzz seeds, run as an ordinary test: each, and each of its beginnings and one-byte changes, without panic.

use std::path::PathBuf;

use headgate_wire::{
    parse_client_hello, parse_initial, parse_proxy, parse_request, parse_response, Authority, ChunkLimits,
    ChunkStep, ChunkedDecoder, CryptoStream, HeadLimits, Lenient, Priority, ProxyVersions,
};

fn run(bytes: &[u8]) {
    let limits = HeadLimits {
        max_bytes: 4096,
        max_fields: 32,
        lenient: Lenient::NONE,
    };
    let _ = parse_request(bytes, limits);
    let _ = parse_response(bytes, limits, bytes.first().is_some_and(|byte| byte & 1 == 1));
    let _ = parse_proxy(bytes, ProxyVersions::Any, 1024);
    let _ = parse_client_hello(bytes, 4096);
    for line in bytes.split(|&byte| byte == b'\n') {
        let _ = Authority::parse(line);
    }
    let _ = headgate_wire::http3::FrameHead::read(bytes);
    let _ = headgate_wire::http3::check_settings(bytes);
    let _ = headgate_wire::http3::decode_section(bytes, 4096, |_, _| {});
    let _ = Priority::default().and(bytes);
    let _ = parse_initial(bytes);
    let mut message = CryptoStream::default();
    bytes
        .split(|&byte| byte == 0xff)
        .for_each(|packet| message.take(packet, 4096));
    let _ = message.message();
    let mut decoder = ChunkedDecoder::new(ChunkLimits::default());
    let mut rest = bytes.get(1..).unwrap_or_default();
    while let Ok(ChunkStep::Data { consumed_before, len }) = decoder.step(rest) {
        rest = &rest[consumed_before + len..];
    }
}

#[test]
fn no_seed_panics() {
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let mut count = 0;
    for target in std::fs::read_dir(corpus).expect("the seeds are in the repository") {
        for seed in std::fs::read_dir(target.expect("readable").path()).expect("a folder of seeds") {
            let mut bytes = std::fs::read(seed.expect("readable").path()).expect("readable");
            count += 1;
            (0..=bytes.len()).for_each(|end| run(&bytes[..end]));
            for index in 0..bytes.len() {
                let kept = bytes[index];
                for change in [0, b'\r', b'\n', b' ', b':', kept ^ 0x80] {
                    bytes[index] = change;
                    run(&bytes);
                }
                bytes[index] = kept;
            }
        }
    }
    assert!(count >= 20, "only {count} seeds");
}
