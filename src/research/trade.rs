//! Entries and what became of them: the two rows that every table and figure of a report is made of.
//!
//! Names of symbols, regimes and components are kept once in `Names`; rows carry their numbers, so
//! that a million of them fit in memory. An entry may come from a signal (`backtest`) or from a trade
//! of an account (`replay`).

use super::candles::{CandleBook, Series};
use super::first_touch::{Exit, Rules, Unjudged};
use super::metrics_line::SignalLine;
use crate::model::{Side, Symbol, Timeframe};
use std::collections::BTreeMap;

/// Components told apart in one report; further ones share the last bit.
pub const COMPONENTS_MAX: usize = 64;

/// The names behind the numbers of entries.
#[derive(Clone, Debug, Default)]
pub struct Names {
    pub symbols: Vec<Symbol>,
    pub regimes: Vec<String>,
    pub components: Vec<String>,
    symbol_of: BTreeMap<Symbol, u32>,
}

impl Names {
    /// The number of a symbol.
    pub fn symbol(&mut self, symbol: Symbol) -> u32 {
        *self.symbol_of.entry(symbol).or_insert_with(|| {
            self.symbols.push(symbol);
            self.symbols.len() as u32 - 1
        })
    }

    fn place(list: &mut Vec<String>, name: &str) -> usize {
        list.iter().position(|known| known == name).unwrap_or_else(|| {
            list.push(name.to_owned());
            list.len() - 1
        })
    }

    /// The number of a regime; 255 for none.
    pub fn regime(&mut self, name: Option<&str>) -> u8 {
        name.map_or(u8::MAX, |name| {
            Self::place(&mut self.regimes, name).min(254) as u8
        })
    }

    /// The bits of components.
    pub fn components(&mut self, names: &[String]) -> u64 {
        names.iter().fold(0, |mask, name| {
            let known = self.components.iter().position(|known| known == name);
            let bit = match known {
                Some(bit) => bit,
                None if self.components.len() + 1 < COMPONENTS_MAX => Self::place(&mut self.components, name),
                None => Self::place(&mut self.components, "(others)"),
            };
            mask | 1 << bit
        })
    }
}

/// What was wanted, and when.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Number in `Names::symbols`.
    pub symbol: u32,
    /// Timeframe whose candles judge it; 1m for `ext`.
    pub timeframe: Timeframe,
    pub is_ext: bool,
    pub side: Side,
    /// From here on it may be entered, Unix ms: the close of its candle, or when it came.
    pub from_ms: i64,
    /// NaN when absent.
    pub score: f64,
    /// NaN when absent.
    pub prob: f64,
    /// Number in `Names::regimes`, 255 when absent.
    pub regime: u8,
    /// Bits by `Names::components`.
    pub components: u64,
}

impl Entry {
    /// The entry that a signal asks for. A signal that names its candle is entered after that
    /// candle; another one on the first candle that opens at or after its time.
    pub fn of_signal(line: &SignalLine, names: &mut Names) -> Entry {
        let close_ms = |timeframe: Timeframe| line.open_ms.map(|open_ms| open_ms + timeframe.ms());
        Entry {
            symbol: names.symbol(line.symbol),
            timeframe: line.timeframe.unwrap_or(Timeframe::M1),
            is_ext: line.timeframe.is_none(),
            side: line.side,
            from_ms: line.timeframe.and_then(close_ms).unwrap_or(line.ts_ms),
            score: line.score.unwrap_or(f64::NAN),
            prob: line.prob.unwrap_or(f64::NAN),
            regime: names.regime(line.regime.as_deref()),
            components: names.components(&line.components),
        }
    }

    /// Open time of the candle it is entered on.
    pub fn entry_ms(&self) -> i64 {
        self.timeframe.open_of(self.from_ms + self.timeframe.ms() - 1)
    }
}

