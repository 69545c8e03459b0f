//! What servers send that cannot go on: the same verdict for clients of HTTP/1 and HTTP/2.

use crate::lab::{self, Reply, Setup};

const BROKEN: [(&str, &str); 19] = [
    ("no response", "SSH-2.0-OpenSSH\r\n\r\n"),
    ("version 2", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
    (
        "status of two digits",
        "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "two lengths",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    ),
    (
        "length and chunks",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunks in HTTP/1.0",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked not last",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    ),
    (
        "a coding that was not requested",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    (
        "two lines of codings",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "a control byte",
        "HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "a delete byte",
        "HTTP/1.1 200 OK\r\nX: a\x7fb\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "nul_byte",
        "HTTP/1.1 200 OK\r\nX: \0\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "bare carriage return",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "folded line",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    ),
    ("no colon", "HTTP/1.1 200 OK\r\nX\r\nContent-Length: 0\r\n\r\n"),
    (
        "an unasked upgrade",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    ),
    (
        "a chunk that is none, at once",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n",
    ),
    (
        "a chunk size beyond all",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    ),
    ("nothing", ""),
];

#[test]
fn what_cannot_go_on_is_a_502_in_both_versions() {
    for (name, reply) in BROKEN {
        lab::run(Setup::proxy().set("/upstreams/0/retries", 0), async |lab| {
            let reply = || Reply::new(reply).and_closes();
            lab.server.will(reply());
            let mut client = lab.client();
            let message = client.get("/").await.expect(name);
            assert_eq!(message.status, 502, "{name}: {}", message.text);
            assert!(
                client.is_kept().await.expect(name),
                "{name}: it was not the client's fault"
            );
            lab.server.will(reply());
            let http2 = lab.http2_client().await;
            assert_eq!(http2.request("GET", "/").await.expect(name).status, 502, "{name}");
        });
    }
}

#[test]
fn a_body_hook_sees_no_content_in_an_unrequested_coding() {
    let setup = Setup::proxy().body_hook("stream", <[u8]>::to_vec);
    lab::run(setup, async |lab| {
        let coded = "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        lab.server.will(Reply::new(coded));
        assert_eq!(lab.client().get("/").await.expect("it is sound").status, 502);
    });
}

#[test]
fn a_head_that_hooks_have_only_composed_is_not_sent() {
    // the framing breaks with the first chunk, which came with the head
    for mode in ["stream", "buffer"] {
        lab::run(Setup::proxy().body_hook(mode, <[u8]>::to_vec), async |lab| {
            let broken = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n";
            lab.server.will(Reply::new(broken));
            let mut client = lab.client();
            assert_eq!(client.get("/").await.expect("it is sound").status, 502);
            assert!(client.is_kept().await.expect("it is sound"));
        });
    }
}

#[test]
fn a_response_that_has_begun_is_cut() {
    let begun = [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n9\r\nab",
    ];
    for reply in begun {
        lab::run(Setup::proxy(), async |lab| {
            lab.server.will(Reply::new(reply).and_closes());
            let mut client = lab.client();
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            let text = client.rest().await;
            assert!(
                text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("abc"),
                "{text:?}"
            );
            assert!(!text.ends_with("0\r\n\r\n"), "{text:?}");
            lab.server.will(Reply::new(reply).and_closes());
            let http2 = lab.http2_client().await;
            http2.request("GET", "/").await.expect_err("the stream is reset");
        });
    }
}

#[test]
fn an_upgrade_that_a_hook_refuses_opens_no_tunnel() {
    let setup = Setup::proxy().hook(
        "response",
        lab::edit(|exchange| {
            if let Some(response) = &mut *exchange.response.borrow_mut() {
                response.status = 403;
            }
        }),
    );
    lab::run(setup, async |lab| {
        let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhidden";
        lab.server.will(Reply::new(switched));
        let mut client = lab.client();
        client
            .send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
            .await;
        let message = client.response("GET").await.expect("it is sound");
        assert_eq!(
            (message.status, &message.body[..]),
            (403, &b""[..]),
            "{}",
            message.text
        );
        assert!(client.is_kept().await.expect("it is sound"));
    });
}

#[test]
fn servers_of_http2_are_held_to_the_same() {
    // the lab's server speaks HTTP/1 only: what it sends is not HTTP/2
    lab::run(Setup::proxy().http2_upstream(), async |lab| {
        let mut client = lab.client();
        assert_eq!(client.get("/").await.expect("it is sound").status, 502);
        let coded = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
        client.send(coded).await;
        let message = client.response("POST").await.expect("it is sound");
        assert_eq!(message.status, 501, "{}", message.text);
    });
}
