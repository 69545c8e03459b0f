use super::*;

fn parsed(pattern: &str) -> String {
    match PathPattern::parse(pattern).expect(pattern) {
        PathPattern::Any => "any".to_owned(),
        PathPattern::Exact(path) => format!("exact {path}"),
        PathPattern::Prefix(path) => format!("prefix {path}"),
        PathPattern::Template(template) => {
            format!(
                "template {} {}",
                template.names().join(","),
                template.literal_len()
            )
        }
        PathPattern::Regex(regex) => format!("regex {regex}"),
    }
}

#[test]
fn test_each_kind_is_told_by_its_form() {
    for (pattern, expected) in [
        ("/", "any"),
        ("/*", "any"),
        ("=/", "exact /"),
        ("/x", "exact /x"),
        ("/x/", "exact /x/"),
        ("= /x", "exact /x"),
        ("=/a{b}*", "exact /a%7Bb%7D*"),
        ("/api/*", "prefix /api/"),
        ("/img*", "prefix /img"),
        ("/über", "exact /%C3%BCber"),
        ("/%61 b", "exact /a%20b"),
        ("/api/{version}/*", "template version 6"),
        ("/api/{version}", "template version 5"),
        ("/files/{name:path}", "template name 7"),
        ("~^/v[0-9]", "regex ^/v[0-9]"),
    ] {
        assert_eq!(parsed(pattern), expected, "{pattern}");
    }
}

#[test]
fn test_errors_name_the_pattern_and_give_a_hint() {
    for pattern in [
        "",
        "api",
        "^~ /api",
        "/a/*/b",
        "/a*b",
        "/a?x=1",
        "/a#b",
        "/{}",
        "/{1a}",
        "/{a-b}",
        "/{a}{b}",
        "/{a",
        "/a}",
        "/{a}/{a}",
        "/{a:int}",
        "/{a:path}/b",
        "/x{a:path}",
        "/{a}/b*",
        "/{a/b}",
        "/%zz",
        "/%00",
        "/{a}/%4",
        "/../x",
        "=x",
        "~(",
        "~*",
        "~",
    ] {
        let text = PathPattern::parse(pattern).expect_err(pattern).to_string();
        assert!(
            text.starts_with(&format!("`{pattern}` is not a valid path pattern: ")),
            "{text}"
        );
        assert!(text.contains("\nhint: "), "{text}");
    }
}

#[test]
fn test_names_are_those_of_braces_and_groups() {
    let names = |pattern: &str| PathPattern::parse(pattern).expect(pattern).names();
    assert_eq!(names("/{a}/x-{b}.json/{c:path}"), ["a", "b", "c"]);
    assert_eq!(names("~^/(?<id>[0-9]+)/(x)/(?P<kind>.*)"), ["id", "kind"]);
    assert!(names("/api/*").is_empty());
}

#[test]
fn test_a_pattern_that_is_read_anew_shares_its_regex() {
    use std::sync::Arc;

    use crate::HostPattern;

    let path = || match PathPattern::parse("~^/v(?<number>[0-9]+)/") {
        Ok(PathPattern::Regex(regex)) => regex,
        other => panic!("{other:?}"),
    };
    let host = || match HostPattern::parse(r"~^api[0-9]+\.example\.com$") {
        Ok(HostPattern::Regex(regex)) => regex,
        other => panic!("{other:?}"),
    };
    let (path_in_force, host_in_force) = (path(), host());
    assert!(Arc::ptr_eq(&path_in_force, &path()));
    assert!(Arc::ptr_eq(&host_in_force, &host()));
}
