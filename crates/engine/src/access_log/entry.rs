//! The data of one access log line.

use std::rc::Rc;

use headgate_net::tls::TlsInfo;

use super::steps::Steps;

/// What is known of one finished request. Text that a peer chose is in byte slices: it may hold anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Entry<'a> {
    /// When the request's head was complete, in milliseconds since 1970.
    pub time_unix_ms: u64,
    /// Address of the client.
    pub client: &'a str,
    /// Method as received.
    pub method: &'a [u8],
    /// Target as received.
    pub target: &'a [u8],
    /// Authority that the client requested.
    pub host: &'a [u8],
    /// `HTTP/1.1` and the like.
    pub version: &'static str,
    /// What was agreed in the TLS handshake; absent on a plain connection.
    pub tls: Option<TlsFacts<'a>>,
    /// Status sent to the client.
    pub status: u16,
    /// Bytes read from the client for this request, head and body.
    pub request_bytes: u64,
    /// Bytes sent to the client for this request, head and body.
    pub response_bytes: u64,
    /// Those without the head: what nginx calls `$body_bytes_sent`.
    pub body_bytes: u64,
    /// The `Referer` field.
    pub referer: Option<&'a [u8]>,
    /// The `User-Agent` field.
    pub user_agent: Option<&'a [u8]>,
    /// Id of the request.
    pub request_id: &'a str,
    /// Ids of the trace and of the request's span in it; "" without traces.
    pub trace: (&'a str, &'a str),
    /// Name of the route, "" if none was reached.
    pub route: &'a str,
    /// Name of the upstream, "" if none was chosen.
    pub upstream: &'a str,
    /// Address of the last server tried, "" if none was.
    pub server: &'a str,
    /// Servers tried.
    pub attempts: u32,
    /// Microseconds of all attempts together spent waiting for a place on a server.
    pub queue_us: u64,
    /// Microseconds of all attempts together spent on connecting to servers.
    pub connect_us: u64,
    /// Microseconds from sending the request, in its last attempt, to the head of the server's response.
    pub head_us: u64,
    /// When the head was complete, in microseconds on the worker's clock: from then on begins are counted.
    pub started_us: u64,
    /// Microseconds from the complete head to the last byte sent.
    pub total_us: u64,
    /// Microseconds spent in hooks.
    pub hook_us: u64,
    /// Each step with its begin; none where nobody has kept them.
    pub steps: Option<&'a Steps>,
    /// What each hook took.
    pub hooks: &'a [HookTime],
    /// Name of the limit or timeout that was hit, "" if none was.
    pub limit: &'a str,
    /// What failed, "" if nothing did.
    pub error: &'a str,
}

impl Entry<'_> {
    /// Microseconds from the complete head to a moment on the worker's clock; below 0 before it.
    pub(super) fn since_head(&self, moment_us: u64) -> i64 {
        let apart = i64::try_from(moment_us.abs_diff(self.started_us)).unwrap_or(i64::MAX);
        if moment_us < self.started_us {
            -apart
        } else {
            apart
        }
    }
}

/// What is known of a client's TLS.
#[derive(Clone, Copy, Debug, Default)]
pub struct TlsFacts<'a> {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'a str,
    /// The cipher suite.
    pub cipher: &'a str,
    /// The server name that the client sent, "" if it sent none.
    pub server_name: &'a str,
    /// The application protocol agreed on, "" if none was.
    pub alpn: &'a str,
    /// Whether a session was taken up again.
    pub is_resumed: bool,
    /// The verdict on the client's certificate, `none` without one.
    pub client_certificate: &'a str,
    /// The subject of that certificate, as it is written there.
    pub client_subject: &'a str,
}

impl<'a> From<&'a TlsInfo> for TlsFacts<'a> {
    fn from(info: &'a TlsInfo) -> Self {
        let shown = info.client_certificate.as_ref();
        Self {
            version: info.version,
            cipher: info.cipher,
            server_name: info.server_name.as_deref().unwrap_or_default(),
            alpn: &info.alpn,
            is_resumed: info.is_resumed,
            client_certificate: shown.map_or("none", |shown| shown.verdict),
            client_subject: shown.map_or("", |shown| &shown.subject),
        }
    }
}

/// What one hook of a request took.
#[derive(Debug)]
pub struct HookTime {
    /// The phase's name.
    pub phase: &'static str,
    /// The hook's name.
    pub name: Rc<str>,
    /// Microseconds, waiting included; of a hook that is called for each piece, the sum.
    pub us: u64,
    /// When it was called, the first time if there were several, on the worker's clock.
    pub began_us: u64,
    /// When it ended, the last time, on the worker's clock.
    pub ended_us: u64,
}
