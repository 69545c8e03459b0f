//! A head with faults that a [`Lenient`] list lets pass, made one without: it is then read as strictly as any other.
//!
//! How it works: nothing is mended before the strict reader has refused a head for a fault that is on the list, so a list
//! costs nothing for heads that are well formed. The lines are copied one by one, each with its faults undone.

use crate::field::Name;
use crate::grammar::is_unencoded;
use crate::grammar::{is_blank, trim};
use crate::lenient::Lenient;

/// The head at the start of `bytes` without the faults that `lenient` names, and how many bytes it took; `None`: its end is
/// not there yet.
pub(crate) fn mend(bytes: &[u8], lenient: Lenient, is_request: bool) -> Option<(Vec<u8>, usize)> {
    let mut mended = Mended {
        out: Vec::with_capacity(bytes.len()),
        lenient,
        is_request,
        has_start: false,
        has_field: false,
        length: None,
    };
    let mut at = 0;
    loop {
        let end = at + bytes[at..].iter().position(|byte| *byte == b'\n')?;
        let line = &bytes[at..end];
        at = end + 1;
        if mended.take(line) {
            return Some((mended.out, at));
        }
    }
}

struct Mended {
    out: Vec<u8>,
    lenient: Lenient,
    is_request: bool,
    has_start: bool,
    has_field: bool,
    /// The first Content-Length.
    length: Option<Vec<u8>>,
}

impl Mended {
    /// Takes a line without its LF; true if it ends the head.
    fn take(&mut self, line: &[u8]) -> bool {
        let (line, end): (&[u8], &[u8]) = match line.strip_suffix(b"\r") {
            Some(line) => (line, crate::CRLF),
            None if self.lenient.has(Lenient::BARE_LF) => (line, crate::CRLF),
            None => (line, b"\n"),
        };
        if line.is_empty() {
            self.out.extend_from_slice(end);
            return self.has_start || !self.is_request;
        }
        if !self.has_start {
            self.has_start = true;
            self.start(line);
        } else if self.has_field && is_blank(line[0]) && self.lenient.has(Lenient::FOLDED_LINES) {
            // RFC 9112 section 5.2: the fold becomes a space
            while matches!(self.out.last(), Some(b'\r' | b'\n' | b' ' | b'\t')) {
                self.out.pop();
            }
            self.out.push(b' ');
            self.value(trim(line));
        } else if !self.is_known_length(line) {
            self.has_field = true;
            let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
            self.out.extend_from_slice(&line[..colon]);
            // what frames or routes the message is never guessed at
            if Name::of(trim(&line[..colon])).is_hidden() {
                self.out.extend_from_slice(&line[colon..]);
            } else {
                self.value(&line[colon..]);
            }
        } else {
            self.has_field = true;
            return false;
        }
        self.out.extend_from_slice(end);
        false
    }

    fn start(&mut self, line: &[u8]) {
        let spaces = || line.iter().enumerate().filter(|(_, byte)| **byte == b' ');
        let (Some((first, _)), Some((last, _))) = (spaces().next(), spaces().next_back()) else {
            return self.out.extend_from_slice(line);
        };
        if !self.is_request || first == last {
            return self.out.extend_from_slice(line);
        }
        self.out.extend_from_slice(&line[..=first]);
        self.target(&line[first + 1..last]);
        self.out.push(b' ');
        let version = &line[last + 1..];
        match plain_version(version).filter(|_| self.lenient.has(Lenient::VERSION_DIGITS)) {
            Some(plain) => self.out.extend_from_slice(&plain),
            None => self.out.extend_from_slice(version),
        }
    }

    fn target(&mut self, target: &[u8]) {
        let end = match target.iter().position(|byte| *byte == b'#') {
            Some(fragment) if self.lenient.has(Lenient::FRAGMENTS) => fragment,
            _ => target.len(),
        };
        for &byte in &target[..end] {
            // a fragment has its own rule
            let is_allowed = byte.is_ascii() && (byte == b'#' || !is_unencoded(byte));
            if is_allowed || !self.lenient.has(Lenient::NON_ASCII_TARGETS) {
                self.out.push(byte);
            } else {
                const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                let digit = |half: u8| DIGITS[usize::from(half & 15)];
                self.out.extend([b'%', digit(byte >> 4), digit(byte)]);
            }
        }
    }

    fn value(&mut self, value: &[u8]) {
        let is_undone = self.lenient.has(Lenient::CONTROL_CHARACTERS);
        let kept = value.iter().map(|byte| match byte {
            0 | b'\t' | b'\r' => *byte,
            ..b' ' | 0x7f if is_undone => b' ',
            _ => *byte,
        });
        self.out.extend(kept);
    }

    /// Whether the line is a Content-Length that says again what one before has said. A first one that is a list of equal
    /// members is written as one.
    fn is_known_length(&mut self, line: &[u8]) -> bool {
        let Some((name, value)) = line.split_at_checked(14) else {
            return false;
        };
        if !self.lenient.has(Lenient::DUPLICATE_CONTENT_LENGTH)
            || !name.eq_ignore_ascii_case(b"content-length")
            || value.first() != Some(&b':')
        {
            return false;
        }
        let mut members = crate::grammar::list(&value[1..]);
        let first = members.next().unwrap_or_default().to_vec();
        if !members.all(|member| member == first) {
            return false;
        }
        if let Some(length) = &self.length {
            return *length == first;
        }
        let plain = [name, b": ", &first, crate::CRLF].concat();
        self.out.extend_from_slice(&plain);
        self.length = Some(first);
        true
    }
}

/// `HTTP/1.1` for `HTTP/01.001`.
fn plain_version(version: &[u8]) -> Option<Vec<u8>> {
    let digits = version.strip_prefix(b"HTTP/")?;
    let dot = digits.iter().position(|byte| *byte == b'.')?;
    let plain = |number: &[u8]| -> Option<u8> {
        let (last, zeros) = number.split_last()?;
        (zeros.len() < 4 && zeros.iter().all(|byte| *byte == b'0')).then_some(*last)
    };
    let (major, minor) = (plain(&digits[..dot])?, plain(&digits[dot + 1..])?);
    Some([b"HTTP/", &[major, b'.', minor][..]].concat())
}
