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
    ClientLeft "client_left" Client 499 Never Debug "the client closed the connection before the response";
    ClientSendTimeout "send_timeout" Client 499 Never Debug "the client took too long to read the response";
    ClientHeadTimeout "client_head_timeout" Client 408 Never Debug "the client took too long to send the request's head";
    ClientBodyTimeout "client_body_timeout" Client 408 Never Debug "the client took too long to send the request's body";
    BodyTooLarge "body_too_large" Client 413 Never Debug "the request's body is larger than the limit";
    HeldBodyTooLarge "buffered_body_too_large" Client 413 Never Debug "the request's body is larger than is held for a hook";
    CodedBody "coded_body" Client 501 Never Debug "a body under another transfer coding than chunked cannot be read here";
    TransferCoding "transfer_coding" Client 501 Never Debug "the request's transfer coding cannot be passed on to the server";
    UnknownContentCoding "unknown_content_coding" Client 415 Never Debug "the request's content-encoding is unknown to the hook that reads its body";
    BadContentCoding "bad_content_coding" Client 400 Never Debug "the request's body is not what its content-encoding says";
    ConnectRefused "connect_refused" Client 501 Never Debug "CONNECT is not supported: this is not a forward proxy";
    MethodNotAllowed "method_not_allowed" Client 405 Never Debug "the method is not allowed here";
    NoRoute "no_route" Client 404 Never Debug "no route matches this request";
    NoFile "no_file" Client 404 Never Debug "there is no such file";
    BadPath "bad_path" Client 400 Never Debug "the path is badly escaped";
    PathAmbiguous "path_ambiguous" Client 400 Never Debug "servers could read another path in this one, for which another rule holds";
    NoHost "no_host" Client 400 Never Debug "the redirect needs a host, and the request names none";
    TargetTooLong "target_too_long" Client 414 Never Debug "the request-target is longer than the limit";
    UnderscoreInFieldName "underscore_in_field_name" Client 400 Never Debug "there is a `_` in the name of a field";
    Misdirected "misdirected" Client 421 Never Debug "this connection was made for another host than that of the request";
    NoClientCertificate "no_client_certificate" Client 400 Never Debug "a client certificate is needed here";
    BadClientCertificate "bad_client_certificate" Client 400 Never Debug "the client certificate is refused";
    GrpcDeadline "grpc_deadline" Client 504 Never Debug "the call's deadline passed before the server responded";
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
    UpstreamReset "upstream_reset" Upstream 502 IfIdempotent Debug "the server closed the connection before it responded";
    UpstreamSendTimeout "send_timeout" Upstream 504 IfIdempotent Debug "the server took too long to read the request";
    UpstreamHeadTimeout "upstream_head_timeout" Upstream 504 Never Debug "the server took too long to respond";
    UpstreamIdleTimeout "upstream_idle_timeout" Upstream 504 Never Debug "the server stopped sending";
    UpstreamCut "upstream_cut" Upstream 502 Never Debug "the server closed the connection within its response";
    BadChunk "bad_chunk" Upstream 502 Never Debug "the framing of the response's body is malformed";
    EndlessInterim "endless_interim" Upstream 502 IfIdempotent Debug "the server sends interim responses without end";
    UnrequestedTransferCoding "unasked_transfer_coding" Upstream 502 Never Debug "the server used a transfer coding that was not requested";
    UnrequestedUpgrade "unasked_upgrade" Upstream 502 Never Debug "the server switched protocols although the request did not ask for it";
    BadUpgrade "bad_upgrade" Upstream 502 Never Debug "the server switched to a protocol that was not requested";
    BadWebSocketResponse "bad_websocket_answer" Upstream 502 Never Debug "the server's response does not open the WebSocket";
    WebSocketUnsupported "websocket_unsupported" Upstream 502 Never Debug "the server takes no WebSockets over HTTP/2 (RFC 8441)";
    ServerWebSocketProtocol "websocket_protocol" Upstream 502 Never Debug "the server broke the WebSocket protocol";
    ServerWebSocketText "websocket_text" Upstream 502 Never Debug "a text message of the server is not UTF-8";
    ServerWebSocketTooLarge "websocket_too_large" Upstream 502 Never Debug "a message of the server is larger than the limit";
    UnknownResponseCoding "unknown_coding" Upstream 502 Never Debug "the response is in a coding unknown to the hook that reads its body";
    BadResponseCoding "bad_content_coding" Upstream 502 Never Debug "the response is not what its content-encoding says";
    HeldResponseTooLarge "buffered_body_too_large" Upstream 502 Never Debug "the response is larger than is held for a hook";
    // the gateway, its configuration and its user's code
    HookFailed "hook_failed" Gateway 500 Never Raised "a hook failed, and is declared to fail closed";
    Replied "answered" Gateway 500 Never Debug "a body hook responds in place of what it was called for";
    NoReply "no_answer" Gateway 404 Never Debug "no hook of the route responded";
    BadResponse "bad_answer" Gateway 500 Never Warning "a hook's response cannot be sent";
    UnrequestedHookUpgrade "unasked_upgrade" Gateway 500 Never Warning "a hook switches protocols although the request did not ask for it";
    BadHookWebSocketResponse "bad_websocket_answer" Gateway 500 Never Warning "a hook's response does not open the WebSocket";
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
        retry: Retry::IfIdempotent,
        level: Level::Debug,
        meaning,
    }
}
