//! Every wait has its limit, and who goes on in time is not cut.

use crate::lab::{self, Reply, Setup};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn a_server_that_does_not_respond_is_a_504() {
    lab::run(Setup::proxy(), async |lab| {
        lab.server.will(Reply::silence());
        let mut client = lab.client();
        client.send(GET).await;
        lab.advance(29_000).await;
        assert_eq!(lab.count("timeout_upstream_head"), 0);
        lab.advance(2_000).await;
        let message = client.response("GET").await.expect("it is sound");
        assert_eq!(message.status, 504);
        assert!(client.is_kept().await.expect("it is sound"));
        assert_eq!(lab.server.seen().len(), 1, "it may have done its work");
    });
}

#[test]
fn a_head_that_stays_unfinished_is_a_408() {
    lab::run(Setup::proxy(), async |lab| {
        let mut client = lab.client();
        client.send("GET / HTTP/1.1\r\nHost").await;
        // however steadily the rest comes
        for _ in 0..5 {
            lab.advance(1_900).await;
            client.send("x").await;
        }
        lab.advance(1_000).await;
        assert_eq!(client.response("GET").await.expect("it is sound").status, 408);
        assert_eq!(client.rest().await, "");
    });
}

#[test]
fn a_connection_without_a_request_ends_without_a_word() {
    lab::run(Setup::proxy(), async |lab| {
        let mut fresh = lab.client();
        lab.advance(76_000).await;
        assert_eq!(fresh.rest().await, "");
        let mut used = lab.client();
        used.get("/").await.expect("it is sound");
        lab.advance(76_000).await;
        assert_eq!(used.rest().await, "");
        assert_eq!(lab.count("timeout_client_idle"), 2);
    });
}

#[test]
fn a_body_that_stops_is_a_408_and_one_that_goes_on_is_none() {
    lab::run(Setup::proxy(), async |lab| {
        let mut client = lab.client();
        client
            .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n")
            .await;
        for _ in 0..5 {
            lab.advance(19_000).await;
            client.send("x").await;
        }
        lab.advance(21_000).await;
        assert_eq!(client.response("POST").await.expect("it is sound").status, 408);
    });
}

#[test]
fn a_response_that_stops_is_cut_and_one_that_goes_on_is_not() {
    lab::run(Setup::proxy(), async |lab| {
        let mut reply = Reply::new("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
        for _ in 0..8 {
            reply = reply.then_after_a_word("x");
        }
        lab.server.will(reply);
        let mut client = lab.client();
        client.send(GET).await;
        for _ in 0..8 {
            lab.advance(39_000).await;
            lab.server.go_on();
        }
        lab.advance(41_000).await;
        let text = client.rest().await;
        assert!(text.ends_with("\r\n\r\nxxxxxxxx"), "{text:?}");
        assert_eq!(lab.count("timeout_upstream_idle"), 1);
    });
}

/// A response of so many bytes.
fn long(bytes: usize) -> Vec<u8> {
    let mut reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n").into_bytes();
    reply.resize(reply.len() + bytes, b'x');
    reply
}

const LONG: usize = 1_000_000;

#[test]
fn a_client_that_takes_its_bytes_slowly_but_steadily_gets_them_all() {
    let relayed = Setup::proxy;
    let filtered = || Setup::proxy().body_hook("stream", <[u8]>::to_vec);
    let fixed = || Setup::respond(200, &[], &"x".repeat(LONG));
    for setup in [relayed(), filtered(), fixed()] {
        lab::run(setup, async |lab| {
            lab.server.will(Reply::new(long(LONG)));
            let mut client = lab.client();
            client.send(GET).await;
            let mut taken = 0;
            while taken < LONG {
                lab.advance(59_000).await;
                let n = client.take(40_000).await;
                assert!(n > 0, "cut after {taken} bytes");
                taken += n;
            }
            assert_eq!(lab.count("timeout_send"), 0);
        });
    }
}

#[test]
fn a_client_that_takes_nothing_is_cut() {
    lab::run(Setup::proxy(), async |lab| {
        lab.server.will(Reply::new(long(LONG)));
        let mut client = lab.client();
        client.send(GET).await;
        lab.advance(59_000).await;
        assert_eq!(lab.count("timeout_send"), 0);
        lab.advance(2_000).await;
        assert_eq!(lab.count("timeout_send"), 1);
        assert!(client.rest().await.len() < LONG);
    });
}

#[test]
fn a_connection_of_http2_that_is_read_steadily_is_not_cut() {
    let relayed = Setup::proxy;
    let filtered = || Setup::proxy().body_hook("stream", <[u8]>::to_vec);
    let fixed = || Setup::respond(200, &[], &"x".repeat(LONG));
    for setup in [relayed(), filtered(), fixed()] {
        lab::run(setup, async |lab| {
            lab.server.responds(|_| Reply::new(long(LONG)));
            let mut slow = lab.slow_http2_client().await;
            for _ in 0..40 {
                lab.advance(59_000).await;
                assert!(slow.take(20_000).await > 0, "it was cut");
            }
            assert_eq!(lab.count("timeout_send"), 0);
            for _ in 0..3 {
                lab.advance(61_000).await;
            }
            assert!(lab.count("timeout_send") > 0, "who takes nothing is cut");
        });
    }
}
