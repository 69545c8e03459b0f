//! A listener's TLS settings as rustls wants them, built anew when its files change.
//!
//! # How it works
//! Every so often a handshake asks whether a file has changed; if so all are read again. New connections get the new
//! certificates, those that are open keep what they have. Files that do not fit together (one of two is written already)
//! leave the old ones in force until they do.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, WebPkiClientVerifier};
use rustls::ServerConfig;

use super::acme;
use super::certificate::OwnCertificate;
use super::choice::ChosenCertificate;
use super::client_certificate::{AnyCertificate, Judge};
use super::folder;
use super::itself::Itself;
use super::local;
use super::names::{FixedCertificates, Keys, Names};
use super::pem;
use super::provider::{ordered_provider, provider, versions, CipherOrder};
use super::spec::{self, ClientCertificateMode};
use super::stamp::Stamps;
use super::tickets::{TicketKeys, Ticketer};

/// How often files are looked at, for a listener with few of them.
const LOOK_EVERY_MS: u64 = 1_000;

/// A certificate that ends sooner is warned of.
const WARN_BEFORE_SECONDS: i64 = 14 * 24 * 60 * 60;

/// What happens to a request whose `Host` is not the name that its client asked for in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostMismatch {
    /// It is refused.
    Refuse,
    /// Fine if the certificate that was shown covers that host too.
    SameCertificate,
    /// It is served.
    Allow,
}

/// See the module.
#[derive(Debug)]
pub struct ListenerTls {
    spec: spec::ListenerTls,
    address: String,
    keys: Arc<TicketKeys>,
    /// What happens to such a request.
    pub host_mismatch: HostMismatch,
    built: RefCell<Arc<Built>>,
    stamps: RefCell<Stamps>,
    next_look_ms: Cell<u64>,
}

/// The settings with the files' present content.
#[derive(Debug)]
pub(crate) struct Built {
    names: Arc<Names>,
    /// For each way of asking for certificates, and for each order of ciphers.
    configs: HashMap<(ClientCertificateMode, CipherOrder), Arc<ServerConfig>>,
    /// Those of QUIC, made when they are first asked for.
    quic: Mutex<HashMap<ClientCertificateMode, Arc<ServerConfig>>>,
    /// Judges clients' certificates; absent where no authority is configured.
    pub(crate) judge: Option<Arc<dyn ClientCertVerifier>>,
}

impl ListenerTls {
    /// Reads all files.
    pub fn build(address: &str, spec: spec::ListenerTls, keys: &Arc<TicketKeys>) -> Result<Self, String> {
        let host_mismatch = match spec.host_mismatch.as_str() {
            "refuse" => HostMismatch::Refuse,
            "same_certificate" => HostMismatch::SameCertificate,
            "allow" => HostMismatch::Allow,
            other => return Err(format!("unknown host_mismatch `{other}`")),
        };
        // before the files are read: a change in between is seen by the next look
        let found = certificates(&spec);
        let stamps = stamps(&spec, &found);
        let built = Built::new(&spec, found, address, keys)
            .map_err(|error| format!("listener `{address}`: {error}"))?;
        Ok(Self {
            spec,
            address: address.to_owned(),
            keys: Arc::clone(keys),
            host_mismatch,
            built: RefCell::new(Arc::new(built)),
            stamps: RefCell::new(stamps),
            next_look_ms: Cell::new(0),
        })
    }

    /// The first name of each certificate, and when it ends, in seconds since 1970.
    pub fn expirations(&self) -> Vec<(String, i64)> {
        self.built.borrow().names.expirations().to_vec()
    }

    /// What is asked of clients.
    pub fn client_certificates(&self) -> ClientCertificateMode {
        self.spec.client_certificates.mode
    }

    /// Whether clients may be asked for that: there is an authority that judges what they show.
    pub fn can_ask_for(&self, mode: ClientCertificateMode) -> bool {
        self.built
            .borrow()
            .configs
            .contains_key(&(mode, CipherOrder::Own))
    }

    /// Whether one of these certificates is the listener's and for that host, in lower case.
    pub(crate) fn cover(&self, keys: &Keys, host: &str) -> bool {
        self.built.borrow().names.cover(keys, host)
    }

    /// The certificates for a name in lower case.
    pub(crate) fn find(&self, name: &str) -> Option<Keys> {
        self.built.borrow().names.find(name).cloned()
    }

    /// Whether a client that offers none of our protocols is refused.
    pub(crate) fn refuses_other_alpn(&self) -> bool {
        self.spec.refuses_other_alpn
    }

