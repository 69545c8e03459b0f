//! A request head: no panic, one verdict however the bytes are cut, and what is written on reads the same.
#![no_main]

use headgate_wire::{parse_request, HeadLimits, Lenient, Parsed};
use libfuzzer_sys::fuzz_target;

const LIMITS: HeadLimits = HeadLimits {
    max_bytes: 4096,
    max_fields: 32,
    lenient: Lenient::NONE,
};

/// What any list of rules lets pass must end at the same place as what is strictly read, and no cut may change the verdict.
fn mended(bytes: &[u8]) {
    let rules = [
        "version_digits",
        "control_characters",
        "non_ascii_targets",
        "overlong_utf8",
        "fragments",
    ];
    let lenient = rules
        .iter()
        .filter_map(|rule| Lenient::named(rule))
        .fold(Lenient::NONE, Lenient::and);
    let limits = HeadLimits { lenient, ..LIMITS };
    let loose = parse_request(bytes, limits);
    if let (Ok(Parsed::Complete { len, .. }), Ok(Parsed::Complete { len: other, .. })) =
        (parse_request(bytes, LIMITS), &loose)
    {
        assert_eq!(len, *other);
    }
    if let Ok(Parsed::Complete { head, .. }) = loose {
        assert!(head.target().is_ascii());
    }
}

fuzz_target!(|bytes: &[u8]| {
    mended(bytes);
    let whole = parse_request(bytes, LIMITS);
    for end in [bytes.len() / 3, bytes.len() / 2, bytes.len().saturating_sub(1)] {
        match (parse_request(&bytes[..end], LIMITS), &whole) {
            (Ok(Parsed::Partial), _) => {}
            (Ok(Parsed::Complete { len, .. }), Ok(Parsed::Complete { len: other, .. })) => {
                assert_eq!(len, *other)
            }
            (Err(error), Err(other)) => assert_eq!(error, *other),
            (early, late) => panic!("{early:?} became {late:?}"),
        }
    }
    let Ok(Parsed::Complete { head, .. }) = whole else {
        return;
    };
    assert_eq!(head.path().len() <= head.target().len(), true);
    if head.host().is_empty() || head.method() == b"CONNECT" {
        return;
    }
    let mut out = [
        head.method(),
        b" ",
        head.target(),
        b" HTTP/1.1\r\nHost: ",
        head.host(),
        b"\r\n",
    ]
    .concat();
    head.head.write_fields(&mut out);
    out.extend_from_slice(b"\r\n");
    match parse_request(&out, HeadLimits::default()) {
        Ok(Parsed::Complete { head: again, len }) => {
            assert_eq!(len, out.len());
            assert!(again.head.iter().eq(head.head.iter()));
        }
        other => panic!("what goes on is refused: {other:?}"),
    }
});
