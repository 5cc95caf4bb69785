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
    /// Slippage expected (not the worst accepted) at entry, and at a stop or time exit.
    pub entry_slip_bps: f64,
    pub exit_slip_bps: f64,
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
            entry_slip_bps: 0.0,
            exit_slip_bps: 0.0,
        }
    }
}

impl PlanParams {
    /// Fees of both sides and the expected slippage, in bps of the notional.
    pub fn round_trip_bps(&self) -> f64 {
        2.0 * self.taker_fee_bps + self.entry_slip_bps + self.exit_slip_bps
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
}

/// The plan: raw distance, then the level, then the panic shrink, then the clamp to
/// [max(½·SL_BPS, 3·spread, COST_SL_MULT·round trip), 3·SL_BPS]; the target keeps its multiple of R.
pub fn plan(params: &PlanParams, inputs: &PlanInputs) -> Plan {
    let bps = inputs.price / 1e4;
    let round_trip_bps = params.round_trip_bps();
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
    }
}

/// Expected value in R of a trade that wins with probability `p`.
pub fn expected_value_r(p: f64, plan: &Plan) -> f64 {
    let target_r = plan.tp_distance / plan.sl_distance;
    p * (target_r - plan.cost_r) - (1.0 - p) * (1.0 + plan.cost_r)
}
