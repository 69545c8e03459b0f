//! Requests that hooks and tasks make themselves: to a URL, to an upstream, or to the gateway's own routes.
//!
//! # How it works
//! [`fetch`] finds the way (an upstream of the configuration, or one made on the fly for a URL's origin), and makes attempts
//! as `forward` does: a pooled connection or a new one, the request, the response's head. A body that came with its head is
//! taken at once and its connection is free again; else [`FetchedBody`] reads it on demand, and dropping that
//! closes the connection. One watch guards all waits: it is armed anew with each step forward.

mod attempt;
mod body;
mod error;
mod origins;
mod public;
mod redirect;
mod subrequest;
mod traced;
mod upload;

use std::rc::Rc;

use headgate_route::Tried;
use headgate_wire::{is_idempotent, ChunkLimits, Head, HeadLimits, Lenient, ResponseHead};

use crate::hooks::exchange::Exchange;
use crate::http::h1::request_head::field;
use crate::state::Shared;
pub use body::FetchedBody;
pub use error::{FetchError, FetchErrorKind};
use headgate_net::clock::Clock;
use headgate_net::deadline::Watched;
use headgate_net::limits::Limit;
use headgate_shared::metrics::Counter;
use headgate_upstream::{binds_connection, HostRule, Lease, Upstream, Wanted};
pub(crate) use traced::fetch;
use upload::Upload;
pub use upload::{upload_channel, UploadEnd};

/// A request to make.
pub struct FetchRequest {
    /// The method, a token.
    pub method: Vec<u8>,
    /// Where it goes.
    pub to: FetchTo,
    /// Its fields; those of the framing and `Host` are not among them.
    pub headers: Head,
    /// The Host field, if it is not to be that of the destination.
    pub host: Option<Vec<u8>>,
    /// What follows the head.
    pub body: FetchBody,
    /// The longest wait for each step forward, in milliseconds; `None` for the configured `timeouts.fetch`.
    pub timeout_ms: Option<u64>,
    /// So many redirects are followed; with 0 a redirect is a response like others.
    pub redirects: u32,
    /// Only addresses of the public internet: for URLs that depend on a client's input.
    pub public_only: bool,
}

/// Where a fetch goes.
pub enum FetchTo {
    /// An absolute URL, `http` or `https`.
    Url(String),
    /// A server of the upstream with this name, and the request's target.
    Upstream(String, Vec<u8>),
    /// The gateway's own routes, on behalf of the client of this exchange, and the request's target.
    Own(Rc<Exchange>, Vec<u8>),
}

/// The body of a fetch.
pub enum FetchBody {
    /// None.
    None,
    /// All of it; it can be sent again.
    Bytes(Rc<[u8]>),
    /// Piece by piece.
    Stream(UploadEnd),
    /// It was a stream and is on its way: it cannot be had again.
    Spent,
}

/// A response whose head is there.
pub struct Fetched {
    /// The head.
    pub head: ResponseHead,
    /// The body, or the way to it.
    pub body: FetchedBody,
    /// Where it came from, after redirects: a URL, or the target for an upstream or the own routes.
    pub url: String,
    /// How many redirects were followed.
    pub redirected: u32,
}

/// A request, and those that it is redirected to.
async fn follow(shared: &Rc<Shared>, mut request: FetchRequest) -> Result<Fetched, FetchError> {
    let mut redirected = 0;
    loop {
        shared.metrics.count(Counter::Fetches);
        let fetched = match once(shared, &mut request).await {
            Ok(fetched) => fetched,
            Err(error) => {
                shared.metrics.count(Counter::FetchFailures);
                if error.kind == FetchErrorKind::Timeout {
                    shared.metrics.count(Counter::TimeoutFetch);
                }
                return Err(error);
            }
        };
        if request.redirects == 0 || !redirect::follow(&mut request, &fetched.head, &fetched.url)? {
            let redirected_fetch = Fetched {
                redirected,
                ..fetched
            };
            return Ok(redirected_fetch);
        }
        redirected += 1;
        if redirected > request.redirects {
            return Err(FetchError::new(
                FetchErrorKind::Redirect,
                format!(
                    "more than {} redirects; hint: allow more with `redirects=`, or look for a loop",
                    request.redirects
                ),
            ));
        }
    }
}

