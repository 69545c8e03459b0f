//! Upstreams made on the fly, one for each origin (scheme, host and port) that is fetched from.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use tokio::net::lookup_host;
use url::{Host, Position, Url};

use super::error::{FetchError, FetchErrorKind};
use super::public::is_public;
use crate::snapshot;
use crate::state::Shared;
use headgate_upstream::one_server;
use headgate_upstream::Upstream;

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
    if public_only && !shared.origins.is_closed() {
        address = public_address(&url).await?.to_string();
        key = format!("{key} at {address}");
    }
    let origins = &shared.origins;
    let upstream = match origins.get(&key, shared.clock.now_ms()) {
        Some(upstream) => upstream,
        None => origins
            .add(key, &described(&url, &address), shared.clock.now_ms())
            .map_err(FetchError::refused)?,
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

/// An origin as the configuration would describe it.
fn described(url: &Url, address: &str) -> snapshot::Upstream {
    let mut upstream = one_server(url[..Position::BeforePath].to_owned(), address.to_owned());
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
