//! What went wrong with a request: at whose fault, with which answer, and whether a retry is safe.
//!
//! # How it works
//! Each kind of failure is a line of one table, from which its status, its fault and the reference for users come. What
//! breaks the framing of HTTP has many words, which the parsers know: [`FailureKind::MalformedHead`] and its like carry them.

use std::borrow::Cow;
use std::ops::{Deref, DerefMut};

use headgate_route::PathError;
use headgate_upstream::Retry;
use headgate_wire::{ChunkError, HeadError, RequestError, ResponseError};

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

/// How loudly the gateway's own log tells of a failure; the access log names all of them.
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
    /// A short word for logs and `error` hooks.
    pub name: &'static str,
    /// Who is to blame.
    pub source: Source,
    /// The status that the client gets if no `error` hook answers; 499 means that nobody is left to answer.
    pub status: u16,
    /// Whether another server may be tried.
    pub retry: Retry,
    /// How loudly the log tells of it.
    pub level: Level,
    /// One lower-case sentence.
    pub meaning: &'static str,
}

macro_rules! kinds {
    ($($kind:ident $name:literal $source:ident $status:literal $retry:ident $level:ident $meaning:literal;)*) => {
        /// A kind of failure.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum FailureKind {
            $(#[doc = $meaning] $kind,)*
            /// A request's head breaks HTTP's grammar or a limit; the parser's word.
            MalformedHead(RequestError),
            /// A request's body breaks its framing.
            MalformedBody(ChunkError),
            /// A request's path cannot be understood.
            MalformedPath(PathError),
            /// A response's head breaks HTTP's grammar or a limit.
            MalformedResponse(ResponseError),
        }

        /// The table of kinds that the engine itself knows.
        const KINDS: &[Facts] = &[$(
            Facts {
                name: $name,
                source: Source::$source,
                status: $status,
                retry: Retry::$retry,
                level: Level::$level,
                meaning: $meaning,
            },
        )*];

        impl FailureKind {
            /// What is the same for all failures of this kind.
            pub fn facts(self) -> Facts {
                match self {
                    $(Self::$kind => const {
                        Facts {
                            name: $name,
                            source: Source::$source,
                            status: $status,
                            retry: Retry::$retry,
                            level: Level::$level,
                            meaning: $meaning,
                        }
                    },)*
                    Self::MalformedHead(error) => of_client(error.reason(), error.status()),
                    Self::MalformedBody(error) => of_client(error.reason(), 400),
                    Self::MalformedPath(error) => of_client(error.reason(), 400),
                    Self::MalformedResponse(error) => of_upstream(error.reason(), "the head of the response is malformed"),
                }
            }
        }
    };
}

