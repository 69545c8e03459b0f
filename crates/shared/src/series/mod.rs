//! Numbers with labels that describe themselves: what a worker counts for its metrics, in memory that others read.
//!
//! # How it works
//! Each process has a [`Registry`] of its own, so that no other process writes into it: adding takes no lock and no system call.
//! The memory holds records, one behind the other: a *family* (name, kind, labels), or a *series* of a family (the values of
//! its labels, and its cells). Since records carry their names, memory of processes with other configurations, and of other
//! versions of this program, can be read and summed up by name (see [`read`]).
//!
//! ```text
//! word 0  magic     word 3  words in use, written after what they hold
//! word 1  version   word 4  series that found no room
//! word 2  owner     word 5  label sets that were folded into `other`
//! word 8  the first record:  words | kind << 32
//!         family: bytes of its text, text
//!         series: number of its family | bytes of its labels << 32, cells, state, labels, cells
//! ```

mod family;
mod reading;
mod registry;

pub use family::{Family, Kind, Merge, Scale, EXEMPLAR_CELLS};
pub use reading::{read, ReadFamily, ReadSeries, Reading, SeriesMemory};
pub use registry::{unix_seconds, Conflict, Registry, Series, GRACE_S};

pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"hgseries");
pub(crate) const VERSION: u64 = 1;
/// All of a process's series, in words: 32 MiB, of which untouched pages cost nothing.
pub(crate) const WORDS: usize = (32 << 20) / 8;

pub(crate) const OWNER: usize = 2;
pub(crate) const USED: usize = 3;
pub(crate) const DROPPED: usize = 4;
pub(crate) const FOLDED: usize = 5;
pub(crate) const FIRST_RECORD: usize = 8;

pub(crate) const FAMILY: u64 = 1;
pub(crate) const SERIES: u64 = 2;
/// Words before the text of a family.
pub(crate) const FAMILY_HEAD: usize = 2;
/// Words before the labels of a series.
pub(crate) const SERIES_HEAD: usize = 4;
/// The state of a series that is being made.
pub(crate) const UNFINISHED: u64 = u64::MAX;
