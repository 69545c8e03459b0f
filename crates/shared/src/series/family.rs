//! What a family of series is, and the text that says so in memory.

use std::borrow::Cow;

/// Cells behind a histogram's sum that hold an exemplar: a count of writes, value, Unix milliseconds, 32 bytes of text.
pub const EXEMPLAR_CELLS: usize = 7;

/// What the numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts by size.
    Histogram,
}

/// How the gauges of several processes come to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// Their sum.
    Sum,
    /// The largest.
    Max,
    /// The smallest.
    Min,
}

/// How a cell is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// A whole number, shown divided by this.
    Integer(u64),
    /// The bits of a floating point number.
    Float,
}

/// Series of one name: the same kind, the same labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Its name, with `_total` if it is a counter.
    pub name: String,
    /// One line for people.
    pub help: String,
    /// What its numbers are.
    pub kind: Kind,
    /// How gauges are merged.
    pub merge: Merge,
    /// How its numbers are read; of a histogram, the sum.
    pub scale: Scale,
    /// The names of the labels whose values each series has.
    pub labels: Vec<String>,
    /// Labels that all series have all values of: a cell for each combination, the last label counting fastest.
    pub inner: Vec<(String, Vec<String>)>,
    /// The upper bounds of a histogram's buckets, without the one that has no bound.
    pub bounds: Vec<f64>,
    /// Whether every process that may count has each of its series from the start: one that no process has any more is gone.
    pub is_declared: bool,
    /// Tells families apart that are alike but for their buckets, such as those of routes with buckets of their own; usually
    /// empty. It is not told to other processes.
    pub variant: String,
}

impl Family {
    /// A counter of whole numbers.
    pub fn counter(name: &str, help: &str, labels: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            help: help.replace('\n', " "),
            kind: Kind::Counter,
            merge: Merge::Sum,
            scale: Scale::Integer(1),
            labels: labels.iter().map(ToString::to_string).collect(),
            inner: Vec::new(),
            bounds: Vec::new(),
            is_declared: false,
            variant: String::new(),
        }
    }

    /// A gauge of whole numbers.
    pub fn gauge(name: &str, help: &str, labels: &[&str], merge: Merge) -> Self {
        Self {
            kind: Kind::Gauge,
            merge,
            ..Self::counter(name, help, labels)
        }
    }

    /// A histogram.
    pub fn histogram(name: &str, help: &str, labels: &[&str], bounds: &[f64], scale: Scale) -> Self {
        Self {
            kind: Kind::Histogram,
            scale,
            bounds: bounds.to_vec(),
            ..Self::counter(name, help, labels)
        }
    }

    /// Its series are there from the start, as the configuration names them.
    #[must_use]
    pub fn declared(self) -> Self {
        Self {
            is_declared: true,
            ..self
        }
    }

    /// Under a key of its own, so that there may be others of its name with other buckets.
    #[must_use]
    pub fn with_own_buckets(mut self) -> Self {
        let bounds: Vec<_> = self.bounds.iter().map(ToString::to_string).collect();
        self.variant = bounds.join(",");
        self
    }

    /// What its registry knows it by.
    pub fn key(&self) -> Cow<'_, str> {
        if self.variant.is_empty() {
            return Cow::Borrowed(&self.name);
        }
        Cow::Owned(format!("{}\n{}", self.name, self.variant))
    }

    /// With a label that all series have all values of.
    #[must_use]
    pub fn with_inner(mut self, name: &str, values: &[&str]) -> Self {
        let values = values.iter().map(ToString::to_string).collect();
        self.inner.push((name.to_owned(), values));
        self
    }

    /// The cells of a series.
    pub fn cells(&self) -> usize {
        match self.kind {
            Kind::Histogram => self.bounds.len() + 2 + EXEMPLAR_CELLS,
            _ => self.inner.iter().map(|(_, values)| values.len()).product(),
        }
    }

    /// The cell of a histogram's sum; the buckets are before it.
    pub fn sum_cell(&self) -> usize {
        self.bounds.len() + 1
    }

    /// As it stands in memory: a line for each part.
    pub(crate) fn text(&self) -> String {
        let kind = match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let merge = match self.merge {
            Merge::Sum => "sum",
            Merge::Max => "max",
            Merge::Min => "min",
        };
        let scale = match self.scale {
            Scale::Integer(divisor) => divisor.to_string(),
            Scale::Float => "float".to_owned(),
        };
        let inner = self
            .inner
            .iter()
            .map(|(name, values)| format!("{name}={}", values.join("|")));
        let inner = inner.collect::<Vec<_>>().join(";");
        let bounds = self.bounds.iter().map(ToString::to_string);
        let bounds = bounds.collect::<Vec<_>>().join(",");
        let labels = self.labels.join(",");
        let declared = if self.is_declared { "declared" } else { "" };
        [
            &self.name, &self.help, kind, merge, &scale, &labels, &inner, &bounds, declared,
        ]
        .join("\n")
    }

    /// Reads that text; `None` if it is another's.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.split('\n');
        let (name, help) = (lines.next()?.to_owned(), lines.next()?.to_owned());
        let kind = match lines.next()? {
            "counter" => Kind::Counter,
            "gauge" => Kind::Gauge,
            "histogram" => Kind::Histogram,
            _ => return None,
        };
        let merge = match lines.next()? {
            "sum" => Merge::Sum,
            "max" => Merge::Max,
            "min" => Merge::Min,
            _ => return None,
        };
        let scale = match lines.next()? {
            "float" => Scale::Float,
            divisor => Scale::Integer(divisor.parse().ok().filter(|divisor| *divisor > 0)?),
        };
        let labels = split(lines.next()?, ',').map(str::to_owned).collect();
        let inner = split(lines.next()?, ';')
            .map(|label| {
                let (name, values) = label.split_once('=')?;
                Some((name.to_owned(), values.split('|').map(str::to_owned).collect()))
            })
            .collect::<Option<_>>()?;
        let bounds = split(lines.next()?, ',').map(|bound| bound.parse().ok());
        Some(Self {
            name,
            help,
            kind,
            merge,
            scale,
            labels,
            inner,
            bounds: bounds.collect::<Option<_>>()?,
            is_declared: lines.next()? == "declared",
            variant: String::new(),
        })
    }
}

fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    text.split(separator).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_says_all_of_itself() {
        for family in [
            Family::counter("a_total", "Said.", &[])
                .with_inner("method", &["GET", "other"])
                .with_inner("status", &["2xx"]),
            Family::gauge("b", "", &["x", "y"], Merge::Min).declared(),
            Family::histogram(
                "c_seconds",
                "Took.",
                &["x"],
                &[0.001, 0.5],
                Scale::Integer(1_000_000),
            ),
            Family {
                scale: Scale::Float,
                ..Family::counter("d_total", "", &[])
            },
        ] {
            assert_eq!(Family::parse(&family.text()).as_ref(), Some(&family));
        }
        assert_eq!(Family::parse("a\nb\nsummary"), None);
    }
}
