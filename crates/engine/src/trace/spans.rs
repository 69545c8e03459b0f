//! Spans as text: OTLP's JSON (OpenTelemetry Protocol 1.0; names by its semantic conventions for HTTP).

use headgate_wire::TraceParent;

use super::{derived, Place};
use crate::access_log::push_json;

const SERVER: u8 = 2;
const CLIENT: u8 = 3;
const INTERNAL: u8 = 1;
const FAILED: u8 = 2;
/// Of the spans of a request with one attempt.
const USUAL_BYTES: usize = 1_400;
/// Hooks' spans have numbers of their own.
const FIRST_HOOK: u64 = 1 << 32;

/// A request that is to be recorded. Times are microseconds since 1970.
pub(crate) struct Request<'a> {
    pub(crate) place: Place,
    pub(crate) method: &'a [u8],
    pub(crate) route: &'a str,
    pub(crate) path: &'a [u8],
    pub(crate) host: &'a [u8],
    pub(crate) client: &'a str,
    pub(crate) id: &'a str,
    pub(crate) status: u16,
    pub(crate) error: &'a str,
    pub(crate) start_us: u64,
    pub(crate) end_us: u64,
    pub(crate) last: Option<Attempt<'a>>,
    pub(crate) failed: &'a [FailedAttempt],
    pub(crate) hooks: Vec<Hook<'a>>,
    pub(crate) fetches: &'a [FetchSpan],
}

/// An attempt at a server, the last one.
pub(crate) struct Attempt<'a> {
    pub(crate) number: u32,
    pub(crate) upstream: &'a str,
    pub(crate) server: &'a str,
    pub(crate) start_us: u64,
    /// Whether it has a response.
    pub(crate) has_responded: bool,
}

/// An attempt that failed, after which there may have been others.
pub(crate) struct FailedAttempt {
    pub(crate) number: u32,
    pub(crate) server: String,
    pub(crate) error: &'static str,
    pub(crate) start_us: u64,
    pub(crate) end_us: u64,
}

/// A fetch from the own routes that has ended.
pub(crate) struct FetchSpan {
    pub(crate) id: u64,
    pub(crate) method: Vec<u8>,
    pub(crate) target: Vec<u8>,
    /// 0: there was no response.
    pub(crate) status: u16,
    pub(crate) error: &'static str,
    pub(crate) start_us: u64,
    pub(crate) end_us: u64,
}

/// A call of a hook.
pub(crate) struct Hook<'a> {
    pub(crate) phase: &'a str,
    pub(crate) name: &'a str,
    pub(crate) start_us: u64,
    pub(crate) end_us: u64,
}

/// What of a span is its own.
struct Span<'a> {
    id: u64,
    parent: Option<u64>,
    /// The parts of its name, a space between them.
    name: [&'a [u8]; 2],
    kind: u8,
    start_us: u64,
    end_us: u64,
    /// What failed; empty if nothing did.
    error: &'a str,
}

