//! The universe: which of the venue's instruments a run follows, and why the others are left out.
//!
//! `read` asks the venue, `cache` remembers its last good answer, `select` ranks and drops by the
//! rules of `[scan]`, `changes` compares two selections while running, `explain` puts it in words,
//! `open` joins them at start, and `live` hands changes to the stages. Choosing is pure; only `read`,
//! `cache` and `open` touch the outside. It never trades, subscribes or prints.

pub mod cache;
pub mod changes;
pub mod explain;
pub mod listing;
pub mod live;
pub mod open;
pub mod read;
pub mod rules;
pub mod select;

pub use cache::CacheFault;
pub use changes::{Changes, Delisted, Listed, Refreshed};
pub use listing::{DayTicker, ListedInstrument, Listing, Unreadable, UnreadableList};
pub use open::{Origin, Universe, UniverseFault, open, open_async};
pub use read::{ListingFault, Patience, Source};
pub use rules::{Patterns, RuleFault, Rules};
pub use select::{DropWhy, Dropped, MARKET_SYMBOL, Selection, candidates, select};
