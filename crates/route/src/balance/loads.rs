//! How busy servers are.

/// What is in flight on the servers of an upstream, in all workers.
pub trait Loads {
    /// On one server.
    fn of(&self, server: usize) -> u32;

    /// On all `servers` of them.
    fn total(&self, servers: usize) -> u64 {
        (0..servers).map(|server| u64::from(self.of(server))).sum()
    }
}

impl<F: Fn(usize) -> u32> Loads for F {
    fn of(&self, server: usize) -> u32 {
        self(server)
    }
}
