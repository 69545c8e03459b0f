//! TLS to servers.

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, LazyLock};

use aws_lc_rs::digest::{digest, SHA256};
use data_encoding::HEXLOWER;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_name, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::OwnCertificate;
use super::itself::Itself;
use super::pem;
use super::provider::{provider, versions};
use super::spec;
use super::stamp::Stamps;
use crate::deadline::Watched;
use crate::peer::{watched, Broken, Peer};

/// The system's authorities, read once where something needs them.
static SYSTEM: LazyLock<Result<Arc<RootCertStore>, String>> = LazyLock::new(|| {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found
            .errors
            .first()
            .map_or_else(|| "none was found".to_owned(), ToString::to_string);
        return Err(format!(
            "the system's certificate authorities cannot be read: {why}\nhint: install `ca-certificates`, or name a file in `ca`"
        ));
    }
    Ok(Arc::new(roots))
});

/// How to speak TLS with servers. Sessions are resumed within one of these.
#[derive(Debug)]
pub struct UpstreamTls {
    config: Arc<ClientConfig>,
    /// In place of each server's own name.
    server_name: Option<ServerName<'static>>,
    spec: spec::UpstreamTls,
    stamps: Stamps,
}

impl UpstreamTls {
    /// Reads all files.
    pub fn build(spec: &spec::UpstreamTls) -> Result<Self, String> {
        let stamps = Stamps::of(files(spec));
        let verifier = Verifier::new(spec)?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions(&spec.policy)?)
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &spec.certificate {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let own = OwnCertificate::load(own)?;
                builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(own.key)))
            }
        };
        config.alpn_protocols = spec.alpn.iter().map(|name| name.clone().into_bytes()).collect();
        let server_name = spec.server_name.as_deref().map(name_of).transpose()?;
        Ok(Self {
            config: Arc::new(config),
            server_name,
            spec: spec.clone(),
            stamps,
        })
    }

    /// What sessions are made with, where the connection is not a [`Peer`].
    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// Whether its files are as they were when they were read.
    pub fn is_current(&self) -> bool {
        Stamps::of(files(&self.spec)) == self.stamps
    }

    /// The name that a server is asked for and verified by: the configured one, else the host of its address.
    pub fn name_for(&self, host: &str) -> Result<ServerName<'static>, String> {
        match &self.server_name {
            Some(name) => Ok(name.clone()),
            None => name_of(host),
        }
    }

    /// Makes a session on a connection; the watch is armed by the caller. An error is
    /// [`io::ErrorKind::InvalidData`] where the server is not as it must be.
    pub async fn connect(
        &self,
        peer: &mut Peer,
        name: ServerName<'static>,
        watch: &Watched,
    ) -> Result<(), Broken> {
        let session = ClientConnection::new(Arc::clone(&self.config), name)
            .map_err(|error| Broken::Io(io::Error::new(io::ErrorKind::InvalidData, error)))?;
        let stream = peer.wrap(session.into(), Vec::new());
        poll_fn(|context| {
            let shaken = stream.poll_handshake(context);
            watched(shaken, watch, context)
        })
        .await
    }
}

fn files(spec: &spec::UpstreamTls) -> impl Iterator<Item = &String> {
    let own = spec.certificate.iter().flat_map(|own| [&own.chain, &own.key]);
    own.chain(&spec.ca)
}

fn name_of(host: &str) -> Result<ServerName<'static>, String> {
    let bare = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .trim_end_matches('.');
    ServerName::try_from(bare.to_owned())
        .map_err(|_| format!("`{host}` is not a name that a certificate can hold"))
}

/// The chain up to a trusted authority, and the pins.
#[derive(Debug)]
struct Verifier {
    /// Absent where nothing is verified but pins.
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// Certificates that need no chain.
    itself: Itself,
    pins: Vec<String>,
}

impl Verifier {
    fn new(spec: &spec::UpstreamTls) -> Result<Self, String> {
        let chain = if spec.verify {
            let roots = if spec.ca.is_empty() {
                Arc::clone(SYSTEM.as_ref().map_err(Clone::clone)?)
            } else {
                Arc::new(pem::authorities(&spec.ca)?)
            };
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider()).build();
            Some(verifier.map_err(|error| error.to_string())?)
        } else {
            None
        };
        Ok(Self {
            chain,
            itself: Itself::of(&spec.ca)?,
            pins: spec.pins.clone(),
        })
    }

    fn check_pins(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        if self.pins.is_empty() {
            return Ok(());
        }
        let whole = HEXLOWER.encode(digest(&SHA256, certificate).as_ref());
        let key = X509Certificate::from_der(certificate)
            .map(|(_, read)| HEXLOWER.encode(digest(&SHA256, read.public_key().raw).as_ref()))
            .unwrap_or_default();
        if self.pins.iter().any(|pin| *pin == whole || *pin == key) {
            return Ok(());
        }
        Err(Error::General(format!(
            "the server's certificate has none of the pinned fingerprints: it is {whole}, its key {key}"
        )))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(chain) = &self.chain {
            match self.itself.verify(certificate, now) {
                Some(verdict) => {
                    verdict?;
                    verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                }
                None => {
                    chain.verify_server_cert(certificate, intermediates, name, ocsp, now)?;
                }
            }
        }
        self.check_pins(certificate)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
