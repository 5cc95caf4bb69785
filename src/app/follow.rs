//! The universe while `run` runs: the venue's lists are read again every five minutes, and what changed
//! is followed or left without a restart.
//!
//! A thread of its own reads; the main thread chooses and publishes. An instrument with a position is
//! never left, and one without is first closed for entries and left with the next reading, when no order
//! of it can be on its way any more.

use super::bans::SharedBans;
use super::bootstrap::{self, Followed};
use super::exit::Failure;
use super::held::{self, Leave};
use super::ws_tickers;
use crate::driver::DecisionClock;
use crate::model::{Instrument, InstrumentId, Symbol};
use crate::settings::{Scan, Settings, Venue};
use crate::stage::outside::OutsideCalls;
use crate::sys;
use crate::universe::live::{InstrumentView, Table, Version};
use crate::universe::{
    self, Changes, Delisted, Listing, ListingFault, Patience, Rules, Selection, cache, changes, explain,
};
use crate::venue::blofin::sign::Credentials;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// From one reading to the next, in decision time.
const EVERY_NS: u64 = 300_000_000_000;
/// As long as nothing good has been read, the next try comes sooner.
const RETRY_NS: u64 = 30_000_000_000;
/// Shortest real pause between two readings, whatever the speed of the clock.
const PAUSE_MIN: Duration = Duration::from_millis(500);

/// What a reading came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// For the operator.
    pub lines: Vec<String>,
    /// The venue's own list has been read: nothing is stale any more.
    pub is_fresh: bool,
    /// Something changed: every symbol that the venue lists now.
    pub listed: Option<Vec<String>>,
}

/// Follows the universe of one run.
pub struct Follower {
    table: Table,
    /// What is followed, with the ids of the run and the venue's own `live`.
    selection: Selection,
    rules: Rules,
    print_dropped: bool,
    cache_path: PathBuf,
    /// Dropped by the rules at the last reading, and left at the next unless there is a position.
    closing: BTreeSet<InstrumentId>,
    /// In which the account has a position, an order or a bracket, as of the last reading of it.
    held: BTreeSet<Symbol>,
    readings: Receiver<Reading>,
}

/// What one reading brought.
struct Reading {
    listing: Result<Listing, ListingFault>,
    /// What the account holds; `None` when that is not read, a fault when it could not be.
    held: Option<Result<BTreeSet<Symbol>, String>>,
}

impl Follower {
    /// Starts the reading thread; the first reading comes at once when `followed` is stale. What the account
    /// holds is read when `outside` lets it, and nothing is read while the venue serves nobody.
    pub fn start(
        settings: &Settings,
        table: Table,
        followed: &Followed,
        clock: &DecisionClock,
        outside: &Arc<OutsideCalls>,
    ) -> Result<Follower, Failure> {
        let (sender, readings) = sync_channel(1);
        let (venue, scan) = (settings.venue.clone(), settings.scan.clone());
        let credentials = bootstrap::credentials(settings).filter(|_| settings.is_live());
        let reader = Reader {
            venue,
            scan,
            credentials,
            outside: Arc::clone(outside),
        };
        let (clock, is_stale) = (clock.clone(), followed.is_stale);
        std::thread::Builder::new()
            .name("universe".into())
            .spawn(move || reader.read_again_and_again(&clock, is_stale, &sender))
            .map_err(Failure::venue)?;
        Ok(Follower {
            table,
            selection: followed.selection.clone(),
            rules: bootstrap::rules(&settings.scan)?,
            print_dropped: settings.scan.print_liquidity_debug,
            cache_path: settings.scan.universe_cache_path.clone(),
            closing: BTreeSet::new(),
            held: followed.held.symbols.clone(),
            readings,
        })
    }

    /// The instruments as they are now.
    pub fn view(&self) -> InstrumentView {
        self.table.view()
    }

    /// Takes a reading when there is one. `has_position` is asked with the ids of the run; `list` gets
    /// every instrument that is new to it before anybody hears of it.
    pub fn look(
        &mut self,
        has_position: impl Fn(InstrumentId) -> bool,
        list: impl FnMut(&Instrument),
    ) -> Option<Outcome> {
        let reading = self.readings.try_recv().ok()?;
        let mut lines = Vec::new();
        match reading.held {
            Some(Ok(held)) => self.held = held,
            Some(Err(fault)) => lines.push(format!(
                "universe: what the account holds was not read again, what was held stays: {fault}"
            )),
            None => {}
        }
        let mut outcome = match reading.listing {
            Ok(listing) => self.take(&listing, has_position, list),
            Err(fault) => Outcome {
                lines: vec![format!(
                    "universe: not read again, what is followed stays: {fault}"
                )],
                ..Outcome::default()
            },
        };
        outcome.lines.splice(0..0, lines);
        Some(outcome)
    }

