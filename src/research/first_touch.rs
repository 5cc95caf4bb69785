//! What becomes of one entry on candles: the stop, the target or the time, whichever comes first.
//!
//! The rules of the backtest, in the order in which they are tried on candle k of the horizon:
//! open beyond the stop (k > 0) exits at the open; open beyond the target (k > 0) exits at the target,
//! never better; the stop touched exits at the stop; the target touched exits at the target; after
//! the last candle the close. The stop is looked at before the target on the same candle, the entry
//! candle included. Pure.

use super::candles::Series;
use crate::model::{Candle, Side};

/// A price counts as touched from this close, relative: decimal prices that are equal on paper
/// differ in their last binary digits.
const TOUCH_EPSILON: f64 = 1e-12;

/// Where an entry ends, and what it costs. Fractions, not basis points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Distance of the target, fraction of the entry price.
    pub tp: f64,
    /// Distance of the stop, fraction of the entry price; the unit of R.
    pub sl: f64,
    /// Candles until the close ends it, at least 1.
    pub horizon: u32,
    /// Fee of one side, fraction of the notional.
    pub fee: f64,
    /// The entry is this much worse than the open.
    pub entry_slip: f64,
    /// A stop or a time exit is this much worse.
    pub exit_slip: f64,
}

/// How an entry ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exit {
    Tp,
    Sl,
    Time,
    /// Closed by hand, by the gate or by the venue; only trades of an account end so.
    Other,
}

impl Exit {
    pub fn text(self) -> &'static str {
        match self {
            Exit::Tp => "tp",
            Exit::Sl => "sl",
            Exit::Time => "time",
            Exit::Other => "other",
        }
    }
}

/// Why an entry could not be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unjudged {
    /// The candle to enter on is missing.
    NoEntryCandle,
    /// A candle is missing before the end was known.
    Hole,
    /// The candles end before the horizon does.
    EndOfCandles,
}

/// One judged entry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Touch {
    pub exit: Exit,
    pub entry_price: f64,
    pub exit_price: f64,
    /// Candles held, at least 1.
    pub candles: u32,
    /// Open time of the last candle held, Unix ms.
    pub exit_open_ms: i64,
    /// Stop and target lie in the last candle and nothing finer says which came first.
    pub is_ambiguous: bool,
    /// The same before finer candles were asked.
    pub was_ambiguous: bool,
    /// Largest move for and against the entry, in units of `sl`, as far as it is known to have
    /// happened before the exit.
    pub mfe_r: f64,
    pub mae_r: f64,
}

impl Rules {
    /// Result in R of an exit at `price`: fees of both sides and the exit's slippage are paid,
    /// `funding` is what was paid while holding, fraction of the notional.
    pub fn r(&self, side: Side, entry: f64, price: f64, exit: Exit, funding: f64) -> f64 {
        let slip = match exit {
            Exit::Sl | Exit::Time => self.exit_slip,
            Exit::Tp | Exit::Other => 0.0,
        };
        (side.sign() as f64 * (price / entry - 1.0) - 2.0 * self.fee - slip - funding) / self.sl
    }

    fn levels(&self, side: Side, open: f64) -> Levels {
        let sign = side.sign() as f64;
        let entry = open * (1.0 + sign * self.entry_slip);
        Levels {
            sign,
            entry,
            stop: entry * (1.0 - sign * self.sl),
            target: entry * (1.0 + sign * self.tp),
        }
    }

    /// Judges an entry at the open of candle `index`; `finer` may tell what came first within a
    /// candle.
    pub fn judge(
        &self,
        series: &Series,
        index: usize,
        side: Side,
        finer: Option<&Series>,
    ) -> Result<Touch, Unjudged> {
        let candles = &series.candles()[index..];
        let first = candles.first().ok_or(Unjudged::NoEntryCandle)?;
        let levels = self.levels(side, first.open);
        let step = series.timeframe.ms();
        let (mut best, mut worst) = (0f64, 0f64);
        for k in 0..self.horizon {
            let candle = candles.get(k as usize).ok_or(Unjudged::EndOfCandles)?;
            if candle.open_ms != first.open_ms + i64::from(k) * step {
                return Err(Unjudged::Hole);
            }
            let Some(mut end) = levels.end(candle, k == 0) else {
                best = best.max(levels.gain(levels.best(candle)));
                worst = worst.min(levels.gain(levels.worst(candle)));
                continue;
            };
            let was_ambiguous = end.is_ambiguous;
            if let (true, Some(finer)) = (end.is_ambiguous, finer) {
                end = levels.end_within(candle, k == 0, step, finer).unwrap_or(end);
            }
            return Ok(self.touch(&levels, end, k, candle, was_ambiguous, (best, worst)));
        }
        let candle = &candles[self.horizon as usize - 1];
        let end = End {
            exit: Exit::Time,
            price: candle.close,
            is_ambiguous: false,
        };
        Ok(self.touch(&levels, end, self.horizon - 1, candle, false, (best, worst)))
    }

