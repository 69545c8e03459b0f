//! The first message of a TLS client, read without replying to it: its server name, and the protocols it offers.
//!
//! How it works: handshake bytes are gathered over record boundaries (RFC 8446 section 5.1 lets a client cut its message
//! anywhere), then read by their length prefixes (section 4.1.2). A message longer than the limit is refused when its
//! length is known, and bytes that are no TLS handshake at the first of them.

use thiserror::Error;

use crate::Parsed;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const RECORD_HEADER_BYTES: usize = 5;
const MAX_RECORD_BYTES: usize = 1 << 14;

/// Many clients are seen to send one record, none more than a few; more is an attempt to keep us busy.
const MAX_RECORDS: usize = 16;

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

/// What a client asked for in its `ClientHello`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClientHello {
    /// The host name asked for (SNI, RFC 6066 section 3), in lower case.
    pub server_name: Option<String>,
    /// The application protocols offered, in the client's order (RFC 7301); for instance `h2`, `http/1.1`.
    pub alpn: Vec<Vec<u8>>,
    /// The versions offered, such as `0x0304` for TLS 1.3; the one of the old field where there is no list. May hold
    /// GREASE values (RFC 8701).
    pub versions: Vec<u16>,
    /// The cipher suites offered, in the client's order. May hold GREASE values.
    pub cipher_suites: Vec<u16>,
}

/// Bytes that are no acceptable `ClientHello`.
#[derive(Error, Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientHelloError {
    /// The first bytes are no TLS handshake: plain text, most likely.
    #[error("the connection does not begin with a TLS handshake")]
    NotTls,
    /// The message is longer than the limit.
    #[error("the ClientHello is longer than the limit; hint: limits.max_client_hello_bytes")]
    TooLarge,
    /// A length or a value breaks the format.
    #[error("the ClientHello is malformed")]
    Malformed,
    /// The server name is not a valid host name.
    #[error("the server name of the ClientHello is malformed")]
    ServerName,
}

impl ClientHelloError {
    /// A short fixed word for logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotTls => "not_tls",
            Self::TooLarge => "client_hello_too_large",
            Self::Malformed => "bad_client_hello",
            Self::ServerName => "bad_server_name",
        }
    }
}

/// Reads a `ClientHello` from the beginning of a connection. `max_bytes` bounds the message. Nothing is consumed: whoever
/// does the handshake needs the same bytes; `len` is where the records end that carry it.
///
/// # Errors
/// The bytes can no longer become an acceptable `ClientHello`.
pub fn parse_client_hello(bytes: &[u8], max_bytes: usize) -> Result<Parsed<ClientHello>, ClientHelloError> {
    let mut message = Vec::new();
    let mut at = 0;
    for _ in 0..MAX_RECORDS {
        let Some(payload) = record(&bytes[at..])? else {
            return Ok(Parsed::Partial);
        };
        let here = &bytes[at + RECORD_HEADER_BYTES..];
        let is_whole = here.len() >= payload;
        message.extend_from_slice(&here[..payload.min(here.len())]);
        let wanted = message_bytes(&message, max_bytes)?;
        if wanted.is_some_and(|wanted| message.len() >= wanted) {
            let wanted = wanted.unwrap_or_default();
            if !is_whole {
                // the rest of the record comes; so the verdict does not depend on the cut
                return Ok(Parsed::Partial);
            }
            return Ok(Parsed::Complete {
                head: parse_body(&message[4..wanted])?,
                len: at + RECORD_HEADER_BYTES + payload,
            });
        }
        if !is_whole {
            return Ok(Parsed::Partial);
        }
        at += RECORD_HEADER_BYTES + payload;
    }
    Err(ClientHelloError::Malformed)
}

/// The same for a message without records, as QUIC carries it (RFC 9001 section 4.1.3).
///
/// # Errors
/// The bytes can no longer become an acceptable `ClientHello`.
pub fn parse_client_hello_message(
    message: &[u8],
    max_bytes: usize,
) -> Result<Parsed<ClientHello>, ClientHelloError> {
    match message_bytes(message, max_bytes)? {
        Some(wanted) if message.len() >= wanted => Ok(Parsed::Complete {
            head: parse_body(&message[4..wanted])?,
            len: wanted,
        }),
        _ => Ok(Parsed::Partial),
    }
}

