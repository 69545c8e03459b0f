//! Upstreams whose servers are found by name: some have none yet, and servers have a name beside their address.

use serde_json::json;

use crate::lab::{self, Reply, Setup};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn an_upstream_without_servers_is_a_503_however_it_balances() {
    let balances = [
        "round_robin",
        "least_conn",
        "least_time",
        "p2c",
        "random",
        "hash",
        "ip_hash",
        "first",
    ];
    let algorithms = ["ring", "maglev", "rendezvous"];
    for (balance, algorithm) in balances
        .iter()
        .flat_map(|one| algorithms.map(|algorithm| (*one, algorithm)))
    {
        let upstream = json!([{
            "name": "u", "balance": balance, "hash_algorithm": algorithm, "hash_bound_percent": 125, "retries": 1,
            "panic_percent": 50, "host": "preserve", "servers": [],
            "outlier": {
                "consecutive": 5, "error_percent": 50, "latency_percent": 300, "interval": 1000, "min_requests": 1,
                "ejection": 1000, "max_ejection": 1000, "max_ejected_percent": 50, "kinds": ["connect"],
                "statuses": [[500, 599]],
            },
            "keepalive": {"max_idle": 8, "idle_timeout": 50_000, "max_requests": 0, "ping": 10_000},
        }]);
        lab::run(Setup::proxy().set("/upstreams", upstream), async |lab| {
            let response = lab.client().get("/x").await.expect("there is a response");
            assert_eq!(response.status, 503, "{balance} {algorithm}");
        });
    }
}

#[test]
fn a_server_that_was_found_by_a_name_is_told_the_name() {
    for (host, told) in [
        ("app.internal:9000", "app.internal:9000"),
        ("app.internal:80", "app.internal"),
    ] {
        let server = json!([{
            "address": "192.0.2.7:9000", "host": host, "weight": 1, "max_fails": 0, "fail_timeout": 1000,
            "backup": false, "max_connections": 0,
        }]);
        let setup = Setup::proxy()
            .set("/upstreams/0/host", "server")
            .set("/upstreams/0/servers", server);
        lab::run(setup, async |lab| {
            lab.server.will(Reply::new(OK));
            let response = lab.client().get("/x").await.expect("there is a response");
            assert_eq!(response.status, 200);
            let seen = &lab.server.seen()[0].text;
            assert!(seen.contains(&format!("\r\nHost: {told}\r\n")), "{seen}");
        });
    }
}
