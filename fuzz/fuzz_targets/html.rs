//! HTML that is rewritten: a selector on the first line, then a page. No panic, bounded output, and a result that does not
//! depend on how the page is cut.
#![no_main]

use headgate_html::{Failure, Options, Rewriter, Rule, Rules};
use libfuzzer_sys::fuzz_target;

const MAX_MEMORY_BYTES: usize = 16 * 1024;

fn rules(select: &str) -> Option<Rules> {
    let text = |text: &str| Some(text.to_owned());
    let rule = |select: &str| Rule {
        select: select.to_owned(),
        ..Rule::default()
    };
    Rules::new([
        Rule {
            append: text("<u>"),
            before: text("é"),
            set: vec![("id".to_owned(), "&".to_owned())],
            ..rule(select)
        },
        Rule {
            replace: vec![("href".to_owned(), "&".to_owned(), "\"".to_owned())],
            add_classes: vec!["a".to_owned()],
            after: text("1"),
            ..rule("a, p")
        },
        Rule {
            remove: true,
            ..rule("script")
        },
        Rule {
            unwrap: true,
            once: true,
            ..rule("b")
        },
    ])
    .ok()
}

fn rewritten(rules: &Rules, page: &[u8], cut: usize, passes: bool) -> (Vec<u8>, Option<Failure>) {
    let options = Options {
        charset: None,
        max_memory_bytes: MAX_MEMORY_BYTES,
        passes,
    };
    let mut rewriter = Rewriter::new(rules, options).expect("no charset is told");
    let mut made = Vec::new();
    for piece in page.chunks(cut) {
        match rewriter.write(piece) {
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

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, rest)) = bytes.split_first() else {
        return;
    };
    let at = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
    let (select, page) = rest.split_at(at);
    let Some(rules) = std::str::from_utf8(select).ok().and_then(rules) else {
        return;
    };
    let (passes, cut) = (choice % 2 == 0, usize::from(choice / 2) + 1);
    let whole = rewritten(&rules, page, page.len().max(1), passes);
    let pieces = rewritten(&rules, page, cut, passes);
    // each element can add what its rules put in, and the page is there once
    assert!(whole.0.len() <= page.len() * 20 + MAX_MEMORY_BYTES);
    if whole.1.is_none() && pieces.1.is_none() {
        assert_eq!(whole.0, pieces.0);
    }
});
