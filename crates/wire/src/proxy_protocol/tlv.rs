//! The type-length-values of a version 2 header (section 2.2.1 and the following).

use super::crc32c;
use super::header::{ProxyError, ProxySsl, ProxyTlvs};

const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
pub(super) const CRC32C: u8 = 0x03;
const NOOP: u8 = 0x04;
const UNIQUE_ID: u8 = 0x05;
const SSL: u8 = 0x20;
const SSL_VERSION: u8 = 0x21;
const SSL_CN: u8 = 0x22;
const SSL_CIPHER: u8 = 0x23;
const SSL_SIGNATURE: u8 = 0x24;
const SSL_KEY: u8 = 0x25;

/// The longest unique id (section 2.2.5).
pub(super) const MAX_UNIQUE_ID_BYTES: usize = 128;

/// Reads the values that end a header; `header` is the whole of it, for the checksum.
pub(super) fn parse(header: &[u8], start: usize) -> Result<ProxyTlvs, ProxyError> {
    let mut tlvs = ProxyTlvs::default();
    let mut values = Values(&header[start..]);
    while let Some((kind, value)) = values.next()? {
        match kind {
            ALPN => tlvs.alpn = Some(value.to_vec()),
            AUTHORITY => tlvs.authority = Some(value.to_vec()),
            UNIQUE_ID if value.len() <= MAX_UNIQUE_ID_BYTES => tlvs.unique_id = Some(value.to_vec()),
            UNIQUE_ID => return Err(ProxyError::Tlv),
            SSL => tlvs.ssl = Some(parse_ssl(value)?),
            CRC32C => check(header, header.len() - values.0.len() - value.len(), value)?,
            NOOP => {}
            other => tlvs.other.push((other, value.to_vec())),
        }
    }
    Ok(tlvs)
}

/// The sum is made with its own bytes as zeros (section 2.2.3).
fn check(header: &[u8], at: usize, value: &[u8]) -> Result<(), ProxyError> {
    let given: [u8; 4] = value.try_into().map_err(|_| ProxyError::Tlv)?;
    if sum(header, at) == u32::from_be_bytes(given) {
        Ok(())
    } else {
        Err(ProxyError::Checksum)
    }
}

/// The checksum of a header whose own checksum is at `at`.
pub(super) fn sum(header: &[u8], at: usize) -> u32 {
    let before = crc32c::update(!0, &header[..at]);
    !crc32c::update(crc32c::update(before, &[0; 4]), &header[at + 4..])
}

fn parse_ssl(value: &[u8]) -> Result<ProxySsl, ProxyError> {
    let (fixed, rest) = value.split_first_chunk::<5>().ok_or(ProxyError::Tlv)?;
    let mut ssl = ProxySsl {
        is_tls: fixed[0] & 1 != 0,
        has_certificate_on_connection: fixed[0] & 2 != 0,
        has_certificate_in_session: fixed[0] & 4 != 0,
        verify: u32::from_be_bytes([fixed[1], fixed[2], fixed[3], fixed[4]]),
        ..ProxySsl::default()
    };
    let mut values = Values(rest);
    while let Some((kind, value)) = values.next()? {
        let part = match kind {
            SSL_VERSION => &mut ssl.version,
            SSL_CN => &mut ssl.common_name,
            SSL_CIPHER => &mut ssl.cipher,
            SSL_SIGNATURE => &mut ssl.signature_algorithm,
            SSL_KEY => &mut ssl.key_algorithm,
            _ => continue,
        };
        *part = Some(value.to_vec());
    }
    Ok(ssl)
}

struct Values<'a>(&'a [u8]);

impl<'a> Values<'a> {
    fn next(&mut self) -> Result<Option<(u8, &'a [u8])>, ProxyError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let (head, rest) = self.0.split_first_chunk::<3>().ok_or(ProxyError::Tlv)?;
        let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
        let (value, rest) = rest.split_at_checked(length).ok_or(ProxyError::Tlv)?;
        self.0 = rest;
        Ok(Some((head[0], value)))
    }
}

/// Appends the values, the checksum's apart. A value that is too long for its length field is left out.
pub(super) fn write(tlvs: &ProxyTlvs, out: &mut Vec<u8>) {
    let named = [
        (ALPN, &tlvs.alpn),
        (AUTHORITY, &tlvs.authority),
        (UNIQUE_ID, &tlvs.unique_id),
    ];
    for (kind, value) in named {
        if let Some(value) = value {
            write_value(kind, value, out);
        }
    }
    if let Some(ssl) = &tlvs.ssl {
        let mut value = vec![
            u8::from(ssl.is_tls)
                | u8::from(ssl.has_certificate_on_connection) << 1
                | u8::from(ssl.has_certificate_in_session) << 2,
        ];
        value.extend_from_slice(&ssl.verify.to_be_bytes());
        let parts = [
            (SSL_VERSION, &ssl.version),
            (SSL_CN, &ssl.common_name),
            (SSL_CIPHER, &ssl.cipher),
            (SSL_SIGNATURE, &ssl.signature_algorithm),
            (SSL_KEY, &ssl.key_algorithm),
        ];
        for (kind, part) in parts {
            if let Some(part) = part {
                write_value(kind, part, &mut value);
            }
        }
        write_value(SSL, &value, out);
    }
    for (kind, value) in &tlvs.other {
        write_value(*kind, value, out);
    }
}

pub(super) fn write_value(kind: u8, value: &[u8], out: &mut Vec<u8>) {
    let Ok(length) = u16::try_from(value.len()) else {
        return;
    };
    out.push(kind);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
}
