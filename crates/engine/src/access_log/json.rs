//! The `json` format: one object a line, always with the same keys in the same order.

use super::entry::Entry;
use super::escape::push_json;
use super::timestamp::Timestamps;

/// Appends the object of one request, without the line break. Absent fields are `null`, absent names "".
pub(super) fn write(entry: &Entry<'_>, times: &Timestamps, line: &mut Vec<u8>) {
    line.extend_from_slice(b"{\"time\":\"");
    times.push_rfc3339(entry.time_unix_ms, line);
    push_string(b"\",\"client\":\"", entry.client.as_bytes(), line);
    push_string(b"\",\"method\":\"", entry.method, line);
    push_string(b"\",\"host\":\"", entry.host, line);
    push_string(b"\",\"target\":\"", entry.target, line);
    push_own(b"\",\"version\":\"", entry.version, line);
    push_number(b"\",\"status\":", u64::from(entry.status), line);
    push_number(b",\"request_bytes\":", entry.request_bytes, line);
    push_number(b",\"response_bytes\":", entry.response_bytes, line);
    push_number(b",\"body_bytes\":", entry.body_bytes, line);
    push_optional(b",\"referer\":", entry.referer, line);
    push_optional(b",\"user_agent\":", entry.user_agent, line);
    push_string(b",\"request_id\":\"", entry.request_id.as_bytes(), line);
    push_own(b"\",\"trace_id\":\"", entry.trace.0, line);
    push_own(b"\",\"span_id\":\"", entry.trace.1, line);
    push_string(b"\",\"route\":\"", entry.route.as_bytes(), line);
    push_string(b"\",\"upstream\":\"", entry.upstream.as_bytes(), line);
    push_string(b"\",\"server\":\"", entry.server.as_bytes(), line);
    push_number(b"\",\"attempts\":", u64::from(entry.attempts), line);
    push_number(b",\"queue_us\":", entry.queue_us, line);
    push_number(b",\"connect_us\":", entry.connect_us, line);
    push_number(b",\"head_us\":", entry.head_us, line);
    push_number(b",\"total_us\":", entry.total_us, line);
    push_number(b",\"hook_us\":", entry.hook_us, line);
    push_steps(entry, line);
    push_hooks(entry, line);
    push_string(b",\"limit\":\"", entry.limit.as_bytes(), line);
    push_string(b"\",\"error\":\"", entry.error.as_bytes(), line);
    push_tls(entry, line);
    line.push(b'}');
}

/// `","tls":null`, or an object.
fn push_tls(entry: &Entry<'_>, line: &mut Vec<u8>) {
    let Some(tls) = &entry.tls else {
        return line.extend_from_slice(b"\",\"tls\":null");
    };
    push_string(b"\",\"tls\":{\"version\":\"", tls.version.as_bytes(), line);
    push_string(b"\",\"cipher\":\"", tls.cipher.as_bytes(), line);
    push_string(b"\",\"server_name\":\"", tls.server_name.as_bytes(), line);
    push_string(b"\",\"alpn\":\"", tls.alpn.as_bytes(), line);
    let resumed: &[u8] = if tls.is_resumed {
        b"\",\"resumed\":true"
    } else {
        b"\",\"resumed\":false"
    };
    line.extend_from_slice(resumed);
    push_string(
        b",\"client_certificate\":\"",
        tls.client_certificate.as_bytes(),
        line,
    );
    push_string(b"\",\"client_subject\":\"", tls.client_subject.as_bytes(), line);
    line.extend_from_slice(b"\"}");
}

/// `,"steps":[{"step":"head","attempt":1,"begin_us":30,"us":800}]`; what begins before the complete head has a number below 0.
fn push_steps(entry: &Entry<'_>, line: &mut Vec<u8>) {
    line.extend_from_slice(b",\"steps\":[");
    let mut key: &[u8] = b"{\"step\":\"";
    if let Some(steps) = entry.steps {
        steps.for_each(|step| {
            push_own(key, step.kind.name(), line);
            push_number(b"\",\"attempt\":", step.attempt.into(), line);
            push_begin(b",\"begin_us\":", entry.since_head(step.began_us), line);
            push_number(b",\"us\":", step.us, line);
            line.push(b'}');
            key = b",{\"step\":\"";
        });
    }
    line.push(b']');
}

/// `,"hooks":[{"phase":"request","hook":"gate.py:auth","us":120,"begin_us":4,"end_us":124}]`
fn push_hooks(entry: &Entry<'_>, line: &mut Vec<u8>) {
    line.extend_from_slice(b",\"hooks\":[");
    for (index, hook) in entry.hooks.iter().enumerate() {
        let phase: &[u8] = if index > 0 {
            b",{\"phase\":\""
        } else {
            b"{\"phase\":\""
        };
        push_own(phase, hook.phase, line);
        push_string(b"\",\"hook\":\"", hook.name.as_bytes(), line);
        push_number(b"\",\"us\":", hook.us, line);
        push_begin(b",\"begin_us\":", entry.since_head(hook.began_us), line);
        push_begin(b",\"end_us\":", entry.since_head(hook.ended_us), line);
        line.push(b'}');
    }
    line.push(b']');
}

fn push_string(key: &[u8], text: &[u8], line: &mut Vec<u8>) {
    line.extend_from_slice(key);
    push_json(text, line);
}

/// A text of the gateway's own, in which nothing is to be escaped.
fn push_own(key: &[u8], text: &str, line: &mut Vec<u8>) {
    line.extend_from_slice(key);
    line.extend_from_slice(text.as_bytes());
}

fn push_number(key: &[u8], number: u64, line: &mut Vec<u8>) {
    line.extend_from_slice(key);
    line.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn push_begin(key: &[u8], number: i64, line: &mut Vec<u8>) {
    line.extend_from_slice(key);
    line.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn push_optional(key: &[u8], text: Option<&[u8]>, line: &mut Vec<u8>) {
    line.extend_from_slice(key);
    match text {
        Some(text) => {
            line.push(b'"');
            push_json(text, line);
            line.push(b'"');
        }
        None => line.extend_from_slice(b"null"),
    }
}
