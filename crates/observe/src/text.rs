//! The text that scrapers read: Prometheus's own format, and `OpenMetrics` with exemplars.
//!
//! Sources: Prometheus "Exposition formats" (text 0.0.4), and the `OpenMetrics` specification 1.0.0.

use std::fmt::Write;

use headgate_shared::series::{Family, Kind};

use crate::merged::{value, Merged, MergedFamily, Merging};

/// Set in the time of an exemplar whose text is a trace's id rather than a request's.
const IS_TRACE: u64 = 1 << 63;

/// One of the two formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text 0.0.4.
    Prometheus,
    /// 1.0.0.
    OpenMetrics,
}

impl Format {
    /// As `Content-Type` says it.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// All of it as text.
pub(crate) fn write(merged: &Merged, format: Format) -> String {
    let mut out = String::with_capacity(64 * 1024);
    let mut named = "";
    for family in merged.families.values() {
        // histograms of one name whose buckets differ are one to readers
        if write_family(&mut out, family, family.family.name != named, format) {
            named = &family.family.name;
        }
    }
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

/// Whether there was anything to write.
fn write_family(out: &mut String, merged: &MergedFamily, with_head: bool, format: Format) -> bool {
    let family = &merged.family;
    let head = out.len();
    if with_head {
        write_head(out, family, format);
    }
    let samples = out.len();
    for (labels, series) in &merged.series {
        if family.kind == Kind::Histogram {
            write_histogram(out, family, labels, series, format);
        } else {
            write_numbers(out, family, labels, series);
        }
    }
    let has_samples = out.len() > samples;
    if !has_samples {
        out.truncate(head); // nothing has been counted yet
    }
    has_samples
}

fn write_head(out: &mut String, family: &Family, format: Format) {
    let shown = if format == Format::OpenMetrics && family.kind == Kind::Counter {
        family.name.trim_end_matches("_total")
    } else {
        &family.name
    };
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let _ = write!(out, "# HELP {shown} ");
    escape(out, &family.help, format == Format::OpenMetrics);
    let _ = write!(out, "\n# TYPE {shown} {kind}\n");
}

/// A line for each cell; where there are many, for those that are not 0.
fn write_numbers(out: &mut String, family: &Family, labels: &[String], series: &Merging) {
    let outer = labels_text(&family.labels, labels);
    for (cell, number) in series.cells.iter().enumerate() {
        if *number == 0 && !family.inner.is_empty() {
            continue;
        }
        let mut inner = String::new();
        let mut rest = cell;
        for (name, values) in family.inner.iter().rev() {
            let label = format!("{name}=\"{}\"", values[rest % values.len()]);
            inner = if inner.is_empty() {
                label
            } else {
                format!("{label},{inner}")
            };
            rest /= values.len();
        }
        out.push_str(&family.name);
        braces(out, &outer, &inner);
        number_text(out, value(family.scale, *number));
        out.push('\n');
    }
}

fn write_histogram(out: &mut String, family: &Family, labels: &[String], series: &Merging, format: Format) {
    let sum_cell = family.sum_cell();
    let count: u64 = series.cells[..sum_cell]
        .iter()
        .fold(0, |sum, n| sum.wrapping_add(*n));
    if count == 0 {
        return;
    }
    let outer = labels_text(&family.labels, labels);
    let exemplar = (format == Format::OpenMetrics)
        .then(|| exemplar_of(family, series))
        .flatten();
    let mut cumulated = 0_u64;
    let mut lower = f64::NEG_INFINITY;
    for (bucket, calls) in series.cells[..sum_cell].iter().enumerate() {
        cumulated = cumulated.wrapping_add(*calls);
        let upper = family.bounds.get(bucket).copied().unwrap_or(f64::INFINITY);
        let _ = write!(out, "{}_bucket", family.name);
        let mut le = String::from("le=\"");
        bound_text(&mut le, upper);
        le.push('"');
        braces(out, &outer, &le);
        let _ = write!(out, "{cumulated}");
        if let Some((id, took, at)) = exemplar
            .as_ref()
            .filter(|(_, took, _)| *took > lower && *took <= upper)
        {
            let _ = write!(out, " # {{{id}}} {took} {at}");
        }
        out.push('\n');
        lower = upper;
    }
    let _ = write!(out, "{}_sum", family.name);
    braces(out, &outer, "");
    number_text(out, value(family.scale, series.cells[sum_cell]));
    let _ = write!(out, "\n{}_count", family.name);
    braces(out, &outer, "");
    let _ = writeln!(out, "{count}");
}

/// Label, value and time of a histogram's exemplar.
#[allow(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit")]
fn exemplar_of(family: &Family, series: &Merging) -> Option<(String, f64, f64)> {
    let first = family.sum_cell() + 1;
    let at = series.cells[first + 2];
    if at == 0 {
        return None;
    }
    let raw: Vec<u8> = series.cells[first + 3..first + 7]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'_')
        .collect();
    let label = if at & IS_TRACE == 0 {
        "request_id"
    } else {
        "trace_id"
    };
    let id = format!("{label}=\"{}\"", String::from_utf8_lossy(&raw));
    let took = value(family.scale, series.cells[first + 1]);
    Some((id, took, (at & !IS_TRACE) as f64 / 1000.0))
}

fn labels_text(names: &[String], values: &[String]) -> String {
    let mut out = String::new();
    for (name, value) in names.iter().zip(values) {
        let comma = if out.is_empty() { "" } else { "," };
        let _ = write!(out, "{comma}{name}=\"");
        escape(&mut out, value, true);
        out.push('"');
    }
    out
}

/// `{a="b",c="d"} `, or a space where there are no labels.
fn braces(out: &mut String, outer: &str, inner: &str) {
    if !(outer.is_empty() && inner.is_empty()) {
        let comma = if outer.is_empty() || inner.is_empty() {
            ""
        } else {
            ","
        };
        let _ = write!(out, "{{{outer}{comma}{inner}}}");
    }
    out.push(' ');
}

/// No value can end its line or its quotes; control codes, which would act on a terminal, are replaced.
fn escape(out: &mut String, text: &str, quotes: bool) {
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' if quotes => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            control if control.is_control() => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
}

fn number_text(out: &mut String, number: f64) {
    let _ = if number.is_nan() {
        out.write_str("NaN")
    } else if number.is_infinite() {
        out.write_str(if number > 0.0 { "+Inf" } else { "-Inf" })
    } else {
        write!(out, "{number}")
    };
}

/// The same in both formats, as `OpenMetrics` wants it: `1.0`, never `1`.
fn bound_text(out: &mut String, bound: f64) {
    number_text(out, bound);
    if bound.is_finite() && bound.fract() == 0.0 {
        out.push_str(".0");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headgate_shared::series::{Merge, Scale};

    fn merged(family: &Family, labels: &[&str], cells: Vec<u64>) -> Merged {
        let mut merged = Merged::default();
        merged.put(family, labels.iter().map(ToString::to_string).collect(), cells);
        merged
    }

    #[test]
    fn counters_are_named_as_each_format_wants() {
        let family = Family::counter("a_total", "Said\\ \"so\"", &["x"])
            .with_inner("method", &["GET", "other"])
            .with_inner("status", &["2xx", "5xx"]);
        let merged = merged(&family, &["a\"b\\c\nd\u{1b}"], vec![0, 2, 0, 3]);
        let lines = "a_total{x=\"a\\\"b\\\\c\\nd\u{fffd}\",method=\"GET\",status=\"5xx\"} 2\n\
                     a_total{x=\"a\\\"b\\\\c\\nd\u{fffd}\",method=\"other\",status=\"5xx\"} 3\n";
        assert_eq!(
            write(&merged, Format::Prometheus),
            format!("# HELP a_total Said\\\\ \"so\"\n# TYPE a_total counter\n{lines}")
        );
        assert_eq!(
            write(&merged, Format::OpenMetrics),
            format!("# HELP a Said\\\\ \\\"so\\\"\n# TYPE a counter\n{lines}# EOF\n")
        );
    }

    #[test]
    fn histograms_cumulate_and_only_open_metrics_has_exemplars() {
        let family = Family::histogram("a_seconds", "", &[], &[0.5, 1.0], Scale::Integer(1000));
        let id = u64::from_le_bytes(*b"abcdefgh");
        let merged = merged(&family, &[], vec![1, 2, 4, 9_500, 2, 700, 5_000, id, 0, 0, 0]);
        let text = write(&merged, Format::Prometheus);
        assert!(text.ends_with(
            "a_seconds_bucket{le=\"0.5\"} 1\na_seconds_bucket{le=\"1.0\"} 3\na_seconds_bucket{le=\"+Inf\"} 7\na_seconds_sum 9.5\na_seconds_count 7\n"
        ), "{text}");
        let text = write(&merged, Format::OpenMetrics);
        assert!(
            text.contains("a_seconds_bucket{le=\"1.0\"} 3 # {request_id=\"abcdefgh\"} 0.7 5\n"),
            "{text}"
        );
        assert_eq!(text.matches(" # {").count(), 1);
    }

    #[test]
    fn histograms_of_one_name_are_one_family_whatever_their_buckets() {
        let mut all = Merged::default();
        for (label, bound) in [("a", 0.5), ("b", 0.1), ("c", 0.5)] {
            let family = Family::histogram("a_seconds", "", &["x"], &[bound], Scale::Integer(1000));
            all.put(
                &family,
                vec![label.to_owned()],
                vec![1, 2, 900, 0, 0, 0, 0, 0, 0, 0],
            );
        }
        let text = write(&all, Format::Prometheus);
        assert_eq!(text.matches("# TYPE a_seconds histogram").count(), 1, "{text}");
        assert!(text.starts_with("# HELP"));
        for (label, bound) in [("a", "0.5"), ("b", "0.1"), ("c", "0.5")] {
            let first = format!("a_seconds_bucket{{x=\"{label}\",le=\"{bound}\"}} 1\n");
            assert!(text.contains(&first), "{text}");
            assert_eq!(
                text.matches(&format!("a_seconds_count{{x=\"{label}\"}} 3\n"))
                    .count(),
                1
            );
        }
    }

    #[test]
    fn a_family_without_numbers_is_not_named() {
        let family = Family::histogram("a_seconds", "", &[], &[0.5], Scale::Float);
        assert_eq!(write(&merged(&family, &[], vec![0; 10]), Format::Prometheus), "");
        let gauge = Family::gauge("b", "", &[], Merge::Sum);
        assert!(write(&merged(&gauge, &[], vec![0]), Format::Prometheus).ends_with("\nb 0\n"));
    }
}
