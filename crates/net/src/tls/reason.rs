//! Why a server's TLS was refused, in words for everybody: the library's own texts are for its authors.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, OtherError};

/// The reason within an error of a handshake or a session, about the peer: `its certificate has expired`.
pub fn reason(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(error) => told(error),
        None => "it breaks the protocol".to_owned(),
    }
}

fn told(error: &Error) -> String {
    let text = match error {
        Error::InvalidCertificate(why) => return of_certificate(why),
        Error::AlertReceived(alert) => return of_alert(*alert),
        // the gateway's own words, about pins
        Error::General(text) => return text.clone(),
        Error::NoCertificatesPresented => "it shows no certificate",
        Error::NoApplicationProtocol => "it speaks none of the application protocols that are offered",
        Error::PeerIncompatible(_) => "it speaks no version or cipher of TLS that is allowed",
        Error::InvalidMessage(_) => "it does not speak TLS",
        _ => "it breaks the protocol",
    };
    text.to_owned()
}

fn of_certificate(why: &CertificateError) -> String {
    use CertificateError as C;
    let text = match why {
        C::Expired | C::ExpiredContext { .. } => "its certificate has expired",
        C::NotValidYet | C::NotValidYetContext { .. } => "its certificate is not valid yet",
        C::Revoked => "its certificate is revoked",
        C::UnknownIssuer => "its certificate is from no authority that is trusted",
        C::BadSignature => "its certificate has a wrong signature",
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => "its certificate is not for servers",
        C::NotValidForName => "its certificate is for another name",
        C::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            return match presented.as_slice() {
                [] => format!("its certificate is for no name, not for `{expected}`"),
                names => {
                    let names: Vec<&str> = names.iter().map(|name| bare(name)).collect();
                    format!(
                        "its certificate is not for `{expected}` but for {}",
                        names.join(", ")
                    )
                }
            };
        }
        // what the library passes through from its verifier has no variant of its own
        C::Other(OtherError(inner)) if inner.to_string() == "CaUsedAsEndEntity" => {
            "its certificate is self-signed or an authority's own, and is not trusted"
        }
        _ => "its certificate cannot be used",
    };
    text.to_owned()
}

/// A name out of the library's `DnsName("name")`.
fn bare(presented: &str) -> &str {
    let inner = presented.split_once('(').map_or(presented, |(_, inner)| inner);
    inner.trim_matches(['(', ')', '"'])
}

/// The name of RFC 8446 section 6.
fn of_alert(alert: AlertDescription) -> String {
    let text = match alert {
        AlertDescription::CertificateRequired => "it wants a certificate, and none is configured",
        AlertDescription::UnknownCA => "it does not trust who issued the gateway's certificate",
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied => "it refuses the gateway's certificate",
        AlertDescription::UnrecognisedName => "it does not know the name that it was asked for",
        AlertDescription::ProtocolVersion => "it speaks no version of TLS that is allowed",
        AlertDescription::NoApplicationProtocol => {
            "it speaks none of the application protocols that are offered"
        }
        AlertDescription::HandshakeFailure => "it could agree on nothing in the handshake",
        other => {
            let name = other.as_str().unwrap_or("unknown");
            return format!("it ended the session with the alert `{name}`");
        }
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Raw;

    impl std::fmt::Display for Raw {
        fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            out.write_str("CaUsedAsEndEntity")
        }
    }

    impl std::error::Error for Raw {}

    #[test]
    fn no_text_of_the_library_is_told() {
        let raw = OtherError(std::sync::Arc::new(Raw));
        for error in [
            Error::InvalidCertificate(CertificateError::Other(raw.clone())),
            Error::InvalidCertificate(CertificateError::UnhandledCriticalExtension),
            Error::Other(raw),
            Error::DecryptError,
            Error::AlertReceived(AlertDescription::Unknown(200)),
        ] {
            let text = reason(&io::Error::new(io::ErrorKind::InvalidData, error));
            assert!(text.starts_with("it") && !text.contains(['(', '{']), "{text}");
            assert!(!text.contains("CaUsedAsEndEntity"), "{text}");
        }
    }

    #[test]
    fn a_wrong_name_is_told_with_the_right_ones() {
        let why = CertificateError::NotValidForNameContext {
            expected: rustls::pki_types::ServerName::try_from("a.example").unwrap(),
            presented: vec!["DnsName(\"b.example\")".to_owned()],
        };
        assert_eq!(
            told(&Error::InvalidCertificate(why)),
            "its certificate is not for `a.example` but for b.example"
        );
    }
}
