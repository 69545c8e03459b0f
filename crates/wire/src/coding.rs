//! What a head declares about its body: Content-Length and Transfer-Encoding (RFC 9112 sections 6.1 to 6.3).

use crate::error::HeadError;
use crate::field::Name;
use crate::grammar::{is_token, list, trim};
use crate::head::Head;
use crate::Version;

/// What the framing fields say; at most one of the two is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) length: Option<u64>,
    pub(crate) is_chunked: bool,
}

/// Reads the framing fields and refuses what two readers could read differently.
///
/// `is_from_server`: empty members of the Transfer-Encoding mean nothing (RFC 9110 section 5.6.1.2). In a request
/// they are refused, since other readers have been led astray by them.
pub(crate) fn declared(head: &Head, version: Version, is_from_server: bool) -> Result<Declared, HeadError> {
    if !head.fields.may_have(Name::ContentLength) && !head.fields.may_have(Name::TransferEncoding) {
        return Ok(Declared::default());
    }
    let mut length = None;
    let mut codings = Codings::default();
    for field in head.fields.iter() {
        match field.name {
            Name::ContentLength if length.is_some() => return Err(HeadError::LengthRepeated),
            Name::ContentLength => length = Some(read_length(head.value(field))?),
            Name::TransferEncoding => codings.read(head.value(field), is_from_server)?,
            _ => {}
        }
    }
    if codings.is_present {
        if version == Version::Http10 {
            return Err(HeadError::CodingInHttp10);
        }
        if length.is_some() {
            return Err(HeadError::LengthAndCoding);
        }
        if !codings.ends_chunked {
            return Err(HeadError::Coding);
        }
    }
    Ok(Declared {
        length,
        is_chunked: codings.ends_chunked,
    })
}

/// One decimal number: no sign, no list, no overflow (RFC 9110 section 8.6).
fn read_length(value: &[u8]) -> Result<u64, HeadError> {
    if value.is_empty() {
        return Err(HeadError::Length);
    }
    value.iter().try_fold(0_u64, |length, &byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(HeadError::Length);
        }
        length
            .checked_mul(10)
            .and_then(|tens| tens.checked_add(u64::from(digit)))
            .ok_or(HeadError::Length)
    })
}

#[derive(Default)]
struct Codings {
    is_present: bool,
    ends_chunked: bool,
}

impl Codings {
    fn read(&mut self, value: &[u8], may_have_empty: bool) -> Result<(), HeadError> {
        self.is_present = true;
        for element in list(value).filter(|element| !(may_have_empty && element.is_empty())) {
            let coding = name_of(element).ok_or(HeadError::Coding)?;
            // Nothing may follow `chunked`, so it also cannot be applied twice (RFC 9112 section 6.1).
            if self.ends_chunked || !is_known(coding) {
                return Err(HeadError::Coding);
            }
            self.ends_chunked = coding.eq_ignore_ascii_case(b"chunked");
        }
        Ok(())
    }
}

/// The coding's name without parameters, which no registered coding defines (RFC 9112 section 7).
fn name_of(element: &[u8]) -> Option<&[u8]> {
    let mut parts = element.split(|&byte| byte == b';').map(trim);
    let name = parts.next().filter(|name| is_token(name))?;
    let is_plain = |part: &[u8]| {
        part.iter()
            .all(|&byte| byte == b'\t' || (b' '..0x7f).contains(&byte))
    };
    parts.all(is_plain).then_some(name)
}

/// The registered codings, and `identity` of RFC 2616.
fn is_known(coding: &[u8]) -> bool {
    let known: [&[u8]; 7] = [
        b"chunked",
        b"gzip",
        b"deflate",
        b"compress",
        b"identity",
        b"x-gzip",
        b"x-compress",
    ];
    known.iter().any(|name| coding.eq_ignore_ascii_case(name))
}

impl Head {
    /// Whether the chunked body is coded otherwise too (`Transfer-Encoding: gzip, chunked`).
    ///
    /// Such a body may go on only in chunks, under the line of
    /// [`write_transfer_encoding`](Self::write_transfer_encoding): without it the body could not be decoded.
    pub fn has_inner_codings(&self) -> bool {
        self.fields.may_have(Name::TransferEncoding) && self.inner_codings().next().is_some()
    }

    /// Appends `transfer-encoding: chunked CRLF`, with the codings below it if the message that arrived had any.
    pub fn write_transfer_encoding(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"transfer-encoding: ");
        for coding in self.inner_codings() {
            out.extend_from_slice(coding);
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(b"chunked\r\n");
    }

    fn inner_codings(&self) -> impl Iterator<Item = &[u8]> {
        self.fields
            .iter()
            .filter(|field| field.name == Name::TransferEncoding)
            .flat_map(|field| list(self.value(field)).filter_map(name_of))
            .filter(|name| !name.eq_ignore_ascii_case(b"chunked") && !name.eq_ignore_ascii_case(b"identity"))
    }
}
