//! A Redis client for the few commands that gateways need, on the worker's own loop.
//!
//! # How it works
//! The crate `redis` does the protocol. Each worker has one connection to a server, opened by the first command; commands
//! of all requests share it and are written together. Before a command is written on a connection that was idle, the socket
//! is looked at: one that the server has closed is opened anew, so that no command is lost to a restart. A command that can be
//! sent twice is, once, if its connection breaks under it. Which server it is, is found by `servers`: the first of a list, the
//! primary that a Sentinel names, the node of a cluster that has the key.

mod address;
mod cluster;
mod failed;
mod link;
mod servers;

use std::rc::Rc;
use std::time::Duration;

use headgate_net::tls::{spec, UpstreamTls};
use redis::Cmd;
pub use redis::Value;

use crate::hooks::LocalFuture;
use crate::state::Shared;
use headgate_shared::metrics::Counter;

use address::Address;
use failed::Failed;
use servers::Servers;

/// The pause before a cluster or a Sentinel that changes is queried again.
const PAUSE: Duration = Duration::from_millis(50);

/// Servers, as a URL names them.
pub struct Redis {
    servers: Servers,
    timeout: Duration,
}

/// What TLS to the servers is by; files of PEM.
#[derive(Default)]
pub struct RedisTls {
    /// The authority that is trusted; none for the system's.
    pub ca: Option<String>,
    /// The certificate and key that are shown.
    pub certificate: Option<(String, String)>,
    /// Whether servers need not prove who they are.
    pub is_insecure: bool,
}

/// The arguments of a command, its name first.
pub type Command = Vec<Vec<u8>>;

/// A Lua script with its hash.
pub struct Script {
    text: String,
    hash: String,
}

impl Script {
    /// Of its text.
    pub fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            hash: redis::Script::new(text).get_hash().to_owned(),
        }
    }
}

/// A command that failed.
#[derive(Debug)]
pub struct RedisFailure {
    /// What kind of failure.
    pub kind: RedisFailureKind,
    /// One sentence.
    pub message: String,
}

/// The kinds of [`RedisFailure`]; each is an exception class in Python.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RedisFailureKind {
    /// No connection, or it broke.
    Connection,
    /// No response in time.
    Timeout,
    /// The server refused the command.
    Refused,
}

impl Redis {
    /// Reads a URL: `redis[s][+sentinel|+cluster]://[user:password@]host[:port][,...][/name][/db]`, or `unix:///path`.
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// The URL is not such a URL, or a file cannot be read.
    pub fn new(url: &str, timeout: Duration, tls: RedisTls) -> Result<Self, String> {
        let address = Address::read(url)?;
        let says_tls = tls.ca.is_some() || tls.certificate.is_some() || tls.is_insecure;
        if says_tls && !address.is_tls {
            return Err("`ca`, `certificate` and `insecure` are for TLS; hint: write `rediss://`".to_owned());
        }
        let tls = address
            .is_tls
            .then(|| {
                UpstreamTls::build(&spec::UpstreamTls {
                    verify: !tls.is_insecure,
                    ca: tls.ca.into_iter().collect(),
                    certificate: tls.certificate.map(|(chain, key)| spec::Certificate {
                        names: Vec::new(),
                        chain,
                        key,
                        ocsp: None,
                    }),
                    alpn: Vec::new(),
                    ..spec::UpstreamTls::default()
                })
            })
            .transpose()?;
        Ok(Self {
            servers: Servers::new(address, tls, timeout),
            timeout,
        })
    }