    fn touch(
        &self,
        levels: &Levels,
        end: End,
        k: u32,
        candle: &Candle,
        was_ambiguous: bool,
        (best, worst): (f64, f64),
    ) -> Touch {
        let gain = levels.gain(end.price);
        Touch {
            exit: end.exit,
            entry_price: levels.entry,
            exit_price: end.price,
            candles: k + 1,
            exit_open_ms: candle.open_ms,
            is_ambiguous: end.is_ambiguous,
            was_ambiguous,
            mfe_r: best.max(gain) / self.sl,
            mae_r: worst.min(gain) / self.sl,
        }
    }

    /// The result an ambiguous exit would have had with the target first.
    pub fn optimistic_r(&self, side: Side, touch: &Touch, funding: f64) -> f64 {
        let (exit, price) = if touch.is_ambiguous {
            let target = touch.entry_price * (1.0 + side.sign() as f64 * self.tp);
            (Exit::Tp, target)
        } else {
            (touch.exit, touch.exit_price)
        };
        self.r(side, touch.entry_price, price, exit, funding)
    }
}

/// Prices of one entry.
struct Levels {
    sign: f64,
    entry: f64,
    stop: f64,
    target: f64,
}

/// What ended it on a candle.
#[derive(Clone, Copy)]
struct End {
    exit: Exit,
    price: f64,
    is_ambiguous: bool,
}

impl Levels {
    fn gain(&self, price: f64) -> f64 {
        self.sign * (price / self.entry - 1.0)
    }

    fn best(&self, candle: &Candle) -> f64 {
        if self.sign > 0.0 { candle.high } else { candle.low }
    }

    fn worst(&self, candle: &Candle) -> f64 {
        if self.sign > 0.0 { candle.low } else { candle.high }
    }

    fn is_beyond_stop(&self, price: f64) -> bool {
        self.sign * (price - self.stop) <= self.stop * TOUCH_EPSILON
    }

    fn is_beyond_target(&self, price: f64) -> bool {
        self.sign * (price - self.target) >= -self.target * TOUCH_EPSILON
    }

    /// How this candle ends the entry, if it does; the open of the entry candle is the entry.
    fn end(&self, candle: &Candle, is_entry: bool) -> Option<End> {
        let end = |exit, price, is_ambiguous| {
            Some(End {
                exit,
                price,
                is_ambiguous,
            })
        };
        if !is_entry && self.is_beyond_stop(candle.open) {
            return end(Exit::Sl, candle.open, false);
        }
        if !is_entry && self.is_beyond_target(candle.open) {
            return end(Exit::Tp, self.target, false);
        }
        let is_target_touched = self.is_beyond_target(self.best(candle));
        if self.is_beyond_stop(self.worst(candle)) {
            return end(Exit::Sl, self.stop, is_target_touched);
        }
        if is_target_touched {
            return end(Exit::Tp, self.target, false);
        }
        None
    }

