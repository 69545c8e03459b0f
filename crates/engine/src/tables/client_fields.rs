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

/// What is done with the fields of every request before anything else sees them.
#[derive(Debug)]
pub(crate) struct ClientFields {
    /// Fields that no other field may be taken for.
    guarded: GuardedNames,
    /// Those of them that clients never send.
    identity: GuardedNames,
    has_identity: bool,
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
            has_identity: !identity.is_empty(),
            identity: GuardedNames::new(identity),
            underscores,
        }
    }

    /// Removes what the client must not set.
    pub(crate) fn strip(&self, head: &mut Head) {
        head.hide_lookalikes(&self.guarded);
        if self.has_identity {
            head.retain(|name, _| !self.identity.has(name));
        }
        if self.underscores == UnderscoreHeaders::Drop {
            head.retain(|name, _| !name.contains(&b'_'));
        }
    }

    /// Whether a request is refused for the names of its fields.
    pub(crate) fn refuses(&self, head: &Head) -> bool {
        self.underscores == UnderscoreHeaders::Refuse && head.iter().any(|(name, _)| name.contains(&b'_'))
    }
}
