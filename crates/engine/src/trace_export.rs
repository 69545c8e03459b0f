//! Sends what the tracer has recorded to a collector, beside all requests: OTLP over HTTP, in Protocol Buffers.
//!
//! # How it works
//! A task for each tracer, which sleeps while nothing is recorded, then sends what is a few seconds later, or when a batch is
//! full. Only what the protocol says may be tried
//! again is (429, 502, 503, 504, and no response at all), a few times; all else is dropped and counted. When the worker ends
//! nothing is tried again.

use std::rc::Rc;
use std::time::Duration;

use headgate_net::alarm::Alarm;
use headgate_shared::metrics::Counter;
use headgate_wire::Head;

use crate::http::fetch::{fetch, FetchBody, FetchRequest, FetchTo};
use crate::http_date;
use crate::state::Shared;
use crate::trace::protobuf::{Fields, Value};
use crate::trace::Tracer;

const INTERVAL: Duration = Duration::from_secs(2);
const TIMEOUT_MS: u64 = 10_000;
/// While the worker ends.
const HURRIED_MS: u64 = 1_500;
const TRIES: u32 = 4;
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// How one export went.
enum Sent {
    /// It was taken, but for so many spans.
    Taken(u64),
    /// It may be taken later, after so long if the collector has said.
    Later(Option<Duration>),
    Refused,
}

/// Serves a tracer until it is retired, no request counts on it, and all is sent.
pub(crate) async fn serve(shared: Rc<Shared>, tracer: Rc<Tracer>) {
    let mut pause = Pause(Alarm::every(INTERVAL).ok());
    pause.0.iter().for_each(Alarm::stop);
    loop {
        while tracer.unsent() == 0 {
            if !tracer.is_retired.get() {
                tracer.wake.notified().await;
            } else if Rc::strong_count(&tracer) > 1 {
                pause.take(&tracer).await;
            } else {
                return;
            }
        }
        if !tracer.is_pressed() {
            pause.take(&tracer).await;
        }
        while let Some((body, spans)) = tracer.take() {
            tracer.is_sending.set(true);
            let lost = send(&shared, &tracer, Rc::from(&*body), spans).await;
            tracer.reuse(body);
            shared.metrics.add(Counter::TraceSpansSent, spans - lost);
            shared.metrics.add(Counter::TraceSpansDropped, lost);
            tracer.is_sending.set(false);
        }
        shared
            .metrics
            .add(Counter::TraceSpansDropped, tracer.dropped.take());
    }
}

/// An interval that costs the requests meanwhile nothing.
struct Pause(Option<Alarm>);

impl Pause {
    /// Waits that long, or until somebody wakes the task.
    async fn take(&mut self, tracer: &Tracer) {
        let Some(alarm) = &mut self.0 else {
            // a process without descriptors can still send, at a higher cost
            let _ = tokio::time::timeout(INTERVAL, tracer.wake.notified()).await;
            return;
        };
        alarm.start();
        tokio::select! {
            () = alarm.rung() => {}
            () = tracer.wake.notified() => {}
        }
        alarm.stop();
    }
}

/// Sends one batch, several times if need be; how many of its spans are lost.
async fn send(shared: &Rc<Shared>, tracer: &Tracer, body: Rc<[u8]>, spans: u64) -> u64 {
    let mut pause = Duration::from_secs(1);
    for _ in 0..TRIES {
        match once(shared, tracer, body.clone()).await {
            Sent::Taken(rejected) => return rejected.min(spans),
            Sent::Refused => return spans,
            Sent::Later(_) if tracer.is_hurried.get() => return spans,
            Sent::Later(asked) => {
                let wait = asked.unwrap_or(pause).min(LONGEST_PAUSE);
                let _ = tokio::time::timeout(wait, hurried(tracer)).await;
                pause *= 2;
            }
        }
    }
    spans
}

async fn hurried(tracer: &Tracer) {
    while !tracer.is_hurried.get() {
        tracer.wake.notified().await;
    }
}

async fn once(shared: &Rc<Shared>, tracer: &Tracer, body: Rc<[u8]>) -> Sent {
    let mut headers = Head::default();
    if headers.set(b"content-type", b"application/x-protobuf").is_err() {
        return Sent::Refused;
    }
    let timeout_ms = if tracer.is_hurried.get() {
        HURRIED_MS
    } else {
        TIMEOUT_MS
    };
    let request = FetchRequest {
        method: b"POST".to_vec(),
        to: FetchTo::Url(format!(
            "{}/v1/traces",
            tracer.settings.otlp.trim_end_matches('/')
        )),
        headers,
        host: None,
        body: FetchBody::Bytes(body),
        timeout_ms: Some(timeout_ms),
        redirects: 0,
        public_only: false,
    };
    let exchange = async {
        let mut fetched = fetch(shared.clone(), request).await.ok()?;
        let response = fetched.body.collect(MAX_RESPONSE_BYTES).await.unwrap_or_default();
        Some((fetched.head, response))
    };
    let Ok(Some((head, response))) = tokio::time::timeout(Duration::from_millis(timeout_ms), exchange).await
    else {
        return Sent::Later(None);
    };
    match head.status {
        200..=299 => Sent::Taken(rejected(head.head.get(b"content-type"), &response)),
        429 | 502 | 503 | 504 => {
            let clock = &shared.clock;
            let now_s = clock.unix_us(clock.tick()) / 1_000_000;
            Sent::Later(
                head.head
                    .get(b"retry-after")
                    .and_then(|value| http_date::retry_after(value, now_s)),
            )
        }
        _ => Sent::Refused,
    }
}

/// How many spans a response rejects (`partial_success`), in Protocol Buffers or, from collectors that respond otherwise than
/// they were asked, in JSON. An invalid one rejects none.
fn rejected(content_type: Option<&[u8]>, response: &[u8]) -> u64 {
    if content_type.is_some_and(|value| value.to_ascii_lowercase().starts_with(b"application/json")) {
        let told: serde_json::Value = serde_json::from_slice(response).unwrap_or_default();
        let number = &told["partialSuccess"]["rejectedSpans"];
        let number = number.as_u64().or_else(|| number.as_str()?.parse().ok());
        return number.unwrap_or(0);
    }
    let first = |message, wanted| {
        Fields(message)
            .find(|(field, _)| *field == wanted)
            .map(|(_, value)| value)
    };
    let Some(Value::Bytes(partial)) = first(response, 1) else {
        return 0;
    };
    match first(partial, 1) {
        // an int64: what is below 0 rejects nothing
        Some(Value::Number(number)) if i64::try_from(number).is_ok() => number,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejected_spans_are_read_in_both_encodings() {
        let json = b"application/json; charset=utf-8".as_slice();
        for (content_type, response, expected) in [
            (None, &b""[..], 0),
            (None, b"\x0a\x05\x08\x03\x12\x01x", 3),
            (Some(&b"application/x-protobuf"[..]), b"\x0a\x02\x08\x07", 7),
            (None, b"\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 0),
            (None, b"\x0a\xff\xff", 0),
            (None, b"<html>garbage", 0),
            (Some(json), b"{\"partialSuccess\":{\"rejectedSpans\":\"4\"}}", 4),
            (Some(json), b"{\"partialSuccess\":{\"rejectedSpans\":5}}", 5),
            (Some(json), b"{}", 0),
            (Some(json), b"<html>", 0),
        ] {
            assert_eq!(rejected(content_type, response), expected, "{response:?}");
        }
    }
}
