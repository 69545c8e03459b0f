//! Upstreams made on the fly, one for each origin (scheme, host and port) that is fetched from.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use tokio::net::lookup_host;
use url::{Host, Position, Url};

use super::error::{FetchError, FetchErrorKind};
use super::public::is_public;
use crate::snapshot;
use crate::upstream::Upstream;
use crate::worker::Shared;

/// Origins remembered; past them the one not used for longest is forgotten with its idle connections.
const MAX_ORIGINS: usize = 256;

/// Idle connections kept to an origin, and for how long (milliseconds): as for an upstream of the configuration.
const MAX_IDLE: usize = 1024;
const IDLE_TIMEOUT_MS: u64 = 60_000;

/// The origins of a worker.
#[derive(Default)]
pub(crate) struct Origins {
    known: RefCell<HashMap<String, Known>>,
    /// A test has named all origins there are.
    is_closed: Cell<bool>,
}

struct Known {
    upstream: Rc<Upstream>,
    used_ms: u64,
}

/// A URL's origin and what goes into the request's head.
pub(super) struct Origin {
    pub(super) upstream: Rc<Upstream>,
    pub(super) host: String,
    pub(super) target: String,
    pub(super) url: String,
}

/// The origin of a URL. With `public_only` its name is resolved here and the connection goes to what was checked, so that
/// a name that changes its mind meanwhile changes nothing.
pub(super) async fn find(shared: &Rc<Shared>, text: &str, public_only: bool) -> Result<Origin, FetchError> {
    let url = parse(text)?;
    let mut address = server_address(&url);
    let mut key = url[..Position::BeforePath].to_owned();
    if public_only && !shared.origins.is_closed.get() {
        address = public_address(&url).await?.to_string();
        key = format!("{key} at {address}");
    }
    let origins = &shared.origins;
    let upstream = match origins.get(&key, shared.clock.now_ms()) {
        Some(upstream) => upstream,
        None => origins.add(key, &url, &address, shared.clock.now_ms())?,
    };
    Ok(Origin {
        upstream,
        host: url[Position::BeforeHost..Position::AfterPort].to_owned(),
        target: url[Position::BeforePath..Position::AfterQuery].to_owned(),
        url: url[..Position::AfterQuery].to_owned(),
    })
}

/// Reads a URL and refuses what is not fetched. The parser is the one of browsers (WHATWG), so that a host in a strange
/// form is judged as the address it really is.
pub(super) fn parse(text: &str) -> Result<Url, FetchError> {
    let url = Url::parse(text).map_err(|error| {
        let hint = if text.starts_with('/') {
            "for the gateway's own routes use `request.fetch`, for an upstream its `fetch`"
        } else {
            "write `http://host/path`"
        };
        FetchError::refused(format!("bad URL `{text}`: {error}; hint: {hint}"))
    })?;
    match url.scheme() {
        "http" | "https" => {}
        other => {
            return Err(FetchError::refused(format!(
                "the scheme `{other}` of `{text}` is not fetched; hint: `http` or `https`"
            )))
        }
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(FetchError::refused(format!(
            "the URL for `{}` carries credentials; hint: send them in a header, where logs do not show them",
            url.host_str().unwrap_or_default()
        )));
    }
    Ok(url)
}

fn server_address(url: &Url) -> String {
    let port = url.port_or_known_default().unwrap_or(80);
    match url.host() {
        Some(Host::Ipv6(address)) => format!("[{address}]:{port}"),
        Some(host) => format!("{host}:{port}"),
        None => String::new(),
    }
}

async fn public_address(url: &Url) -> Result<SocketAddr, FetchError> {
    let port = url.port_or_known_default().unwrap_or(80);
    let found: Vec<SocketAddr> = match url.host() {
        Some(Host::Ipv4(address)) => vec![SocketAddr::new(IpAddr::V4(address), port)],
        Some(Host::Ipv6(address)) => vec![SocketAddr::new(IpAddr::V6(address), port)],
        Some(Host::Domain(name)) => lookup_host((name, port))
            .await
            .map_err(|error| {
                FetchError::new(
                    FetchErrorKind::Connect,
                    format!("cannot resolve `{name}`: {error}"),
                )
            })?
            .collect(),
        None => Vec::new(),
    };
    // all of them: a name with one foot inside is not to be trusted
    match found.first() {
        Some(first) if found.iter().all(|address| is_public(address.ip())) => Ok(*first),
        _ => Err(FetchError::refused(format!(
            "`{}` is not on the public internet, and only that is allowed here (`public_only`)",
            url.host_str().unwrap_or_default()
        ))),
    }
}

impl Origins {
    fn get(&self, key: &str, now_ms: u64) -> Option<Rc<Upstream>> {
        let mut known = self.known.borrow_mut();
        let origin = known.get_mut(key)?;
        origin.used_ms = now_ms;
        Some(origin.upstream.clone())
    }

    /// For tests: an origin (`https://host`) or address is answered by this socket, without TLS, and of all others none is
    /// reached any more.
    pub(crate) fn stand_in(&self, origin: &str, socket: &str) -> Result<(), String> {
        self.is_closed.set(true);
        let mut described = server_at(origin.to_owned(), origin.to_owned());
        for server in &mut described.servers {
            server.connect = Some(socket.to_owned());
        }
        let upstream = Upstream::build(&described, &mut |_| 0).map(Rc::new)?;
        self.keep(origin.to_owned(), upstream, u64::MAX);
        Ok(())
    }

