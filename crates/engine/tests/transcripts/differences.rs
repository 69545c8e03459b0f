//! Routes that differ are put into tables in use: what begins afterwards finds what it would find after a whole build.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{json, Value};

use crate::lab::{self, Lab, Reply, Setup};

fn fixed(name: &str, path: &str, body: &str) -> Value {
    json!({"name": name, "path": path, "action": {"respond": {"status": 200, "headers": [], "body": body}}})
}

fn setup() -> Setup {
    Setup::proxy().set("/first_resource_route", 2)
}

fn apply(lab: &Lab, set: &[Value], removed: &[&str]) -> Result<(), String> {
    let difference = json!({"set": set, "removed": removed}).to_string();
    let prepared = lab.worker.prepare_difference(&difference);
    prepared
        .map(|prepared| lab.worker.commit(prepared))
        .map_err(|error| error.to_string())
}

async fn body(lab: &Lab, target: &str) -> String {
    let response = lab.client().get(target).await.expect("there is a response");
    String::from_utf8(response.body).expect("the body is text")
}

#[test]
fn routes_come_change_and_go() {
    lab::run(setup(), async |lab: &Lab| {
        lab.server
            .responds(|_| Reply::new("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nserver"));
        assert_eq!(body(lab, "/x").await, "server");
        apply(
            lab,
            &[fixed("one", "/x", "first"), fixed("two", "/y/*", "two")],
            &[],
        )
        .unwrap();
        assert_eq!(
            (body(lab, "/x").await, body(lab, "/y/z").await),
            ("first".into(), "two".into())
        );
        apply(lab, &[fixed("one", "/x", "second")], &["two"]).unwrap();
        assert_eq!(
            (body(lab, "/x").await, body(lab, "/y/z").await),
            ("second".into(), "server".into())
        );
        apply(lab, &[fixed("three", "/y/*", "three")], &["one"]).unwrap();
        assert_eq!(
            (body(lab, "/x").await, body(lab, "/y/z").await),
            ("server".into(), "three".into())
        );
        assert_eq!(body(lab, "/probe").await, "probe");
    });
}

#[test]
fn what_is_refused_changes_nothing() {
    lab::run(setup(), async |lab: &Lab| {
        apply(lab, &[fixed("one", "/x", "first")], &[]).unwrap();
        let said = |set: &[Value], removed: &[&str]| apply(lab, set, removed).expect_err("it is refused");
        let refused = said(&[fixed("one", "/x", "second"), fixed("bad", "~(", "")], &[]);
        assert!(refused.starts_with("route `bad`: "), "{refused}");
        assert_eq!(
            said(&[fixed("one", "/x", "second")], &["two"]),
            "route `two` is not one of a resource"
        );
        assert_eq!(said(&[], &["probe"]), "route `probe` is not one of a resource");
        assert_eq!(
            said(&[fixed("probe", "/x", "")], &[]),
            "route `probe` is not one of a resource"
        );
        let unknown = json!({"name": "one", "path": "/x", "action": {"proxy": {"upstream": 1}}});
        assert_eq!(
            said(&[unknown], &[]),
            "route `one` goes to the unknown upstream 1"
        );
        assert_eq!(body(lab, "/x").await, "first");
    });
    lab::run(Setup::proxy(), async |lab: &Lab| {
        let refused = apply(lab, &[fixed("one", "/x", "first")], &[]);
        assert_eq!(
            refused.expect_err("it is refused"),
            "the snapshot in force takes no differences"
        );
    });
}

#[test]
fn a_request_in_flight_ends_under_the_routes_that_it_began_with() {
    lab::run(setup(), async |lab: &Lab| {
        let to_server = json!({"name": "one", "path": "/x", "action": {"proxy": {"upstream": 0}}});
        apply(lab, &[to_server], &[]).unwrap();
        lab.server
            .will(Reply::new("").then_after_a_word("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold"));
        let mut client = lab.client();
        client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
        while lab.server.seen().is_empty() {
            tokio::task::yield_now().await;
        }
        apply(lab, &[fixed("two", "/y", "new")], &["one"]).unwrap();
        lab.server.go_on();
        let response = client.response("GET").await.expect("there is a response");
        assert_eq!(response.body, b"old");
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Names and paths overlap on purpose: the order of names decides between routes of one path.
    #[test]
    fn differences_lead_where_a_whole_build_leads(
        steps in prop::collection::vec(
            prop::collection::vec((0..12_usize, prop::option::weighted(0.7, 0..6_usize)), 1..4),
            1..12,
        ),
    ) {
        const PATHS: [&str; 6] = ["/a", "/a/*", "/{x}/b", "~^/a", "/", "/a*"];
        let own = vec![fixed("own", "/", "own"), fixed("probe", "/probe", "")];
        let changed = setup().set("/routes", own.clone());
        let (found, routes) = lab::run(changed, async |lab: &Lab| {
            let mut routes: BTreeMap<String, Value> = BTreeMap::new();
            for (number, step) in steps.iter().enumerate() {
                // the last word on a name holds
                let said: BTreeMap<String, Option<usize>> =
                    step.iter().map(|(name, path)| (format!("r{name:02}"), *path)).collect();
                let set: Vec<Value> = said
                    .iter()
                    .filter_map(|(name, path)| Some(fixed(name, PATHS[(*path)?], &format!("{name} {number}"))))
                    .collect();
                let is_removed = |name: &&str| said[*name].is_none() && routes.contains_key(*name);
                let removed: Vec<&str> = said.keys().map(String::as_str).filter(is_removed).collect();
                apply(lab, &set, &removed).expect("the difference is usable");
                routes.retain(|name, _| !said.contains_key(name));
                routes.extend(set.into_iter().map(|route| (route["name"].as_str().unwrap_or("").to_owned(), route)));
            }
            (bodies(lab).await, routes)
        });
        let whole: Vec<Value> = own.into_iter().chain(routes.into_values()).collect();
        let expected = lab::run(setup().set("/routes", whole), async |lab: &Lab| bodies(lab).await);
        prop_assert_eq!(found, expected);
    }
}

async fn bodies(lab: &Lab) -> Vec<String> {
    let mut found = Vec::new();
    for target in ["/a", "/a/b", "/c/b", "/ab", "/other"] {
        found.push(body(lab, target).await);
    }
    found
}
