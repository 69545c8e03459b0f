//! Whatever hooks make of a request or a response, the message that is sent ends where a strict client reads its end.

use headgate_engine::{BodyFailed, BodySource, HookResponseBody, LocalFuture};

use crate::lab::{self, edit, reply, Lab, Message, Reply, Setup};

const METHODS: [&str; 4] = ["GET", "HEAD", "OPTIONS", "POST"];
const STATUSES: [u16; 9] = [200, 204, 205, 206, 299, 304, 404, 500, 599];
const FRAMINGS: [&str; 5] = ["length", "chunks", "trailers", "close", "empty"];

/// What is asked, in the target: the server's status and framing, and the status and method that hooks set (`-`: none).
#[derive(Clone, Debug)]
struct Case {
    method: &'static str,
    server_status: u16,
    framing: &'static str,
    hook_status: Option<u16>,
    hook_method: Option<&'static str>,
}

impl Case {
    fn target(&self) -> String {
        let status = self
            .hook_status
            .map_or("-".to_owned(), |status| status.to_string());
        let method = self.hook_method.unwrap_or("-");
        format!("/{}/{}/{status}/{method}", self.server_status, self.framing)
    }

    fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        for method in METHODS {
            for server_status in STATUSES {
                for framing in FRAMINGS {
                    for hook_status in [None, Some(200), Some(204), Some(205), Some(304), Some(404)] {
                        for hook_method in [None, Some("GET"), Some("HEAD")] {
                            cases.push(Self {
                                method,
                                server_status,
                                framing,
                                hook_status,
                                hook_method,
                            });
                        }
                    }
                }
            }
        }
        cases
    }

    /// A part of them that has every value of each.
    fn some() -> Vec<Self> {
        Self::all().into_iter().step_by(7).collect()
    }

    fn status(&self) -> u16 {
        self.hook_status.unwrap_or(self.server_status)
    }

    /// Whether the server sends content: it does as the method it sees and its own status say.
    fn server_has_content(&self) -> bool {
        self.hook_method.unwrap_or(self.method) != "HEAD"
            && !matches!(self.server_status, 204 | 205 | 304)
            && self.framing != "empty"
    }

    fn has_content(&self) -> bool {
        self.method != "HEAD" && !matches!(self.status(), 204 | 205 | 304) && self.server_has_content()
    }
}

fn part(target: &[u8], at: usize) -> String {
    let text = String::from_utf8_lossy(target).into_owned();
    text.split('/').nth(at).unwrap_or("-").to_owned()
}

/// The response of a server that frames correctly.
fn server(request: &str) -> Reply {
    let mut words = request.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (status, framing) = (part(target.as_bytes(), 1), part(target.as_bytes(), 2));
    let (fields, body) = match framing.as_str() {
        "length" => ("Content-Length: 2\r\n", "ok"),
        "chunks" => ("Transfer-Encoding: chunked\r\n", "2\r\nok\r\n0\r\n\r\n"),
        "trailers" => (
            "Transfer-Encoding: chunked\r\n",
            "2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n",
        ),
        "close" => ("Connection: close\r\n", "ok"),
        _ => ("Content-Length: 0\r\n", ""),
    };
    let (fields, body) = match (method, status.as_str()) {
        (_, "204") => ("", ""),
        (_, "205") => ("Content-Length: 0\r\n", ""),
        ("HEAD", _) | (_, "304") => (fields, ""),
        _ => (fields, body),
    };
    let reply = Reply::new(format!("HTTP/1.1 {status} Fine\r\n{fields}\r\n{body}"));
    if framing == "close" {
        reply.and_closes()
    } else {
        reply
    }
}

fn with_status_hook(setup: Setup) -> Setup {
    setup.hook(
        "response",
        edit(|exchange| {
            let wanted = part(exchange.request.borrow().target(), 3).parse();
            if let (Ok(status), Some(response)) = (wanted, &mut *exchange.response.borrow_mut()) {
                response.status = status;
            }
        }),
    )
}

fn with_method_hook(setup: Setup, phase: &str) -> Setup {
    setup.hook(
        phase,
        edit(|exchange| {
            let mut request = exchange.request.borrow_mut();
            let method = part(request.target(), 4);
            if method != "-" {
                request.set_method(method.as_bytes()).expect("it is a method");
            }
        }),
    )
}

