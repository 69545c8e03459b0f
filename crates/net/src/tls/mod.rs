//! TLS to clients and to servers. The session on a stream is [`crate::stream::TlsStream`].
//!
//! | part | duty |
//! |---|---|
//! | [`spec`] | the settings as they come in a snapshot |
//! | [`provider`] | which cryptographic module does the work |
//! | [`pem`], [`certificate`] | keys, certificates and revocation lists from files; what they say |
//! | [`folder`] | those in a directory |
//! | [`itself`] | certificates that are trusted as they are |
//! | [`acme`] | those of an ACME authority, and what proves control of a name to it |
//! | [`local`] | an authority of this machine, for development |
//! | [`names`] | which certificate for which name |
//! | [`choice`], [`prepared`] | which one for a connection, as a hook says; those it gives as PEM, kept |
//! | [`listener`], [`stamp`] | a listener's settings as rustls wants them, and their renewal when files change |
//! | [`client_certificate`] | who the client is, and whether that is proven |
//! | [`reason`](mod@reason) | why a server was refused, in words |
//! | [`tickets`] | session tickets that every worker can read |
//! | [`handshake`] | from an accepted connection to a stream of requests |
//! | [`upstream`] | TLS to servers |

mod acme;
mod certificate;
mod choice;
mod client_certificate;
mod folder;
mod handshake;
mod itself;
mod listener;
mod local;
mod names;
mod pem;
mod prepared;
mod provider;
mod reason;
pub mod spec;
mod stamp;
mod tickets;
mod upstream;

pub use acme::http_response as acme_http_response;
pub use certificate::OwnCertificate;
pub use choice::{cipher_name, ChosenCertificate};
pub use client_certificate::ClientCertificate;
pub use handshake::TlsInfo;
pub use local::ensure_local_authority;
pub use prepared::PreparedCertificates;
pub use provider::{module, require_fips, CryptoModule};
pub use reason::reason;
pub use spec::ClientCertificateMode;
pub use tickets::TICKET_KEY_BYTES;

pub use handshake::{accept, HandshakeFailed, HandshakeOptions, Handshakes};
pub use listener::{HostMismatch, ListenerTls};
pub use tickets::TicketKeys;
pub use upstream::UpstreamTls;
