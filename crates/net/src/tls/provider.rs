//! The cryptographic module: aws-lc, plain or as its FIPS-validated build (cargo feature `fips`).

use std::sync::{Arc, LazyLock, Once};

use rustls::crypto::CryptoProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, SupportedProtocolVersion};

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(own()));

#[cfg(feature = "fips")]
fn own() -> CryptoProvider {
    rustls::crypto::default_fips_provider()
}

#[cfg(not(feature = "fips"))]
fn own() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

/// The module that does the work, made on first use.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    // aws-lc gathers entropy when it is first asked for a random number, and takes 30 ms for it: where TLS is configured, so
    // that no client's handshake waits, and nowhere else.
    static SEEDED: Once = Once::new();
    SEEDED.call_once(|| {
        let _ = aws_lc_rs::rand::fill(&mut [0]); // whoever needs one will see it fail
    });
    Arc::clone(&PROVIDER)
}

/// Whose wish decides the cipher of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CipherOrder {
    /// The gateway's: the strongest first.
    Own,
    /// The same with `ChaCha20` first, for clients that put it first: they have no instructions for AES.
    ChachaFirst,
}

impl CipherOrder {
    /// The order for a client that offers these. Values that mean nothing (RFC 8701) are passed over.
    pub(crate) fn for_client(offered: &[CipherSuite]) -> Self {
        let first = offered.iter().find(|suite| u16::from(**suite) & 0x0f0f != 0x0a0a);
        if first.is_some_and(|suite| is_chacha(*suite)) {
            Self::ChachaFirst
        } else {
            Self::Own
        }
    }
}

fn is_chacha(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256
    )
}

/// [`provider`] with its cipher suites in that order.
pub(crate) fn ordered_provider(order: CipherOrder) -> Arc<CryptoProvider> {
    match order {
        CipherOrder::Own => provider(),
        CipherOrder::ChachaFirst => {
            let mut ordered = CryptoProvider::clone(&provider());
            ordered
                .cipher_suites
                .sort_by_key(|suite| !is_chacha(suite.suite()));
            Arc::new(ordered)
        }
    }
}

/// A cryptographic module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CryptoModule {
    /// What brings it.
    pub name: &'static str,
    /// Whether it is the FIPS-validated one and in that mode, for all that TLS asks of it.
    pub is_fips: bool,
}

/// The module in use, asked of itself.
pub fn module() -> CryptoModule {
    CryptoModule {
        name: "aws-lc-rs",
        is_fips: PROVIDER.fips(),
    }
}

impl std::fmt::Display for CryptoModule {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "tls module={} fips={}", self.name, self.is_fips)
    }
}

/// Refuses to go on without the FIPS module.
///
/// # Errors
/// Another module is in use.
pub fn require_fips() -> Result<(), String> {
    let module = module();
    if module.is_fips {
        return Ok(());
    }
    Err(format!(
        "`require_fips` is set, but the cryptographic module is not the FIPS one: {module}\nhint: build headgate with the feature \
         `fips`; docs/guide/tls.md says how"
    ))
}

static MODERN: [&SupportedProtocolVersion; 1] = [&TLS13];
static INTERMEDIATE: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// Versions by the name of a policy: `modern` is TLS 1.3, `intermediate` 1.2 and 1.3. All cipher suites of rustls are
/// authenticated ones with forward secrecy.
pub(crate) fn versions(policy: &str) -> Result<&'static [&'static SupportedProtocolVersion], String> {
    match policy {
        "modern" => Ok(&MODERN),
        "intermediate" => Ok(&INTERMEDIATE),
        other => Err(format!(
            "unknown TLS policy `{other}`\nhint: `modern` or `intermediate`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_clients_that_put_chacha_first_get_it_first() {
        use CipherSuite as S;
        let order = CipherOrder::for_client;
        let aes = S::TLS13_AES_128_GCM_SHA256;
        let chacha = S::TLS13_CHACHA20_POLY1305_SHA256;
        assert_eq!(order(&[chacha, aes]), CipherOrder::ChachaFirst);
        assert_eq!(
            order(&[S::Unknown(0x5a5a), chacha, aes]),
            CipherOrder::ChachaFirst
        );
        assert_eq!(order(&[aes, chacha]), CipherOrder::Own);
        assert_eq!(order(&[]), CipherOrder::Own);
        let old = S::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256;
        assert_eq!(order(&[old, aes]), CipherOrder::ChachaFirst);
    }
}
