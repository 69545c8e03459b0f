//! A small HTTP server for scrapers, on a thread of its own: `/metrics`, `/livez`, `/readyz`.
//!
//! # How it works
//! Everything is bounded: connections, the request's head, and every wait; the text is shared between all who read it. So a
//! scraper that never reads holds one connection until its time is over, and a thousand at once cost one rendering.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::exporter::Exporter;
use crate::negotiation::format_of;

const MAX_CONNECTIONS: usize = 1_100;
const MAX_HEAD_BYTES: usize = 8 * 1024;
const MAX_FIELDS: usize = 64;
/// For a request's head, and between two requests.
const READ_LIMIT: Duration = Duration::from_secs(30);
/// For a whole response.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// After `accept` failed, for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const PAUSES: Duration = Duration::from_millis(5);

/// Serves until it is dropped.
pub struct Server {
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Begins to accept from listening sockets (TCP or Unix), on a thread of its own.
    ///
    /// # Errors
    /// One of them is not a listening socket, or there is no thread to be had.
    pub fn start(sockets: Vec<OwnedFd>, exporter: Arc<Exporter>) -> io::Result<Self> {
        let stop = Arc::new(Notify::new());
        let stopped = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listeners = {
            let _runtime = runtime.enter();
            sockets
                .into_iter()
                .map(Listener::adopt)
                .collect::<io::Result<Vec<_>>>()?
        };
        let serve = move || {
            runtime.block_on(async {
                let mut accepting = JoinSet::new();
                let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
                for listener in listeners {
                    accepting.spawn(accept(listener, exporter.clone(), places.clone()));
                }
                stopped.notified().await;
            });
        };
        let thread = std::thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(serve)?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // one that panicked has said so
        }
    }
}

enum Listener {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Listener {
    fn adopt(socket: OwnedFd) -> io::Result<Self> {
        let socket = socket2::Socket::from(socket);
        socket.set_nonblocking(true)?;
        if socket.local_addr()?.is_unix() {
            return tokio::net::UnixListener::from_std(OwnedFd::from(socket).into()).map(Self::Unix);
        }
        tokio::net::TcpListener::from_std(socket.into()).map(Self::Tcp)
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

async fn accept(listener: Listener, exporter: Arc<Exporter>, places: Arc<Semaphore>) {
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let accepted: io::Result<Box<dyn Duplex>> = match &listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| Box::new(stream) as _),
            Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| Box::new(stream) as _),
        };
        let Ok(stream) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let exporter = exporter.clone();
        tokio::spawn(async move {
            let _ = converse(stream, &exporter).await; // whoever left has lost nothing that is ours
            drop(place);
        });
    }
}

/// One connection: requests, one after the other.
async fn converse(mut stream: Box<dyn Duplex>, exporter: &Exporter) -> io::Result<()> {
    let mut read = Vec::new();
    loop {
        let Some(request) = timeout(READ_LIMIT, read_head(&mut stream, &mut read)).await?? else {
            return Ok(());
        };
        let (head, body) = respond(&request, exporter);
        let send = async {
            stream.write_all(head.as_bytes()).await?;
            if request.method != "HEAD" {
                stream.write_all(body.as_bytes()).await?;
            }
            stream.flush().await
        };
        timeout(WRITE_LIMIT, send).await??;
        if !request.is_persistent {
            // what it still sends is read, lest the system resets the connection before the response was read
            stream.shutdown().await?;
            let mut rest = [0; 512];
            let _ = timeout(PAUSES, stream.read(&mut rest)).await;
            return Ok(());
        }
    }
}

/// What is needed of a request; one that is not understood has no method.
#[derive(Default)]
struct Request {
    method: String,
    path: String,
    accept: String,
    is_persistent: bool,
}

/// Reads a request's head; none at the end of the connection.
async fn read_head(stream: &mut Box<dyn Duplex>, read: &mut Vec<u8>) -> io::Result<Option<Request>> {
    loop {
        if let Some((request, length)) = parse(read) {
            read.drain(..length);
            return Ok(Some(request));
        }
        if read.len() >= MAX_HEAD_BYTES {
            read.clear();
            return Ok(Some(Request::default()));
        }
        let mut chunk = [0; 1024];
        let count = stream.read(&mut chunk).await?;
        if count == 0 {
            return Ok(None);
        }
        read.extend_from_slice(&chunk[..count]);
    }
}

fn parse(read: &[u8]) -> Option<(Request, usize)> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    let length = match parsed.parse(read) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return None,
        Err(_) => return Some((Request::default(), read.len())),
    };
    let all = |name: &str| {
        let same = parsed
            .headers
            .iter()
            .filter(|field| field.name.eq_ignore_ascii_case(name));
        let values: Vec<_> = same.map(|field| String::from_utf8_lossy(field.value)).collect();
        values.join(",")
    };
    let has_body =
        !matches!(all("content-length").as_str(), "" | "0") || !all("transfer-encoding").is_empty();
    let closes = all("connection").to_ascii_lowercase().contains("close");
    let path = parsed.path.unwrap_or_default();
    let request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: path.split('?').next().unwrap_or_default().to_owned(),
        accept: all("accept"),
        is_persistent: parsed.version == Some(1) && !closes && !has_body,
    };
    Some((request, length))
}

/// The response's head, and its body.
fn respond(request: &Request, exporter: &Exporter) -> (String, Arc<str>) {
    let plain = "text/plain; charset=utf-8";
    let (status, kind, body): (&str, &str, Arc<str>) = match (request.method.as_str(), request.path.as_str())
    {
        ("", _) => ("400 Bad Request", plain, "the request is malformed\n".into()),
        ("GET" | "HEAD", "/metrics") => {
            let format = format_of(&request.accept);
            ("200 OK", format.content_type(), exporter.recent_text(format))
        }
        ("GET" | "HEAD", "/livez") => verdict(
            exporter.is_live(),
            "live",
            "no worker responds, or the supervisor hangs",
        ),
        ("GET" | "HEAD", "/readyz") => verdict(exporter.is_ready(), "ready", "starting or stopping"),
        ("GET" | "HEAD", _) => (
            "404 Not Found",
            plain,
            "there are /metrics, /livez and /readyz\n".into(),
        ),
        _ => ("405 Method Not Allowed", plain, "GET or HEAD\n".into()),
    };
    let connection = if request.is_persistent {
        "keep-alive"
    } else {
        "close"
    };
    let allow = if status.starts_with("405") {
        "Allow: GET, HEAD\r\n"
    } else {
        ""
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n{allow}\
         X-Content-Type-Options: nosniff\r\nVary: Accept\r\nConnection: {connection}\r\n\r\n",
        body.len()
    );
    (head, body)
}

fn verdict(is_so: bool, yes: &str, no: &str) -> (&'static str, &'static str, Arc<str>) {
    let kind = "text/plain; charset=utf-8";
    if is_so {
        ("200 OK", kind, format!("{yes}\n").into())
    } else {
        ("503 Service Unavailable", kind, format!("{no}\n").into())
    }
}
