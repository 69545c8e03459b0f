//! HTTP/1 on a client's connection: one request after another.

use std::rc::Rc;

use crate::http::exchange;
use crate::state::connection::{Connection, Next};
use crate::state::request_futures::{rest, Assignment};

/// Serves requests until the connection ends.
pub(crate) async fn serve(mut connection: Box<Connection>) {
    let futures = connection.shared.request_futures.clone();
    loop {
        if connection.peer.unread().is_empty() && !connection.await_bytes().await {
            return;
        }
        let next;
        (connection, next) = futures
            .serve(connection, |assignment| Box::pin(work(assignment)))
            .await;
        match next {
            Next::KeepAlive => connection.served += 1,
            Next::Close => return connection.close_tls(),
            Next::Cut => return,
            Next::Linger => return Box::pin(connection.linger()).await,
        }
    }
}

/// Serves the one request that a stream of another connection carries.
pub(crate) async fn serve_once(connection: Box<Connection>) {
    let futures = connection.shared.request_futures.clone();
    // what follows is that connection's matter: a stream's end needs no lingering
    let _ = futures
        .serve(connection, |assignment| Box::pin(work(assignment)))
        .await;
}

/// Serves whatever is put into `assignment`, again and again.
async fn work(assignment: Rc<Assignment<Connection, Next>>) {
    loop {
        if let Some(mut connection) = assignment.waiting.take() {
            let next = exchange::serve(&mut connection).await;
            assignment.served.set(Some((connection, next)));
        }
        rest().await;
    }
}