/// The length of the record that begins here, once its header is there.
fn record(bytes: &[u8]) -> Result<Option<usize>, ClientHelloError> {
    // RFC 8446 appendix D.5: the version of a record is legacy; its major number is always 3
    for (byte, expected) in bytes.iter().zip([HANDSHAKE, 3]) {
        if *byte != expected {
            return Err(ClientHelloError::NotTls);
        }
    }
    let Some(header) = bytes.first_chunk::<RECORD_HEADER_BYTES>() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
    // RFC 8446 section 5.1: no empty fragments of handshakes
    if length == 0 || length > MAX_RECORD_BYTES {
        return Err(ClientHelloError::Malformed);
    }
    Ok(Some(length))
}

/// The length of the message with its header of four bytes, once that is there.
fn message_bytes(message: &[u8], max_bytes: usize) -> Result<Option<usize>, ClientHelloError> {
    if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Err(ClientHelloError::NotTls);
    }
    let Some(header) = message.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes([0, header[1], header[2], header[3]]) as usize + 4;
    if length > max_bytes {
        return Err(ClientHelloError::TooLarge);
    }
    Ok(Some(length))
}

fn parse_body(body: &[u8]) -> Result<ClientHello, ClientHelloError> {
    let mut reader = Reader(body);
    let legacy_version = reader.u16()?;
    reader.take(32)?;
    let session_id = reader.u8()?;
    if session_id > 32 {
        return Err(ClientHelloError::Malformed);
    }
    reader.take(usize::from(session_id))?;
    let cipher_suites = u16s(reader.vector16()?)?;
    let compressions = reader.u8()?;
    reader.take(usize::from(compressions))?;
    let mut hello = ClientHello {
        cipher_suites,
        versions: vec![legacy_version],
        ..ClientHello::default()
    };
    if reader.0.is_empty() {
        // SSL 3 and TLS 1.0 to 1.2 know hellos without extensions
        return Ok(hello);
    }
    let mut extensions = Reader(reader.vector16()?);
    if !reader.0.is_empty() {
        return Err(ClientHelloError::Malformed);
    }
    let mut seen = Vec::new();
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let content = extensions.vector16()?;
        // RFC 8446 section 4.2: none twice
        if seen.contains(&kind) {
            return Err(ClientHelloError::Malformed);
        }
        seen.push(kind);
        match kind {
            SERVER_NAME => hello.server_name = Some(server_name(content)?),
            ALPN => hello.alpn = protocols(content)?,
            SUPPORTED_VERSIONS => {
                let (length, list) = content.split_first().ok_or(ClientHelloError::Malformed)?;
                if usize::from(*length) != list.len() {
                    return Err(ClientHelloError::Malformed);
                }
                hello.versions = u16s(list)?;
            }
            _ => {}
        }
    }
    Ok(hello)
}

/// RFC 6066 section 3: a list of exactly one host name.
fn server_name(content: &[u8]) -> Result<String, ClientHelloError> {
    let mut reader = Reader(content);
    let mut list = Reader(reader.vector16()?);
    let kind = list.u8()?;
    let name = list.vector16()?;
    if kind != 0 || !list.0.is_empty() || !reader.0.is_empty() {
        return Err(ClientHelloError::Malformed);
    }
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let text = std::str::from_utf8(name).map_err(|_| ClientHelloError::ServerName)?;
    if name.is_empty() || name.len() > 253 || !name.iter().all(is_name) || name[0] == b'.' {
        return Err(ClientHelloError::ServerName);
    }
    Ok(text.trim_end_matches('.').to_ascii_lowercase())
}

fn protocols(content: &[u8]) -> Result<Vec<Vec<u8>>, ClientHelloError> {
    let mut reader = Reader(content);
    let mut list = Reader(reader.vector16()?);
    let mut protocols = Vec::new();
    while !list.0.is_empty() {
        let length = list.u8()?;
        if length == 0 {
            return Err(ClientHelloError::Malformed);
        }
        protocols.push(list.take(usize::from(length))?.to_vec());
    }
    if protocols.is_empty() || !reader.0.is_empty() {
        return Err(ClientHelloError::Malformed);
    }
    Ok(protocols)
}

fn u16s(bytes: &[u8]) -> Result<Vec<u16>, ClientHelloError> {
    if bytes.is_empty() || bytes.len() % 2 != 0 {
        return Err(ClientHelloError::Malformed);
    }
    Ok(bytes
        .chunks_exact(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
        .collect())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], ClientHelloError> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(ClientHelloError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, ClientHelloError> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<u16, ClientHelloError> {
        let pair = self.take(2)?;
        Ok(u16::from_be_bytes([pair[0], pair[1]]))
    }

    fn vector16(&mut self) -> Result<&'a [u8], ClientHelloError> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}
