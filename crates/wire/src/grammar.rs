//! Byte classes of the HTTP grammar (RFC 9110 section 5.6, RFC 3986), as one table.

const TOKEN: u8 = 1;
const TARGET: u8 = 2;
const HOST: u8 = 4;

const CLASS: [u8; 256] = classes();

#[allow(clippy::cast_possible_truncation)] // why: the loop ends at 256
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        // tchar, RFC 9110 section 5.6.2
        if b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            )
        {
            table[byte] |= TOKEN;
        }
        // No SP, no CTL, nothing over ASCII. Wider than RFC 3986 within ASCII: browsers send `|` raw, and it moves no boundary.
        if b > b' ' && b < 0x7f {
            table[byte] |= TARGET;
        }
        // reg-name, RFC 3986 section 3.2.2
        if b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'-' | b'.'
                    | b'_'
                    | b'~'
                    | b'%'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b';'
                    | b'='
            )
        {
            table[byte] |= HOST;
        }
        byte += 1;
    }
    table
}

#[inline]
pub(crate) fn is_token_byte(byte: u8) -> bool {
    CLASS[usize::from(byte)] & TOKEN != 0
}

#[inline]
pub(crate) fn is_target_byte(byte: u8) -> bool {
    CLASS[usize::from(byte)] & TARGET != 0
}

/// Bytes that [`is_target_byte`] lets pass and that must be percent-encoded all the same: `#` begins a fragment, which is
/// never sent (RFC 3986 section 4.3); HTTP/2 and HTTP/3 have no addresses with the others (section 2), so that HTTP/1 has none either.
#[inline]
pub(crate) fn is_unencoded(byte: u8) -> bool {
    matches!(byte, b'#' | b'"' | b'<' | b'>' | b'`')
}

#[inline]
pub(crate) fn is_host_byte(byte: u8) -> bool {
    CLASS[usize::from(byte)] & HOST != 0
}

/// Whether `bytes` is a token (RFC 9110 section 5.6.2).
pub fn is_token(bytes: &[u8]) -> bool {
    // without an early exit: nearly all are
    let classes = |all, byte: &u8| all & CLASS[usize::from(*byte)];
    !bytes.is_empty() && bytes.iter().fold(TOKEN, classes) != 0
}

#[inline]
pub(crate) fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Without the optional white space around it (RFC 9110 section 5.6.3).
#[inline]
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes {
        if !is_blank(*first) {
            break;
        }
        bytes = rest;
    }
    while let [rest @ .., last] = bytes {
        if !is_blank(*last) {
            break;
        }
        bytes = rest;
    }
    bytes
}

/// The trimmed elements of a comma-separated list (RFC 9110 section 5.6.1), empty ones included.
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim)
}
