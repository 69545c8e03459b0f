//! A response head: no panic, one verdict however the bytes are cut. The first byte says whether it is a response to HEAD.
#![no_main]

use headgate_wire::{parse_response, Framing, HeadLimits, Lenient, Parsed};
use libfuzzer_sys::fuzz_target;

const LIMITS: HeadLimits = HeadLimits {
    max_bytes: 4096,
    max_fields: 32,
    lenient: Lenient::NONE,
};

fuzz_target!(|bytes: &[u8]| {
    let Some((flag, bytes)) = bytes.split_first() else {
        return;
    };
    let was_head = flag & 1 == 1;
    let whole = parse_response(bytes, LIMITS, was_head);
    for end in [bytes.len() / 3, bytes.len() / 2, bytes.len().saturating_sub(1)] {
        match (parse_response(&bytes[..end], LIMITS, was_head), &whole) {
            (Ok(Parsed::Partial), _) => {}
            (Ok(Parsed::Complete { len, .. }), Ok(Parsed::Complete { len: other, .. })) => {
                assert_eq!(len, *other)
            }
            (Err(error), Err(other)) => assert_eq!(error, *other),
            (early, late) => panic!("{early:?} became {late:?}"),
        }
    }
    if let Ok(Parsed::Complete { head, .. }) = whole {
        assert!(!was_head || head.framing == Framing::None);
        assert!(!head.persistent || head.framing != Framing::UntilClose);
        let mut out = Vec::new();
        head.head.write_fields(&mut out);
        assert!(out.len() <= head.head.len_hint());
    }
});