kinds! {
    // the client
    ClientLeft "client_left" Client 499 Never Debug "the client closed the connection before the response";
    ClientSendTimeout "send_timeout" Client 499 Never Debug "the client took too long to read the response";
    ClientHeadTimeout "client_head_timeout" Client 408 Never Debug "the client took too long to send the request's head";
    ClientBodyTimeout "client_body_timeout" Client 408 Never Debug "the client took too long to send the request's body";
    BodyTooLarge "body_too_large" Client 413 Never Debug "the request's body is larger than the limit";
    HeldBodyTooLarge "buffered_body_too_large" Client 413 Never Debug "the request's body is larger than is held for a hook";
    CodedBody "coded_body" Client 501 Never Debug "a body under another transfer coding than chunked cannot be read here";
    TransferCoding "transfer_coding" Client 501 Never Debug "the request's transfer coding is none that the server could be told of";
    UnknownContentCoding "unknown_content_coding" Client 415 Never Debug "the request's content-encoding is unknown to the hook that reads its body";
    BadContentCoding "bad_content_coding" Client 400 Never Debug "the request's body is not what its content-encoding says";
    ConnectRefused "connect_refused" Client 501 Never Debug "CONNECT is not supported: this is not a forward proxy";
    MethodNotAllowed "method_not_allowed" Client 405 Never Debug "the method is not allowed here";
    NoRoute "no_route" Client 404 Never Debug "no route matches this request";
    NoFile "no_file" Client 404 Never Debug "there is no such file";
    BadPath "bad_path" Client 400 Never Debug "the path is badly escaped";
    PathAmbiguous "path_ambiguous" Client 400 Never Debug "servers could read another path in this one, for which another rule holds";
    TargetTooLong "target_too_long" Client 414 Never Debug "the request-target is longer than the limit";
    UnderscoreInFieldName "underscore_in_field_name" Client 400 Never Debug "there is a `_` in the name of a field";
    Misdirected "misdirected" Client 421 Never Debug "this connection was made for another host than the request asks for";
    NoClientCertificate "no_client_certificate" Client 400 Never Debug "a client certificate is needed here";
    BadClientCertificate "bad_client_certificate" Client 400 Never Debug "the client certificate is refused";
    GrpcDeadline "grpc_deadline" Client 504 Never Debug "the call's deadline passed before the server answered";
    WebSocketHandshake "websocket_handshake" Client 400 Never Debug "the request for a WebSocket is malformed";
    WebSocketVersion "websocket_version" Client 426 Never Debug "only version 13 of the WebSocket protocol is spoken here";
    ClientWebSocketProtocol "websocket_protocol" Client 400 Never Debug "the client broke the WebSocket protocol";
    ClientWebSocketText "websocket_text" Client 400 Never Debug "a text message of the client is not UTF-8";
    ClientWebSocketTooLarge "websocket_too_large" Client 400 Never Debug "a message of the client is larger than the limit";
    // the server
    Connect "connect" Upstream 502 AlwaysSafe Warned "cannot connect to the server";
    ConnectTimeout "connect_timeout" Upstream 504 AlwaysSafe Warned "the server did not accept a connection in time";
    UpstreamTls "upstream_tls" Upstream 502 AlwaysSafe Warned "no TLS session with the server";
    UpstreamTlsBroken "upstream_tls" Upstream 502 IfIdempotent Debug "the TLS session with the server broke";
    UpstreamTlsTimeout "upstream_tls_timeout" Upstream 504 AlwaysSafe Warned "the server did not finish the TLS handshake in time";
    UpstreamRefused "upstream_refused" Upstream 502 AlwaysSafe Debug "the server did not take the request";
    UpstreamClosed "upstream_closed" Upstream 502 IfConnectionWasReused Debug "the server closed a connection that was used before";
    UpstreamReset "upstream_reset" Upstream 502 IfIdempotent Debug "the server closed the connection before it answered";
    UpstreamSendTimeout "send_timeout" Upstream 504 IfIdempotent Debug "the server took too long to read the request";
    UpstreamHeadTimeout "upstream_head_timeout" Upstream 504 Never Debug "the server took too long to answer";
    UpstreamIdleTimeout "upstream_idle_timeout" Upstream 504 Never Debug "the server stopped sending";
    UpstreamCut "upstream_cut" Upstream 502 Never Debug "the server closed the connection within its response";
    BadChunk "bad_chunk" Upstream 502 Never Debug "the framing of the response's body is malformed";
    EndlessInterim "endless_interim" Upstream 502 IfIdempotent Debug "the server sends interim responses without end";
    UnaskedTransferCoding "unasked_transfer_coding" Upstream 502 Never Debug "the server used a transfer coding that it was not asked for";
    UnaskedUpgrade "unasked_upgrade" Upstream 502 Never Debug "the server switched protocols without being asked";
    BadUpgrade "bad_upgrade" Upstream 502 Never Debug "the server switched to a protocol that was not asked for";
    BadWebSocketAnswer "bad_websocket_answer" Upstream 502 Never Debug "the server's response does not open the WebSocket";
    WebSocketUnsupported "websocket_unsupported" Upstream 502 Never Debug "the server takes no WebSockets over HTTP/2 (RFC 8441)";
    ServerWebSocketProtocol "websocket_protocol" Upstream 502 Never Debug "the server broke the WebSocket protocol";
    ServerWebSocketText "websocket_text" Upstream 502 Never Debug "a text message of the server is not UTF-8";
    ServerWebSocketTooLarge "websocket_too_large" Upstream 502 Never Debug "a message of the server is larger than the limit";
    UnknownResponseCoding "unknown_coding" Upstream 502 Never Debug "the response is in a coding unknown to the hook that reads its body";
    BadResponseCoding "bad_content_coding" Upstream 502 Never Debug "the response is not what its content-encoding says";
    HeldResponseTooLarge "buffered_body_too_large" Upstream 502 Never Debug "the response is larger than is held for a hook";
    // the gateway, its configuration and its user's code
    HookFailed "hook_failed" Gateway 500 Never Raised "a hook failed, and is declared to fail closed";
    Answered "answered" Gateway 500 Never Debug "a hook of the body answers in place of what it was called for";
    NoAnswer "no_answer" Gateway 404 Never Debug "no hook of the route answered";
    BadAnswer "bad_answer" Gateway 500 Never Warning "a hook's response cannot be sent";
    UnaskedHookUpgrade "unasked_upgrade" Gateway 500 Never Warning "a hook switches protocols although the client did not ask for it";
    BadHookWebSocketAnswer "bad_websocket_answer" Gateway 500 Never Warning "a hook's response does not open the WebSocket";
    BadServerAddress "bad_server_address" Gateway 500 Never Warning "a hook chose a server whose address is not valid";
    BodyUsedUp "body_used_up" Gateway 500 Never Warning "a hook has used up the request's body and set no other one";
    HookBodyTooLarge "hook_body_too_large" Gateway 500 Never Warning "the hooks made the request's body larger than the limit";
    StreamFailed "stream_failed" Gateway 500 Never Raised "the hook's body could not go on";
    StreamTimeout "stream_timeout" Gateway 500 Never Warning "the hook's body took too long to go on";
    UnknownReplyCoding "unknown_coding" Gateway 500 Never Warning "the local reply is in a coding unknown to the hook that reads its body";
    BadReplyCoding "bad_content_coding" Gateway 500 Never Warning "the local reply is not what its content-encoding says";
    HeldReplyTooLarge "buffered_body_too_large" Gateway 502 Never Warning "the local reply is larger than is held for a hook";
    SpoolFailed "spool_failed" Gateway 500 Never Warning "the body could not be kept in a temporary file";
    FileCut "file_cut" Gateway 500 Never Warning "the file ended early";
    NoServer "no_server" Gateway 503 Never Debug "no server of the upstream can take the request";
    QueueTimeout "queue_timeout" Gateway 503 Never Debug "every server of the upstream has as many requests as it may";
    ShuttingDown "shutting_down" Gateway 503 Never Debug "the gateway is shutting down";
}

