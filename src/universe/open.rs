//! The universe at start: from the venue, or from the cache when the venue does not answer.
//!
//! An answer is saved only after the rules have found something in it. A universe in which the rules
//! leave nothing is a fault that names them: to scan nothing in silence would look like a calm market.

use std::path::Path;

use super::cache::{self, CacheFault};
use super::explain::most_dropped;
use super::listing::Listing;
use super::read::{self, ListingFault, Patience, Source};
use super::rules::Rules;
use super::select::{Selection, select};
use crate::model::Symbol;
use crate::venue::blofin::bans::Bans;

/// Where a universe came from.
#[derive(Debug)]
pub enum Origin {
    Venue,
    /// The venue did not answer. Terms and volumes are as old as the file: nothing should be
    /// entered before the venue's own list has been read.
    Cache {
        saved_ms: i64,
        because: ListingFault,
    },
}

/// What a run starts with.
#[derive(Debug)]
pub struct Universe {
    pub listing: Listing,
    pub selection: Selection,
    pub origin: Origin,
    /// Set when the cache could not be written: worth a warning, no reason to stop.
    pub unsaved: Option<CacheFault>,
}

/// Why there is nothing to start with.
#[derive(Debug, thiserror::Error)]
pub enum UniverseFault {
    #[error("the universe is empty: of {listed_count} instruments every one is dropped ({counts}); {next}")]
    Empty {
        listed_count: usize,
        counts: String,
        next: String,
    },
    #[error("no universe from the venue: {venue}; nor from the cache: {cache}")]
    NoSource {
        venue: Box<ListingFault>,
        cache: Box<CacheFault>,
    },
    #[error("no timer or socket can be had: {source}; raise the limit on open files")]
    Runtime { source: std::io::Error },
}

impl UniverseFault {
    /// Whether waiting until the venue serves us again is all that it takes.
    pub fn is_by_ban(&self) -> bool {
        matches!(self, UniverseFault::NoSource { venue, .. } if venue.is_by_ban())
    }
}

/// Reads, chooses and saves, before the engine starts; `now_ms` is Unix time. It blocks for as long as
/// `patience` says, so it must not be called on a thread of an async runtime: use `open_async` there.
pub fn open(
    source: &Source<'_>,
    patience: &Patience,
    bans: &dyn Bans,
    rules: &Rules,
    cache_path: &Path,
    now_ms: i64,
    is_held: impl Fn(&Symbol) -> bool,
) -> Result<Universe, UniverseFault> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| UniverseFault::Runtime { source })?;
    runtime.block_on(open_async(
        source, patience, bans, rules, cache_path, now_ms, is_held,
    ))
}

/// As `open`, on a runtime that is there. Also for reading again while running.
pub async fn open_async(
    source: &Source<'_>,
    patience: &Patience,
    bans: &dyn Bans,
    rules: &Rules,
    cache_path: &Path,
    now_ms: i64,
    is_held: impl Fn(&Symbol) -> bool,
) -> Result<Universe, UniverseFault> {
    match read::read(source, patience, bans).await {
        Ok(listing) => {
            let selection = chosen(&listing, rules, is_held)?;
            let unsaved = cache::save(cache_path, &listing, now_ms).err();
            Ok(Universe {
                listing,
                selection,
                origin: Origin::Venue,
                unsaved,
            })
        }
        Err(because) => open_cached(because, rules, cache_path, is_held),
    }
}

/// Out of the cache, as the venue could not be read or may not be asked.
fn open_cached(
    because: ListingFault,
    rules: &Rules,
    cache_path: &Path,
    is_held: impl Fn(&Symbol) -> bool,
) -> Result<Universe, UniverseFault> {
    match cache::load(cache_path) {
        Ok(cached) => Ok(Universe {
            selection: chosen(&cached.listing, rules, is_held)?,
            listing: cached.listing,
            origin: Origin::Cache {
                saved_ms: cached.saved_ms,
                because,
            },
            unsaved: None,
        }),
        Err(cache) => Err(UniverseFault::NoSource {
            venue: Box::new(because),
            cache: Box::new(cache),
        }),
    }
}

/// The selection, a fault when nothing would be scanned.
fn chosen(
    listing: &Listing,
    rules: &Rules,
    is_held: impl Fn(&Symbol) -> bool,
) -> Result<Selection, UniverseFault> {
    let selection = select(listing, rules, is_held);
    if !selection.ranking.is_empty() {
        return Ok(selection);
    }
    let counts = selection.counts();
    let mut keys: Vec<(usize, &str)> = Vec::new();
    for dropped in &selection.dropped {
        let count = counts[dropped.why.index()];
        match dropped.why.key() {
            Some(key) if !keys.contains(&(count, key)) => keys.push((count, key)),
            _ => {}
        }
    }
    keys.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let keys: Vec<&str> = keys.into_iter().map(|(_, key)| key).collect();
    Err(UniverseFault::Empty {
        listed_count: selection.listed_count(),
        counts: most_dropped(&selection),
        next: if keys.is_empty() {
            "see the venue's status page".to_owned()
        } else {
            format!("relax {}", keys.join(", "))
        },
    })
}

impl Universe {
    /// One line for the start of a run: where it came from, and how old it is at `now_ms`.
    pub fn origin_line(&self, now_ms: i64) -> String {
        match &self.origin {
            Origin::Venue => format!(
                "universe: read from the venue, {} unreadable rows",
                self.listing.unreadable.len()
            ),
            Origin::Cache { saved_ms, because } => format!(
                "universe: from the cache, {} minutes old; {because}",
                now_ms.saturating_sub(*saved_ms).max(0) / 60_000
            ),
        }
    }
}
