//! The one path that routing, hooks and servers see: a rule about a path holds for what the server will understand.
//!
//! # How it works
//! Before anything looks at a request its path is brought into its normal form ([`settle`]) or refused. Where a server could
//! still read another path in it (`%2F`, `;`, `//`), that one is routed too: if another rule would hold for it, the request
//! is refused ([`is_another_rule`]).

use headgate_route::PathRules;
use headgate_wire::RequestHead;

use crate::failure::{Failure, FailureKind};
use crate::tables::{Action, Route, Tables};

/// Brings the path into its normal form. `Ok(true)`: no server reads another path in it.
pub(crate) fn settle(request: &mut RequestHead, rules: PathRules) -> Result<bool, Failure> {
    let normal = rules
        .normalize(request.path())
        .map_err(|error| Failure::new(FailureKind::MalformedPath(error), error.to_string()))?;
    let (is_equivalent, is_plain) = (normal.is_equivalent, normal.is_plain);
    if let std::borrow::Cow::Owned(path) = normal.text {
        request
            .set_normal_path(&path, is_equivalent)
            .map_err(|error| Failure::new(FailureKind::TargetTooLong, error.to_string()))?;
    }
    Ok(is_plain)
}

/// Whether a request for the route `chosen` must not reach what only the route `other` leads to.
///
/// It may, if nothing is sent on, if the two have no server in common, or if they have the same requirements.
pub(crate) fn is_another_rule(tables: &Tables, chosen: usize, other: usize) -> bool {
    let (chosen, other) = (tables.route(chosen), tables.route(other));
    let may_be_sent = matches!(chosen.action, Action::Proxy { .. } | Action::Hooks);
    may_be_sent && !has_same_requirements(chosen, other) && !are_apart(tables, chosen, other)
}

fn has_same_requirements(one: &Route, other: &Route) -> bool {
    let are_sent_on = matches!(
        (&one.action, &other.action),
        (Action::Proxy { .. }, Action::Proxy { .. })
    );
    are_sent_on && one.hooks == other.hooks && one.needs_client_certificate == other.needs_client_certificate
}

/// Whether both go to servers, and none of them is the same.
fn are_apart(tables: &Tables, one: &Route, other: &Route) -> bool {
    let (Action::Proxy { upstream: one }, Action::Proxy { upstream: other }) = (&one.action, &other.action)
    else {
        return false;
    };
    let servers = |upstream: &usize| tables.upstreams[*upstream].servers.iter();
    one != other && servers(one).all(|server| servers(other).all(|twin| twin.name != server.name))
}

/// The failure of a request that a server could take for one that another rule is about.
pub(crate) fn ambiguous() -> Failure {
    Failure::from(FailureKind::PathAmbiguous)
}
