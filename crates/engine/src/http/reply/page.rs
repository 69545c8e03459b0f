//! The page a client sees when the gateway itself replies with an error: problem+json (RFC 9457) or HTML, by `Accept`.

use std::fmt::Write as _;

const PROBLEM_JSON: &str = "application/problem+json";
const HTML: &str = "text/html; charset=utf-8";

/// Makes the page of an error: its content type and its body.
///
/// HTML is chosen only if `accept` (RFC 9110 section 12.5.1; several fields joined by commas) prefers `text/html` over
/// `application/problem+json` or `application/json`: by weight, or with equal weights by naming it more exactly. An
/// empty `title` becomes the reason phrase; an empty `detail` or `request_id` is left out. All text is escaped.
pub fn render(
    status: u16,
    title: &str,
    detail: &str,
    request_id: &str,
    accept: Option<&[u8]>,
) -> (&'static str, Vec<u8>) {
    let title = match (title, reason_phrase(status)) {
        ("", "") => "Error",
        ("", phrase) => phrase,
        _ => title,
    };
    if accept.is_some_and(prefers_html) {
        (HTML, html(status, title, detail, request_id).into_bytes())
    } else {
        (
            PROBLEM_JSON,
            problem_json(status, title, detail, request_id).into_bytes(),
        )
    }
}

/// The statuses of the IANA registry (and nginx's 499) with their reason phrases, in order.
const REASON_PHRASES: [(u16, &str); 62] = [
    (100, "Continue"),
    (101, "Switching Protocols"),
    (102, "Processing"),
    (103, "Early Hints"),
    (200, "OK"),
    (201, "Created"),
    (202, "Accepted"),
    (203, "Non-Authoritative Information"),
    (204, "No Content"),
    (205, "Reset Content"),
    (206, "Partial Content"),
    (207, "Multi-Status"),
    (208, "Already Reported"),
    (226, "IM Used"),
    (300, "Multiple Choices"),
    (301, "Moved Permanently"),
    (302, "Found"),
    (303, "See Other"),
    (304, "Not Modified"),
    (305, "Use Proxy"),
    (307, "Temporary Redirect"),
    (308, "Permanent Redirect"),
    (400, "Bad Request"),
    (401, "Unauthorized"),
    (402, "Payment Required"),
    (403, "Forbidden"),
    (404, "Not Found"),
    (405, "Method Not Allowed"),
    (406, "Not Acceptable"),
    (407, "Proxy Authentication Required"),
    (408, "Request Timeout"),
    (409, "Conflict"),
    (410, "Gone"),
    (411, "Length Required"),
    (412, "Precondition Failed"),
    (413, "Content Too Large"),
    (414, "URI Too Long"),
    (415, "Unsupported Media Type"),
    (416, "Range Not Satisfiable"),
    (417, "Expectation Failed"),
    (421, "Misdirected Request"),
    (422, "Unprocessable Content"),
    (423, "Locked"),
    (424, "Failed Dependency"),
    (425, "Too Early"),
    (426, "Upgrade Required"),
    (428, "Precondition Required"),
    (429, "Too Many Requests"),
    (431, "Request Header Fields Too Large"),
    (451, "Unavailable For Legal Reasons"),
    (499, "Client Closed Request"),
    (500, "Internal Server Error"),
    (501, "Not Implemented"),
    (502, "Bad Gateway"),
    (503, "Service Unavailable"),
    (504, "Gateway Timeout"),
    (505, "HTTP Version Not Supported"),
    (506, "Variant Also Negotiates"),
    (507, "Insufficient Storage"),
    (508, "Loop Detected"),
    (510, "Not Extended"),
    (511, "Network Authentication Required"),
];

/// The reason phrase of a status in the IANA registry (and of nginx's 499), or "" for another status.
pub fn reason_phrase(status: u16) -> &'static str {
    REASON_PHRASES
        .binary_search_by_key(&status, |(code, _)| *code)
        .map_or("", |position| REASON_PHRASES[position].1)
}

fn problem_json(status: u16, title: &str, detail: &str, request_id: &str) -> String {
    let mut members = serde_json::Map::new();
    members.insert("type".to_owned(), "about:blank".into());
    members.insert("title".to_owned(), title.into());
    members.insert("status".to_owned(), status.into());
    for (name, value) in [("detail", detail), ("request_id", request_id)] {
        if !value.is_empty() {
            members.insert(name.to_owned(), value.into());
        }
    }
    let mut text = serde_json::Value::Object(members).to_string();
    text.push('\n');
    text
}

fn html(status: u16, title: &str, detail: &str, request_id: &str) -> String {
    let title = escape_html(title);
    let mut page = String::with_capacity(1024);
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{status} {title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1><b>{status}</b> {title}</h1>\n"
    );
    if !detail.is_empty() {
        let _ = writeln!(page, "<p>{}</p>", escape_html(detail));
    }
    if !request_id.is_empty() {
        let _ = writeln!(
            page,
            "<p class=\"id\">Request id: <code>{}</code></p>",
            escape_html(request_id)
        );
    }
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

const STYLE: &str = ":root{color-scheme:light dark}\
body{margin:0;min-height:100vh;display:grid;place-items:center;font:1rem/1.5 system-ui,sans-serif}\
main{max-width:36rem;padding:2rem}h1{font-size:1.5rem;font-weight:400}.id{opacity:.7;font-size:.85rem}\
code{overflow-wrap:anywhere}";

fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// How well a media range fits a type: not at all, `*/*`, `text/*`, `text/html`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    None,
    Any,
    Type,
    Exact,
}

/// The best fitting media range of a type, and its weight in thousandths.
#[derive(Clone, Copy)]
struct Preference {
    fit: Fit,
    weight: u16,
}

