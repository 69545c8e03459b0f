//! The last good responses of an upstream, for clients that no server can serve (`stale-if-error`, RFC 5861 section 4).
//!
//! # How it works
//! This is no cache: every request goes to a server, and what is kept is given in place of an error only. What a shared cache may
//! not store, or not use when it is stale (RFC 9111 sections 3, 4.2.4 and 5.2.2), is not kept. Each worker keeps its own, in
//! bounded memory: of each key the last response, and where there is no room, those go first that were renewed longest ago.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use headgate_wire::{list_elements, Head};

use crate::spec;

/// What an entry counts beside its bytes.
const OVERHEAD_BYTES: usize = 256;

/// See the module.
pub struct Stale {
    spec: spec::Stale,
    kept: Rc<RefCell<Entries>>,
}

#[derive(Default)]
struct Entries {
    by_key: HashMap<Vec<u8>, (u64, Rc<Kept>)>,
    /// Keys by when they were renewed.
    order: BTreeMap<u64, Vec<u8>>,
    next: u64,
    bytes: usize,
}

/// A response that is kept.
pub struct Kept {
    /// Its status.
    pub status: u16,
    /// Its fields, but those of its framing.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Its body.
    pub body: Vec<u8>,
    /// How it may be used.
    pub terms: Terms,
    /// When it came, on the worker's clock.
    pub since_ms: u64,
}

/// For how long, and for which requests, a response may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// How old it was when it came, in seconds.
    pub age_s: u64,
    /// How long it may be used from then on, in seconds.
    pub usable_s: u64,
    /// The request's fields that it depends on (`Vary`), with what its own request had in them.
    pub varied: Vec<(String, Vec<u8>)>,
}

impl Stale {
    pub(crate) fn new(spec: &spec::Stale) -> Self {
        Self {
            spec: spec.clone(),
            kept: Rc::default(),
        }
    }

    /// Goes on with what another configuration of the same upstream has kept.
    pub(crate) fn follow(&mut self, old: &Self) {
        self.kept = Rc::clone(&old.kept);
    }

    /// The most bytes that a body may have.
    pub fn max_body_bytes(&self) -> usize {
        self.spec.max_body_bytes
    }

    /// The terms of a response that may be kept; none if it may not. `now_s`: seconds since 1970; `date`: reads an HTTP date.
    pub fn terms(
        &self,
        (status, response): (u16, &Head),
        request: &Head,
        date: impl Fn(&[u8]) -> Option<u64>,
    ) -> Option<Terms> {
        if !matches!(status, 200 | 203 | 301 | 308) || response.get(b"set-cookie").is_some() {
            return None;
        }
        let control = Control::of(response);
        if control.forbids || (request.get(b"cookie").is_some() && !control.is_public) {
            return None;
        }
        let dates = || Some(date(response.get(b"expires")?)?.saturating_sub(date(response.get(b"date")?)?));
        let fresh_s = control.fresh_s.or_else(dates);
        let age = response.get(b"age").and_then(seconds);
        let age_s = age.unwrap_or(0);
        let stale_s = match control.if_error_s {
            _ if control.revalidates => 0,
            Some(seconds) => seconds,
            None if control.is_shared => 0,
            None => self.spec.max_age_s,
        };
        let usable_s = fresh_s
            .unwrap_or(0)
            .saturating_add(stale_s)
            .saturating_sub(age_s)
            .min(self.spec.max_age_s);
        let mut names: Vec<String> = Vec::new();
        for name in response.get_all(b"vary").flat_map(list_elements) {
            names.push(String::from_utf8_lossy(name).to_ascii_lowercase());
        }
        if response.get(b"content-encoding").is_some() {
            names.push("accept-encoding".to_owned());
        }
        if usable_s == 0 || names.iter().any(|name| name == "*") {
            return None;
        }
        let names = names.into_iter().filter(|name| !name.is_empty());
        Some(Terms {
            age_s,
            usable_s,
            varied: names
                .map(|name| (joined(request, &name), name))
                .map(|(value, name)| (name, value))
                .collect(),
        })
    }

