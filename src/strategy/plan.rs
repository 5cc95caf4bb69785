//! How far away the stop and the target of a signal would be, and what the round trip costs in units
//! of that risk. The gate plans the real bracket in ticks; this is what scores and labels need.

/// How distances are planned (TPSL_MODE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanMode {
    Bps,
    Atr,
    LevelAtr,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlanParams {
    /// TPSL_MODE; `Bps` whatever it says while `smart` is off.
    pub mode: PlanMode,
    /// ENABLE_SMART_TPSL.
    pub smart: bool,
    /// TP_BPS and SL_BPS.
    pub tp_bps: f64,
    pub sl_bps: f64,
    /// ATR_SL_MULT, in ATR14.
    pub atr_sl_mult: f64,
    /// ATR_TP1_MULT, in multiples of the stop distance.
    pub tp_mult: f64,
    /// LEVEL_BUFFER_BPS beyond the level.
    pub level_buffer_bps: f64,
    /// COST_SL_MULT: the stop is at least this many round trips away.
    pub cost_sl_mult: f64,
    /// REGIME_TPSL_SHRINK_IN_PANIC.
    pub panic_shrink: f64,
    /// Taker fee of one side.
    pub taker_fee_bps: f64,
    /// EXPECTED_SLIPPAGE_BPS: what crossing costs on each side where no spread is known.
    pub slip_bps: f64,
}

impl Default for PlanParams {
    fn default() -> Self {
        PlanParams {
            mode: PlanMode::Atr,
            smart: true,
            tp_bps: 80.0,
            sl_bps: 50.0,
            atr_sl_mult: 1.2,
            tp_mult: 1.6,
            level_buffer_bps: 12.0,
            cost_sl_mult: 3.0,
            panic_shrink: 0.6,
            taker_fee_bps: 6.0,
            slip_bps: 2.0,
        }
    }
}

impl PlanParams {
    /// What crossing the spread is expected to cost on one side: half of it. (ORDER_SLIPPAGE_BPS is the
    /// worst price that an order accepts; to expect it would call every trade dearer than it is.)
    pub fn slip_bps_at(&self, spread_bps: Option<f64>) -> f64 {
        spread_bps
            .filter(|spread_bps| spread_bps.is_finite() && *spread_bps >= 0.0)
            .map_or(self.slip_bps, |spread_bps| 0.5 * spread_bps)
    }

    /// Fees of both sides and the expected slippage of both, in bps of the notional.
    pub fn round_trip_bps(&self, spread_bps: Option<f64>) -> f64 {
        2.0 * (self.taker_fee_bps + self.slip_bps_at(spread_bps))
    }
}

/// What the distances are planned from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PlanInputs {
    /// Reference price, above 0.
    pub price: f64,
    pub atr: Option<f64>,
    /// Level to hide the stop behind.
    pub level: Option<f64>,
    pub spread_bps: Option<f64>,
    pub panic: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Plan {
    /// Distances from the price, in price units, above 0.
    pub sl_distance: f64,
    pub tp_distance: f64,
    /// Round-trip cost as a part of the stop distance.
    pub cost_r: f64,
    /// Slippage of one side that is in the cost.
    pub slip_bps: f64,
}

/// The plan: raw distance, then the level, then the panic shrink, then the clamp to
/// [max(½·SL_BPS, 3·spread, COST_SL_MULT·round trip), 3·SL_BPS]; the target keeps its multiple of R.
pub fn plan(params: &PlanParams, inputs: &PlanInputs) -> Plan {
    let bps = inputs.price / 1e4;
    let round_trip_bps = params.round_trip_bps(inputs.spread_bps);
    let from_atr = inputs
        .atr
        .filter(|atr| params.smart && params.mode != PlanMode::Bps && *atr > 0.0);
    let (raw, tp_mult) = match from_atr {
        Some(atr) => (params.atr_sl_mult * atr, params.tp_mult),
        None => (params.sl_bps * bps, params.tp_bps / params.sl_bps),
    };
    let leveled = match inputs.level {
        Some(level) if from_atr.is_some() && params.mode == PlanMode::LevelAtr => {
            raw.max((inputs.price - level).abs() + params.level_buffer_bps * bps)
        }
        _ => raw,
    };
    let shrink = if params.smart && inputs.panic {
        params.panic_shrink
    } else {
        1.0
    };
    let mut sl_distance = leveled * shrink;
    if params.smart {
        let sl_min_bps = (0.5 * params.sl_bps)
            .max(3.0 * inputs.spread_bps.unwrap_or(0.0))
            .max(params.cost_sl_mult * round_trip_bps);
        let sl_max_bps = (3.0 * params.sl_bps).max(sl_min_bps);
        sl_distance = sl_distance.clamp(sl_min_bps * bps, sl_max_bps * bps);
    }
    Plan {
        sl_distance,
        tp_distance: sl_distance * tp_mult,
        cost_r: round_trip_bps * bps / sl_distance,
        slip_bps: params.slip_bps_at(inputs.spread_bps),
    }
}

