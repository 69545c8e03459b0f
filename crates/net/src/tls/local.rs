//! This machine's own certificate authority, for development: made on first use, kept in a folder of the user's.
//!
//! # How it works
//! The folder holds `ca.pem`, which browsers and other clients can be told to trust, and `ca.key`, which only its owner can
//! read. It is put in place by one rename, so that two workers that start at once use the same. What it signs lives in
//! memory and is made anew at each start.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

use super::certificate::OwnCertificate;
use super::spec::Local;

const AUTHORITY_DAYS: i64 = 3650;

/// Clients take certificates of local authorities for at most so long (825 days is the least of them).
const LEAF_DAYS: i64 = 800;

/// A certificate for the names, signed by the folder's authority.
pub(crate) fn certificate(local: &Local) -> Result<OwnCertificate, String> {
    let folder = Path::new(&local.folder);
    let said = |error: &dyn std::fmt::Display| {
        format!("the local certificate authority in `{}`: {error}", local.folder)
    };
    if local.leaves_no_file && !folder.join("ca.key").exists() {
        let own = LocalAuthority::new().map_err(|error| said(&error))?;
        return own.certificate(&local.names).map_err(|error| said(&error));
    }
    if ensure_local_authority(folder)? {
        tracing::warn!(
            "made a certificate authority for development: {}/ca.pem; hint: `headgate trust` has this machine trust it, or \
             import it into the browser",
            local.folder
        );
    }
    let read = |name: &str| {
        fs::read_to_string(folder.join(name)).map_err(|error| said(&format!("`{name}`: {error}")))
    };
    let own = LocalAuthority {
        certificate: read("ca.pem")?,
        key: read("ca.key")?,
    };
    own.certificate(&local.names).map_err(|error| said(&error))
}

/// Makes the authority in `folder` unless it has one; true if it was made.
///
/// # Errors
/// The folder cannot be made or written.
pub fn ensure_local_authority(folder: &Path) -> Result<bool, String> {
    if folder.join("ca.key").exists() {
        return Ok(false);
    }
    create(folder).map_err(|error| {
        format!(
            "the local certificate authority in `{}`: {error}",
            folder.display()
        )
    })?;
    Ok(true)
}

/// An authority as PEM.
struct LocalAuthority {
    certificate: String,
    key: String,
}

impl LocalAuthority {
    fn new() -> Result<Self, String> {
        let key = KeyPair::generate().map_err(|error| error.to_string())?;
        let certificate = authority()
            .and_then(|params| params.self_signed(&key))
            .map_err(|error| error.to_string())?;
        Ok(Self {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    fn certificate(&self, names: &[String]) -> Result<OwnCertificate, String> {
        let signed = sign(&self.key, names).map_err(|error| error.to_string())?;
        OwnCertificate::from_pem(
            (signed.chain + &self.certificate).as_bytes(),
            signed.key.as_bytes(),
            None,
        )
    }
}

struct Signed {
    chain: String,
    key: String,
}

fn sign(authority_key: &str, names: &[String]) -> Result<Signed, rcgen::Error> {
    let issuer = Issuer::new(authority()?, KeyPair::from_pem(authority_key)?);
    let key = KeyPair::generate()?;
    let mut leaf = CertificateParams::new(names)?;
    set_days(&mut leaf, LEAF_DAYS);
    leaf.distinguished_name
        .push(DnType::CommonName, names.first().map_or("local", String::as_str));
    leaf.use_authority_key_identifier_extension = true;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(Signed {
        chain: leaf.signed_by(&key, &issuer)?.pem(),
        key: key.serialize_pem(),
    })
}

fn authority() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    set_days(&mut params, AUTHORITY_DAYS);
    params
        .distinguished_name
        .push(DnType::CommonName, "headgate local authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn set_days(params: &mut CertificateParams, days: i64) {
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::days(1);
    params.not_after = now + Duration::days(days);
}

/// Makes the folder with a new authority in it.
fn create(folder: &Path) -> Result<(), String> {
    let own = LocalAuthority::new()?;
    let staged = PathBuf::from(format!("{}.{}", folder.display(), std::process::id()));
    place(folder, &staged, &own.certificate, &own.key).map_err(|error| error.to_string())
}

fn place(folder: &Path, staged: &Path, certificate: &str, key: &str) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(staged)?;
    let write = |name: &str, mode: u32, text: &str| {
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(staged.join(name))?;
        file.write_all(text.as_bytes())
    };
    write("ca.pem", 0o644, certificate)?;
    write("ca.key", 0o600, key)?;
    match fs::rename(staged, folder) {
        // another worker was first
        Err(_) if folder.join("ca.key").exists() => fs::remove_dir_all(staged),
        other => other,
    }
}
