//! Where the stop and the target of a position go, in ticks.
//!
//! Distances follow the settings (basis points, ATR, level), are shrunk in panic and clamped, then
//! rounded: the stop and the target toward the entry, so that the risk never exceeds the plan and
//! the target stays reachable. A long and its mirror image give mirrored ticks exactly, because all
//! arithmetic is done for a long on prices multiplied by the side's sign.

use super::params::{BracketMode, BracketParams};
use crate::model::money::floor_i64;
use crate::model::{Reason, Side};

/// What a plan is made from. Prices in USDT.
#[derive(Clone, Copy, Debug)]
pub struct PlanRequest {
    pub side: Side,
    /// Expected or actual average entry.
    pub entry: f64,
    pub tick: f64,
    /// ATR14 of the signal's series; 0 when absent.
    pub atr: f64,
    /// Level to hide the stop behind; 0 when none.
    pub level: f64,
    pub spread_bps: f64,
    pub panic: bool,
    pub leverage: u16,
    /// Part of the notional that must be left, or the venue liquidates.
    pub maintenance_rate: f64,
}

/// Trigger ticks of a bracket and the risk it stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Plan {
    pub sl_ticks: i64,
    pub tp_ticks: i64,
    /// R: distance from the entry to the stop, in price units.
    pub risk: f64,
    /// R as a part of the entry price.
    pub sl_fraction: f64,
    /// Round-trip cost in units of R.
    pub cost_r: f64,
    /// Distance to the target in units of R.
    pub reward_r: f64,
}

/// The bracket of an entry at `request.entry`; `StopTooTight` when the stop would be less than one
/// tick away, `StopBeyondLiquidation` when the position would be liquidated before its stop,
/// `QuoteAbsent` when the prices make no sense.
pub fn plan(params: &BracketParams, request: &PlanRequest) -> Result<Plan, Reason> {
    let sane = request.entry.is_finite() && request.entry > 0.0 && request.tick > 0.0;
    if !sane {
        return Err(Reason::QuoteAbsent);
    }
    let (distance, reward_mult) = distances(params, request);
    let sign = request.side.sign();
    let entry = sign as f64 * request.entry / request.tick;
    let stop = ceil_tick(entry - distance / request.tick);
    let target = floor_tick(entry + reward_mult * distance / request.tick);
    let tp = target.max(ceil_tick(entry) + 1);
    let risk_ticks = entry - stop as f64;
    let too_tight = risk_ticks < 1.0 - 1e-9;
    // A stop at or through zero cannot be sent.
    if too_tight || sign * stop < 1 || sign * tp < 1 {
        return Err(Reason::StopTooTight);
    }
    let risk = risk_ticks * request.tick;
    let sl_fraction = risk / request.entry;
    if sl_fraction > 0.6 * (1.0 / f64::from(request.leverage.max(1)) - request.maintenance_rate) {
        return Err(Reason::StopBeyondLiquidation);
    }
    Ok(Plan {
        sl_ticks: sign * stop,
        tp_ticks: sign * tp,
        risk,
        sl_fraction,
        cost_r: params.round_trip_cost_bps(request.spread_bps) / 1e4 / sl_fraction,
        reward_r: (tp as f64 - entry) / risk_ticks,
    })
}

fn uses_atr(params: &BracketParams, request: &PlanRequest) -> bool {
    params.smart && params.mode != BracketMode::Bps && request.atr > 0.0 && request.atr.is_finite()
}

/// Distance of the stop in price units, and of the target in multiples of it.
fn distances(params: &BracketParams, request: &PlanRequest) -> (f64, f64) {
    let entry = request.entry;
    let of_bps = |bps: f64| entry * bps / 1e4;
    let bps_mult = params.tp_bps / params.sl_bps;
    if !params.smart {
        return (of_bps(params.sl_bps), bps_mult);
    }
    let atr = uses_atr(params, request);
    let mut distance = if atr {
        params.atr_sl_mult * request.atr
    } else {
        of_bps(params.sl_bps)
    };
    if atr && params.mode == BracketMode::LevelAtr && request.level > 0.0 && request.level.is_finite() {
        let beyond = (entry - request.level) * request.side.sign() as f64;
        // A level on the wrong side of the price hides nothing.
        if beyond > 0.0 {
            distance = distance.max(beyond + request.level * params.level_buffer_bps / 1e4);
        }
    }
    if request.panic {
        distance *= params.panic_shrink;
    }
    let floor_bps = (0.5 * params.sl_bps)
        .max(3.0 * request.spread_bps)
        .max(params.cost_sl_mult * params.round_trip_cost_bps(request.spread_bps));
    let floor = of_bps(floor_bps);
    let ceiling = of_bps(3.0 * params.sl_bps).max(floor);
    (
        distance.clamp(floor, ceiling),
        if atr { params.atr_tp1_mult } else { bps_mult },
    )
}

/// What to do with a stop that is about to be placed while the market trades at `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopAction {
    /// Place it at these ticks.
    Place(i64),
    /// The market is beyond it: the stop was hit, leave at market.
    CloseNow,
}

