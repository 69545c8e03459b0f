//! What went wrong with a request: at whose fault, with which response, and whether a retry is safe.
//!
//! # How it works
//! Each kind of failure is a line of one table, from which its status, its fault and the reference for users come. What
//! breaks the framing of HTTP has many names, which the parsers define: [`FailureKind::MalformedHead`] and its like carry them.

mod kinds;

use std::borrow::Cow;
use std::ops::{Deref, DerefMut};

use headgate_route::PathError;
use headgate_upstream::Retry;
use headgate_wire::{ChunkError, HeadError, RequestError, ResponseError};

pub use kinds::FailureKind;
use kinds::KINDS;

/// Who is to blame for a [`Failure`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultSide {
    /// The peer that sent the request.
    Client,
    /// The server that was to respond it.
    Upstream,
    /// The gateway itself or its user's code.
    Gateway,
}

impl FaultSide {
    /// `client`, `upstream` or `gateway`.
    pub fn name(self) -> &'static str {
        match self {
            FaultSide::Client => "client",
            FaultSide::Upstream => "upstream",
            FaultSide::Gateway => "gateway",
        }
    }
}

/// The level of a failure in the gateway's own log; the access log has all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// What clients and servers do every day.
    Debug,
    /// What an operator has to look at.
    Warning,
    /// The same, logged by whoever sees it first and knows more than the request's task.
    Warned,
    /// User code that raised: logged with its traceback.
    Raised,
}

impl Level {
    /// `debug`, `warning` or `error`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Warning | Self::Warned => "warning",
            Self::Raised => "error",
        }
    }
}

/// What is the same for all failures of a kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    /// A short name for logs and `error` hooks.
    pub name: &'static str,
    /// Who is to blame.
    pub source: FaultSide,
    /// The status that the client gets if no `error` hook responds; 499 means that the client has disconnected.
    pub status: u16,
    /// Whether another server may be tried.
    pub retry: Retry,
    /// Its level in the gateway's own log.
    pub level: Level,
    /// One lower-case sentence.
    pub meaning: &'static str,
}

impl FailureKind {
    /// The short name for logs and `error` hooks.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// Whether the client has disconnected.
    pub fn is_disconnect(self) -> bool {
        matches!(self, Self::ClientDisconnected | Self::ClientSendTimeout)
    }
}

/// The text about a retry in the reference.
pub fn retry_name(retry: Retry) -> &'static str {
    match retry {
        Retry::Never => "never",
        Retry::IfIdempotent => "idempotent",
        Retry::IfConnectionWasReused => "reused",
        Retry::AlwaysSafe => "always",
    }
}

/// All kinds, each with a sentence; for the reference.
pub fn failures() -> Vec<(Facts, String)> {
    let with = |facts: Facts, meaning: &dyn std::fmt::Display| (facts, meaning.to_string());
    let known = KINDS.iter().map(|facts| with(*facts, &facts.meaning));
    let heads = REQUEST_ERRORS
        .into_iter()
        .chain(HEAD_ERRORS.map(RequestError::Head))
        .map(|error| with(FailureKind::MalformedHead(error).facts(), &error));
    let bodies = CHUNK_ERRORS.map(|error| with(FailureKind::MalformedBody(error).facts(), &error));
    let paths = PATH_ERRORS.map(|error| with(FailureKind::MalformedPath(error).facts(), &error));
    let responses = RESPONSE_ERRORS
        .into_iter()
        .chain(HEAD_ERRORS.map(ResponseError::Head))
        .map(|error| with(FailureKind::MalformedResponse(error).facts(), &error));
    known
        .chain(heads)
        .chain(bodies)
        .chain(paths)
        .chain(responses)
        .collect()
}

const REQUEST_ERRORS: [RequestError; 9] = [
    RequestError::Method,
    RequestError::Target,
    RequestError::Overlong,
    RequestError::TargetTooLong,
    RequestError::Version,
    RequestError::VersionUnsupported,
    RequestError::HostMissing,
    RequestError::HostRepeated,
    RequestError::Host,
];

const HEAD_ERRORS: [HeadError; 17] = [
    HeadError::TooLarge,
    HeadError::TooManyFields,
    HeadError::BareLf,
    HeadError::BareCr,
    HeadError::Nul,
    HeadError::Control,
    HeadError::Folded,
    HeadError::SpaceBeforeColon,
    HeadError::FieldName,
    HeadError::NoColon,
    HeadError::FramingLookalike,
    HeadError::Length,
    HeadError::LengthRepeated,
    HeadError::LengthAndCoding,
    HeadError::Coding,
    HeadError::CodingInHttp10,
    HeadError::Connection,
];

const CHUNK_ERRORS: [ChunkError; 6] = [
    ChunkError::Size,
    ChunkError::Extension,
    ChunkError::ExtensionsTooLarge,
    ChunkError::LineEnd,
    ChunkError::TrailersTooLarge,
    ChunkError::Trailer(HeadError::FieldName),
];

const PATH_ERRORS: [PathError; 6] = [
    PathError::NotAbsolute,
    PathError::BadEscape,
    PathError::Nul,
    PathError::AboveRoot,
    PathError::HiddenDots,
    PathError::EncodedSlash,
];

const RESPONSE_ERRORS: [ResponseError; 4] = [
    ResponseError::Version,
    ResponseError::Status,
    ResponseError::Reason,
    ResponseError::SwitchBody,
];

/// What clients are told of faults in the gateway, its configuration and its user's code.
const INTERNAL: &str = "the gateway could not handle this request";

