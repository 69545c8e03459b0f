//! A strict reader of messages, written apart from the gateway's own: RFC 9112 to the letter, and the rules of RFC 9110 that
//! a sender must not break.

/// A response as a strict client reads it.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// The statuses of interim responses before it.
    pub(crate) interim: Vec<u16>,
    /// All its bytes, the date replaced by `*`.
    pub(crate) text: String,
}

impl Message {
    /// The values of a field, joined as lists are.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let values: Vec<&str> = self
            .fields
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect();
        (!values.is_empty()).then(|| values.join(", "))
    }
}

/// The first final response of some bytes and where it ends; `None` if more are needed.
pub(crate) fn response(
    bytes: &[u8],
    method: &str,
    is_ended: bool,
) -> Result<Option<(Message, usize)>, String> {
    let mut at = 0;
    let mut interim = Vec::new();
    loop {
        let Some(head) = read_head(&bytes[at..])? else {
            return Ok(None);
        };
        let (status, reason) = status_line(&head.line)?;
        check_fields(status, method, &head.fields)?;
        if status < 200 && status != 101 {
            interim.push(status);
            at += head.end;
            continue;
        }
        let begin = at + head.end;
        let Some((body, trailers, length)) =
            content(&bytes[begin..], status, method, &head.fields, is_ended)?
        else {
            return Ok(None);
        };
        let end = begin + length;
        let message = Message {
            status,
            reason,
            fields: head.fields,
            body,
            trailers,
            interim,
            text: dateless(&String::from_utf8_lossy(&bytes[..end])),
        };
        return Ok(Some((message, end)));
    }
}

/// Where the first request of some bytes ends, or its head.
pub(crate) fn request_end(bytes: &[u8], only_head: bool) -> Option<usize> {
    let head = read_head(bytes).expect("the gateway sends a sound head")?;
    if only_head {
        return Some(head.end);
    }
    let read = content(&bytes[head.end..], 0, "", &head.fields, false);
    let (_, _, length) = read.expect("the gateway sends a sound body")?;
    Some(head.end + length)
}

struct Head {
    line: String,
    fields: Vec<(String, String)>,
    end: usize,
}

fn read_head(bytes: &[u8]) -> Result<Option<Head>, String> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = text.split("\r\n");
    let line = lines.next().unwrap_or_default().to_owned();
    let fields = lines.map(field).collect::<Result<_, _>>()?;
    let end = end + 4;
    Ok(Some(Head { line, fields, end }))
}

fn field(line: &str) -> Result<(String, String), String> {
    let (name, value) = line
        .split_once(':')
        .ok_or_else(|| format!("no field line: {line:?}"))?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!("no field name: {line:?}"));
    }
    if value
        .bytes()
        .any(|byte| byte != b'\t' && (byte < b' ' || byte == 0x7f))
    {
        return Err(format!("a control character in {line:?}"));
    }
    Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
}

fn status_line(line: &str) -> Result<(u16, String), String> {
    let bad = || format!("no status line: {line:?}");
    let rest = line.strip_prefix("HTTP/1.1 ").ok_or_else(bad)?;
    let (code, reason) = rest.split_once(' ').ok_or_else(bad)?;
    let status = code.parse().map_err(|_| bad())?;
    if code.len() != 3 || !(100..=599).contains(&status) {
        return Err(bad());
    }
    Ok((status, reason.to_owned()))
}

fn values<'a>(fields: &'a [(String, String)], name: &'a str) -> Vec<&'a str> {
    let found = fields
        .iter()
        .filter(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str()).collect()
}

/// What a sender must not do.
fn check_fields(status: u16, method: &str, fields: &[(String, String)]) -> Result<(), String> {
    let lengths = values(fields, "content-length");
    let codings = values(fields, "transfer-encoding");
    if lengths.len() > 1 || codings.len() > 1 || (!lengths.is_empty() && !codings.is_empty()) {
        return Err(format!("two framings at once: {fields:?}"));
    }
    let is_tunnel = method == "CONNECT" && (200..300).contains(&status);
    if (status < 200 || status == 204 || is_tunnel) && !(lengths.is_empty() && codings.is_empty()) {
        return Err(format!("a {status} to {method} with framing fields: {fields:?}"));
    }
    if codings.iter().any(|coding| *coding != "chunked") {
        return Err(format!("a coding that was not requested: {codings:?}"));
    }
    if lengths
        .iter()
        .any(|length| length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return Err(format!("no length: {lengths:?}"));
    }
    if status >= 200 && values(fields, "date").len() != 1 {
        return Err(format!("a {status} with other than one Date: {fields:?}"));
    }
    for name in ["keep-alive", "proxy-connection", "te"] {
        if !values(fields, name).is_empty() {
            return Err(format!("a field of another connection: {name}"));
        }
    }
    Ok(())
}

type Content = (Vec<u8>, Vec<(String, String)>, usize);

/// RFC 9112 section 6.3; `status` 0 stands for a request.
fn content(
    bytes: &[u8],
    status: u16,
    method: &str,
    fields: &[(String, String)],
    is_ended: bool,
) -> Result<Option<Content>, String> {
    let is_tunnel = method == "CONNECT" && (200..300).contains(&status);
    if method == "HEAD" || status == 101 || matches!(status, 204 | 304) || is_tunnel {
        return Ok(Some((Vec::new(), Vec::new(), 0)));
    }
    if !values(fields, "transfer-encoding").is_empty() {
        return chunks(bytes);
    }
    let length = match values(fields, "content-length").first() {
        Some(length) => length.parse().map_err(|_| "no length".to_owned())?,
        None if status == 0 => 0,
        None if !is_ended => return Ok(None),
        None => bytes.len(),
    };
    if status == 205 && length > 0 {
        return Err("a 205 with content".to_owned());
    }
    Ok((bytes.len() >= length).then(|| (bytes[..length].to_vec(), Vec::new(), length)))
}

fn chunks(bytes: &[u8]) -> Result<Option<Content>, String> {
    let (mut at, mut body) = (0, Vec::new());
    loop {
        let Some(length) = bytes[at..].windows(2).position(|two| two == b"\r\n") else {
            return Ok(None);
        };
        let size = String::from_utf8_lossy(&bytes[at..at + length]).into_owned();
        if size.is_empty() || !size.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("no chunk size: {size:?}"));
        }
        let size = usize::from_str_radix(&size, 16).map_err(|error| error.to_string())?;
        at += length + 2;
        if size == 0 {
            break;
        }
        let Some(chunk) = bytes.get(at..at + size + 2) else {
            return Ok(None);
        };
        if !chunk.ends_with(b"\r\n") {
            return Err("a chunk longer than its size".to_owned());
        }
        body.extend_from_slice(&chunk[..size]);
        at += size + 2;
    }
    if bytes[at..].starts_with(b"\r\n") {
        return Ok(Some((body, Vec::new(), at + 2)));
    }
    let Some(end) = bytes[at..].windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&bytes[at..at + end]).into_owned();
    let trailers = text.split("\r\n").map(field).collect::<Result<_, _>>()?;
    Ok(Some((body, trailers, at + end + 4)))
}

/// The text with its dates replaced by `*`.
fn dateless(text: &str) -> String {
    let lines = text.split("\r\n").map(|line| match line.split_once(": ") {
        Some((name, _)) if name.eq_ignore_ascii_case("date") => format!("{name}: *"),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\r\n")
}
