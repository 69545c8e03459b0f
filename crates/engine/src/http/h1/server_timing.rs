//! The response field `Server-Timing` (W3C Server Timing): where the time of a request went, for its client to see.

use std::io::Write as _;

use crate::hooks::exchange::Exchange;

/// Appends the field: a metric for each hook that has run, `connect` and `upstream`, and `gateway` for all until now.
pub(crate) fn write(exchange: &Exchange, now_us: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Server-Timing: ");
    for hook in exchange.timings.hooks.borrow().iter() {
        out.extend_from_slice(hook.phase.as_bytes());
        out.extend_from_slice(b";desc=\"");
        // a quoted string (RFC 9110 section 5.6.4) without anything that would need quoting
        out.extend(hook.name.bytes().map(|byte| match byte {
            b'"' | b'\\' => b'\'',
            b' '..=b'~' => byte,
            _ => b'?',
        }));
        out.push(b'"');
        push_duration(hook.us, out);
        out.extend_from_slice(b", ");
    }
    for (name, us) in [
        ("connect", exchange.timings.connect_us.get()),
        ("upstream", exchange.timings.head_us.get()),
    ] {
        if us > 0 {
            out.extend_from_slice(name.as_bytes());
            push_duration(us, out);
            out.extend_from_slice(b", ");
        }
    }
    out.extend_from_slice(b"gateway");
    push_duration(now_us.saturating_sub(exchange.timings.started_us.get()), out);
    out.extend_from_slice(b"\r\n");
}

/// Milliseconds with three digits behind the point.
fn push_duration(us: u64, out: &mut Vec<u8>) {
    let _ = write!(out, ";dur={}.{:03}", us / 1000, us % 1000);
}
