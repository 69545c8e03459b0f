//! What a session of datagrams waits for.

use std::future::poll_fn;
use std::io;
use std::task::{ready, Poll};

use tokio::io::{Interest, ReadBuf};
use tokio::net::UdpSocket;

use headgate_net::deadline::Watched;
use headgate_net::limits::Limit;
use headgate_net::peer::late;
use headgate_shared::metrics::Metrics;
use headgate_upstream::LimitCounter;

/// What the server sends next, or what the network says of a datagram that was sent to it.
pub(super) async fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<usize> {
    let received = poll_fn(|context| {
        let mut target = ReadBuf::new(buffer);
        ready!(socket.poll_recv(context, &mut target))?;
        Poll::Ready(Ok(target.filled().len()))
    });
    // an error alone does not make a socket readable
    let broken = socket.async_io(Interest::ERROR, || {
        socket
            .take_error()?
            .ok_or_else(|| io::ErrorKind::WouldBlock.into())
    });
    tokio::select! {
        biased;
        received = received => received,
        broken = broken => Err(broken.unwrap_or_else(|error| error)),
    }
}

/// Waits until the watch runs out.
pub(super) async fn silence(idle: &Watched) {
    poll_fn(|context| late(idle, context).map(drop)).await;
}

/// How a session ends whose watch has run out: whatever comes next begins another one.
pub(super) fn ended(idle: &Watched, metrics: &Metrics) -> Result<(), &'static str> {
    if idle.is_over() {
        metrics.count(Limit::ServerDrain.counter());
        return Err("timeout");
    }
    Ok(())
}
