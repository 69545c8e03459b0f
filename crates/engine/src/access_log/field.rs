//! The fields that a `combined` or custom line can show.

use std::fmt::Write as _;

use super::entry::{Entry, TlsFacts};
use super::escape::push_text;
use super::format_error::FormatError;
use super::timestamp::Timestamps;

/// One thing a line can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Time,
    TimeCommon,
    TimeUnix,
    Client,
    Request,
    Method,
    Target,
    Host,
    Version,
    Status,
    RequestBytes,
    ResponseBytes,
    BodyBytes,
    Referer,
    UserAgent,
    RequestId,
    TraceId,
    SpanId,
    Route,
    Upstream,
    Server,
    Attempts,
    QueueUs,
    ConnectUs,
    HeadUs,
    TotalUs,
    HookUs,
    Steps,
    Hooks,
    Limit,
    Error,
    TlsVersion,
    TlsCipher,
    TlsServerName,
    TlsAlpn,
    TlsResumed,
    ClientCertificate,
    ClientSubject,
}

const FIELDS: [(&str, Field); 38] = [
    ("time", Field::Time),
    ("time_common", Field::TimeCommon),
    ("time_unix", Field::TimeUnix),
    ("client", Field::Client),
    ("request", Field::Request),
    ("method", Field::Method),
    ("target", Field::Target),
    ("host", Field::Host),
    ("version", Field::Version),
    ("status", Field::Status),
    ("request_bytes", Field::RequestBytes),
    ("response_bytes", Field::ResponseBytes),
    ("body_bytes", Field::BodyBytes),
    ("referer", Field::Referer),
    ("user_agent", Field::UserAgent),
    ("request_id", Field::RequestId),
    ("trace_id", Field::TraceId),
    ("span_id", Field::SpanId),
    ("route", Field::Route),
    ("upstream", Field::Upstream),
    ("server", Field::Server),
    ("attempts", Field::Attempts),
    ("queue_us", Field::QueueUs),
    ("connect_us", Field::ConnectUs),
    ("head_us", Field::HeadUs),
    ("total_us", Field::TotalUs),
    ("hook_us", Field::HookUs),
    ("steps", Field::Steps),
    ("hooks", Field::Hooks),
    ("limit", Field::Limit),
    ("error", Field::Error),
    ("tls_version", Field::TlsVersion),
    ("tls_cipher", Field::TlsCipher),
    ("tls_server_name", Field::TlsServerName),
    ("tls_alpn", Field::TlsAlpn),
    ("tls_resumed", Field::TlsResumed),
    ("client_certificate", Field::ClientCertificate),
    ("client_subject", Field::ClientSubject),
];

impl Field {
    /// Finds a field by its name.
    pub(super) fn parse(name: &str) -> Result<Self, FormatError> {
        let found = FIELDS.iter().find(|(known, _)| *known == name);
        found
            .map(|&(_, field)| field)
            .ok_or_else(|| FormatError::UnknownField {
                name: name.to_owned(),
                hint: hint_for(name),
            })
    }

    /// Appends the field's text; absent and empty text is `-`.
    pub(super) fn write(self, entry: &Entry<'_>, times: &Timestamps, line: &mut Vec<u8>) {
        let text = match self {
            Self::Time => return times.push_rfc3339(entry.time_unix_ms, line),
            Self::TimeCommon => return times.push_common(entry.time_unix_ms, line),
            Self::TimeUnix => return push_seconds(entry.time_unix_ms, line),
            Self::Request => return push_request_line(entry, line),
            Self::Status => return push_number(u64::from(entry.status), line),
            Self::RequestBytes => return push_number(entry.request_bytes, line),
            Self::ResponseBytes => return push_number(entry.response_bytes, line),
            Self::BodyBytes => return push_number(entry.body_bytes, line),
            Self::Attempts => return push_number(u64::from(entry.attempts), line),
            Self::QueueUs => return push_number(entry.queue_us, line),
            Self::ConnectUs => return push_number(entry.connect_us, line),
            Self::HeadUs => return push_number(entry.head_us, line),
            Self::TotalUs => return push_number(entry.total_us, line),
            Self::HookUs => return push_number(entry.hook_us, line),
            Self::Steps => return push_steps(entry, line),
            Self::Hooks => return push_hooks(entry, line),
            Self::Client => entry.client.as_bytes(),
            Self::Method => entry.method,
            Self::Target => entry.target,
            Self::Host => entry.host,
            Self::Version => entry.version.as_bytes(),
            Self::Referer => entry.referer.unwrap_or_default(),
            Self::UserAgent => entry.user_agent.unwrap_or_default(),
            Self::RequestId => entry.request_id.as_bytes(),
            Self::TraceId => entry.trace.0.as_bytes(),
            Self::SpanId => entry.trace.1.as_bytes(),
            Self::Route => entry.route.as_bytes(),
            Self::Upstream => entry.upstream.as_bytes(),
            Self::Server => entry.server.as_bytes(),
            Self::Limit => entry.limit.as_bytes(),
            Self::Error => entry.error.as_bytes(),
            of_tls => entry.tls.as_ref().map_or("", |tls| of_tls.in_tls(tls)).as_bytes(),
        };
        push_or_dash(text, line);
    }
}

