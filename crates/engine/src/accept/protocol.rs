//! Which version of HTTP a connection speaks.

use crate::http::connection;
use crate::http::edge;
use crate::snapshot::H2c;
use crate::state::connection::Connection;
use headgate_net::limits::Limit;

/// Serves a connection to its end, whatever it speaks.
pub(crate) async fn serve(mut connection: Box<Connection>) {
    // some may be there already: what came with a PROXY header
    if connection.peer.unread().is_empty() && !connection.await_bytes().await {
        return;
    }
    if is_http2(&mut connection).await {
        return Box::pin(edge::serve(*connection)).await;
    }
    connection::serve(connection).await;
}

/// Whether the first bytes are those of HTTP/2, or nothing else may come.
async fn is_http2(connection: &mut Connection) -> bool {
    let tables = connection.shared.tables();
    if let Some(tls) = &connection.client.tls {
        // the handshake has decided (RFC 9113 section 3.3)
        return tls.alpn == "h2";
    }
    match tables.http2.h2c {
        H2c::Only => tables.http2.enabled && connection.peer.stream.socket().is_some(),
        // a cheap look first: no usual method begins like the preface
        H2c::Detect if connection.peer.unread().starts_with(b"P") => {
            connection
                .watch
                .arm(Limit::ClientHead, tables.timeouts.client_head);
            tables.http2.enabled && edge::begins_with_preface(connection).await
        }
        H2c::Detect | H2c::Off => false,
    }
}
