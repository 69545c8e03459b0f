//! What is asked of one server.

/// What the balancer needs to know of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerSpec {
    /// Its share of requests, relative to the others; 0 gets none.
    pub weight: u32,
    /// Failures within `fail_timeout_ms` that take it out of rotation; 0 for never.
    pub max_fails: u32,
    /// How long failures count, and how long it stays out of rotation.
    pub fail_timeout_ms: u64,
    /// Used only while no other server is in rotation.
    pub backup: bool,
    /// Its level: those of the lowest take all requests while enough of them are in rotation.
    pub priority: u32,
    /// In another zone than the gateway, where that matters.
    pub is_away: bool,
    /// Connections it may have; 0 for no limit.
    pub max_connections: u32,
    /// A number made of its name, by which keys know it wherever it is listed; 0 to know it by its place.
    pub identity: u64,
}

impl Default for ServerSpec {
    /// nginx's defaults: weight 1, one failure in 10 s.
    fn default() -> Self {
        Self {
            weight: 1,
            max_fails: 1,
            fail_timeout_ms: 10_000,
            backup: false,
            priority: 0,
            is_away: false,
            max_connections: 0,
            identity: 0,
        }
    }
}