/// An entry that came to an end.
#[derive(Clone, Copy, Debug)]
pub struct Trade {
    pub entry: Entry,
    pub entry_ms: i64,
    /// Close of the last candle held, or when the account closed it.
    pub exit_ms: i64,
    pub exit: Exit,
    /// Candles held; 0 when nobody counted.
    pub candles: u32,
    /// Result in units of the initial risk, net of costs.
    pub r: f64,
    /// Fees of both sides, in R.
    pub fee_r: f64,
    /// Result with the target first where the order of touches is unknown.
    pub optimistic_r: f64,
    pub is_ambiguous: bool,
    pub was_ambiguous: bool,
    /// NaN when nobody measured.
    pub mfe_r: f64,
    pub mae_r: f64,
    /// Notional of the entry, and net result, in quote currency.
    pub notional: f64,
    pub pnl: f64,
}

/// Funding rates of one symbol, ascending: `(time ms, fraction that longs pay)`.
pub type Funding = BTreeMap<Symbol, Vec<(i64, f64)>>;

/// What is paid between two times, fraction of the notional; negative is received.
pub fn funding_paid(rates: Option<&Vec<(i64, f64)>>, side: Side, from_ms: i64, to_ms: i64) -> f64 {
    let Some(rates) = rates else { return 0.0 };
    let first = rates.partition_point(|(time, _)| *time <= from_ms);
    let due = rates[first..].iter().take_while(|(time, _)| *time <= to_ms);
    side.sign() as f64 * due.map(|(_, rate)| rate).sum::<f64>()
}

/// Entries that gave no trade, by why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Dropped {
    /// No candles of the symbol and timeframe at all.
    pub no_series: u64,
    pub no_entry_candle: u64,
    pub hole: u64,
    pub end_of_candles: u64,
    /// The symbol had a trade open already (`--one-per-symbol`).
    pub symbol_busy: u64,
    /// As many trades were open as are allowed (`--max-positions`).
    pub positions_full: u64,
}

impl Dropped {
    pub fn total(&self) -> u64 {
        self.no_series
            + self.no_entry_candle
            + self.hole
            + self.end_of_candles
            + self.symbol_busy
            + self.positions_full
    }

    fn count(&mut self, why: Unjudged) {
        match why {
            Unjudged::NoEntryCandle => self.no_entry_candle += 1,
            Unjudged::Hole => self.hole += 1,
            Unjudged::EndOfCandles => self.end_of_candles += 1,
        }
    }
}

/// Which trades may be open together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overlap {
    pub one_per_symbol: bool,
    pub positions_max: Option<usize>,
}

/// How entries are judged.
pub struct Judge<'a> {
    pub rules: Rules,
    pub overlap: Overlap,
    pub candles: &'a CandleBook,
    /// Finer candles that tell what came first within one.
    pub intrabar: Option<Timeframe>,
    pub funding: &'a Funding,
    /// Notional of every trade, in quote currency.
    pub notional: f64,
}

/// The candles of one entry.
struct Place<'a> {
    series: &'a Series,
    finer: Option<&'a Series>,
    rates: Option<&'a Vec<(i64, f64)>>,
}

