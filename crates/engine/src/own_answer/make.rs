//! The answer of a route that is no proxy: a redirect, a fixed text, a file.

use crate::exchange_state::Exchange;
use crate::failure::Failure;
use crate::static_files::{percent_decode, Conditions, FileBody};
use crate::tables::{Action, Route};
use crate::worker::Shared;

use super::places::{fill_in, stripped_path};
use super::{Own, OwnBody};

/// Makes the answer of a route that is no proxy.
pub(crate) fn make(exchange: &Exchange, route: &Route, shared: &Shared) -> Result<Own, Failure> {
    let text = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    match &route.action {
        Action::Redirect { status, location } => {
            let location = fill_in(location, exchange);
            let headers = vec![text("location", &location)];
            Ok(Own::new(*status, headers, OwnBody::Bytes(Vec::new())))
        }
        Action::Respond {
            status,
            headers,
            body,
        } => {
            let headers = headers.iter().map(|(name, value)| text(name, value)).collect();
            Ok(Own::new(*status, headers, OwnBody::Bytes(body.clone())))
        }
        Action::Files(root) => {
            let request = exchange.request.borrow();
            let path = stripped_path(request.path(), route).unwrap_or_else(|| request.path().to_vec());
            let all = |name: &[u8]| {
                let values: Vec<&[u8]> = request.head.get_all(name).collect();
                (!values.is_empty()).then(|| values.join(&b", "[..]))
            };
            let (if_match, if_none_match) = (all(b"if-match"), all(b"if-none-match"));
            let condition = |name: &[u8]| request.head.get(name);
            let conditions = Conditions {
                if_match: if_match.as_deref(),
                if_none_match: if_none_match.as_deref(),
                if_modified_since: condition(b"if-modified-since"),
                if_unmodified_since: condition(b"if-unmodified-since"),
                if_range: condition(b"if-range"),
                range: condition(b"range"),
                now_unix_seconds: shared.clock.unix_ms(shared.clock.now_us()) / 1000,
            };
            let path = percent_decode(&path)
                .map_err(|_| Failure::client("bad_path", 400, "the path is badly escaped"))?;
            let answer = root.serve(request.method(), &path, &conditions);
            let told = |name| {
                answer
                    .headers
                    .iter()
                    .find(|(known, _)| known.eq_ignore_ascii_case(name))
                    .map(|(_, value)| value.clone())
            };
            match answer.status {
                404 => return Err(Failure::client("no_file", 404, "there is no such file")),
                405 => {
                    let mut failure = Failure::client("method_not_allowed", 405, "files can only be read");
                    failure.allow = told("allow");
                    return Err(failure);
                }
                _ => {}
            }
            let mut headers = answer.headers;
            if let (308, false, Some((_, location))) = (
                answer.status,
                request.query().is_empty(),
                headers
                    .iter_mut()
                    .find(|(name, _)| name.eq_ignore_ascii_case("location")),
            ) {
                location.push('?');
                location.push_str(&String::from_utf8_lossy(request.query()));
            }
            let body = match answer.body {
                FileBody::None => OwnBody::None(answer.content_length),
                FileBody::Bytes(bytes) => OwnBody::Bytes(bytes),
                FileBody::File { file, start, len } => OwnBody::File {
                    file,
                    start,
                    length: len,
                },
            };
            let headers = headers
                .iter()
                .filter(|(name, _)| !name.eq_ignore_ascii_case("content-length"));
            let headers = headers.map(|(name, value)| text(name, value)).collect();
            Ok(Own::new(answer.status, headers, body))
        }
        Action::Proxy { .. } | Action::Hooks => {
            let name = &route.name;
            Err(Failure::gateway(
                "no_answer",
                404,
                format!("no hook of the route `{name}` answered"),
            ))
        }
    }
}
