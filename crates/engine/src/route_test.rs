//! Which route of a snapshot would take a request, and why not the others, without serving it.

use headgate_route::{Candidate, Fields, Verdict};

use crate::snapshot::Snapshot;
use crate::tables::draft::parse;
use crate::tables::routes::router_of;
use crate::SnapshotError;

/// The request that is asked about.
#[derive(Debug, Clone, Copy)]
pub struct TestedRequest<'a> {
    /// Method.
    pub method: &'a str,
    /// Host, with or without its port.
    pub host: &'a str,
    /// Path as a client would send it, without query.
    pub path: &'a str,
    /// Query without `?`.
    pub query: &'a str,
    /// Names and values of header fields; names in lower case.
    pub headers: &'a [(String, String)],
}

/// What would become of it.
#[derive(Debug, Clone)]
pub struct RouteTest {
    /// The path as routes see it; none if the request gets 400 for it.
    pub path: Option<String>,
    /// Route names with the verdict and what it is about, in the order of choice, then those that do not match the host
    /// or the path.
    pub verdicts: Vec<(String, &'static str, String)>,
}

/// Asks the router. The function of a route is not called: it counts as if it said no, with the verdict `function`.
///
/// # Errors
/// The snapshot is not usable.
pub fn test_route(snapshot: &str, request: &TestedRequest<'_>) -> Result<RouteTest, SnapshotError> {
    let snapshot: Snapshot = parse(snapshot.as_bytes())?;
    let Ok(normal) = snapshot.path.rules().normalize(request.path.as_bytes()) else {
        return Ok(RouteTest {
            path: None,
            verdicts: Vec::new(),
        });
    };
    let candidate = Candidate {
        host: request.host.as_bytes(),
        path: &normal.text,
        query: request.query.as_bytes(),
        method: request.method.as_bytes(),
    };
    let router = router_of(&snapshot.routes, snapshot.first_resource_route)?;
    let verdicts = router.explain(&candidate, &ListedFields(request.headers), &mut |_| false);
    Ok(RouteTest {
        path: Some(String::from_utf8_lossy(&normal.text).into_owned()),
        verdicts: verdicts
            .into_iter()
            .map(|(index, verdict)| {
                let (kind, about) = named(verdict);
                (snapshot.routes[index].name.clone(), kind, about)
            })
            .collect(),
    })
}

fn named(verdict: Verdict) -> (&'static str, String) {
    match verdict {
        Verdict::Takes => ("takes", String::new()),
        Verdict::ComesLater => ("later", String::new()),
        Verdict::Host => ("host", String::new()),
        Verdict::Path => ("path", String::new()),
        Verdict::Header(name) => ("header", name),
        Verdict::Query(name) => ("query", name),
        Verdict::Method(methods) => ("method", methods.join(", ")),
        Verdict::Function => ("function", String::new()),
    }
}

struct ListedFields<'a>(&'a [(String, String)]);

impl Fields for ListedFields<'_> {
    fn header(&self, name: &str) -> Option<&[u8]> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_bytes())
    }
}