impl Request<'_> {
    /// Its spans, a comma between them, and how many there are.
    pub(super) fn spans(&self) -> (Vec<u8>, u64) {
        let mut out = Vec::with_capacity(USUAL_BYTES);
        self.own(&mut out);
        let mut count = 1;
        for failed in self.failed {
            let times = (failed.start_us, failed.end_us);
            self.attempt(&mut out, failed.number, "", &failed.server, times, failed.error);
            count += 1;
        }
        let has_failed = |number| self.failed.iter().any(|failed| failed.number == number);
        if let Some(last) = self.last.as_ref().filter(|last| !has_failed(last.number)) {
            let error = if last.has_responded { "" } else { self.error };
            let times = (last.start_us, self.end_us);
            self.attempt(&mut out, last.number, last.upstream, last.server, times, error);
            count += 1;
        }
        for (position, hook) in (FIRST_HOOK..).zip(&self.hooks) {
            let span = Span {
                id: derived(self.place.own.span_id, position),
                parent: Some(self.place.own.span_id),
                name: [hook.phase.as_bytes(), hook.name.as_bytes()],
                kind: INTERNAL,
                start_us: hook.start_us,
                end_us: hook.end_us,
                error: "",
            };
            self.span(&mut out, &span, |out| {
                text(out, "headgate.phase", hook.phase.as_bytes());
                text(out, "headgate.hook", hook.name.as_bytes());
            });
            count += 1;
        }
        for fetch in self.fetches {
            self.fetch(&mut out, fetch);
            count += 1;
        }
        (out, count)
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
            text(out, "http.request.method", &fetch.method);
            text(out, "url.path", path);
            if fetch.status > 0 {
                number(out, "http.response.status_code", fetch.status.into());
            }
        });
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
            text(out, "http.request.method", self.method);
            text(out, "url.path", self.path);
            text(out, "server.address", self.host);
            text(out, "client.address", self.client.as_bytes());
            text(out, "http.route", self.route.as_bytes());
            text(out, "headgate.request_id", self.id.as_bytes());
            number(out, "http.response.status_code", self.status.into());
        });
    }

    fn attempt(
        &self,
        out: &mut Vec<u8>,
        number_of: u32,
        upstream: &str,
        server: &str,
        (start_us, end_us): (u64, u64),
        error: &str,
    ) {
        let TraceParent { span_id, .. } = self.place.of_attempt(number_of);
        let span = Span {
            id: span_id,
            parent: Some(self.place.own.span_id),
            name: [self.method, b""],
            kind: CLIENT,
            start_us,
            end_us,
            error,
        };
        self.span(out, &span, |out| {
            text(out, "http.request.method", self.method);
            text(out, "server.address", server.as_bytes());
            number(
                out,
                "http.request.resend_count",
                number_of.saturating_sub(1).into(),
            );
            if !upstream.is_empty() {
                text(out, "headgate.upstream", upstream.as_bytes());
            }
        });
    }

    /// Written as text at once: a tree of values would take several times as long.
    fn span(&self, out: &mut Vec<u8>, span: &Span<'_>, attributes: impl FnOnce(&mut Vec<u8>)) {
        let trace_id = self.place.own.trace_id;
        if !out.is_empty() {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"traceId\":\"");
        hex(out, (trace_id >> 64) as u64);
        #[allow(clippy::cast_possible_truncation, reason = "its lower half")]
        hex(out, trace_id as u64);
        out.extend_from_slice(b"\",\"spanId\":\"");
        hex(out, span.id);
        out.extend_from_slice(b"\",\"parentSpanId\":\"");
        if let Some(parent) = span.parent {
            hex(out, parent);
        }
        out.extend_from_slice(if self.place.own.is_sampled {
            b"\",\"flags\":1,\"name\":\""
        } else {
            b"\",\"flags\":0,\"name\":\""
        });
        push_json(span.name[0], out);
        if !span.name[1].is_empty() {
            out.push(b' ');
            push_json(span.name[1], out);
        }
        out.extend_from_slice(b"\",\"kind\":");
        decimal(out, span.kind.into());
        out.extend_from_slice(b",\"startTimeUnixNano\":\"");
        decimal(out, span.start_us * 1_000);
        out.extend_from_slice(b"\",\"endTimeUnixNano\":\"");
        decimal(out, span.end_us.max(span.start_us) * 1_000);
        out.extend_from_slice(b"\",\"attributes\":[");
        attributes(out);
        if span.error.is_empty() {
            out.extend_from_slice(b"],\"status\":{}}");
        } else {
            text(out, "error.type", span.error.as_bytes());
            out.extend_from_slice(b"],\"status\":{\"code\":");
            decimal(out, FAILED.into());
            out.extend_from_slice(b"}}");
        }
    }
}

/// An attribute, after a comma if there is one before it.
fn text(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    begin(out, key);
    out.extend_from_slice(b"\"stringValue\":\"");
    push_json(value, out);
    out.extend_from_slice(b"\"}}");
}

fn number(out: &mut Vec<u8>, key: &str, value: u64) {
    begin(out, key);
    out.extend_from_slice(b"\"intValue\":\"");
    decimal(out, value);
    out.extend_from_slice(b"\"}}");
}

fn begin(out: &mut Vec<u8>, key: &str) {
    if out.last() == Some(&b'}') {
        out.push(b',');
    }
    out.extend_from_slice(b"{\"key\":\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\",\"value\":{");
}

fn hex(out: &mut Vec<u8>, value: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend(
        value
            .to_be_bytes()
            .into_iter()
            .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]),
    );
}

fn decimal(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut begin = digits.len();
    loop {
        begin -= 1;
        #[allow(clippy::cast_possible_truncation, reason = "it is below 10")]
        {
            digits[begin] = b'0' + (value % 10) as u8;
        }
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[begin..]);
}

/// The body of an export.
pub(super) fn export(service: &str, spans: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(spans.iter().map(|one| one.len() + 1).sum::<usize>() + 512);
    out.extend_from_slice(b"{\"resourceSpans\":[{\"resource\":{\"attributes\":[");
    text(&mut out, "service.name", service.as_bytes());
    out.extend_from_slice(b"]},\"scopeSpans\":[{\"scope\":{\"name\":\"headgate\",\"version\":\"");
    out.extend_from_slice(env!("CARGO_PKG_VERSION").as_bytes());
    out.extend_from_slice(b"\"},\"spans\":[");
    for (position, one) in spans.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        out.extend_from_slice(one);
    }
    out.extend_from_slice(b"]}]}]}");
    out
}

