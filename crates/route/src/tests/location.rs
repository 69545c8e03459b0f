use super::*;

struct UriOfRequest {
    path: &'static str,
    host: &'static str,
    query: &'static str,
    value: &'static str,
}

impl LocationParts for UriOfRequest {
    fn scheme(&self) -> &[u8] {
        b"http"
    }

    fn host(&self) -> &[u8] {
        self.host.as_bytes()
    }

    fn path(&self) -> &[u8] {
        self.path.as_bytes()
    }

    fn query(&self) -> &[u8] {
        self.query.as_bytes()
    }

    fn parameter(&self, name: &str) -> Option<Vec<u8>> {
        (name == "x").then(|| self.value.as_bytes().to_vec())
    }
}

fn filled(template: &str, value: &'static str) -> String {
    let parts = UriOfRequest {
        path: "//evil.example/a%2Fb",
        host: "site.test:8080",
        query: "q=1&r=%2F",
        value,
    };
    String::from_utf8(fill_location(template, &parts).expect("it has a host")).expect("ASCII")
}

#[test]
fn test_a_value_is_right_for_its_place() {
    for (template, value, expected) in [
        ("/new/{x}", "a/b", "/new/a/b"),
        ("/new/{x}", "a%2Fb%20c", "/new/a%2Fb%20c"),
        ("/new/{x}", "a?b#c%", "/new/a%3Fb%23c%25"),
        ("/s?q={x}&n=1", "a&b=c+d;e", "/s?q=a%26b%3Dc%2Bd%3Be&n=1"),
        ("/s?q={x}", "a%26b", "/s?q=a%26b"),
        ("/s#{x}", "a\"<b>", "/s#a%22%3Cb%3E"),
        (
            "https://{x}.site.test/",
            "evil.example/",
            "https://evil.example%2F.site.test/",
        ),
        ("https://{x}/", "u@evil:80\\", "https://u%40evil%3A80%5C/"),
        (
            "https://{host}{path}",
            "",
            "https://site.test:8080//evil.example/a%2Fb",
        ),
        (
            "https://{host}/?from={target}",
            "",
            "https://site.test:8080/?from=//evil.example/a%2Fb%3Fq%3D1%26r%3D%2F",
        ),
        (
            "{scheme}://{host}/?{query}",
            "",
            "http://site.test:8080/?q=1&r=%2F",
        ),
        ("/{x}", "\r\nSet-Cookie: a", "/%0D%0ASet-Cookie:%20a"),
        ("/{unknown}", "", "/{unknown}"),
        ("/{", "", "/{"),
    ] {
        assert_eq!(filled(template, value), expected, "{template} {value}");
    }
}

#[test]
fn test_a_location_that_is_a_path_names_no_host() {
    for (template, value, expected) in [
        ("/{x}", "/evil.example/x", "/evil.example/x"),
        ("/{x}", "//evil.example/x", "/evil.example/x"),
        ("/{x}", "\\evil.example/x", "/%5Cevil.example/x"),
        ("{path}", "", "/evil.example/a%2Fb"),
        ("{target}", "", "/evil.example/a%2Fb?q=1&r=%2F"),
        ("{x}", "https://evil.example/", "./https://evil.example/"),
        ("{x}", "javascript:alert(1)", "./javascript:alert(1)"),
        ("//other.test/{x}", "a", "//other.test/a"),
        (
            "/{x}?next=https://other.test/",
            "/evil.example/x",
            "/evil.example/x?next=https://other.test/",
        ),
        (
            "{x}#https://other.test/",
            "https://evil.example/",
            "./https://evil.example/#https://other.test/",
        ),
        ("{x}/a//b", "/evil.example", "/evil.example/a//b"),
        ("/go/https://{x}", "other.test/a", "/go/https://other.test/a"),
    ] {
        assert_eq!(filled(template, value), expected, "{template} {value}");
    }
}

#[test]
fn test_a_location_that_wants_a_host_is_not_made_without_one() {
    let parts = UriOfRequest {
        path: "/evil.example/",
        host: "",
        query: "",
        value: "",
    };
    assert_eq!(fill_location("https://{host}{path}", &parts), None);
    assert_eq!(
        fill_location("/new{path}", &parts).as_deref(),
        Some(&b"/new/evil.example/"[..])
    );
}