    fn add(&self, key: String, url: &Url, address: &str, used_ms: u64) -> Result<Rc<Upstream>, FetchError> {
        if self.is_closed.get() {
            return Err(FetchError::refused(format!(
                "`{key}` is not reached from a test; hint: name it in `upstreams`"
            )));
        }
        let upstream = Upstream::build(&described(url, address), &mut |_| 0)
            .map(Rc::new)
            .map_err(FetchError::refused)?;
        self.keep(key, upstream.clone(), used_ms);
        Ok(upstream)
    }

    fn keep(&self, key: String, upstream: Rc<Upstream>, used_ms: u64) {
        let mut known = self.known.borrow_mut();
        if known.len() >= MAX_ORIGINS {
            let oldest = known.iter().min_by_key(|(_, origin)| origin.used_ms);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                known.remove(&oldest);
            }
        }
        known.insert(key, Known { upstream, used_ms });
    }

    /// The upstream of a server that a hook named by its address, such as `10.0.0.1:443`.
    pub(crate) fn at_address(&self, address: &str, now_ms: u64) -> Result<Rc<Upstream>, String> {
        if let Some(upstream) = self.get(address, now_ms) {
            return Ok(upstream);
        }
        if self.is_closed.get() {
            return Err(format!(
                "`{address}` is not reached from a test; hint: name it in `upstreams`"
            ));
        }
        let mut described = server_at(address.to_owned(), address.to_owned());
        // for others than the one who named it the client's request stays what it is
        "preserve".clone_into(&mut described.host);
        let upstream = Upstream::build(&described, &mut |_| 0).map(Rc::new)?;
        self.keep(address.to_owned(), upstream.clone(), now_ms);
        Ok(upstream)
    }

    /// Closes idle connections that are too old or that their server closed.
    pub(crate) fn sweep(&self, now_ms: u64) {
        for origin in self.known.borrow().values() {
            origin.upstream.sweep(now_ms);
        }
    }

    /// Whether there are idle connections.
    pub(crate) fn has_idle(&self) -> bool {
        let known = self.known.borrow();
        known.values().any(|origin| origin.upstream.has_idle())
    }
}

/// An origin as the configuration would describe it.
fn described(url: &Url, address: &str) -> snapshot::Upstream {
    let mut upstream = server_at(url[..Position::BeforePath].to_owned(), address.to_owned());
    if url.scheme() == "https" {
        upstream.servers[0].tls = true;
        // the name of the URL, also where its address was looked up already
        upstream.tls = Some(snapshot::UpstreamTls {
            server_name: url.host_str().map(str::to_owned),
            ..snapshot::UpstreamTls::default()
        });
    }
    upstream
}

/// One server, as the configuration would describe an upstream of it.
fn server_at(name: String, address: String) -> snapshot::Upstream {
    snapshot::Upstream {
        protocol: snapshot::UpstreamProtocol::Http1,
        grpc_web: false,
        name,
        balance: "round_robin".to_owned(),
        servers: vec![snapshot::Server {
            address,
            connect: None,
            tls: false,
            weight: 1,
            // there is no other server to turn to
            max_fails: 0,
            fail_timeout: 0,
            backup: false,
            max_connections: 0,
        }],
        keepalive: snapshot::Keepalive {
            max_idle: MAX_IDLE,
            idle_timeout: IDLE_TIMEOUT_MS,
            max_requests: 0,
            ping: 0,
        },
        retries: 0,
        timeouts: snapshot::RouteTimeouts::default(),
        host: "server".to_owned(),
        proxy_protocol: None,
        source: None,
        tls: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_are_not_fetched_are_refused() {
        for text in [
            "/path",
            "host/path",
            "ftp://a/",
            "file:///etc/passwd",
            "http://",
            "http://user:word@a/",
            "http://a b/",
        ] {
            assert_eq!(parse(text).unwrap_err().kind, FetchErrorKind::Refused, "{text}");
        }
    }

    #[test]
    fn origin_not_used_for_longest_is_forgotten() {
        let origins = Origins::default();
        for number in 0..MAX_ORIGINS as u64 + 10 {
            let url = parse(&format!("http://host{number}/")).unwrap();
            let key = url[..Position::BeforePath].to_owned();
            origins.add(key, &url, &server_address(&url), number).unwrap();
        }
        assert_eq!(origins.known.borrow().len(), MAX_ORIGINS);
        assert!(origins.get("http://host9", 0).is_none());
        assert!(origins.get("http://host10", 0).is_some());
    }

    #[test]
    fn strange_forms_of_an_address_are_that_address() {
        for text in [
            "http://0x7f.1/",
            "http://2130706433/",
            "http://127.1/",
            "http://%31%32%37.0.0.1/",
        ] {
            assert_eq!(server_address(&parse(text).unwrap()), "127.0.0.1:80", "{text}");
        }
        assert_eq!(server_address(&parse("https://[::1]/").unwrap()), "[::1]:443");
    }
}
