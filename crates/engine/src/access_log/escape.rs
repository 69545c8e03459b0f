//! How text of unknown origin is made harmless in a log line: no line break, no closing quote, no terminal sequence.

const HEX_LOWER: &[u8; 16] = b"0123456789abcdef";
const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// Bytes that are written as they are, in JSON and in plain text: printable ASCII without `"` and `\`.
const PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0x20;
    while byte < 0x7f {
        table[byte] = byte != b'"' as usize && byte != b'\\' as usize;
        byte += 1;
    }
    table
};

/// Appends text to a `combined` or custom line as nginx does: what is not printable ASCII, and `"` and `\`, becomes
/// `\xNN`. Without loss; each byte grows to at most four.
pub(super) fn push_text(text: &[u8], line: &mut Vec<u8>) {
    push_escaped(text, line, |text, line| {
        let byte = text[0];
        line.extend_from_slice(&[b'\\', b'x', digit(HEX_UPPER, byte >> 4), digit(HEX_UPPER, byte)]);
        1
    });
}

/// Appends text to the inside of a JSON string (RFC 8259 section 7).
///
/// Sequences that are not UTF-8 become U+FFFD. Controls, also those above ASCII, and the characters that break or
/// reorder lines are written as `\uNNNN`, so that a line looked at in a terminal shows what it holds.
pub(crate) fn push_json(text: &[u8], line: &mut Vec<u8>) {
    push_escaped(text, line, |text, line| {
        if text[0].is_ascii() {
            push_json_ascii(text[0], line);
            return 1;
        }
        let (character, length) = first_character(text);
        if is_hidden(character) {
            push_unicode_escape(character, line);
        } else {
            line.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
        length
    });
}

/// Copies what is plain, as nearly all is; the rest by runs.
#[inline]
fn push_escaped(text: &[u8], line: &mut Vec<u8>, escape: impl Fn(&[u8], &mut Vec<u8>) -> usize) {
    if is_plain(text) {
        line.extend_from_slice(text);
    } else {
        push_runs(text, line, escape);
    }
}

/// Copies runs of plain bytes; `escape` writes what starts the rest and returns how much of it that was.
#[cold]
fn push_runs(mut text: &[u8], line: &mut Vec<u8>, escape: impl Fn(&[u8], &mut Vec<u8>) -> usize) {
    loop {
        let run = text.iter().position(|&byte| !PLAIN[usize::from(byte)]);
        let run = run.unwrap_or(text.len());
        line.extend_from_slice(&text[..run]);
        text = &text[run..];
        if text.is_empty() {
            return;
        }
        text = &text[escape(text, line)..];
    }
}

/// Whether all bytes are plain: eight at a time, the last eight once more in place of the rest.
#[inline]
fn is_plain(text: &[u8]) -> bool {
    let Some(last) = text.last_chunk::<8>() else {
        return text.iter().all(|&byte| PLAIN[usize::from(byte)]);
    };
    let words = text
        .chunks_exact(8)
        .map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")));
    words.fold(odd_bytes(u64::from_le_bytes(*last)), |found, word| {
        found | odd_bytes(word)
    }) == 0
}

/// Not 0 if one of eight bytes is not plain (S. E. Anderson: "Bit Twiddling Hacks").
#[inline]
fn odd_bytes(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;
    let is = |byte: u8| {
        let other = word ^ (u64::from(byte) * EACH);
        other.wrapping_sub(EACH) & !other
    };
    let below = word.wrapping_sub(0x20 * EACH) & !word;
    (word | below | is(b'"') | is(b'\\') | is(0x7f)) & HIGH
}

fn push_json_ascii(byte: u8, line: &mut Vec<u8>) {
    match byte {
        b'"' => line.extend_from_slice(b"\\\""),
        b'\\' => line.extend_from_slice(b"\\\\"),
        b'\n' => line.extend_from_slice(b"\\n"),
        b'\r' => line.extend_from_slice(b"\\r"),
        b'\t' => line.extend_from_slice(b"\\t"),
        _ => push_unicode_escape(char::from(byte), line),
    }
}

/// The first character of text that does not start with ASCII, and the bytes it takes.
fn first_character(text: &[u8]) -> (char, usize) {
    let head = &text[..text.len().min(4)];
    match head.utf8_chunks().next() {
        Some(chunk) => match chunk.valid().chars().next() {
            Some(character) => (character, character.len_utf8()),
            None => (char::REPLACEMENT_CHARACTER, chunk.invalid().len().max(1)),
        },
        None => (char::REPLACEMENT_CHARACTER, 1),
    }
}

/// C1 controls, line and paragraph separators, and what changes the direction of text.
fn is_hidden(character: char) -> bool {
    matches!(character, '\u{80}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `\uNNNN`; only for characters below U+10000, which all hidden ones are.
fn push_unicode_escape(character: char, line: &mut Vec<u8>) {
    let [_, _, high, low] = u32::from(character).to_be_bytes();
    line.extend_from_slice(b"\\u");
    for byte in [high, low] {
        line.extend_from_slice(&[digit(HEX_LOWER, byte >> 4), digit(HEX_LOWER, byte)]);
    }
}

fn digit(digits: &[u8; 16], value: u8) -> u8 {
    digits[usize::from(value & 15)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(text: &[u8]) -> String {
        let mut line = Vec::new();
        push_json(text, &mut line);
        String::from_utf8(line).expect("always UTF-8")
    }

    fn plain(text: &[u8]) -> String {
        let mut line = Vec::new();
        push_text(text, &mut line);
        String::from_utf8(line).expect("always ASCII")
    }

    #[test]
    fn json_keeps_readable_text() {
        assert_eq!(json("/käse?x=日本🦀".as_bytes()), "/käse?x=日本🦀");
    }

    #[test]
    fn json_escapes_quotes_controls_and_hidden_characters() {
        assert_eq!(
            json(b"a\"b\\c\nd\re\tf\x00\x1b[2J\x7f"),
            r#"a\"b\\c\nd\re\tf\u0000\u001b[2J\u007f"#
        );
        assert_eq!(
            json("\u{9b}2J\u{2028}\u{202e}".as_bytes()),
            r"\u009b2J\u2028\u202e"
        );
    }

    #[test]
    fn json_replaces_what_is_not_utf8() {
        assert_eq!(
            json(b"a\xffb\xc3(\xe2\x82x\xf0\x9f"),
            "a\u{fffd}b\u{fffd}(\u{fffd}x\u{fffd}"
        );
        assert_eq!(
            json(b"\xed\xa0\x80\xc0\xaf")
                .chars()
                .filter(|&c| c != '\u{fffd}')
                .count(),
            0
        );
    }

    #[test]
    fn plain_text_is_escaped_as_in_nginx() {
        assert_eq!(
            plain("a\"b\\c\r\n\u{1b}é".as_bytes()),
            r"a\x22b\x5Cc\x0D\x0A\x1B\xC3\xA9"
        );
    }

    #[test]
    fn each_byte_is_found_wherever_it_is() {
        for byte in 0..=255_u8 {
            for length in [1, 5, 7, 8, 9, 16, 20] {
                for place in 0..length {
                    let mut text = vec![b'a'; length];
                    text[place] = byte;
                    assert_eq!(
                        is_plain(&text),
                        PLAIN[usize::from(byte)],
                        "{byte} at {place} of {length}"
                    );
                }
            }
        }
    }

    proptest! {
        #[test]
        fn json_means_what_the_bytes_meant(text: Vec<u8>) {
            let value: String = serde_json::from_str(&format!("\"{}\"", json(&text))).expect("valid JSON");
            prop_assert_eq!(value, String::from_utf8_lossy(&text));
        }

        #[test]
        fn json_keeps_unicode(text: String) {
            let value: String = serde_json::from_str(&format!("\"{}\"", json(text.as_bytes()))).expect("valid JSON");
            prop_assert_eq!(value, text);
        }

        #[test]
        fn plain_text_is_printable_and_has_no_quote(text: Vec<u8>) {
            prop_assert!(plain(&text).bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'"'));
        }
    }
}
