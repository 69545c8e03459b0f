use std::cell::Cell;

use proptest::prelude::*;

use super::*;
use crate::{FieldMatch, HostPattern, PathPattern, Verdict};

struct Request<'a> {
    host: &'a str,
    target: &'a str,
    method: &'a str,
    fields: &'a [(&'a str, &'a str)],
}

impl Fields for Request<'_> {
    fn header(&self, name: &str) -> Option<&[u8]> {
        let field = self.fields.iter().find(|(key, _)| *key == name);
        field.map(|(_, value)| value.as_bytes())
    }
}

const GET: Request<'_> = Request {
    host: "a.com",
    target: "/",
    method: "GET",
    fields: &[],
};

fn spec(hosts: &[&str], path: &str) -> RouteSpec {
    RouteSpec {
        hosts: hosts
            .iter()
            .map(|host| HostPattern::parse(host).expect(host))
            .collect(),
        path: PathPattern::parse(path).expect(path),
        methods: vec![],
        headers: vec![],
        queries: vec![],
        function: false,
        priority: 0,
    }
}

fn router(specs: Vec<RouteSpec>) -> Router {
    Router::build(specs).expect("the routes are sound")
}

fn candidate<'a>(request: &Request<'a>) -> Candidate<'a> {
    let (path, query) = request.target.split_once('?').unwrap_or((request.target, ""));
    Candidate {
        host: request.host.as_bytes(),
        path: path.as_bytes(),
        query: query.as_bytes(),
        method: request.method.as_bytes(),
    }
}

fn ask(router: &Router, request: &Request<'_>, function: &mut dyn FnMut(usize) -> bool) -> (Found, Params) {
    let mut params = Params::new();
    let found = router.find(&candidate(request), request, &mut params, function);
    (found, params)
}

fn found(router: &Router, request: &Request<'_>) -> Option<usize> {
    match ask(router, request, &mut |_| true).0 {
        Found::Route(index) => Some(index),
        _ => None,
    }
}

fn at_path(router: &Router, target: &str) -> Option<usize> {
    found(router, &Request { target, ..GET })
}

fn at_host(router: &Router, host: &str) -> Option<usize> {
    found(router, &Request { host, ..GET })
}

fn params(router: &Router, target: &str) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (_, params) = ask(router, &Request { target, ..GET }, &mut |_| true);
    params
        .iter()
        .map(|(name, value)| (name.to_owned(), text(value)))
        .collect()
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn test_hosts_go_from_exact_to_any() {
    let hosts = [
        "*",
        "~^[a-z]+\\.b\\.com$",
        "~b",
        "w.*",
        "w.b.*",
        "*.com",
        "*.b.com",
        "w.b.com",
    ];
    let router = router(hosts.iter().map(|host| spec(&[host], "/")).collect());
    for (host, expected) in [
        ("w.b.com", 7),
        ("W.B.COM", 7),
        ("w.b.com.", 7),
        ("x.b.com", 6),
        ("x.y.b.com", 6),
        ("b.com", 5),
        (".com", 0),
        ("w.b.org", 4),
        ("w.c.org", 3),
        ("w.", 0),
        ("xb", 2),
        ("x", 0),
        ("", 0),
    ] {
        assert_eq!(at_host(&router, host), Some(expected), "{host}");
    }
}

#[test]
fn test_host_regexes_go_in_the_order_listed() {
    // The more specific paths come later: the order of regexes is not theirs.
    let router = router(vec![
        spec(&["~b$"], "/"),
        spec(&["~^a"], "/x"),
        spec(&["~^ab"], "=/x"),
    ]);
    let request = Request {
        host: "ab",
        target: "/x",
        ..GET
    };
    assert_eq!(found(&router, &request), Some(0));
}

#[test]
fn test_paths_go_from_exact_to_any() {
    let router = router(vec![
        spec(&[], "/"),
        spec(&[], "~^/api/v[0-9]"),
        spec(&[], "~^/(api|x)"),
        spec(&[], "/api/*"),
        spec(&[], "/api/{version}/*"),
        spec(&[], "/api/{version}"),
        spec(&[], "/api/users/*"),
        spec(&[], "/api/users/me"),
        spec(&[], "/a*"),
    ]);
    for (path, expected) in [
        ("/api/users/me", 7),
        ("/api/users/me/x", 6),
        ("/api/users", 6),
        ("/api/v1/x", 4),
        ("/api/v1", 4),
        ("/api/", 3),
        ("/api", 3),
        ("/apis", 8),
        ("/x", 2),
        ("/", 0),
        ("/y", 0),
        ("*", 0),
        ("/%61pi/users/./me", 7),
    ] {
        assert_eq!(at_path(&router, path), Some(expected), "{path}");
    }
}

