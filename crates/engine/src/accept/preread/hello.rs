//! The first TLS message, where something is decided by it before the handshake goes on: by hooks, or by routes of names.

use std::future::{poll_fn, Future};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use headgate_wire::{parse_client_hello, ClientHello, ClientHelloError, Parsed};

use super::PendingConnection;
use crate::hooks::connection::{Chosen, ConnectionState};
use crate::snapshot::Phase;
use crate::state::connection_hooks::run_hooks;
use crate::state::refusal::Refusal;
use headgate_net::deadline::Watched;
use headgate_net::limits::Limit;
use headgate_net::peer::{late, Broken, Peer, BUFFER_BYTES};
use headgate_net::tls::Handshakes;
use headgate_shared::metrics::Counter;

/// TLS alerts (RFC 8446 section 6.2).
const FATAL: u8 = 2;
const ACCESS_DENIED: u8 = 49;
const DECODE_ERROR: u8 = 50;
const INTERNAL_ERROR: u8 = 80;
pub(super) const UNRECOGNIZED_NAME: u8 = 112;

impl PendingConnection {
    /// Lets hooks and routes decide by the first TLS message. What TLS is ended here counts as a handshake from now on.
    pub(super) async fn look_at_hello(&mut self, state: &Rc<ConnectionState>) -> Result<(), Refusal> {
        if self.settings.tls.is_some() {
            self.begin_handshake()?;
        }
        self.watch
            .arm(Limit::TlsHandshake, self.tables.timeouts.tls_handshake);
        let Some(hello) = self.read_client_hello().await? else {
            return Ok(());
        };
        state.hello.replace(Some(hello));
        let (shared, settings) = (Rc::clone(&self.shared), Rc::clone(&self.settings));
        let hooks = run_hooks(&shared, state, &settings.hooks[Phase::ClientHello]);
        let ran = while_connected(&mut self.peer, &self.watch, hooks).await;
        let decided = ran.unwrap_or_else(|broken| Err(Refusal::broken(&broken)));
        if let Err(refusal) = &decided {
            let hello = state.hello.borrow();
            let name = hello.as_ref().and_then(|hello| hello.server_name.as_deref());
            name.unwrap_or_default().clone_into(&mut self.server_name);
            self.alert(match refusal.counter {
                Some(Counter::RefusedByHook) => ACCESS_DENIED,
                _ => INTERNAL_ERROR,
            });
        }
        decided?;
        if settings.tls_passthrough {
            self.route_by_name(state);
        }
        Ok(())
    }

    /// Reads the first TLS message; nothing is consumed. `None`: the client does not speak TLS.
    async fn read_client_hello(&mut self) -> Result<Option<ClientHello>, Refusal> {
        let most = self.tables.limits.max_client_hello_bytes;
        loop {
            match parse_client_hello(self.peer.unread(), most) {
                Ok(Parsed::Complete { head, .. }) => return Ok(Some(head)),
                Ok(Parsed::Partial) => {}
                Err(ClientHelloError::NotTls) => return Ok(None),
                Err(error) => {
                    self.alert(DECODE_ERROR);
                    let mut refusal = Refusal::new(error.reason(), Counter::ClientHellosRefused);
                    if error == ClientHelloError::TooLarge {
                        refusal.limit = Limit::ClientHello.name();
                        refusal.counter = Some(Counter::LimitClientHello);
                    }
                    return Err(refusal);
                }
            }
            self.peer
                .fill(&self.watch, BUFFER_BYTES)
                .await
                .map_err(|broken| Refusal::broken(&broken))?;
        }
    }

    /// Sends the connection where its name leads, unless a hook has sent it elsewhere.
    fn route_by_name(&self, state: &ConnectionState) {
        let hello = state.hello.borrow();
        let name = hello.as_ref().and_then(|hello| hello.server_name.as_deref());
        let mut chosen = state.chosen.borrow_mut();
        if chosen.is_none() {
            *chosen = self.tables.tls_routes.find(name).map(Chosen::Upstream);
        }
    }

    /// Says in TLS why the connection ends (RFC 8446 section 6), if the kernel takes it at once.
    pub(super) fn alert(&mut self, description: u8) {
        let alert = [21, 3, 3, 0, 2, FATAL, description];
        let mut context = Context::from_waker(Waker::noop());
        let _ = self.peer.stream.poll_write(&mut context, &alert, &[]);
    }

    /// Counts a handshake, unless there are too many at once.
    pub(super) fn begin_handshake(&mut self) -> Result<(), Refusal> {
        let most = self.tables.limits.max_tls_handshakes;
        self.handshake = Handshakes::begin(&self.shared.tls_handshakes, most);
        self.handshake.as_ref().map(|_| ()).ok_or(Refusal {
            error: "connection_refused",
            limit: "limits.max_tls_handshakes",
            counter: Some(Counter::LimitTlsHandshakes),
        })
    }
}

/// Waits for something while the client is there and the watch has not run out. What the client sends is kept.
async fn while_connected<T>(
    peer: &mut Peer,
    watch: &Watched,
    work: impl Future<Output = T>,
) -> Result<T, Broken> {
    let mut work = pin!(work);
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(Ok(done));
        }
        // a client that sends more than a ClientHello before the handshake goes on is not waited on to leave
        while peer.unread().len() < BUFFER_BYTES / 2 {
            match peer.poll_fill(context, BUFFER_BYTES / 2) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Broken::Closed)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Broken::Io(error))),
                Poll::Pending => break,
            }
        }
        late(watch, context).map(Err)
    })
    .await
}
