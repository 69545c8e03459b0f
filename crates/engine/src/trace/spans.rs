//! Spans as text: OTLP's JSON (OpenTelemetry Protocol 1.0; names by its semantic conventions for HTTP).

use headgate_wire::TraceParent;
use serde_json::{json, Value};

use super::{derived, Place};

const SERVER: u8 = 2;
const CLIENT: u8 = 3;
const INTERNAL: u8 = 1;
const FAILED: u8 = 2;
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

/// A call of a hook.
pub(crate) struct Hook<'a> {
    pub(crate) phase: &'a str,
    pub(crate) name: &'a str,
    pub(crate) start_us: u64,
    pub(crate) end_us: u64,
}

impl Request<'_> {
    /// Its spans, a comma between them, and how many there are.
    pub(super) fn spans(&self) -> (String, u64) {
        let mut spans = vec![self.own()];
        for failed in self.failed {
            spans.push(self.attempt(
                failed.number,
                "",
                &failed.server,
                (failed.start_us, failed.end_us),
                failed.error,
            ));
        }
        let has_failed = |number| self.failed.iter().any(|failed| failed.number == number);
        if let Some(last) = self.last.as_ref().filter(|last| !has_failed(last.number)) {
            let error = if last.has_responded { "" } else { self.error };
            spans.push(self.attempt(
                last.number,
                last.upstream,
                last.server,
                (last.start_us, self.end_us),
                error,
            ));
        }
        for (position, hook) in (FIRST_HOOK..).zip(&self.hooks) {
            let id = derived(self.place.own.span_id, position);
            let attributes = [("headgate.phase", hook.phase), ("headgate.hook", hook.name)];
            spans.push(self.span(
                (id, Some(self.place.own.span_id)),
                &format!("{} {}", hook.phase, hook.name),
                INTERNAL,
                (hook.start_us, hook.end_us),
                attributes.map(|(key, value)| text(key, value)).to_vec(),
                "",
            ));
        }
        let count = spans.len() as u64;
        let texts: Vec<String> = spans.iter().map(ToString::to_string).collect();
        (texts.join(","), count)
    }

    fn own(&self) -> Value {
        let method = String::from_utf8_lossy(self.method);
        let name = if self.route.is_empty() {
            method.to_string()
        } else {
            format!("{method} {}", self.route)
        };
        let attributes = vec![
            text("http.request.method", &method),
            text("url.path", &String::from_utf8_lossy(self.path)),
            text("server.address", &String::from_utf8_lossy(self.host)),
            text("client.address", self.client),
            text("http.route", self.route),
            text("headgate.request_id", self.id),
            number("http.response.status_code", self.status),
        ];
        let error = match (self.error, self.status) {
            ("", 500..) => "5xx",
            // what a client has done wrong is no error of this server (semantic conventions: HTTP server spans)
            (_, ..=499) => "",
            (error, _) => error,
        };
        let ids = (self.place.own.span_id, self.place.parent);
        self.span(
            ids,
            &name,
            SERVER,
            (self.start_us, self.end_us),
            attributes,
            error,
        )
    }

    fn attempt(&self, number_of: u32, upstream: &str, server: &str, times: (u64, u64), error: &str) -> Value {
        let TraceParent { span_id, .. } = self.place.of_attempt(number_of);
        let method = String::from_utf8_lossy(self.method);
        let mut attributes = vec![
            text("http.request.method", &method),
            text("server.address", server),
            number("http.request.resend_count", number_of.saturating_sub(1)),
        ];
        if !upstream.is_empty() {
            attributes.push(text("headgate.upstream", upstream));
        }
        self.span(
            (span_id, Some(self.place.own.span_id)),
            &method,
            CLIENT,
            times,
            attributes,
            error,
        )
    }

    fn span(
        &self,
        (id, parent): (u64, Option<u64>),
        name: &str,
        kind: u8,
        (start_us, end_us): (u64, u64),
        mut attributes: Vec<Value>,
        error: &str,
    ) -> Value {
        let status = if error.is_empty() {
            json!({})
        } else {
            attributes.push(text("error.type", error));
            json!({ "code": FAILED })
        };
        json!({
            "traceId": format!("{:032x}", self.place.own.trace_id),
            "spanId": format!("{id:016x}"),
            "parentSpanId": parent.map_or_else(String::new, |parent| format!("{parent:016x}")),
            "flags": u8::from(self.place.own.is_sampled),
            "name": name,
            "kind": kind,
            "startTimeUnixNano": (start_us * 1_000).to_string(),
            "endTimeUnixNano": (end_us.max(start_us) * 1_000).to_string(),
            "attributes": attributes,
            "status": status,
        })
    }
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn number(key: &str, value: impl Into<u32>) -> Value {
    json!({ "key": key, "value": { "intValue": value.into().to_string() } })
}

/// The body of an export.
pub(super) fn export(service: &str, spans: &[String]) -> String {
    let resource = json!({ "attributes": [text("service.name", service)] });
    let scope = json!({ "name": "headgate", "version": env!("CARGO_PKG_VERSION") });
    format!(
        r#"{{"resourceSpans":[{{"resource":{resource},"scopeSpans":[{{"scope":{scope},"spans":[{}]}}]}}]}}"#,
        spans.join(",")
    )
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(request: &Request<'_>) -> Vec<Value> {
        let (spans, count) = request.spans();
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
}
