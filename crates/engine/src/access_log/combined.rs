//! The `combined` format of nginx and Apache, written at once: its parts are known when this is compiled.

use super::entry::Entry;
use super::escape::push_text;
use super::field::{push_number, push_or_dash, push_request_line};
use super::timestamp::Timestamps;

/// What it is as a format of one's own.
#[cfg(test)]
pub(super) const AS_TEXT: &str =
    r#"{client} - - [{time_common}] "{request}" {status} {body_bytes} "{referer}" "{user_agent}""#;

/// Appends the line of one request, without the line break.
pub(super) fn write(entry: &Entry<'_>, times: &Timestamps, line: &mut Vec<u8>) {
    push_or_dash(entry.client.as_bytes(), line);
    line.extend_from_slice(b" - - [");
    times.push_common(entry.time_unix_ms, line);
    line.extend_from_slice(b"] \"");
    push_request_line(entry, line);
    line.extend_from_slice(b"\" ");
    push_number(u64::from(entry.status), line);
    line.push(b' ');
    push_number(entry.body_bytes, line);
    push_quoted(entry.referer, line);
    push_quoted(entry.user_agent, line);
}

/// ` "text"`, or ` "-"`.
fn push_quoted(text: Option<&[u8]>, line: &mut Vec<u8>) {
    match text {
        Some(text) if !text.is_empty() => {
            line.extend_from_slice(b" \"");
            push_text(text, line);
            line.push(b'"');
        }
        _ => line.extend_from_slice(b" \"-\""),
    }
}
