//! What goes to the server and what comes back, byte by byte: a table of requests, replies and what became of both.

use crate::lab::{self, Reply, Setup};

/// One request on a connection of its own.
struct Row {
    name: &'static str,
    request: &'static str,
    /// What the server responds; without it nothing must reach the server.
    reply: Option<&'static str>,
    /// What the server got.
    forwarded: &'static str,
    /// What the client got, its date as `*`.
    response: &'static str,
    /// Whether the client's connection serves the next request.
    is_kept: bool,
}

const GET: &str = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const DATED_OK: &str = "HTTP/1.1 200 OK\r\nDate: *\r\nContent-Length: 2\r\n\r\nok";

const fn row(name: &'static str, request: &'static str) -> Row {
    Row {
        name,
        request,
        reply: Some(OK),
        forwarded: GET,
        response: DATED_OK,
        is_kept: true,
    }
}

const REQUESTS: [Row; 27] = [
    row("plain", GET),
    Row {
        forwarded: "GET /x?y=%20z HTTP/1.1\r\nHost: a\r\n\r\n",
        ..row("query", "GET /x?y=%20z HTTP/1.1\r\nHost: a\r\n\r\n")
    },
    Row {
        forwarded: "GET /x HTTP/1.1\r\nHost: a:8080\r\n\r\n",
        ..row("host with port", "GET /x HTTP/1.1\r\nHost: a:8080\r\n\r\n")
    },
    Row {
        forwarded: "GET /x HTTP/1.1\r\nHost: b\r\n\r\n",
        ..row("absolute form", "GET http://b/x HTTP/1.1\r\nHost: b\r\n\r\n")
    },
    row("blank line before it", "\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n"),
    Row {
        forwarded: "GET /x HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nx-a: 2\r\n\r\n",
        ..row("fields in order", "GET /x HTTP/1.1\r\nX-A: 1\r\nHost: a\r\nx-a: 2\r\n\r\n")
    },
    row(
        "keep-alive is of the hop",
        "GET /x HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n",
    ),
    row(
        "what Connection names",
        "GET /x HTTP/1.1\r\nHost: a\r\nConnection: x-b, keep-alive\r\nX-B: 1\r\n\r\n",
    ),
    row("TE of the hop", "GET /x HTTP/1.1\r\nHost: a\r\nTE: gzip\r\nConnection: TE\r\n\r\n"),
    Row {
        forwarded: "GET /x HTTP/1.1\r\nHost: a\r\nConnection: TE\r\nTE: trailers\r\n\r\n",
        ..row("TE: trailers", "GET /x HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n")
    },
    row(
        "an upgrade to h2c is left out",
        "GET /x HTTP/1.1\r\nHost: a\r\nConnection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n",
    ),
    row("Proxy-Connection", "GET /x HTTP/1.1\r\nHost: a\r\nProxy-Connection: keep-alive\r\n\r\n"),
    Row {
        forwarded: "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        ..row("body with length", "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
    },
    Row {
        forwarded: "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        ..row("empty body", "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    },
    Row {
        forwarded: "POST /x HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ..row(
            "chunks",
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        )
    },
    Row {
        forwarded: "POST /x HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ..row(
            "chunk extensions end here",
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n",
        )
    },
    Row {
        forwarded:
            "POST /x HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
        ..row(
            "trailers, without those that must be none",
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\nContent-Type: a\r\n\r\n",
        )
    },
    Row {
        is_kept: false,
        response: "HTTP/1.1 200 OK\r\nDate: *\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        ..row("close", "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    },
    Row {
        is_kept: false,
        response: "HTTP/1.1 200 OK\r\nDate: *\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        ..row("HTTP/1.0", "GET /x HTTP/1.0\r\nHost: a\r\n\r\n")
    },
    Row {
        response: "HTTP/1.1 200 OK\r\nDate: *\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok",
        ..row("HTTP/1.0 kept", "GET /x HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
    },
    Row {
        forwarded: "OPTIONS /x HTTP/1.1\r\nHost: a\r\nmax-forwards: 4\r\n\r\n",
        ..row("Max-Forwards counts", "OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 5\r\n\r\n")
    },
    Row {
        reply: None,
        forwarded: "",
        response: "HTTP/1.1 200 OK\r\nDate: *\r\nContent-Length: 0\r\n\r\n",
        ..row("Max-Forwards ends", "OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n")
    },
    Row {
        forwarded: "TRACE /x HTTP/1.1\r\nHost: a\r\nmax-forwards: 0\r\n\r\n",
        ..row("Max-Forwards of TRACE", "TRACE /x HTTP/1.1\r\nHost: a\r\nmax-forwards: 1\r\n\r\n")
    },
    Row {
        reply: None,
        forwarded: "",
        response: concat!(
            "HTTP/1.1 200 OK\r\nDate: *\r\ncontent-type: message/http\r\nContent-Length: 55\r\n\r\n",
            "TRACE /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nX-A: 1\r\n\r\n"
        ),
        ..row(
            "TRACE is reflected without secrets",
            "TRACE /x HTTP/1.1\r\nHost: a\r\nCookie: secret\r\nMax-Forwards: 0\r\nAuthorization: secret\r\nX-A: 1\r\n\r\n",
        )
    },
    Row {
        forwarded: "GET /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n",
        ..row("Max-Forwards of others", "GET /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n")
    },
    Row {
        forwarded: "OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: +0\r\n\r\n",
        ..row("Max-Forwards that is none", "OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: +0\r\n\r\n")
    },
    Row {
        forwarded: "GET /x HTTP/1.1\r\nHost: a\r\nTrailer: x\r\n\r\n",
        ..row("Trailer goes on", "GET /x HTTP/1.1\r\nHost: a\r\nTrailer: x\r\n\r\n")
    },
];