    fn take(
        &mut self,
        listing: &Listing,
        has_position: impl Fn(InstrumentId) -> bool,
        mut list: impl FnMut(&Instrument),
    ) -> Outcome {
        let held = self.held.clone();
        let instruments = self.selection.instruments.clone();
        let has_position = |id: InstrumentId| {
            let symbol = instruments.get(id).map(|row| row.symbol);
            has_position(id) || symbol.is_some_and(|symbol| held.contains(&symbol))
        };
        let held_symbol = |symbol: &Symbol| {
            let id = instruments.id_of(symbol.as_bytes());
            held.contains(symbol) || id.is_some_and(has_position)
        };
        let new = universe::select(listing, &self.rules, held_symbol);
        if new.ranking.is_empty() {
            let why = explain::most_dropped(&new);
            return Outcome {
                lines: vec![format!(
                    "universe: the new list leaves nothing to scan ({why}); what is followed stays"
                )],
                ..Outcome::default()
            };
        }
        let mut lines = Vec::new();
        let now_ms = sys::clock::wall_ms();
        if let Err(fault) = cache::save(&self.cache_path, listing, now_ms) {
            lines.push(format!("warning: {fault}"));
        }
        // One reading long nothing is entered any more; then no order can be on its way.
        let closing = std::mem::take(&mut self.closing);
        let stays = |id: InstrumentId| has_position(id) || !closing.contains(&id);
        let mut changes = changes::diff(&self.selection, &new, stays);
        let rescaled = keep_terms(&mut changes);
        self.closing = changes.held.iter().map(|held| held.id).collect();
        let mut told = changes.clone();
        told.held.retain(|held| !closing.contains(&held.id));
        let (held, left_next) = told.held.iter().partition(|held| has_position(held.id));
        told.held = held;
        lines.extend(explain::change_lines(&told, &self.rules));
        let left_next: Vec<Delisted> = left_next;
        lines.extend(
            left_next
                .iter()
                .map(|row| explain::closing_line(row, &self.rules)),
        );
        for listed in changes.listed.iter().filter(|listed| !listed.is_back) {
            list(&listed.instrument);
        }
        let is_news = !changes.is_empty() || !self.closing.is_empty() || !closing.is_empty();
        self.selection = changes::apply(&self.selection, &new, &changes);
        if is_news {
            self.table.publish(version(&self.selection, &rescaled));
            if self.print_dropped {
                lines.extend(explain::dropped_lines(&self.selection, &self.rules));
            }
        }
        let symbols = || {
            listing
                .instruments
                .iter()
                .map(|row| row.instrument.symbol.to_string())
        };
        Outcome {
            lines,
            is_fresh: true,
            listed: is_news.then(|| symbols().collect()),
        }
    }
}

/// Takes back new terms in which prices and sizes would mean something else than in positions, books and
/// orders of this run; such an instrument is not entered until a restart. Returns which.
fn keep_terms(changes: &mut Changes) -> Vec<InstrumentId> {
    let mut rescaled = Vec::new();
    for refreshed in changes
        .refreshed
        .iter_mut()
        .filter(|refreshed| refreshed.is_rescaled)
    {
        rescaled.push(refreshed.id);
        refreshed.after = refreshed.before;
    }
    rescaled
}

/// What the stages are told: `live` is only what may be entered.
pub fn version(selection: &Selection, closed: &[InstrumentId]) -> Version {
    let mut instruments = selection.instruments.clone();
    for (id, row) in selection.instruments.iter() {
        let live = row.live && selection.ranking.contains(&id) && !closed.contains(&id);
        instruments.insert(Instrument { live, ..*row });
    }
    Version {
        instruments,
        followed: selection.followed().collect(),
    }
}

/// What the reading thread needs.
struct Reader {
    venue: Venue,
    scan: Scan,
    /// Of a live run: what the account holds is read as well.
    credentials: Option<Credentials>,
    outside: Arc<OutsideCalls>,
}

impl Reader {
    /// Reads until the other end is gone.
    fn read_again_and_again(
        &self,
        clock: &DecisionClock,
        mut is_stale: bool,
        readings: &SyncSender<Reading>,
    ) {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
            return;
        };
        loop {
            if !is_stale {
                pause(clock, EVERY_NS);
            }
            self.wait_out_bans(clock);
            let mut reading = runtime.block_on(self.read(clock));
            // It has a runtime of its own.
            let prefer = |listing| ws_tickers::prefer(&self.venue, &self.scan, listing);
            reading.listing = reading.listing.map(prefer);
            is_stale &= reading.listing.is_err();
            if readings.send(reading).is_err() {
                return;
            }
            if is_stale {
                pause(clock, RETRY_NS);
            }
        }
    }

    /// A call in a ban makes it longer.
    fn wait_out_bans(&self, clock: &DecisionClock) {
        while let until = self.outside.suspended_until()
            && until > clock.now()
        {
            pause(clock, until.since(clock.now()));
        }
    }

    async fn read(&self, clock: &DecisionClock) -> Reading {
        let source = bootstrap::source(&self.venue);
        let bans = SharedBans {
            calls: Arc::clone(&self.outside),
            clock: clock.clone(),
        };
        let listing = universe::read::read(&source, &Patience::default(), &bans).await;
        let held = match &self.credentials {
            Some(credentials) => {
                let mut leave = Leave::Shared(Arc::clone(&self.outside));
                Some(held::of_venue(&self.venue, credentials, clock, &mut leave).await)
            }
            None => None,
        };
        Reading { listing, held }
    }
}

fn pause(clock: &DecisionClock, time_ns: u64) {
    let until = crate::model::Wall(clock.now().0.saturating_add(time_ns));
    let real = clock.real_until(until).unwrap_or(Duration::from_nanos(time_ns));
    std::thread::sleep(real.max(PAUSE_MIN));
}
