//! Servers that code names in a text: where they listen, whether they speak TLS, and how they are connected to.

use headgate_net::tls::spec::UpstreamTls;
use headgate_route::Metadata;

use crate::address::Address;
use crate::spec::{Keepalive, Queue, RouteTimeouts, Server, Upstream, UpstreamProtocol};

/// Idle connections kept, for how long, and how old they become (milliseconds): as for an upstream of the configuration.
const MAX_IDLE: usize = 1024;
const IDLE_TIMEOUT_MS: u64 = 60_000;
const MAX_AGE_MS: u64 = 3_600_000;

const HINT: &str = "write `10.0.0.1:80`, `[::1]:80`, `name:80`, `unix:/path`, `http://name:80` or `https://name:443`, and behind it \
    `proxy_protocol=v1|v2`, `source=client|ADDRESS`, and with TLS `server_name=NAME`, `ca=FILE`, `verify=false`";

/// One server, as the configuration would describe an upstream of it.
pub fn one_server(name: String, address: String) -> Upstream {
    Upstream {
        lenient: Vec::new(),
        protocol: UpstreamProtocol::Http1,
        grpc_web: false,
        name,
        balance: "round_robin".to_owned(),
        hash_on: "source".to_owned(),
        hash_algorithm: "ring".to_owned(),
        hash_bound_percent: 0,
        sticky: None,
        outlier: None,
        slow_start: 0,
        panic_percent: 0,
        overprovisioning_percent: 140,
        zone: None,
        subset_fallback: None,
        servers: vec![Server {
            address,
            connect: None,
            host: None,
            tls: false,
            weight: 1,
            // there is no other server to turn to
            max_fails: 0,
            fail_timeout: 0,
            backup: false,
            priority: 0,
            zone: None,
            metadata: Metadata::new(),
            max_connections: 0,
        }],
        keepalive: Keepalive {
            max_idle: MAX_IDLE,
            min_idle: 0,
            idle_timeout: IDLE_TIMEOUT_MS,
            max_age: MAX_AGE_MS,
            max_requests: 0,
            ping: 0,
        },
        retries: 0,
        retry: None,
        hedge: None,
        adaptive_limit: None,
        circuit_breaker: None,
        max_connections: 0,
        queue: Queue::default(),
        deadline: None,
        fallback: None,
        pull: false,
        timeouts: RouteTimeouts::default(),
        drain_timeout: 0,
        host: "server".to_owned(),
        proxy_protocol: None,
        source: None,
        tls: None,
    }
}

/// The most servers of a list.
const MAX_LISTED: usize = 64;
/// For how long a server of a list is left out after a failure (milliseconds): as for an upstream of the configuration.
const LEFT_OUT_MS: u64 = 10_000;

/// Reads a server's address with its options, such as `https://10.0.0.1:8443 server_name=app.example proxy_protocol=v2`, or
/// several with commas between them: they take turns, and where one fails another is tried, if a retry is safe.
///
/// # Errors
/// The text is none, in one sentence and a hint.
pub fn describe_server(text: &str) -> Result<Upstream, String> {
    if !text.contains(',') {
        return describe_one(text);
    }
    let mut listed = text.split(',').map(|one| describe_one(one.trim_ascii()));
    let mut all = listed.next().unwrap_or_else(|| describe_one(""))?;
    for one in listed {
        let one = one?;
        if (&one.proxy_protocol, &one.source, &one.tls) != (&all.proxy_protocol, &all.source, &all.tls) {
            return Err(format!(
                "the servers of `{text}` are not alike\nhint: give all of them the same scheme and options"
            ));
        }
        all.servers.extend(one.servers);
    }
    if all.servers.len() > MAX_LISTED {
        return Err(format!(
            "`{text}` has more than 64 servers\nhint: choose among them"
        ));
    }
    for server in &mut all.servers {
        (server.max_fails, server.fail_timeout) = (1, LEFT_OUT_MS);
    }
    all.retries = u32::try_from(all.servers.len() - 1).unwrap_or(0);
    text.clone_into(&mut all.name);
    Ok(all)
}