#[test]
fn test_a_whole_template_goes_before_one_with_a_rest_of_equal_length() {
    let router = router(vec![
        spec(&[], "/a/*"),
        spec(&[], "/a/{x}"),
        spec(&[], "/a/{x:path}"),
    ]);
    assert_eq!(at_path(&router, "/a/1"), Some(1));
    assert_eq!(at_path(&router, "/a/1/2"), Some(0));
    assert_eq!(at_path(&router, "/a"), Some(0));
}

#[test]
fn test_prefixes_end_where_they_say() {
    let router = router(vec![spec(&[], "/img*"), spec(&[], "/dir/*"), spec(&[], "/x/")]);
    for (path, expected) in [
        ("/img", Some(0)),
        ("/img/a", Some(0)),
        ("/images", None),
        ("/imgs", Some(0)),
        ("/dir", Some(1)),
        ("/dir/", Some(1)),
        ("/directory", None),
        ("/x/", Some(2)),
        ("/x", None),
    ] {
        assert_eq!(at_path(&router, path), expected, "{path}");
    }
}

#[test]
fn test_routes_with_more_conditions_go_first_then_the_order_listed() {
    let plain = spec(&[], "/x");
    let mut one = plain.clone();
    one.headers = vec![FieldMatch::parse("X-A", None).expect("it is sound")];
    let mut two = one.clone();
    two.methods = vec!["get".to_owned()];
    let router = router(vec![plain.clone(), plain, one, two]);
    let fields = &[("x-a", "1")];
    let request = Request {
        target: "/x",
        fields,
        ..GET
    };
    assert_eq!(found(&router, &request), Some(3));
    assert_eq!(
        found(
            &router,
            &Request {
                method: "PUT",
                ..request
            }
        ),
        Some(2)
    );
    assert_eq!(at_path(&router, "/x"), Some(0));
}

#[test]
fn test_regex_paths_go_in_the_order_listed_whatever_their_conditions() {
    let mut narrow = spec(&[], "~^/x");
    narrow.methods = vec!["GET".to_owned()];
    let router = router(vec![spec(&[], "~^/"), narrow]);
    assert_eq!(at_path(&router, "/x"), Some(0));
}

#[test]
fn test_priority_goes_before_everything() {
    let mut first = spec(&[], "/");
    first.priority = 1;
    first.methods = vec!["GET".to_owned()];
    let mut last = spec(&["a.com"], "/x");
    last.priority = -1;
    let router = router(vec![
        last,
        spec(&["*.com"], "/x"),
        first,
        spec(&["a.com"], "/x/*"),
    ]);
    let put = |target| {
        found(
            &router,
            &Request {
                target,
                method: "PUT",
                ..GET
            },
        )
    };
    assert_eq!(at_path(&router, "/x"), Some(2));
    assert_eq!(put("/x"), Some(3));
    assert_eq!(put("/x/y"), Some(3));
}

#[test]
fn test_a_less_specific_route_is_tried_when_conditions_fail() {
    let mut exact = spec(&["a.com"], "/x");
    exact.queries = vec![FieldMatch::parse("v", Some("2")).expect("it is sound")];
    let router = router(vec![exact, spec(&[], "/")]);
    assert_eq!(at_path(&router, "/x?v=2"), Some(0));
    assert_eq!(at_path(&router, "/x?v=3"), Some(1));
}

#[test]
fn test_fields_present_equal_regex_and_absent() {
    for (name, value, target, fields, expected) in [
        ("x-a", None, "/", &[("x-a", "")][..], true),
        ("x-a", None, "/", &[], false),
        ("x-a", Some("1"), "/", &[("x-a", "1")], true),
        ("x-a", Some("1"), "/", &[("x-a", "11")], false),
        ("x-a", Some("~^1+$"), "/", &[("x-a", "11")], true),
        ("x-a", Some("~*YES"), "/", &[("x-a", "yes")], true),
        ("!x-a", None, "/", &[], true),
        ("!x-a", None, "/", &[("x-a", "1")], false),
    ] {
        let mut route = spec(&[], "/");
        route.headers = vec![FieldMatch::parse(name, value).expect(name)];
        let request = Request {
            target,
            fields,
            ..GET
        };
        assert_eq!(
            found(&router(vec![route]), &request).is_some(),
            expected,
            "{name} {value:?}"
        );
    }
}

