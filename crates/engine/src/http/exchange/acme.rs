//! HTTP-01 challenges (RFC 8555 section 8.3), served before hooks, plugins and routes could refuse or redirect them.

use std::path::Path;

use crate::hooks::exchange::Exchange;
use crate::http::reply::LocalReply;
use headgate_net::tls::acme_http_response;

const PREFIX: &[u8] = b"/.well-known/acme-challenge/";

/// The response, if an order of this gateway has put one there; a challenge for somebody else goes on to its route.
pub(super) fn challenge_response(exchange: &Exchange, folder: &Path) -> Option<LocalReply> {
    let request = exchange.request.borrow();
    let token = request.path().strip_prefix(PREFIX)?;
    if !matches!(request.method(), b"GET" | b"HEAD") {
        return None;
    }
    acme_http_response(folder, token).map(LocalReply::plain)
}
