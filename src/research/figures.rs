//! The figures of a set of trades: what it earned, how surely, and how deep it went under.
//!
//! Results follow each other by when they ended. Days are UTC; days without a trade between the first
//! and the last count as zero. Ratios without a denominator are absent, never infinite.

use super::first_touch::Exit;
use super::statistics::{Sharpe, deviation, mean, quantile, shape, wilson};
use super::trade::Trade;
use crate::model::time::MS_PER_DAY;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

/// Resamples of the bootstrap.
const RESAMPLES: usize = 1_000;
const DAYS_PER_YEAR: f64 = 365.0;

/// Every figure of §9.3; R is the initial risk of a trade, USD its quote currency.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    pub trades: u64,
    pub days: u64,
    /// Share of trades with a net result above 0, with Wilson's 95 % interval.
    pub hit_rate: Option<f64>,
    pub hit_rate_low: Option<f64>,
    pub hit_rate_high: Option<f64>,
    pub mean_r: Option<f64>,
    /// Block bootstrap by day of entry.
    pub mean_r_error: Option<f64>,
    pub total_r: f64,
    pub total_usd: f64,
    pub median_r: Option<f64>,
    pub deviation_r: Option<f64>,
    pub skew_r: Option<f64>,
    /// Population kurtosis; 3 for a normal law.
    pub kurtosis_r: Option<f64>,
    /// Sum of gains over sum of losses.
    pub profit_factor: Option<f64>,
    pub max_drawdown_r: f64,
    pub max_drawdown_usd: f64,
    /// Share of the time between the first entry and the last exit spent below the peak.
    pub under_water_share: Option<f64>,
    pub under_water_longest_days: f64,
    /// Of daily results, times √365.
    pub sharpe_daily: Option<f64>,
    pub sortino_daily: Option<f64>,
    /// Of single trades, not annualised.
    pub sharpe_trade: Option<f64>,
    pub candles_held: Option<f64>,
    /// Share of the time with at least one trade open.
    pub exposure_share: Option<f64>,
    /// Bought and sold, in USD, in all and a day.
    pub turnover_usd: f64,
    pub turnover_usd_day: Option<f64>,
    pub fees_usd: f64,
    /// Fees over gains before fees.
    pub fee_share: Option<f64>,
    pub mfe_r: Option<f64>,
    pub mae_r: Option<f64>,
    pub tp_share: Option<f64>,
    pub sl_share: Option<f64>,
    pub time_share: Option<f64>,
    /// Share of trades whose exit candle touches stop and target, before and after finer candles.
    pub ambiguous_before_share: Option<f64>,
    pub ambiguous_share: Option<f64>,
    /// Mean R had the target come first in all of them: the distance to `mean_r` is the error bar.
    pub optimistic_mean_r: Option<f64>,
}

/// A figure that is a number, or absent.
fn number(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    if whole > 0.0 { number(part / whole) } else { None }
}

impl Figures {
    /// The figures of trades in the order of their exits (`in_exit_order`); `seed` draws the bootstrap.
    pub fn of(trades: &[Trade], seed: u64) -> Figures {
        if trades.is_empty() {
            return Figures::default();
        }
        let n = trades.len() as f64;
        let results: Vec<f64> = trades.iter().map(|trade| trade.r).collect();
        let hits = results.iter().filter(|r| **r > 0.0).count() as u64;
        let (low, high) = wilson(hits, trades.len() as u64);
        // An empty sum of floats is -0.
        let gains = results.iter().filter(|r| **r > 0.0).sum::<f64>() + 0.0;
        let losses: f64 = -results.iter().filter(|r| **r < 0.0).sum::<f64>();
        let share =
            |of: &dyn Fn(&Trade) -> bool| number(trades.iter().filter(|trade| of(trade)).count() as f64 / n);
        let average = |of: &dyn Fn(&Trade) -> f64| number(trades.iter().map(of).sum::<f64>() / n);
        // An excursion is not known of every trade of an account.
        let average_known = |of: &dyn Fn(&Trade) -> f64| {
            let known: Vec<f64> = trades.iter().map(of).filter(|value| value.is_finite()).collect();
            number(mean(&known))
        };
        let (skew, kurtosis) = shape(&results);
        let mut sorted = results.clone();
        sorted.sort_by(f64::total_cmp);
        Figures {
            trades: trades.len() as u64,
            hit_rate: number(hits as f64 / n),
            hit_rate_low: number(low),
            hit_rate_high: number(high),
            mean_r: number(mean(&results)),
            mean_r_error: bootstrap_error(trades, seed),
            total_r: results.iter().sum(),
            total_usd: trades.iter().map(|trade| trade.pnl).sum(),
            median_r: number(quantile(&sorted, 0.5)),
            deviation_r: number(deviation(&results, 1)),
            skew_r: number(skew),
            kurtosis_r: number(kurtosis),
            profit_factor: ratio(gains, losses),
            sharpe_trade: Sharpe::of(&results).map(|sharpe| sharpe.ratio),
            candles_held: average(&|trade| f64::from(trade.candles)).filter(|held| *held > 0.0),
            mfe_r: average_known(&|trade| trade.mfe_r),
            mae_r: average_known(&|trade| trade.mae_r),
            tp_share: share(&|trade| trade.exit == Exit::Tp),
            sl_share: share(&|trade| trade.exit == Exit::Sl),
            time_share: share(&|trade| trade.exit == Exit::Time),
            ambiguous_before_share: share(&|trade| trade.was_ambiguous),
            ambiguous_share: share(&|trade| trade.is_ambiguous),
            optimistic_mean_r: average(&|trade| trade.optimistic_r),
            ..Figures::default()
        }
        .with_time(trades)
        .with_costs(trades)
    }

