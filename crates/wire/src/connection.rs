//! What the Connection field says, and which fields it takes out of the message (RFC 9110 section 7.6.1).

use crate::error::HeadError;
use crate::field::{Name, HIDDEN};
use crate::grammar::{is_token, list};
use crate::head::Head;

/// More options than this are an attempt to make us work.
const MAX_OPTIONS: usize = 32;

/// The options that mean something here.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
}

/// Reads the options and hides the fields they name.
pub(crate) fn read_options(head: &mut Head) -> Result<Options, HeadError> {
    let mut options = Options::default();
    if !head.fields.may_have(Name::Connection) {
        return Ok(options);
    }
    let mut nominated = Vec::new();
    let mut count = 0;
    for field in head.fields.iter().filter(|field| field.name == Name::Connection) {
        // the two that nearly all messages have, when they have one
        match head.value(field) {
            b"keep-alive" => {
                options.keep_alive = true;
                continue;
            }
            b"close" => {
                options.close = true;
                continue;
            }
            _ => {}
        }
        for option in list(head.value(field)).filter(|option| is_token(option)) {
            count += 1;
            if count > MAX_OPTIONS {
                return Err(HeadError::Connection);
            }
            match option.len() {
                5 if option.eq_ignore_ascii_case(b"close") => options.close = true,
                7 if option.eq_ignore_ascii_case(b"upgrade") => options.upgrade = true,
                10 if option.eq_ignore_ascii_case(b"keep-alive") => options.keep_alive = true,
                _ => nominated.push(option.to_vec()),
            }
        }
    }
    for name in nominated {
        hide_nominated(head, &name)?;
    }
    Ok(options)
}

fn hide_nominated(head: &mut Head, name: &[u8]) -> Result<(), HeadError> {
    match Name::of(name) {
        Name::Host | Name::ContentLength | Name::TransferEncoding | Name::FramingLookalike => {
            Err(HeadError::Connection)
        }
        Name::Other if !is_end_to_end(name) => {
            head.hide(name, 0);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Fields for every recipient, which a sender must not name in Connection. Such an option is ignored, lest a
/// client strip what a gateway or a cache before us relied on.
fn is_end_to_end(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 20] = [
        b"age",
        b"authorization",
        b"cache-control",
        b"content-encoding",
        b"content-range",
        b"content-type",
        b"cookie",
        b"date",
        b"etag",
        b"forwarded",
        b"last-modified",
        b"location",
        b"range",
        b"set-cookie",
        b"vary",
        b"via",
        b"www-authenticate",
        b"origin",
        b"x-real-ip",
        b"x-request-id",
    ];
    NAMES.iter().any(|candidate| name.eq_ignore_ascii_case(candidate))
        || name
            .get(..12)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"x-forwarded-"))
}

/// Whether the head has a field of this kind with a list element that satisfies `is_wanted`.
pub(crate) fn any_element(head: &Head, name: Name, is_wanted: impl Fn(&[u8]) -> bool) -> bool {
    head.fields.may_have(name)
        && head
            .fields
            .iter()
            .filter(|field| field.name == name && field.state & HIDDEN != 0)
            .any(|field| list(head.value(field)).any(&is_wanted))
}

/// Whether there is an Upgrade to a protocol we pass on. `h2c` is not one: behind it a client could speak
/// HTTP/2 to the server past every rule of the gateway, so it is ignored (RFC 9110 section 7.8 allows that).
pub(crate) fn has_upgrade(head: &Head) -> bool {
    any_element(head, Name::Upgrade, |element| !element.is_empty())
        && !any_element(head, Name::Upgrade, |element| {
            element
                .get(..3)
                .is_some_and(|start| start.eq_ignore_ascii_case(b"h2c"))
        })
}
