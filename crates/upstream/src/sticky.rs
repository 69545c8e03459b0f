//! Sticky sessions: a signed cookie that names a client's server.
//!
//! # How it works
//! The value is base64url of a server's id (8 bytes), the Unix time in seconds at which it expires (8 bytes), and the first
//! 16 bytes of an HMAC-SHA256 (RFC 2104 section 5) over these, the upstream's name and the host that the client asked for.
//! The id is made from the server's address with the same key: it tells clients nothing, is the same in all workers and
//! gateways that share the secret, and stays while other servers come and go.

use std::cell::OnceCell;
use std::collections::HashMap;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{self, Context, Key, HMAC_SHA256};
use base64::prelude::{Engine, BASE64_URL_SAFE_NO_PAD};
use headgate_wire::RequestHead;

use crate::hash_on::cookies;
use crate::server::Server;
use crate::spec;

const ID_BYTES: usize = 8;
const TIME_BYTES: usize = 8;
const SIGNED_BYTES: usize = ID_BYTES + TIME_BYTES;
const MAC_BYTES: usize = 16;
/// The length of a value in base64url.
const TEXT_BYTES: usize = ((SIGNED_BYTES + MAC_BYTES) * 4).div_ceil(3);

/// The most cookies of that name that are looked at in one request, since each costs a signature.
const MOST_COOKIES: usize = 8;

/// What the gateway's secret is used for here.
const PURPOSE: &[u8] = b"headgate sticky sessions";

type Id = [u8; ID_BYTES];

/// How the clients of an upstream stay with their servers.
pub struct Sticky {
    spec: spec::Sticky,
    keyed: OnceCell<Keyed>,
}

/// What is known once the secret is.
struct Keyed {
    key: Key,
    ids: Vec<Id>,
    places: HashMap<Id, usize>,
}

/// What a valid cookie says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// The client's server, by its place.
    pub server: usize,
    /// Less than half of its time is left.
    pub is_old: bool,
}

/// What a cookie is valid for.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// The upstream's name.
    pub upstream: &'a str,
    /// Its servers, in the order listed.
    pub servers: &'a [Server],
    /// The host that the client asks for, in lower case and without port.
    pub host: &'a [u8],
    /// The secret of this gateway, in case the upstream has none of its own.
    pub gateway_secret: &'a [u8],
    /// Unix time.
    pub now_s: u64,
}

impl Sticky {
    pub(crate) fn new(spec: spec::Sticky) -> Self {
        Self {
            spec,
            keyed: OnceCell::new(),
        }
    }

    /// The session that a request belongs to: what its first valid cookie says. None if it has no such cookie, or its server is
    /// gone.
    pub fn session(&self, request: &RequestHead, scope: Scope<'_>) -> Option<Session> {
        cookies(request, self.spec.cookie.as_bytes())
            .take(MOST_COOKIES)
            .find_map(|value| self.read(value, scope))
    }

    fn read(&self, value: &[u8], scope: Scope<'_>) -> Option<Session> {
        if value.len() != TEXT_BYTES {
            return None;
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(value).ok()?;
        let (signed, mac) = bytes.split_at_checked(SIGNED_BYTES)?;
        let keyed = self.keyed(scope);
        verify_slices_are_equal(mac, &keyed.mac(signed, scope)).ok()?;
        let (id, expires_s) = signed.split_at(ID_BYTES);
        let left_s = u64::from_be_bytes(expires_s.try_into().ok()?).checked_sub(scope.now_s)?;
        if left_s == 0 {
            return None;
        }
        Some(Session {
            server: *keyed.places.get(id)?,
            is_old: left_s < self.spec.ttl.div_ceil(2),
        })
    }

    /// The value of `Set-Cookie` that makes a server the client's own.
    pub fn set_cookie(&self, server: usize, is_https: bool, scope: Scope<'_>) -> String {
        let keyed = self.keyed(scope);
        let mut value = keyed.ids[server].to_vec();
        value.extend_from_slice(&(scope.now_s + self.spec.ttl).to_be_bytes());
        let mac = keyed.mac(&value, scope);
        value.extend_from_slice(&mac);
        let secure = if self.spec.secure.unwrap_or(is_https) {
            "; Secure"
        } else {
            ""
        };
        format!(
            "{}={}; Max-Age={}{}{secure}",
            self.spec.cookie,
            BASE64_URL_SAFE_NO_PAD.encode(value),
            self.spec.ttl,
            self.spec.attributes,
        )
    }

    fn keyed(&self, scope: Scope<'_>) -> &Keyed {
        self.keyed.get_or_init(|| {
            if let Some(secret) = &self.spec.secret {
                return Keyed::new(secret.as_bytes(), scope);
            }
            let secret = hmac::sign(&Key::new(HMAC_SHA256, scope.gateway_secret), PURPOSE);
            Keyed::new(secret.as_ref(), scope)
        })
    }
}

impl Keyed {
    fn new(secret: &[u8], scope: Scope<'_>) -> Self {
        let key = Key::new(HMAC_SHA256, secret);
        let id = |server: &Server| {
            let mut context = Context::with_key(&key);
            let scheme = if server.is_secure() { "https" } else { "http" };
            for part in ["server", scope.upstream, scheme, &server.name] {
                add(&mut context, part.as_bytes());
            }
            first(&context.sign())
        };
        let ids: Vec<Id> = scope.servers.iter().map(id).collect();
        let places = ids.iter().enumerate().map(|(at, id)| (*id, at)).collect();
        Self { key, ids, places }
    }

    fn mac(&self, signed: &[u8], scope: Scope<'_>) -> [u8; MAC_BYTES] {
        let mut context = Context::with_key(&self.key);
        for part in [b"session", scope.upstream.as_bytes(), scope.host, signed] {
            add(&mut context, part);
        }
        first(&context.sign())
    }
}

/// Adds a part so that it cannot be taken for the end of the one before or the beginning of the next.
fn add(context: &mut Context, part: &[u8]) {
    context.update(&(part.len() as u64).to_be_bytes());
    context.update(part);
}

fn first<const LENGTH: usize>(tag: &hmac::Tag) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes.copy_from_slice(&tag.as_ref()[..LENGTH]);
    bytes
}
