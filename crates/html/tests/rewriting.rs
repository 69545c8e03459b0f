//! Pages that are changed as they stream: what becomes of elements, however a page is cut.

use headgate_html::{is_supported, Failure, Options, Rewriter, Rule, Rules, WrongRule};
use proptest::prelude::*;

fn rule(select: &str) -> Rule {
    Rule {
        select: select.to_owned(),
        ..Rule::default()
    }
}

#[allow(clippy::unnecessary_wraps)] // why: it is what the fields of a rule take
fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn options(charset: Option<&str>) -> Options<'_> {
    Options {
        charset,
        max_memory_bytes: 1 << 20,
        passes: false,
    }
}

fn rewritten(
    rules: &[Rule],
    options: Options<'_>,
    pieces: impl IntoIterator<Item = impl AsRef<[u8]>>,
) -> (Vec<u8>, Option<Failure>) {
    let rules = Rules::new(rules.to_vec()).expect("right rules");
    let mut rewriter = Rewriter::new(&rules, options).expect("a charset that can be changed");
    let mut made = Vec::new();
    for piece in pieces {
        match rewriter.write(piece.as_ref()) {
            Ok(bytes) => made.extend(bytes),
            Err(failure) => return (made, Some(failure)),
        }
    }
    match rewriter.end() {
        Ok(bytes) => made.extend(bytes),
        Err(failure) => return (made, Some(failure)),
    }
    (made, rewriter.failure().cloned())
}

fn page(rules: &[Rule], page: &str) -> String {
    let (made, failure) = rewritten(rules, options(None), [page]);
    assert_eq!(failure, None);
    String::from_utf8(made).expect("text")
}

#[test]
#[allow(clippy::too_many_lines)] // why: a table
fn each_change_is_made() {
    let pairs = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let of = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let cases = [
        (
            Rule {
                set: pairs("rel", "x\"&<"),
                ..rule("a")
            },
            "<a href=1>l</a>",
            "<a href=1 rel=\"x&quot;&amp;<\">l</a>",
        ),
        (
            Rule {
                remove_attributes: of(&["href"]),
                ..rule("a")
            },
            "<a href=1 id=2>l</a>",
            "<a id=2>l</a>",
        ),
        (
            Rule {
                replace: vec![("src".into(), "http://a/?x=1&y".into(), "/b&".into())],
                ..rule("img")
            },
            "<img src=\"http://a/?x=1&amp;y&amp;z\">",
            "<img src=\"/b&amp;&amp;z\">",
        ),
        (
            Rule {
                add_classes: of(&["a", "b"]),
                remove_classes: of(&["c"]),
                ..rule("p")
            },
            "<p class=\"c a d\">1</p><p>2</p>",
            "<p class=\"a d b\">1</p><p class=\"a b\">2</p>",
        ),
        (
            Rule {
                remove_classes: of(&["c"]),
                ..rule("p")
            },
            "<p class=c>1</p>",
            "<p>1</p>",
        ),
        (
            Rule {
                text: text("<b>&"),
                ..rule("p")
            },
            "<p>a<i>b</i></p>",
            "<p>&lt;b&gt;&amp;</p>",
        ),
        (
            Rule {
                html: text("<b>1</b>"),
                ..rule("p")
            },
            "<p>a<i>b</i></p>",
            "<p><b>1</b></p>",
        ),
        (
            Rule {
                prepend: text("<i>"),
                append: text("</i>"),
                ..rule("p")
            },
            "<p>a</p>",
            "<p><i>a</i></p>",
        ),
        (
            Rule {
                before: text("<i>"),
                after: text("</i>"),
                ..rule("p")
            },
            "<p>a</p>",
            "<i><p>a</p></i>",
        ),
        (
            Rule {
                after: text("x"),
                ..rule("br")
            },
            "<br>a",
            "<br>xa",
        ),
        (
            Rule {
                unwrap: true,
                ..rule("b")
            },
            "<p><b>a<i>b</i></b></p>",
            "<p>a<i>b</i></p>",
        ),
        (
            Rule {
                remove: true,
                before: text("x"),
                ..rule("div")
            },
            "<div>a<div>b</div></div>c",
            "xc",
        ),
        (
            Rule {
                remove: true,
                ..rule("script")
            },
            "a<script>'<p>'</script>b",
            "ab",
        ),
        (
            Rule {
                once: true,
                text: text("x"),
                ..rule("p")
            },
            "<p>a</p><p>b</p>",
            "<p>x</p><p>b</p>",
        ),
        (
            Rule {
                text: text("x"),
                ..rule("ul > li:nth-child(2)")
            },
            "<ul><li>1</li><li>2</li></ul>",
            "<ul><li>1</li><li>x</li></ul>",
        ),
    ];
    for (rule, before, after) in cases {
        assert_eq!(page(&[rule], before), after);
    }
}

