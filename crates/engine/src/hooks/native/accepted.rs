//! Which of some content codings a client wants (RFC 9110 section 12.5.3), as `headgate.plugins._codings` has it.

use headgate_wire::{is_token, Head};

/// So many bytes of the field are looked at.
const LONGEST: usize = 1000;
/// The longest name that is one.
const LONGEST_NAME: usize = 40;

/// The place of the coding with the highest weight among those that are offered, of equal ones the first; none if the client
/// takes none of them.
///
/// # Errors
/// It is not in ASCII: the hook reads it.
pub(super) fn chosen(head: &Head, offered: &[String]) -> Result<Option<usize>, ()> {
    let mut lines = head.get_all(b"accept-encoding");
    let Some(first) = lines.next() else {
        return Ok(None);
    };
    match lines.next() {
        None => chosen_of(first, offered),
        Some(second) => {
            let mut joined = [first, second].join(&b',');
            for line in lines {
                joined.push(b',');
                joined.extend_from_slice(line);
            }
            chosen_of(&joined, offered)
        }
    }
}

fn chosen_of(accept: &[u8], offered: &[String]) -> Result<Option<usize>, ()> {
    let accept = &accept[..accept.len().min(LONGEST)];
    if !accept.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
        return Err(());
    }
    let weight_of = |name: &[u8]| {
        let parts = accept.split(|byte| *byte == b',').rev();
        parts
            .filter_map(read)
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, weight)| weight)
    };
    let mut best = None;
    let mut others = None;
    for (place, name) in offered.iter().enumerate() {
        let weight = weight_of(name.as_bytes())
            .unwrap_or_else(|| *others.get_or_insert_with(|| weight_of(b"*").unwrap_or(0)));
        if weight > best.map_or(0, |(_, best)| best) {
            best = Some((place, weight));
        }
    }
    Ok(best
        .filter(|(_, weight)| *weight >= weight_of(b"identity").unwrap_or(0))
        .map(|(place, _)| place))
}

/// The name and the weight, in thousandths, of one member of the list; none if it is not one.
fn read(part: &[u8]) -> Option<(&[u8], u16)> {
    let end = part.iter().position(|byte| *byte == b';');
    let name = part[..end.unwrap_or(part.len())].trim_ascii();
    if name.len() > LONGEST_NAME || !is_token(name) {
        return None;
    }
    let weight = match end {
        None => 1000,
        Some(end) => {
            let (b'q' | b'Q', rest) = part[end + 1..].trim_ascii().split_first()? else {
                return None;
            };
            thousandths(rest.trim_ascii_start().strip_prefix(b"=")?.trim_ascii())?
        }
    };
    let is_old = name
        .get(..2)
        .is_some_and(|begin| begin.eq_ignore_ascii_case(b"x-"));
    Some((&name[if is_old { 2 } else { 0 }..], weight))
}

/// A number with at most three decimals, which begins with 0 or 1.
fn thousandths(text: &[u8]) -> Option<u16> {
    let (whole, rest) = text.split_first()?;
    let whole = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return None,
    };
    if rest.is_empty() {
        return Some(whole);
    }
    let decimals = rest.strip_prefix(b".").filter(|decimals| decimals.len() <= 3)?;
    let mut weight = whole;
    for (decimal, unit) in decimals.iter().zip([100, 10, 1]) {
        if !decimal.is_ascii_digit() {
            return None;
        }
        weight += u16::from(decimal - b'0') * unit;
    }
    Some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(accept: &str) -> Option<&'static str> {
        let names = ["zstd", "br", "gzip"];
        let offered = names.map(str::to_owned);
        chosen_of(accept.as_bytes(), &offered)
            .unwrap()
            .map(|place| names[place])
    }

    #[test]
    fn the_client_chooses() {
        for (accept, coding) in [
            ("gzip, br, zstd", Some("zstd")),
            ("gzip, br", Some("br")),
            ("GZIP", Some("gzip")),
            ("x-gzip", Some("gzip")),
            ("X-GZip ; Q = 0.5\t", Some("gzip")),
            ("x-x-gzip", None),
            ("zstd;q=0.5, gzip", Some("gzip")),
            ("zstd;q=0.501, gzip;q=0.5", Some("zstd")),
            ("zstd;q=0, *", Some("br")),
            ("*", Some("zstd")),
            ("*;q=0", None),
            ("identity, gzip;q=0.5", None),
            ("identity;q=0.5, gzip;q=0.5", Some("gzip")),
            ("gzip;q=0", None),
            ("gzip;q=0.", None),
            ("gzip;q=0.000", None),
            ("gzip;q=1.5, br", Some("gzip")),
            ("gzip;q=2", None),
            ("gzip;q=x", None),
            ("gzip;q=0.0001", None),
            ("gzip;q", None),
            ("gzip;", None),
            ("gzip;a=1", None),
            ("gzip;q=0, gzip", Some("gzip")),
            ("gzip, gzip;q=0", None),
            ("gzip x", None),
            ("deflate", None),
            ("", None),
            (",,,", None),
        ] {
            assert_eq!(of(accept), coding, "{accept}");
        }
        assert_eq!(of(&"gzip, ".repeat(10_000)), Some("gzip"));
        assert_eq!(of(&format!("{}gzip", " ".repeat(LONGEST))), None);
        assert_eq!(chosen_of("gzip\u{e9}".as_bytes(), &["gzip".to_owned()]), Err(()));
    }

    #[test]
    fn lines_are_one_list() {
        let mut head = Head::empty();
        assert_eq!(chosen(&head, &["gzip".to_owned()]), Ok(None));
        for line in ["br", "gzip", "gzip;q=0"] {
            head.add(b"Accept-Encoding", line.as_bytes()).unwrap();
        }
        assert_eq!(chosen(&head, &["gzip".to_owned(), "br".to_owned()]), Ok(Some(1)));
        assert_eq!(chosen(&head, &["gzip".to_owned()]), Ok(None));
    }
}