#[test]
fn test_queries_are_decoded_and_any_of_several_values_counts() {
    for (name, value, query, expected) in [
        ("a b", Some("c d"), "a+b=c%20d", true),
        ("v", Some("2"), "v=1&v=2", true),
        ("v", None, "v", true),
        ("v", None, "&&w=v", false),
        ("V", None, "v=1", false),
        ("!v", None, "w=1", true),
        ("!v", None, "w=1&v", false),
        ("v", Some("~^[0-9]+$"), "v=x&v=12", true),
    ] {
        let mut route = spec(&[], "/");
        route.queries = vec![FieldMatch::parse(name, value).expect(name)];
        let target = format!("/?{query}");
        let is_found = at_path(&router(vec![route]), &target).is_some();
        assert_eq!(is_found, expected, "{name} {query}");
    }
}

#[test]
fn test_bad_conditions_name_the_field_and_give_a_hint() {
    for (name, value) in [("", None), ("!", None), ("!x", Some("1")), ("x", Some("~("))] {
        let error = FieldMatch::parse(name, value).expect_err(name).to_string();
        assert!(error.contains("hint: "), "{error}");
        assert!(
            error.contains(&format!("`{}`", value.filter(|v| *v == "~(").unwrap_or(name))),
            "{error}"
        );
    }
}

#[test]
fn test_a_function_is_asked_last_and_once() {
    let mut route = spec(&["a.com", "*"], "/x");
    route.function = true;
    route.methods = vec!["GET".to_owned()];
    let router = router(vec![route, spec(&[], "/")]);
    let asked = Cell::new(0);
    let ask_with = |target, method, matches| {
        let request = Request {
            target,
            method,
            ..GET
        };
        let mut function = |index| {
            assert_eq!(index, 0);
            asked.set(asked.get() + 1);
            matches
        };
        ask(&router, &request, &mut function).0
    };
    assert_eq!(ask_with("/x", "GET", true), Found::Route(0));
    assert_eq!(ask_with("/x", "GET", false), Found::Route(1));
    assert_eq!(asked.get(), 2);
    ask_with("/x", "PUT", true);
    ask_with("/y", "GET", true);
    assert_eq!(asked.get(), 2);
}

#[test]
fn test_method_not_allowed_lists_what_is() {
    let mut read = spec(&["a.com", "*"], "/x");
    read.methods = vec!["get".to_owned()];
    let mut write = spec(&[], "/x");
    write.methods = vec!["PUT".to_owned(), "DELETE".to_owned()];
    let router = router(vec![read, write]);
    let method = |method| {
        ask(
            &router,
            &Request {
                target: "/x",
                method,
                ..GET
            },
            &mut |_| true,
        )
        .0
    };
    let allowed = ["DELETE", "GET", "HEAD", "PUT"].map(str::to_owned).to_vec();
    assert_eq!(method("POST"), Found::MethodNotAllowed(allowed));
    assert_eq!(method("HEAD"), Found::Route(0));
    assert_eq!(method("DELETE"), Found::Route(1));
    assert_eq!(
        ask(
            &router,
            &Request {
                target: "/y",
                method: "POST",
                ..GET
            },
            &mut |_| true
        )
        .0,
        Found::None
    );
}

#[test]
fn test_bad_methods_are_refused_with_the_route() {
    let mut bad = spec(&[], "/");
    bad.methods = vec!["GET, PUT".to_owned()];
    let error = Router::build(vec![spec(&[], "/"), bad]).expect_err("it is not a token");
    assert!(
        error
            .to_string()
            .starts_with("`GET, PUT` in route 1 is not a valid method"),
        "{error}"
    );
}

#[test]
fn test_params_of_templates_are_decoded() {
    let router = router(vec![
        spec(&[], "/api/{version}/*"),
        spec(&[], "/files/{name:path}"),
    ]);
    assert_eq!(params(&router, "/api/v%2f1%20/x"), [pair("version", "v/1 ")]);
    assert_eq!(params(&router, "/files/a/b%2541"), [pair("name", "a/b%41")]);
    assert_eq!(params(&router, "/files"), [pair("name", "")]);
    assert_eq!(params(&router, "/none"), []);
}