    /// Keeps a response in place of the last one of that key.
    pub fn keep(&self, key: Vec<u8>, kept: Kept) {
        let size = size(&key, &kept);
        if size > self.spec.max_bytes {
            return;
        }
        let mut entries = self.kept.borrow_mut();
        entries.remove(&key);
        entries.bytes += size;
        while entries.bytes > self.spec.max_bytes {
            let Some((_, oldest)) = entries.order.pop_first() else {
                break;
            };
            entries.remove(&oldest);
        }
        let number = entries.next;
        entries.next += 1;
        entries.order.insert(number, key.clone());
        entries.by_key.insert(key, (number, Rc::new(kept)));
    }

    /// Keeps none of that key any more.
    pub fn forget(&self, key: &[u8]) {
        self.kept.borrow_mut().remove(key);
    }

    /// The response of that key that may be given to such a request, and its age in seconds.
    pub fn find(&self, key: &[u8], request: &Head, now_ms: u64) -> Option<(Rc<Kept>, u64)> {
        let entries = self.kept.borrow();
        let (_, kept) = entries.by_key.get(key)?;
        let for_s = now_ms.saturating_sub(kept.since_ms) / 1000;
        let fits = |(name, value): &(String, Vec<u8>)| joined(request, name) == *value;
        let is_usable = for_s <= kept.terms.usable_s.min(self.spec.max_age_s);
        (is_usable && kept.terms.varied.iter().all(fits)).then(|| (Rc::clone(kept), kept.terms.age_s + for_s))
    }
}

impl Entries {
    fn remove(&mut self, key: &[u8]) {
        if let Some((number, kept)) = self.by_key.remove(key) {
            self.order.remove(&number);
            self.bytes -= size(key, &kept);
        }
    }
}

fn size(key: &[u8], kept: &Kept) -> usize {
    let fields = kept.fields.iter().map(|(name, value)| name.len() + value.len());
    OVERHEAD_BYTES + 2 * key.len() + kept.body.len() + fields.sum::<usize>()
}

/// All values of a field, as one.
fn joined(head: &Head, name: &str) -> Vec<u8> {
    head.get_all(name.as_bytes()).collect::<Vec<_>>().join(&b", "[..])
}

/// What `Cache-Control` of a response says to shared caches (RFC 9111 section 5.2.2, RFC 5861 section 4).
#[derive(Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a directive")]
struct Control {
    /// It may not be stored, or not be used without asking its server.
    forbids: bool,
    is_public: bool,
    /// It may not be used once it is stale.
    revalidates: bool,
    /// The same, of `s-maxage`.
    is_shared: bool,
    fresh_s: Option<u64>,
    if_error_s: Option<u64>,
}

impl Control {
    fn of(head: &Head) -> Self {
        let mut control = Self::default();
        for element in head.get_all(b"cache-control").flat_map(list_elements) {
            let text = String::from_utf8_lossy(element).to_ascii_lowercase();
            let (name, value) = text.split_once('=').unwrap_or((&text, ""));
            let told = || Some(seconds(value.trim_matches('"').as_bytes()).unwrap_or(0));
            match name {
                // with names of fields as well: those are not told from the others
                "no-store" | "private" | "no-cache" => control.forbids = true,
                "public" => control.is_public = true,
                "must-revalidate" | "proxy-revalidate" => control.revalidates = true,
                "s-maxage" => (control.is_shared, control.fresh_s) = (true, told()),
                "max-age" if !control.is_shared => control.fresh_s = told(),
                "stale-if-error" => control.if_error_s = told(),
                _ => {}
            }
        }
        control
    }
}