const fn of_client(name: &'static str, status: u16) -> Facts {
    Facts {
        name,
        source: Source::Client,
        status,
        retry: Retry::Never,
        level: Level::Debug,
        meaning: "the request is malformed",
    }
}

const fn of_upstream(name: &'static str, meaning: &'static str) -> Facts {
    Facts {
        name,
        source: Source::Upstream,
        status: 502,
        retry: Retry::IfIdempotent,
        level: Level::Debug,
        meaning,
    }
}

impl FailureKind {
    /// The short word for logs and `error` hooks.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// Whether nobody is left to answer.
    pub fn leaves_nobody(self) -> bool {
        matches!(self, Self::ClientLeft | Self::ClientSendTimeout)
    }
}

/// What the reference says of a retry.
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

const HEAD_ERRORS: [HeadError; 16] = [
    HeadError::TooLarge,
    HeadError::TooManyFields,
    HeadError::BareLf,
    HeadError::BareCr,
    HeadError::Nul,
    HeadError::Control,
    HeadError::Folded,
    HeadError::SpaceBeforeColon,
    HeadError::FieldName,
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

/// A request that could not be served as asked. One pointer, so that what may fail costs little where it does not.
#[derive(Clone, Debug)]
pub struct Failure(Box<FailureParts>);

/// What there is to say about a [`Failure`].
#[derive(Clone, Debug)]
pub struct FailureParts {
    /// What sort of failure it is.
    pub kind: FailureKind,
    /// One lower-case sentence.
    pub message: Cow<'static, str>,
    /// The methods that a 405 names in `Allow`.
    pub allow: Option<String>,
}

impl FailureParts {
    /// The message without the hint behind it: what clients are told. Which limit to raise is for the operator, who
    /// finds it in the access log.
    pub fn public_message(&self) -> &str {
        let end = self
            .message
            .find("; hint: ")
            .or_else(|| self.message.find("\nhint: "));
        end.map_or(&*self.message, |end| &self.message[..end])
    }

    /// Who is to blame.
    pub fn source(&self) -> Source {
        self.kind.facts().source
    }

    /// The status that the client gets if no `error` hook answers; 499 means that nobody is left to answer.
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
    /// A failure of this kind, told in its own words.
    pub fn new(kind: FailureKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(FailureParts {
            kind,
            message: message.into(),
            allow: None,
        }))
    }

    /// The worker ends before the request does: another one, or another instance, can take it.
    pub fn shutting_down() -> Self {
        FailureKind::ShuttingDown.into()
    }

    /// Tells the gateway's own log of it, as loudly as its kind asks for.
    pub(crate) fn log(&self, request_id: &str) {
        let (kind, message) = (self.kind.name(), &self.message);
        match self.kind.facts().level {
            Level::Debug => tracing::debug!(kind, request_id, "{message}"),
            Level::Warning => tracing::warn!(kind, request_id, "{message}"),
            Level::Warned | Level::Raised => {}
        }
    }

    /// The client went away: nobody to answer (nginx's 499).
    pub fn client_left() -> Self {
        FailureKind::ClientLeft.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_not_told_the_hint() {
        let told = |message: &'static str| {
            Failure::new(FailureKind::ShuttingDown, message)
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
    fn a_kind_is_one_line_and_a_name_with_its_fault_too() {
        let mut seen: Vec<(&str, &str, u16)> = KINDS
            .iter()
            .map(|facts| (facts.name, facts.source.name(), facts.status))
            .collect();
        let before = seen.len();
        seen.sort_unstable();
        seen.dedup();
        // `upstream_tls` says one thing of two retries
        assert_eq!(seen.len(), before - 1);
    }

    #[test]
    fn only_failures_of_servers_may_be_tried_again() {
        for (facts, _) in failures() {
            assert!(
                facts.retry == Retry::Never || facts.source == Source::Upstream,
                "{}",
                facts.name
            );
        }
    }

    #[test]
    fn whom_nobody_answers_is_a_client_that_left() {
        for (facts, _) in failures() {
            assert_eq!(
                facts.status == 499,
                facts.source == Source::Client && matches!(facts.name, "client_left" | "send_timeout")
            );
        }
    }
}
