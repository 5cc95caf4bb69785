//! From what the venue lists to what a run follows: rules in a fixed order, then rank by volume.
//!
//! Pure: the same listing, rules and positions give the same selection. Every instrument that is
//! left out has exactly one reason, the first rule that it broke.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::listing::{DayTicker, ListedInstrument, Listing, UnreadableList};
use super::rules::Rules;
use crate::model::{INSTRUMENTS_MAX, Instrument, InstrumentId, Instruments, Reason, Symbol};

/// The instrument whose candles tell the regime of the whole market.
pub const MARKET_SYMBOL: &str = "BTC-USDT";

/// The currency that every sum of money in the settings is in.
const QUOTE_CURRENCY: &str = "USDT";

/// Why an instrument is left out. In the order in which the rules are asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DropWhy {
    /// Its row cannot be read.
    Unreadable(Reason),
    /// Its symbol was listed before.
    Duplicate,
    /// No perpetual, and SWAP_ONLY is set.
    NotSwap,
    /// Inverse: its profit is not in the quote currency.
    NotLinear,
    /// Quoted or settled in something else.
    NotUsdt,
    /// Suspended.
    NotLive,
    /// Matches the pattern with this index.
    Excluded(usize),
    /// Its base is not in BLUECHIP_BASES.
    NotBluechip,
    /// The venue gave no ticker for it.
    NoTicker,
    /// Its ticker cannot be read.
    TickerUnreadable(Reason),
    /// Last price.
    PriceLow(f64),
    /// 24 h quote volume.
    VolumeLow(f64),
    /// Its rank by volume, from 1.
    RankedOut(usize),
}

/// An instrument that is left out.
#[derive(Clone, Debug, PartialEq)]
pub struct Dropped {
    /// Its symbol, or the place of a row without one.
    pub symbol: String,
    pub why: DropWhy,
}

/// What a run follows.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The scanned ones in rank order, then those followed for context only. After
    /// `changes::apply` also those that were followed earlier: ids never change.
    pub instruments: Instruments,
    /// The scanned ones, largest 24 h quote volume first.
    pub ranking: Vec<InstrumentId>,
    /// Followed, but never entered: `BTC-USDT` for the regime of the market, and instruments with a
    /// position. The rules dropped them, so they stand in `dropped` too.
    pub context_only: Vec<InstrumentId>,
    /// Every other instrument of the listing, in its order; those ranked out last.
    pub dropped: Vec<Dropped>,
}

impl DropWhy {
    /// Names of all reasons, in the order of the rules.
    pub const NAMES: [&'static str; 13] = [
        "unreadable",
        "duplicate",
        "not_swap",
        "not_linear",
        "not_usdt",
        "not_live",
        "excluded",
        "not_bluechip",
        "no_ticker",
        "ticker_unreadable",
        "price_low",
        "volume_low",
        "ranked_out",
    ];

    /// Position in `NAMES`, for a table of counters.
    pub fn index(self) -> usize {
        match self {
            DropWhy::Unreadable(_) => 0,
            DropWhy::Duplicate => 1,
            DropWhy::NotSwap => 2,
            DropWhy::NotLinear => 3,
            DropWhy::NotUsdt => 4,
            DropWhy::NotLive => 5,
            DropWhy::Excluded(_) => 6,
            DropWhy::NotBluechip => 7,
            DropWhy::NoTicker => 8,
            DropWhy::TickerUnreadable(_) => 9,
            DropWhy::PriceLow(_) => 10,
            DropWhy::VolumeLow(_) => 11,
            DropWhy::RankedOut(_) => 12,
        }
    }

    /// The word in counts and lines.
    pub fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// The key that decides it; `None` when it is the venue's doing.
    pub fn key(self) -> Option<&'static str> {
        match self {
            DropWhy::NotSwap => Some("SWAP_ONLY"),
            DropWhy::Excluded(_) => Some("EXCLUDE_PATTERNS"),
            DropWhy::NotBluechip => Some("BLUECHIP_ONLY"),
            DropWhy::PriceLow(_) => Some("MIN_LAST_PRICE"),
            DropWhy::VolumeLow(_) => Some("MIN_QUOTE_VOL_USDT"),
            DropWhy::RankedOut(_) => Some("TOP_SYMBOLS"),
            DropWhy::Unreadable(_)
            | DropWhy::Duplicate
            | DropWhy::NotLinear
            | DropWhy::NotUsdt
            | DropWhy::NotLive
            | DropWhy::NoTicker
            | DropWhy::TickerUnreadable(_) => None,
        }
    }
}

impl Selection {
    /// How many were left out for each of `DropWhy::NAMES`.
    pub fn counts(&self) -> [usize; DropWhy::NAMES.len()] {
        let mut counts = [0; DropWhy::NAMES.len()];
        for dropped in &self.dropped {
            counts[dropped.why.index()] += 1;
        }
        counts
    }

    /// Rows that the venue listed: each is ranked or dropped.
    pub fn listed_count(&self) -> usize {
        self.ranking.len() + self.dropped.len()
    }

    /// Every instrument that needs market data: the ranking, then context.
    pub fn followed(&self) -> impl Iterator<Item = InstrumentId> {
        self.ranking.iter().chain(&self.context_only).copied()
    }
}

