//! What went wrong with a request: at whose fault, with which answer, and whether a retry is safe.

use std::borrow::Cow;
use std::ops::{Deref, DerefMut};

/// Who is to blame for a [`Failure`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// The peer that sent the request.
    Client,
    /// The server that was to answer it.
    Upstream,
    /// The gateway itself or its user's code.
    Gateway,
}

impl Source {
    /// `client`, `upstream` or `gateway`.
    pub fn name(self) -> &'static str {
        match self {
            Source::Client => "client",
            Source::Upstream => "upstream",
            Source::Gateway => "gateway",
        }
    }
}

/// A request that could not be served as asked. One pointer, so that what may fail costs little where it does not.
#[derive(Clone, Debug)]
pub struct Failure(Box<FailureParts>);

/// What there is to say about a [`Failure`].
#[derive(Clone, Debug)]
pub struct FailureParts {
    /// A short word for logs, for instance `connect` or `upstream_head_timeout`.
    pub kind: &'static str,
    /// Who is to blame.
    pub source: Source,
    /// The status that the client gets if no `error` hook answers; 499 means that nobody is left to answer.
    pub status: u16,
    /// One lower-case sentence.
    pub message: Cow<'static, str>,
    /// Whether the request could be sent again without doing its work twice.
    pub retry_safe: bool,
    /// The methods that a 405 names in `Allow`.
    pub allow: Option<String>,
}

impl Deref for Failure {
    type Target = FailureParts;

    fn deref(&self) -> &FailureParts {
        &self.0
    }
}

impl DerefMut for Failure {
    fn deref_mut(&mut self) -> &mut FailureParts {
        &mut self.0
    }
}

impl Failure {
    /// A failure at the client's fault.
    pub fn client(kind: &'static str, status: u16, message: impl Into<Cow<'static, str>>) -> Self {
        Self::of(Source::Client, kind, status, message.into())
    }

    /// A failure at the upstream's fault.
    pub fn upstream(
        kind: &'static str,
        status: u16,
        message: impl Into<Cow<'static, str>>,
        retry_safe: bool,
    ) -> Self {
        let mut failure = Self::of(Source::Upstream, kind, status, message.into());
        failure.retry_safe = retry_safe;
        failure
    }

    /// A failure of the gateway or of user code.
    pub fn gateway(kind: &'static str, status: u16, message: impl Into<Cow<'static, str>>) -> Self {
        Self::of(Source::Gateway, kind, status, message.into())
    }

    fn of(source: Source, kind: &'static str, status: u16, message: Cow<'static, str>) -> Self {
        Self(Box::new(FailureParts {
            kind,
            source,
            status,
            message,
            retry_safe: false,
            allow: None,
        }))
    }

    /// The worker ends before the request does: another one, or another instance, can take it.
    pub fn shutting_down() -> Self {
        Self::gateway("shutting_down", 503, "the gateway is shutting down")
    }

    /// The client went away: nobody to answer (nginx's 499).
    pub fn client_left() -> Self {
        Self::client(
            "client_left",
            499,
            "the client closed the connection before the answer",
        )
    }
}
