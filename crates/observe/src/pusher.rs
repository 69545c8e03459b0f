//! Pushes numbers to a `StatsD` server, on a thread of its own.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::time::Duration;

use crate::exporter::Exporter;
use crate::statsd::Naming;

/// Datagrams that are sent at once, so that a receiver's buffer takes them.
const AT_ONCE: usize = 16;
const PAUSE: Duration = Duration::from_millis(1);
/// For the last push.
const LAST_LIMIT: Duration = Duration::from_millis(500);

/// Where numbers are pushed, how often, and by which names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushSettings {
    /// `host:port`; a name is looked up before each push.
    pub to: String,
    /// Between two pushes.
    pub interval: Duration,
    /// What metrics are called.
    pub naming: Naming,
}

/// Pushes until it is dropped, the last time when it is.
pub struct Pusher {
    stop: Option<Sender<()>>,
    ended: Receiver<()>,
}

impl Pusher {
    /// Begins: what is counted from now on is pushed.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(settings: PushSettings, exporter: Arc<Exporter>) -> io::Result<Self> {
        exporter.begin_pushing();
        let (stop, stopped) = channel();
        let (end, ended) = channel();
        std::thread::Builder::new()
            .name("statsd".to_owned())
            .spawn(move || {
                let mut route = Route::default();
                while stopped.recv_timeout(settings.interval) == Err(RecvTimeoutError::Timeout) {
                    route.look_up(&settings.to);
                    push(&route, &exporter, &settings.naming);
                }
                if route.to.is_none() {
                    route.look_up(&settings.to);
                }
                push(&route, &exporter, &settings.naming);
                let _ = end.send(()); // who does not wait any more need not know
            })?;
        Ok(Self {
            stop: Some(stop),
            ended,
        })
    }
}

impl Drop for Pusher {
    fn drop(&mut self) {
        self.stop = None;
        // a look-up may take longer than anybody should wait
        let _ = self.ended.recv_timeout(LAST_LIMIT);
    }
}

/// A socket, and whom it sends to.
#[derive(Default)]
struct Route {
    to: Option<SocketAddr>,
    socket: Option<UdpSocket>,
}

impl Route {
    /// Keeps the address that it has where the name has none now.
    fn look_up(&mut self, name: &str) {
        let found = name.to_socket_addrs().ok().and_then(|mut all| all.next());
        let Some(address) = found.filter(|found| Some(*found) != self.to) else {
            return;
        };
        let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        self.to = Some(address);
        // not connected: a port that nobody listens on is no error of the next datagram
        self.socket = UdpSocket::bind(any)
            .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
            .ok();
    }

    fn send(&self, datagram: &str) -> bool {
        let (Some(to), Some(socket)) = (self.to, &self.socket) else {
            return false;
        };
        socket.send_to(datagram.as_bytes(), to).is_ok()
    }
}

fn push(route: &Route, exporter: &Exporter, naming: &Naming) {
    if route.to.is_none() {
        return; // what has been counted is pushed when the name is found
    }
    let datagrams = exporter.grown(naming);
    let mut sent = 0;
    for some in datagrams.chunks(AT_ONCE) {
        sent += some.iter().filter(|one| route.send(one)).count() as u64;
        if some.len() == AT_ONCE {
            std::thread::sleep(PAUSE);
        }
    }
    exporter.has_pushed(sent, datagrams.len() as u64 - sent);
}
