//! Why a message or an edit was refused. Every error here is the peer's or the caller's fault, and final: the
//! rest of the connection's input has no known meaning any more.

use thiserror::Error;

/// A request head that is refused; respond with [`status`](Self::status) and close.
#[derive(Error, Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestError {
    /// The method is not a token of at most 64 bytes (RFC 9112 section 3.1).
    #[error("the method is not a token")]
    Method,
    /// The request-target is empty, has white space, control characters or bytes over 0x7F, or is in a wrong form (RFC
    /// 9112 section 3.2).
    #[error("the request-target is malformed")]
    Target,
    /// The request-target spells a character in more bytes than it has in UTF-8 (RFC 3629 section 3).
    #[error("the request-target has overlong UTF-8")]
    Overlong,
    /// The request line alone goes beyond the limit.
    #[error("the request-target is longer than the limit; hint: limits.max_head_bytes")]
    TargetTooLong,
    /// The request line does not end with a well-formed version (RFC 9112 section 2.3).
    #[error("the version is malformed")]
    Version,
    /// The version is not HTTP/1.x.
    #[error("the major version is not 1")]
    VersionUnsupported,
    /// A field or a framing rule that requests and responses share.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// An HTTP/1.1 request without Host (RFC 9112 section 3.2).
    #[error("there is no Host field")]
    HostMissing,
    /// More than one Host.
    #[error("there is more than one Host field")]
    HostRepeated,
    /// The Host, or the authority of the request-target, is not a host with an optional port.
    #[error("the host is malformed")]
    Host,
}

impl RequestError {
    /// The status to respond with.
    pub fn status(&self) -> u16 {
        match self {
            Self::TargetTooLong => 414,
            Self::Head(HeadError::TooLarge | HeadError::TooManyFields) => 431,
            Self::VersionUnsupported => 505,
            _ => 400,
        }
    }

    /// A short fixed word for logs and counters.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Method => "bad_method",
            Self::Target => "bad_target",
            Self::Overlong => "overlong_utf8",
            Self::TargetTooLong => "target_too_long",
            Self::Version => "bad_version",
            Self::VersionUnsupported => "version_unsupported",
            Self::Head(error) => error.reason(),
            Self::HostMissing => "host_missing",
            Self::HostRepeated => "host_repeated",
            Self::Host => "bad_host",
        }
    }
}

/// A response head that is refused; respond to the client with 502 and never reuse the connection.
#[derive(Error, Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResponseError {
    /// The line does not start with `HTTP/1.x SP` (RFC 9112 section 4).
    #[error("the version is malformed or not HTTP/1.x")]
    Version,
    /// The status is not three digits from 100 to 999.
    #[error("the status code is malformed")]
    Status,
    /// The reason phrase has control characters.
    #[error("the reason phrase is malformed")]
    Reason,
    /// A 101 response that announces content before the protocol it switches to (RFC 9112 section 6.1).
    #[error("a 101 response announces content")]
    SwitchBody,
    /// A field or a framing rule that requests and responses share.
    #[error(transparent)]
    Head(#[from] HeadError),
}

impl ResponseError {
    /// A short fixed word for logs and counters.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Version => "bad_version",
            Self::Status => "bad_status",
            Self::Reason => "bad_reason_phrase",
            Self::SwitchBody => "upgrade_with_body",
            Self::Head(error) => error.reason(),
        }
    }
}

/// A rule of field lines or framing that requests, responses and trailers share.
#[derive(Error, Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeadError {
    /// The head goes beyond `max_bytes`.
    #[error("the head is larger than the limit; hint: limits.max_head_bytes")]
    TooLarge,
    /// There are more than `max_fields` field lines.
    #[error("there are more fields than the limit; hint: limits.max_header_fields")]
    TooManyFields,
    /// A line ends with LF alone (RFC 9112 section 2.2 allows it; two readers could disagree).
    #[error("a line ends with LF without CR")]
    BareLf,
    /// A CR that no LF follows.
    #[error("there is a CR without LF")]
    BareCr,
    /// A NUL in a field value.
    #[error("there is a NUL byte in a field")]
    Nul,
    /// Another control character in a field value (RFC 9110 section 5.5).
    #[error("there is a control character in a field")]
    Control,
    /// A line that starts with white space (RFC 9112 section 5.2).
    #[error("a field line is folded or starts with white space")]
    Folded,
    /// White space between a field name and its colon (RFC 9112 section 5.1).
    #[error("there is white space before the colon of a field")]
    SpaceBeforeColon,
    /// A field name that is not a token.
    #[error("a field name is malformed")]
    FieldName,
    /// A line among the fields that is only a name.
    #[error("a field line has no colon")]
    NoColon,
    /// A name that some readers take for a framing field, such as `Transfer_Encoding`.
    #[error("a field name looks like a framing field and is not one")]
    FramingLookalike,
    /// A Content-Length that is not one decimal number below 2^64.
    #[error("the Content-Length is malformed")]
    Length,
    /// More than one Content-Length.
    #[error("there is more than one Content-Length field")]
    LengthRepeated,
    /// Content-Length together with Transfer-Encoding (RFC 9112 section 6.3).
    #[error("there are both Content-Length and Transfer-Encoding")]
    LengthAndCoding,
    /// A Transfer-Encoding that is not a list of known codings with `chunked` last, once.
    #[error("the Transfer-Encoding is unknown or `chunked` is not last")]
    Coding,
    /// Transfer-Encoding in an HTTP/1.0 message (RFC 9112 section 6.1).
    #[error("there is a Transfer-Encoding in an HTTP/1.0 message")]
    CodingInHttp10,
    /// Connection names a field that frames or routes the message, or names too many.
    #[error("the Connection field lists a forbidden field, or too many")]
    Connection,
}

