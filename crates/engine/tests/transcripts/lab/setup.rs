//! What a lab's worker is configured with.

use std::path::Path;
use std::rc::Rc;

use headgate_engine::{Exchange, Hooks, Step};
use serde_json::{json, Value};

use super::Scripted;

/// Made step by step; begins as one upstream `u` and one route `/` to it.
pub(crate) struct Setup {
    snapshot: Value,
    hooks: Scripted,
}

impl Setup {
    /// Everything goes to the server.
    pub(crate) fn proxy() -> Self {
        Self {
            snapshot: json!({
                "limits": {
                    "max_head_bytes": 8192, "max_header_fields": 50, "max_body_bytes": 100_000, "max_connections": 100,
                    "max_connections_per_client": 0, "max_requests_per_connection": 0, "max_chunk_extension_bytes": 64,
                    "max_trailer_bytes": 512, "max_proxy_header_bytes": 256, "max_tls_handshakes": 0,
                    "max_client_hello_bytes": 512, "max_fetches": 0, "max_fetch_body_bytes": 0,
                    "max_buffered_body_bytes": 1_000_000, "buffered_memory_bytes": 65_536,
                    "max_hook_chunk_bytes": 1_000_000, "allow_half_close": false,
                },
                "timeouts": {
                    "proxy_header": 1000, "tls_handshake": 1000, "client_head": 10_000, "client_body": 20_000,
                    "client_idle": 75_000, "send": 60_000, "queue": 1000, "connect": 5000, "upstream_head": 30_000,
                    "upstream_idle": 40_000, "drain": 30_000, "fetch": 1000,
                },
                "forwarding": {"x_forwarded": false, "forwarded": false, "via": false, "name": "headgate"},
                "http2": {
                    "enabled": true, "h2c": "detect", "max_concurrent_streams": 100, "max_resets": 100,
                    "max_control_frames": 1000, "window_bytes": 65_535, "max_age": 3_600_000, "websocket": false,
                },
                "http3": {
                    "max_concurrent_streams": 100, "max_resets": 100, "window_bytes": 65_535, "max_age": 3_600_000,
                    "idle": 30_000, "websocket": false, "alt_svc_max_age": 60, "congestion": "cubic",
                    "qlog": null, "qlog_per_million": 0, "qlog_max_files": 1, "qlog_max_bytes": 0,
                },
                "websocket": {
                    "max_message_bytes": 1000, "max_frame_bytes": 1000, "max_queued_bytes": 1000, "ping_interval": 0,
                    "idle": 1000, "close_timeout": 1000,
                },
                "request_id_header": null, "access_log": null,
                "upstreams": [{
                    "name": "u", "balance": "round_robin", "retries": 1, "host": "preserve",
                    "servers": [{
                        "address": "server.test:80", "connect": "", "weight": 1, "max_fails": 0, "fail_timeout": 1000,
                        "backup": false, "max_connections": 0,
                    }],
                    "keepalive": {"max_idle": 8, "idle_timeout": 50_000, "max_requests": 0, "ping": 10_000},
                }],
                "first_resource_route": null,
                "routes": [
                    {"name": "proxy", "path": "/*", "action": {"proxy": {"upstream": 0}}, "hooks": {}},
                    {
                        "name": "probe", "path": "/probe",
                        "action": {"respond": {"status": 200, "headers": [], "body": "probe"}},
                    },
                ],
            }),
            hooks: Scripted::default(),
        }
    }

    /// Every request gets a fixed response.
    pub(crate) fn respond(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let mut setup = Self::proxy();
        setup.snapshot["routes"][0]["action"] =
            json!({"respond": {"status": status, "headers": headers, "body": body}});
        setup
    }

    /// Sets a value by its path in the snapshot, such as `/timeouts/send`.
    pub(crate) fn set(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        let place = self.snapshot.pointer_mut(pointer);
        *place.unwrap_or_else(|| panic!("the snapshot has no `{pointer}`")) = value.into();
        self
    }

    /// Puts a second server, of the same socket, beside the first.
    pub(crate) fn two_servers(mut self) -> Self {
        let server = self.snapshot["upstreams"][0]["servers"][0].clone();
        let servers = self.snapshot["upstreams"][0]["servers"].as_array_mut();
        servers.expect("it is a list").push(server);
        self
    }

    /// Speaks HTTP/2 with the server.
    pub(crate) fn http2_upstream(mut self) -> Self {
        self.snapshot["upstreams"][0]["protocol"] = json!("h2");
        self
    }

    /// A hook of the route in a phase; before routing, of all requests.
    pub(crate) fn hook(mut self, phase: &str, function: impl Fn(&Rc<Exchange>) -> Step + 'static) -> Self {
        let index = self.hooks.add(function);
        let hooks = if phase == "rewrite" {
            &mut self.snapshot["hooks"]
        } else {
            &mut self.snapshot["routes"][0]["hooks"]
        };
        let list = &mut hooks[phase];
        if list.is_null() {
            *list = json!([]);
        }
        list.as_array_mut().expect("it is a list").push(json!(index));
        self
    }

    /// A hook of the response's body: what it makes of each piece.
    pub(crate) fn body_hook(mut self, mode: &str, function: impl Fn(&[u8]) -> Vec<u8> + 'static) -> Self {
        let index = self.hooks.add_body(function);
        self.snapshot["routes"][0]["hooks"]["response_body"] =
            json!([{"hook": index, "mode": mode, "limit": 1_000_000, "decode": false}]);
        self
    }

    pub(super) fn finish(mut self, server: &Path) -> (String, Rc<dyn Hooks>) {
        let servers = self.snapshot["upstreams"][0]["servers"].as_array_mut();
        for one in servers.expect("it is a list") {
            one["connect"] = json!(format!("unix:{}", server.display()));
        }
        (self.snapshot.to_string(), Rc::new(self.hooks))
    }
}