impl Judge<'_> {
    /// Judges entries in the order of their time (ties by symbol, then side); `entries` is sorted.
    pub fn judge(&self, entries: &mut [Entry], names: &Names) -> (Vec<Trade>, Dropped) {
        entries.sort_by_key(|entry| (entry.entry_ms(), entry.symbol, entry.timeframe, entry.side));
        let mut trades = Vec::with_capacity(entries.len());
        let mut dropped = Dropped::default();
        let mut open = Open::default();
        let places = self.places(names);
        for entry in entries.iter() {
            let Some(place) = &places[entry.symbol as usize][entry.timeframe as usize] else {
                dropped.no_series += 1;
                continue;
            };
            if self.overlap.one_per_symbol && open.is_busy(entry) {
                dropped.symbol_busy += 1;
                continue;
            }
            if self
                .overlap
                .positions_max
                .is_some_and(|most| open.count(entry.entry_ms()) >= most)
            {
                dropped.positions_full += 1;
                continue;
            }
            match self.trade(entry, place) {
                Ok(trade) => {
                    if self.overlap.one_per_symbol || self.overlap.positions_max.is_some() {
                        open.add(&trade);
                    }
                    trades.push(trade);
                }
                Err(why) => dropped.count(why),
            }
        }
        (trades, dropped)
    }

    /// One entry alone, whatever else is open; `None` without candles for it.
    pub fn judge_one(&self, entry: &Entry, names: &Names) -> Option<Result<Trade, Unjudged>> {
        let place = self.place(names.symbols.get(entry.symbol as usize)?, entry.timeframe)?;
        Some(self.trade(entry, &place))
    }

    fn place(&self, symbol: &Symbol, timeframe: Timeframe) -> Option<Place<'_>> {
        let finer = self.intrabar.filter(|finer| *finer < timeframe);
        Some(Place {
            series: self.candles.get(symbol, timeframe)?,
            finer: finer.and_then(|finer| self.candles.get(symbol, finer)),
            rates: self.funding.get(symbol),
        })
    }

    fn places(&self, names: &Names) -> Vec<[Option<Place<'_>>; 12]> {
        let of = |symbol: &Symbol| Timeframe::ALL.map(|timeframe| self.place(symbol, timeframe));
        names.symbols.iter().map(of).collect()
    }

    fn trade(&self, entry: &Entry, place: &Place<'_>) -> Result<Trade, Unjudged> {
        let entry_ms = entry.entry_ms();
        let index = place.series.index_of(entry_ms).ok_or(Unjudged::NoEntryCandle)?;
        let touch = self.rules.judge(place.series, index, entry.side, place.finer)?;
        let exit_ms = touch.exit_open_ms + entry.timeframe.ms();
        let funding = funding_paid(place.rates, entry.side, entry_ms, exit_ms);
        let r = self.rules.r(
            entry.side,
            touch.entry_price,
            touch.exit_price,
            touch.exit,
            funding,
        );
        Ok(Trade {
            entry: *entry,
            entry_ms,
            exit_ms,
            exit: touch.exit,
            candles: touch.candles,
            r,
            fee_r: 2.0 * self.rules.fee / self.rules.sl,
            optimistic_r: self.rules.optimistic_r(entry.side, &touch, funding),
            is_ambiguous: touch.is_ambiguous,
            was_ambiguous: touch.was_ambiguous,
            mfe_r: touch.mfe_r,
            mae_r: touch.mae_r,
            notional: self.notional,
            pnl: r * self.rules.sl * self.notional,
        })
    }
}

/// Trades that are open, by when they end.
#[derive(Default)]
struct Open {
    until: BTreeMap<u32, i64>,
    ends: std::collections::BinaryHeap<std::cmp::Reverse<i64>>,
}

impl Open {
    fn is_busy(&self, entry: &Entry) -> bool {
        self.until
            .get(&entry.symbol)
            .is_some_and(|until| *until > entry.entry_ms())
    }

    fn count(&mut self, now_ms: i64) -> usize {
        while self.ends.peek().is_some_and(|end| end.0 <= now_ms) {
            self.ends.pop();
        }
        self.ends.len()
    }

