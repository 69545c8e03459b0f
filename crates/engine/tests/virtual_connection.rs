//! A connection in memory is served as one that came through a listener.

use headgate_engine::{ClientInfo, Worker, ZONE_CELLS};
use headgate_shared::Zone;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::LocalSet;

#[tokio::test(flavor = "current_thread")]
async fn request_on_a_virtual_stream_is_answered() {
    let answer = LocalSet::new()
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
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.expect("it ends its answer");
            assert_eq!(worker.connections(), 0);
            answer
        })
        .await;
    // the worker has no routes
    assert!(
        answer.starts_with(b"HTTP/1.1 404 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}
