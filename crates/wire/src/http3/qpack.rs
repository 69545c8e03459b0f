//! Field sections (RFC 9204 section 4.5), of the static table and literals only.

use super::huffman;
use super::static_table::{numbers, FIELDS};

/// What a field counts beside its name and value (RFC 9114 section 4.2.2).
const FIELD_OVERHEAD: usize = 32;

/// Why a section is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SectionError {
    /// It is not valid QPACK, or refers to a table that holds nothing: `QPACK_DECOMPRESSION_FAILED`.
    #[error("a field section that cannot be decoded")]
    Invalid,
    /// What it decodes to is larger than allowed.
    #[error("a field section that is too large")]
    TooLarge,
}

/// Decodes a whole section: calls `field` with each name and value in order. `most` bounds what they come to, with
/// 32 octets for each.
///
/// # Errors
/// Fields before the error have been told.
pub fn decode_section(
    section: &[u8],
    most: usize,
    mut field: impl FnMut(&[u8], &[u8]),
) -> Result<(), SectionError> {
    let mut rest = section;
    // the required insert count and the base: only of the dynamic table
    if integer(&mut rest, 8)? != 0 {
        return Err(SectionError::Invalid);
    }
    integer(&mut rest, 7)?;
    let mut left = most;
    let (mut name, mut value) = (Vec::new(), Vec::new());
    while let Some(first) = rest.first().copied() {
        value.clear();
        let (name, value): (&[u8], &[u8]) = if first & 0x80 != 0 {
            // indexed
            is_static(first, 0x40)?;
            entry(integer(&mut rest, 6)?)?
        } else if first & 0xc0 == 0x40 {
            // a literal with a name of the table
            is_static(first, 0x10)?;
            let (name, _) = entry(integer(&mut rest, 4)?)?;
            string(&mut rest, 7, left, &mut value)?;
            (name, &value)
        } else if first & 0xe0 == 0x20 {
            // a literal
            name.clear();
            string(&mut rest, 3, left, &mut name)?;
            string(&mut rest, 7, left, &mut value)?;
            (&name, &value)
        } else {
            // relative to a base in the dynamic table
            return Err(SectionError::Invalid);
        };
        left = left
            .checked_sub(name.len() + value.len() + FIELD_OVERHEAD)
            .ok_or(SectionError::TooLarge)?;
        field(name, value);
    }
    Ok(())
}

fn is_static(first: u8, flag: u8) -> Result<(), SectionError> {
    if first & flag == 0 {
        return Err(SectionError::Invalid);
    }
    Ok(())
}

fn entry(number: u64) -> Result<(&'static [u8], &'static [u8]), SectionError> {
    usize::try_from(number)
        .ok()
        .and_then(|number| FIELDS.get(number))
        .copied()
        .ok_or(SectionError::Invalid)
}

/// An integer whose first byte has so many bits of it (RFC 7541 section 5.1).
fn integer(rest: &mut &[u8], prefix: u32) -> Result<u64, SectionError> {
    let most = (1_u64 << prefix) - 1;
    let (first, mut tail) = rest.split_first().ok_or(SectionError::Invalid)?;
    let mut value = u64::from(*first) & most;
    let mut shift = 0;
    while value >= most {
        let (byte, after) = tail.split_first().ok_or(SectionError::Invalid)?;
        tail = after;
        // no length nor number that is any good takes more
        if shift > 28 {
            return Err(SectionError::Invalid);
        }
        value += u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    *rest = tail;
    Ok(value)
}

/// A string whose length has so many bits in its first byte, below the flag for Huffman.
fn string(rest: &mut &[u8], prefix: u32, most: usize, out: &mut Vec<u8>) -> Result<(), SectionError> {
    let is_coded = rest.first().ok_or(SectionError::Invalid)? & (1 << prefix) != 0;
    let length = usize::try_from(integer(rest, prefix)?).map_err(|_| SectionError::Invalid)?;
    let (text, tail) = rest.split_at_checked(length).ok_or(SectionError::Invalid)?;
    *rest = tail;
    if !is_coded {
        if length > most {
            return Err(SectionError::TooLarge);
        }
        out.extend_from_slice(text);
        return Ok(());
    }
    // codes have five bits or more, so that this bounds the work and tells the two errors apart
    let bound = length * 8 / 5;
    out.reserve(bound);
    if !huffman::decode(text, bound, out) {
        return Err(SectionError::Invalid);
    }
    if out.len() > most {
        return Err(SectionError::TooLarge);
    }
    Ok(())
}

/// Appends what a section begins with.
pub fn write_section_prefix(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0]);
}

