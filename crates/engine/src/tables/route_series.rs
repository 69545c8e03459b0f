//! The series that the requests of a route are counted in.

use headgate_shared::series::{Family, Registry, Series};

use super::families::{
    received_family, requests_family, seconds_family, sent_family, RECEIVED, REQUESTS, SECONDS, SENT,
};

/// See the module.
pub(super) struct RouteSeries {
    /// The upstream that its requests are counted with.
    pub(super) upstream: Option<usize>,
    pub(super) requests: Series,
    pub(super) seconds: Series,
    pub(super) received: Series,
    pub(super) sent: Series,
}

/// What a series is known by: its family, and its labels in that.
pub(super) type Labels = (&'static str, Vec<String>);

impl RouteSeries {
    /// Those with these labels.
    pub(super) fn of(labels: [Labels; 4], upstream: Option<usize>, registry: &Registry) -> Self {
        let [requests, seconds, received, sent] = labels;
        let series = |family: &Family, (_, labels): Labels| {
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            registry
                .series(family, &labels, usize::MAX)
                .expect("only this function makes metrics of these names")
        };
        Self {
            upstream,
            requests: series(&requests_family(), requests),
            seconds: series(&seconds_family(), seconds),
            received: series(&received_family(), received),
            sent: series(&sent_family(), sent),
        }
    }

    pub(super) fn all(&self) -> [&Series; 4] {
        [&self.requests, &self.seconds, &self.received, &self.sent]
    }
}

/// What the series of a route to an upstream are known by.
pub(super) fn labels_of(route: &str, upstream: &str) -> [Labels; 4] {
    let of_route = |family| (family, vec![route.to_owned()]);
    [
        (REQUESTS, vec![route.to_owned(), upstream.to_owned()]),
        of_route(SECONDS),
        of_route(RECEIVED),
        of_route(SENT),
    ]
}
