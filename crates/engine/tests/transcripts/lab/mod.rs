//! A worker, its server and its clients in one thread: bytes in, bytes out, and a clock that only tests put forward.
//!
//! # How it works
//! Clients are ends of virtual streams; the server responds on a Unix socket of the same runtime with the replies that a test
//! has queued, and keeps what it was sent. Nothing waits for real time: a wait that should be over is ended with
//! [`Lab::advance`].

mod client;
mod hooks;
mod http2;
mod server;
mod setup;
mod strict;

use std::time::Duration;

use headgate_engine::{ClientInfo, Worker, ZONE_CELLS};
use headgate_shared::Zone;
use tempfile::TempDir;
use tokio::task::{yield_now, LocalSet};

pub(crate) use client::Client;
pub(crate) use hooks::{edit, reply, Scripted};
pub(crate) use http2::Http2Client;
pub(crate) use server::{Reply, Server};
pub(crate) use setup::Setup;
pub(crate) use strict::Message;

/// A transcript that stands still is a failure, not a test that never ends.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a test has to do with.
pub(crate) struct Lab {
    pub(crate) worker: Worker,
    /// The one behind the upstream `u`.
    pub(crate) server: Server,
    _folder: TempDir,
}

/// Runs a test in a lab of its own.
pub(crate) fn run<T>(setup: Setup, test: impl AsyncFnOnce(&Lab) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    LocalSet::new().block_on(&runtime, async {
        let lab = Lab::new(setup);
        tokio::time::timeout(PATIENCE, test(&lab))
            .await
            .expect("no step of the transcript waits for ever")
    })
}

impl Lab {
    fn new(setup: Setup) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("server");
        let server = Server::listen(&path);
        let zone = Zone::create(1, ZONE_CELLS).expect("a memory file can be made");
        let worker = Worker::new(zone, 0, [7; 16]);
        let (snapshot, hooks) = setup.finish(&path);
        worker.apply(&snapshot, hooks).expect("the snapshot is usable");
        worker.start();
        Self {
            worker,
            server,
            _folder: folder,
        }
    }

    /// A new connection of a client.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.worker.serve_virtual(ClientInfo {
            address: "192.0.2.1".to_owned(),
            listener: "test".to_owned(),
            ..ClientInfo::default()
        }))
    }

    /// A new connection of a client that speaks HTTP/2.
    pub(crate) async fn http2_client(&self) -> Http2Client {
        let end = self.worker.serve_virtual(ClientInfo {
            address: "192.0.2.1".to_owned(),
            listener: "test".to_owned(),
            ..ClientInfo::default()
        });
        Http2Client::connect(end).await
    }

    /// A client of HTTP/2 that has asked for `/`, with windows that never bound it, and reads only when told to.
    pub(crate) async fn slow_http2_client(&self) -> Client {
        let mut client = self.client();
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        // SETTINGS_INITIAL_WINDOW_SIZE (4), then as much for the whole connection (RFC 9113 sections 6.5.2 and 6.9)
        client.send(b"\0\0\x06\x04\0\0\0\0\0\0\x04\x7f\xff\xff\xff").await;
        client.send(b"\0\0\x04\x08\0\0\0\0\0\x7f\xff\0\0").await;
        // HEADERS of a whole request: GET, http, `/`, authority `a` (RFC 7541 section 6.2.1)
        client
            .send(b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a")
            .await;
        client
    }

    /// Lets all tasks run until none can make progress.
    pub(crate) async fn settle(&self) {
        for _ in 0..200 {
            yield_now().await;
        }
    }

    /// Puts the clock forward and ends the waits that are over.
    pub(crate) async fn advance(&self, milliseconds: u64) {
        self.settle().await;
        self.worker.advance(Duration::from_millis(milliseconds));
        self.settle().await;
    }

    /// A counter's value.
    pub(crate) fn count(&self, name: &str) -> u64 {
        let stats = self.worker.stats();
        let found = stats.iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("no counter `{name}`")).1
    }
}
