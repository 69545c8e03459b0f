//! Header fields that pass the client's certificate to servers. Clients cannot set them.

use headgate_wire::RequestHead;

use super::request_head::field;
use headgate_net::tls::ClientCertificate;

use crate::snapshot::CertificateFact;

/// Takes what the client sent under these names out of the request.
pub(crate) fn claim_certificate_fields(request: &mut RequestHead, fields: &[(String, CertificateFact)]) {
    let claimed: Vec<Vec<u8>> = request
        .head
        .iter()
        .map(|(name, _)| name)
        .filter(|name| {
            fields
                .iter()
                .any(|(ours, _)| is_same_field(name, ours.as_bytes()))
        })
        .map(<[u8]>::to_vec)
        .collect();
    for name in claimed {
        request.head.remove(&name);
    }
}

/// Many servers take `-` and `_` in names for the same, so that either would be believed.
fn is_same_field(one: &[u8], other: &[u8]) -> bool {
    let folded = |byte: &u8| match byte {
        b'_' => b'-',
        other => other.to_ascii_lowercase(),
    };
    one.len() == other.len() && one.iter().map(folded).eq(other.iter().map(folded))
}

/// Appends the fields. Without a certificate only the verdict, `none`, is sent.
pub(crate) fn write_certificate_fields(
    certificate: Option<&ClientCertificate>,
    fields: &[(String, CertificateFact)],
    out: &mut Vec<u8>,
) {
    for (name, fact) in fields {
        let value = match (certificate, fact) {
            (Some(certificate), fact) => fact_value(certificate, *fact),
            (None, CertificateFact::Verdict) => "none".to_owned(),
            (None, _) => continue,
        };
        field(out, name.as_bytes(), &[value.as_bytes()]);
    }
}

fn fact_value(certificate: &ClientCertificate, fact: CertificateFact) -> String {
    match fact {
        CertificateFact::Verdict => certificate.verdict.to_owned(),
        CertificateFact::Subject => visible(&certificate.subject),
        CertificateFact::Issuer => visible(&certificate.issuer),
        CertificateFact::Serial => certificate.serial.clone(),
        CertificateFact::Fingerprint => certificate.fingerprint.clone(),
        CertificateFact::Names => visible(&certificate.names.join(",")),
        CertificateFact::Pem => visible(&certificate.pem()),
    }
}

/// Text of a peer as a field value: what is not visible ASCII is percent-encoded, and so are `%` and `+`.
fn visible(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if !matches!(byte, b'%' | b'+') => value.push(char::from(byte)),
            _ => {
                const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                value.push('%');
                value.push(char::from(DIGITS[usize::from(byte >> 4)]));
                value.push(char::from(DIGITS[usize::from(byte & 15)]));
            }
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_peer_breaks_the_line() {
        assert_eq!(visible("CN=a\r\nx: y\u{e4}%"), "CN=a%0D%0Ax: y%C3%A4%25");
    }

    #[test]
    fn underscores_do_not_hide_a_field() {
        assert!(is_same_field(b"X_Client-CERT", b"x-client_cert"));
        assert!(!is_same_field(b"x-client", b"x-client-cert"));
    }
}