impl Preference {
    const NONE: Self = Self {
        fit: Fit::None,
        weight: 0,
    };

    /// The most exact range decides the weight (RFC 9110 section 12.5.1).
    fn improve(&mut self, fit: Fit, weight: u16) {
        if fit > self.fit {
            *self = Self { fit, weight };
        }
    }

    fn rank(self) -> (u16, Fit) {
        (self.weight, self.fit)
    }
}

fn prefers_html(accept: &[u8]) -> bool {
    let (mut html, mut problem, mut json) = (Preference::NONE, Preference::NONE, Preference::NONE);
    for element in split_unquoted(accept, b',') {
        let mut parts = split_unquoted(element, b';');
        let range = parts.next().unwrap_or_default().trim_ascii();
        let weight = weight(parts);
        html.improve(fit(range, b"text", b"html"), weight);
        problem.improve(fit(range, b"application", b"problem+json"), weight);
        json.improve(fit(range, b"application", b"json"), weight);
    }
    html.weight > 0 && html.rank() > problem.rank().max(json.rank())
}

fn fit(range: &[u8], wanted_type: &[u8], wanted_subtype: &[u8]) -> Fit {
    let Some(slash) = memchr::memchr(b'/', range) else {
        return Fit::None;
    };
    let (main, sub) = (&range[..slash], &range[slash + 1..]);
    match (main, sub) {
        (b"*", b"*") => Fit::Any,
        (_, b"*") if main.eq_ignore_ascii_case(wanted_type) => Fit::Type,
        _ if main.eq_ignore_ascii_case(wanted_type) && sub.eq_ignore_ascii_case(wanted_subtype) => Fit::Exact,
        _ => Fit::None,
    }
}

/// The `q` among the parameters of a media range, 1000 if there is none, 0 if it is malformed.
fn weight<'a>(parameters: impl Iterator<Item = &'a [u8]>) -> u16 {
    for parameter in parameters {
        if let [b'q' | b'Q', b'=', value @ ..] = parameter.trim_ascii() {
            return thousandths(value).unwrap_or(0);
        }
    }
    1000
}

/// `qvalue` of RFC 9110 section 12.4.2: at most one, at most three digits after the point.
fn thousandths(value: &[u8]) -> Option<u16> {
    let (whole, fraction) = match value {
        [whole] => (whole, &b""[..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    let mut sum = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return None,
    };
    for (digit, place) in fraction.iter().zip([100, 10, 1]) {
        sum += u16::from(char::from(*digit).is_ascii_digit().then(|| digit - b'0')?) * place;
    }
    (sum <= 1000).then_some(sum)
}

/// Splits at `separator` wherever it stands outside of a quoted string.
fn split_unquoted(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |&byte| {
        if is_escaped {
            is_escaped = false;
            return false;
        }
        is_escaped = is_quoted && byte == b'\\';
        is_quoted ^= byte == b'"';
        byte == separator && !is_quoted
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn content_type(accept: &str) -> &'static str {
        render(502, "", "", "", Some(accept.as_bytes())).0
    }

    #[test]
    fn problem_json_unless_html_is_preferred() {
        assert_eq!(render(502, "", "", "", None).0, PROBLEM_JSON);
        for accept in [
            "",
            "*/*",
            "application/json",
            "application/json, text/html;q=0.9",
            "text/html, application/json",
            "text/html;q=0, */*;q=0",
            "text/html;q=0.5, */*",
            "text/html;q=2",
            "text/html;q=0.0000",
            "image/png",
            "x;y=\",text/html,\"",
            "texthtml",
        ] {
            assert_eq!(content_type(accept), PROBLEM_JSON, "{accept}");
        }
    }

    #[test]
    fn html_for_browsers() {
        for accept in [
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
            "text/html, */*",
            "text/*",
            "TEXT/HTML",
            "application/json;q=0.5, text/html;level=1;Q=0.501",
            "*/*, application/json;q=0, application/problem+json;q=0.1",
        ] {
            assert_eq!(content_type(accept), HTML, "{accept}");
        }
    }

    #[test]
    fn problem_json_has_the_members_of_the_rfc() {
        let (_, body) = render(504, "", "no \"head\" in time\n", "r1", None);
        let value: serde_json::Value = serde_json::from_slice(&body).expect("valid JSON");
        let expected = serde_json::json!({
            "type": "about:blank", "title": "Gateway Timeout", "status": 504,
            "detail": "no \"head\" in time\n", "request_id": "r1",
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn empty_members_are_left_out() {
        let (_, body) = render(599, "", "", "", None);
        let value: serde_json::Value = serde_json::from_slice(&body).expect("valid JSON");
        assert_eq!(
            value,
            serde_json::json!({"type": "about:blank", "title": "Error", "status": 599})
        );
    }

    #[test]
    fn html_escapes_every_text() {
        let (_, body) = render(
            400,
            "<t>",
            "a & <script>alert('x')</script>",
            "\"id\"",
            Some(b"text/html"),
        );
        let page = String::from_utf8(body).expect("valid UTF-8");
        assert!(page.contains("<h1><b>400</b> &lt;t&gt;</h1>"), "{page}");
        assert!(
            page.contains("<p>a &amp; &lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;</p>"),
            "{page}"
        );
        assert!(page.contains("<code>&quot;id&quot;</code>"), "{page}");
    }

    proptest! {
        #[test]
        fn no_accept_panics(accept in "[a-z*/;,=\"\\\\ q0-9.]{0,40}") {
            let _ = render(500, "", "", "", Some(accept.as_bytes()));
        }

        #[test]
        fn problem_json_is_always_json(title: String, detail: String, id: String) {
            let (_, body) = render(500, &title, &detail, &id, None);
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&body).is_ok());
        }
    }
}
