//! The Huffman code of field values (RFC 7541 appendix B, as RFC 9204 section 4.1.2 uses it), which is canonical: codes of
//! one length are consecutive, in the order of the octets, so that a table of lengths says all.

/// How many codes there are of each length in bits. The last of 30 bits is the end of a string.
const COUNTS: [u64; 31] = [
    0, 0, 0, 0, 0, 10, 26, 32, 6, 0, 5, 3, 2, 6, 2, 3, 0, 0, 0, 3, 8, 13, 26, 29, 12, 4, 15, 19, 29, 0, 4,
];

/// The octets in the order of their codes.
const OCTETS: [u8; 256] = [
    48, 49, 50, 97, 99, 101, 105, 111, 115, 116, 32, 37, 45, 46, 47, 51, 52, 53, 54, 55, 56, 57, 61, 65, 95,
    98, 100, 102, 103, 104, 108, 109, 110, 112, 114, 117, 58, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77,
    78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 89, 106, 107, 113, 118, 119, 120, 121, 122, 38, 42, 44, 59, 88,
    90, 33, 34, 40, 41, 63, 39, 43, 124, 35, 62, 0, 36, 64, 91, 93, 126, 94, 125, 60, 96, 123, 92, 195, 208,
    128, 130, 131, 162, 184, 194, 224, 226, 153, 161, 167, 172, 176, 177, 179, 209, 216, 217, 227, 229, 230,
    129, 132, 133, 134, 136, 146, 154, 156, 160, 163, 164, 169, 170, 173, 178, 181, 185, 186, 187, 189, 190,
    196, 198, 228, 232, 233, 1, 135, 137, 138, 139, 140, 141, 143, 147, 149, 150, 151, 152, 155, 157, 158,
    165, 166, 168, 174, 175, 180, 182, 183, 188, 191, 197, 231, 239, 9, 142, 144, 145, 148, 159, 171, 206,
    215, 225, 236, 237, 199, 207, 234, 235, 192, 193, 200, 201, 202, 205, 210, 213, 218, 219, 238, 240, 242,
    243, 255, 203, 204, 211, 212, 214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250, 251, 252, 253, 254,
    2, 3, 4, 5, 6, 7, 8, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 23, 24, 25, 26, 27, 28, 29, 30, 31, 127,
    220, 249, 10, 13, 22,
];

/// The shortest and the longest code, in bits.
const SHORTEST: u32 = 5;
const LONGEST: u32 = 30;

/// For each length: the first 32 bits behind its last code, and what leads from a code to its place in [`OCTETS`].
const LIMITS: [(u64, u64); 31] = limits();

const fn limits() -> [(u64, u64); 31] {
    let mut all = [(0, 0); 31];
    let (mut code, mut place, mut length) = (0_u64, 0_u64, 0);
    while length <= LONGEST as usize {
        // places lie behind codes, which wrap around to them
        let first = place.wrapping_sub(code);
        code += COUNTS[length];
        place += COUNTS[length];
        all[length] = (code << (32 - length), first);
        code <<= 1;
        length += 1;
    }
    all
}

/// By the first eight bits of what is seen: the octet and the length of a code that is no longer, which nearly all are in
/// text; a length of 0 for others.
const SHORT: [(u8, u32); 256] = short();

const fn short() -> [(u8, u32); 256] {
    let mut all = [(0, 0); 256];
    let (mut seen, mut place, mut length) = (0, 0, SHORTEST);
    while length <= 8 {
        let mut left = COUNTS[length as usize];
        while left > 0 {
            let mut tails = 1 << (8 - length);
            while tails > 0 {
                all[seen] = (OCTETS[place], length);
                seen += 1;
                tails -= 1;
            }
            place += 1;
            left -= 1;
        }
        length += 1;
    }
    all
}

/// Decodes `text` to the end of `out`. False: it is not a valid code, or longer than `most` octets.
pub(super) fn decode(text: &[u8], most: usize, out: &mut Vec<u8>) -> bool {
    let begin = out.len();
    let (mut bits, mut held) = (0_u64, 0_u32);
    let mut rest = text.iter();
    loop {
        while held <= 32 {
            let Some(byte) = rest.next() else { break };
            bits |= u64::from(*byte) << (56 - held);
            held += 8;
        }
        // what is not there reads as ones, which begin no code but the end's
        let seen = (bits | (u64::MAX.checked_shr(held).unwrap_or(0))) >> 32;
        let (octet, length) = SHORT[usize::from(seen.to_be_bytes()[4])];
        if length > 0 && length <= held && out.len() - begin < most {
            out.push(octet);
            bits <<= length;
            held -= length;
            continue;
        }
        let Some(length) = (SHORTEST..=LONGEST).find(|length| seen < LIMITS[*length as usize].0) else {
            return is_padding(bits, held) && rest.len() == 0;
        };
        if length > held {
            return is_padding(bits, held) && rest.len() == 0;
        }
        let code = seen >> (32 - length);
        let Some(octet) = usize::try_from(code.wrapping_add(LIMITS[length as usize].1))
            .ok()
            .and_then(|place| OCTETS.get(place))
        else {
            return false;
        };
        if out.len() - begin == most {
            return false;
        }
        out.push(*octet);
        bits <<= length;
        held -= length;
    }
}

/// Whether the last bits are padding: fewer than eight, all ones (RFC 7541 section 5.2).
fn is_padding(bits: u64, held: u32) -> bool {
    held < 8 && (held == 0 || bits >> (64 - held) == (1 << held) - 1)
}

#[cfg(test)]
mod tests {
    use super::decode;

    fn decoded(text: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode(text, 1000, &mut out).then_some(out)
    }

    #[test]
    fn examples_of_the_specification_are_read() {
        // RFC 7541 appendix C.4 and C.6
        let host = [
            0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
        ];
        assert_eq!(decoded(&host).as_deref(), Some(&b"www.example.com"[..]));
        let cache = [0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf];
        assert_eq!(decoded(&cache).as_deref(), Some(&b"no-cache"[..]));
        let date = [
            0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04, 0x0b, 0x81, 0x66,
            0xe0, 0x82, 0xa6, 0x2d, 0x1b, 0xff,
        ];
        assert_eq!(
            decoded(&date).as_deref(),
            Some(&b"Mon, 21 Oct 2013 20:13:21 GMT"[..])
        );
        assert_eq!(decoded(b"").as_deref(), Some(&b""[..]));
    }

    #[test]
    fn rare_octets_are_read() {
        // `<` is 0x7ffc in 15 bits, the octet 0 is 0x1ff8 in 13
        assert_eq!(decoded(&[0xff, 0xf9]).as_deref(), Some(&b"<"[..]));
        assert_eq!(decoded(&[0xff, 0xc7]).as_deref(), Some(&[0][..]));
    }

    #[test]
    fn wrong_padding_and_the_end_within_a_string_are_refused() {
        assert_eq!(decoded(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbe]), None);
        assert_eq!(decoded(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf, 0xff]), None);
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), None);
    }

    #[test]
    fn length_is_bounded() {
        assert!(!decode(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], 7, &mut Vec::new()));
    }
}
