//! Connections and workers that end while something is under way.

use headgate_engine::{Step, Verdict};

use crate::lab::{self, Reply, Setup};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn a_request_in_flight_when_the_worker_ends_is_told_so() {
    lab::run(Setup::proxy(), async |lab| {
        lab.server.will(Reply::silence());
        let mut client = lab.client();
        client.send(GET).await;
        lab.settle().await;
        lab.worker.close();
        let message = client.response("GET").await.expect("it is sound");
        assert_eq!(message.status, 503, "{}", message.text);
        assert_eq!(message.field("retry-after").as_deref(), Some("1"));
        assert_eq!(message.field("connection").as_deref(), Some("close"));
        assert_eq!(client.rest().await, "");
        assert_eq!(lab.server.seen().len(), 1, "it is not tried again");
    });
}

#[test]
fn a_body_under_way_when_the_worker_ends_is_nobodys_delay() {
    lab::run(Setup::proxy(), async |lab| {
        lab.server.will(Reply::silence());
        let mut client = lab.client();
        client
            .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
            .await;
        lab.settle().await;
        lab.worker.close();
        let message = client.response("POST").await.expect("it is sound");
        assert_eq!(message.status, 503, "{}", message.text);
    });
}

#[test]
fn a_hook_that_waits_when_the_worker_ends_is_cancelled() {
    let waits = |_: &_| Step::Pending(Box::pin(std::future::pending::<Verdict>()));
    for phase in ["rewrite", "request", "upstream_request", "response"] {
        lab::run(Setup::proxy().hook(phase, waits), async |lab| {
            let mut client = lab.client();
            client.send(GET).await;
            // a server's socket is asked in between
            for _ in 0..20 {
                lab.settle().await;
                tokio::task::yield_now().await;
            }
            lab.worker.close();
            let message = client.response("GET").await.expect("it is sound");
            assert_eq!(message.status, 503, "{phase}: {}", message.text);
        });
    }
}

#[test]
fn a_response_under_way_when_the_worker_ends_is_cut() {
    lab::run(Setup::proxy(), async |lab| {
        lab.server
            .will(Reply::new("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"));
        let mut client = lab.client();
        client.send(GET).await;
        lab.settle().await;
        lab.worker.close();
        let text = client.rest().await;
        assert!(
            text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\nab"),
            "{text:?}"
        );
    });
}

#[test]
fn a_worker_that_drains_serves_what_it_has() {
    lab::run(Setup::proxy(), async |lab| {
        let late = Reply::new("").then_after_a_word("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        lab.server.will(late);
        let (mut client, mut idle) = (lab.client(), lab.client());
        client.send(GET).await;
        lab.settle().await;
        lab.worker.drain();
        lab.settle().await;
        lab.server.go_on();
        let message = client.response("GET").await.expect("it is sound");
        assert_eq!((message.status, &message.body[..]), (200, &b"ok"[..]));
        assert_eq!(message.field("connection").as_deref(), Some("close"));
        assert_eq!(client.rest().await, "");
        // an idle connection may be about to be used: it is served for a short time
        assert_eq!(idle.get("/probe").await.expect("it is sound").status, 200);
        assert_eq!(idle.rest().await, "");
    });
}

#[test]
fn an_idle_connection_ends_soon_in_a_drain() {
    lab::run(Setup::proxy(), async |lab| {
        let mut idle = lab.client();
        lab.settle().await;
        lab.worker.drain();
        lab.advance(1_100).await;
        assert_eq!(idle.rest().await, "");
    });
}

#[test]
fn a_client_that_leaves_ends_its_request() {
    lab::run(Setup::proxy(), async |lab| {
        lab.server.will(Reply::silence());
        let mut client = lab.client();
        client.send(GET).await;
        lab.settle().await;
        client.finish().await;
        assert_eq!(client.rest().await, "");
        lab.settle().await;
        assert_eq!(lab.count("client_disconnects"), 1);
    });
}

#[test]
fn a_client_that_only_finished_sending_gets_its_response_where_that_is_allowed() {
    let setup = Setup::proxy().set("/limits/allow_half_close", true);
    lab::run(setup, async |lab| {
        let mut client = lab.client();
        client.send(GET).await;
        client.finish().await;
        assert_eq!(client.response("GET").await.expect("it is sound").body, b"ok");
        assert_eq!(client.rest().await, "");
    });
}

#[test]
fn a_connection_serves_so_many_requests() {
    let setup = Setup::proxy().set("/limits/max_requests_per_connection", 2);
    lab::run(setup, async |lab| {
        let mut client = lab.client();
        assert_eq!(
            client.get("/").await.expect("it is sound").field("connection"),
            None
        );
        let last = client.get("/").await.expect("it is sound");
        assert_eq!(last.field("connection").as_deref(), Some("close"));
        assert_eq!(client.rest().await, "");
    });
}
