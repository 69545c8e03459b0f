//! The table of kinds of failures.

use headgate_route::PathError;
use headgate_upstream::Retry;
use headgate_wire::{ChunkError, RequestError, ResponseError};

use super::{Facts, FaultSide, Level};

macro_rules! kinds {
    ($($kind:ident $name:literal $source:ident $status:literal $retry:ident $level:ident $meaning:literal;)*) => {
        /// A kind of failure.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum FailureKind {
            $(#[doc = $meaning] $kind,)*
            /// A request's head breaks HTTP's grammar or a limit; the parser's error.
            MalformedHead(RequestError),
            /// A request's body breaks its framing.
            MalformedBody(ChunkError),
            /// A request's path cannot be understood.
            MalformedPath(PathError),
            /// A response's head breaks HTTP's grammar or a limit.
            MalformedResponse(ResponseError),
        }

        /// The table of kinds that the engine itself knows.
        pub(super) const KINDS: &[Facts] = &[$(
            Facts {
                name: $name,
                source: FaultSide::$source,
                status: $status,
                retry: Retry::$retry,
                level: Level::$level,
                meaning: $meaning,
            },
        )*];

        /// Those kinds themselves, in the order of the table.
        #[cfg(test)]
        pub(super) const ALL: &[FailureKind] = &[$(FailureKind::$kind,)*];

        impl FailureKind {
            /// What is the same for all failures of this kind.
            pub fn facts(self) -> Facts {
                match self {
                    $(Self::$kind => const {
                        Facts {
                            name: $name,
                            source: FaultSide::$source,
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
    ClientDisconnected "client_disconnected" Client 499 Never Debug "the client closed the connection before the response";
    ClientSendTimeout "send_timeout" Client 499 Never Debug "the client took too long to read the response";
    ClientHeadTimeout "client_head_timeout" Client 408 Never Debug "the client took too long to send the request's head";
    ClientBodyTimeout "client_body_timeout" Client 408 Never Debug "the client took too long to send the request's body";
    BodyTooLarge "body_too_large" Client 413 Never Debug "the request's body is larger than the limit";
    HeldBodyTooLarge "buffered_body_too_large" Client 413 Never Debug "the request's body is larger than a hook may buffer";
    UnsupportedRequestCoding "unsupported_transfer_coding" Client 501 Never Debug "transfer codings other than chunked are not supported";
    UnsupportedTransferCoding "unsupported_transfer_coding" Client 501 Never Debug "the request's transfer coding cannot be forwarded to the server";
    UnknownContentCoding "unknown_content_coding" Client 415 Never Debug "a hook reads the decoded body, and the request's content-encoding is not supported";
    BadContentCoding "bad_content_coding" Client 400 Never Debug "the request's body does not match its content-encoding";
    ConnectNotSupported "connect_not_supported" Client 501 Never Debug "CONNECT is not supported: this is not a forward proxy";
    MethodNotAllowed "method_not_allowed" Client 405 Never Debug "the method is not allowed here";
    NoRoute "no_route" Client 404 Never Debug "no route matches this request";
    NoFile "no_file" Client 404 Never Debug "there is no such file";
    BadPath "bad_path" Client 400 Never Debug "the path has an invalid percent-escape";
    PathAmbiguous "path_ambiguous" Client 400 Never Debug "servers could interpret the path in a way that another route covers";
    RedirectWithoutHost "redirect_without_host" Client 400 Never Debug "the redirect needs a host, and the request has none";
    TargetTooLong "target_too_long" Client 414 Never Debug "the request-target is longer than the limit";
    UnderscoreInFieldName "underscore_in_field_name" Client 400 Never Debug "there is a `_` in the name of a field";
    Misdirected "misdirected" Client 421 Never Debug "the connection was made for a different host than the request's";
    NoClientCertificate "no_client_certificate" Client 400 Never Debug "a client certificate is required";
    BadClientCertificate "bad_client_certificate" Client 400 Never Debug "the client certificate was rejected";
    GrpcDeadlineExceeded "grpc_deadline_exceeded" Client 504 Never Debug "the call's deadline expired before the server responded";
    DeadlineExceeded "deadline_exceeded" Client 504 Never Debug "the request's deadline expired before the server responded";
    WebSocketHandshake "websocket_handshake" Client 400 Never Debug "the WebSocket handshake request is malformed";
    WebSocketVersion "websocket_version" Client 426 Never Debug "only version 13 of the WebSocket protocol is supported";
    ClientWebSocketProtocol "websocket_protocol" Client 400 Never Debug "the client violated the WebSocket protocol";
    ClientWebSocketBadUtf8 "websocket_bad_utf8" Client 400 Never Debug "a text message from the client is not valid UTF-8";
    ClientWebSocketTooLarge "websocket_too_large" Client 400 Never Debug "a message from the client is larger than the limit";
    // the server
    ConnectFailed "connect_failed" Upstream 502 AlwaysSafe Warned "cannot connect to the server";
    ConnectTimeout "connect_timeout" Upstream 504 AlwaysSafe Warned "the server did not accept a connection in time";
    UpstreamTls "upstream_tls" Upstream 502 AlwaysSafe Warned "the TLS handshake with the server failed";
    UpstreamTlsBroken "upstream_tls" Upstream 502 IfConnectionWasReused Warned "the TLS connection to the server failed";
    UpstreamTlsTimeout "upstream_tls_timeout" Upstream 504 AlwaysSafe Warned "the server did not finish the TLS handshake in time";
    UpstreamRefused "upstream_refused" Upstream 502 AlwaysSafe Warned "the server refused the request without processing it";
    UpstreamClosed "upstream_closed" Upstream 502 IfConnectionWasReused Warned "the server closed a reused connection";
    UpstreamReset "upstream_reset" Upstream 502 IfConnectionWasReused Warned "the server closed the connection before it responded";
    UpstreamSendTimeout "send_timeout" Upstream 504 IfIdempotent Warned "the server took too long to read the request";
    UpstreamHeadTimeout "upstream_head_timeout" Upstream 504 Never Warned "the server took too long to respond";
    UpstreamIdleTimeout "upstream_idle_timeout" Upstream 504 Never Warned "the server stopped sending";
    UpstreamTruncated "upstream_truncated" Upstream 502 Never Warned "the server closed the connection before its response was complete";
    BadChunk "bad_chunk" Upstream 502 Never Warned "the framing of the response's body is malformed";
    TooManyInterimResponses "too_many_interim_responses" Upstream 502 IfIdempotent Warned "the server sent too many interim (1xx) responses";
    UnexpectedTransferCoding "unexpected_transfer_coding" Upstream 502 Never Warned "the server used a transfer coding that was not requested";
    UnexpectedUpgrade "unexpected_upgrade" Upstream 502 Never Warned "the server switched protocols, which the request did not ask for";
    BadUpgrade "bad_upgrade" Upstream 502 Never Warned "the server switched to a protocol that was not requested";
    PullWorkerLost "pull_worker_lost" Upstream 502 Never Warned "the worker was lost before it responded";
    PullWorkerTimeout "pull_worker_timeout" Upstream 504 Never Warned "the worker took too long to respond";
    PullBadResponse "pull_bad_response" Upstream 502 Never Warned "the worker's response is malformed";
    BadWebSocketResponse "bad_websocket_response" Upstream 502 Never Warned "the server's response does not open the WebSocket";
    WebSocketUnsupported "websocket_unsupported" Upstream 502 Never Warned "the server does not support WebSockets over HTTP/2 (RFC 8441)";
    ServerWebSocketProtocol "websocket_protocol" Upstream 502 Never Warned "the server violated the WebSocket protocol";
    ServerWebSocketBadUtf8 "websocket_bad_utf8" Upstream 502 Never Warned "a text message from the server is not valid UTF-8";
    ServerWebSocketTooLarge "websocket_too_large" Upstream 502 Never Warned "a message from the server is larger than the limit";
    UnknownResponseCoding "unknown_content_coding" Upstream 502 Never Warned "a hook reads the decoded body, and the response's content-encoding is not supported";
    BadResponseCoding "bad_content_coding" Upstream 502 Never Warned "the response's body does not match its content-encoding";
    HeldResponseTooLarge "buffered_body_too_large" Upstream 502 Never Warned "the response is larger than a hook may buffer";
    // the gateway, its configuration and its user's code
    HookFailed "hook_failed" Gateway 500 Never Raised "a hook failed";
    HookReplied "hook_replied" Gateway 500 Never Debug "a body hook returned a response in place of the body";
    NoHookResponse "no_hook_response" Gateway 404 Never Debug "no hook of the route responded";
    BadHookResponse "bad_hook_response" Gateway 500 Never Warning "a hook's response cannot be sent";
    UnexpectedHookUpgrade "unexpected_upgrade" Gateway 500 Never Warning "a hook's response switches protocols, which the request did not ask for";
    BadHookWebSocketResponse "bad_websocket_response" Gateway 500 Never Warning "a hook's response does not open the WebSocket";
    BadServerAddress "bad_server_address" Gateway 500 Never Warning "a hook chose a server whose address is not valid";
    BodyConsumed "body_consumed" Gateway 500 Never Warning "a hook consumed the request's body and did not set another";
    HookBodyTooLarge "hook_body_too_large" Gateway 500 Never Warning "the hooks made the request's body larger than the limit";
    HookBodyFailed "hook_body_failed" Gateway 500 Never Raised "the hook's response body failed";
    HookBodyTimeout "hook_body_timeout" Gateway 500 Never Warning "the hook's response body took too long to produce its next chunk";
    UnknownReplyCoding "unknown_content_coding" Gateway 500 Never Warning "a hook reads the decoded body, and the local reply's content-encoding is not supported";
    BadReplyCoding "bad_content_coding" Gateway 500 Never Warning "the local reply's body does not match its content-encoding";
    HeldReplyTooLarge "buffered_body_too_large" Gateway 502 Never Warning "the local reply is larger than a hook may buffer";
    SpoolFailed "spool_failed" Gateway 500 Never Warning "the body could not be kept in a temporary file";
    FileTruncated "file_truncated" Gateway 500 Never Warning "the file became shorter while it was sent";
    NoServer "no_server" Gateway 503 Never Debug "no server of the upstream is available";
    QueueTimeout "queue_timeout" Gateway 503 Never Debug "every server of the upstream is at its limit of concurrent requests";
    QueueFull "queue_full" Gateway 503 Never Debug "as many requests as may wait for a server of the upstream";
    QueueShed "queue_shed" Gateway 503 Never Debug "the queue of the upstream is overloaded";
    ServerRemoved "server_removed" Upstream 503 IfIdempotent Debug "the server was removed from its upstream, and the request took longer than that waits for";
    CircuitOpen "circuit_open" Gateway 503 Never Debug "the circuit breaker of the upstream is open";
    PullQueueFull "pull_queue_full" Gateway 503 Never Debug "too many requests are waiting for a worker of the upstream";
    PullWaitTimeout "pull_wait_timeout" Gateway 503 Never Debug "no worker of the upstream became idle in time";
    ShuttingDown "shutting_down" Gateway 503 Never Debug "the gateway is shutting down";
}

const fn of_client(name: &'static str, status: u16) -> Facts {
    Facts {
        name,
        source: FaultSide::Client,
        status,
        retry: Retry::Never,
        level: Level::Debug,
        meaning: "the request is malformed",
    }
}

const fn of_upstream(name: &'static str, meaning: &'static str) -> Facts {
    Facts {
        name,
        source: FaultSide::Upstream,
        status: 502,
        // what a kept connection holds may be the late content of a response that has none
        retry: Retry::IfConnectionWasReused,
        level: Level::Warned,
        meaning,
    }
}
