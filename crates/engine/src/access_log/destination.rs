//! The names of the places an access log can go to.

use std::path::PathBuf;

const SYSLOG_PORT: u16 = 514;

/// Where an access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, appended to.
    File(PathBuf),
    /// The datagram socket of a local syslog daemon, usually `/dev/log`.
    SyslogUnix(PathBuf),
    /// `host:port` of a syslog server over UDP.
    SyslogUdp(String),
}

/// A destination that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no such access log destination: `{text}`; hint: use `stdout`, `stderr`, `file:/path`, `syslog:/dev/log` or \
     `syslog:udp://host:port`"
)]
pub struct DestinationError {
    text: String,
}

impl Destination {
    /// Reads `stdout`, `stderr`, `file:/path`, `syslog:/path` or `syslog:udp://host[:port]` (port 514 by default).
    pub fn parse(text: &str) -> Result<Self, DestinationError> {
        let refused = || DestinationError {
            text: text.to_owned(),
        };
        match text.split_once(':') {
            None if text == "stdout" => Ok(Self::Stdout),
            None if text == "stderr" => Ok(Self::Stderr),
            Some(("file", path)) if is_path(path) => Ok(Self::File(path.into())),
            Some(("syslog", path)) if path.starts_with('/') && is_path(path) => {
                Ok(Self::SyslogUnix(path.into()))
            }
            Some(("syslog", url)) => url
                .strip_prefix("udp://")
                .and_then(with_port)
                .map(Self::SyslogUdp)
                .ok_or_else(refused),
            _ => Err(refused()),
        }
    }
}

fn is_path(text: &str) -> bool {
    !text.is_empty() && !text.contains('\0')
}

/// `host:port`, with the port of syslog if `authority` has none.
fn with_port(authority: &str) -> Option<String> {
    let after_host = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    match authority[after_host..].rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_err() => None,
        Some(("", _)) if after_host == 0 => None,
        Some((host, _)) if host.contains(':') => None,
        Some(_) => Some(authority.to_owned()),
        None if authority.is_empty() => None,
        None => Some(format!("{authority}:{SYSLOG_PORT}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_read_and_others_refused() {
        let parse = |text| Destination::parse(text).map_err(|error| error.to_string());
        assert_eq!(parse("stdout"), Ok(Destination::Stdout));
        assert_eq!(parse("file:/a:b"), Ok(Destination::File("/a:b".into())));
        assert_eq!(
            parse("syslog:/dev/log"),
            Ok(Destination::SyslogUnix("/dev/log".into()))
        );
        assert_eq!(
            parse("syslog:udp://logs:5140"),
            Ok(Destination::SyslogUdp("logs:5140".into()))
        );
        assert_eq!(
            parse("syslog:udp://logs"),
            Ok(Destination::SyslogUdp("logs:514".into()))
        );
        assert_eq!(
            parse("syslog:udp://[::1]"),
            Ok(Destination::SyslogUdp("[::1]:514".into()))
        );
        assert_eq!(
            parse("syslog:udp://[::1]:5"),
            Ok(Destination::SyslogUdp("[::1]:5".into()))
        );
        for text in [
            "",
            "file:",
            "/var/log/a",
            "syslog:",
            "syslog:tcp://a:1",
            "syslog:udp://",
            "syslog:udp://:1",
            "syslog:udp://a:b",
            "syslog:udp://::1:5",
            "stdout:",
        ] {
            assert!(
                parse(text).is_err_and(|error| error.contains(&format!("`{text}`; hint: "))),
                "{text}"
            );
        }
    }
}
