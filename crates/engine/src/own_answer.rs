//! Answers that the gateway gives itself: from hooks, redirects, fixed texts, files and error pages.

use std::fs::File;
use std::future::poll_fn;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::task::Poll;

use headgate_wire::{write_chunk_size, write_last_chunk, Framing, Head, ResponseHead, Span, Version, CRLF};

use crate::bodies::begin::content_coding;
use crate::bodies::own::filter;
use crate::connection::{Connection, Next, NoRequest};
use crate::error_page::{self as page, reason_phrase};
use crate::exchange::{head_failure, request_id};
use crate::exchange_state::Exchange;
use crate::failure::Failure;
use crate::grpc;
use crate::hooks::{Answer, AnswerBody, BodyFailed, BodySource};
use crate::http1::request_body::RequestBody;
use crate::http1::request_head::field;
use crate::http1::response_head::{client_framing, write_end, write_status};
use crate::metrics::Counter;
use crate::own_tunnel;
use crate::peer::Broken;
use crate::phase_hooks::{poll_client, run_hooks, Departure};
use crate::snapshot::BodyHook;
use crate::static_files::{percent_decode, Conditions, FileBody};
use crate::tables::{Action, Route, Tables};
use crate::virtual_stream::VirtualEnd;
use crate::websocket::missing_version;
use crate::worker::Shared;
use headgate_coding::Coding;

/// What is read of a file at once.
const FILE_READ_BYTES: usize = 64 * 1024;

/// An answer of the gateway's own.
pub(crate) struct Own {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) body: OwnBody,
    /// The `response` hooks have had their say.
    is_final: bool,
    /// They have seen it and let it pass; so the body's hooks see it too.
    is_seen: bool,
    /// The hook that streams it may go on to read the request's body meanwhile.
    pub(crate) reads_on: bool,
}

impl Own {
    fn new(status: u16, headers: Vec<(Vec<u8>, Vec<u8>)>, body: OwnBody) -> Self {
        Self {
            status,
            headers,
            body,
            is_final: false,
            is_seen: false,
            reads_on: false,
        }
    }

    /// An answer of a `response` hook: no other one sees it.
    pub(crate) fn of_response_hook(answer: Box<Answer>) -> Self {
        Self {
            is_final: true,
            ..answer.into()
        }
    }

    /// An answer of a `request` hook.
    pub(crate) fn of_request_hook(answer: Box<Answer>) -> Self {
        Self {
            reads_on: matches!(answer.body, AnswerBody::Stream(_)),
            ..answer.into()
        }
    }
}

impl Own {
    /// The Content-Encoding that hooks want undone; `Err` for one that nobody here knows.
    fn coding(&self, hooks: &[BodyHook]) -> Result<Option<Coding>, ()> {
        let mut head = Head::empty();
        for (name, value) in &self.headers {
            // what is no field is refused where the head is written
            let _ = head.add(name, value);
        }
        content_coding(&head, hooks)
    }

    /// A client of HTTP/1.0 knows the end of a body without a length by the connection's.
    fn ends_with_connection(&self, exchange: &Exchange) -> bool {
        let request = exchange.request.borrow();
        let has_length = match self.body {
            OwnBody::Stream(_) => false,
            OwnBody::Bytes(_) => !exchange.has_response_trailers(),
            OwnBody::None(_) | OwnBody::Tunnel(_) | OwnBody::File { .. } => true,
        };
        request.version == Version::Http10 && !has_length && !request.is_head()
    }
}

pub(crate) enum OwnBody {
    /// No body, but perhaps the length that a GET would have had.
    None(Option<u64>),
    Bytes(Vec<u8>),
    Stream(Box<dyn BodySource>),
    Tunnel(VirtualEnd),
    File {
        file: File,
        start: u64,
        length: u64,
    },
}

impl From<Box<Answer>> for Own {
    fn from(answer: Box<Answer>) -> Self {
        let body = match answer.body {
            AnswerBody::Bytes(bytes) => OwnBody::Bytes(bytes),
            AnswerBody::Stream(source) => OwnBody::Stream(source),
            AnswerBody::Tunnel(end) => OwnBody::Tunnel(end),
        };
        Self::new(answer.status, answer.headers, body)
    }
}

