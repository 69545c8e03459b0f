//! What a lookup among 10,000 routes costs over one among a single route.
//!
//! `cargo test --release -p headgate-route --test lookup_cost -- --ignored --nocapture`

use std::hint::black_box;
use std::time::Instant;

use headgate_route::{Candidate, Fields, Found, HostPattern, Params, PathPattern, RouteSpec, Router};

const HOSTS: usize = 1000;
const PREFIXES: usize = 10;
const LOOKUPS: usize = 200_000;

struct NoFields;

impl Fields for NoFields {
    fn header(&self, _name: &str) -> Option<&[u8]> {
        None
    }
}

fn route(host: &str, path: &str) -> RouteSpec {
    RouteSpec {
        hosts: vec![HostPattern::parse(host).expect("the host is sound")],
        path: PathPattern::parse(path).expect("the path is sound"),
        methods: vec![],
        headers: vec![],
        queries: vec![],
        function: false,
        priority: 0,
    }
}

/// Routes of the first `hosts` hosts, `prefixes` each.
fn routes(hosts: usize, prefixes: usize) -> Vec<RouteSpec> {
    let of_host = |host| (0..prefixes).map(move |prefix| (host, prefix));
    (0..hosts)
        .flat_map(of_host)
        .map(|(host, prefix)| route(&format!("host{host}.example.com"), &format!("/app{prefix}/*")))
        .collect()
}

/// Nanoseconds a lookup, the best of five rounds: the others were disturbed.
fn cost(router: &Router, hosts: usize, prefixes: usize) -> u128 {
    let targets: Vec<(String, String, usize)> = (0..1009)
        .map(|n| (n * 7919 % hosts, n * 31 % prefixes))
        .map(|(host, prefix)| {
            let path = format!("/app{prefix}/some/page.html");
            (format!("host{host}.example.com"), path, host * prefixes + prefix)
        })
        .collect();
    let mut params = Params::new();
    let mut round = || {
        let start = Instant::now();
        for (host, path, expected) in targets.iter().cycle().take(LOOKUPS) {
            let (host, path) = (host.as_bytes(), path.as_bytes());
            let candidate = Candidate {
                host,
                path,
                query: b"",
                method: b"GET",
            };
            let found = router.find(black_box(&candidate), &NoFields, &mut params, &mut |_| true);
            assert_eq!(found, Found::Route(*expected));
        }
        start.elapsed().as_nanos() / LOOKUPS as u128
    };
    (0..5).map(|_| round()).min().expect("there are rounds")
}

#[test]
#[ignore = "a measurement: run it alone, optimised"]
fn measure_ten_thousand_routes_over_one() {
    let one = Router::build(routes(1, 1)).expect("the routes are sound");
    let start = Instant::now();
    let many = Router::build(routes(HOSTS, PREFIXES)).expect("the routes are sound");
    let build_ms = start.elapsed().as_millis();
    let (one_ns, many_ns) = (cost(&one, 1, 1), cost(&many, HOSTS, PREFIXES));
    println!("1 route: {one_ns} ns a lookup");
    println!(
        "{} routes: {many_ns} ns a lookup, built in {build_ms} ms",
        HOSTS * PREFIXES
    );
    assert!(
        many_ns <= one_ns + 1500,
        "the bar is 1500 ns over one route: {one_ns} and {many_ns}"
    );
}
