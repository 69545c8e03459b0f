//! Which server a command goes to, and the connections to those that are used.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use headgate_net::tls::UpstreamTls;
use redis::{RedisConnectionInfo, Value};
use tokio::sync::Mutex;

use super::address::{Address, Finding, ServerAddress};
use super::cluster::Slots;
use super::failed::Failed;
use super::link::Link;

/// A part of the command's time, after which another server of the list is tried.
const TRIES_WITHIN_TIMEOUT: u32 = 3;

/// The connection to one server, if there is one.
type Kept = Rc<Mutex<Option<Link>>>;

/// See the module.
pub(super) struct Servers {
    address: Address,
    tls: Option<UpstreamTls>,
    timeout: Duration,
    /// Each opened by one command while others wait for it.
    links: RefCell<HashMap<Option<ServerAddress>, Kept>>,
    slots: RefCell<Slots>,
    /// The nodes that served slots when they were last known: those of the address may have left since.
    nodes: RefCell<Vec<ServerAddress>>,
}

impl Servers {
    pub(super) fn new(address: Address, tls: Option<UpstreamTls>, timeout: Duration) -> Self {
        Self {
            address,
            tls,
            timeout,
            links: RefCell::default(),
            slots: RefCell::default(),
            nodes: RefCell::default(),
        }
    }

    /// All that the URL names, for a message.
    pub(super) fn names(&self) -> String {
        let servers = self.address.servers.iter();
        servers
            .map(ServerAddress::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Whether keys decide.
    pub(super) fn is_cluster(&self) -> bool {
        self.address.finding == Finding::Cluster
    }

    /// The connection for a key's slot.
    pub(super) async fn link(&self, slot: Option<u16>) -> Result<Link, Failed> {
        if !self.is_cluster() {
            return self.kept(None).await;
        }
        if self.slots.borrow().is_empty() {
            self.learn().await?;
        }
        let node = self.slots.borrow().node(slot).cloned();
        match node {
            Some(node) => self.kept(Some(node)).await,
            None => Err(unserved()),
        }
    }

    /// The connection to this node, which a server has named.
    pub(super) async fn link_to(&self, host: &str, port: u16) -> Result<Link, Failed> {
        self.kept(Some(ServerAddress::Tcp(host.to_owned(), port))).await
    }

    /// What is known of the cluster is no longer so.
    pub(super) fn forget(&self) {
        self.slots.take();
    }

    async fn kept(&self, node: Option<ServerAddress>) -> Result<Link, Failed> {
        let slot = Rc::clone(self.links.borrow_mut().entry(node.clone()).or_default());
        let mut kept = slot.lock().await;
        if let Some(link) = kept.as_ref().filter(|link| !link.is_closed()) {
            return Ok(link.clone());
        }
        *kept = None;
        let opened = match &node {
            Some(node) => self.open(node).await,
            None => self.found().await,
        };
        if opened.is_err() {
            // a node that is gone may have left the cluster
            self.forget();
        }
        Ok(kept.insert(opened?).clone())
    }

    /// The first of the servers that responds, or the primary that a Sentinel knows.
    async fn found(&self) -> Result<Link, Failed> {
        let mut failed = None;
        for server in &self.address.servers {
            let found = match &self.address.finding {
                Finding::Sentinel(name) => self.primary(server, name).await,
                Finding::Listed | Finding::Cluster => self.open(server).await,
            };
            match found {
                Ok(link) => return Ok(link),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        Err(failed.unwrap_or_else(unserved))
    }

    /// Queries a Sentinel, and checks that the server it names is the primary.
    async fn primary(&self, sentinel: &ServerAddress, name: &str) -> Result<Link, Failed> {
        // Sentinels have neither databases nor the servers' users
        let sentinel_link = self.open_as(sentinel, &RedisConnectionInfo::default()).await?;
        let response = sentinel_link
            .send(redis::cmd("SENTINEL").arg("get-master-addr-by-name").arg(name))
            .await?;
        let (host, port): (String, u16) = redis::from_redis_value(response).map_err(|_| {
            Failed::nowhere(
                format!("the Sentinel at `{sentinel}` knows no primary `{name}`"),
                false,
            )
        })?;
        let named = ServerAddress::Tcp(host, port);
        let link = self.open(&named).await?;
        match link.send(&redis::cmd("ROLE")).await? {
            Value::Array(role) if role.first().is_some_and(is_primary) => Ok(link),
            _ => Err(Failed::nowhere(
                format!("Redis at `{named}`, which the Sentinel at `{sentinel}` names, is not a primary yet"),
                true,
            )),
        }
    }

    /// Asks the nodes that are known which slots they serve.
    async fn learn(&self) -> Result<(), Failed> {
        let mut failed = None;
        let known = self.nodes.borrow().clone();
        for server in self.address.servers.iter().chain(&known) {
            let told = async {
                let link = self.open(server).await?;
                link.send(redis::cmd("CLUSTER").arg("SLOTS")).await
            };
            match told.await {
                Ok(response) => {
                    let slots = Slots::read(response, server);
                    if !slots.is_empty() {
                        self.nodes.replace(slots.nodes());
                        self.slots.replace(slots);
                        return Ok(());
                    }
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        Err(failed.unwrap_or_else(unserved))
    }

    async fn open(&self, server: &ServerAddress) -> Result<Link, Failed> {
        self.open_as(server, &self.address.login).await
    }

    async fn open_as(&self, server: &ServerAddress, login: &RedisConnectionInfo) -> Result<Link, Failed> {
        let opened = Link::open(server, login, self.tls.as_ref(), self.timeout);
        if self.address.servers.len() == 1 && !self.is_cluster() {
            return opened.await;
        }
        let limit = self.timeout / TRIES_WITHIN_TIMEOUT;
        match tokio::time::timeout(limit, opened).await {
            Ok(opened) => opened,
            Err(_) => Err(Failed::silent(server)),
        }
    }
}

fn is_primary(role: &Value) -> bool {
    matches!(role, Value::BulkString(name) if name == b"master")
        || matches!(role, Value::SimpleString(name) if name == "master")
}

fn unserved() -> Failed {
    Failed::nowhere("no node of the Redis cluster serves the key".to_owned(), true)
}
