//! The numbers that bound what the trader may do, as plain structs.
//!
//! They are filled from the settings by whoever builds the gate; the defaults are those of the
//! shipped configuration, so a test can say only what it changes. 0 switches an optional limit off
//! where its line says so.

/// What to do with a position whose margin is below MIN_INITIAL_MARGIN_USD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarginAction {
    Close,
    /// Buy or sell more of it, within the bounds of an entry.
    TopUp,
    /// Say so, and leave it.
    Alert,
}

/// Bounds on entries ([trade] in the settings).
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub enable_autotrade: bool,
    pub notional_usd: f64,
    pub score_min: f64,
    pub probability_min: f64,
    /// EV_MIN_R, in units of the initial risk.
    pub ev_r_min: f64,
    /// COST_R_MAX: round-trip cost as a part of the stop distance.
    pub cost_r_max: f64,
    /// Open positions and entries in flight together.
    pub positions_max: u32,
    pub exposure_usd_max: f64,
    pub cooldown_sec: u32,
    pub single_position_per_symbol: bool,
    /// TRADING_LEVERAGE; an instrument that allows less gets less.
    pub leverage: u16,
    /// ORDER_SLIPPAGE_BPS: the worst price is this far from the touch.
    pub slippage_bps: f64,
    pub check_balance: bool,
    /// Smallest initial margin of an order; 0 = off.
    pub margin_usd_min: f64,
    pub upsize_to_min_margin: bool,
    /// ENFORCE_MIN_MARGIN with its action; `None` = off.
    pub enforce_margin: Option<MarginAction>,
    /// Upsizing may multiply the notional by at most this.
    pub upsize_max_mult: f64,
    /// Room left above the margin when the balance is checked.
    pub margin_safety_bps: f64,
    /// RISK_PER_TRADE_USD: most that the stop may lose; 0 = off.
    pub risk_usd: f64,
    /// SIGNAL_MIN_QVOL_USDT: 24 h quote volume; 0 = off.
    pub quote_volume_min: f64,
    /// 0 = off.
    pub entries_per_hour_max: u32,
    /// Realised loss of the UTC day that pauses entries; 0 = off.
    pub daily_loss_usd_max: f64,
    /// Losing trades in a row that pause entries for the rest of the UTC day; 0 = off.
    pub consecutive_losses_max: u32,
    /// A signal older than this is not traded.
    pub signal_age_ms_max: u32,
    /// A quote older than this is absent.
    pub quote_age_ms_max: u32,
    /// The touch may be this part of the stop distance away from the signal's price.
    pub price_moved_r_max: f64,
    pub order_flow: OrderFlowLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            enable_autotrade: false,
            notional_usd: 50.0,
            score_min: 3.6,
            probability_min: 0.62,
            ev_r_min: 0.0,
            cost_r_max: 0.35,
            positions_max: 6,
            exposure_usd_max: 500.0,
            cooldown_sec: 120,
            single_position_per_symbol: true,
            leverage: 3,
            slippage_bps: 8.0,
            check_balance: true,
            margin_usd_min: 10.0,
            upsize_to_min_margin: true,
            enforce_margin: None,
            upsize_max_mult: 1.5,
            margin_safety_bps: 100.0,
            risk_usd: 0.0,
            quote_volume_min: 0.0,
            entries_per_hour_max: 20,
            daily_loss_usd_max: 0.0,
            consecutive_losses_max: 0,
            signal_age_ms_max: 10_000,
            quote_age_ms_max: 10_000,
            price_moved_r_max: 0.5,
            order_flow: OrderFlowLimits::default(),
        }
    }
}

/// The re-check of order flow at the moment an order would leave.
#[derive(Clone, Copy, Debug)]
pub struct OrderFlowLimits {
    pub enabled: bool,
    /// Absent data blocks.
    pub strict: bool,
    /// 0 = off.
    pub spread_bps_max: f64,
    /// USD on the thinner side of the summed levels; 0 = off.
    pub depth_usd_min: f64,
    pub trades_per_min_min: f64,
    pub notional_per_min_usd_min: f64,
}