#[test]
fn nothing_is_read_in_what_was_put_in_or_is_text() {
    let rules = [
        Rule {
            append: text("<meta>"),
            ..rule("head")
        },
        Rule {
            remove: true,
            ..rule("meta")
        },
    ];
    assert_eq!(page(&rules, "<head></head>"), "<head><meta></head>");
    let same = "<!-- <meta> --><title><meta></title><textarea><meta></textarea><script>'<meta>'</script>";
    assert_eq!(page(&rules, same), same);
}

#[test]
fn what_is_put_in_has_the_encoding_of_the_page() {
    let rules = [Rule {
        text: text("é"),
        ..rule("p")
    }];
    let made = |charset, page: &[u8]| rewritten(&rules, options(charset), [page]).0;
    assert_eq!(made(Some("ISO-8859-1"), b"<p>x</p>\xe8"), b"<p>\xe9</p>\xe8");
    assert_eq!(
        made(None, b"<meta charset=latin1><p>x</p>"),
        b"<meta charset=latin1><p>\xe9</p>"
    );
    assert_eq!(
        made(Some("utf-8"), b"<meta charset=latin1><p>x</p>"),
        "<meta charset=latin1><p>é</p>".as_bytes()
    );
    assert_eq!(
        made(Some("latin1"), b"\xef\xbb\xbf<p>x</p>"),
        "\u{feff}<p>é</p>".as_bytes()
    );
    assert_eq!(made(None, b"\xff<p>x</p>"), b"\xff<p>\xc3\xa9</p>");
}

#[test]
fn utf_16_is_no_page() {
    for charset in ["utf-16", "utf-16le", "iso-2022-jp", "hz-gb-2312", "none"] {
        assert!(!is_supported(charset));
        assert!(Rewriter::new(&Rules::new([]).expect("none"), options(Some(charset))).is_none());
    }
    assert!(is_supported("shift_jis") && is_supported("UTF-8"));
    for marked in [b"\xff\xfe<\0p\0>\0", b"\xfe\xff\0<\0p\0>"] {
        let rules = [Rule {
            remove: true,
            ..rule("p")
        }];
        let pieces = || marked.iter().map(|byte| [*byte]);
        assert_eq!(
            rewritten(&rules, options(None), pieces()),
            (vec![], Some(Failure::Encoding))
        );
        let passing = Options {
            passes: true,
            ..options(None)
        };
        assert_eq!(
            rewritten(&rules, passing, pieces()),
            (marked.to_vec(), Some(Failure::Encoding))
        );
    }
}

/// Pages that never end what they began.
fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        (
            "an attribute",
            [b"<p class=\"".to_vec(), vec![b'x'; 8 << 20]].concat(),
        ),
        ("attributes", [b"<p ".to_vec(), b"a=1 ".repeat(2 << 20)].concat()),
        ("depth", b"<p>".repeat(2 << 20)),
        ("growth", [b"<b>".repeat(20_000)].concat()),
        ("a name", [b"<".to_vec(), vec![b'p'; 8 << 20]].concat()),
    ]
}

#[test]
fn what_does_not_end_is_given_up_or_goes_on_as_it_is() {
    let rules = [
        Rule {
            append: text("1"),
            after: text("2"),
            ..rule("p.x, p p")
        },
        Rule {
            before: text(&"x".repeat(1000)),
            ..rule("b")
        },
    ];
    for (name, page) in hostile() {
        let (made, failure) = rewritten(&rules, options(None), page.chunks(65536));
        assert_eq!(failure, Some(Failure::Memory), "{name}");
        assert!(made.len() <= page.len());
        let passing = Options {
            passes: true,
            ..options(None)
        };
        let (made, failure) = rewritten(&rules, passing, page.chunks(65536));
        assert_eq!(failure, Some(Failure::Memory), "{name}");
        if name == "growth" {
            assert!(made.len() < 3 << 20 && made.ends_with(b"<b><b>"));
            assert_eq!(String::from_utf8_lossy(&made).matches('<').count(), 20_000);
        } else {
            assert!(made == page, "{name}");
        }
    }
}

#[test]
fn a_comment_or_script_without_end_is_not_held() {
    let rules = [Rule {
        remove: true,
        ..rule("p")
    }];
    for begin in ["<!--", "<script>", "<title>", "<!doctype ", "<![CDATA["] {
        let page = [begin.as_bytes().to_vec(), vec![b'x'; 4 << 20]].concat();
        let passing = Options {
            passes: true,
            ..options(None)
        };
        assert!(
            rewritten(&rules, passing, page.chunks(65536)).0 == page,
            "{begin}"
        );
    }
}

#[test]
fn markup_of_two_meanings_is_refused_unless_all_passes() {
    let rules = [Rule {
        remove: true,
        ..rule("p")
    }];
    let page = "<select><xmp><script>1</script></select>";
    let refused = rewritten(&rules, options(None), [page]).1;
    assert_eq!(refused, Some(Failure::Ambiguous("xmp".to_owned())));
    let passing = Options {
        passes: true,
        ..options(None)
    };
    assert_eq!(rewritten(&rules, passing, [page]), (page.into(), None));
}