/// One request without redirects.
async fn once(shared: &Rc<Shared>, request: &mut FetchRequest) -> Result<Fetched, FetchError> {
    let permit = FetchPermit::take(shared)?;
    let destination = FetchTarget::find(shared, request).await?;
    let tables = shared.tables();
    let timeout_ms = request.timeout_ms.unwrap_or(tables.timeouts.fetch);
    let connect_ms = destination
        .upstream
        .as_ref()
        .and_then(|upstream| upstream.timeouts.connect)
        .unwrap_or(tables.timeouts.connect);
    let lenient = destination
        .upstream
        .as_ref()
        .map_or(Lenient::NONE, |upstream| upstream.lenient);
    let call = Call {
        shared,
        is_head: request.method == b"HEAD",
        is_idempotent: is_idempotent(&request.method),
        head_limits: HeadLimits {
            lenient,
            ..tables.head_limits()
        },
        chunk_limits: ChunkLimits {
            lenient,
            ..tables.chunk_limits().from_server()
        },
        watch: Rc::new(shared.deadlines.watch(&shared.clock)),
        timeout_ms,
        connect_ms: connect_ms.min(timeout_ms),
    };
    shared.busy.notify_one();
    let (whole, mut upload) = match std::mem::replace(&mut request.body, FetchBody::None) {
        FetchBody::None | FetchBody::Spent => (None, None),
        FetchBody::Bytes(bytes) => {
            request.body = FetchBody::Bytes(bytes.clone());
            (Some(bytes), None)
        }
        FetchBody::Stream(end) => {
            request.body = FetchBody::Spent;
            (None, Some(Upload::new(end)))
        }
    };
    let mut response = destination
        .serve(&call, request, whole.as_deref(), &mut upload)
        .await?;
    let body = FetchedBody::new(&call, &mut response, upload, permit)?;
    Ok(Fetched {
        head: response.head,
        body,
        url: destination.url,
        redirected: 0,
    })
}

/// What stays the same over the attempts of one request.
struct Call<'a> {
    shared: &'a Rc<Shared>,
    is_head: bool,
    is_idempotent: bool,
    head_limits: HeadLimits,
    chunk_limits: ChunkLimits,
    watch: Rc<Watched>,
    timeout_ms: u64,
    connect_ms: u64,
}

impl Call<'_> {
    /// The next step may take so long.
    fn arm(&self) {
        self.watch.arm(Limit::Fetch, self.timeout_ms);
    }

    fn note_failed(&self, upstream: &Upstream, server: usize, error: &FetchError) {
        let metrics = &self.shared.metrics;
        metrics.count(Counter::UpstreamFailures);
        if let Some(failure) = &error.of_server {
            upstream.log_failure(server, &failure.to_log(), self.clock().now_us());
        }
        upstream.failed(server, self.clock().now_ms(), error.failed_by(), metrics);
    }

    fn clock(&self) -> &Clock {
        &self.shared.clock
    }
}

/// Where a request goes: an upstream, or a stream in memory to the own routes.
struct FetchTarget {
    upstream: Option<Rc<Upstream>>,
    /// It is one of the configuration: it counts load and failures.
    is_named: bool,
    own: Option<Rc<Exchange>>,
    host: Vec<u8>,
    target: Vec<u8>,
    url: String,
}

impl FetchTarget {
    async fn find(shared: &Rc<Shared>, request: &FetchRequest) -> Result<Self, FetchError> {
        match &request.to {
            FetchTo::Url(url) => {
                let origin = origins::find(shared, url, request.public_only).await?;
                Ok(Self {
                    upstream: Some(origin.upstream),
                    is_named: false,
                    own: None,
                    host: origin.host.into_bytes(),
                    target: origin.target.into_bytes(),
                    url: origin.url,
                })
            }
            FetchTo::Upstream(name, target) => {
                let tables = shared.tables();
                let index = tables.upstream_index(name).ok_or_else(|| {
                    FetchError::refused(format!(
                        "there is no upstream `{name}` any more; hint: it left with a reload"
                    ))
                })?;
                let upstream = tables.upstreams[index].clone();
                let host = match &upstream.host {
                    HostRule::Literal(host) => host.clone().into_bytes(),
                    // there is no requested host here that could be preserved: each server's own name
                    HostRule::Preserve | HostRule::Server => Vec::new(),
                };
                Ok(Self {
                    upstream: Some(upstream),
                    is_named: true,
                    own: None,
                    host,
                    url: String::from_utf8_lossy(target).into_owned(),
                    target: target.clone(),
                })
            }
            FetchTo::Own(exchange, target) => Ok(Self {
                upstream: None,
                is_named: false,
                host: exchange.request.borrow().host().to_vec(),
                own: Some(exchange.clone()),
                url: String::from_utf8_lossy(target).into_owned(),
                target: target.clone(),
            }),
        }
    }

