//! Bounds on what peers may send, places on servers, and the pages that tell of both.

use crate::lab::{self, Reply, Setup};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Requests of which a part is too large, and the status that says so.
fn too_large() -> Vec<(&'static str, String, u16)> {
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let field = |name: &str, length: usize| format!("{name}: {}\r\n", "x".repeat(length));
    vec![
        (
            "head",
            format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", field("A", 9000)),
            431,
        ),
        (
            "fields",
            format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", field("A", 1).repeat(50)),
            431,
        ),
        (
            "target",
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9000)),
            414,
        ),
        (
            "length",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100001\r\n\r\n".to_owned(),
            413,
        ),
        (
            "chunks",
            format!("{chunked}18704\r\n{}\r\n0\r\n\r\n", "x".repeat(100_100)),
            413,
        ),
        (
            "extension",
            format!("{chunked}3;a={}\r\nabc\r\n0\r\n\r\n", "x".repeat(70)),
            400,
        ),
        (
            "trailers",
            format!("{chunked}3\r\nabc\r\n0\r\n{}\r\n", field("A", 600)),
            400,
        ),
        (
            "method",
            format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "X".repeat(70)),
            400,
        ),
    ]
}

#[test]
fn requests_beyond_a_limit_are_refused_and_end_their_connection() {
    for (name, request, status) in too_large() {
        lab::run(Setup::proxy(), async |lab| {
            lab.server.will(Reply::silence());
            let mut client = lab.client();
            client.send(request).await;
            assert_eq!(client.response("GET").await.expect(name).status, status, "{name}");
            assert_eq!(client.rest().await, "", "{name}");
        });
    }
}

#[test]
fn requests_at_a_limit_go_on() {
    let fields = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: x\r\n".repeat(49));
    let body = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n{}",
        "x".repeat(100_000)
    );
    for request in [fields, body] {
        lab::run(Setup::proxy(), async |lab| {
            let mut client = lab.client();
            client.send(&request).await;
            assert_eq!(client.response("GET").await.expect("it is sound").status, 200);
            assert!(client.is_kept().await.expect("it is sound"));
        });
    }
}

#[test]
fn responses_beyond_a_limit_are_a_502() {
    let field = format!("A: {}\r\n", "x".repeat(9000));
    let heads = [
        format!("HTTP/1.1 200 OK\r\n{field}\r\n"),
        format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: x\r\n".repeat(51)),
        "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(20),
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a={}\r\nabc\r\n",
            "x".repeat(70)
        ),
    ];
    for head in heads {
        lab::run(Setup::proxy().set("/upstreams/0/retries", 0), async |lab| {
            lab.server.will(Reply::new(&head));
            let mut client = lab.client();
            let message = client.get("/").await.expect("it is sound");
            assert_eq!(message.status, 502, "{}", message.text);
            assert!(client.is_kept().await.expect("it is sound"));
        });
    }
}

#[test]
fn a_request_waits_for_a_place_and_not_for_ever() {
    let setup = Setup::proxy().set("/upstreams/0/servers/0/max_connections", 1);
    lab::run(setup, async |lab| {
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        lab.server.will(Reply::new("").then_after_a_word(ok));
        let (mut first, mut second, mut third) = (lab.client(), lab.client(), lab.client());
        first.send(GET).await;
        lab.settle().await;
        second.send(GET).await;
        lab.advance(1_100).await;
        let late = second.response("GET").await.expect("it is sound");
        assert_eq!(late.status, 503, "{}", late.text);
        third.send(GET).await;
        lab.settle().await;
        assert_eq!(lab.server.seen().len(), 1, "it waits for the first");
        lab.server.go_on();
        assert_eq!(first.response("GET").await.expect("it is sound").status, 200);
        assert_eq!(third.response("GET").await.expect("it is sound").status, 200);
        assert_eq!(lab.count("timeout_queue"), 1);
    });
}

#[test]
fn a_page_fits_its_client() {
    lab::run(Setup::proxy(), async |lab| {
        let mut client = lab.client();
        let cases = [
            ("", "application/problem+json", "\"status\":404"),
            ("Accept: text/html\r\n", "text/html; charset=utf-8", "<h1>"),
            (
                "Accept: application/json, text/html;q=0.9\r\n",
                "application/problem+json",
                "\"status\":404",
            ),
        ];
        for (accept, content_type, part) in cases {
            // a path that is none has no route
            client
                .send(format!("GET /a/../../b HTTP/1.1\r\nHost: a\r\n{accept}\r\n"))
                .await;
            let message = client.response("GET").await.expect("it is sound");
            assert_eq!(message.field("content-type").as_deref(), Some(content_type));
            let body = String::from_utf8_lossy(&message.body).replace(' ', "");
            let part = part.replace("404", &message.status.to_string());
            assert!(body.contains(&part), "{body}");
            assert!(message.field("x-request-id").is_some());
        }
    });
}

#[test]
fn a_page_for_head_has_a_length_and_no_content() {
    lab::run(Setup::proxy(), async |lab| {
        lab.server.will(Reply::new("").and_closes());
        lab.server.will(Reply::new("").and_closes());
        let mut client = lab.client();
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let message = client.response("HEAD").await.expect("it is sound");
        assert_eq!(message.status, 502);
        let length: usize = message
            .field("content-length")
            .expect("it is told")
            .parse()
            .expect("it is a number");
        assert!(length > 0);
        assert!(client.is_kept().await.expect("nothing came behind the head"));
    });
}
