//! A connection in memory is served as one that came through a listener.

use headgate_engine::{ClientInfo, Worker, ZONE_CELLS};
use headgate_shared::Zone;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::LocalSet;

#[tokio::test(flavor = "current_thread")]
async fn request_on_a_virtual_stream_gets_a_response() {
    let response = LocalSet::new()
        .run_until(async {
            let zone = Zone::create(1, ZONE_CELLS).expect("a memory file can be made");
            let worker = Worker::new(zone, 0, [7; 16]);
            let mut client = worker.serve_virtual(ClientInfo {
                address: "192.0.2.1".to_owned(),
                port: 0,
                scheme: "http",
                listener: "test".to_owned(),
                ..ClientInfo::default()
            });
            client
                .write_all(b"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                .await
                .expect("the worker reads");
            let mut response = Vec::new();
            client
                .read_to_end(&mut response)
                .await
                .expect("it ends its response");
            assert_eq!(worker.connections(), 0);
            response
        })
        .await;
    // the worker has no routes
    assert!(
        response.starts_with(b"HTTP/1.1 404 "),
        "{}",
        String::from_utf8_lossy(&response)
    );
}