#[test]
fn wrong_rules_say_what_is_wrong() {
    let remove = |select: &str| Rule {
        remove: true,
        ..rule(select)
    };
    let wrong = |rule: Rule| Rules::new([rule]).expect_err("a wrong rule");
    for select in ["a[", "", "a >", "a..b", "[=x]", "a{}"] {
        let error = wrong(remove(select));
        assert!(matches!(error, WrongRule::Selector { .. }), "{select}: {error}");
        assert!(error.to_string().contains("; hint: "));
    }
    for select in [
        "a::before",
        "a:hover",
        "a + b",
        "a ~ b",
        "a:has(b)",
        "li:last-child",
        "svg|a",
    ] {
        let error = wrong(remove(select));
        assert!(
            matches!(error, WrongRule::Unsupported { .. }),
            "{select}: {error}"
        );
    }
    let named = |name: &str| Rule {
        remove_attributes: vec![name.to_owned()],
        ..rule("a")
    };
    for name in ["a b", "onclick=", "", "é", "1", "a\""] {
        assert_eq!(wrong(named(name)), WrongRule::Attribute(name.to_owned()));
    }
    let class = Rule {
        add_classes: vec!["a b".to_owned()],
        ..rule("a")
    };
    assert_eq!(wrong(class), WrongRule::Class("a b".to_owned()));
    let empty = Rule {
        replace: vec![("a".into(), String::new(), "b".into())],
        ..rule("a")
    };
    assert_eq!(wrong(empty), WrongRule::Empty("a".to_owned()));
    let two = Rule {
        text: text("1"),
        html: text("2"),
        ..rule("a")
    };
    assert_eq!(wrong(two), WrongRule::TwoContents("a".to_owned()));
    assert_eq!(wrong(rule("a")), WrongRule::Nothing("a".to_owned()));
}

fn all_changes() -> Vec<Rule> {
    vec![
        Rule {
            set: vec![("id".into(), "1".into())],
            add_classes: vec!["x".into()],
            ..rule("p, a[href]")
        },
        Rule {
            prepend: text("<u>"),
            append: text("</u>"),
            before: text("é"),
            ..rule("div > p")
        },
        Rule {
            text: text("t"),
            ..rule("b.y")
        },
        Rule {
            unwrap: true,
            ..rule("i")
        },
        Rule {
            remove: true,
            after: text("!"),
            ..rule("script")
        },
        Rule {
            replace: vec![("href".into(), "a".into(), "b".into())],
            once: true,
            ..rule("a")
        },
    ]
}

const PARTS: &[&str] = &[
    "<p>",
    "</p>",
    "<p class=y>",
    "<b class=\"y\">",
    "</b>",
    "<i>",
    "</i>",
    "<div>",
    "</div>",
    "<a href='a&amp;a'>",
    "</a>",
    "<script>",
    "</script>",
    "<!--",
    "-->",
    "text",
    "é",
    "&amp;",
    "<",
    ">",
    "\"",
    "<svg/>",
    "<select>",
    "<br>",
    "\u{feff}",
    "<meta charset=latin1>",
    "<!doctype html>",
    "\r\n",
    "\0",
];

proptest! {
    #[test]
    fn the_result_does_not_depend_on_how_a_page_is_cut(
        parts in prop::collection::vec(prop::sample::select(PARTS), 0..40),
        cuts in prop::collection::vec(1_usize..9, 1..20),
        passes: bool,
    ) {
        let page = parts.concat().into_bytes();
        let options = Options { passes, ..options(None) };
        let whole = rewritten(&all_changes(), options, [&page]);
        let mut pieces = Vec::new();
        let (mut rest, mut sizes) = (&page[..], cuts.iter().cycle());
        while let Some(size) = sizes.next().filter(|_| !rest.is_empty()) {
            let (piece, left) = rest.split_at(*size.min(&rest.len()));
            pieces.push(piece);
            rest = left;
        }
        let cut = rewritten(&all_changes(), options, pieces);
        prop_assert_eq!(&cut.1, &whole.1);
        prop_assert!(whole.1.is_some() || cut.0 == whole.0);
    }

    #[test]
    fn random_bytes_never_panic(page in prop::collection::vec(any::<u8>(), 0..300), passes: bool) {
        rewritten(&all_changes(), Options { passes, ..options(None) }, page.chunks(7));
    }

    #[test]
    fn a_page_without_any_of_the_elements_stays_byte_for_byte(page in prop::collection::vec(any::<u8>(), 0..300)) {
        let rules = [Rule { remove: true, ..rule("none") }];
        let passing = Options { passes: true, ..options(Some("utf-8")) };
        prop_assert_eq!(rewritten(&rules, passing, page.chunks(5)).0, page);
    }
}
