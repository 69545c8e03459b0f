//! Hexadecimal digits of a number of 64 bits, eight at once.

/// Writes all sixteen digits, lower case.
#[inline]
pub fn write_hex(digits: &mut [u8; 16], number: u64) {
    let halves = [number >> 32, number & 0xffff_ffff].map(|eight| hexadecimal(eight).to_le_bytes());
    digits[..8].copy_from_slice(&halves[0]);
    digits[8..].copy_from_slice(&halves[1]);
}

/// The eight digits of a number below 2^32, the highest in the lowest byte; all are made at once.
fn hexadecimal(number: u64) -> u64 {
    // a hexadecimal digit into each byte, in the order of the text
    let halves = ((number & 0xffff) << 32) | (number >> 16);
    let bytes = ((halves & 0x0000_ff00_0000_ff00) >> 8) | ((halves & 0x0000_00ff_0000_00ff) << 16);
    let digits = ((bytes & 0x00f0_00f0_00f0_00f0) >> 4) | ((bytes & 0x000f_000f_000f_000f) << 8);
    // those from ten on are letters, which stand 39 places behind the digits
    let letters = ((digits + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    digits + 0x3030_3030_3030_3030 + letters * 39
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_number() {
        for number in [
            0,
            1,
            0x0123_4567_89ab_cdef,
            0xfedc_ba98_7654_3210,
            u64::MAX,
            0xa0f9,
        ] {
            let mut digits = [0; 16];
            write_hex(&mut digits, number);
            assert_eq!(std::str::from_utf8(&digits), Ok(&*format!("{number:016x}")));
        }
    }
}