fn describe_one(text: &str) -> Result<Upstream, String> {
    let mut words = text.split_ascii_whitespace();
    let url = words.next().unwrap_or_default();
    let (address, is_secure) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(authority), _) => (with_port(authority, 443), true),
        (_, Some(authority)) => (with_port(authority, 80), false),
        (None, None) => (url.to_owned(), false),
    };
    if address.parse::<Address>().is_err() {
        return Err(format!(
            "`{url}` is not a valid address of a server\nhint: {HINT}"
        ));
    }
    let mut described = one_server(text.to_owned(), address);
    // for others than the one who named it the client's request stays what it is
    "preserve".clone_into(&mut described.host);
    described.servers[0].tls = is_secure;
    let mut tls = UpstreamTls::default();
    for option in words {
        match option.split_once('=') {
            Some(("proxy_protocol", version @ ("v1" | "v2"))) => {
                described.proxy_protocol = Some(version.to_owned());
            }
            Some(("source", source)) if source == "client" || source.parse::<std::net::IpAddr>().is_ok() => {
                described.source = Some(source.to_owned());
            }
            Some(("server_name", name)) if is_secure && !name.is_empty() => {
                tls.server_name = Some(name.to_owned());
            }
            Some(("ca", file)) if is_secure && !file.is_empty() => tls.ca.push(file.to_owned()),
            Some(("verify", "true")) if is_secure => tls.verify = true,
            Some(("verify", "false")) if is_secure => tls.verify = false,
            _ => {
                return Err(format!(
                    "`{option}` is not a valid option of the server `{url}`\nhint: {HINT}"
                ))
            }
        }
    }
    described.tls = is_secure.then_some(tls);
    Ok(described)
}

/// Whether a text names a server: see [`describe_server`].
pub fn is_server_address(text: &str) -> bool {
    describe_server(text).is_ok()
}

/// The authority of a URL without a path, with the port that its scheme has if it names none.
fn with_port(authority: &str, port: u16) -> String {
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let after_host = authority.rsplit_once(']').map_or(authority, |(_, after)| after);
    if after_host.contains(':') {
        authority.to_owned()
    } else {
        format!("{authority}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_say_whether_tls_is_spoken_and_on_which_port() {
        let read = |text: &str| {
            let described = describe_server(text).expect(text);
            (described.servers[0].address.clone(), described.tls.is_some())
        };
        assert_eq!(read("10.0.0.1:80"), ("10.0.0.1:80".to_owned(), false));
        assert_eq!(read("http://app.test"), ("app.test:80".to_owned(), false));
        assert_eq!(read("https://app.test/"), ("app.test:443".to_owned(), true));
        assert_eq!(read("https://[::1]"), ("[::1]:443".to_owned(), true));
        assert_eq!(read("https://[::1]:8443"), ("[::1]:8443".to_owned(), true));
        assert_eq!(
            read("unix:/run/app.sock"),
            ("unix:/run/app.sock".to_owned(), false)
        );
    }

    #[test]
    fn options_are_those_of_an_upstream() {
        let text =
            "https://10.0.0.1:1 server_name=app.test ca=/ca.pem verify=true proxy_protocol=v2 source=client";
        let described = describe_server(text).unwrap();
        assert_eq!(described.proxy_protocol.as_deref(), Some("v2"));
        assert_eq!(described.source.as_deref(), Some("client"));
        let tls = described.tls.unwrap();
        assert_eq!(tls.server_name.as_deref(), Some("app.test"));
        assert_eq!((tls.ca, tls.verify), (vec!["/ca.pem".to_owned()], true));
    }

    #[test]
    fn servers_of_a_list_stand_in_for_each_other() {
        let listed = describe_server("https://a:1 verify=false, https://b:2 verify=false").unwrap();
        let addresses: Vec<&str> = listed.servers.iter().map(|one| &*one.address).collect();
        assert_eq!((addresses, listed.retries), (vec!["a:1", "b:2"], 1));
        assert!(listed.servers.iter().all(|one| one.max_fails == 1 && one.tls));
    }

    #[test]
    fn what_names_no_server_is_refused() {
        let many = vec!["a:1"; 65].join(",");
        for text in [
            ",",
            "a:1,",
            "a:1,b",
            "a:1, https://b:1",
            "a:1 proxy_protocol=v1, b:1",
            &many,
            "",
            "name",
            "10.0.0.1:0",
            "[::1]:0",
            "name:0",
            "name:65536",
            "unix:",
            "unix:app.sock",
            "https://",
            "https://name:443/path",
            "https://user@name:443",
            "ftp://name:21",
            "10.0.0.1:80 weight=2",
            "10.0.0.1:80 ca=/ca.pem",
            "10.0.0.1:80 source=nowhere",
            "10.0.0.1:80 proxy_protocol=v3",
            "10.0.0.1:80 proxy_protocol",
        ] {
            assert!(!is_server_address(text), "{text}");
        }
    }
}