    fn add(&mut self, trade: &Trade) {
        let until = self.until.entry(trade.entry.symbol).or_default();
        *until = (*until).max(trade.exit_ms);
        self.ends.push(std::cmp::Reverse(trade.exit_ms));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::Candle;

    pub fn rules() -> Rules {
        Rules {
            tp: 0.01,
            sl: 0.005,
            horizon: 3,
            fee: 0.0006,
            entry_slip: 0.0,
            exit_slip: 0.0,
        }
    }

    pub fn flat_book(symbol: &str, minutes: i64) -> CandleBook {
        let mut book = CandleBook::default();
        let rows = (0..minutes)
            .map(|minute| Candle::flat(minute * 60_000, 100.0))
            .collect();
        book.insert(
            Symbol::parse(symbol).expect("a name"),
            Series::new(Timeframe::M1, rows),
        );
        book
    }

    pub fn entry(names: &mut Names, symbol: &str, from_ms: i64) -> Entry {
        Entry {
            symbol: names.symbol(Symbol::parse(symbol).expect("a name")),
            timeframe: Timeframe::M1,
            is_ext: false,
            side: Side::Buy,
            from_ms,
            score: 4.0,
            prob: 0.5,
            regime: names.regime(Some("CHOP")),
            components: names.components(&["a".to_owned()]),
        }
    }

    fn judge<'a>(candles: &'a CandleBook, overlap: Overlap, funding: &'a Funding) -> Judge<'a> {
        Judge {
            rules: rules(),
            overlap,
            candles,
            intrabar: None,
            funding,
            notional: 100.0,
        }
    }

    #[test]
    fn the_entry_is_the_first_candle_at_or_after_the_signal() {
        let mut names = Names::default();
        let at = |ms| entry(&mut Names::default(), "A-USDT", ms).entry_ms();
        assert_eq!(
            [at(0), at(1), at(60_000), at(60_001)],
            [0, 60_000, 60_000, 120_000]
        );
        let line = SignalLine {
            id: None,
            symbol: Symbol::parse("A-USDT").expect("a name"),
            timeframe: Some(Timeframe::M5),
            side: Side::Buy,
            ts_ms: 300_150,
            open_ms: Some(0),
            price: None,
            score: None,
            prob: None,
            prob_src: None,
            ev_r: None,
            regime: None,
            market_regime: None,
            components: Vec::new(),
            features: BTreeMap::new(),
        };
        assert_eq!(
            Entry::of_signal(&line, &mut names).entry_ms(),
            300_000,
            "its candle closed then"
        );
        let unnamed = SignalLine {
            open_ms: None,
            ..line
        };
        assert_eq!(Entry::of_signal(&unnamed, &mut names).entry_ms(), 600_000);
    }

    #[test]
    fn what_cannot_be_judged_is_counted_by_why() {
        let candles = flat_book("A-USDT", 10);
        let funding = Funding::new();
        let mut names = Names::default();
        let mut entries = vec![
            entry(&mut names, "A-USDT", 0),
            entry(&mut names, "A-USDT", 8 * 60_000),
            entry(&mut names, "A-USDT", 20 * 60_000),
            entry(&mut names, "B-USDT", 0),
        ];
        let (trades, dropped) = judge(&candles, Overlap::default(), &funding).judge(&mut entries, &names);
        assert_eq!(trades.len(), 1);
        assert_eq!(
            (dropped.no_series, dropped.no_entry_candle, dropped.end_of_candles),
            (1, 1, 1)
        );
        assert!((trades[0].r + 0.0012 / 0.005).abs() < 1e-12 && trades[0].exit == Exit::Time);
        assert!((trades[0].pnl + 0.12).abs() < 1e-9);
    }

    #[test]
    fn overlap_is_limited_when_asked() {
        let candles = flat_book("A-USDT", 20);
        let funding = Funding::new();
        let mut names = Names::default();
        let mut entries: Vec<Entry> = (0..6)
            .map(|minute| entry(&mut names, "A-USDT", minute * 60_000))
            .collect();
        let one = Overlap {
            one_per_symbol: true,
            positions_max: None,
        };
        let (trades, dropped) = judge(&candles, one, &funding).judge(&mut entries, &names);
        assert_eq!((trades.len(), dropped.symbol_busy), (2, 4));
        let two = Overlap {
            one_per_symbol: false,
            positions_max: Some(2),
        };
        let (trades, dropped) = judge(&candles, two, &funding).judge(&mut entries, &names);
        assert_eq!((trades.len(), dropped.positions_full), (4, 2));
    }

    #[test]
    fn funding_in_the_window_is_paid_by_longs() {
        let rates = vec![(0, 0.001), (60_000, 0.002), (120_000, 0.004)];
        assert_eq!(funding_paid(Some(&rates), Side::Buy, 0, 60_000), 0.002);
        assert_eq!(funding_paid(Some(&rates), Side::Sell, 0, 180_000), -0.006);
        assert_eq!(funding_paid(None, Side::Buy, 0, 60_000), 0.0);
    }
}
