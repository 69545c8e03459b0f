//! A request through the gateway's own routes: a connection in memory, served like one of a client.

use std::rc::Rc;

use tokio::task::spawn_local;

use super::error::FetchError;
use crate::hooks::exchange::Exchange;
use crate::http::connection;
use crate::state::admission::Counted;
use crate::state::connection::Connection;
use crate::state::Shared;
use headgate_net::peer::Peer;
use headgate_net::stream::Stream;
use headgate_net::virtual_stream::virtual_pair;
use headgate_shared::metrics::Counter;
use headgate_upstream::Pooled;

/// Subrequests may be nested so deep; a loop ends here.
const MAX_DEPTH: u8 = 8;

/// Opens a connection to the own routes on behalf of the client of `exchange`.
pub(super) fn open(shared: &Rc<Shared>, exchange: &Rc<Exchange>) -> Result<Box<Pooled>, FetchError> {
    let depth = exchange.depth.get() + 1;
    if depth > MAX_DEPTH {
        shared.metrics.count(Counter::LimitSubrequests);
        return Err(FetchError::refused(format!(
            "subrequests can be nested at most {MAX_DEPTH} deep; hint: does a route fetch itself?"
        )));
    }
    shared.metrics.count(Counter::Subrequests);
    let (near, far) = virtual_pair();
    let mut connection = Connection::open(
        Stream::Virtual(Box::new(far)),
        exchange.client.clone(),
        shared.clone(),
        Counted::Not,
    );
    connection.depth = depth;
    spawn_local(connection::serve(connection));
    Ok(Pooled::new(
        Peer::new(Stream::Virtual(Box::new(near)), shared.buffers.clone()),
        1,
    ))
}
