//! Spans as they are sent: OTLP 1.0 in Protocol Buffers (opentelemetry-proto, `trace/v1/trace.proto`; names by its semantic
//! conventions for HTTP).
//!
//! # How it works
//! Spans are written one behind the other into the batch that is sent, and nothing of them is kept elsewhere.

use super::attributes::{integer, readable, string, text};
use super::protobuf::{begin, bytes, close, fixed_32, fixed_64, number, open};
use super::request::{FetchSpan, Request};
use super::{derived, FIRST_HOOK};

/// The attributes of a span.
const ATTRIBUTES: u32 = 9;
const INTERNAL: u64 = 1;
const SERVER: u64 = 2;
const CLIENT: u64 = 3;
const FAILED: u64 = 2;

/// Bytes for the length of a span, of which few are longer than 16 KiB.
const SPAN_ROOM: usize = 2;

/// What of an attempt's span is its own.
struct AttemptSpan<'a> {
    number: u32,
    upstream: &'a str,
    server: &'a str,
    /// 0: nothing is to be told of it.
    status: u16,
    error: &'a str,
    times: (u64, u64),
}

/// What of a span is its own.
struct Span<'a> {
    id: u64,
    parent: Option<u64>,
    /// The parts of its name, a space between them.
    name: [&'a [u8]; 2],
    kind: u64,
    start_us: u64,
    end_us: u64,
    /// What failed; empty if nothing did.
    error: &'a str,
}

