//! The URL of Redis servers: addresses, how they are found, and the login.

use std::fmt;

use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, RedisError};

/// Where a server listens.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum ServerAddress {
    Tcp(String, u16),
    Unix(std::path::PathBuf),
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(formatter, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(formatter, "{host}:{port}"),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

/// How the server for a command is found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Finding {
    /// The first of the addresses that responds.
    Listed,
    /// The servers are Sentinels, which know the primary of this name.
    Sentinel(String),
    /// The servers are some nodes of a cluster: the key decides.
    Cluster,
}

/// A URL, read.
pub(super) struct Address {
    pub(super) finding: Finding,
    pub(super) servers: Vec<ServerAddress>,
    pub(super) is_tls: bool,
    /// Database, user and password.
    pub(super) login: RedisConnectionInfo,
}

const FORMS: &str = "`redis://host:6379/0`, `redis://a,b:6380/0`, `redis+sentinel://a,b/NAME/0`, \
                     `redis+cluster://a,b`, each with `rediss` for TLS, or `unix:///path`";

impl Address {
    /// Reads `redis[s][+sentinel|+cluster]://[user:password@]host[:port][,host[:port]...][/name][/db]` or `unix:///path`.
    pub(super) fn read(url: &str) -> Result<Self, String> {
        let bad = |why: &dyn std::fmt::Display| format!("not a valid Redis URL: {why}; hint: {FORMS}");
        let (scheme, rest) = url.split_once("://").ok_or_else(|| bad(&"it has no scheme"))?;
        let (base, finding) = scheme.split_once('+').unwrap_or((scheme, ""));
        if finding.is_empty() && matches!(base, "unix" | "redis+unix") {
            return Self::unix(url).map_err(|error| bad(&error));
        }
        if !matches!(base, "redis" | "rediss") {
            return Err(bad(&format!("`{scheme}` is not a valid scheme")));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = authority
            .rsplit_once('@')
            .map_or(("", authority), |(user, hosts)| (user, hosts));
        let (finding, database, usual_port) = match finding {
            "" => (Finding::Listed, path, 6379),
            "cluster" if path.is_empty() || path == "0" => (Finding::Cluster, "", 6379),
            "cluster" => return Err(bad(&"a cluster has database 0 only")),
            "sentinel" => {
                let (name, database) = path.split_once('/').unwrap_or((path, ""));
                if name.is_empty() {
                    return Err(bad(&"the name of the primary is missing"));
                }
                (Finding::Sentinel(name.to_owned()), database, 26379)
            }
            _ => return Err(bad(&format!("`{scheme}` is not a valid scheme"))),
        };
        let at = if user.is_empty() { "" } else { "@" };
        let read = |host: &str| -> Result<(ServerAddress, RedisConnectionInfo), RedisError> {
            // the crate's own reading of one host, with its percent-decoding
            let has_port = host
                .rsplit_once(':')
                .is_some_and(|(_, port)| !port.ends_with(']'));
            let port = if has_port {
                String::new()
            } else {
                format!(":{usual_port}")
            };
            let one = format!("redis://{user}{at}{host}{port}/{database}").into_connection_info()?;
            let server = match one.addr() {
                ConnectionAddr::Tcp(host, port) => ServerAddress::Tcp(host.clone(), *port),
                _ => ServerAddress::Tcp(host.to_owned(), usual_port),
            };
            Ok((server, one.redis_settings().clone()))
        };
        let read: Vec<_> = hosts
            .split(',')
            .map(read)
            .collect::<Result<_, _>>()
            .map_err(|error| bad(&error))?;
        let login = read[0].1.clone();
        Ok(Self {
            finding,
            servers: read.into_iter().map(|(server, _)| server).collect(),
            is_tls: base == "rediss",
            login,
        })
    }

    fn unix(url: &str) -> Result<Self, RedisError> {
        let info = url.into_connection_info()?;
        let servers = match info.addr() {
            ConnectionAddr::Unix(path) => vec![ServerAddress::Unix(path.clone())],
            _ => Vec::new(),
        };
        Ok(Self {
            finding: Finding::Listed,
            servers,
            is_tls: false,
            login: info.redis_settings().clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> ServerAddress {
        ServerAddress::Tcp(host.to_owned(), port)
    }

    #[test]
    fn every_form_is_read() {
        let listed =
            Address::read("rediss://me:p%40ss@a,b:7000,[::1]:7001/2").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(listed.servers, [tcp("a", 6379), tcp("b", 7000), tcp("::1", 7001)]);
        assert!(listed.is_tls);
        assert_eq!((listed.login.db(), listed.login.password()), (2, Some("p@ss")));
        let sentinel = Address::read("redis+sentinel://s1,s2:5000/main/3").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(sentinel.finding, Finding::Sentinel("main".to_owned()));
        assert_eq!(sentinel.servers, [tcp("s1", 26379), tcp("s2", 5000)]);
        assert_eq!(sentinel.login.db(), 3);
        let cluster = Address::read("redis+cluster://n1,n2").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((cluster.finding, cluster.servers.len()), (Finding::Cluster, 2));
    }

    #[test]
    fn what_is_no_such_url_is_refused_with_the_forms() {
        for url in [
            "",
            "http://a",
            "redis+x://a",
            "redis+sentinel://a",
            "redis+cluster://a/1",
            "redis://a:x",
        ] {
            let error = Address::read(url).err().unwrap_or_default();
            assert!(error.contains("hint:"), "{url}: {error}");
        }
    }
}