/// Makes the answer of a route that is no proxy.
pub(crate) fn make(exchange: &Exchange, route: &Route, shared: &Shared) -> Result<Own, Failure> {
    let text = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    match &route.action {
        Action::Redirect { status, location } => {
            let location = fill_in(location, exchange);
            let headers = vec![text("location", &location)];
            Ok(Own::new(*status, headers, OwnBody::Bytes(Vec::new())))
        }
        Action::Respond {
            status,
            headers,
            body,
        } => {
            let headers = headers.iter().map(|(name, value)| text(name, value)).collect();
            Ok(Own::new(*status, headers, OwnBody::Bytes(body.clone())))
        }
        Action::Files(root) => {
            let request = exchange.request.borrow();
            let path = stripped_path(request.path(), route).unwrap_or_else(|| request.path().to_vec());
            let all = |name: &[u8]| {
                let values: Vec<&[u8]> = request.head.get_all(name).collect();
                (!values.is_empty()).then(|| values.join(&b", "[..]))
            };
            let (if_match, if_none_match) = (all(b"if-match"), all(b"if-none-match"));
            let condition = |name: &[u8]| request.head.get(name);
            let conditions = Conditions {
                if_match: if_match.as_deref(),
                if_none_match: if_none_match.as_deref(),
                if_modified_since: condition(b"if-modified-since"),
                if_unmodified_since: condition(b"if-unmodified-since"),
                if_range: condition(b"if-range"),
                range: condition(b"range"),
                now_unix_seconds: shared.clock.unix_ms(shared.clock.now_us()) / 1000,
            };
            let path = percent_decode(&path)
                .map_err(|_| Failure::client("bad_path", 400, "the path is badly escaped"))?;
            let answer = root.serve(request.method(), &path, &conditions);
            let told = |name| {
                answer
                    .headers
                    .iter()
                    .find(|(known, _)| known.eq_ignore_ascii_case(name))
                    .map(|(_, value)| value.clone())
            };
            match answer.status {
                404 => return Err(Failure::client("no_file", 404, "there is no such file")),
                405 => {
                    let mut failure = Failure::client("method_not_allowed", 405, "files can only be read");
                    failure.allow = told("allow");
                    return Err(failure);
                }
                _ => {}
            }
            let mut headers = answer.headers;
            if let (308, false, Some((_, location))) = (
                answer.status,
                request.query().is_empty(),
                headers
                    .iter_mut()
                    .find(|(name, _)| name.eq_ignore_ascii_case("location")),
            ) {
                location.push('?');
                location.push_str(&String::from_utf8_lossy(request.query()));
            }
            let body = match answer.body {
                FileBody::None => OwnBody::None(answer.content_length),
                FileBody::Bytes(bytes) => OwnBody::Bytes(bytes),
                FileBody::File { file, start, len } => OwnBody::File {
                    file,
                    start,
                    length: len,
                },
            };
            let headers = headers
                .iter()
                .filter(|(name, _)| !name.eq_ignore_ascii_case("content-length"));
            let headers = headers.map(|(name, value)| text(name, value)).collect();
            Ok(Own::new(answer.status, headers, body))
        }
        Action::Proxy { .. } | Action::Hooks => {
            let name = &route.name;
            Err(Failure::gateway(
                "no_answer",
                404,
                format!("no hook of the route `{name}` answered"),
            ))
        }
    }
}

/// The page of a failure.
pub(crate) fn error_page(exchange: &Exchange, failure: &Failure, shared: &Shared) -> Own {
    let id = request_id(exchange, shared);
    let request = exchange.request.borrow();
    if grpc::is_grpc(request.head.get(b"content-type")) {
        return grpc_answer(failure, id);
    }
    let mut own = page_of(failure, &id, request.head.get(b"accept"));
    if request.is_head() {
        if let OwnBody::Bytes(bytes) = &own.body {
            own.body = OwnBody::None(Some(bytes.len() as u64));
        }
    }
    own
}

/// The failure as a caller of gRPC understands it.
fn grpc_answer(failure: &Failure, id: String) -> Own {
    let status = itoa::Buffer::new()
        .format(grpc::status(failure))
        .as_bytes()
        .to_vec();
    Own {
        status: 200,
        headers: vec![
            (b"content-type".to_vec(), b"application/grpc".to_vec()),
            (b"grpc-status".to_vec(), status),
            (b"grpc-message".to_vec(), grpc::message(&failure.message)),
            (b"x-request-id".to_vec(), id.into_bytes()),
        ],
        body: OwnBody::None(None),
        is_final: true,
        is_seen: false,
        reads_on: false,
    }
}