    /// The same from the finer candles of this one; `None` when one of them is missing or they do
    /// not reach what the coarser one did.
    fn end_within(&self, candle: &Candle, is_entry: bool, step: i64, finer: &Series) -> Option<End> {
        let parts = step / finer.timeframe.ms();
        let first = finer.index_of(candle.open_ms)?;
        for part in 0..parts {
            let row = finer.candles().get(first + part as usize)?;
            if row.open_ms != candle.open_ms + part * finer.timeframe.ms() {
                return None;
            }
            if let Some(end) = self.end(row, is_entry && part == 0) {
                return Some(end);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timeframe;

    const RULES: Rules = Rules {
        tp: 0.01,
        sl: 0.005,
        horizon: 10,
        fee: 0.0,
        entry_slip: 0.0,
        exit_slip: 0.0,
    };

    /// Candles of `timeframe` from rows of open, high, low, close.
    fn series(timeframe: Timeframe, rows: &[[f64; 4]]) -> Series {
        let candle = |(index, row): (usize, &[f64; 4])| Candle {
            open: row[0],
            high: row[1],
            low: row[2],
            close: row[3],
            ..Candle::flat(index as i64 * timeframe.ms(), row[0])
        };
        Series::new(timeframe, rows.iter().enumerate().map(candle).collect())
    }

    /// The same market upside down around 100, for the other side.
    fn mirrored(rows: &[[f64; 4]]) -> Vec<[f64; 4]> {
        rows.iter()
            .map(|[open, high, low, close]| [200.0 - open, 200.0 - low, 200.0 - high, 200.0 - close])
            .collect()
    }

    const QUIET: [f64; 4] = [100.0, 100.2, 99.8, 100.0];

    #[track_caller]
    fn exits(rows: &[[f64; 4]], exit: Exit, price: f64, candles: u32) {
        let touch = RULES.judge(&series(Timeframe::M1, rows), 0, Side::Buy, None);
        let touch = touch.expect("it can be judged");
        assert_eq!((touch.exit, touch.candles), (exit, candles));
        assert!((touch.exit_price - price).abs() < 1e-9, "{}", touch.exit_price);
        let short = RULES.judge(&series(Timeframe::M1, &mirrored(rows)), 0, Side::Sell, None);
        let short = short.expect("it can be judged");
        assert_eq!((short.exit, short.candles), (exit, candles), "the short side");
        assert!(
            (short.exit_price - (200.0 - price)).abs() < 1e-9,
            "{}",
            short.exit_price
        );
    }

    #[test]
    fn target_first() {
        exits(&[QUIET, [100.0, 101.0, 99.9, 100.9], QUIET], Exit::Tp, 101.0, 2);
    }

    #[test]
    fn stop_first() {
        exits(&[QUIET, [100.0, 100.1, 99.5, 99.6], QUIET], Exit::Sl, 99.5, 2);
    }

    #[test]
    fn both_in_one_candle_is_the_stop_and_ambiguous() {
        let rows = [QUIET, [100.0, 101.5, 99.0, 100.0]];
        exits(&rows, Exit::Sl, 99.5, 2);
        let touch = RULES
            .judge(&series(Timeframe::M1, &rows), 0, Side::Buy, None)
            .expect("judged");
        assert!(touch.is_ambiguous && touch.was_ambiguous);
        assert!((RULES.optimistic_r(Side::Buy, &touch, 0.0) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_gap_through_the_stop_fills_at_the_open() {
        exits(&[QUIET, [98.8, 99.0, 98.5, 98.9]], Exit::Sl, 98.8, 2);
    }

    #[test]
    fn the_stop_counts_on_the_entry_candle() {
        exits(&[[100.0, 100.1, 99.4, 99.9], QUIET], Exit::Sl, 99.5, 1);
    }

    #[test]
    fn a_gap_through_the_target_fills_at_the_target() {
        exits(&[QUIET, [101.9, 102.0, 101.5, 101.8]], Exit::Tp, 101.0, 2);
    }

    #[test]
    fn after_the_horizon_the_close_of_its_last_candle() {
        let mut rows = vec![QUIET; 12];
        rows[9][3] = 100.15;
        exits(&rows, Exit::Time, 100.15, 10);
    }

    #[test]
    fn a_hole_or_the_end_of_the_candles_is_not_judged() {
        let mut rows: Vec<Candle> = series(Timeframe::M1, &[QUIET; 12]).candles().to_vec();
        let short = Series::new(Timeframe::M1, rows[..9].to_vec());
        assert_eq!(
            RULES.judge(&short, 0, Side::Buy, None),
            Err(Unjudged::EndOfCandles)
        );
        rows.remove(5);
        let holed = Series::new(Timeframe::M1, rows);
        assert_eq!(RULES.judge(&holed, 0, Side::Buy, None), Err(Unjudged::Hole));
    }

    #[test]
    fn costs_are_paid_in_units_of_the_stop() {
        let rules = Rules {
            fee: 0.0006,
            entry_slip: 0.0001,
            exit_slip: 0.0002,
            ..RULES
        };
        let rows = [QUIET, [100.0, 100.1, 99.0, 99.6]];
        let touch = rules
            .judge(&series(Timeframe::M1, &rows), 0, Side::Buy, None)
            .expect("judged");
        assert!((touch.entry_price - 100.01).abs() < 1e-12);
        let r = rules.r(Side::Buy, touch.entry_price, touch.exit_price, touch.exit, 0.001);
        assert!(
            (r - (-0.005 - 0.0012 - 0.0002 - 0.001) / 0.005).abs() < 1e-9,
            "{r}"
        );
        let won = rules.r(Side::Buy, 100.0, 101.0, Exit::Tp, 0.0);
        assert!(
            (won - (0.01 - 0.0012) / 0.005).abs() < 1e-9,
            "no slippage at the target: {won}"
        );
    }

    #[test]
    fn finer_candles_tell_what_came_first() {
        let coarse = series(Timeframe::M5, &[[100.0, 101.5, 99.0, 100.0], QUIET]);
        let up_first = [
            QUIET,
            [100.0, 101.2, 100.0, 101.0],
            [101.0, 101.5, 99.0, 99.2],
            QUIET,
            QUIET,
        ];
        let judge = |rows: &[[f64; 4]]| {
            let minutes = series(Timeframe::M1, rows);
            RULES
                .judge(&coarse, 0, Side::Buy, Some(&minutes))
                .expect("judged")
        };
        let touch = judge(&up_first);
        assert_eq!(
            (touch.exit, touch.is_ambiguous, touch.was_ambiguous),
            (Exit::Tp, false, true)
        );
        let together = [QUIET, [100.0, 101.5, 99.0, 100.0], QUIET, QUIET, QUIET];
        let touch = judge(&together);
        assert_eq!((touch.exit, touch.is_ambiguous), (Exit::Sl, true));
        let incomplete = judge(&up_first[..1]);
        assert_eq!((incomplete.exit, incomplete.is_ambiguous), (Exit::Sl, true));
    }

    #[test]
    fn excursions_end_with_the_exit() {
        let rows = [QUIET, [100.0, 100.9, 99.9, 100.5], [100.5, 100.6, 99.0, 99.1]];
        let touch = RULES
            .judge(&series(Timeframe::M1, &rows), 0, Side::Buy, None)
            .expect("judged");
        assert!((touch.mfe_r - 1.8).abs() < 1e-9 && (touch.mae_r + 1.0).abs() < 1e-9);
    }
}