/// Expected value in R of a trade that wins with probability `p`.
pub fn expected_value_r(p: f64, plan: &Plan) -> f64 {
    let target_r = plan.tp_distance / plan.sl_distance;
    p * (target_r - plan.cost_r) - (1.0 - p) * (1.0 + plan.cost_r)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_100: PlanInputs = PlanInputs {
        price: 100.0,
        atr: None,
        level: None,
        spread_bps: None,
        panic: false,
    };

    /// Stop and target in bps of 100, and the cost.
    fn bps(params: &PlanParams, inputs: &PlanInputs) -> [f64; 3] {
        let plan = plan(params, inputs);
        [plan.sl_distance * 100.0, plan.tp_distance * 100.0, plan.cost_r]
    }

    fn near(actual: [f64; 3], expected: [f64; 3]) {
        let same = actual
            .iter()
            .zip(expected)
            .all(|(one, other)| (one - other).abs() < 1e-9);
        assert!(same, "{actual:?} instead of {expected:?}");
    }

    #[test]
    fn distances_follow_mode_level_panic_and_clamp_in_this_order() {
        let smart = PlanParams {
            slip_bps: 0.0,
            ..PlanParams::default()
        };
        let with_atr = |atr: f64| PlanInputs {
            atr: Some(atr),
            ..AT_100
        };
        near(bps(&smart, &AT_100), [50.0, 80.0, 12.0 / 50.0]);
        near(bps(&smart, &with_atr(0.5)), [60.0, 96.0, 0.2]);
        near(bps(&smart, &with_atr(0.1)), [36.0, 57.6, 1.0 / 3.0]);
        near(bps(&smart, &with_atr(5.0)), [150.0, 240.0, 0.08]);
        near(
            bps(
                &smart,
                &PlanInputs {
                    spread_bps: Some(15.0),
                    ..with_atr(0.1)
                },
            ),
            // Half the spread on each side: 27 bps in all, and three of them are the floor.
            [81.0, 129.6, 1.0 / 3.0],
        );
        near(
            bps(
                &smart,
                &PlanInputs {
                    panic: true,
                    ..with_atr(1.0)
                },
            ),
            [72.0, 115.2, 12.0 / 72.0],
        );
        let leveled = PlanParams {
            mode: PlanMode::LevelAtr,
            ..smart
        };
        near(
            bps(
                &leveled,
                &PlanInputs {
                    level: Some(99.2),
                    ..with_atr(0.5)
                },
            ),
            [92.0, 147.2, 12.0 / 92.0],
        );
        near(
            bps(
                &leveled,
                &PlanInputs {
                    level: Some(99.9),
                    ..with_atr(0.5)
                },
            ),
            [60.0, 96.0, 0.2],
        );
        let plain = PlanParams {
            smart: false,
            ..smart
        };
        near(bps(&plain, &with_atr(5.0)), [50.0, 80.0, 0.24]);
    }

    #[test]
    fn the_value_is_zero_at_the_break_even_probability() {
        let params = PlanParams {
            slip_bps: 0.0,
            ..PlanParams::default()
        };
        let plan = plan(&params, &AT_100);
        // (SL + cost) / (TP + SL) = 62 / 130.
        assert!(expected_value_r(62.0 / 130.0, &plan).abs() < 1e-12);
        assert!((expected_value_r(1.0, &plan) - (1.6 - 0.24)).abs() < 1e-12);
        assert!((expected_value_r(0.0, &plan) + 1.24).abs() < 1e-12);
    }

    #[test]
    fn slippage_is_half_the_spread_where_it_is_known_and_the_setting_elsewhere() {
        let params = PlanParams {
            slip_bps: 2.0,
            ..PlanParams::default()
        };
        let cost = |spread_bps: Option<f64>| {
            let plan = plan(&params, &PlanInputs { spread_bps, ..AT_100 });
            (plan.slip_bps, plan.cost_r * 50.0)
        };
        for (spread_bps, slip_bps, cost_bps) in [
            (None, 2.0, 16.0),
            (Some(0.0), 0.0, 12.0),
            (Some(3.0), 1.5, 15.0),
            (Some(f64::NAN), 2.0, 16.0),
        ] {
            let (slip, cost) = cost(spread_bps);
            assert_eq!(slip, slip_bps, "{spread_bps:?}");
            assert!((cost - cost_bps).abs() < 1e-9, "{spread_bps:?}: {cost}");
        }
    }
}
