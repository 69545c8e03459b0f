//! Fields of clients that servers could take for what only this gateway, its hooks or a trusted proxy may set.

use headgate_wire::{GuardedNames, Head};

use crate::snapshot::{Forwarding, UnderscoreHeaders};

/// Every field in which proxies name the client.
pub(crate) const FIELDS: [&[u8]; 6] = [
    b"x-forwarded-for",
    b"forwarded",
    b"x-real-ip",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"x-forwarded-port",
];

/// Whether proxies use the field to tell something of the client or of its request: `X-Forwarded-Prefix`,
/// `X-Forwarded-Tls-Client-Cert` and `X-Forwarded-User` are believed by servers too.
pub(crate) fn is_of_proxies(name: &[u8]) -> bool {
    starts_as_forwarded(name, |byte| byte == b'-')
        || FIELDS.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Whether CGI and WSGI take a name for one of `X-Forwarded-*`, which it is not.
fn is_like_forwarded(name: &[u8]) -> bool {
    starts_as_forwarded(name, |byte| !byte.is_ascii_alphanumeric())
        && name
            .iter()
            .any(|byte| *byte != b'-' && !byte.is_ascii_alphanumeric())
}

fn starts_as_forwarded(name: &[u8], is_separator: impl Fn(u8) -> bool) -> bool {
    let [b'x' | b'X', first, rest @ ..] = name else {
        return false;
    };
    is_separator(*first)
        && rest
            .get(..9)
            .is_some_and(|word| word.eq_ignore_ascii_case(b"forwarded"))
        && rest.get(9).is_some_and(|byte| is_separator(*byte))
}

/// CGI makes `HTTP_PROXY` of it, which libraries take for the proxy that they are to use; nothing else reads it.
const HTTPOXY: &[u8] = b"proxy";

/// What is done with the fields of every request before anything else sees them.
#[derive(Debug)]
pub(crate) struct ClientFields {
    /// Fields that no other field may be taken for.
    guarded: GuardedNames,
    /// Those of them that clients never send.
    identity: GuardedNames,
    underscores: UnderscoreHeaders,
}

impl ClientFields {
    pub(crate) fn new(
        forwarding: &Forwarding,
        request_id_header: Option<&str>,
        underscores: UnderscoreHeaders,
    ) -> Self {
        let certificate = forwarding.client_certificate.iter().map(|(name, _)| name);
        let identity: Vec<&[u8]> = forwarding
            .identity_fields
            .iter()
            .chain(certificate)
            .map(String::as_bytes)
            .collect();
        let others = FIELDS.into_iter().chain(request_id_header.map(str::as_bytes));
        Self {
            guarded: GuardedNames::new(others.chain(identity.iter().copied())),
            identity: GuardedNames::new(identity),
            underscores,
        }
    }

    /// Removes what the client must not set.
    pub(crate) fn strip(&self, head: &mut Head) {
        head.retain(|name, _| {
            !(self.guarded.has_lookalike(name)
                || is_like_forwarded(name)
                || name.eq_ignore_ascii_case(HTTPOXY)
                || self.identity.has(name)
                || self.underscores == UnderscoreHeaders::Drop && name.contains(&b'_'))
        });
    }

    /// Removes from trailers what only the gateway may say: a server could merge them into the head.
    pub(crate) fn strip_trailers(&self, trailers: &mut Head) {
        trailers.retain(|name, _| {
            !(self.guarded.has_lookalike(name)
                || self.guarded.has(name)
                || name.eq_ignore_ascii_case(HTTPOXY)
                || self.underscores != UnderscoreHeaders::Keep && name.contains(&b'_'))
        });
    }

    /// Whether a request is refused for the names of its fields.
    pub(crate) fn refuses(&self, head: &Head) -> bool {
        self.underscores == UnderscoreHeaders::Refuse && head.iter().any(|(name, _)| name.contains(&b'_'))
    }
}
