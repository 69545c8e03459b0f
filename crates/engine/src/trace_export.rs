//! Sends what the tracer has recorded to a collector, beside all requests: OTLP over HTTP, as JSON.
//!
//! # How it works
//! A task for each tracer, which wakes every few seconds, or when a batch is full. Only what the protocol says may be tried
//! again is (429, 502, 503, 504, and no response at all), a few times; all else is dropped and counted. When the worker ends
//! nothing is tried again.

use std::rc::Rc;
use std::time::Duration;

use headgate_shared::metrics::Counter;
use headgate_wire::Head;

use crate::http::fetch::{fetch, FetchBody, FetchRequest, FetchTo};
use crate::state::Shared;
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

/// Serves a tracer until it is retired and all is sent.
pub(crate) async fn serve(shared: Rc<Shared>, tracer: Rc<Tracer>) {
    loop {
        if tracer.unsent() == 0 && tracer.is_retired.get() {
            return;
        }
        let _ = tokio::time::timeout(INTERVAL, tracer.wake.notified()).await;
        while let Some((body, spans)) = tracer.take() {
            tracer.is_sending.set(true);
            let lost = send(&shared, &tracer, body.into(), spans).await;
            shared.metrics.add(Counter::TraceSpansSent, spans - lost);
            shared.metrics.add(Counter::TraceSpansDropped, lost);
            tracer.is_sending.set(false);
        }
        shared
            .metrics
            .add(Counter::TraceSpansDropped, tracer.dropped.take());
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
    if headers.set(b"content-type", b"application/json").is_err() {
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
        200..=299 => Sent::Taken(rejected(&response)),
        429 | 502 | 503 | 504 => {
            let after = head
                .head
                .get(b"retry-after")
                .and_then(|value| std::str::from_utf8(value).ok());
            Sent::Later(
                after
                    .and_then(|seconds| seconds.trim().parse().ok())
                    .map(Duration::from_secs),
            )
        }
        _ => Sent::Refused,
    }
}

/// `partialSuccess` of a response; an invalid one rejects nothing.
fn rejected(response: &[u8]) -> u64 {
    let told: serde_json::Value = serde_json::from_slice(response).unwrap_or_default();
    let number = &told["partialSuccess"]["rejectedSpans"];
    number
        .as_u64()
        .or_else(|| number.as_str()?.parse().ok())
        .unwrap_or(0)
}