/// A planned stop against the last price. A valid trigger is never pushed; one breached by at most
/// the tolerance moves just behind the price; one breached by more is a stop that was hit.
/// `retry` widens tolerance and distance by TPSL_RETRY_MULT after the venue refused the price.
pub fn settle_stop(
    params: &BracketParams,
    side: Side,
    sl_ticks: i64,
    last_ticks: f64,
    retry: bool,
) -> StopAction {
    let sign = side.sign();
    let last = sign as f64 * last_ticks;
    let mult = if retry { params.retry_mult } else { 1.0 };
    let eps = last_ticks.abs() * params.trigger_eps_bps / 1e4 * mult;
    let stop = sign * sl_ticks;
    let behind = floor_tick(last - eps).min(ceil_tick(last) - 1);
    if (stop as f64) < last {
        let kept = if retry { stop.min(behind) } else { stop };
        return StopAction::Place(sign * kept);
    }
    if stop as f64 - last <= eps {
        StopAction::Place(sign * behind)
    } else {
        StopAction::CloseNow
    }
}

/// A planned target against the last price: one already passed moves just beyond the price.
pub fn settle_target(params: &BracketParams, side: Side, tp_ticks: i64, last_ticks: f64, retry: bool) -> i64 {
    let sign = side.sign();
    let last = sign as f64 * last_ticks;
    let mult = if retry { params.retry_mult } else { 1.0 };
    let eps = last_ticks.abs() * params.trigger_eps_bps / 1e4 * mult;
    let target = sign * tp_ticks;
    let beyond = ceil_tick(last + eps).max(floor_tick(last) + 1);
    if target as f64 > last && !retry {
        return tp_ticks;
    }
    sign * target.max(beyond)
}

/// Whether the last price has reached a stop that does not stand (any more).
pub fn is_stop_passed(side: Side, sl_ticks: i64, last_ticks: f64) -> bool {
    let sign = side.sign();
    sl_ticks != 0 && (sign * sl_ticks) as f64 >= sign as f64 * last_ticks
}

/// Whether the last price has reached a target that does not stand yet.
pub fn is_target_passed(side: Side, tp_ticks: i64, last_ticks: f64) -> bool {
    let sign = side.sign();
    tp_ticks != 0 && (sign * tp_ticks) as f64 <= sign as f64 * last_ticks
}

/// The tick at or above `ticks`; values within a billionth of a tick count as whole.
pub fn ceil_tick(ticks: f64) -> i64 {
    let (below, over) = split(ticks);
    below.saturating_add(i64::from(over > whole_within(ticks)))
}

/// The tick at or below `ticks`, as `ceil_tick`.
pub fn floor_tick(ticks: f64) -> i64 {
    let (below, over) = split(ticks);
    below.saturating_add(i64::from(1.0 - over <= whole_within(ticks)))
}

/// The tick at or below, and how far above it `ticks` is.
fn split(ticks: f64) -> (i64, f64) {
    let below = floor_i64(ticks);
    (below, ticks - below as f64)
}

