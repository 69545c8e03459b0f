//! Why a connection failed, in words for an operator.

use std::io;

use rustls::Error;

/// The reason of an error of a connection: what the system says without its number, or what is wrong with the peer's TLS.
#[must_use]
pub fn in_words(error: &io::Error) -> String {
    let inner = error.get_ref();
    if inner.and_then(|inner| inner.downcast_ref::<Error>()).is_some() {
        return crate::tls::reason(error);
    }
    let text = error.to_string();
    let text = text.split(" (os error ").next().unwrap_or_default();
    let mut characters = text.chars();
    match characters.next() {
        // a name in capitals stays as it is
        Some(first) if !characters.as_str().starts_with(char::is_uppercase) => {
            first.to_lowercase().chain(characters).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_told_in_words() {
        assert_eq!(in_words(&io::Error::from_raw_os_error(111)), "connection refused");
        assert_eq!(
            in_words(&io::Error::from_raw_os_error(104)),
            "connection reset by peer"
        );
        assert_eq!(in_words(&io::Error::other("TLS is needed")), "TLS is needed");
    }

    #[test]
    fn tls_is_told_as_everywhere() {
        let refused = Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        assert_eq!(
            in_words(&io::Error::new(io::ErrorKind::InvalidData, refused)),
            "its certificate is from no authority that is trusted"
        );
    }
}