#[cfg(test)]
impl Request<'static> {
    /// One with an attempt.
    pub(super) fn example() -> Self {
        let own = TraceParent {
            trace_id: 0xabc,
            span_id: 0xdef,
            is_sampled: true,
        };
        Self {
            place: Place { own, parent: Some(5) },
            method: b"GET",
            route: "api",
            path: b"/\xff\"\n<script>",
            host: b"gate.test",
            client: "127.0.0.1",
            id: "id",
            status: 502,
            error: "connect",
            start_us: 1_000,
            end_us: 4_000,
            last: Some(Attempt {
                number: 1,
                upstream: "app",
                server: "10.0.0.1:80",
                start_us: 2_000,
                has_responded: false,
            }),
            failed: &[],
            hooks: Vec::new(),
            fetches: &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{json, Value};

    fn told(request: &Request<'_>) -> Vec<Value> {
        let (spans, count) = request.spans();
        let spans = String::from_utf8(spans).expect("it is UTF-8");
        let told: Vec<Value> = serde_json::from_str(&format!("[{spans}]")).expect("it is JSON");
        assert_eq!(told.len() as u64, count);
        told
    }

    #[test]
    fn a_request_its_attempts_and_its_hooks_are_spans_of_one_trace() {
        let failed = [FailedAttempt {
            number: 1,
            server: "10.0.0.1:80".to_owned(),
            error: "connect",
            start_us: 1_100,
            end_us: 1_200,
        }];
        let mut request = Request {
            failed: &failed,
            status: 200,
            error: "",
            ..Request::example()
        };
        if let Some(last) = &mut request.last {
            (last.number, last.has_responded) = (2, true);
        }
        request.hooks.push(Hook {
            phase: "request",
            name: "auth",
            start_us: 1_010,
            end_us: 1_020,
        });
        let spans = told(&request);
        let kinds: Vec<_> = spans.iter().map(|span| span["kind"].as_u64()).collect();
        assert_eq!(kinds, [Some(2), Some(3), Some(3), Some(1)]);
        assert_eq!(spans[0]["parentSpanId"], "0000000000000005");
        assert!(spans[1..]
            .iter()
            .all(|span| span["parentSpanId"] == spans[0]["spanId"]));
        assert!(spans.iter().all(|span| span["traceId"] == spans[0]["traceId"]));
        assert_eq!(spans[0]["status"], json!({}));
        assert_eq!(spans[1]["status"], json!({"code": 2}));
        assert_eq!(spans[2]["endTimeUnixNano"], "4000000");
    }

    #[test]
    fn an_error_of_the_server_is_one_and_that_of_a_client_is_not() {
        assert_eq!(told(&Request::example())[0]["status"], json!({"code": 2}));
        let missing = Request {
            status: 404,
            error: "no_route",
            ..Request::example()
        };
        assert_eq!(told(&missing)[0]["status"], json!({}));
    }

    #[test]
    fn a_span_says_what_the_protocol_asks_for() {
        let span = &told(&Request::example())[0];
        let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
        assert_eq!(
            span,
            &json!({
                "traceId": "00000000000000000000000000000abc",
                "spanId": "0000000000000def",
                "parentSpanId": "0000000000000005",
                "flags": 1,
                "name": "GET api",
                "kind": 2,
                "startTimeUnixNano": "1000000",
                "endTimeUnixNano": "4000000",
                "attributes": [
                    text("http.request.method", "GET"),
                    text("url.path", "/\u{fffd}\"\n<script>"),
                    text("server.address", "gate.test"),
                    text("client.address", "127.0.0.1"),
                    text("http.route", "api"),
                    text("headgate.request_id", "id"),
                    {"key": "http.response.status_code", "value": {"intValue": "502"}},
                    text("error.type", "connect"),
                ],
                "status": {"code": 2},
            })
        );
    }

    #[test]
    fn numbers_of_all_lengths_are_written_whole() {
        for value in [0, 9, 10, 1_234_567_890, u64::MAX] {
            let mut out = Vec::new();
            decimal(&mut out, value);
            assert_eq!(out, value.to_string().into_bytes());
            out.clear();
            hex(&mut out, value);
            assert_eq!(out, format!("{value:016x}").into_bytes());
        }
    }
}
