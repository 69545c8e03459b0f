//! What a fetch may fail with.

use std::borrow::Cow;
use std::io;

use headgate_net::limits::Limit;
use headgate_net::reason::in_words;
use headgate_upstream::{DialFailed, DialOptions, FailedBy, Reason, Retry, ServerFailure, Step};

use crate::failure::FailureKind;

/// The kinds of [`FetchError`]; each is an exception class in Python.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FetchErrorKind {
    /// The call is not allowed: a bad URL, an address that is not public, too many fetches at once.
    Refused,
    /// No connection to the server.
    Connect,
    /// A step took longer than the timeout.
    Timeout,
    /// The server closed the connection too early.
    Closed,
    /// The server's response breaks HTTP's framing.
    Protocol,
    /// The body is larger than the caller wants it.
    TooLarge,
    /// Redirects that cannot be followed.
    Redirect,
    /// The caller's own body ended prematurely.
    Aborted,
}

impl FetchErrorKind {
    /// What spans call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Protocol => "protocol",
            Self::TooLarge => "too_large",
            Self::Redirect => "redirect",
            Self::Aborted => "aborted",
        }
    }
}

/// A fetch that failed: at whose fault, what, and what to do.
#[derive(Clone, Debug)]
pub struct FetchError {
    /// What kind of failure.
    pub kind: FetchErrorKind,
    /// One lower-case sentence, with a hint where there is one.
    pub message: String,
    /// Nothing of the request can have been acted on.
    pub retry_safe: bool,
    /// What the error log says of the server, if it is to blame.
    pub(super) of_server: Option<OfServer>,
}

/// A failure of the server, as the error log tells it.
#[derive(Clone, Debug)]
pub(super) struct OfServer {
    kind: &'static str,
    message: Cow<'static, str>,
    detail: Option<String>,
    limit: Option<&'static str>,
}

impl OfServer {
    /// For the log of its upstream.
    pub(super) fn to_log(&self) -> ServerFailure<'_> {
        ServerFailure {
            kind: self.kind,
            message: &self.message,
            detail: self.detail.as_deref(),
            limit: self.limit,
            route: None,
            request_id: None,
        }
    }
}

impl FetchError {
    /// A body that is larger than it may be to be read whole.
    #[must_use]
    pub fn too_large(max_bytes: usize) -> Self {
        Self::new(
            FetchErrorKind::TooLarge,
            format!(
                "the body is larger than {max_bytes} bytes; hint: read it with `stream()`, give `max_bytes=`, or raise \
                 `limits.max_fetch_body_bytes`"
            ),
        )
    }

    pub(super) fn new(kind: FetchErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            retry_safe: false,
            of_server: None,
        }
    }

    /// What a server did wrong with a request.
    pub(super) fn server(kind: FailureKind, error: Option<&io::Error>) -> Self {
        let facts = kind.facts();
        let sort = match kind {
            FailureKind::UpstreamClosed
            | FailureKind::UpstreamReset
            | FailureKind::UpstreamTruncated
            | FailureKind::UpstreamTlsBroken => FetchErrorKind::Closed,
            _ => FetchErrorKind::Protocol,
        };
        let mut failed = Self::new(sort, facts.meaning);
        failed.of_server = Some(OfServer {
            kind: facts.name,
            message: facts.meaning.into(),
            detail: error.map(in_words),
            limit: None,
        });
        failed
    }

    /// The same with what exactly is wrong.
    pub(super) fn malformed(kind: FailureKind, what: &str, why: &impl ToString) -> Self {
        let mut failed = Self::server(kind, None);
        failed.message = format!("{what}: {}", why.to_string());
        if let Some(told) = &mut failed.of_server {
            told.detail = Some(why.to_string());
        }
        failed
    }

    pub(super) fn refused(message: impl Into<String>) -> Self {
        Self::new(FetchErrorKind::Refused, message)
    }

    /// A connection that could not be made.
    pub(super) fn dial(server: &str, failed: &DialFailed, options: &DialOptions<'_>) -> Self {
        let kind = match failed.reason {
            Reason::Late(_) => FetchErrorKind::Timeout,
            _ => FetchErrorKind::Connect,
        };
        let message = match (failed.step, &failed.reason) {
            (Step::Connect, Reason::Late(_)) => format!(
                "`{server}` did not accept a connection within {} ms; hint: see `timeouts.connect`",
                options.connect_ms
            ),
            (Step::Tls, Reason::Late(_)) => format!(
                "`{server}` did not finish the TLS handshake within {} ms; hint: see `timeouts.tls_handshake`",
                options.tls_ms
            ),
            (Step::Connect, Reason::Error(why)) => format!("cannot connect to `{server}`: {why}"),
            (Step::Connect, _) => format!("cannot connect to `{server}`"),
            (Step::Tls, Reason::Untrusted(why)) => format!("no TLS session with `{server}`: {why}"),
            (Step::Tls, _) => format!("no TLS session with `{server}`: it closed the connection"),
        };
        Self {
            kind,
            message,
            retry_safe: true,
            of_server: Some(OfServer {
                kind: failed.kind(),
                message: failed.message().into(),
                detail: failed.detail().map(str::to_owned),
                limit: match failed.reason {
                    Reason::Late(limit) => Some(limit.name()),
                    _ => None,
                },
            }),
        }
    }

    /// What the server has failed by.
    pub(super) fn failed_by(&self) -> FailedBy {
        match self.kind {
            FetchErrorKind::Connect => FailedBy::Connect,
            FetchErrorKind::Timeout => FailedBy::Timeout,
            _ => FailedBy::Reset,
        }
    }

    /// Whether the request may be tried anew.
    pub(super) fn retry(&self) -> Retry {
        match self.kind {
            _ if self.retry_safe => Retry::AlwaysSafe,
            // what a kept connection holds may be the late content of a response that has none
            FetchErrorKind::Closed | FetchErrorKind::Protocol => Retry::IfConnectionWasReused,
            FetchErrorKind::Timeout => Retry::Never,
            _ => Retry::IfIdempotent,
        }
    }

    /// A step that took too long.
    pub(super) fn late(timeout_ms: u64) -> Self {
        let mut failed = Self::new(
            FetchErrorKind::Timeout,
            format!("the server took over {timeout_ms} ms; hint: give `timeout=`, or set `timeouts.fetch`"),
        );
        failed.of_server = Some(OfServer {
            kind: FailureKind::UpstreamHeadTimeout.name(),
            message: format!("the server took over {timeout_ms} ms").into(),
            detail: None,
            limit: Some(Limit::Fetch.name()),
        });
        failed
    }
}
