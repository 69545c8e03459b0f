//! HTTP/1 heads and framing, PROXY headers, `ClientHello` messages: bytes in, decisions out. No I/O, no clock.
//!
//! How it works: a head is read in one pass from left to right ([`parse_request`], [`parse_response`]). Every
//! refusal is decided by a prefix of the input, so a head that arrives in pieces gets the same verdict as one
//! that arrives whole. The bytes are copied once into a [`Head`]; a field is a few offsets into them, and an
//! edit appends its bytes at the end. Bodies are never copied: [`ChunkedDecoder`] names the ranges that are
//! payload.
//!
//! The rule for peers is "refuse, never repair" (RFC 9112 allows leniency in many places; none of it is used
//! where two readers of the same bytes could disagree about where a message ends). Fields that belong to one
//! connection only, and those that frame the message, are hidden from [`Head::iter`] and
//! [`Head::write_fields`]: the gateway writes them anew.

mod authority;
mod chunk_extension;
mod chunked;
mod client_hello;
mod coding;
mod connection;
mod error;
mod field;
mod field_line;
mod grammar;
mod head;
mod hexadecimal;
mod http2_meter;
pub mod http3;
mod lenient;
mod limits;
mod lines;
mod lookalike;
mod mend;
mod method;
mod overlong;
mod priority;
mod proxy_protocol;
mod quic_crypto;
mod request;
mod response;
mod response_framing;
mod scan;
mod target;
mod trace_context;
mod trailers;

pub use authority::Authority;
pub use chunked::{write_chunk_size, write_last_chunk, ChunkStep, ChunkedDecoder};
pub use client_hello::{parse_client_hello, parse_client_hello_message, ClientHello, ClientHelloError};
pub use error::{ChunkError, FieldError, HeadError, RequestError, ResponseError};
pub use field_line::FieldLine;
pub use grammar::{is_token, list as list_elements};
pub use head::{Head, Span};
pub use hexadecimal::write_hex;
pub use http2_meter::{Flood, FrameBudget, FrameMeter, PriorityUpdate};
pub use lenient::Lenient;
pub use limits::{ChunkLimits, HeadLimits};
pub use lookalike::GuardedNames;
pub use method::is_idempotent;
pub use priority::Priority;
pub use proxy_protocol::{
    parse_proxy, write_v1 as write_proxy_v1, write_v2 as write_proxy_v2, ProxyAddresses, ProxyError,
    ProxyHeader, ProxySsl, ProxyTlvs, ProxyVersions, PROXY_V1_MAX_BYTES,
};
pub use quic_crypto::{parse_initial, CryptoStream, Initial};
pub use request::{parse_request, RequestHead};
pub use response::{parse_response, ResponseHead};
pub use response_framing::{frame_response, is_without_content, Content, RequestKind, ResponseFraming};
pub use target::TargetForm;
pub use trace_context::{TraceParent, SPAN_ID, TRACE_ID};
pub use trailers::may_be_trailer;

/// The end of a line (RFC 9112 section 2.2).
pub const CRLF: &[u8] = b"\r\n";

/// The protocol version a peer spoke (RFC 9112 section 2.3); a later minor version counts as 1.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1, or any later HTTP/1 minor version (RFC 9110 section 2.5).
    Http11,
}

/// Where the body of a message ends (RFC 9112 section 6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// There is no body.
    None,
    /// The body is this many bytes long.
    Length(u64),
    /// The body is in the chunked transfer coding.
    Chunked,
    /// The body ends with the connection; responses only.
    UntilClose,
}

/// What a parser made of the bytes so far.
#[derive(Debug)]
pub enum Parsed<T> {
    /// The head is not complete; call again with more bytes.
    Partial,
    /// The head is complete; it took the first `len` bytes of the input.
    Complete {
        /// The parsed head.
        head: T,
        /// How many bytes of the input it took, blank lines before it included.
        len: usize,
    },
}