#[test]
fn test_params_inside_segments() {
    let router = router(vec![spec(&[], "/v{version}/img-{id}.png")]);
    assert_eq!(
        params(&router, "/v2/img-a.b.png"),
        [pair("version", "2"), pair("id", "a.b")]
    );
    for path in ["/v/img-a.png", "/v2/img-.png", "/v2/img-a.jpg", "/v2/img-a.png/"] {
        assert_eq!(at_path(&router, path), None, "{path}");
    }
}

#[test]
fn test_params_of_regexes_are_their_named_groups() {
    let router = router(vec![spec(&[], "~^/(?<kind>a|b)/(x)?(?<id>[0-9]+)?$")]);
    assert_eq!(params(&router, "/a/12"), [pair("kind", "a"), pair("id", "12")]);
    assert_eq!(params(&router, "/b/x"), [pair("kind", "b")]);
}

#[test]
fn test_params_are_forgotten_by_the_next_lookup() {
    let router = router(vec![spec(&[], "/{a}"), spec(&[], "/x/y")]);
    let mut params = Params::new();
    let mut find = |path: &str| {
        let candidate = Candidate {
            host: b"",
            path: path.as_bytes(),
            query: b"",
            method: b"GET",
        };
        router.find(&candidate, &GET, &mut params, &mut |_| true);
        params.get("a").map(<[u8]>::to_vec)
    };
    assert_eq!(find("/1"), Some(b"1".to_vec()));
    assert_eq!(find("/x/y"), None);
    assert_eq!(find("/%zz"), None);
}

#[test]
fn test_templates_try_literals_and_params_of_one_segment() {
    let router = router(vec![
        spec(&[], "/a/{x}/c"),
        spec(&[], "/a/b/d"),
        spec(&[], "/{y}/b/*"),
    ]);
    assert_eq!(at_path(&router, "/a/b/c"), Some(0));
    assert_eq!(at_path(&router, "/a/b/e"), Some(2));
    assert_eq!(at_path(&router, "/a/b/d"), Some(1));
    assert_eq!(at_path(&router, "/a//c"), None);
}

#[test]
fn test_a_router_without_routes_finds_nothing() {
    assert_eq!(ask(&router(vec![]), &GET, &mut |_| true).0, Found::None);
}

/// The order of choice, written once more as plainly as possible: all matching routes, the best by a key.
fn best_prefix(prefixes: &[String], path: &str) -> Option<usize> {
    let matches =
        |prefix: &str| path.starts_with(prefix) || prefix.strip_suffix('/').is_some_and(|bare| bare == path);
    let matching = prefixes
        .iter()
        .enumerate()
        .filter(|(_, prefix)| matches(prefix.as_str()));
    matching
        .max_by_key(|(index, prefix)| (prefix.len(), std::cmp::Reverse(*index)))
        .map(|best| best.0)
}

proptest! {
    #[test]
    fn test_the_longest_prefix_is_found(
        prefixes in prop::collection::vec("/[ab/]{1,6}", 1..20), path in "/[ab/]{0,8}"
    ) {
        let router = router(prefixes.iter().map(|prefix| spec(&[], &format!("{prefix}*"))).collect());
        prop_assert_eq!(at_path(&router, &path), best_prefix(&prefixes, &path));
    }

    #[test]
    fn test_any_request_is_judged_without_panic(
        host in prop::collection::vec(any::<u8>(), 0..20), path in prop::collection::vec(any::<u8>(), 0..20),
        query in prop::collection::vec(any::<u8>(), 0..20)
    ) {
        let mut asking = spec(&["*.b", "a.*", "~."], "/{x}");
        asking.queries = vec![FieldMatch::parse("!q", None).expect("it is sound")];
        let router = router(vec![asking, spec(&[], "/{a}-b/{c:path}"), spec(&[], "/a*")]);
        let candidate = Candidate { host: &host, path: &path, query: &query, method: b"GET" };
        router.find(&candidate, &GET, &mut Params::new(), &mut |_| true);
    }
}