impl Request<'_> {
    /// How many spans it has.
    pub(super) fn count(&self) -> u64 {
        1 + self.failed.len() as u64
            + u64::from(self.has_last())
            + self.hooks.len() as u64
            + self.fetches.len() as u64
    }

    /// Whether its last attempt is not among those that failed.
    fn has_last(&self) -> bool {
        let has_failed = |number| self.failed.iter().any(|failed| failed.number == number);
        self.last.as_ref().is_some_and(|last| !has_failed(last.number))
    }

    /// Appends its spans.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        self.own(out);
        for failed in self.failed {
            let attempt = AttemptSpan {
                number: failed.number,
                upstream: &failed.upstream,
                server: &failed.server,
                status: failed.status,
                error: failed.error,
                times: (failed.start_us, failed.end_us),
            };
            self.attempt(out, &attempt);
        }
        if let Some(last) = self.last.as_ref().filter(|_| self.has_last()) {
            let attempt = AttemptSpan {
                number: last.number,
                upstream: last.upstream,
                server: last.server,
                status: 0,
                error: if last.has_responded { "" } else { self.error },
                times: (last.start_us, self.end_us),
            };
            self.attempt(out, &attempt);
        }
        for (position, hook) in (FIRST_HOOK..).zip(self.hooks) {
            let span = Span {
                id: derived(self.place.own.span_id, position),
                parent: Some(self.place.own.span_id),
                name: [hook.phase.as_bytes(), hook.name.as_bytes()],
                kind: INTERNAL,
                start_us: self.epoch_us + hook.began_us,
                end_us: self.epoch_us + hook.ended_us,
                error: "",
            };
            self.span(out, &span, |out| {
                string(out, ATTRIBUTES, "headgate.phase", hook.phase);
                string(out, ATTRIBUTES, "headgate.hook", &hook.name);
            });
        }
        for fetch in self.fetches {
            self.fetch(out, fetch);
        }
    }

    fn own(&self, out: &mut Vec<u8>) {
        let error = match (self.error, self.status) {
            ("", 500..) => "5xx",
            // what a client has done wrong is no error of this server (semantic conventions: HTTP server spans)
            (_, ..=499) => "",
            (error, _) => error,
        };
        let span = Span {
            id: self.place.own.span_id,
            parent: self.place.parent,
            name: [self.method, self.route.as_bytes()],
            kind: SERVER,
            start_us: self.start_us,
            end_us: self.end_us,
            error,
        };
        self.span(out, &span, |out| {
            text(out, ATTRIBUTES, "http.request.method", self.method);
            string(out, ATTRIBUTES, "url.scheme", self.scheme);
            text(out, ATTRIBUTES, "url.path", self.path);
            text(out, ATTRIBUTES, "server.address", self.host);
            string(out, ATTRIBUTES, "client.address", self.client);
            string(out, ATTRIBUTES, "http.route", self.route);
            string(out, ATTRIBUTES, "headgate.request_id", self.id);
            integer(out, ATTRIBUTES, "http.response.status_code", self.status.into());
        });
    }

    fn attempt(&self, out: &mut Vec<u8>, attempt: &AttemptSpan<'_>) {
        let span = Span {
            id: self.place.of_attempt(attempt.number).span_id,
            parent: Some(self.place.own.span_id),
            name: [self.method, b""],
            kind: CLIENT,
            start_us: attempt.times.0,
            end_us: attempt.times.1,
            error: attempt.error,
        };
        self.span(out, &span, |out| {
            text(out, ATTRIBUTES, "http.request.method", self.method);
            let (address, port) = address_of(attempt.server);
            string(out, ATTRIBUTES, "server.address", address);
            if let Some(port) = port {
                integer(out, ATTRIBUTES, "server.port", port.into());
            }
            if attempt.number > 1 {
                let resends = attempt.number - 1;
                integer(out, ATTRIBUTES, "http.request.resend_count", resends.into());
            }
            if attempt.status > 0 {
                integer(
                    out,
                    ATTRIBUTES,
                    "http.response.status_code",
                    attempt.status.into(),
                );
            }
            string(out, ATTRIBUTES, "headgate.upstream", attempt.upstream);
        });
    }

    fn fetch(&self, out: &mut Vec<u8>, fetch: &FetchSpan) {
        let span = Span {
            id: fetch.id,
            parent: Some(self.place.own.span_id),
            name: [&fetch.method, b"fetch"],
            kind: CLIENT,
            start_us: fetch.start_us,
            end_us: fetch.end_us,
            error: fetch.error,
        };
        let path = fetch
            .target
            .split(|byte| *byte == b'?')
            .next()
            .unwrap_or_default();
        self.span(out, &span, |out| {
            text(out, ATTRIBUTES, "http.request.method", &fetch.method);
            text(out, ATTRIBUTES, "url.path", path);
            if fetch.status > 0 {
                integer(out, ATTRIBUTES, "http.response.status_code", fetch.status.into());
            }
        });
    }

    fn span(&self, out: &mut Vec<u8>, span: &Span<'_>, attributes: impl FnOnce(&mut Vec<u8>)) {
        let start = open(out, 2, SPAN_ROOM);
        bytes(out, 1, &self.place.own.trace_id.to_be_bytes());
        bytes(out, 2, &span.id.to_be_bytes());
        if let Some(parent) = span.parent {
            bytes(out, 4, &parent.to_be_bytes());
        }
        let name = span.name.map(readable);
        let is_long = !name[1].is_empty();
        begin(out, 5, name[0].len() + usize::from(is_long) + name[1].len());
        out.extend_from_slice(name[0].as_bytes());
        if is_long {
            out.push(b' ');
            out.extend_from_slice(name[1].as_bytes());
        }
        number(out, 6, span.kind);
        fixed_64(out, 7, span.start_us * 1_000);
        fixed_64(out, 8, span.end_us.max(span.start_us) * 1_000);
        attributes(out);
        if !span.error.is_empty() {
            string(out, ATTRIBUTES, "error.type", span.error);
            let status = open(out, 15, 1);
            number(out, 3, FAILED);
            close(out, status, 1);
        }
        fixed_32(out, 16, self.place.own.is_sampled.into());
        close(out, start, SPAN_ROOM);
    }
}

/// The address of a server as it is configured, and its port, if it has one: a Unix socket has none.
fn address_of(server: &str) -> (&str, Option<u16>) {
    let parts = server.rsplit_once(':').filter(|_| !server.starts_with("unix:"));
    let parted = parts.and_then(|(host, port)| Some((host, port.parse().ok()?)));
    match parted {
        Some((host, port)) => (host.trim_start_matches('[').trim_end_matches(']'), Some(port)),
        None => (server, None),
    }
}

#[cfg(test)]
mod tests;