/// Asks every case of a client with HTTP/1.1, then whether the next message is the next one.
async fn ask_all(lab: &Lab, cases: &[Case], check: impl Fn(&Case, &Message) -> Result<(), String>) {
    lab.server.responds(server);
    let mut failures = Vec::new();
    for case in cases {
        let mut client = lab.client();
        let (method, target) = (case.method, case.target());
        client
            .send(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        let asked = async {
            let message = client.response(method).await?;
            check(case, &message).map_err(|why| format!("{why}: {}", message.text))?;
            client.is_kept().await
        };
        if let Err(why) = asked.await {
            failures.push(format!("{case:?}: {why}"));
        }
    }
    report(cases.len(), &failures);
}

async fn ask_all_over_http2(
    lab: &Lab,
    cases: &[Case],
    check: impl Fn(&Case, &Message) -> Result<(), String>,
) {
    lab.server.responds(server);
    let client = lab.http2_client().await;
    let mut failures = Vec::new();
    for case in cases {
        let asked = client.request(case.method, &case.target()).await;
        if let Err(why) = asked.and_then(|message| check(case, &message)) {
            failures.push(format!("{case:?}: {why}"));
        }
    }
    report(cases.len(), &failures);
}

fn report(cases: usize, failures: &[String]) {
    let first: Vec<_> = failures.iter().take(10).cloned().collect();
    assert!(
        failures.is_empty(),
        "{} of {cases} cases:\n{}",
        failures.len(),
        first.join("\n")
    );
}

/// The status that was set, the content where there may be some, and lengths that are true.
fn is_as_sent(case: &Case, message: &Message) -> Result<(), String> {
    if message.status != case.status() {
        return Err(format!("status {}", message.status));
    }
    let expected: &[u8] = if case.has_content() { b"ok" } else { b"" };
    if message.body != expected {
        return Err(format!("content {:?}", String::from_utf8_lossy(&message.body)));
    }
    let has_trailers = case.has_content() && case.framing == "trailers";
    if has_trailers == message.trailers.is_empty() {
        return Err(format!("trailers {:?}", message.trailers));
    }
    let length = message.field("content-length");
    let is_from_empty = !case.server_has_content();
    let is_right = match (case.method, case.status(), length.as_deref()) {
        (_, 204, length) => length.is_none(),
        (_, 205, length) => length == Some("0"),
        // what the server told of the representation
        ("HEAD", _, length) | (_, 304, length) => matches!(length, None | Some("0" | "2")),
        (_, _, length) if is_from_empty => length == Some("0"),
        (_, _, length) => matches!(length, None | Some("2")),
    };
    if is_right {
        Ok(())
    } else {
        Err(format!("Content-Length {length:?}"))
    }
}

fn has_the_right_reason(case: &Case, message: &Message) -> Result<(), String> {
    is_as_sent(case, message)?;
    let changed = case
        .hook_status
        .is_some_and(|status| status != case.server_status);
    let expected = match case.status() {
        _ if !changed => "Fine",
        200 => "OK",
        204 => "No Content",
        205 => "Reset Content",
        304 => "Not Modified",
        404 => "Not Found",
        status => panic!("no hook sets {status}"),
    };
    if message.reason == expected {
        Ok(())
    } else {
        Err(format!("reason {:?}", message.reason))
    }
}

#[test]
fn relayed_responses_end_where_a_client_reads_their_end() {
    let setup = with_status_hook(with_method_hook(Setup::proxy(), "request"));
    lab::run(setup, async |lab| {
        ask_all(lab, &Case::all(), has_the_right_reason).await;
    });
}

#[test]
fn relayed_responses_end_so_over_http2() {
    let setup = with_status_hook(with_method_hook(Setup::proxy(), "request"));
    lab::run(setup, async |lab| {
        ask_all_over_http2(lab, &Case::all(), is_as_sent).await;
    });
}

#[test]
fn the_method_may_change_before_routing_and_before_an_attempt() {
    for phase in ["rewrite", "upstream_request"] {
        let setup = with_status_hook(with_method_hook(Setup::proxy(), phase));
        lab::run(setup, async |lab| {
            ask_all(lab, &Case::some(), is_as_sent).await;
        });
    }
}

#[test]
fn filtered_responses_end_where_a_client_reads_their_end() {
    for mode in ["stream", "buffer"] {
        for version in [1, 2] {
            let setup = with_status_hook(with_method_hook(Setup::proxy(), "request"));
            let setup = setup.body_hook(mode, <[u8]>::to_vec);
            lab::run(setup, async |lab| {
                if version == 1 {
                    ask_all(lab, &Case::some(), is_as_sent).await;
                } else {
                    ask_all_over_http2(lab, &Case::some(), is_as_sent).await;
                }
            });
        }
    }
}

#[test]
fn body_hooks_do_not_run_on_what_is_not_sent() {
    let setup = with_status_hook(Setup::proxy()).body_hook("buffer", |_| panic!("it has no content"));
    lab::run(setup, async |lab| {
        lab.server.responds(server);
        for target in ["/200/length/204/-", "/200/chunks/304/-", "/200/length/205/-"] {
            let message = lab.client().get(target).await.expect("it is sound");
            assert_eq!(message.body, b"", "{target}");
        }
    });
}

/// A stream of two pieces.
struct Pieces(usize);

impl BodySource for Pieces {
    fn next(&mut self) -> LocalFuture<'_, Option<Result<Vec<u8>, BodyFailed>>> {
        self.0 += 1;
        let piece: Option<&[u8]> = [&b"o"[..], b"k"].get(self.0 - 1).copied();
        Box::pin(std::future::ready(piece.map(|piece| Ok(piece.to_vec()))))
    }
}