    fn with_time(mut self, trades: &[Trade]) -> Figures {
        let daily = daily_usd(trades);
        self.days = daily.len() as u64;
        let year = DAYS_PER_YEAR.sqrt();
        self.sharpe_daily = Sharpe::of(&daily).map(|sharpe| sharpe.ratio * year);
        let below = daily.iter().map(|usd| usd.min(0.0).powi(2)).sum::<f64>() / daily.len().max(1) as f64;
        self.sortino_daily = ratio(mean(&daily) * year, below.sqrt());
        let first_ms = trades.iter().map(|trade| trade.entry_ms).min().unwrap_or(0);
        let last_ms = trades.iter().map(|trade| trade.exit_ms).max().unwrap_or(0);
        let span_ms = (last_ms - first_ms) as f64;
        self.exposure_share = ratio(open_ms(trades) as f64, span_ms);
        let (depth_r, water_ms, longest_ms) = drawdown(trades, first_ms, |trade| trade.r);
        self.max_drawdown_r = depth_r;
        self.max_drawdown_usd = drawdown(trades, first_ms, |trade| trade.pnl).0;
        self.under_water_share = ratio(water_ms as f64, span_ms);
        self.under_water_longest_days = longest_ms as f64 / MS_PER_DAY as f64;
        self
    }

    fn with_costs(mut self, trades: &[Trade]) -> Figures {
        // The exit is worth about what the entry was.
        self.turnover_usd = trades.iter().map(|trade| 2.0 * trade.notional).sum();
        self.turnover_usd_day = ratio(self.turnover_usd, self.days as f64);
        let usd_of_r = |trade: &Trade| if trade.r == 0.0 { 0.0 } else { trade.pnl / trade.r };
        self.fees_usd = trades
            .iter()
            .map(|trade| trade.fee_r * usd_of_r(trade).abs())
            .sum();
        let before_fees: f64 = trades
            .iter()
            .map(|trade| (trade.pnl + trade.fee_r * usd_of_r(trade).abs()).max(0.0))
            .sum();
        self.fee_share = ratio(self.fees_usd, before_fees);
        self
    }
}

/// Puts trades in the order in which they ended, ties by entry and symbol.
pub fn in_exit_order(trades: &mut [Trade]) {
    trades.sort_by_key(|trade| {
        let entry = &trade.entry;
        (
            trade.exit_ms,
            trade.entry_ms,
            entry.symbol,
            entry.timeframe,
            entry.side,
        )
    });
}

/// Net results of each UTC day from the first exit to the last.
pub fn daily_usd(trades: &[Trade]) -> Vec<f64> {
    let day = |trade: &Trade| trade.exit_ms.div_euclid(MS_PER_DAY);
    let (Some(first), Some(last)) = (trades.iter().map(day).min(), trades.iter().map(day).max()) else {
        return Vec::new();
    };
    let mut days = vec![0.0; (last - first) as usize + 1];
    for trade in trades {
        days[(day(trade) - first) as usize] += trade.pnl;
    }
    days
}

/// Deepest fall from a peak of the running sum, time below the peak, and the longest such time.
fn drawdown(trades: &[Trade], first_ms: i64, result: impl Fn(&Trade) -> f64) -> (f64, i64, i64) {
    let (mut sum, mut peak, mut deepest) = (0f64, 0f64, 0f64);
    let (mut water_ms, mut longest_ms, mut peak_ms) = (0, 0, first_ms);
    let mut last_ms = first_ms;
    for trade in trades {
        if sum < peak {
            water_ms += trade.exit_ms - last_ms;
            longest_ms = longest_ms.max(trade.exit_ms - peak_ms);
        }
        last_ms = trade.exit_ms;
        sum += result(trade);
        if sum >= peak {
            (peak, peak_ms) = (sum, trade.exit_ms);
        }
        deepest = deepest.max(peak - sum);
    }
    (deepest, water_ms, longest_ms)
}

