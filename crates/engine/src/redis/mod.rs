//! A Redis client for the few commands that gateways need, on the worker's own loop.
//!
//! # How it works
//! The crate `redis` does the protocol. Each worker has one connection to a server, opened by the first command; commands
//! of all requests share it and are written together. A connection that breaks is opened anew, with growing pauses, while
//! commands fail at once or wait within their timeout. A command that can be sent twice is, once, if its connection broke.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, IntoConnectionInfo, RedisError, ScriptInvocation};
pub use redis::{Cmd as Command, Script, Value};

use crate::hooks::LocalFuture;
use crate::metrics::Counter;
use crate::state::Shared;

/// Commands of one worker that wait for their answers at once; others wait for a place, within their timeout.
const MAX_IN_FLIGHT: usize = 4096;

/// The longest pause between two attempts to connect.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// A server, as its URL names it.
pub struct Redis {
    client: Client,
    timeout: Duration,
    manager: RefCell<Option<ConnectionManager>>,
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
    /// No answer in time.
    Timeout,
    /// The server refused the command.
    Refused,
}

impl Redis {
    /// Reads a URL: `redis://[user:password@]host[:port][/db]`, or `unix:///path`. Nothing is connected yet.
    ///
    /// # Errors
    /// The URL is no such URL.
    pub fn new(url: &str, timeout: Duration) -> Result<Self, String> {
        if url.starts_with("rediss:") {
            return Err("TLS to Redis is not there yet; hint: `redis://`, or a local TLS proxy".to_owned());
        }
        let bad = |error: RedisError| format!("bad Redis URL: {error}; hint: `redis://host:6379/0`");
        let client = Client::open(url.into_connection_info().map_err(bad)?).map_err(bad)?;
        Ok(Self {
            client,
            timeout,
            manager: RefCell::new(None),
        })
    }

    /// Runs a command. `is_repeatable`: it may be sent twice.
    pub(crate) fn run(
        self: Rc<Self>,
        shared: Rc<Shared>,
        command: Command,
        is_repeatable: bool,
    ) -> LocalFuture<'static, Result<Value, RedisFailure>> {
        Box::pin(async move {
            self.within(&shared, async {
                let mut manager = self.manager()?;
                match manager.send_packed_command(&command).await {
                    Err(error) if is_repeatable && error.is_connection_dropped() => {
                        manager.send_packed_command(&command).await
                    }
                    other => other,
                }
            })
            .await
        })
    }

    /// Runs a script by its hash, and hands it to the server first if it does not know it.
    pub(crate) fn eval(
        self: Rc<Self>,
        shared: Rc<Shared>,
        script: Rc<Script>,
        keys: Vec<Vec<u8>>,
        arguments: Vec<Vec<u8>>,
    ) -> LocalFuture<'static, Result<Value, RedisFailure>> {
        Box::pin(async move {
            self.within(&shared, async {
                let mut manager = self.manager()?;
                let mut invocation: ScriptInvocation<'_> = script.prepare_invoke();
                for key in keys {
                    invocation.key(key);
                }
                for argument in arguments {
                    invocation.arg(argument);
                }
                invocation.invoke_async(&mut manager).await
            })
            .await
        })
    }

    async fn within(
        &self,
        shared: &Shared,
        command: impl std::future::Future<Output = Result<Value, RedisError>>,
    ) -> Result<Value, RedisFailure> {
        shared.metrics.count(Counter::RedisCommands);
        let failure = match tokio::time::timeout(self.timeout, command).await {
            Ok(Ok(Value::ServerError(error))) => RedisFailure {
                kind: RedisFailureKind::Refused,
                message: error.to_string(),
            },
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => RedisFailure::from(error),
            Err(_) => {
                shared.metrics.count(Counter::TimeoutRedis);
                RedisFailure {
                    kind: RedisFailureKind::Timeout,
                    message: format!(
                        "Redis did not answer within {} ms; hint: is it there? or give `timeout=`",
                        self.timeout.as_millis()
                    ),
                }
            }
        };
        shared.metrics.count(Counter::RedisFailures);
        Err(failure)
    }

    /// The connection of this worker. Must be called within the runtime.
    fn manager(&self) -> Result<ConnectionManager, RedisError> {
        let mut manager = self.manager.borrow_mut();
        if let Some(manager) = &*manager {
            return Ok(manager.clone());
        }
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(self.timeout))
            // `within` bounds the whole
            .set_response_timeout(None)
            .set_concurrency_limit(MAX_IN_FLIGHT)
            .set_max_delay(MAX_PAUSE);
        let opened = ConnectionManager::new_lazy_with_config(self.client.clone(), config)?;
        Ok(manager.insert(opened).clone())
    }
}

/// A command of these arguments, its name first.
pub fn command(arguments: &[Vec<u8>]) -> Command {
    let mut command = Command::new();
    for argument in arguments {
        command.arg(argument);
    }
    command
}

impl From<RedisError> for RedisFailure {
    fn from(error: RedisError) -> Self {
        let kind = if error.is_timeout() {
            RedisFailureKind::Timeout
        } else if error.is_io_error() || error.is_connection_dropped() || error.is_connection_refusal() {
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