    /// Makes attempts until one has a response.
    async fn serve(
        &self,
        call: &Call<'_>,
        request: &FetchRequest,
        whole: Option<&[u8]>,
        upload: &mut Option<Upload>,
    ) -> Result<attempt::FetchHead, FetchError> {
        if let Some(exchange) = &self.own {
            let server = subrequest::open(call.shared, exchange)?;
            let head_bytes = self.head_bytes(request, &self.host, whole, upload.is_some());
            return attempt::on_stream(call, server, &head_bytes, whole, upload).await;
        }
        let upstream = self
            .upstream
            .as_ref()
            .expect("a way leads to an upstream or to the own routes");
        let metrics = &call.shared.metrics;
        let mut tried = Tried::new();
        let mut failure = None;
        for _ in 0..=upstream.retries {
            let Some(server) = upstream.pick(call.clock().now_ms(), Wanted::default(), &tried, metrics)
            else {
                break;
            };
            tried.insert(server);
            let lease = self
                .is_named
                .then(|| Lease::new(metrics.clone(), upstream, server));
            let host = if self.host.is_empty() {
                upstream.servers[server].host.as_bytes()
            } else {
                &self.host
            };
            let head_bytes = self.head_bytes(request, host, whole, upload.is_some());
            let began_us = call.clock().now_us();
            match attempt::run(call, upstream, server, &head_bytes, whole, upload).await {
                Ok(mut response) => {
                    if let Some(server) = &mut response.server {
                        let head = Some(&response.head.head);
                        server.is_bound = binds_connection(&request.headers, response.head.status, head);
                    }
                    let took_us = call.clock().tick() - began_us;
                    let came = (response.head.status, took_us);
                    upstream.responded(server, call.clock().now_ms(), came, metrics);
                    response.lease = lease;
                    return Ok(response);
                }
                Err(error) => {
                    call.note_failed(upstream, server, &error);
                    let was_sent = upload.as_ref().is_some_and(|upload| upload.has_begun);
                    let again = error.retry().on_another_server(call.is_idempotent);
                    failure = Some(error);
                    if was_sent || !again {
                        break;
                    }
                }
            }
        }
        Err(failure.unwrap_or_else(|| no_server(upstream)))
    }

    /// The head of the request.
    fn head_bytes(
        &self,
        request: &FetchRequest,
        host: &[u8],
        whole: Option<&[u8]>,
        streams: bool,
    ) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.target.len() + request.headers.len_hint() + 256);
        out.extend_from_slice(&request.method);
        out.push(b' ');
        out.extend_from_slice(&self.target);
        out.extend_from_slice(b" HTTP/1.1\r\n");
        field(&mut out, b"Host", &[request.host.as_deref().unwrap_or(host)]);
        request.headers.write_fields(&mut out);
        if request.headers.get(b"user-agent").is_none() {
            field(&mut out, b"User-Agent", &[b"headgate"]);
        }
        if streams {
            field(&mut out, b"Transfer-Encoding", &[b"chunked"]);
        } else if let Some(body) = whole {
            let mut length = itoa::Buffer::new();
            field(
                &mut out,
                b"Content-Length",
                &[length.format(body.len()).as_bytes()],
            );
        }
        out.extend_from_slice(b"\r\n");
        out
    }
}

fn no_server(upstream: &Upstream) -> FetchError {
    FetchError::new(
        FetchErrorKind::Connect,
        format!("no server of upstream `{}` can take the request", upstream.name),
    )
}

/// Permission for one of a worker's concurrent fetches, until dropped.
pub(crate) struct FetchPermit(Rc<Shared>);

impl FetchPermit {
    fn take(shared: &Rc<Shared>) -> Result<Self, FetchError> {
        let most = shared.tables().limits.max_fetches;
        if shared.fetches.get() >= most {
            shared.metrics.count(Counter::LimitFetches);
            return Err(FetchError::refused(format!(
                "`{most}` fetches are under way in this worker already; hint: read or close their responses, or raise \
                 `limits.max_fetches`"
            )));
        }
        shared.fetches.set(shared.fetches.get() + 1);
        Ok(Self(shared.clone()))
    }
}

impl Drop for FetchPermit {
    fn drop(&mut self) {
        self.0.fetches.set(self.0.fetches.get() - 1);
    }
}