fn page_of(failure: &Failure, id: &str, accept: Option<&[u8]>) -> Own {
    let (content_type, body) = page::render(failure.status, "", &failure.message, id, accept);
    let mut headers = vec![
        (b"content-type".to_vec(), content_type.as_bytes().to_vec()),
        (b"x-request-id".to_vec(), id.as_bytes().to_vec()),
    ];
    if let Some(version) = missing_version(failure) {
        headers.push((b"sec-websocket-version".to_vec(), version.into()));
    }
    if let Some(allow) = &failure.allow {
        headers.push((b"allow".to_vec(), allow.as_bytes().to_vec()));
    }
    // the `error` phase is where it is changed
    Own {
        status: failure.status,
        headers,
        body: OwnBody::Bytes(body),
        is_final: true,
        is_seen: false,
        reads_on: false,
    }
}

/// Answers (or not) a connection from which no request could be read.
pub(crate) async fn refuse(connection: &mut Connection, tables: &Rc<Tables>, none: NoRequest) -> Next {
    let shared = connection.shared.clone();
    if let NoRequest::Late { limit, .. } = &none {
        shared.metrics.count(limit.counter());
    }
    let Some((failure, limit)) = head_failure(&none) else {
        if let NoRequest::Gone = none {
            shared.metrics.count(Counter::ClientLeft);
        }
        return Next::Close;
    };
    let started = shared.clock.tick();
    shared.metrics.count(Counter::Requests);
    shared.metrics.count(if limit.is_empty() {
        Counter::BadRequests
    } else {
        Counter::LimitHead
    });
    shared.metrics.status(failure.status);
    let id = shared.next_id();
    let own = page_of(&failure, &id, None);
    let mut out = Vec::new();
    write_status(own.status, reason_phrase(own.status).as_bytes(), &mut out);
    for (name, value) in &own.headers {
        field(&mut out, name, &[value]);
    }
    write_date(&shared, &mut out);
    let OwnBody::Bytes(body) = &own.body else {
        return Next::Close;
    };
    let framing = client_framing(Framing::Length(body.len() as u64), None, Version::Http11, true);
    write_end(&Head::empty(), framing, Version::Http11, &mut out);
    out.extend_from_slice(body);
    let sent = connection
        .peer
        .write_all(&connection.watch, &out, tables.timeouts.send)
        .await;
    if let Some(log) = &tables.access_log {
        log.record(&crate::access_log::Entry {
            time_unix_ms: shared.clock.unix_ms(started),
            client: &connection.client.address,
            tls: connection.client.tls.as_deref().map(crate::tls::TlsInfo::facts),
            status: failure.status,
            response_bytes: out.len() as u64,
            request_id: &id,
            total_us: shared.clock.tick() - started,
            limit,
            error: failure.kind,
            ..Default::default()
        });
    }
    if sent.is_ok() {
        Next::Linger
    } else {
        Next::Close
    }
}

