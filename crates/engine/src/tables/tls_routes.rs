//! Which upstream a TLS connection goes to by its server name, without being decrypted.

use headgate_route::{Candidate, Fields, Found, HostPattern, Params, PathPattern, RouteSpec, Router};

use crate::snapshot;

/// The table of names, chosen from by the same rules as the hosts of HTTP routes.
pub(crate) struct TlsRoutes {
    router: Router,
    upstreams: Vec<usize>,
}

impl TlsRoutes {
    pub(crate) fn build(specs: &[snapshot::TlsRoute], upstreams: usize) -> Result<Self, String> {
        let mut routes = Vec::new();
        for spec in specs {
            if spec.upstream >= upstreams {
                return Err("a TLS route names an upstream that does not exist".to_owned());
            }
            let hosts = spec.hosts.iter().map(|host| HostPattern::parse(host));
            routes.push(RouteSpec {
                hosts: hosts
                    .collect::<Result<_, _>>()
                    .map_err(|error| error.to_string())?,
                path: PathPattern::parse("/").map_err(|error| error.to_string())?,
                methods: Vec::new(),
                headers: Vec::new(),
                queries: Vec::new(),
                function: false,
                priority: 0,
            });
        }
        Ok(Self {
            router: Router::build(routes).map_err(|error| error.to_string())?,
            upstreams: specs.iter().map(|spec| spec.upstream).collect(),
        })
    }

    /// The upstream of a name; without a name only routes for every host fit.
    pub(crate) fn find(&self, name: Option<&str>) -> Option<usize> {
        let candidate = Candidate {
            host: name.unwrap_or_default().as_bytes(),
            path: b"/",
            query: b"",
            method: b"",
        };
        let found = self
            .router
            .find(&candidate, &NoFields, &mut Params::default(), &mut |_| false);
        match found {
            Found::Route(route) => self.upstreams.get(route).copied(),
            Found::MethodNotAllowed(_) | Found::None => None,
        }
    }
}

struct NoFields;

impl Fields for NoFields {
    fn header(&self, _: &str) -> Option<&[u8]> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_exact_pattern_is_chosen() {
        let route = |hosts: &[&str], upstream| snapshot::TlsRoute {
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            upstream,
        };
        let routes = [
            route(&["*.example.com"], 0),
            route(&["www.example.com"], 1),
            route(&["mail.*"], 2),
        ];
        let table = TlsRoutes::build(&routes, 3).expect("good");
        assert_eq!(table.find(Some("www.example.com")), Some(1));
        assert_eq!(table.find(Some("a.b.example.com")), Some(0));
        assert_eq!(table.find(Some("mail.example.org")), Some(2));
        assert_eq!(table.find(Some("example.org")), None);
        assert_eq!(table.find(None), None);
        assert_eq!(
            TlsRoutes::build(&[route(&[], 0)], 1).expect("good").find(None),
            Some(0)
        );
        assert!(TlsRoutes::build(&[route(&[], 1)], 1).is_err());
    }
}
