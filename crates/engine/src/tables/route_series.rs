//! The series that the requests of a route are counted in.

use std::borrow::Cow;
use std::sync::Arc;

use headgate_shared::series::{Family, Registry, Series};

use super::families::{observe, observe_in, RouteFamilies, RECEIVED, REQUESTS, SECONDS, SENT};
use super::route::{Action, Route};

/// See the module.
pub(super) struct RouteSeries {
    /// The upstream that its requests are counted with.
    pub(super) upstream: Option<usize>,
    pub(super) requests: Series,
    pub(super) seconds: Series,
    pub(super) received: Series,
    pub(super) sent: Series,
    /// The buckets of `seconds`, in microseconds; none for the usual ones.
    buckets: Option<Arc<[u64]>>,
}

/// What a series is known by: the key of its family, and its labels in that.
pub(super) type Labels = (Cow<'static, str>, Vec<String>);

/// The name of an upstream by its index.
pub(super) type NameOf<'a> = &'a dyn Fn(usize) -> &'a str;

impl RouteSeries {
    /// Those of a route, or of requests without one.
    pub(super) fn of<'a>(
        route: Option<&'a Route>,
        name_of: NameOf<'a>,
        registry: &Registry,
        families: &RouteFamilies,
    ) -> Self {
        let (name, upstream) = named(route, name_of);
        let series = |family: &Family, labels: &[&str]| {
            registry
                .series(family, labels, usize::MAX)
                .expect("only this function makes metrics of these names")
        };
        let buckets = route.and_then(|route| route.buckets.clone());
        Self {
            upstream: route.and_then(upstream_of),
            requests: series(&families.requests, &[name, upstream]),
            seconds: series(&families.seconds(buckets.as_deref()), &[name]),
            received: series(&families.received, &[name]),
            sent: series(&families.sent, &[name]),
            buckets,
        }
    }

    /// Counts how long a request took.
    pub(super) fn took(&self, us: u64) {
        match &self.buckets {
            None => observe(&self.seconds, us),
            Some(buckets) => observe_in(&self.seconds, buckets, us),
        }
    }
}

/// What the series of a route, or of requests without one, are known by.
pub(super) fn labels_of<'a>(
    route: Option<&'a Route>,
    name_of: NameOf<'a>,
    families: &RouteFamilies,
) -> [Labels; 4] {
    let (name, upstream) = named(route, name_of);
    let of_route = |family| (family, vec![name.to_owned()]);
    let own = route.and_then(|route| route.buckets.as_deref());
    let seconds = own.map(|own| families.seconds(Some(own)).key().into_owned());
    [
        (
            Cow::Borrowed(REQUESTS),
            vec![name.to_owned(), upstream.to_owned()],
        ),
        of_route(seconds.map_or(Cow::Borrowed(SECONDS), Cow::Owned)),
        of_route(Cow::Borrowed(RECEIVED)),
        of_route(Cow::Borrowed(SENT)),
    ]
}

/// The names of a route and of its upstream, as labels.
fn named<'a>(route: Option<&'a Route>, name_of: NameOf<'a>) -> (&'a str, &'a str) {
    let name = route.map_or("", |route| &route.name);
    (name, route.and_then(upstream_of).map_or("", name_of))
}

fn upstream_of(route: &Route) -> Option<usize> {
    match route.action {
        Action::Proxy { upstream } => Some(upstream),
        _ => None,
    }
}
