//! Frames, settings and field sections of HTTP/3: no panic, nothing beyond its bounds, and what is written is read again.
#![no_main]

use headgate_wire::http3::{
    check_settings, decode_section, read_varint, write_field, write_frame_header, write_section_prefix,
    write_varint, FrameHead, SectionError,
};
use headgate_wire::Priority;
use libfuzzer_sys::fuzz_target;

const MOST: usize = 8192;
const OVERHEAD: usize = 32;

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fn decode(section: &[u8], most: usize) -> Result<Fields, SectionError> {
    let mut fields = Vec::new();
    decode_section(section, most, |name, value| fields.push((name.to_vec(), value.to_vec())))?;
    Ok(fields)
}

fn frames(mut bytes: &[u8]) {
    while let Some((head, used)) = FrameHead::read(bytes) {
        for end in 0..used {
            assert_eq!(FrameHead::read(&bytes[..end]), None, "it is not whole");
        }
        let mut again = Vec::new();
        write_frame_header(read_varint(bytes).expect("it was read").0, head.length, &mut again);
        assert_eq!(FrameHead::read(&again), Some((head, again.len())));
        bytes = &bytes[used..];
        let length = usize::try_from(head.length).unwrap_or(usize::MAX);
        bytes = &bytes[length.min(bytes.len())..];
    }
}

fn section(bytes: &[u8]) {
    let Ok(fields) = decode(bytes, MOST) else { return };
    let comes_to: usize = fields.iter().map(|(name, value)| name.len() + value.len() + OVERHEAD).sum();
    assert!(comes_to <= MOST);
    assert_eq!(decode(bytes, comes_to).as_ref(), Ok(&fields));
    if comes_to > 0 {
        assert_eq!(decode(bytes, comes_to - 1), Err(SectionError::TooLarge));
    }
    let mut again = Vec::new();
    write_section_prefix(&mut again);
    for (name, value) in &fields {
        write_field(name, value, &mut again);
    }
    assert_eq!(decode(&again, MOST), Ok(fields));
}

fuzz_target!(|bytes: &[u8]| {
    frames(bytes);
    section(bytes);
    let _ = check_settings(bytes);
    let told = Priority::default().and(bytes);
    assert!(told.urgency <= Priority::LEAST_URGENT);
    if let Some((value, used)) = read_varint(bytes) {
        let mut again = Vec::new();
        write_varint(value, &mut again);
        assert_eq!(read_varint(&again), Some((value, again.len())));
        assert!(again.len() <= used);
    }
});
