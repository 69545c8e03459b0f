//! The routes of tables, with what finds them. A copy shares with the original all routes that neither of them changes.

use std::sync::Arc;

use headgate_route::{
    FieldMatch, HostPattern, Listed, PathPattern, PersistentList, PersistentMap, RouteSpec, Router, Subset,
};
use headgate_wire::Head;

use super::route::{Action, Route};
use super::SnapshotError;
use crate::http::files::FileRoot;
use crate::snapshot::{self, Difference};

/// See the module.
#[derive(Clone, Default)]
pub(super) struct Routes {
    pub(super) list: PersistentList<Route>,
    pub(super) router: Router,
    /// Indices by name.
    indices: PersistentMap<usize>,
    /// Indices that have been in use.
    free: Vec<usize>,
    /// The position of the routes that come from resources, all of them after the others.
    first_resource: Option<usize>,
    /// Shared by all that were made of the same snapshot.
    origin: Arc<()>,
}

impl Routes {
    /// Builds all of a snapshot; those from `first_resource` on are of resources.
    pub(super) fn build(
        routes: impl IntoIterator<Item = Box<snapshot::Route>>,
        first_resource: Option<usize>,
        upstreams: usize,
        default_max_body: u64,
    ) -> Result<Self, SnapshotError> {
        let mut built = Self {
            first_resource,
            ..Self::default()
        };
        for (index, route) in routes.into_iter().enumerate() {
            let listed = built.listed(index, &route.name);
            built.set(index, listed, *route, upstreams, default_max_body)?;
        }
        Ok(built)
    }

    /// Whether no other routes are left that were made of the same snapshot.
    pub(super) fn are_last(&self) -> bool {
        Arc::strong_count(&self.origin) == 1
    }

    /// Applies a difference, and gives the indices that it has changed. After an error it is to be thrown away.
    pub(super) fn change(
        &mut self,
        difference: Difference,
        upstreams: usize,
        default_max_body: u64,
    ) -> Result<Vec<usize>, SnapshotError> {
        let Some(first) = self.first_resource else {
            return Err(SnapshotError("the snapshot in force takes no differences".into()));
        };
        let mut changed = Vec::new();
        for name in &difference.removed {
            let index = self.indices.remove(name.as_bytes());
            let Some(index) = index.filter(|index| *index >= first) else {
                return Err(SnapshotError(format!("route `{name}` is not one of a resource")));
            };
            self.list.set(index, None);
            self.router.remove(index);
            self.free.push(index);
            changed.push(index);
        }
        for route in difference.set {
            let known = self.indices.get(route.name.as_bytes()).copied();
            let index = known.unwrap_or_else(|| self.free.pop().unwrap_or(self.list.end()));
            if index < first {
                return Err(SnapshotError(format!(
                    "route `{}` is not one of a resource",
                    route.name
                )));
            }
            let listed = Listed {
                position: first,
                name: route.name.as_str().into(),
            };
            self.set(index, listed, route, upstreams, default_max_body)?;
            changed.push(index);
        }
        Ok(changed)
    }

    fn listed(&self, index: usize, name: &str) -> Listed {
        listed(self.first_resource, index, name)
    }

    fn set(
        &mut self,
        index: usize,
        listed: Listed,
        route: snapshot::Route,
        upstreams: usize,
        default_max_body: u64,
    ) -> Result<(), SnapshotError> {
        self.router
            .set(index, listed, route_spec(&route)?)
            .map_err(|error| SnapshotError(error.to_string()))?;
        *self.indices.entry(route.name.as_bytes()) = index;
        let route = build_route(route, upstreams, default_max_body)?;
        self.list.set(index, Some(Arc::new(route)));
        Ok(())
    }
}

/// Where a route of a snapshot stands; those from `first_resource` on are of resources, in the order of their names.
fn listed(first_resource: Option<usize>, index: usize, name: &str) -> Listed {
    match first_resource {
        Some(first) if index >= first => Listed {
            position: first,
            name: name.into(),
        },
        _ => Listed::at(index),
    }
}

/// The router of a snapshot's routes alone, without what they do.
pub(crate) fn router_of(
    routes: &[Box<snapshot::Route>],
    first_resource: Option<usize>,
) -> Result<Router, SnapshotError> {
    let mut made = Router::default();
    for (index, route) in routes.iter().enumerate() {
        made.set(
            index,
            listed(first_resource, index, &route.name),
            route_spec(route)?,
        )
        .map_err(|error| SnapshotError(error.to_string()))?;
    }
    Ok(made)
}

fn route_spec(route: &snapshot::Route) -> Result<RouteSpec, SnapshotError> {
    let named = |error: &dyn std::fmt::Display| SnapshotError(format!("route `{}`: {error}", route.name));
    let matches = |pairs: &[(String, Option<String>)]| {
        pairs
            .iter()
            .map(|(name, value)| FieldMatch::parse(name, value.as_deref()).map_err(|error| named(&error)))
            .collect::<Result<Vec<_>, _>>()
    };
    Ok(RouteSpec {
        hosts: route
            .hosts
            .iter()
            .map(|host| HostPattern::parse(host).map_err(|error| named(&error)))
            .collect::<Result<_, _>>()?,
        path: PathPattern::parse(&route.path).map_err(|error| named(&error))?,
        methods: route.methods.clone(),
        headers: matches(&route.headers)?,
        queries: matches(&route.queries)?,
        function: route.function.is_some(),
        priority: route.priority,
    })
}

fn build_route(
    route: snapshot::Route,
    upstreams: usize,
    default_max_body: u64,
) -> Result<Route, SnapshotError> {
    let action = match route.action {
        snapshot::Action::Proxy { upstream } if upstream >= upstreams => {
            return Err(SnapshotError(format!("route `{}` goes to the unknown upstream {upstream}", route.name)));
        }
        snapshot::Action::Proxy { upstream } => Action::Proxy { upstream },
        snapshot::Action::Redirect { status, location } => Action::Redirect { status, location },
        snapshot::Action::Respond { status, headers, body } => {
            let mut head = Head::empty();
            for (name, value) in &headers {
                head.add(name.as_bytes(), value.as_bytes())
                    .map_err(|error| SnapshotError(format!("route `{}`: respond.headers: {error}", route.name)))?;
            }
            Action::Respond { status, head, body: body.into_bytes() }
        }
        snapshot::Action::Files { root, index } => Action::Files(FileRoot::open(&root, index).map_err(|error| {
            SnapshotError(format!("route `{}`: cannot open the folder `{root}`: {error}\nhint: it must exist and be readable", route.name))
        })?),
        snapshot::Action::Hooks {} => Action::Hooks,
    };
    Ok(Route {
        name: route.name,
        action,
        subset: (!route.subset.is_empty()).then(|| Subset::new(route.subset)),
        strip_prefix: route.strip_prefix,
        replace_prefix: route.replace_prefix,
        needs_client_certificate: route.needs_client_certificate,
        max_body_bytes: route.max_body_bytes.unwrap_or(default_max_body),
        bandwidth: route.bandwidth,
        timeouts: route.timeouts.unwrap_or_default(),
        buckets: (!route.buckets.is_empty()).then(|| route.buckets.into()),
        hooks: route.hooks,
        function: route.function,
    })
}
