//! Break-even and trailing of one stop: a ratchet that never loosens.
//!
//! The state keeps the best price seen, the entry and R, all frozen or monotone. `step` is pure
//! apart from that memory; the caller sends the move and says so with `moved`. Shorts are longs on
//! negated prices, so both sides mirror exactly.

use super::bracket_plan::{ceil_tick, floor_tick};
use super::params::{TrailMode, TrailParams};
use crate::model::time::NS_PER_MS;
use crate::model::{Side, Wall};

/// How far the ratchet has come.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrailStage {
    Initial = 0,
    /// Risk is off the table; from here on the stop also trails.
    Trailing = 1,
}

/// Memory of one position's ratchet. Ticks multiplied by the side's sign.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrailState {
    pub side: Side,
    pub stage: TrailStage,
    entry: f64,
    risk: f64,
    best: f64,
    last_move: Wall,
}

/// The market at one step, in ticks (fractions allowed).
#[derive(Clone, Copy, Debug)]
pub struct TrailInput {
    pub mark_ticks: f64,
    pub last_ticks: f64,
    /// ATR14 of the signal's series in ticks; 0 when absent.
    pub atr_ticks: f64,
    /// The stop that stands at the venue.
    pub sl_ticks: i64,
    pub taker_fee_bps: f64,
    pub trigger_eps_bps: f64,
}

impl TrailState {
    /// The ratchet of a position opened at `entry_ticks` with R = `risk_ticks`.
    pub fn new(side: Side, entry_ticks: f64, risk_ticks: f64) -> Self {
        let entry = entry_ticks * side.sign() as f64;
        TrailState {
            side,
            stage: TrailStage::Initial,
            entry,
            risk: risk_ticks,
            best: entry,
            last_move: Wall(0),
        }
    }

    /// The ratchet as it was before a restart.
    pub fn restore(
        side: Side,
        entry_ticks: f64,
        risk_ticks: f64,
        best_ticks: f64,
        stage: TrailStage,
    ) -> Self {
        TrailState {
            stage,
            best: best_ticks * side.sign() as f64,
            ..TrailState::new(side, entry_ticks, risk_ticks)
        }
    }

    /// Best mark price seen, in ticks.
    pub fn best_ticks(&self) -> f64 {
        self.best * self.side.sign() as f64
    }

    /// Entry and R as given, in ticks.
    pub fn frozen_ticks(&self) -> (f64, f64) {
        (self.entry * self.side.sign() as f64, self.risk)
    }

    /// The stop was sent to its new place at `now`.
    pub fn moved(&mut self, now: Wall) {
        self.last_move = now;
    }

    /// How long ago it was last sent to a new place, in ns; for ever when it never was.
    pub fn rested_for(&self, now: Wall) -> u64 {
        now.since(self.last_move)
    }

    /// Where the stop should be moved to, `None` when it stays. Never looser than
    /// `input.sl_ticks`, never within the trigger epsilon of the last price.
    pub fn step(&mut self, params: &TrailParams, input: &TrailInput, now: Wall) -> Option<i64> {
        let sign = self.side.sign();
        let usable = input.mark_ticks.is_finite() && input.last_ticks.is_finite();
        if !params.enabled || !usable || self.risk <= 0.0 {
            return None;
        }
        self.best = self.best.max(sign as f64 * input.mark_ticks);
        if self.best - self.entry >= params.break_even_after_r * self.risk {
            self.stage = TrailStage::Trailing;
        }
        if self.stage == TrailStage::Initial {
            return None;
        }
        let current = sign * input.sl_ticks;
        let wanted = self.wanted(params, input).max(current);
        let last = sign as f64 * input.last_ticks;
        let eps = input.last_ticks.abs() * input.trigger_eps_bps / 1e4;
        let reachable = floor_tick(last - eps).min(ceil_tick(last) - 1);
        let stop = wanted.min(reachable);
        let step = (params.step_bps_min * self.entry.abs() / 1e4).max(1.0);
        let due = self.rested_for(now) >= u64::from(params.interval_ms_min) * NS_PER_MS;
        ((stop - current) as f64 >= step && due).then_some(sign * stop)
    }

