//! `CRC32c` (RFC 4960 appendix B), as the PROXY protocol's checksum is made.

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    loop {
        let mut value = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            // the Castagnoli polynomial, bits reversed
            value = if value & 1 == 1 {
                (value >> 1) ^ 0x82F6_3B78
            } else {
                value >> 1
            };
            bit += 1;
        }
        table[byte as usize] = value;
        if byte == u8::MAX {
            return table;
        }
        byte += 1;
    }
}

/// Continues a sum that began with `!0`; its complement is the checksum.
pub(super) fn update(sum: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(sum, |sum, byte| {
        TABLE[((sum ^ u32::from(*byte)) & 0xff) as usize] ^ (sum >> 8)
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn check_value_of_the_catalogue_comes_out() {
        assert_eq!(!super::update(!0, b"123456789"), 0xE306_9283);
    }
}