impl HeadError {
    /// A short fixed word for logs and counters.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge => "head_too_large",
            Self::TooManyFields => "too_many_fields",
            Self::BareLf => "bare_lf",
            Self::BareCr => "bare_cr",
            Self::Nul => "nul_byte",
            Self::Control => "control_character",
            Self::Folded => "folded_field",
            Self::SpaceBeforeColon => "space_before_colon",
            Self::FieldName => "bad_field_name",
            Self::NoColon => "no_colon",
            Self::FramingLookalike => "framing_lookalike",
            Self::Length => "bad_content_length",
            Self::LengthRepeated => "content_length_repeated",
            Self::LengthAndCoding => "content_length_and_transfer_encoding",
            Self::Coding => "bad_transfer_encoding",
            Self::CodingInHttp10 => "transfer_encoding_in_http10",
            Self::Connection => "bad_connection",
        }
    }
}

/// A chunked body that is refused; the connection cannot be used further.
#[derive(Error, Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChunkError {
    /// The chunk size is not 1 to 16 hex digits behind any zeros, followed by CRLF or an extension.
    #[error("the chunk size is malformed")]
    Size,
    /// A chunk extension is not `;name` or `;name=value`.
    #[error("a chunk extension is malformed")]
    Extension,
    /// Extensions outweigh the data by more than the limit.
    #[error(
        "there are more bytes of chunk extensions than the limit; hint: limits.max_chunk_extension_bytes"
    )]
    ExtensionsTooLarge,
    /// A line or a chunk does not end with CRLF.
    #[error("a chunk or its size does not end with CRLF")]
    LineEnd,
    /// The trailer section is larger than the limit.
    #[error("the trailer section is larger than the limit; hint: limits.max_trailer_bytes")]
    TrailersTooLarge,
    /// A trailer field is malformed.
    #[error("a trailer field is malformed: {0}")]
    Trailer(HeadError),
}

impl ChunkError {
    /// A short fixed word for logs and counters.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Size => "bad_chunk_size",
            Self::Extension => "bad_chunk_extension",
            Self::ExtensionsTooLarge => "chunk_extensions_too_large",
            Self::LineEnd => "bad_chunk_end",
            Self::TrailersTooLarge => "trailers_too_large",
            Self::Trailer(_) => "bad_trailer",
        }
    }
}

/// An edit that would write a message wrong; the head stays as it was.
#[derive(Error, Clone, PartialEq, Eq, Debug)]
pub enum FieldError {
    /// The name is not a token.
    #[error("`{0}` is not a field name; hint: letters, digits and - . _ only")]
    Name(String),
    /// The value has a control character (RFC 9110 section 5.5).
    #[error("the value of `{0}` has CR, LF, NUL or another control character; hint: encode it first")]
    Value(String),
    /// The gateway writes this field itself.
    #[error(
        "`{0}` cannot be set; hint: the gateway writes the fields of the connection and the framing itself"
    )]
    Framing(String),
    /// The method is not a token.
    #[error("`{0}` is not a method; hint: a token such as GET")]
    Method(String),
    /// The target does not start with `/`, or has white space or control characters.
    #[error("`{0}` is not a target; hint: start with / and percent-encode spaces and #")]
    Target(String),
    /// The host is not a host with an optional port.
    #[error("`{0}` is not a host; hint: name, name:port, or [address]:port")]
    Host(String),
    /// The head would grow beyond 2^32 bytes.
    #[error("the head is full; hint: set fewer or shorter fields")]
    Full,
}

/// `bytes` as text for an error message, cut to a readable length.
pub(crate) fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned()
}