/// Sends an answer after `response` hooks have seen it.
pub(crate) async fn send(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    tables: &Rc<Tables>,
    own: Own,
    body: &mut RequestBody,
) -> Result<Next, Failure> {
    let is_clean = if own.reads_on {
        body.is_here(&connection.peer)
    } else {
        drop_rest(connection, exchange, body)
    };
    let persistent = exchange.request.borrow().persistent && !connection.shared.is_draining.get();
    let hooks = exchange
        .route
        .get()
        .filter(|_| !own.is_final)
        .map_or(&[][..], |route| &tables.routes[route].hooks.response);
    // the body's hooks run where the head's would, and not on what one of those gave instead
    let body_hooks = exchange
        .route
        .get()
        .filter(|_| !own.is_final)
        .map_or(&[][..], |route| &tables.routes[route].hooks.response_body);
    let own = if hooks.is_empty() && body_hooks.is_empty() {
        own
    } else {
        // as it comes: a `response` hook that sets another one does that coding itself
        let coding = own.coding(body_hooks);
        let own = after_hooks(connection, exchange, own, hooks).await?;
        let is_tunnel = matches!(own.body, OwnBody::Tunnel(_));
        if own.is_seen && !body_hooks.is_empty() && !is_tunnel {
            Box::pin(filter(
                connection, exchange, tables, own, body, body_hooks, coding,
            ))
            .await?
        } else {
            own
        }
    };
    // unless a `response` hook has made another status of the 101
    if own.status == 101 {
        if let OwnBody::Tunnel(end) = own.body {
            return own_tunnel::open(connection, exchange, tables, &own.headers, end).await;
        }
    }
    let persistent = persistent && !own.ends_with_connection(exchange);
    let readable = own.reads_on.then_some(&mut *body);
    write(
        connection,
        exchange,
        tables,
        own,
        !persistent || !is_clean,
        readable,
    )
    .await?;
    Ok(
        match (persistent && is_clean, drop_rest(connection, exchange, body)) {
            (_, false) => Next::Linger,
            (true, true) => Next::KeepAlive,
            (false, true) => Next::Close,
        },
    )
}

/// Drops what is here of a body that nobody wants; more is not waited for. True if that was all.
fn drop_rest(connection: &mut Connection, exchange: &Exchange, body: &mut RequestBody) -> bool {
    let before = body.received;
    let is_clean = body.discard_available(&mut connection.peer).is_ok() && body.is_read();
    exchange
        .request_bytes
        .set(exchange.request_bytes.get() + body.received - before);
    is_clean
}

/// Sends an answer after which the connection cannot be used further.
pub(crate) async fn send_last(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    tables: &Rc<Tables>,
    own: Own,
) -> Next {
    match write(connection, exchange, tables, own, true, None).await {
        Ok(()) => Next::Linger,
        Err(_) => Next::Close,
    }
}

/// Shows the answer's head to the `response` hooks, which may change or replace it.
async fn after_hooks(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    own: Own,
    hooks: &[usize],
) -> Result<Own, Failure> {
    let mut head = Head::empty();
    for (name, value) in &own.headers {
        head.add(name, value).map_err(|error| bad_answer(&error))?;
    }
    let empty = Span { start: 0, len: 0 };
    exchange.response.replace(Some(ResponseHead {
        head,
        status: own.status,
        reason: empty,
        version: Version::Http11,
        framing: Framing::None,
        persistent: true,
        upgrade: false,
        declared_length: None,
    }));
    if let Some(answer) = run_hooks(connection, exchange, hooks).await? {
        return Ok(Own::of_response_hook(answer));
    }
    let response = exchange.response.borrow();
    let Some(response) = &*response else {
        return Ok(own);
    };
    let headers = response
        .head
        .iter()
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect();
    Ok(Own {
        status: response.status,
        headers,
        body: own.body,
        is_final: true,
        is_seen: true,
        reads_on: own.reads_on,
    })
}

fn bad_answer(error: &headgate_wire::FieldError) -> Failure {
    Failure::gateway(
        "bad_answer",
        500,
        format!("a hook's answer cannot be sent: {error}"),
    )
}