#[test]
fn local_replies_end_where_a_client_reads_their_end() {
    for phase in ["rewrite", "request", "upstream_request", "response"] {
        for status in STATUSES {
            for is_stream in [false, true] {
                let setup = Setup::proxy().hook(
                    phase,
                    reply(status, &[("content-type", "text/plain")], move || {
                        if is_stream {
                            HookResponseBody::Stream(Box::new(Pieces(0)))
                        } else {
                            HookResponseBody::Bytes(b"ok".to_vec())
                        }
                    }),
                );
                lab::run(setup, async |lab| {
                    let http2 = lab.http2_client().await;
                    for method in METHODS {
                        let context = format!("{phase} {status} {method} stream: {is_stream}");
                        let mut client = lab.client();
                        client
                            .send(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"))
                            .await;
                        let message = client.response(method).await.expect(&context);
                        let is_empty = method == "HEAD" || matches!(status, 204 | 205 | 304);
                        let expected: &[u8] = if is_empty { b"" } else { b"ok" };
                        assert_eq!(
                            (message.status, &message.body[..]),
                            (status, expected),
                            "{context}"
                        );
                        client.send("PROBE / HTTP/1.1\r\nHost: a\r\n\r\n").await;
                        assert_eq!(
                            client.response("PROBE").await.expect(&context).status,
                            status,
                            "{context}"
                        );
                        let message = http2.request(method, "/").await.expect(&context);
                        assert_eq!(
                            (message.status, &message.body[..]),
                            (status, expected),
                            "{context}"
                        );
                    }
                });
            }
        }
    }
}

#[test]
fn fixed_responses_end_where_a_client_reads_their_end() {
    for changed in [None, Some(200), Some(204), Some(205), Some(304), Some(404)] {
        for status in STATUSES {
            let setup = Setup::respond(status, &[], "ok").hook(
                "response",
                edit(move |exchange| {
                    if let (Some(status), Some(response)) = (changed, &mut *exchange.response.borrow_mut()) {
                        response.status = status;
                    }
                }),
            );
            lab::run(setup, async |lab| {
                let http2 = lab.http2_client().await;
                for method in METHODS {
                    let mut client = lab.client();
                    let context = format!("{status} made {changed:?}, {method}");
                    client
                        .send(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"))
                        .await;
                    let message = client.response(method).await.expect(&context);
                    assert_eq!(message.status, changed.unwrap_or(status), "{context}");
                    assert!(client.is_kept().await.expect(&context), "{context}");
                    http2.request(method, "/").await.expect(&context);
                }
            });
        }
    }
}

#[test]
fn trailers_of_hooks_need_chunks_and_content() {
    for status in STATUSES {
        let setup = Setup::proxy().hook(
            "response",
            edit(move |exchange| {
                let mut trailers = headgate_wire::Head::empty();
                trailers.add(b"x-sum", b"7").expect("it is a field");
                exchange.rare().response_trailers.replace(Some(trailers));
                if let Some(response) = &mut *exchange.response.borrow_mut() {
                    response.status = status;
                }
            }),
        );
        lab::run(setup, async |lab| {
            for method in METHODS {
                let mut client = lab.client();
                let context = format!("{status} {method}");
                client
                    .send(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"))
                    .await;
                let message = client.response(method).await.expect(&context);
                let is_empty = method == "HEAD" || matches!(status, 204 | 205 | 304);
                assert_eq!(
                    message.trailers.is_empty(),
                    is_empty,
                    "{context}: {}",
                    message.text
                );
                client.is_kept().await.expect(&context);
            }
        });
    }
}

#[test]
fn a_response_made_of_a_failure_has_no_content_for_connect() {
    let setup = Setup::proxy();
    lab::run(setup, async |lab| {
        let mut client = lab.client();
        client.send("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n").await;
        let message = client.response("CONNECT").await.expect("it is refused soundly");
        assert_eq!(message.status, 501);
    });
}