    /// What an ACME authority's validation connection for that name is shown (RFC 8737); absent while no order for it is
    /// under way.
    pub(crate) fn validation(&self, name: &str) -> Option<Arc<ServerConfig>> {
        acme::validation(self.spec.acme.as_ref()?, name)
    }

    /// The settings with the files' present content.
    pub(crate) fn current(&self, now_ms: u64) -> Arc<Built> {
        if now_ms >= self.next_look_ms.get() {
            self.look();
            let files = self.stamps.borrow().len() as u64;
            self.next_look_ms.set(now_ms + LOOK_EVERY_MS.max(files * 10));
        }
        Arc::clone(&self.built.borrow())
    }

    /// Whether the certificate for one server name also covers the other.
    pub fn share_certificate(&self, one: &str, other: &str) -> bool {
        self.built.borrow().share_certificate(one, other)
    }

    /// What a QUIC connection is served with (RFC 9001): the same, with HTTP/3 as the one protocol. `None`: there is no such
    /// mode.
    pub fn quic_config(
        &self,
        now_ms: u64,
        mode: Option<ClientCertificateMode>,
        certificate: Option<&ChosenCertificate>,
    ) -> Option<Arc<ServerConfig>> {
        let mode = mode.unwrap_or_else(|| self.client_certificates());
        self.current(now_ms).quic_config(mode, certificate)
    }

    fn look(&self) {
        let found = certificates(&self.spec);
        let stamps = stamps(&self.spec, &found);
        if stamps == *self.stamps.borrow() {
            return;
        }
        match Built::new(&self.spec, found, &self.address, &self.keys) {
            Ok(built) => {
                self.built.replace(Arc::new(built));
                tracing::info!(listener = self.address, "new certificates are in use");
            }
            Err(error) => {
                tracing::error!(
                    listener = self.address,
                    "changed certificates are not used, the old ones stay: {error}"
                );
            }
        }
        self.stamps.replace(stamps);
    }
}

/// The certificates that are configured, and those that are in the directories now.
fn certificates(spec: &spec::ListenerTls) -> Result<Vec<spec::Certificate>, String> {
    let mut all = spec.certificates.clone();
    for folder in &spec.folders {
        let found = folder::certificates(folder)?;
        if found.is_empty() {
            return Err(format!(
                "the folder `{folder}` holds no certificate\nhint: `NAME.pem` with its key, or beside a `NAME.key`"
            ));
        }
        all.extend(found);
    }
    if let Some(acme) = &spec.acme {
        all.extend(acme::certificates(acme)?);
    }
    Ok(all)
}

/// Of every file there is. Of a folder that cannot be read, none of its own.
fn stamps(spec: &spec::ListenerTls, found: &Result<Vec<spec::Certificate>, String>) -> Stamps {
    let certificates = found.as_ref().unwrap_or(&spec.certificates);
    let own = certificates.iter().flat_map(|certificate| {
        [&certificate.chain, &certificate.key]
            .into_iter()
            .chain(&certificate.ocsp)
    });
    let clients = &spec.client_certificates;
    Stamps::of(own.chain(&clients.ca).chain(&clients.crl))
}

impl Built {
    fn new(
        spec: &spec::ListenerTls,
        found: Result<Vec<spec::Certificate>, String>,
        address: &str,
        keys: &Arc<TicketKeys>,
    ) -> Result<Self, String> {
        let mut certificates = found?
            .iter()
            .map(OwnCertificate::load)
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(local) = &spec.local {
            certificates.push(local::certificate(local)?);
        }
        for certificate in &certificates {
            warn_of_end(address, certificate);
        }
        let names = Arc::new(Names::new(&certificates, spec.refuses_unknown_names));
        let judge = judge(&spec.client_certificates)?;
        let mut built = Self {
            names,
            configs: HashMap::new(),
            quic: Mutex::default(),
            judge,
        };
        let authorities = authorities_digest(&spec.client_certificates)?;
        let modes = built.modes(spec.client_certificates.mode).into_iter();
        let orders = [CipherOrder::Own, CipherOrder::ChachaFirst];
        for (mode, order) in modes.flat_map(|mode| orders.map(|order| (mode, order))) {
            let mut config = ServerConfig::builder_with_provider(ordered_provider(order))
                .with_protocol_versions(versions(&spec.policy)?)
                .map_err(|error| error.to_string())?
                .with_client_cert_verifier(built.verifier(mode))
                .with_cert_resolver(built.names.clone());
            config.ignore_client_order = true;
            config.alpn_protocols = spec.alpn.iter().map(|name| name.clone().into_bytes()).collect();
            config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
            if spec.tickets {
                let context = format!("{address}\n{mode:?}\n{authorities}");
                config.ticketer = Arc::new(Ticketer::new(Arc::clone(keys), context.as_bytes()));
            } else {
                config.send_tls13_tickets = 0;
            }
            built.configs.insert((mode, order), Arc::new(config));
        }
        Ok(built)
    }

