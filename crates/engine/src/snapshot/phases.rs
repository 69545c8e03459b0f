//! The phases that hooks are called in, as one table: everything that goes through phases reads it.
//!
//! A new phase is one line in [`PHASES`]' macro call, and one in `headgate.phases` on the Python side.

/// What hooks of a phase belong to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Connections of every listener: the hooks stand with listeners.
    Connection,
    /// Connections of listeners for bytes or datagrams: the hooks stand with listeners.
    Listener,
    /// Requests before they have a route: the hooks stand with the gateway.
    Gateway,
    /// Requests: the hooks stand with routes.
    Route,
    /// The choice of a route: one function, not a list.
    Matcher,
}

impl Scope {
    /// The name in Python.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Listener => "listener",
            Self::Gateway => "gateway",
            Self::Route => "route",
            Self::Matcher => "matcher",
        }
    }
}

/// One property of a phase: a bit in [`PhaseSpec`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Flag {
    /// A hook may return a response, which ends the request.
    CanRespond = 1,
    /// Hooks are called once for each piece of a body, or with a whole one.
    HasBody = 2,
    /// Hooks of the gateway run for requests that reach no route too.
    WithoutRoute = 4,
    /// Hooks may be called many times for one request.
    Repeats = 8,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct PhaseSpec {
    /// The phase.
    pub phase: Phase,
    /// Its name in Python and in the snapshot.
    pub name: &'static str,
    /// What its hooks belong to.
    pub scope: Scope,
    flags: u8,
}

impl PhaseSpec {
    /// Whether the phase has a property.
    #[inline]
    pub const fn has(&self, flag: Flag) -> bool {
        self.flags & flag as u8 != 0
    }
}

macro_rules! phases {
    ($($(#[$doc:meta])* $phase:ident = $name:literal, $scope:ident $(, $flag:ident)*;)*) => {
        /// A moment at which hooks are called; its number is its place in [`PHASES`].
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Phase {
            $($(#[$doc])* $phase,)*
        }

        /// Every phase, in the order of a request's life.
        pub const PHASES: [PhaseSpec; [$($name),*].len()] = [
            $(PhaseSpec {
                phase: Phase::$phase,
                name: $name,
                scope: Scope::$scope,
                flags: 0 $(| Flag::$flag as u8)*,
            },)*
        ];
    };
}

phases! {
    /// A connection is accepted, before its first byte is looked at.
    Connect = "connect", Connection;
    /// The first TLS message is there, before it is decided where the connection goes.
    ClientHello = "client_hello", Connection;
    /// A chunk or datagram came from the client.
    ClientData = "client_data", Listener;
    /// A chunk or datagram came from the server.
    ServerData = "server_data", Listener;
    /// Before routing.
    Rewrite = "rewrite", Gateway, CanRespond, WithoutRoute;
    /// A matcher function of a route.
    Match = "match", Matcher;
    /// The route is chosen.
    Request = "request", Route, CanRespond;
    /// The request's body is on its way.
    RequestBody = "request_body", Route, CanRespond, HasBody, Repeats;
    /// A server is to be chosen for an attempt.
    Balance = "balance", Route, CanRespond;
    /// Before each attempt's bytes go out.
    UpstreamRequest = "upstream_request", Route, CanRespond;
    /// An attempt has failed, and another one may be made.
    Retry = "retry", Route;
    /// The response's head is there.
    Response = "response", Route, CanRespond;
    /// The response's body is on its way.
    ResponseBody = "response_body", Route, CanRespond, HasBody, Repeats;
    /// A message of a WebSocket came, from either side.
    WebSocketMessage = "websocket_message", Route, Repeats;
    /// Something failed before a response began.
    Error = "error", Route, CanRespond, WithoutRoute;
    /// After the last byte.
    Log = "log", Route, WithoutRoute;
}

impl Phase {
    /// The phase's row of the table.
    #[inline]
    pub const fn spec(self) -> &'static PhaseSpec {
        const TABLE: &[PhaseSpec; PHASES.len()] = &PHASES;
        &TABLE[self as usize]
    }

    /// The phase of a name; `None` if no phase has it.
    pub fn from_name(name: &str) -> Option<Self> {
        PHASES
            .iter()
            .find(|spec| spec.name == name)
            .map(|spec| spec.phase)
    }

    /// The name in Python and in the snapshot.
    #[inline]
    pub const fn name(self) -> &'static str {
        self.spec().name
    }

    /// Whether the phase has a property.
    #[inline]
    pub const fn has(self, flag: Flag) -> bool {
        self.spec().has(flag)
    }
}