async fn write(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    tables: &Rc<Tables>,
    own: Own,
    closes: bool,
    readable: Option<&mut RequestBody>,
) -> Result<(), Failure> {
    let shared = connection.shared.clone();
    let (version, is_head) = {
        let request = exchange.request.borrow();
        (request.version, request.is_head())
    };
    let has_no_body = is_head || matches!(own.status, 204 | 304);
    let (framing, declared) = match &own.body {
        OwnBody::None(declared) => (
            Framing::None,
            if own.status == 204 {
                None
            } else {
                Some(declared.unwrap_or(0))
            },
        ),
        // only chunks have a place for trailers
        OwnBody::Bytes(_) if exchange.has_response_trailers() => (Framing::Chunked, None),
        OwnBody::Bytes(bytes) => (Framing::Length(bytes.len() as u64), None),
        OwnBody::Stream(_) => (Framing::UntilClose, None),
        // a 101 takes another way; a tunnel with any other status leads nowhere
        OwnBody::Tunnel(_) => (Framing::None, None),
        OwnBody::File { length, .. } => (Framing::Length(*length), None),
    };
    let mut framing = client_framing(framing, declared, version, closes);
    if has_no_body {
        framing = crate::http1::response_head::ClientFraming {
            is_chunked: false,
            length: if is_head && own.status != 304 {
                framing.length
            } else {
                None
            },
            closes,
        };
    }
    let mut out = Vec::with_capacity(512);
    write_status(own.status, reason_phrase(own.status).as_bytes(), &mut out);
    // the edits of a head check what hooks gave
    let mut head = Head::empty();
    for (name, value) in &own.headers {
        head.add(name, value).map_err(|error| bad_answer(&error))?;
    }
    if head.get(b"date").is_none() {
        write_date(&shared, &mut out);
    }
    if let Some(name) = &tables.request_id_header {
        if head.get(name.as_bytes()).is_none() {
            field(
                &mut out,
                name.as_bytes(),
                &[request_id(exchange, &shared).as_bytes()],
            );
        }
    }
    head.write_fields(&mut out);
    if tables.server_timing {
        crate::server_timing::write(exchange, shared.clock.tick(), &mut out);
    }
    write_end(&head, framing, version, &mut out);
    exchange.status.set(own.status);
    let send_ms = tables.timeout(
        exchange.route.get(),
        None,
        |timeouts| timeouts.send,
        |timeouts| timeouts.send,
    );
    let mut writer = Writer {
        connection,
        exchange,
        send_ms,
    };
    match own.body {
        _ if has_no_body => writer.write(&out).await,
        OwnBody::None(_) | OwnBody::Tunnel(_) => writer.write(&out).await,
        OwnBody::Bytes(bytes) if framing.is_chunked => {
            if !bytes.is_empty() {
                write_chunk_size(bytes.len(), &mut out);
                out.extend_from_slice(&bytes);
                out.extend_from_slice(CRLF);
            }
            write_last_chunk(exchange.rare().response_trailers.borrow().as_ref(), &mut out);
            writer.write(&out).await
        }
        OwnBody::Bytes(bytes) => {
            out.extend_from_slice(&bytes);
            writer.write(&out).await
        }
        OwnBody::File { file, start, length } => writer.write_file(out, &file, start, length).await,
        OwnBody::Stream(mut source) => {
            let allow_half_close = tables.limits.allow_half_close;
            let waiting = Waiting::new(readable, allow_half_close);
            writer
                .write_stream(out, &mut *source, framing.is_chunked, waiting)
                .await
        }
    }
}

struct Writer<'a> {
    connection: &'a mut Connection,
    exchange: &'a Exchange,
    send_ms: u64,
}

impl Writer<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let sent = self
            .connection
            .peer
            .write_all(&self.connection.watch, bytes, self.send_ms)
            .await;
        self.exchange
            .response_bytes
            .set(self.exchange.response_bytes.get() + bytes.len() as u64);
        sent.map_err(|broken| match broken {
            Broken::Limit(limit) => {
                self.connection.shared.metrics.count(limit.counter());
                self.exchange.limit.set(limit.name());
                Failure::client("send_timeout", 499, "the client took too long to read the answer")
            }
            Broken::Closed | Broken::Io(_) => Failure::client_left(),
        })
    }

    async fn write_file(
        &mut self,
        mut out: Vec<u8>,
        file: &File,
        mut at: u64,
        mut left: u64,
    ) -> Result<(), Failure> {
        let cut = |_| Failure::gateway("file_cut", 500, "the file ended early");
        while left > 0 {
            let begin = out.len();
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(FILE_READ_BYTES);
            out.resize(begin + most, 0);
            let n = file.read_at(&mut out[begin..], at).map_err(cut)?;
            if n == 0 {
                return Err(Failure::gateway("file_cut", 500, "the file ended early"));
            }
            out.truncate(begin + n);
            at += n as u64;
            left -= n as u64;
            self.write(&out).await?;
            out.clear();
        }
        if out.is_empty() {
            Ok(())
        } else {
            self.write(&out).await
        }
    }

    async fn write_stream(
        &mut self,
        mut out: Vec<u8>,
        source: &mut dyn BodySource,
        is_chunked: bool,
        mut waiting: Waiting<'_>,
    ) -> Result<(), Failure> {
        loop {
            if !out.is_empty() {
                self.write(&out).await?;
                out.clear();
            }
            match waiting.next(source, self.connection, self.exchange).await? {
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) if is_chunked => {
                    write_chunk_size(piece.len(), &mut out);
                    out.extend_from_slice(&piece);
                    out.extend_from_slice(CRLF);
                }
                Some(Ok(piece)) => out = piece,
                Some(Err(_)) => {
                    return Err(Failure::gateway(
                        "stream_failed",
                        500,
                        "the hook's body could not go on",
                    ))
                }
                None => break,
            }
        }
        if is_chunked {
            write_last_chunk(self.exchange.rare().response_trailers.borrow().as_ref(), &mut out);
            self.write(&out).await?;
        }
        Ok(())
    }
}