const RESPONSES: [Row; 23] = [
    Row {
        reply: Some("HTTP/1.1 200 Fine\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 2\r\n\r\nok"),
        response: "HTTP/1.1 200 Fine\r\nDate: *\r\nContent-Length: 2\r\n\r\nok",
        ..row("the server's date and phrase", GET)
    },
    Row {
        reply: Some("HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok"),
        response: "HTTP/1.1 200 \r\nDate: *\r\nContent-Length: 2\r\n\r\nok",
        ..row("no phrase", GET)
    },
    Row {
        reply: Some("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        response: "HTTP/1.1 200 OK\r\nDate: *\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ..row("chunks", GET)
    },
    Row {
        reply: Some("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nVary: a\r\n\r\n"),
        response: "HTTP/1.1 200 OK\r\nDate: *\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
        ..row("trailers", GET)
    },
    Row {
        reply: Some("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        response: "HTTP/1.1 200 OK\r\nDate: *\r\nConnection: close\r\n\r\nok",
        is_kept: false,
        ..row("chunks for HTTP/1.0", "GET /x HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
    },
    Row {
        reply: Some("HTTP/1.1 204 No Content\r\n\r\n"),
        response: "HTTP/1.1 204 No Content\r\nDate: *\r\n\r\n",
        ..row("204", GET)
    },
    Row {
        reply: Some("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"),
        response: "HTTP/1.1 204 No Content\r\nDate: *\r\n\r\n",
        ..row("204 with a length", GET)
    },
    Row {
        reply: Some("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
        response: "HTTP/1.1 204 No Content\r\nDate: *\r\n\r\n",
        ..row("204 in chunks", GET)
    },
    Row {
        reply: Some("HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"),
        response: "HTTP/1.1 205 Reset Content\r\nDate: *\r\nContent-Length: 0\r\n\r\n",
        ..row("205", GET)
    },
    Row {
        reply: Some("HTTP/1.1 205 Reset Content\r\nContent-Length: 2\r\n\r\nok"),
        response: "HTTP/1.1 205 Reset Content\r\nDate: *\r\nContent-Length: 0\r\n\r\n",
        ..row("205 with content", GET)
    },
    Row {
        reply: Some("HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\nETag: \"a\"\r\n\r\n"),
        response: "HTTP/1.1 304 Not Modified\r\nDate: *\r\nETag: \"a\"\r\nContent-Length: 500\r\n\r\n",
        ..row("304 with the length of the 200", GET)
    },
    Row {
        reply: Some("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n"),
        response: "HTTP/1.1 304 Not Modified\r\nDate: *\r\nETag: \"a\"\r\n\r\n",
        ..row("304", GET)
    },
    Row {
        reply: Some("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"),
        forwarded: "HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n",
        response: "HTTP/1.1 200 OK\r\nDate: *\r\nContent-Length: 500\r\n\r\n",
        ..row("HEAD", "HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n")
    },
    Row {
        reply: Some("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        forwarded: "HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n",
        response: "HTTP/1.1 200 OK\r\nDate: *\r\n\r\n",
        ..row("HEAD in chunks", "HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n")
    },
    Row {
        reply: Some("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x-b\r\nX-B: 1\r\nKeep-Alive: timeout=3\r\n\r\nok"),
        ..row("fields of the server's hop", GET)
    },
    Row {
        reply: Some("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\nok"),
        response: "HTTP/1.1 200 OK\r\nDate: *\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 2\r\n\r\nok",
        ..row("lines of a name stay lines", GET)
    },
    Row {
        reply: Some("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        response: "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nDate: *\r\nContent-Length: 2\r\n\r\nok",
        ..row("interim", GET)
    },
    Row {
        reply: Some("HTTP/1.1 103 Early Hints\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        response: "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nDate: *\r\nContent-Length: 2\r\n\r\nok",
        ..row("interim with a length", GET)
    },
    Row {
        reply: Some("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        response: "HTTP/1.1 200 OK\r\nDate: *\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok",
        ..row("no interim for HTTP/1.0", "GET /x HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
    },
    Row {
        reply: Some("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ..row("a server of HTTP/1.0", GET)
    },
    Row {
        reply: Some("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"),
        ..row("the server's close is of its hop", GET)
    },
    Row {
        reply: Some("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/5\r\nContent-Length: 2\r\n\r\nok"),
        response: "HTTP/1.1 206 Partial Content\r\nDate: *\r\nContent-Range: bytes 0-1/5\r\nContent-Length: 2\r\n\r\nok",
        ..row("206", GET)
    },
    Row {
        reply: Some("HTTP/1.1 599 Own\r\nContent-Length: 2\r\n\r\nok"),
        response: "HTTP/1.1 599 Own\r\nDate: *\r\nContent-Length: 2\r\n\r\nok",
        ..row("a status of its own", GET)
    },
];

/// Without a route to look at: what is refused, and how.
const REFUSED: [(&str, &str, u16); 22] = [
    ("no host", "GET / HTTP/1.1\r\n\r\n", 400),
    ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("bad host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    ("version 2", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    ("no version", "GET /\r\n\r\n", 400),
    (
        "two lengths",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        400,
    ),
    (
        "length and chunks",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    (
        "chunks in HTTP/1.0",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    (
        "signed length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
        400,
    ),
    (
        "chunked not last",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        400,
    ),
    (
        "space before the colon",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        400,
    ),
    ("folded line", "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 400),
    ("bare line feed", "GET / HTTP/1.1\nHost: a\n\n", 400),
    ("nul_byte", "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400),
    ("no name", "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400),
    ("space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (
        "lookalike",
        "GET / HTTP/1.1\r\nHost: a\r\nContent_Length: 1\r\n\r\n",
        400,
    ),
    (
        "framing in Connection",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\n\r\n",
        400,
    ),
    ("CONNECT", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 501),
    (
        "a body beyond its limit",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100001\r\n\r\n",
        413,
    ),
    (
        "a bad chunk",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        400,
    ),
    (
        "an escape that is none",
        "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
        400,
    ),
];

fn check(rows: &[Row]) {
    let mut failures = Vec::new();
    for row in rows {
        let outcome = lab::run(Setup::proxy(), async |lab| -> Result<(), String> {
            if let Some(reply) = row.reply {
                lab.server.will(Reply::new(reply));
            }
            let mut client = lab.client();
            client.send(row.request).await;
            let method = row.request.trim_start().split(' ').next().unwrap_or_default();
            let message = client.response(method).await?;
            if message.text != row.response {
                return Err(format!(
                    "response\n{:?}\nis not\n{:?}",
                    message.text, row.response
                ));
            }
            let seen = lab.server.seen().pop().map(|seen| seen.text).unwrap_or_default();
            if seen != row.forwarded {
                return Err(format!("forwarded\n{seen:?}\nis not\n{:?}", row.forwarded));
            }
            let is_kept = client.is_kept().await?;
            (is_kept == row.is_kept)
                .then_some(())
                .ok_or(format!("kept: {is_kept}"))
        });
        if let Err(why) = outcome {
            failures.push(format!("{}: {why}", row.name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn requests_go_on_as_the_table_says() {
    check(&REQUESTS);
}

#[test]
fn responses_come_back_as_the_table_says() {
    check(&RESPONSES);
}

#[test]
fn what_is_refused_reaches_no_server() {
    for (name, request, status) in REFUSED {
        lab::run(Setup::proxy(), async |lab| {
            let mut client = lab.client();
            client.send(request).await;
            let message = client.response("GET").await;
            assert_eq!(message.expect(name).status, status, "{name}");
            client.is_kept().await.expect(name);
            for seen in lab.server.seen() {
                assert!(
                    seen.text
                        .starts_with("POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding"),
                    "{name}"
                );
            }
        });
    }
}

#[test]
fn pipelined_requests_get_their_responses_in_order() {
    lab::run(Setup::proxy(), async |lab| {
        for body in ["a", "b", "c"] {
            lab.server.will(Reply::new(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{body}"
            )));
        }
        let mut client = lab.client();
        let post = "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nGET";
        client.send(format!("{GET}{post}{GET}")).await;
        for body in ["a", "b", "c"] {
            let message = client.response("GET").await.expect("it is sound");
            assert_eq!(message.body, body.as_bytes());
        }
        assert!(client.is_kept().await.expect("it is sound"));
        let seen = lab.server.seen();
        assert_eq!(seen.len(), 3);
        assert!(seen.iter().all(|seen| seen.connection == 1), "{seen:?}");
        assert_eq!(seen[1].text, post);
    });
}

#[test]
fn requests_in_single_bytes_are_the_same() {
    for request in [
        GET,
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ] {
        lab::run(Setup::proxy(), async |lab| {
            let mut client = lab.client();
            for byte in request.as_bytes() {
                client.send([*byte]).await;
                lab.settle().await;
            }
            let message = client.response("GET").await.expect("it is sound");
            assert_eq!(message.text, DATED_OK);
            assert!(client.is_kept().await.expect("it is sound"));
        });
    }
}

#[test]
fn a_client_that_waits_for_100_gets_the_servers() {
    lab::run(Setup::proxy(), async |lab| {
        let last = Reply::new("HTTP/1.1 100 Continue\r\n\r\n")
            .early()
            .then_after_a_word(OK);
        lab.server.will(last);
        let mut client = lab.client();
        let head = "POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
        client.send(head).await;
        lab.settle().await;
        assert!(lab.server.seen()[0].text.contains("Expect: 100-continue\r\n"));
        client.send("abc").await;
        lab.settle().await;
        lab.server.go_on();
        let message = client.response("POST").await.expect("it is sound");
        assert_eq!((message.status, message.interim), (200, vec![100]));
    });
}
