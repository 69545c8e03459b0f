//! Frames and the integers that they are made of (RFC 9114 section 7, RFC 9000 section 16).

/// The most bytes that a frame's type and length take.
pub const MAX_FRAME_HEAD_BYTES: usize = 16;

/// Reads an integer from the front: its value, and how many bytes it took. `None` while it is not whole.
pub fn read_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = 1 << (first >> 6);
    let rest = bytes.get(1..length)?;
    let value = rest.iter().fold(u64::from(first & 0x3f), |value, byte| {
        (value << 8) | u64::from(*byte)
    });
    Some((value, length))
}

/// Appends an integer, in as few bytes as it takes. What is above 2^62 - 1 is written as that.
pub fn write_varint(value: u64, out: &mut Vec<u8>) {
    let value = value.min((1 << 62) - 1);
    match value {
        0..=0x3f => out.push(value.to_be_bytes()[7]),
        0x40..=0x3fff => out.extend_from_slice(&(value | 0x4000).to_be_bytes()[6..]),
        0x4000..=0x3fff_ffff => out.extend_from_slice(&(value | 0x8000_0000).to_be_bytes()[4..]),
        _ => out.extend_from_slice(&(value | 0xc000_0000_0000_0000).to_be_bytes()),
    }
}

/// Appends the type and the length of a frame.
pub fn write_frame_header(kind: u64, length: u64, out: &mut Vec<u8>) {
    write_varint(kind, out);
    write_varint(length, out);
}

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameKind {
    /// A part of a body.
    Data,
    /// A field section.
    Headers,
    /// A push that is not wanted.
    CancelPush,
    /// The connection's settings.
    Settings,
    /// A push.
    PushPromise,
    /// The connection is about to end.
    Goaway,
    /// How many pushes are taken.
    MaxPushId,
    /// How urgent a request is by now (RFC 9218 section 7.2).
    PriorityUpdate,
    /// The same of a push.
    PushPriorityUpdate,
    /// A type of HTTP/2 that HTTP/3 has not: an error wherever it comes (RFC 9114 section 7.2.8).
    Forbidden,
    /// Any other, which is passed over (RFC 9114 section 9).
    Unknown,
}

/// A frame's type and the length of what follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHead {
    /// What it is.
    pub kind: FrameKind,
    /// Bytes of its payload.
    pub length: u64,
}

impl FrameHead {
    /// The type of DATA.
    pub const DATA: u64 = 0x0;
    /// The type of HEADERS.
    pub const HEADERS: u64 = 0x1;
    /// The type of SETTINGS.
    pub const SETTINGS: u64 = 0x4;
    /// The type of GOAWAY.
    pub const GOAWAY: u64 = 0x7;

    /// Reads it from the front, and how many bytes it took. `None` while it is not whole.
    pub fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let (kind, of_kind) = read_varint(bytes)?;
        let (length, of_length) = read_varint(&bytes[of_kind..])?;
        let kind = match kind {
            Self::DATA => FrameKind::Data,
            Self::HEADERS => FrameKind::Headers,
            0x3 => FrameKind::CancelPush,
            Self::SETTINGS => FrameKind::Settings,
            0x5 => FrameKind::PushPromise,
            Self::GOAWAY => FrameKind::Goaway,
            0xd => FrameKind::MaxPushId,
            0xf_0700 => FrameKind::PriorityUpdate,
            0xf_0701 => FrameKind::PushPriorityUpdate,
            0x2 | 0x6 | 0x8 | 0x9 => FrameKind::Forbidden,
            _ => FrameKind::Unknown,
        };
        Some((Self { kind, length }, of_kind + of_length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_the_specification_are_read() {
        // RFC 9000 appendix A.1
        let bytes = [0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c];
        assert_eq!(read_varint(&bytes), Some((151_288_809_941_952_652, 8)));
        assert_eq!(read_varint(&[0x9d, 0x7f, 0x3e, 0x7d]), Some((494_878_333, 4)));
        assert_eq!(read_varint(&[0x7b, 0xbd]), Some((15_293, 2)));
        assert_eq!(read_varint(&[0x40, 0x25]), Some((37, 2)));
        assert_eq!(read_varint(&[0x40]), None);
        assert_eq!(read_varint(&[]), None);
    }

    #[test]
    fn what_is_written_is_read() {
        for value in [
            0,
            63,
            64,
            16_383,
            16_384,
            1 << 29,
            (1 << 30) - 1,
            1 << 30,
            (1 << 62) - 1,
        ] {
            let mut bytes = Vec::new();
            write_varint(value, &mut bytes);
            assert_eq!(read_varint(&bytes), Some((value, bytes.len())));
        }
    }

    #[test]
    fn frames_are_told_apart() {
        let read = |bytes: &[u8]| FrameHead::read(bytes).map(|(head, used)| (head.kind, head.length, used));
        assert_eq!(read(&[0, 5]), Some((FrameKind::Data, 5, 2)));
        assert_eq!(read(&[1, 0x40, 0x80]), Some((FrameKind::Headers, 128, 3)));
        assert_eq!(read(&[6, 0]), Some((FrameKind::Forbidden, 0, 2)));
        assert_eq!(read(&[0x21, 0]), Some((FrameKind::Unknown, 0, 2)));
        assert_eq!(read(&[1]), None);
    }
}
