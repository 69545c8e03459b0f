//! The frame of an export: which service its spans are of.
//!
//! # How it works
//! A batch is a request of the protocol from its first byte on: spans are appended as they come, and only the lengths of its
//! two outer messages are filled in at the end.

use super::attributes::text;
use super::protobuf::{bytes, close, open};

/// Bytes for the length of a batch, which is shorter than 256 MiB.
const ROOM: usize = 4;
/// Bytes for the length of the service's attributes.
const RESOURCE_ROOM: usize = 2;

/// What every batch begins with, and where the lengths are that are filled in at its end.
pub(super) struct BatchHead {
    pub(super) bytes: Vec<u8>,
    resource_spans: usize,
    scope_spans: usize,
}

impl BatchHead {
    /// Of the spans of a service of this name.
    pub(super) fn new(service: &str) -> Self {
        let mut out = Vec::with_capacity(256);
        let resource_spans = open(&mut out, 1, ROOM);
        let resource = open(&mut out, 1, RESOURCE_ROOM);
        text(&mut out, 1, "service.name", service.as_bytes());
        close(&mut out, resource, RESOURCE_ROOM);
        let scope_spans = open(&mut out, 2, ROOM);
        let scope = open(&mut out, 1, 1);
        bytes(&mut out, 1, b"headgate");
        bytes(&mut out, 2, env!("CARGO_PKG_VERSION").as_bytes());
        close(&mut out, scope, 1);
        Self {
            bytes: out,
            resource_spans,
            scope_spans,
        }
    }

    /// Completes a batch that began with it.
    pub(super) fn finish(&self, batch: &mut Vec<u8>) {
        close(batch, self.scope_spans, ROOM);
        close(batch, self.resource_spans, ROOM);
    }
}
