//! The cryptographic module: aws-lc, plain or as its FIPS-validated build (cargo feature `fips`).

use std::sync::{Arc, LazyLock};

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
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::clone(&PROVIDER)
}

/// Which module is in use, asked of itself: for `headgate version` and the log at the start.
pub fn description() -> &'static str {
    match (cfg!(feature = "fips"), PROVIDER.fips()) {
        (_, true) => "rustls with aws-lc, FIPS module",
        (true, false) => "rustls with aws-lc, built for FIPS but NOT in FIPS mode",
        (false, false) => "rustls with aws-lc, not FIPS",
    }
}

static MODERN: [&SupportedProtocolVersion; 1] = [&TLS13];
static INTERMEDIATE: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// Versions by the name of a policy: `modern` is TLS 1.3, `intermediate` 1.2 and 1.3. All cipher suites of rustls are
/// authenticated ones with forward secrecy.
pub(super) fn versions(policy: &str) -> Result<&'static [&'static SupportedProtocolVersion], String> {
    match policy {
        "modern" => Ok(&MODERN),
        "intermediate" => Ok(&INTERMEDIATE),
        other => Err(format!(
            "unknown TLS policy `{other}`\nhint: `modern` or `intermediate`"
        )),
    }
}
