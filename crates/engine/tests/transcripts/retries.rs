//! Kept connections, those that turn out to be of no more use, and what is sent again.

use crate::lab::{self, Lab, Reply, Setup};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A response after which the server's connection is not used again.
async fn is_let_go(lab: &Lab, method: &str, reply: Reply) -> bool {
    lab.server.will(reply);
    let mut client = lab.client();
    client
        .send(format!("{method} /1 HTTP/1.1\r\nHost: a\r\n\r\n"))
        .await;
    client.response(method).await.expect("it is sound");
    lab.settle().await;
    client.get("/2").await.expect("it is sound");
    let seen = lab.server.seen();
    seen[0].connection != seen[1].connection
}

#[test]
fn a_connection_serves_on_only_where_its_next_byte_is_the_next_response() {
    let cases = [
        ("GET", OK, false),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            false,
        ),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", false),
        (
            "GET",
            "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
            false,
        ),
        (
            "GET",
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
            true,
        ),
        (
            "GET",
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
            true,
        ),
        (
            "GET",
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
            true,
        ),
        (
            "GET",
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            true,
        ),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            false,
        ),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello",
            true,
        ),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", true),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
            true,
        ),
        ("GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", true),
        (
            "GET",
            "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok",
            false,
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more",
            true,
        ),
        (
            "GET",
            "HTTP/1.1 205 Reset Content\r\nContent-Length: 5\r\n\r\nhello",
            false,
        ),
        (
            "GET",
            "HTTP/1.1 205 Reset Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            true,
        ),
    ];
    for (method, reply, expected) in cases {
        lab::run(Setup::proxy(), async |lab| {
            assert_eq!(
                is_let_go(lab, method, Reply::new(reply)).await,
                expected,
                "{method} {reply:?}"
            );
        });
    }
}

/// Leaves a kept connection on which the content of a response that has none comes late: with the next request.
async fn poison(lab: &Lab, method: &str, head: &str) {
    lab.server.will(Reply::new(head));
    let mut client = lab.client();
    client
        .send(format!("{method} /1 HTTP/1.1\r\nHost: a\r\n\r\n"))
        .await;
    client.response(method).await.expect("it is sound");
    lab.settle().await;
}

#[test]
fn late_content_costs_an_idempotent_request_nothing() {
    let poisons = [
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
    ];
    let requests = [
        "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PROPFIND", "SEARCH", "REPORT", "QUERY",
    ];
    for (poisoner, head) in poisons {
        for method in requests {
            for late in ["hello", "hello HTTP/1.1 200 OK\r\n\r\n"] {
                lab::run(Setup::proxy(), async |lab| {
                    poison(lab, poisoner, head).await;
                    lab.server.will(Reply::new(late).and_closes());
                    let mut client = lab.client();
                    client
                        .send(format!("{method} /2 HTTP/1.1\r\nHost: a\r\n\r\n"))
                        .await;
                    let message = client.response(method).await.expect("it is sound");
                    assert_eq!(message.status, 200, "{poisoner} {head:?} {method} {late:?}");
                    assert_eq!(lab.server.connections(), 2);
                });
            }
        }
    }
}

#[test]
fn what_may_have_done_its_work_is_not_sent_again() {
    for method in ["POST", "PATCH", "LOCK", "PURGE"] {
        lab::run(Setup::proxy(), async |lab| {
            poison(lab, "GET", "HTTP/1.1 204 No Content\r\n\r\n").await;
            lab.server.will(Reply::new("hello, there").and_closes());
            let mut client = lab.client();
            client
                .send(format!("{method} /2 HTTP/1.1\r\nHost: a\r\n\r\n"))
                .await;
            let message = client.response(method).await.expect("it is sound");
            assert_eq!(message.status, 502, "{method}");
            assert_eq!(lab.server.seen().len(), 2, "{method}");
        });
    }
}

#[test]
fn idempotent_methods_go_to_another_server() {
    let methods = [
        ("GET", 200),
        ("PROPFIND", 200),
        ("QUERY", 200),
        ("MKCOL", 200),
        ("POST", 502),
        ("PATCH", 502),
        ("propfind", 502),
    ];
    for (method, status) in methods {
        lab::run(Setup::proxy().two_servers(), async |lab| {
            lab.server.will(Reply::new("").and_closes());
            let mut client = lab.client();
            client
                .send(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"))
                .await;
            let message = client.response(method).await.expect("it is sound");
            assert_eq!(message.status, status, "{method}");
        });
    }
}

#[test]
fn a_stale_connection_is_replaced() {
    lab::run(Setup::proxy(), async |lab| {
        let mut client = lab.client();
        client.get("/1").await.expect("it is sound");
        lab.server.will(Reply::new("").and_closes());
        assert_eq!(client.get("/2").await.expect("it is sound").status, 200);
        let connections: Vec<usize> = lab.server.seen().iter().map(|seen| seen.connection).collect();
        assert_eq!(connections, [1, 1, 2]);
    });
}

#[test]
fn connections_are_kept_so_many_and_so_long() {
    let setup = Setup::proxy().set("/upstreams/0/keepalive/max_requests", 2);
    lab::run(setup, async |lab| {
        let mut client = lab.client();
        for target in ["/1", "/2", "/3"] {
            client.get(target).await.expect("it is sound");
        }
        let connections: Vec<usize> = lab.server.seen().iter().map(|seen| seen.connection).collect();
        assert_eq!(connections, [1, 1, 2]);
    });
    let setup = Setup::proxy().set("/upstreams/0/keepalive/max_idle", 0);
    lab::run(setup, async |lab| {
        let mut client = lab.client();
        client.get("/1").await.expect("it is sound");
        client.get("/2").await.expect("it is sound");
        assert_eq!(lab.server.connections(), 2);
    });
}