impl Field {
    /// The text of a field that only TLS has.
    fn in_tls<'a>(self, tls: &TlsFacts<'a>) -> &'a str {
        match self {
            Self::TlsVersion => tls.version,
            Self::TlsCipher => tls.cipher,
            Self::TlsServerName => tls.server_name,
            Self::TlsAlpn => tls.alpn,
            Self::TlsResumed if tls.is_resumed => "resumed",
            Self::TlsResumed => "new",
            Self::ClientCertificate => tls.client_certificate,
            Self::ClientSubject => tls.client_subject,
            _ => "",
        }
    }
}

/// Text of unknown origin; `-` in place of none.
#[inline]
pub(super) fn push_or_dash(text: &[u8], line: &mut Vec<u8>) {
    if text.is_empty() {
        line.push(b'-');
    } else {
        push_text(text, line);
    }
}

#[inline]
pub(super) fn push_number(number: u64, line: &mut Vec<u8>) {
    line.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// `971186136.123`
fn push_seconds(unix_ms: u64, line: &mut Vec<u8>) {
    push_number(unix_ms / 1000, line);
    let mut fraction = *b".000";
    crate::http_date::write_digits(&mut fraction[1..], unix_ms % 1000);
    line.extend_from_slice(&fraction);
}

/// `GET /index.html HTTP/1.1`, or `-` if no request line could be read.
pub(super) fn push_request_line(entry: &Entry<'_>, line: &mut Vec<u8>) {
    if entry.method.is_empty() {
        return line.push(b'-');
    }
    push_text(entry.method, line);
    line.push(b' ');
    push_text(entry.target, line);
    line.push(b' ');
    line.extend_from_slice(entry.version.as_bytes());
}

/// `queue#1@12=300,head#1@320=800`: kind, attempt if it was for one, begin and length, or `-`.
fn push_steps(entry: &Entry<'_>, line: &mut Vec<u8>) {
    let begin = line.len();
    if let Some(steps) = entry.steps {
        steps.for_each(|step| {
            if line.len() > begin {
                line.push(b',');
            }
            line.extend_from_slice(step.kind.name().as_bytes());
            if step.attempt > 0 {
                line.push(b'#');
                push_number(step.attempt.into(), line);
            }
            line.push(b'@');
            let begin_us = entry.since_head(step.began_us);
            line.extend_from_slice(itoa::Buffer::new().format(begin_us).as_bytes());
            line.push(b'=');
            push_number(step.us, line);
        });
    }
    if line.len() == begin {
        line.push(b'-');
    }
}

/// `request/gate.py:auth=120,response/gate.py:stamp=8`, or `-`.
fn push_hooks(entry: &Entry<'_>, line: &mut Vec<u8>) {
    if entry.hooks.is_empty() {
        return line.push(b'-');
    }
    for (index, hook) in entry.hooks.iter().enumerate() {
        if index > 0 {
            line.push(b',');
        }
        line.extend_from_slice(hook.phase.as_bytes());
        line.push(b'/');
        push_text(hook.name.as_bytes(), line);
        line.push(b'=');
        push_number(hook.us, line);
    }
}

/// The nearest right name if one is near, else all names.
fn hint_for(name: &str) -> String {
    let nearest = FIELDS
        .iter()
        .map(|&(known, _)| (distance(name, known), known))
        .min();
    if let Some((distance, known)) = nearest.filter(|(distance, known)| distance * 2 <= known.len()) {
        debug_assert!(distance > 0, "a known name needs no hint");
        return format!("hint: did you mean `{known}`?");
    }
    let mut hint = String::from("hint: the fields are");
    for (separator, (known, _)) in std::iter::once("").chain(std::iter::repeat(",")).zip(FIELDS) {
        let _ = write!(hint, "{separator} `{known}`");
    }
    hint
}

/// Levenshtein distance in bytes.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, byte) in one.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (column, wanted) in other.bytes().enumerate() {
            let replaced = diagonal + usize::from(byte != wanted);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access_log::entry::HookTime;
    use crate::access_log::{Step, StepKind, Steps};

    #[test]
    fn every_field_is_found_and_written() {
        for (name, field) in FIELDS {
            let mut line = Vec::new();
            field.write(&Entry::default(), &Timestamps::new(), &mut line);
            assert_eq!(Field::parse(name), Ok(field));
            assert!(!line.is_empty(), "{name}");
        }
    }

    #[test]
    fn steps_are_listed_with_attempt_begin_and_time() {
        let steps = Steps::default();
        for (kind, attempt, began_us, us) in [(StepKind::Accept, 0, 40, 20), (StepKind::Head, 2, 120, 7)] {
            steps.add(Step {
                kind,
                attempt,
                began_us,
                us,
            });
        }
        let mut line = Vec::new();
        let entry = Entry {
            started_us: 100,
            steps: Some(&steps),
            ..Entry::default()
        };
        Field::Steps.write(&entry, &Timestamps::new(), &mut line);
        assert_eq!(line, b"accept@-60=20,head#2@20=7");
    }

    #[test]
    fn hooks_are_listed_with_phase_and_time() {
        let hooks = [("request", 12), ("response", 3)].map(|(phase, us)| HookTime {
            began_us: 0,
            ended_us: 0,
            phase,
            name: "gate.py:f".into(),
            us,
        });
        let mut line = Vec::new();
        let entry = Entry {
            hooks: &hooks,
            ..Entry::default()
        };
        Field::Hooks.write(&entry, &Timestamps::new(), &mut line);
        assert_eq!(line, b"request/gate.py:f=12,response/gate.py:f=3");
    }
}
