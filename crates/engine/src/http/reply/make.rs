//! The local reply of a route without an upstream: a redirect, a fixed text, a file.

use headgate_wire::RequestHead;

use crate::failure::{Failure, FailureKind};
use crate::hooks::exchange::Exchange;
use crate::http::files::{percent_decode, Conditions, FileBody, FileResponse, FileRoot};
use crate::state::Shared;
use crate::tables::{Action, Route};

use super::head;
use super::local_reply::{LocalReply, ReplyBody};
use super::locations::{stripped_path, RequestParts};

/// Makes the local reply of a route without an upstream.
pub(crate) fn make(exchange: &Exchange, route: &Route, shared: &Shared) -> Result<LocalReply, Failure> {
    match &route.action {
        Action::Redirect { status, location } => {
            let location = RequestParts(exchange).fill(location)?;
            let head = head::of_fields([("location", &location[..])])?;
            Ok(LocalReply::new(*status, head, ReplyBody::Bytes(Vec::new())))
        }
        Action::Respond { status, head, body } => Ok(LocalReply::new(
            *status,
            head.clone(),
            ReplyBody::Bytes(body.clone()),
        )),
        Action::Files(root) => file(exchange, route, root, shared),
        Action::Proxy { .. } | Action::Hooks => {
            let name = &route.name;
            Err(Failure::new(
                FailureKind::NoHookResponse,
                format!("no hook of the route `{name}` responded"),
            ))
        }
    }
}

/// A fixed reply of these fields.
pub(crate) fn fixed(status: u16, fields: &[(String, String)], body: &str) -> Result<LocalReply, Failure> {
    let fields = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    let head = head::of_fields(fields)?;
    Ok(LocalReply::new(
        status,
        head,
        ReplyBody::Bytes(body.as_bytes().to_vec()),
    ))
}

/// A reply of these fields and bytes.
pub(crate) fn of_bytes<'a>(
    status: u16,
    fields: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    body: Vec<u8>,
) -> Result<LocalReply, Failure> {
    Ok(LocalReply::new(
        status,
        head::of_fields(fields)?,
        ReplyBody::Bytes(body),
    ))
}

/// A file below a root, or why there is none.
fn file(exchange: &Exchange, route: &Route, root: &FileRoot, shared: &Shared) -> Result<LocalReply, Failure> {
    let request = exchange.request.borrow();
    let path = stripped_path(request.path(), route).unwrap_or_else(|| request.path().to_vec());
    // the route's own folder, requested without its slash: relative links of its pages would be resolved beside it
    let is_bare_folder = path.ends_with(b"/") && !request.path().ends_with(b"/");
    let path = percent_decode(&path).map_err(|_| Failure::from(FailureKind::BadPath))?;
    let all = |name: &[u8]| {
        let values: Vec<&[u8]> = request.head.get_all(name).collect();
        (!values.is_empty()).then(|| values.join(&b", "[..]))
    };
    let (if_match, if_none_match) = (all(b"if-match"), all(b"if-none-match"));
    let conditions = Conditions {
        if_match: if_match.as_deref(),
        if_none_match: if_none_match.as_deref(),
        if_modified_since: request.head.get(b"if-modified-since"),
        if_unmodified_since: request.head.get(b"if-unmodified-since"),
        if_range: request.head.get(b"if-range"),
        range: request.head.get(b"range"),
        now_unix_seconds: shared.clock.unix_ms(shared.clock.now_us()) / 1000,
    };
    let mut response = root.serve(request.method(), &path, &conditions);
    if is_bare_folder && matches!(response.status, 200 | 206 | 304) {
        response = FileResponse::to_folder();
    }
    match response.status {
        404 => return Err(Failure::from(FailureKind::NoFile)),
        405 => {
            let mut failure = Failure::new(FailureKind::MethodNotAllowed, "files can only be read");
            failure.allow = value_of(&mut response.headers, "allow").cloned();
            return Err(failure);
        }
        308 => {
            if let Some(location) = value_of(&mut response.headers, "location") {
                *location = folder_of(&request);
            }
        }
        _ => {}
    }
    let body = match response.body {
        FileBody::None => ReplyBody::None(response.content_length),
        FileBody::Bytes(bytes) => ReplyBody::Bytes(bytes),
        FileBody::File { file, start, len } => ReplyBody::File {
            file,
            start,
            length: len,
        },
    };
    let fields = response.headers.iter();
    let head = head::of_fields(fields.map(|(name, value)| (*name, value.as_bytes())))?;
    Ok(LocalReply::new(response.status, head, body))
}

/// The request's own target with a slash at the end of its path, relative, so that it holds behind proxies that take a prefix off.
fn folder_of(request: &RequestHead) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let name = request.path().rsplit(|byte| *byte == b'/').next();
    // the dot keeps a colon in the name from making a scheme of it (RFC 3986 section 4.2)
    let mut folder = format!("./{}/", text(name.unwrap_or_default()));
    if !request.query().is_empty() {
        folder.push('?');
        folder.push_str(&text(request.query()));
    }
    folder
}

/// The value of a field that `root.serve` has set.
fn value_of<'a>(headers: &'a mut [(&'static str, String)], name: &str) -> Option<&'a mut String> {
    let found = headers
        .iter_mut()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value)
}