    /// Runs a command. `is_repeatable`: it may be sent twice.
    pub(crate) fn run(
        self: Rc<Self>,
        shared: Rc<Shared>,
        command: Command,
        is_repeatable: bool,
    ) -> LocalFuture<'static, Result<Value, RedisFailure>> {
        Box::pin(async move { self.within(&shared, self.execute(&command, is_repeatable)).await })
    }

    /// Runs a script by its hash, or by its text if the server does not know it.
    pub(crate) fn eval(
        self: Rc<Self>,
        shared: Rc<Shared>,
        script: Rc<Script>,
        keys: Vec<Vec<u8>>,
        arguments: Vec<Vec<u8>>,
    ) -> LocalFuture<'static, Result<Value, RedisFailure>> {
        Box::pin(async move {
            let told = |how: &str, what: &str| -> Command {
                let head = [how.into(), what.into(), keys.len().to_string().into_bytes()];
                head.into_iter()
                    .chain(keys.clone())
                    .chain(arguments.clone())
                    .collect()
            };
            self.within(&shared, async {
                match self.execute(&told("EVALSHA", &script.hash), false).await {
                    // it has not run
                    Err(error) if error.code() == Some("NOSCRIPT") => {
                        self.execute(&told("EVAL", &script.text), false).await
                    }
                    other => other,
                }
            })
            .await
        })
    }

    /// Sends a command where it belongs, and again where it was sent for nothing.
    async fn execute(&self, arguments: &Command, is_repeatable: bool) -> Result<Value, Failed> {
        let command = packed(arguments);
        let slot = self
            .servers
            .is_cluster()
            .then(|| cluster::slot_of(arguments))
            .flatten();
        let mut link = self.servers.link(slot).await;
        let mut may_repeat = is_repeatable;
        loop {
            let opened = match link {
                Ok(opened) => opened,
                Err(error) if self.servers.is_cluster() && may_repeat => {
                    may_repeat = false;
                    tracing::debug!(%error, "a node of the Redis cluster cannot be reached");
                    tokio::time::sleep(PAUSE).await;
                    link = self.servers.link(slot).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let error = match opened.send(&command).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let redirect = error.redirect_node().map(|(node, _)| node.to_owned());
            match (
                error.code(),
                redirect.as_deref().and_then(|node| node.rsplit_once(':')),
            ) {
                // refused before it was done: these may go elsewhere whatever they are
                (Some("ASK"), Some((host, port))) => {
                    let node = self.servers.link_to(host, port.parse().unwrap_or(0)).await?;
                    return node.send_asking(&command).await;
                }
                (Some("MOVED"), Some((host, port))) if !host.is_empty() => {
                    self.servers.forget();
                    link = self.servers.link_to(host, port.parse().unwrap_or(0)).await;
                }
                // a node without a host in `MOVED` does not know its own address yet
                (Some("MOVED" | "TRYAGAIN" | "CLUSTERDOWN" | "MASTERDOWN" | "LOADING" | "READONLY"), _) => {
                    opened.give_up();
                    self.servers.forget();
                    tokio::time::sleep(PAUSE).await;
                    link = self.servers.link(slot).await;
                }
                _ if may_repeat && error.is_connection_dropped() => {
                    may_repeat = false;
                    opened.give_up();
                    link = self.servers.link(slot).await;
                }
                _ => return Err(error),
            }
        }
    }

    async fn within(
        &self,
        shared: &Shared,
        command: impl std::future::Future<Output = Result<Value, Failed>>,
    ) -> Result<Value, RedisFailure> {
        shared.metrics.count(Counter::RedisCommands);
        let failure = match tokio::time::timeout(self.timeout, command).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) if !error.is_timeout() => RedisFailure::from(error),
            Ok(Err(_)) | Err(_) => {
                shared.metrics.count(Counter::TimeoutRedis);
                RedisFailure {
                    kind: RedisFailureKind::Timeout,
                    message: format!(
                        "Redis at `{}` did not respond within {} ms; hint: is it there? or give `timeout=`",
                        self.servers.names(),
                        self.timeout.as_millis()
                    ),
                }
            }
        };
        shared.metrics.count(Counter::RedisFailures);
        Err(failure)
    }
}

fn packed(arguments: &Command) -> Cmd {
    let mut command = Cmd::new();
    for argument in arguments {
        command.arg(&argument[..]);
    }
    command
}

impl From<Failed> for RedisFailure {
    fn from(error: Failed) -> Self {
        let kind = if error.is_io_error() || error.is_connection_dropped() || error.is_connection_refusal() {
            RedisFailureKind::Connection
        } else {
            RedisFailureKind::Refused
        };
        Self {
            kind,
            message: error.to_string(),
        }
    }
}