/// Waits for the pieces of a streamed answer, and notices meanwhile what the client does.
struct Waiting<'a> {
    /// The request's body, while the hook may read it.
    readable: Option<&'a mut RequestBody>,
    departure: Departure,
}

impl<'a> Waiting<'a> {
    fn new(readable: Option<&'a mut RequestBody>, allow_half_close: bool) -> Self {
        let departure = Departure::new(allow_half_close);
        Self { readable, departure }
    }

    async fn next(
        &mut self,
        source: &mut dyn BodySource,
        connection: &mut Connection,
        exchange: &Exchange,
    ) -> Result<Option<Result<Vec<u8>, BodyFailed>>, Failure> {
        let mut next = source.next();
        poll_fn(|context| {
            if let Poll::Ready(piece) = next.as_mut().poll(context) {
                return Poll::Ready(Ok(piece));
            }
            let (body, departure) = (self.readable.as_deref_mut(), &mut self.departure);
            poll_client(context, connection, exchange, body, departure).map(Err)
        })
        .await
    }
}

fn write_date(shared: &Shared, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Date: ");
    shared.write_date(out);
    out.extend_from_slice(CRLF);
}

/// The path without the route's prefix, or with another; `None` if the route leaves it alone.
pub(crate) fn stripped_path(path: &[u8], route: &Route) -> Option<Vec<u8>> {
    if route.strip_prefix.is_none() && route.replace_prefix.is_none() {
        return None;
    }
    // what was matched, so that another spelling cannot dodge the prefix
    let path = headgate_route::normalize_path(path).ok()?;
    let prefix = route
        .strip_prefix
        .as_deref()
        .unwrap_or("")
        .trim_end_matches('/')
        .as_bytes();
    let rest = match path.strip_prefix(prefix) {
        Some(rest) if rest.is_empty() || rest.starts_with(b"/") => rest,
        _ => &path,
    };
    let begin = route
        .replace_prefix
        .as_deref()
        .unwrap_or("")
        .trim_end_matches('/');
    let mut stripped = begin.as_bytes().to_vec();
    stripped.extend_from_slice(rest);
    if !stripped.starts_with(b"/") {
        stripped.insert(0, b'/');
    }
    Some(stripped)
}

/// Fills in what a redirect's location names in braces.
fn fill_in(location: &str, exchange: &Exchange) -> String {
    let request = exchange.request.borrow();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut filled = String::with_capacity(location.len() + 64);
    let mut rest = location;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            filled.push('{');
            rest = after;
            continue;
        };
        match name {
            "scheme" => filled.push_str(exchange.client.scheme),
            "host" => filled.push_str(&text(request.host())),
            "path" => filled.push_str(&text(request.path())),
            "query" => filled.push_str(&text(request.query())),
            "target" => filled.push_str(&text(request.target())),
            name => {
                let params = exchange.params.borrow();
                let value = params.get(name).map_or_else(|| format!("{{{name}}}"), escape);
                filled.push_str(&value);
            }
        }
        rest = after;
    }
    filled.push_str(rest);
    filled
}

/// A parameter's value for use in a path: whatever could end or split the location is escaped.
fn escape(value: &[u8]) -> String {
    let mut escaped = String::with_capacity(value.len());
    for byte in value {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(byte) {
            escaped.push(char::from(*byte));
        } else {
            escaped.push('%');
            escaped.push(char::from(b"0123456789ABCDEF"[usize::from(byte >> 4)]));
            escaped.push(char::from(b"0123456789ABCDEF"[usize::from(byte & 15)]));
        }
    }
    escaped
}