/// Chooses by `rules`. An instrument for which `is_held` (it has a position or an order) is followed
/// whatever the rules say, as long as its row can be read and is linear: it must be watched until it is flat.
pub fn select(listing: &Listing, rules: &Rules, is_held: impl Fn(&Symbol) -> bool) -> Selection {
    let mut selection = Selection {
        instruments: Instruments::new(),
        ..Selection::default()
    };
    let tickers = Tickers::of(listing);
    let mut seen = BTreeSet::new();
    let mut ranked = Vec::new();
    let mut context = Vec::new();
    for row in unreadable(listing, UnreadableList::Instruments) {
        let why = DropWhy::Unreadable(row.1);
        selection.leave_out(row.0, why);
    }
    for row in &listing.instruments {
        let symbol = row.instrument.symbol;
        let verdict = if seen.insert(symbol) {
            judge(row, rules).and_then(|()| tickers.judge(&symbol, rules))
        } else {
            Err(DropWhy::Duplicate)
        };
        match verdict {
            Ok(volume) => ranked.push((volume, &row.instrument)),
            Err(why) => {
                selection.leave_out(symbol.as_str(), why);
                if why != DropWhy::Duplicate && is_context(row, &is_held) {
                    context.push(&row.instrument);
                }
            }
        }
    }
    ranked.sort_by(|left, right| {
        let by_volume = right.0.total_cmp(&left.0);
        by_volume.then_with(|| left.1.symbol.cmp(&right.1.symbol))
    });
    // Room for context comes first, however many symbols the user asks for.
    let is_kept = |row: &Instrument| row.symbol.as_str() == MARKET_SYMBOL || is_held(&row.symbol);
    let kept_count = context.len() + ranked.iter().filter(|(_, row)| is_kept(row)).count();
    let top = rules.top_symbols.min(INSTRUMENTS_MAX.saturating_sub(kept_count));
    for (index, (_, row)) in ranked.iter().enumerate().skip(top) {
        selection.leave_out(row.symbol.as_str(), DropWhy::RankedOut(index + 1));
        if is_kept(row) {
            context.push(row);
        }
    }
    ranked.truncate(top);
    context.sort_by_key(|row| row.symbol);
    let mut insert = |row: &Instrument| selection.instruments.insert(*row);
    selection.ranking = ranked.iter().filter_map(|(_, row)| insert(row)).collect();
    selection.context_only = context.into_iter().filter_map(insert).collect();
    selection
}

/// The instruments that pass every rule that needs no ticker: those whose tickers to subscribe to
/// when the universe is to come from the websocket (UNIVERSE_FROM_WS).
pub fn candidates(listing: &Listing, rules: &Rules) -> Instruments {
    let mut instruments = Instruments::new();
    for row in &listing.instruments {
        let is_new = instruments.id_of(row.instrument.symbol.as_bytes()).is_none();
        if is_new && judge(row, rules).is_ok() {
            // Beyond 1,024 there is no id to give; the venue lists half of that.
            instruments.insert(row.instrument);
        }
    }
    instruments
}

impl Selection {
    fn leave_out(&mut self, symbol: &str, why: DropWhy) {
        self.dropped.push(Dropped {
            symbol: symbol.to_owned(),
            why,
        });
    }
}

/// The rules about the contract itself.
fn judge(row: &ListedInstrument, rules: &Rules) -> Result<(), DropWhy> {
    let symbol = row.instrument.symbol;
    if rules.swap_only && row.instrument_type != "SWAP" {
        return Err(DropWhy::NotSwap);
    }
    if row.contract_type != "linear" {
        return Err(DropWhy::NotLinear);
    }
    if row.quote_currency != QUOTE_CURRENCY || row.settle_currency != QUOTE_CURRENCY {
        return Err(DropWhy::NotUsdt);
    }
    if !row.instrument.live {
        return Err(DropWhy::NotLive);
    }
    if let Some(index) = rules.exclude.first_match(symbol.as_str()) {
        return Err(DropWhy::Excluded(index));
    }
    let is_base = |base: &String| base.eq_ignore_ascii_case(symbol.base());
    if rules.bluechip_only && !rules.bluechip_bases.iter().any(is_base) {
        return Err(DropWhy::NotBluechip);
    }
    Ok(())
}

/// Whether a row that the rules dropped is followed all the same.
fn is_context(row: &ListedInstrument, is_held: &impl Fn(&Symbol) -> bool) -> bool {
    let symbol = &row.instrument.symbol;
    let is_market = symbol.as_str() == MARKET_SYMBOL && row.instrument.live;
    row.contract_type == "linear" && (is_market || is_held(symbol))
}

/// The day of every instrument, by symbol.
struct Tickers<'l> {
    readable: BTreeMap<Symbol, &'l DayTicker>,
    unreadable: BTreeMap<&'l str, Reason>,
}

impl<'l> Tickers<'l> {
    fn of(listing: &'l Listing) -> Self {
        let mut readable = BTreeMap::new();
        for ticker in &listing.tickers {
            let newest = readable.entry(ticker.symbol).or_insert(ticker);
            if ticker.time_ms > newest.time_ms {
                *newest = ticker;
            }
        }
        Tickers {
            readable,
            unreadable: unreadable(listing, UnreadableList::Tickers).collect(),
        }
    }

    /// The 24 h quote volume, when the rules about the ticker are kept.
    fn judge(&self, symbol: &Symbol, rules: &Rules) -> Result<f64, DropWhy> {
        let Some(ticker) = self.readable.get(symbol) else {
            let reason = self.unreadable.get(symbol.as_str());
            return Err(reason.map_or(DropWhy::NoTicker, |reason| DropWhy::TickerUnreadable(*reason)));
        };
        if ticker.last < rules.min_last_price {
            return Err(DropWhy::PriceLow(ticker.last));
        }
        let volume = ticker.quote_volume();
        if volume < rules.min_quote_volume_usdt {
            return Err(DropWhy::VolumeLow(volume));
        }
        Ok(volume)
    }
}

fn unreadable(listing: &Listing, list: UnreadableList) -> impl Iterator<Item = (&str, Reason)> {
    let rows = listing.unreadable.iter().filter(move |row| row.list == list);
    rows.map(|row| (row.symbol.as_str(), row.reason))
}
