//! The TLS settings of a snapshot.

use serde::Deserialize;

/// TLS towards clients. Paths are absolute.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct ListenerTls {
    /// At least one, unless there are `folders`, `local` names, or a hook that gives some.
    pub certificates: Vec<Certificate>,
    /// Folders whose certificates come after these.
    #[serde(default)]
    pub folders: Vec<String>,
    /// Names that get a certificate of this machine's own authority; absent for none.
    pub local: Option<Local>,
    /// Where the certificates of an ACME authority lie; absent where none is asked.
    #[serde(default)]
    pub acme: Option<Acme>,
    /// `modern` or `intermediate`.
    pub policy: String,
    /// Application protocols offered, best first.
    pub alpn: Vec<String>,
    /// Whether a client that offers none of them is refused.
    pub refuses_other_alpn: bool,
    /// Whether a server name without a certificate is refused; if not, the client gets the first certificate.
    pub refuses_unknown_names: bool,
    /// `refuse`, `same_certificate` or `allow`.
    pub host_mismatch: String,
    /// Whether sessions may be resumed.
    pub tickets: bool,
    /// What is asked of clients.
    pub client_certificates: ClientCertificates,
}

/// Folders that the process which orders certificates writes to; either may not be there yet.
#[derive(Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Acme {
    /// `NAME.pem`: chain and key.
    pub certificates: String,
    /// `http/TOKEN` and `alpn/NAME.pem`.
    pub challenges: String,
}

/// Names that get a certificate of this machine's own authority.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Local {
    /// At least one.
    pub names: Vec<String>,
    /// The authority's folder, made when it is first needed.
    pub folder: String,
    /// Whether it is only looked at: an authority that is not there yet is made in memory, and no file is written.
    #[serde(skip)]
    pub leaves_no_file: bool,
}

/// A chain, its key, and whom they stand for.
#[derive(Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// PEM: the certificate first, then its issuers.
    pub chain: String,
    /// PEM: the private key.
    pub key: String,
    /// Names it is given for; none for those it holds.
    pub names: Vec<String>,
    /// DER: an OCSP response to staple.
    pub ocsp: Option<String>,
}

/// What is asked of clients.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificates {
    /// What is asked.
    pub mode: ClientCertificateMode,
    /// PEM: certificates of the authorities that are trusted.
    pub ca: Vec<String>,
    /// PEM: revocation lists.
    pub crl: Vec<String>,
}

/// Whether clients show a certificate.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificateMode {
    /// They are not asked.
    None,
    /// They are asked; routes may insist.
    Optional,
    /// Without a valid one there is no connection.
    Required,
    /// They are asked; all routes insist but those that say otherwise.
    Routes,
}

/// TLS towards the servers of an upstream. Paths are absolute.
#[derive(Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct UpstreamTls {
    /// Whether servers prove who they are.
    pub verify: bool,
    /// PEM: the authorities that are trusted; none for the system's.
    pub ca: Vec<String>,
    /// The name asked for and verified; absent for each server's own.
    pub server_name: Option<String>,
    /// SHA-256 digests, in hex, of public keys or certificates, one of which the server must show.
    pub pins: Vec<String>,
    /// What the gateway shows when it is asked.
    pub certificate: Option<Certificate>,
    /// `modern` or `intermediate`.
    pub policy: String,
    /// Application protocols offered, best first.
    pub alpn: Vec<String>,
}

/// What verifies with the system's authorities and offers HTTP/1.1.
impl Default for UpstreamTls {
    fn default() -> Self {
        Self {
            verify: true,
            ca: Vec::new(),
            server_name: None,
            pins: Vec::new(),
            certificate: None,
            policy: "intermediate".to_owned(),
            alpn: vec!["http/1.1".to_owned()],
        }
    }
}
