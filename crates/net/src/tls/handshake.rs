//! From an accepted connection to a stream of requests.
//!
//! # How it works
//! First the `ClientHello` alone is read, bounded in size; it decides the settings. Where hooks want to see it, they have
//! done so before (`opening`), and what they chose is in the options. Then rustls does the rest. All of it happens within one
//! deadline, and only so many handshakes run at a time.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;

use rustls::pki_types::CertificateDer;
use rustls::server::{Accepted, AcceptedAlert, Acceptor};
use rustls::{Connection, HandshakeKind, ServerConnection};

use super::acme;
use super::choice::ChosenCertificate;
use super::client_certificate::ClientCertificate;
use super::listener::{Built, ListenerTls};
use super::provider::CipherOrder;
use super::spec::ClientCertificateMode;
use crate::deadline::Watched;
use crate::limits::Limit;
use crate::peer::{watched, Broken, Peer, BUFFER_BYTES};
use crate::quic::Agreed;
use crate::stream::{Stream, TlsStream};

/// What was agreed with a client.
#[derive(Debug)]
pub struct TlsInfo {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// The cipher suite, by its name in RFC 8446 or the older ones.
    pub cipher: &'static str,
    /// The name that the client asked for, in lower case.
    pub server_name: Option<String>,
    /// The application protocol agreed on; empty if the client offered none.
    pub alpn: String,
    /// Whether a session was taken up again.
    pub is_resumed: bool,
    /// The client's certificate, if it has shown one.
    pub client_certificate: Option<ClientCertificate>,
    /// What it was asked for.
    pub mode: ClientCertificateMode,
    /// The certificate that was shown, if a hook chose it.
    pub chosen: Option<ChosenCertificate>,
    /// The settings of the listener.
    pub listener: Rc<ListenerTls>,
}

impl TlsInfo {
    /// What was agreed with a client of QUIC.
    ///
    /// # Errors
    /// The client's certificate is not valid any more.
    pub fn of_quic(
        listener: Rc<ListenerTls>,
        agreed: Agreed,
        (mode, chosen): (Option<ClientCertificateMode>, Option<ChosenCertificate>),
        now_ms: u64,
    ) -> Result<Self, String> {
        let mode = mode.unwrap_or_else(|| listener.client_certificates());
        let built = listener.current(now_ms);
        let client_certificate = checked_certificate(&built, mode, Some(&agreed.certificates))?;
        Ok(Self {
            version: "TLSv1.3",
            cipher: agreed.cipher,
            server_name: agreed.server_name,
            alpn: "h3".to_owned(),
            is_resumed: agreed.is_resumed,
            client_certificate,
            mode,
            chosen,
            listener,
        })
    }
}