/// A request that could not be served as requested. One pointer, so that what may fail costs little where it does not.
#[derive(Clone, Debug)]
pub struct Failure(Box<FailureParts>);

/// The contents of a [`Failure`].
#[derive(Clone, Debug)]
pub struct FailureParts {
    /// What sort of failure it is.
    pub kind: FailureKind,
    /// One lower-case sentence.
    pub message: Cow<'static, str>,
    /// What the system or the server's protocol said of it; for the gateway's own log only.
    pub detail: Option<String>,
    /// The methods that a 405 names in `Allow`.
    pub allow: Option<String>,
    /// The seconds that a 503 names in `Retry-After`.
    pub retry_after: Option<String>,
}

impl FailureParts {
    /// What clients see: of their own faults the message without its hint (which limit to raise is for the operator, who
    /// finds it in the access log), of others only what kind of failure it is. Messages may name servers, files and hooks.
    pub fn public_message(&self) -> &str {
        match self.kind.facts() {
            facts if facts.source == FaultSide::Client => {}
            facts if facts.status == 500 => return INTERNAL,
            facts => return facts.meaning,
        }
        let end = self
            .message
            .find("; hint: ")
            .or_else(|| self.message.find("\nhint: "));
        end.map_or(&*self.message, |end| &self.message[..end])
    }

    /// Who is to blame.
    pub fn source(&self) -> FaultSide {
        self.kind.facts().source
    }

    /// The status that the client gets if no `error` hook responds; 499 means that the client has disconnected.
    pub fn status(&self) -> u16 {
        self.kind.facts().status
    }

    /// Whether another server may be tried.
    pub fn retry(&self) -> Retry {
        self.kind.facts().retry
    }

    /// Whether the request could be sent again without doing its work twice.
    pub fn retry_safe(&self) -> bool {
        self.kind.facts().retry == Retry::AlwaysSafe
    }
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

impl From<FailureKind> for Failure {
    /// A failure of which no more is known than its kind.
    fn from(kind: FailureKind) -> Self {
        Self::new(kind, kind.facts().meaning)
    }
}

impl Failure {
    /// A failure of this kind, with the kind's own message.
    pub fn new(kind: FailureKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(FailureParts {
            kind,
            message: message.into(),
            detail: None,
            allow: None,
            retry_after: None,
        }))
    }

    /// The same with what the system or the server's protocol said.
    #[must_use]
    pub fn with_detail(mut self, detail: Option<String>) -> Self {
        self.detail = detail;
        self
    }

    /// The worker ends before the request does: another one, or another instance, can take it.
    pub fn shutting_down() -> Self {
        FailureKind::ShuttingDown.into()
    }

    /// Tells the gateway's own log of it, at the level of its kind; of a server's failure that is the matter of whoever
    /// knows the server.
    pub(crate) fn log(&self, request_id: &str) {
        let (kind, message) = (self.kind.name(), &self.message);
        match self.kind.facts().level {
            Level::Debug => tracing::debug!(kind, request_id, "{message}"),
            Level::Warning => tracing::warn!(kind, request_id, "{message}"),
            Level::Warned | Level::Raised => {}
        }
    }

    /// The client has disconnected (nginx's 499).
    pub fn client_disconnected() -> Self {
        FailureKind::ClientDisconnected.into()
    }
}

#[cfg(test)]
mod tests {
    use super::kinds::ALL;
    use super::*;

    #[test]
    fn clients_are_not_told_the_hint() {
        let told = |message: &'static str| {
            Failure::new(FailureKind::MethodNotAllowed, message)
                .public_message()
                .to_owned()
        };
        assert_eq!(
            told("the head is larger than the limit; hint: limits.max_head_bytes"),
            "the head is larger than the limit"
        );
        assert_eq!(told("bad\nhint: better"), "bad");
        assert_eq!(told("nothing to hint at"), "nothing to hint at");
    }

    #[test]
    fn clients_are_told_nothing_of_what_is_behind_the_gateway() {
        let secret = "upstream `billing`, server 10.0.0.7:5432, file /srv/app/gate.py, hook `check_quota`";
        for kind in ALL {
            let failure = Failure::new(*kind, secret).with_detail(Some(secret.to_owned()));
            if kind.facts().source != FaultSide::Client {
                assert!(!failure.public_message().contains('`'), "{}", kind.name());
            }
            let told = Failure::from(*kind).public_message().replace("HTTP/2", "");
            for inside in ["limits.", "timeouts.", "websocket.", "`", "hint", "/"] {
                assert!(
                    !told.contains(inside) || told.contains("`_`"),
                    "{}: {told}",
                    kind.name()
                );
            }
        }
    }

    #[test]
    fn a_kind_is_one_line_and_a_name_with_its_fault_too() {
        let mut seen: Vec<(&str, &str, u16)> = KINDS
            .iter()
            .map(|facts| (facts.name, facts.source.name(), facts.status))
            .collect();
        let before = seen.len();
        seen.sort_unstable();
        seen.dedup();
        // `upstream_tls` and `unsupported_transfer_coding` stand for two failures each
        assert_eq!(seen.len(), before - 2);
    }

    #[test]
    fn only_failures_of_servers_may_be_tried_again() {
        for (facts, _) in failures() {
            assert!(
                facts.retry == Retry::Never || facts.source == FaultSide::Upstream,
                "{}",
                facts.name
            );
        }
    }

    #[test]
    fn only_a_client_that_left_gets_no_response() {
        for (facts, _) in failures() {
            assert_eq!(
                facts.status == 499,
                facts.source == FaultSide::Client
                    && matches!(facts.name, "client_disconnected" | "send_timeout")
            );
        }
    }
}
