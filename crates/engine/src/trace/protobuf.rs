//! Protocol Buffers (encoding, proto3): what spans are written in, and what a collector responds with.
//!
//! # How it works
//! A message has its length before it, which is known only behind it: room for it is left, and filled in then. A length that
//! is shorter than its room is padded with continuation bits, which every reader of varints takes.

const VARINT: u32 = 0;
const FIXED_64: u32 = 1;
const LENGTH: u32 = 2;
const FIXED_32: u32 = 5;

/// Appends a varint.
pub(super) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low_bits(value) | 0x80);
        value >>= 7;
    }
    out.push(low_bits(value));
}

/// How long that is.
pub(super) fn varint_length(value: usize) -> usize {
    let bits = (usize::BITS - value.leading_zeros()).max(1);
    bits.div_ceil(7) as usize
}

#[allow(clippy::cast_possible_truncation, reason = "they are seven")]
fn low_bits(value: u64) -> u8 {
    (value & 0x7f) as u8
}

fn key(out: &mut Vec<u8>, field: u32, wire: u32) {
    varint(out, u64::from(field << 3 | wire));
}

/// A number that is not 0; 0 is what is not there.
pub(super) fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    if value != 0 {
        key(out, field, VARINT);
        varint(out, value);
    }
}

pub(super) fn fixed_64(out: &mut Vec<u8>, field: u32, value: u64) {
    key(out, field, FIXED_64);
    out.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn fixed_32(out: &mut Vec<u8>, field: u32, value: u32) {
    key(out, field, FIXED_32);
    out.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    begin(out, field, value.len());
    out.extend_from_slice(value);
}

/// The key and the length of what is so long.
pub(super) fn begin(out: &mut Vec<u8>, field: u32, length: usize) {
    key(out, field, LENGTH);
    varint(out, length as u64);
}

/// The key of a message, and room for its length in so many bytes. What is returned is where the message begins.
pub(super) fn open(out: &mut Vec<u8>, field: u32, room: usize) -> usize {
    key(out, field, LENGTH);
    out.resize(out.len() + room, 0);
    out.len()
}

/// Fills in the length of a message that began at `start`, with that room before it, and ends here.
pub(super) fn close(out: &mut Vec<u8>, start: usize, room: usize) {
    let length = out.len() - start;
    let needed = varint_length(length).max(room);
    if needed > room {
        out.splice(start..start, std::iter::repeat_n(0, needed - room));
    }
    let place = &mut out[start - room..start - room + needed];
    let (last, before) = place.split_last_mut().expect("a length has a byte at least");
    let mut left = length as u64;
    for byte in before {
        *byte = low_bits(left) | 0x80;
        left >>= 7;
    }
    *last = low_bits(left);
}

/// A field as it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// A varint, or a number of fixed length.
    Number(u64),
    /// A string, bytes, or a message.
    Bytes(&'a [u8]),
}

/// The fields of a message, up to what is no field.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.varint()?;
        let value = match u32::try_from(key & 7).ok()? {
            VARINT => Value::Number(self.varint()?),
            FIXED_64 => Value::Number(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            FIXED_32 => Value::Number(u32::from_le_bytes(self.take(4)?.try_into().ok()?).into()),
            LENGTH => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            _ => return None,
        };
        Some((key >> 3, value))
    }
}

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_all_lengths_come_back() {
        for bits in 0..64 {
            for value in [(1_u64 << bits) - 1, 1 << bits, u64::MAX >> bits] {
                let mut out = Vec::new();
                varint(&mut out, value);
                assert_eq!(out.len(), varint_length(usize::try_from(value).expect("64 bits")));
                number(&mut out, 3, value);
                let mut fields = Fields(&out);
                assert_eq!(fields.varint(), Some(value));
                assert_eq!(fields.next(), (value > 0).then_some((3, Value::Number(value))));
            }
        }
    }

    #[test]
    fn a_message_has_its_length_whatever_the_room_for_it() {
        for room in [1, 2, 4] {
            for length in [0, 1, 127, 128, 16_383, 16_384, 70_000] {
                let content = vec![b'x'; length];
                let mut out = vec![9, 9];
                let start = open(&mut out, 1, room);
                out.extend_from_slice(&content);
                close(&mut out, start, room);
                fixed_32(&mut out, 16, 7);
                assert_eq!(out[..2], [9, 9]);
                let found: Vec<_> = Fields(&out[2..]).collect();
                assert_eq!(found, [(1, Value::Bytes(&content)), (16, Value::Number(7))]);
            }
        }
    }

    #[test]
    fn what_is_no_message_ends_the_reading() {
        for bad in [
            &[0x0a][..],
            &[0x0a, 5, 1],
            &[0xff; 12],
            &[0x0b, 1],
            &[0x09, 1, 2, 3],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        ] {
            assert_eq!(Fields(bad).count(), 0, "{bad:?}");
        }
    }
}
