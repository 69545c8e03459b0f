//! What failed at a server, in one sentence that names it.

use std::fmt;
use std::io;
use std::ops::Deref;

use headgate_net::reason::in_words;
use redis::{ErrorKind, RedisError};

use super::address::ServerAddress;

/// An error at a server, and the sentence for users.
pub(super) struct Failed {
    error: RedisError,
    message: String,
}

impl Deref for Failed {
    type Target = RedisError;

    fn deref(&self) -> &RedisError {
        &self.error
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl Failed {
    /// There is no connection.
    pub(super) fn to_connect(server: &ServerAddress, error: io::Error) -> Self {
        let message = format!("cannot connect to Redis at `{server}`: {}", in_words(&error));
        Self {
            error: error.into(),
            message,
        }
    }

    /// There is one, and no TLS session on it.
    pub(super) fn tls(server: &ServerAddress, error: io::Error) -> Self {
        let message = format!("no TLS session with Redis at `{server}`: {}", in_words(&error));
        Self {
            error: error.into(),
            message,
        }
    }

    /// The server takes too long to respond to what begins a connection.
    pub(super) fn silent(server: &ServerAddress) -> Self {
        Self {
            error: io::Error::from(io::ErrorKind::TimedOut).into(),
            message: format!("Redis at `{server}` does not respond"),
        }
    }

    /// A login or a command failed.
    pub(super) fn at(server: &ServerAddress, error: RedisError) -> Self {
        let message = if let Some(code) = error.code() {
            let told = error.detail().unwrap_or_default();
            match code {
                "NOAUTH" => format!(
                    "Redis at `{server}` wants a password; hint: write `redis://:password@host` or `redis://user:password@host`"
                ),
                "WRONGPASS" => format!(
                    "Redis at `{server}` does not take the user or password of the URL; hint: percent-encode what is special in them"
                ),
                "NOPERM" => format!("Redis at `{server}` does not allow this user the command: {told}"),
                // what is wrong with a command only the server knows
                _ => format!("Redis at `{server}` refuses the command: {code} {told}"),
            }
        } else if error.is_connection_dropped() || error.is_io_error() {
            format!("the connection to Redis at `{server}` broke")
        } else {
            format!("Redis at `{server}` sends what is not its protocol")
        };
        Self { error, message }
    }

    /// The servers do not know where the command belongs.
    pub(super) fn nowhere(message: String, is_passing: bool) -> Self {
        let kind = if is_passing {
            ErrorKind::Io
        } else {
            ErrorKind::InvalidClientConfig
        };
        Self {
            error: RedisError::from((kind, "no server")),
            message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> ServerAddress {
        ServerAddress::Tcp("cache.test".to_owned(), 6379)
    }

    #[test]
    fn a_failure_names_its_server_and_nothing_of_libraries() {
        let refused = || io::Error::from_raw_os_error(111);
        let unknown = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let unknown = io::Error::new(io::ErrorKind::InvalidData, unknown);
        for (failed, said) in [
            (
                Failed::to_connect(&server(), refused()),
                "cannot connect to Redis at `cache.test:6379`: connection refused",
            ),
            (
                Failed::tls(&server(), unknown),
                "no TLS session with Redis at `cache.test:6379`: its certificate is from no authority that is trusted",
            ),
            (
                Failed::at(&server(), refused().into()),
                "the connection to Redis at `cache.test:6379` broke",
            ),
            (Failed::silent(&server()), "Redis at `cache.test:6379` does not respond"),
        ] {
            assert_eq!(failed.to_string(), said);
        }
    }
}
