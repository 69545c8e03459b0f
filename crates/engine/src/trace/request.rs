//! What is recorded of a request.

use super::Place;
use crate::access_log::HookTime;

/// A request that is to be recorded. Times are microseconds since 1970.
pub(crate) struct Request<'a> {
    pub(crate) place: Place,
    pub(crate) scheme: &'a str,
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
    pub(crate) hooks: &'a [HookTime],
    /// What makes microseconds since 1970 of a moment on the worker's clock, which those of hooks are.
    pub(crate) epoch_us: u64,
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

/// An attempt that failed, or whose response was given up for that of another one.
pub(crate) struct FailedAttempt {
    pub(crate) number: u32,
    pub(crate) upstream: String,
    pub(crate) server: String,
    /// Of the response that was given up; 0: there was none.
    pub(crate) status: u16,
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

#[cfg(test)]
impl Request<'static> {
    /// One with an attempt.
    pub(super) fn example() -> Self {
        let own = headgate_wire::TraceParent {
            trace_id: 0xabc,
            span_id: 0xdef,
            is_sampled: true,
        };
        Self {
            place: Place { own, parent: Some(5) },
            scheme: "http",
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
            hooks: &[],
            epoch_us: 0,
            fetches: &[],
        }
    }
}