fn seconds(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&str, &str)]) -> Head {
        let mut head = Head::with_room();
        for (name, value) in fields {
            head.add(name.as_bytes(), value.as_bytes()).unwrap();
        }
        head
    }

    fn store(max_bytes: usize) -> Stale {
        Stale::new(&spec::Stale {
            max_age_s: 100,
            max_bytes,
            max_body_bytes: 1000,
        })
    }

    fn usable(response: &[(&str, &str)], request: &[(&str, &str)]) -> Option<u64> {
        let date = |text: &[u8]| std::str::from_utf8(text).ok()?.parse().ok();
        let terms = store(1 << 20).terms((200, &head(response)), &head(request), date);
        terms.map(|terms| terms.usable_s)
    }

    #[test]
    fn what_a_response_says_decides_whether_and_for_how_long_it_is_kept() {
        let said = |control: &str| usable(&[("cache-control", control)], &[]);
        assert_eq!(usable(&[], &[]), Some(100), "nothing is said: the longest");
        for control in [
            "no-store",
            "private",
            "max-age=5, no-cache",
            "must-revalidate",
            "s-maxage=0",
            "Private=\"x\"",
        ] {
            assert_eq!(said(control), None, "{control}");
        }
        assert_eq!(said("max-age=5, stale-if-error=20"), Some(25));
        assert_eq!(said("stale-if-error=0"), None);
        assert_eq!(said("max-age=5, stale-if-error=2000"), Some(100));
        assert_eq!(said("max-age=5, must-revalidate, stale-if-error=20"), Some(5));
        assert_eq!(said("max-age=50, s-maxage=7"), Some(7));
        assert_eq!(said("s-maxage=7, max-age=50, stale-if-error=3"), Some(10));
        assert_eq!(
            usable(
                &[("cache-control", "max-age=9, stale-if-error=1"), ("age", "4")],
                &[]
            ),
            Some(6)
        );
        let dated = [
            ("expires", "1030"),
            ("date", "1000"),
            ("cache-control", "stale-if-error=1"),
        ];
        assert_eq!(usable(&dated, &[]), Some(31));
        assert_eq!(usable(&[("set-cookie", "a=b")], &[]), None);
        assert_eq!(usable(&[("vary", "*")], &[]), None);
        assert_eq!(usable(&[], &[("cookie", "a=b")]), None);
        assert_eq!(
            usable(&[("cache-control", "public")], &[("cookie", "a=b")]),
            Some(100)
        );
    }

    fn kept(body: &str, response: &[(&str, &str)], request: &[(&str, &str)]) -> Kept {
        let terms = store(1 << 20).terms((200, &head(response)), &head(request), |_| None);
        Kept {
            status: 200,
            fields: Vec::new(),
            body: body.into(),
            terms: terms.unwrap(),
            since_ms: 1_000_000,
        }
    }

    #[test]
    fn a_response_is_given_until_its_time_is_over_and_says_its_age() {
        let store = store(1 << 20);
        let control = [("cache-control", "stale-if-error=10"), ("age", "3")];
        store.keep(b"a".to_vec(), kept("x", &control, &[]));
        let age = |now_ms| store.find(b"a", &head(&[]), now_ms).map(|(_, age)| age);
        assert_eq!(age(1_000_000), Some(3));
        assert_eq!(age(1_007_000), Some(10));
        assert_eq!(age(1_008_000), None);
        assert_eq!(store.find(b"b", &head(&[]), 1_000_000).map(|_| ()), None);
    }

    #[test]
    fn what_varies_is_given_to_requests_of_the_same_values_only() {
        let store = store(1 << 20);
        let response = [("vary", "Accept, X-Any"), ("content-encoding", "gzip")];
        let request = [("accept", "text/html"), ("accept-encoding", "gzip")];
        store.keep(b"a".to_vec(), kept("x", &response, &request));
        let is_given = |request: &[(&str, &str)]| store.find(b"a", &head(request), 1_000_000).is_some();
        assert!(is_given(&request));
        assert!(!is_given(&request[..1]), "it cannot decode it");
        assert!(!is_given(&[
            ("accept", "text/plain"),
            ("accept-encoding", "gzip")
        ]));
        assert!(!is_given(&[request[0], request[1], ("x-any", "1")]));
    }

    #[test]
    fn memory_is_bounded_and_those_that_were_renewed_longest_ago_go_first() {
        let body = "x".repeat(700);
        let store = store(3 * 1000);
        for key in ["a", "b", "c", "a", "d"] {
            store.keep(key.into(), kept(&body, &[], &[]));
        }
        let known = |key: &str| store.find(key.as_bytes(), &head(&[]), 1_000_000).is_some();
        assert_eq!(["a", "b", "c", "d"].map(known), [true, false, true, true]);
        assert!(store.kept.borrow().bytes <= 3000);
        store.keep(b"a".to_vec(), kept(&"x".repeat(5000), &[], &[]));
        assert!(known("c"), "one that is too large takes nobody's place");
        assert_eq!(store.kept.borrow().order.len(), store.kept.borrow().by_key.len());
    }
}
