//! The bus: every ring, table, histogram and counter of the daemon, in one mapped file.
//!
//! `layout` draws the file (see also docs/bus.md), `plan` decides what is in it, `map` creates it, attaches
//! to it and gives out its handles (`file` is the part of that which touches bytes); `ring` and `table` are what those handles do. Only the owner writes;
//! any process of the same user may attach and read everything without slowing it.

mod file;
pub mod layout;
pub mod live;
pub mod map;
pub mod plan;
pub mod record;
pub mod ring;
pub mod schema;
pub mod sync;
pub mod table;
pub mod words;

pub use file::remove_dead;
pub use layout::BusError;
pub use live::{BusFound, find_buses};
pub use map::Bus;
pub use plan::{BusBuilder, CounterKind};
pub use record::{Record, Row};
pub use ring::{Consumer, Full, Observed, Observer, Producer};
pub use table::{Table, TableWriter};