    /// Break-even or the trailing distance below the best price, whichever is higher.
    fn wanted(&self, params: &TrailParams, input: &TrailInput) -> i64 {
        let buffer_bps = if params.cover_fees {
            params.break_even_buffer_bps.max(2.0 * input.taker_fee_bps)
        } else {
            params.break_even_buffer_bps
        };
        let break_even = ceil_tick(self.entry + self.entry.abs() * buffer_bps / 1e4);
        let by_atr = params.mode == TrailMode::Atr && input.atr_ticks > 0.0 && input.atr_ticks.is_finite();
        let distance = if by_atr {
            (params.atr_mult * input.atr_ticks).max(self.entry.abs() * params.distance_bps_min / 1e4)
        } else {
            self.best.abs() * params.bps / 1e4
        };
        break_even.max(floor_tick(self.best - distance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn input(mark: f64, sl_ticks: i64, atr: f64) -> TrailInput {
        TrailInput {
            mark_ticks: mark,
            last_ticks: mark,
            atr_ticks: atr,
            sl_ticks,
            taker_fee_bps: 6.0,
            trigger_eps_bps: 8.0,
        }
    }

    #[test]
    fn break_even_comes_at_one_r_and_trailing_after_it() {
        let params = TrailParams::default();
        let mut state = TrailState::new(Side::Buy, 100_000.0, 500.0);
        let at = |ms: i64| Wall::from_ms(ms);
        assert_eq!(
            state.step(&params, &input(100_499.0, 99_500, 600.0), at(10_000)),
            None
        );
        assert_eq!(state.stage, TrailStage::Initial);
        // One R: break-even at 100,000 + 6 bps.
        assert_eq!(
            state.step(&params, &input(100_500.0, 99_500, 600.0), at(11_000)),
            Some(100_060)
        );
        state.moved(at(11_000));
        // The best price less one ATR overtakes break-even.
        assert_eq!(
            state.step(&params, &input(101_000.0, 100_060, 600.0), at(11_500)),
            None,
            "too soon"
        );
        assert_eq!(
            state.step(&params, &input(101_000.0, 100_060, 600.0), at(12_000)),
            Some(100_400)
        );
        state.moved(at(12_000));
        assert_eq!(
            state.step(&params, &input(100_600.0, 100_400, 600.0), at(20_000)),
            None,
            "never looser"
        );
        assert_eq!(
            state.step(&params, &input(101_049.0, 100_400, 600.0), at(21_000)),
            None,
            "a step of less than 5 bps waits"
        );
    }

    #[test]
    fn the_stop_keeps_its_distance_from_the_last_price() {
        let params = TrailParams {
            mode: TrailMode::Bps,
            bps: 1.0,
            ..TrailParams::default()
        };
        let mut state = TrailState::new(Side::Sell, 100_000.0, 500.0);
        let stop = state
            .step(&params, &input(99_000.0, 100_500, 0.0), Wall::from_ms(5_000))
            .expect("moves");
        // 8 bps of 99,000 is 79.2: the trigger stands at least that far above the price.
        assert_eq!(stop, 99_080);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Under any path of prices the stop only tightens, and a short is the mirror of a long.
        #[test]
        fn monotone_and_mirrored(
            steps in prop::collection::vec((-300i64..=300, 0u64..2_000, 0.0f64..900.0), 1..200),
            atr_mode in any::<bool>(),
            risk in 100.0f64..1_000.0,
        ) {
            let params = TrailParams {
                mode: if atr_mode { TrailMode::Atr } else { TrailMode::Bps },
                ..TrailParams::default()
            };
            let eps = 8.0;
            let entry = 100_000.0;
            let mut long = TrailState::new(Side::Buy, entry, risk);
            let mut short = TrailState::new(Side::Sell, -entry, risk);
            let mut stop = (entry - risk).ceil() as i64;
            let mut mirrored = -stop;
            let mut price = 100_000i64;
            let mut now = Wall::from_ms(1_000_000);
            for (move_ticks, ms, atr) in steps {
                price += move_ticks;
                now = Wall(now.0 + ms * NS_PER_MS);
                let side = |sign: i64, sl_ticks: i64| TrailInput {
                    trigger_eps_bps: eps,
                    ..input((sign * price) as f64, sl_ticks, atr)
                };
                let up = long.step(&params, &side(1, stop), now);
                let down = short.step(&params, &side(-1, mirrored), now);
                prop_assert_eq!(up, down.map(|ticks| -ticks));
                if let Some(ticks) = up {
                    prop_assert!(ticks > stop, "a stop moved from {} to {}", stop, ticks);
                    prop_assert!((ticks as f64) < price as f64);
                    stop = ticks;
                    mirrored = -ticks;
                    long.moved(now);
                    short.moved(now);
                }
            }
        }
    }
}