/// The certificate that a client has shown; a resumed session shows what was fine when it began.
fn checked_certificate(
    built: &Built,
    mode: ClientCertificateMode,
    chain: Option<&[CertificateDer<'static>]>,
) -> Result<Option<ClientCertificate>, String> {
    let certificate = built
        .judge
        .as_deref()
        .zip(chain)
        .and_then(|(judge, chain)| ClientCertificate::of(chain, judge));
    let is_valid = certificate.as_ref().is_some_and(ClientCertificate::is_valid);
    if mode == ClientCertificateMode::Required && !is_valid {
        return Err("the client's certificate is not valid any more".to_owned());
    }
    Ok(certificate)
}

/// Why there is no session.
#[derive(Debug)]
pub enum HandshakeFailed {
    /// A bound was hit.
    Limit(Limit),
    /// The client left.
    Gone,
    /// The client does not speak TLS as it must, or not as is asked here.
    Refused(String),
}

/// Handshakes now under way, counted until dropped.
pub struct Handshakes(Rc<Cell<usize>>);

impl Handshakes {
    /// One more, unless there are `max` already.
    pub fn begin(counter: &Rc<Cell<usize>>, max: usize) -> Option<Self> {
        if counter.get() >= max {
            return None;
        }
        counter.set(counter.get() + 1);
        Some(Self(Rc::clone(counter)))
    }
}

impl Drop for Handshakes {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// What a handshake needs beside the connection.
pub struct HandshakeOptions<'a> {
    /// The settings of the listener.
    pub listener: &'a Rc<ListenerTls>,
    /// Armed by the caller: bounds all of it.
    pub watch: &'a Watched,
    /// Bytes that a `ClientHello` may have.
    pub max_client_hello_bytes: usize,
    /// The clock, in milliseconds.
    pub now_ms: u64,
    /// The name that hooks have decided by, if they saw one.
    pub seen_name: Option<String>,
    /// The certificate that a hook has chosen.
    pub chosen: Option<ChosenCertificate>,
    /// What is asked of the client, if a hook has said so.
    pub mode: Option<ClientCertificateMode>,
}

/// Does the TLS handshake with a client and puts the session in place of the peer's stream. The watch is armed by the caller.
pub async fn accept(peer: &mut Peer, options: &HandshakeOptions<'_>) -> Result<TlsInfo, HandshakeFailed> {
    let accepted = read_hello(peer, options).await?;
    check_name(
        accepted.client_hello().server_name(),
        options.seen_name.as_deref(),
    )?;
    if acme::is_validation(&accepted.client_hello()) {
        return Err(validate(peer, accepted, options).await);
    }
    let built = options.listener.current(options.now_ms);
    let mode = options
        .mode
        .unwrap_or_else(|| options.listener.client_certificates());
    let without_alpn = !options.listener.refuses_other_alpn() && !has_common_alpn(&accepted, &built, mode);
    let order = CipherOrder::for_client(accepted.client_hello().cipher_suites());
    let config = built
        .config((mode, order), options.chosen.as_ref(), without_alpn)
        .ok_or_else(|| HandshakeFailed::Refused("no client certificates are configured".to_owned()))?;
    let session = match accepted.into_connection(config) {
        Ok(session) => session,
        Err(refusal) => return Err(refuse(&mut peer.stream, refusal).await),
    };
    let received = peer.take_unread();
    let stream = peer.wrap(session.into(), received);
    poll_fn(|context| {
        let shaken = stream.poll_handshake(context);
        watched(shaken, options.watch, context)
    })
    .await
    .map_err(failed)?;
    agreed(stream, &built, mode, options)
}

/// Shows an ACME authority that this gateway controls the name, which the handshake alone does (RFC 8737 section 3).
async fn validate(peer: &mut Peer, accepted: Accepted, options: &HandshakeOptions<'_>) -> HandshakeFailed {
    let name = accepted.client_hello().server_name().map(str::to_owned);
    let Some(config) = name.and_then(|name| options.listener.validation(&name)) else {
        return HandshakeFailed::Refused(
            "no order is under way for the name of this ACME validation".to_owned(),
        );
    };
    let session = match accepted.into_connection(config) {
        Ok(session) => session,
        Err(refusal) => return refuse(&mut peer.stream, refusal).await,
    };
    let received = peer.take_unread();
    let stream = peer.wrap(session.into(), received);
    let shaken = poll_fn(|context| {
        let shaken = match stream.poll_handshake(context) {
            Poll::Ready(Ok(())) => stream.poll_flush(context),
            other => other,
        };
        watched(shaken, options.watch, context)
    });
    shaken.await.map_or_else(failed, |()| HandshakeFailed::Gone)
}

/// What hooks have decided by one reader's name must not be had for the other's.
fn check_name(name: Option<&str>, seen: Option<&str>) -> Result<(), HandshakeFailed> {
    match (name, seen) {
        (Some(name), Some(seen)) if !name.trim_end_matches('.').eq_ignore_ascii_case(seen) => Err(
            HandshakeFailed::Refused("the ClientHello can be read as one for two names".to_owned()),
        ),
        _ => Ok(()),
    }
}

fn failed(broken: Broken) -> HandshakeFailed {
    match broken {
        Broken::Limit(limit) => HandshakeFailed::Limit(limit),
        Broken::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            HandshakeFailed::Refused(error.to_string())
        }
        Broken::Closed | Broken::Io(_) => HandshakeFailed::Gone,
    }
}

