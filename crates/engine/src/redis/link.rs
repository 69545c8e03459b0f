//! One connection to one server, shared by all commands.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use headgate_net::tls::UpstreamTls;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, RedisError, Value};
use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::spawn_local;
use tokio_rustls::TlsConnector;

use super::address::ServerAddress;
use super::failed::Failed;

/// Commands of one worker that wait for their responses at once; others wait for a place, within their timeout.
const MAX_IN_FLIGHT: usize = 4096;

/// See the module.
#[derive(Clone)]
pub(super) struct Link {
    connection: MultiplexedConnection,
    state: Rc<LinkState>,
}

struct LinkState {
    server: ServerAddress,
    /// The socket once more, to look whether the server has closed it.
    socket: OwnedFd,
    in_flight: Cell<usize>,
    is_broken: Cell<bool>,
}

impl Link {
    /// Connects, makes TLS, logs in.
    pub(super) async fn open(
        server: &ServerAddress,
        login: &RedisConnectionInfo,
        tls: Option<&UpstreamTls>,
        timeout: Duration,
    ) -> Result<Self, Failed> {
        let connected = |error| Failed::to_connect(server, error);
        match server {
            ServerAddress::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(connected)?;
                let socket = stream.as_fd().try_clone_to_owned().map_err(connected)?;
                Self::begin(server, stream, socket, login, timeout).await
            }
            ServerAddress::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port))
                    .await
                    .map_err(connected)?;
                stream.set_nodelay(true).map_err(connected)?;
                let socket = stream.as_fd().try_clone_to_owned().map_err(connected)?;
                let Some(tls) = tls else {
                    return Self::begin(server, stream, socket, login, timeout).await;
                };
                let secured = async {
                    let name = tls.name_for(host).map_err(io::Error::other)?;
                    TlsConnector::from(Arc::clone(tls.config()))
                        .connect(name, stream)
                        .await
                };
                let stream = secured.await.map_err(|error| Failed::tls(server, error))?;
                Self::begin(server, stream, socket, login, timeout).await
            }
        }
    }

    async fn begin(
        server: &ServerAddress,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        socket: OwnedFd,
        login: &RedisConnectionInfo,
        timeout: Duration,
    ) -> Result<Self, Failed> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeout))
            // the caller bounds the whole
            .set_response_timeout(None)
            .set_concurrency_limit(MAX_IN_FLIGHT);
        let (connection, driver) = MultiplexedConnection::new_with_config(login, stream, config)
            .await
            .map_err(|error| Failed::at(server, error))?;
        spawn_local(driver);
        Ok(Self {
            connection,
            state: Rc::new(LinkState {
                server: server.clone(),
                socket,
                in_flight: Cell::new(0),
                is_broken: Cell::new(false),
            }),
        })
    }

    /// Whether nothing more may be sent on it: it has broken, or the server has closed it while it was idle.
    pub(super) fn is_closed(&self) -> bool {
        let state = &self.state;
        // while responses are awaited, those who wait are told that the connection ended
        state.is_broken.get() || state.in_flight.get() == 0 && has_hung_up(&state.socket)
    }

    /// No command is sent on it any more.
    pub(super) fn give_up(&self) {
        self.state.is_broken.set(true);
    }

    /// Sends a command and waits for its response.
    pub(super) async fn send(&self, command: &Cmd) -> Result<Value, Failed> {
        let _flight = InFlight::new(&self.state);
        let mut connection = self.connection.clone();
        let response = connection.req_packed_command(command).await;
        self.judged(response)
    }

    /// Sends a command for a slot that is on its way to this node: behind `ASKING`, which is for the next command of the
    /// connection only, so that no other may come between them.
    pub(super) async fn send_asking(&self, command: &Cmd) -> Result<Value, Failed> {
        let _flight = InFlight::new(&self.state);
        let mut connection = self.connection.clone();
        let mut both = redis::Pipeline::with_capacity(2);
        both.add_command(redis::cmd("ASKING"))
            .add_command(command.clone());
        let responses = connection.req_packed_commands(&both, 1, 1).await;
        let response = responses.map(|mut responses| responses.pop().unwrap_or(Value::Nil));
        self.judged(response)
    }

    fn judged(&self, response: Result<Value, RedisError>) -> Result<Value, Failed> {
        let response = match response {
            Ok(Value::ServerError(error)) => Err(RedisError::from(error)),
            other => other,
        };
        if response.as_ref().is_err_and(RedisError::is_unrecoverable_error) {
            self.give_up();
        }
        response.map_err(|error| Failed::at(&self.state.server, error))
    }
}

/// A command under way.
struct InFlight<'a>(&'a LinkState);

impl<'a> InFlight<'a> {
    fn new(state: &'a LinkState) -> Self {
        state.in_flight.set(state.in_flight.get() + 1);
        Self(state)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
    }
}

fn has_hung_up(socket: &OwnedFd) -> bool {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let ends = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
    rustix::event::poll(&mut [PollFd::new(socket, ends)], Some(&now)).is_ok_and(|count| count > 0)
}