/// How near to a whole tick counts as whole; never so near that it could be either of two.
fn whole_within(ticks: f64) -> f64 {
    (1e-9 * ticks.abs().max(1.0)).min(0.25)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(side: Side) -> PlanRequest {
        PlanRequest {
            side,
            entry: 60_000.0,
            tick: 0.1,
            atr: 300.0,
            level: 0.0,
            spread_bps: 0.1,
            panic: false,
            leverage: 3,
            maintenance_rate: 0.005,
        }
    }

    /// The plan around 60,000 must have its stop `sl` and its target `tp` away.
    fn expect(name: &str, params: BracketParams, change: impl Fn(&mut PlanRequest), sl: f64, tp: f64) {
        let mut request = request(Side::Buy);
        change(&mut request);
        let plan = plan(&params, &request).expect(name);
        let ticks = |price: f64| (price * 10.0).round() as i64;
        assert_eq!(plan.sl_ticks, ticks(60_000.0 - sl), "{name}");
        assert_eq!(plan.tp_ticks, ticks(60_000.0 + tp), "{name}");
        assert!((plan.risk - sl).abs() < 1e-6, "{name}");
    }

    fn mode(mode: BracketMode) -> BracketParams {
        BracketParams {
            mode,
            ..BracketParams::default()
        }
    }

    #[test]
    fn every_mode_gives_its_distances() {
        let plain = BracketParams {
            smart: false,
            ..BracketParams::default()
        };
        expect("atr", mode(BracketMode::Atr), |_| {}, 360.0, 576.0);
        expect("plain bps", plain, |_| {}, 300.0, 480.0);
        expect("smart bps", mode(BracketMode::Bps), |_| {}, 300.0, 480.0);
        expect("no atr", mode(BracketMode::Atr), |r| r.atr = 0.0, 300.0, 480.0);
        // 59,500 less 12 bps of it is 59,428.6.
        let level = mode(BracketMode::LevelAtr);
        expect("level", level, |r| r.level = 59_500.0, 571.4, 914.2);
        expect("near level", level, |r| r.level = 59_990.0, 360.0, 576.0);
        expect("level above", level, |r| r.level = 61_000.0, 360.0, 576.0);
    }

    #[test]
    fn distances_are_clamped_and_shrunk() {
        let atr = mode(BracketMode::Atr);
        // Three round trips of 2 × 6 bps and a spread of 0.1; of 2 × (6 + 2) where none is known.
        expect("floor of cost", atr, |r| r.atr = 10.0, 217.8, 348.4);
        expect(
            "floor of cost without a spread",
            atr,
            |r| (r.atr, r.spread_bps) = (10.0, 0.0),
            288.0,
            460.8,
        );
        expect(
            "floor of spread",
            atr,
            |r| (r.atr, r.spread_bps) = (10.0, 20.0),
            576.0,
            921.6,
        );
        expect("ceiling", atr, |r| r.atr = 5_000.0, 900.0, 1_440.0);
        expect("panic", atr, |r| (r.panic, r.atr) = (true, 500.0), 360.0, 576.0);
        let plain = BracketParams { smart: false, ..atr };
        expect("panic is not for plain", plain, |r| r.panic = true, 300.0, 480.0);
    }

    #[test]
    fn rounding_never_adds_risk_and_keeps_the_target_reachable() {
        let plan = plan(
            &BracketParams::default(),
            &PlanRequest {
                entry: 100.03,
                tick: 0.25,
                atr: 0.5,
                ..request(Side::Buy)
            },
        )
        .expect("a plan");
        // 100.03 − 0.6 = 99.43 → 99.5; 100.03 + 0.96 = 100.99 → 100.75.
        assert_eq!((plan.sl_ticks, plan.tp_ticks), (398, 403));
        assert!(plan.risk <= 0.6);
    }

    #[test]
    fn a_billionth_of_a_tick_is_nothing() {
        for (ticks, floor, ceil) in [
            (5.0, 5, 5),
            (5.0 + 1e-10, 5, 5),
            (5.0 - 1e-10, 5, 5),
            (5.0 + 1e-6, 5, 6),
            (4.5, 4, 5),
            (-4.5, -5, -4),
            (-5.0 + 1e-10, -5, -5),
            (600_000.000_01, 600_000, 600_000),
            (1e9, 1_000_000_000, 1_000_000_000),
            (1e9 + 0.5, 1_000_000_000, 1_000_000_001),
            (f64::NAN, 0, 0),
            (1e300, i64::MAX, i64::MAX),
            (-1e300, i64::MIN, i64::MIN),
        ] {
            assert_eq!((floor_tick(ticks), ceil_tick(ticks)), (floor, ceil), "{ticks}");
        }
    }

    #[test]
    fn stops_that_cannot_work_are_refused() {
        let tight = PlanRequest {
            tick: 1_000.0,
            ..request(Side::Buy)
        };
        assert_eq!(plan(&BracketParams::default(), &tight), Err(Reason::StopTooTight));
        // 0.6 × (1/50 − 0.005) = 0.9 %; the stop is 1.5 % away.
        let leveraged = PlanRequest {
            atr: 5_000.0,
            leverage: 50,
            ..request(Side::Sell)
        };
        assert_eq!(
            plan(&BracketParams::default(), &leveraged),
            Err(Reason::StopBeyondLiquidation)
        );
        let nan = PlanRequest {
            entry: f64::NAN,
            ..request(Side::Buy)
        };
        assert_eq!(plan(&BracketParams::default(), &nan), Err(Reason::QuoteAbsent));
    }

    #[test]
    fn a_stop_near_the_price_moves_behind_it_and_a_hit_stop_closes() {
        let params = BracketParams::default();
        // last 100,000 ticks: eps = 80 ticks, with retry 240.
        let cases = [
            (Side::Buy, 99_999, false, StopAction::Place(99_999)),
            (Side::Buy, 100_000, false, StopAction::Place(99_920)),
            (Side::Buy, 100_080, false, StopAction::Place(99_920)),
            (Side::Buy, 100_081, false, StopAction::CloseNow),
            (Side::Buy, 99_000, true, StopAction::Place(99_000)),
            (Side::Buy, 99_900, true, StopAction::Place(99_760)),
            (Side::Buy, 100_240, true, StopAction::Place(99_760)),
            (Side::Buy, 100_241, true, StopAction::CloseNow),
            (Side::Sell, 100_001, false, StopAction::Place(100_001)),
            (Side::Sell, 100_000, false, StopAction::Place(100_080)),
            (Side::Sell, 99_919, false, StopAction::CloseNow),
        ];
        for (side, stop, retry, expected) in cases {
            assert_eq!(
                settle_stop(&params, side, stop, 100_000.0, retry),
                expected,
                "{side:?} {stop} {retry}"
            );
        }
        assert_eq!(
            settle_target(&params, Side::Buy, 100_500, 100_000.0, false),
            100_500
        );
        assert_eq!(
            settle_target(&params, Side::Buy, 100_000, 100_000.0, false),
            100_080
        );
        assert_eq!(
            settle_target(&params, Side::Sell, 100_000, 100_000.0, false),
            99_920
        );
        assert_eq!(
            settle_target(&params, Side::Buy, 100_100, 100_000.0, true),
            100_240
        );
    }
}