/// Time with at least one trade open.
fn open_ms(trades: &[Trade]) -> i64 {
    let mut spans: Vec<(i64, i64)> = trades
        .iter()
        .map(|trade| (trade.entry_ms, trade.exit_ms))
        .collect();
    spans.sort_unstable();
    let (mut total, mut end_ms) = (0, i64::MIN);
    for (from_ms, to_ms) in spans {
        total += (to_ms - from_ms.max(end_ms)).max(0);
        end_ms = end_ms.max(to_ms);
    }
    total
}

/// Standard error of the mean R when whole days are drawn again: trades of one day share its market.
fn bootstrap_error(trades: &[Trade], seed: u64) -> Option<f64> {
    let mut days: std::collections::BTreeMap<i64, (f64, f64)> = std::collections::BTreeMap::new();
    for trade in trades {
        let day = days.entry(trade.entry_ms.div_euclid(MS_PER_DAY)).or_default();
        day.0 += trade.r;
        day.1 += 1.0;
    }
    let days: Vec<(f64, f64)> = days.into_values().collect();
    if days.len() < 2 {
        return None;
    }
    let mut draw = ChaCha8Rng::seed_from_u64(seed);
    let means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let (sum, count) = (0..days.len()).fold((0.0, 0.0), |(sum, count), _| {
                let day = days[draw.random_range(0..days.len())];
                (sum + day.0, count + day.1)
            });
            sum / count
        })
        .collect();
    number(deviation(&means, 1))
}

#[cfg(test)]
mod tests {
    use super::super::trade::{Names, tests};
    use super::*;

    /// Trades of an hour each, one after the other from midnight on, with these results.
    fn trades(results: &[f64]) -> Vec<Trade> {
        let mut names = Names::default();
        let hour = 3_600_000;
        let trade = |(index, r): (usize, &f64)| {
            let entry_ms = index as i64 * hour;
            Trade {
                entry: tests::entry(&mut names, "A-USDT", entry_ms),
                entry_ms,
                exit_ms: entry_ms + hour,
                exit: if *r > 0.0 { Exit::Tp } else { Exit::Sl },
                candles: 60,
                r: *r,
                fee_r: 0.24,
                optimistic_r: *r,
                is_ambiguous: false,
                was_ambiguous: false,
                mfe_r: r.max(0.0),
                mae_r: r.min(0.0),
                notional: 100.0,
                pnl: r * 0.5,
            }
        };
        results.iter().enumerate().map(trade).collect()
    }

    #[track_caller]
    fn close(found: Option<f64>, wanted: f64) {
        let found = found.expect("a figure");
        assert!((found - wanted).abs() < 1e-9, "{found} is not {wanted}");
    }

    #[test]
    fn sums_and_shares_are_those_of_the_trades() {
        let figures = Figures::of(&trades(&[2.0, -1.0, -1.0, 2.0, -1.0]), 1);
        close(figures.hit_rate, 0.4);
        close(figures.mean_r, 0.2);
        close(figures.median_r, -1.0);
        close(figures.profit_factor, 4.0 / 3.0);
        close(Some(figures.max_drawdown_r), 2.0);
        close(Some(figures.max_drawdown_usd), 1.0);
        close(figures.exposure_share, 1.0);
        // Below the peak from the end of the second trade to the end of the fourth, which is a new
        // peak at 2 R; the last trade ends below it.
        close(figures.under_water_share, 2.0 / 5.0);
        close(Some(figures.turnover_usd), 1_000.0);
        close(Some(figures.fees_usd), 5.0 * 0.24 * 0.5);
        assert_eq!(figures.mean_r_error, None, "one day gives no error");
    }

    #[test]
    fn days_without_a_trade_count_as_zero() {
        let mut list = trades(&[2.0, -1.0]);
        list[1].exit_ms += 3 * MS_PER_DAY;
        assert_eq!(daily_usd(&list), [1.0, 0.0, 0.0, -0.5]);
        let figures = Figures::of(&list, 1);
        assert_eq!(figures.days, 4);
        close(
            figures.sharpe_daily,
            mean(&[1.0, 0.0, 0.0, -0.5]) / deviation(&[1.0, 0.0, 0.0, -0.5], 1) * 365f64.sqrt(),
        );
    }

    #[test]
    fn the_bootstrap_repeats_with_its_seed() {
        let mut list = trades(&[2.0, -1.0, 0.5, -1.0, 2.0, -1.0]);
        for (index, trade) in list.iter_mut().enumerate() {
            trade.entry_ms += index as i64 * MS_PER_DAY;
            trade.exit_ms += index as i64 * MS_PER_DAY;
        }
        let error = |seed| Figures::of(&list, seed).mean_r_error.expect("six days");
        assert_eq!(error(7), error(7));
        // Six independent days: about the deviation over the root of six.
        assert!((error(7) - 0.56).abs() < 0.1, "{}", error(7));
    }

    #[test]
    fn no_trade_gives_no_figure() {
        let figures = Figures::of(&[], 1);
        assert_eq!(
            (figures.trades, figures.mean_r, figures.profit_factor),
            (0, None, None)
        );
    }
}
