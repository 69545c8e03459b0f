//! Rules about TLS for a single request: the host of its connection, and its client's certificate.

use headgate_net::tls::{ClientCertificateMode, HostMismatch, TlsInfo};
use headgate_route::host_without_port;

use crate::failure::{Failure, FailureKind};
use crate::hooks::exchange::Exchange;

/// Whether requests on a route need a valid client certificate; absent: as the listener requires.
pub(crate) type NeedsCertificate = Option<bool>;

/// Checks a request on the route it has reached, or on none.
pub(crate) fn check_request(exchange: &Exchange, route: NeedsCertificate) -> Result<(), Failure> {
    let tls = exchange.client.tls.as_deref();
    if let Some(tls) = tls {
        check_host(exchange, tls)?;
    }
    let by_listener = tls.is_some_and(|tls| tls.mode == ClientCertificateMode::Routes);
    if route.unwrap_or(by_listener) {
        check_certificate(tls)?;
    }
    Ok(())
}

/// RFC 9110 sections 7.4 and 15.5.20: a request for a host that this connection was not made for.
fn check_host(exchange: &Exchange, tls: &TlsInfo) -> Result<(), Failure> {
    let (Some(name), rule) = (&tls.server_name, tls.listener.host_mismatch) else {
        return Ok(());
    };
    let request = exchange.request.borrow();
    let host = host_without_port(request.host());
    let host = host.strip_suffix(b".").unwrap_or(host);
    let is_same = host.eq_ignore_ascii_case(name.as_bytes());
    if is_same || rule == HostMismatch::Allow || host.is_empty() {
        return Ok(());
    }
    if rule == HostMismatch::SameCertificate {
        let host = String::from_utf8_lossy(host).to_ascii_lowercase();
        let is_for_both = match &tls.chosen {
            Some(chosen) => chosen.is_for(&tls.listener, &host),
            None => tls.listener.share_certificate(name, &host),
        };
        if is_for_both {
            return Ok(());
        }
    }
    Err(Failure::from(FailureKind::Misdirected))
}

fn check_certificate(tls: Option<&TlsInfo>) -> Result<(), Failure> {
    match tls.and_then(|tls| tls.client_certificate.as_ref()) {
        None => Err(Failure::from(FailureKind::NoClientCertificate)),
        Some(shown) if shown.is_valid() => Ok(()),
        Some(shown) => Err(Failure::new(
            FailureKind::BadClientCertificate,
            format!(
                "the client certificate was rejected: {}",
                shown.verdict.replace('_', " ")
            ),
        )),
    }
}
