//! Paths: the rules in the first byte, then a path. What is accepted is in one form that no server can read another way
//! without the gateway's knowledge.
#![no_main]

use headgate_route::{other_readings, EncodedSlashes, PathPattern, PathRules};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&rule, path)) = bytes.split_first() else {
        return;
    };
    let rules = PathRules {
        encoded_slashes: [
            EncodedSlashes::Keep,
            EncodedSlashes::Refuse,
            EncodedSlashes::Decode,
        ][usize::from(rule % 3)],
        merge_slashes: rule & 0x80 != 0,
    };
    if let Ok(text) = std::str::from_utf8(path) {
        let _ = PathPattern::parse(text);
    }
    let Ok(normal) = rules.normalize(path) else {
        return;
    };
    let text = normal.text.as_ref();
    if text == b"*" {
        return;
    }
    assert!(text.starts_with(b"/"));
    assert!(text.iter().all(|byte| (0x21..0x7f).contains(byte)));
    let again = rules.normalize(text).expect("a normal form is accepted");
    assert_eq!(again.text.as_ref(), text, "and stays");
    assert!(!normal.is_plain || other_readings(text).is_empty());
    for reading in other_readings(text).iter().map(Vec::as_slice).chain([text]) {
        for segment in reading.split(|byte| *byte == b'/') {
            assert!(segment != b"." && segment != b"..");
        }
    }
    assert!(!rules.merge_slashes || !text.windows(2).any(|two| two == b"//"));
    let has_encoded_slash = text.windows(3).any(|three| three == b"%2F");
    assert!(rules.encoded_slashes == EncodedSlashes::Keep || !has_encoded_slash);
});
