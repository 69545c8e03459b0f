//! Character references in values of attributes: texts are found in them however they are written.

/// The names that stand for characters which have to be escaped somewhere; others (`&nbsp;`) are left as they are.
const NAMED: [(&str, char); 5] = [
    ("amp;", '&'),
    ("lt;", '<'),
    ("gt;", '>'),
    ("quot;", '"'),
    ("apos;", '\''),
];

/// A value as it is written between quotation marks, for an attribute: the library escapes `"`, we `&`.
pub(crate) fn escaped(value: &str) -> String {
    value.replace('&', "&amp;")
}

/// `value` (as it is written in the page) with `by` in every place where `find` stands; `None` if it stands nowhere.
/// What is not replaced stays as it was written.
pub(crate) fn replaced(value: &str, find: &str, by: &str) -> Option<String> {
    let by = escaped(by);
    if !value.contains('&') {
        return value.contains(find).then(|| value.replace(find, &by));
    }
    let (plain, places) = read(value);
    let mut made = String::new();
    let mut copied = 0;
    let mut is_found = false;
    for (at, _) in plain.match_indices(find) {
        is_found = true;
        made.push_str(&value[copied..place(&places, at)]);
        made.push_str(&by);
        copied = place(&places, at + find.len());
    }
    made.push_str(&value[copied..]);
    is_found.then_some(made)
}

/// The text that a value stands for, and for each reference in it where it ends: in the text, and in the value.
fn read(value: &str) -> (String, Vec<(usize, usize)>) {
    let (mut plain, mut places) = (String::new(), Vec::new());
    let mut rest = value;
    while let Some(at) = rest.find('&') {
        plain.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some((character, length)) = reference(rest) else {
            plain.push('&');
            continue;
        };
        // both ends: the text of a reference is shorter than the reference
        places.push((plain.len(), value.len() - rest.len() - 1));
        plain.push(character);
        rest = &rest[length..];
        places.push((plain.len(), value.len() - rest.len()));
    }
    plain.push_str(rest);
    (plain, places)
}

/// Where in the value a place of the text is.
fn place(places: &[(usize, usize)], at: usize) -> usize {
    match places.partition_point(|(plain, _)| *plain <= at).checked_sub(1) {
        None => at,
        Some(before) => places[before].1 + (at - places[before].0),
    }
}

/// The character of a reference whose `&` is gone, and how long the rest of it is.
fn reference(rest: &str) -> Option<(char, usize)> {
    if let Some((name, character)) = NAMED.iter().find(|(name, _)| rest.starts_with(name)) {
        return Some((*character, name.len()));
    }
    let number = rest.strip_prefix('#')?;
    let (digits, radix) = match number.strip_prefix(['x', 'X']) {
        Some(digits) => (digits, 16),
        None => (number, 10),
    };
    let length = digits.bytes().take_while(u8::is_ascii_alphanumeric).count();
    let value = u32::from_str_radix(digits.get(..length)?, radix).ok()?;
    let ends = digits[length..].starts_with(';');
    ends.then_some((char::from_u32(value)?, rest.len() - digits.len() + length + 1))
}

#[cfg(test)]
mod tests {
    use super::replaced;

    #[test]
    fn a_text_is_found_however_it_is_written() {
        for (value, expected) in [
            ("/a?x=1&amp;y=2", Some("/a?z")),
            ("/a?x=1&y=2", Some("/a?z")),
            ("/a?x=1&#38;y=2&nbsp;&amp;amp;", Some("/a?z&nbsp;&amp;amp;")),
            ("/a?x&#61;1&#x26;y=2&quot;", Some("/a?z&quot;")),
            ("/a?x&#61;1&#x26y=2", None),
            ("&#;&#x;&#1114112;&#xd800;&", None),
        ] {
            assert_eq!(replaced(value, "x=1&y=2", "z").as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn what_is_put_in_is_escaped() {
        assert_eq!(replaced("a", "a", "b&c").as_deref(), Some("b&amp;c"));
        assert_eq!(replaced("&lt;a&gt;", "a", "&").as_deref(), Some("&lt;&amp;&gt;"));
    }

    #[test]
    fn half_a_reference_is_not_found() {
        assert_eq!(replaced("&amp;", "amp", "x"), None);
        assert_eq!(replaced("&amp;&amp;", "&", "x").as_deref(), Some("xx"));
    }
}
