use super::*;

fn parsed(pattern: &str) -> String {
    match HostPattern::parse(pattern).expect("the pattern is sound") {
        HostPattern::Any => "any".to_owned(),
        HostPattern::Exact(name) => format!("exact {name}"),
        HostPattern::Suffix(name) => format!("suffix {name}"),
        HostPattern::Prefix(name) => format!("prefix {name}"),
        HostPattern::Regex(regex) => format!("regex {regex}"),
    }
}

#[test]
fn test_each_kind_is_told_by_its_form() {
    assert_eq!(parsed("*"), "any");
    assert_eq!(parsed("Example.COM"), "exact example.com");
    assert_eq!(parsed("example.com.:8080"), "exact example.com");
    assert_eq!(parsed("*.Example.com"), "suffix .example.com");
    assert_eq!(parsed("*.example.com:443"), "suffix .example.com");
    assert_eq!(parsed("www.*"), "prefix www.");
    assert_eq!(parsed("~ ^a[0-9]+$"), "regex ^a[0-9]+$");
    assert_eq!(parsed("[::1]:80"), "exact [::1]");
    assert_eq!(parsed("localhost"), "exact localhost");
}

#[test]
fn test_errors_name_the_pattern_and_give_a_hint() {
    for pattern in [
        "",
        ":80",
        ".",
        ".example.com",
        "a*b.com",
        "*.a.*",
        "a.*.com",
        "bücher.de",
        "http://a.com",
        "a.com/x",
        "a b",
        "~(",
        "~",
    ] {
        let text = HostPattern::parse(pattern).expect_err(pattern).to_string();
        assert!(
            text.starts_with(&format!("`{pattern}` is not a valid host pattern: ")),
            "{text}"
        );
        assert!(text.contains("\nhint: "), "{text}");
    }
}

#[test]
fn test_port_is_taken_off_but_not_from_an_address_without_brackets() {
    for (host, expected) in [
        ("a.com:80", "a.com"),
        ("a.com:", "a.com"),
        ("a.com", "a.com"),
        ("[::1]:80", "[::1]"),
        ("[::1]:8080", "[::1]"),
        ("[::1]", "[::1]"),
        ("::1", "::1"),
        ("a.com:8x", "a.com:8x"),
        ("", ""),
    ] {
        assert_eq!(host_without_port(host.as_bytes()), expected.as_bytes(), "{host}");
    }
}