/// Appends the pseudo field of a status.
pub fn write_status_field(status: u16, out: &mut Vec<u8>) {
    let digit = |of: u16| u8::try_from(of % 10).map_or(b'0', |digit| b'0' + digit);
    let digits = [digit(status / 100), digit(status / 10), digit(status)];
    write_field(b":status", &digits, out);
}

/// Appends a field; its name must be in lower case.
pub fn write_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let known = numbers(name);
    if let Some(number) = known
        .iter()
        .find(|number| FIELDS[usize::from(**number)].1 == value)
    {
        return write_integer(0xc0, 6, usize::from(*number), out);
    }
    // who must not be remembered by compression between here and the client (RFC 9204 section 7.1.3)
    let is_secret = matches!(name, b"set-cookie" | b"authorization");
    if let Some(number) = known.first() {
        write_integer(if is_secret { 0x70 } else { 0x50 }, 4, usize::from(*number), out);
    } else {
        write_integer(0x20, 3, name.len(), out);
        out.extend_from_slice(name);
    }
    write_integer(0, 7, value.len(), out);
    out.extend_from_slice(value);
}

fn write_integer(flags: u8, prefix: u32, value: usize, out: &mut Vec<u8>) {
    let most = (1_u8 << prefix) - 1;
    let Some(mut left) = value.checked_sub(usize::from(most)) else {
        return out.push(flags | value.to_le_bytes()[0]);
    };
    out.push(flags | most);
    while left >= 0x80 {
        out.push(left.to_le_bytes()[0] | 0x80);
        left >>= 7;
    }
    out.push(left.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fields = Vec<(String, String)>;

    fn decoded(section: &[u8], most: usize) -> Result<Fields, SectionError> {
        let mut fields = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        decode_section(section, most, |name, value| {
            fields.push((text(name), text(value)));
        })?;
        Ok(fields)
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn example_of_the_specification_is_read() {
        // RFC 9204 appendix B.1
        let section = [
            0, 0, 0x51, 0x0b, 0x2f, 0x69, 0x6e, 0x64, 0x65, 0x78, 0x2e, 0x68, 0x74, 0x6d, 0x6c,
        ];
        assert_eq!(decoded(&section, 100), Ok(vec![pair(":path", "/index.html")]));
    }

    #[test]
    fn what_is_written_is_read() {
        let long = "v".repeat(300);
        let fields = [
            ("content-type", "text/html; charset=utf-8"),
            ("content-type", "x/y"),
            ("x-own", "1"),
            ("x-a-name-that-is-long", long.as_str()),
            ("set-cookie", "a=b"),
            ("empty", ""),
        ];
        let mut section = Vec::new();
        write_section_prefix(&mut section);
        write_status_field(200, &mut section);
        write_status_field(299, &mut section);
        for (name, value) in fields {
            write_field(name.as_bytes(), value.as_bytes(), &mut section);
        }
        let mut expected = vec![pair(":status", "200"), pair(":status", "299")];
        expected.extend(fields.map(|(name, value)| pair(name, value)));
        assert_eq!(decoded(&section, 10_000), Ok(expected));
    }

    #[test]
    fn what_a_section_comes_to_is_bounded() {
        // one byte for each field of forty and more
        let section = [&[0, 0][..], &[0xd1; 100]].concat();
        assert_eq!(decoded(&section, 1000), Err(SectionError::TooLarge));
        assert_eq!(decoded(&section, 5000).map(|fields| fields.len()), Ok(100));
        let literal = [&[0, 0, 0x51, 0x7f, 0x80, 0x01][..], &[b'a'; 255]].concat();
        assert_eq!(decoded(&literal, 100), Err(SectionError::TooLarge));
    }

    #[test]
    fn dynamic_references_and_cut_sections_are_invalid() {
        let invalid: [&[u8]; 10] = [
            &[],
            &[0],
            &[1, 0],
            &[0, 0, 0x80],
            &[0, 0, 0x40, 0],
            &[0, 0, 0x10],
            &[0, 0, 0x00],
            &[0, 0, 0xff, 0xff],
            &[0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0, 0, 0x51, 5, b'a'],
        ];
        for section in invalid {
            assert_eq!(decoded(section, 1000), Err(SectionError::Invalid), "{section:?}");
        }
        assert_eq!(
            decoded(&[0, 0, 0xff, 35], 1000),
            Ok(vec![pair("x-frame-options", "sameorigin")])
        );
        assert_eq!(decoded(&[0, 0, 0xff, 36], 1000), Err(SectionError::Invalid));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut seed = 1_u32;
        for round in 0..20_000 {
            let section: Vec<u8> = (0..round % 40)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    seed.to_be_bytes()[0]
                })
                .collect();
            let _ = decoded(&[&[0, 0][..], &section].concat(), 4096);
        }
    }
}