    /// The modes that connections of this listener may be in: a `client_hello` hook may choose.
    fn modes(&self, own: ClientCertificateMode) -> Vec<ClientCertificateMode> {
        use ClientCertificateMode::{None, Optional, Required, Routes};
        match self.judge {
            Option::None => vec![own],
            Some(_) => vec![None, Optional, Required, Routes],
        }
    }

    fn verifier(&self, mode: ClientCertificateMode) -> Arc<dyn ClientCertVerifier> {
        match (mode, &self.judge) {
            (ClientCertificateMode::None, _) | (_, None) => Arc::new(NoClientAuth),
            (ClientCertificateMode::Required, Some(judge)) => Arc::clone(judge),
            (_, Some(judge)) => Arc::new(AnyCertificate {
                judge: Arc::clone(judge),
            }),
        }
    }

    /// The settings for a connection. Absent if that mode was not configured.
    pub(crate) fn config(
        &self,
        (mode, order): (ClientCertificateMode, CipherOrder),
        certificate: Option<&ChosenCertificate>,
        without_alpn: bool,
    ) -> Option<Arc<ServerConfig>> {
        let config = self.configs.get(&(mode, order))?;
        if certificate.is_none() && !without_alpn {
            return Some(Arc::clone(config));
        }
        let mut config = ServerConfig::clone(config);
        if let Some(certificate) = certificate {
            config.cert_resolver = Arc::new(FixedCertificates(certificate.keys.clone()));
        }
        if without_alpn {
            config.alpn_protocols.clear();
        }
        Some(Arc::new(config))
    }

    fn quic_config(
        &self,
        mode: ClientCertificateMode,
        certificate: Option<&ChosenCertificate>,
    ) -> Option<Arc<ServerConfig>> {
        let quic = || self.quic.lock().unwrap_or_else(PoisonError::into_inner);
        if certificate.is_none() {
            if let Some(config) = quic().get(&mode) {
                return Some(Arc::clone(config));
            }
        }
        let mut config = ServerConfig::clone(&*self.config((mode, CipherOrder::Own), certificate, true)?);
        config.alpn_protocols = vec![b"h3".to_vec()];
        // each packet is encrypted by itself, and clients put first what costs them least: so it does here
        config.ignore_client_order = false;
        let config = Arc::new(config);
        if certificate.is_none() {
            quic().insert(mode, Arc::clone(&config));
        }
        Some(config)
    }

    fn share_certificate(&self, one: &str, other: &str) -> bool {
        self.names.cover(self.names.served(one), other)
    }
}

/// Who judges clients' certificates.
fn judge(spec: &spec::ClientCertificates) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
    if spec.ca.is_empty() {
        return match spec.mode {
            ClientCertificateMode::None => Ok(None),
            _ => Err(
                "client certificates are asked for, but no authority is trusted\nhint: name its file in `ca`"
                    .to_owned(),
            ),
        };
    }
    let roots = pem::authorities(&spec.ca)?;
    let lists = pem::revocation_lists(&spec.crl)?;
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    if !lists.is_empty() {
        // of an authority without a list nothing is revoked; a list past its end says nothing any more
        builder = builder
            .with_crls(lists)
            .allow_unknown_revocation_status()
            .enforce_revocation_expiration();
    }
    let chain = builder
        .build()
        .map_err(|error| format!("the authorities of client certificates cannot be used: {error}"))?;
    // with revocation lists every certificate is looked up in them
    let itself = if spec.crl.is_empty() {
        Itself::of(&spec.ca)?
    } else {
        Itself::default()
    };
    Ok(Some(Arc::new(Judge { chain, itself })))
}

fn authorities_digest(spec: &spec::ClientCertificates) -> Result<String, String> {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for path in &spec.ca {
        context.update(&pem::read(path)?);
    }
    Ok(data_encoding::HEXLOWER.encode(context.finish().as_ref()))
}

fn warn_of_end(address: &str, certificate: &OwnCertificate) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    let names = certificate.names.join(", ");
    let left = certificate.not_after - now;
    if left <= 0 {
        tracing::error!(listener = address, "the certificate for {names} has expired");
    } else if left < WARN_BEFORE_SECONDS {
        let days = left / (24 * 60 * 60);
        tracing::warn!(
            listener = address,
            "the certificate for {names} expires in {days} days"
        );
    }
}