/// Reads until the `ClientHello` is whole. What is read goes to rustls at once, and what it needs not yet stays unread.
async fn read_hello(peer: &mut Peer, options: &HandshakeOptions<'_>) -> Result<Accepted, HandshakeFailed> {
    let mut acceptor = Acceptor::default();
    let mut seen = 0;
    loop {
        if peer.unread().is_empty() {
            // one byte more than allowed tells a hello that is too large
            let most = (options.max_client_hello_bytes + 1 - seen).min(BUFFER_BYTES);
            peer.fill(options.watch, most).await.map_err(failed)?;
        }
        if seen == 0 && peer.unread()[0].is_ascii_uppercase() {
            return Err(refuse_plain(&mut peer.stream, options).await);
        }
        while !peer.unread().is_empty() {
            let taken = acceptor
                .read_tls(&mut peer.unread())
                .map_err(|error| HandshakeFailed::Refused(error.to_string()))?;
            peer.consume(taken);
            seen += taken;
            match acceptor.accept() {
                Ok(Some(accepted)) => return Ok(accepted),
                Ok(None) if seen > options.max_client_hello_bytes => {
                    return Err(HandshakeFailed::Limit(Limit::ClientHello));
                }
                Ok(None) => {}
                Err(refusal) => return Err(refuse(&mut peer.stream, refusal).await),
            }
        }
    }
}

/// Tells the client what was wrong, as far as the kernel takes it at once.
async fn refuse(stream: &mut Stream, (error, mut alert): (rustls::Error, AcceptedAlert)) -> HandshakeFailed {
    let mut bytes = Vec::new();
    if alert.write_all(&mut bytes).is_ok() && !bytes.is_empty() {
        poll_fn(|context| {
            let _ = stream.poll_write(context, &bytes, &[]);
            std::task::Poll::Ready(())
        })
        .await;
    }
    HandshakeFailed::Refused(error.to_string())
}

/// Somebody speaks HTTP without TLS: a local reply says more than a broken connection.
async fn refuse_plain(stream: &mut Stream, options: &HandshakeOptions<'_>) -> HandshakeFailed {
    const LOCAL_REPLY: &[u8] =
        b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 65\r\n\
        Connection: close\r\n\r\nthis port speaks TLS\nhint: write `https://` in place of `http://`";
    let _ = poll_fn(|context| {
        let written = stream.poll_write(context, LOCAL_REPLY, &[]);
        watched(written, options.watch, context)
    })
    .await;
    HandshakeFailed::Refused("the client speaks HTTP without TLS".to_owned())
}

/// Whether the client offers a protocol of ours, or none at all (RFC 7301 section 3.2).
fn has_common_alpn(accepted: &Accepted, built: &Built, mode: ClientCertificateMode) -> bool {
    let Some(config) = built.config((mode, CipherOrder::Own), None, false) else {
        return true;
    };
    let hello = accepted.client_hello();
    let Some(mut offered) = hello.alpn() else {
        return true;
    };
    config.alpn_protocols.is_empty()
        || offered.any(|one| config.alpn_protocols.iter().any(|ours| ours == one))
}

/// What the handshake came to.
fn agreed(
    stream: &TlsStream,
    built: &Built,
    mode: ClientCertificateMode,
    options: &HandshakeOptions<'_>,
) -> Result<TlsInfo, HandshakeFailed> {
    let session = stream.session();
    let client_certificate =
        checked_certificate(built, mode, session.peer_certificates()).map_err(HandshakeFailed::Refused)?;
    Ok(TlsInfo {
        version: session.protocol_version().and_then(version_name).unwrap_or(""),
        cipher: session
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str())
            .unwrap_or(""),
        server_name: server_session(session)
            .and_then(|session| session.server_name())
            .map(str::to_owned),
        alpn: session
            .alpn_protocol()
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .unwrap_or_default(),
        is_resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
        client_certificate,
        mode,
        chosen: options.chosen.clone(),
        listener: Rc::clone(options.listener),
    })
}

fn server_session(session: &Connection) -> Option<&ServerConnection> {
    match session {
        Connection::Server(session) => Some(session),
        Connection::Client(_) => None,
    }
}

fn version_name(version: rustls::ProtocolVersion) -> Option<&'static str> {
    match version {
        rustls::ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
        rustls::ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::check_name;

    #[test]
    fn two_readers_must_see_the_same_name() {
        assert!(check_name(Some("a.test."), Some("a.test")).is_ok());
        assert!(check_name(Some("A.test"), Some("a.test")).is_ok());
        assert!(check_name(None, Some("10.0.0.1")).is_ok() && check_name(Some("a.test"), None).is_ok());
        assert!(check_name(Some("admin.test"), Some("open.test")).is_err());
    }
}