#[test]
fn test_the_port_of_a_host_decides_nothing() {
    let router = router(vec![
        spec(&["a.com"], "/"),
        spec(&["[::1]"], "/"),
        spec(&["*"], "/"),
    ]);
    for (host, route) in [
        ("a.com", 0),
        ("A.com:80", 0),
        ("a.com.:80", 0),
        ("[::1]:80", 1),
        ("[::1]", 1),
        ("b:80", 2),
    ] {
        assert_eq!(at_host(&router, host), Some(route), "{host}");
    }
}

fn verdicts(router: &Router, request: &Request<'_>, function: bool) -> Vec<(usize, Verdict)> {
    router.explain(&candidate(request), request, &mut |_| function)
}

#[test]
fn test_each_route_has_the_first_reason_that_keeps_the_request_from_it() {
    let with = |path: &str, change: &dyn Fn(&mut RouteSpec)| {
        let mut made = spec(&["a.com", "*.a.com"], path);
        change(&mut made);
        made
    };
    let header = |value| FieldMatch::parse("X-Key", value).expect("it is sound");
    let router = router(vec![
        with("/x", &|_| {}),
        with("/x", &|one| one.methods = vec!["post".into()]),
        with("/x", &|one| one.headers = vec![header(Some("1"))]),
        with("/x", &|one| {
            one.queries = vec![FieldMatch::parse("q", None).expect("it is sound")];
        }),
        with("/x", &|one| one.function = true),
        with("/y", &|_| {}),
        spec(&["b.com"], "/x"),
        with("/*", &|one| one.priority = -1),
        spec(&["~^c"], "/x"),
    ]);
    let request = Request {
        host: "A.com:80",
        target: "/x",
        ..GET
    };
    let method = Verdict::Method(vec!["POST".into()]);
    let rest = [
        (0, Verdict::Takes),
        (7, Verdict::ComesLater),
        (5, Verdict::Path),
        (6, Verdict::Host),
        (8, Verdict::Host),
    ];
    let expected = |function: Verdict| {
        let conditions = [
            (1, method.clone()),
            (2, Verdict::Header("x-key".into())),
            (3, Verdict::Query("q".into())),
            (4, function),
        ];
        [&conditions[..], &rest[..]].concat()
    };
    assert_eq!(verdicts(&router, &request, false), expected(Verdict::Function));
    let mut taken = expected(Verdict::Takes);
    taken[4].1 = Verdict::ComesLater;
    assert_eq!(verdicts(&router, &request, true), taken);
}

proptest! {
    #[test]
    fn test_what_is_told_is_what_is_found(
        host in "(a|b|x\\.a)\\.com", path in "/[ab]{0,2}", method in "GET|POST|HEAD", has_key in any::<bool>(),
        chosen in prop::collection::vec((0_usize..5, 0_usize..5, 0_usize..3, any::<bool>(), -1_i32..2), 1..12)
    ) {
        const HOSTS: [&[&str]; 5] = [&[], &["a.com"], &["*.com", "a.com"], &["~^x", "*.a.com"], &["b.*"]];
        const PATHS: [&str; 5] = ["/", "/a", "/a*", "/{p}", "~^/b"];
        const METHODS: [&[&str]; 3] = [&[], &["GET"], &["POST", "PUT"]];
        let specs = chosen.iter().map(|(host, path, methods, asks, priority)| RouteSpec {
            methods: METHODS[*methods].iter().map(ToString::to_string).collect(),
            headers: asks.then(|| FieldMatch::parse("key", None).expect("it is sound")).into_iter().collect(),
            priority: *priority,
            ..spec(HOSTS[*host], PATHS[*path])
        });
        let router = router(specs.collect());
        let fields: &[(&str, &str)] = if has_key { &[("key", "1")] } else { &[] };
        let request = Request { host: &host, target: &path, method: &method, fields };
        let told = verdicts(&router, &request, true);
        let takes = told.iter().find(|(_, verdict)| *verdict == Verdict::Takes).map(|(index, _)| *index);
        prop_assert_eq!(takes, found(&router, &request));
        let is_only_method = matches!(ask(&router, &request, &mut |_| true).0, Found::MethodNotAllowed(_));
        let is_told = takes.is_none() && told.iter().any(|(_, verdict)| matches!(verdict, Verdict::Method(_)));
        prop_assert_eq!(is_told, is_only_method);
        let every: std::collections::BTreeSet<usize> = told.iter().map(|(index, _)| *index).collect();
        prop_assert_eq!((every.len(), told.len()), (chosen.len(), chosen.len()));
    }
}