impl Default for OrderFlowLimits {
    fn default() -> Self {
        OrderFlowLimits {
            enabled: false,
            strict: true,
            spread_bps_max: 8.0,
            depth_usd_min: 10_000.0,
            trades_per_min_min: 2.0,
            notional_per_min_usd_min: 5_000.0,
        }
    }
}

/// TPSL_MODE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BracketMode {
    Bps,
    Atr,
    LevelAtr,
}

/// Where stops and targets go ([bracket] in the settings).
#[derive(Clone, Copy, Debug)]
pub struct BracketParams {
    /// ENABLE_TPSL.
    pub enabled: bool,
    /// ENABLE_SMART_TPSL: honour `mode`, clamp, shrink in panic. Off = plain basis points.
    pub smart: bool,
    pub mode: BracketMode,
    pub tp_bps: f64,
    pub sl_bps: f64,
    pub atr_sl_mult: f64,
    /// Multiples of R, the distance from the entry to the stop.
    pub atr_tp1_mult: f64,
    pub level_buffer_bps: f64,
    /// COST_SL_MULT: the stop is at least this many round-trip costs away.
    pub cost_sl_mult: f64,
    pub taker_fee_bps: f64,
    /// EXPECTED_SLIPPAGE_BPS: what crossing costs on each side where no spread is known.
    pub slip_bps: f64,
    /// REGIME_TPSL_SHRINK_IN_PANIC.
    pub panic_shrink: f64,
    pub trigger_eps_bps: f64,
    /// TP_BREACH=close: a target that is passed before it stands is taken at market.
    pub take_passed_target: bool,
    /// TPSL_RETRY_MULT.
    pub retry_mult: f64,
}

impl Default for BracketParams {
    fn default() -> Self {
        BracketParams {
            enabled: true,
            smart: true,
            mode: BracketMode::Atr,
            tp_bps: 80.0,
            sl_bps: 50.0,
            atr_sl_mult: 1.2,
            atr_tp1_mult: 1.6,
            level_buffer_bps: 12.0,
            cost_sl_mult: 3.0,
            taker_fee_bps: 6.0,
            slip_bps: 2.0,
            panic_shrink: 0.6,
            trigger_eps_bps: 8.0,
            take_passed_target: false,
            retry_mult: 3.0,
        }
    }
}

impl BracketParams {
    /// Cost of going in and out as a taker, in basis points of the notional: fees, and half the spread on
    /// each side, as `strategy::plan` reckons it. A spread of 0 is not known.
    pub fn round_trip_cost_bps(&self, spread_bps: f64) -> f64 {
        let known = spread_bps.is_finite() && spread_bps > 0.0;
        let slip_bps = if known { 0.5 * spread_bps } else { self.slip_bps };
        2.0 * (self.taker_fee_bps + slip_bps)
    }
}

/// TRAIL_MODE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrailMode {
    Bps,
    Atr,
}

/// Break-even and trailing of the stop.
#[derive(Clone, Copy, Debug)]
pub struct TrailParams {
    /// ENABLE_TRAILING.
    pub enabled: bool,
    pub mode: TrailMode,
    pub atr_mult: f64,
    pub bps: f64,
    /// BREAK_EVEN_AFTER_R.
    pub break_even_after_r: f64,
    pub break_even_buffer_bps: f64,
    /// BE_COVER_FEES: a break-even exit also pays the round trip.
    pub cover_fees: bool,
    pub step_bps_min: f64,
    pub interval_ms_min: u32,
    /// Floor of the trailing distance in basis points of the entry.
    pub distance_bps_min: f64,
}

impl Default for TrailParams {
    fn default() -> Self {
        TrailParams {
            enabled: true,
            mode: TrailMode::Atr,
            atr_mult: 1.0,
            bps: 35.0,
            break_even_after_r: 1.0,
            break_even_buffer_bps: 6.0,
            cover_fees: false,
            step_bps_min: 5.0,
            interval_ms_min: 1_000,
            // SL_MIN of quiet markets: three taker round trips.
            distance_bps_min: 36.0,
        }
    }
}
