//! The cryptographic module: aws-lc, plain or as its FIPS-validated build (cargo feature `fips`).

use std::sync::{Arc, LazyLock, Once};

use rustls::crypto::CryptoProvider;
use rustls::version::{TLS12, TLS13};
use rustls::SupportedProtocolVersion;

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
