//! From settings to the plain numbers that each module takes. The only place that knows both.

use crate::indicators;
use crate::model::time::NS_PER_MS;
use crate::model::{InstrumentId, MarginMode, PositionMode, Timeframe, TriggerType};
use crate::orders::bracket::Capabilities;
use crate::risk::{
    BracketMode, BracketParams, BudgetParams, Limits, MarginAction, OrderFlowLimits, TrailMode, TrailParams,
};
use crate::settings::{self, Settings};
use crate::stage::gate::core::GateParams;
use crate::strategy::plan::PlanMode;
use crate::strategy::{self, Regime};

/// Trading calls of `send` in 10 s: the 24 that we allow ourselves, less the 8 that reads may use.
const CALLS_OF_ORDERS: u32 = 16;
/// Of the ten that are not kept for protecting and closing: two are left for an entry and its leverage.
const CALLS_OF_TRAILING: u32 = 8;

/// Parameters of the indicators.
pub fn indicators(settings: &Settings) -> indicators::Params {
    let score = &settings.score;
    indicators::Params {
        ema_slope_length: score.ema_slope_len,
        ema_slope_lookback: score.ema_slope_lookback,
        regime_adx_length: score.regime_adx_len,
        regime_atr_length: score.regime_atr_len,
        ..indicators::Params::default()
    }
}

/// The window of order flow.
pub fn flow_window(settings: &Settings) -> indicators::flow::FlowParams {
    let flow = &settings.order_flow;
    indicators::flow::FlowParams {
        is_on: flow.use_ws_orderflow,
        window_sec: flow.orderflow_window_sec,
        trades_min: flow.of_ready_min_trades,
        age_max_ms: i64::from(flow.of_ready_max_age_sec) * 1_000,
    }
}

/// Parameters of the strategies; `market` is the instrument whose regime stands for the market.
pub fn strategy(settings: &Settings, epoch: u32, market: Option<InstrumentId>) -> strategy::Params {
    let score = &settings.score;
    let mut params = strategy::Params {
        score_min: score.score_min,
        score_max: score.score_max,
        require_multi_components: score.require_multi_components,
        components_min: score.min_components,
        candidates_per_timeframe_max: score.max_candidates_per_tf as usize,
        candidates_per_close_max: score.max_candidates_per_loop as usize,
        settle_ns: u64::from(score.scan_settle_ms) * NS_PER_MS,
        quote_volume_min: settings.scan.signal_min_qvol_usdt,
        signal_cooldown_ms: (score.signal_cooldown_sec * 1e3) as i64,
        dedupe_ttl_ms: (score.dedupe_ttl_sec * 1e3) as i64,
        epoch: u64::from(epoch),
        market_instrument: market,
        market_timeframe: Timeframe::M15,
        market_panic_score: score.regime_panic_min_score_add,
        ..strategy::Params::default()
    };
    params.regime.aware = score.regime_aware;
    params.regime.panic_atr_mult = score.regime_panic_atr_mult;
    params.regime.chop_adx_max = score.regime_chop_adx_max;
    params.regime.trend_adx_min = score.regime_trend_adx_min;
    params.regime.slope_min = score.regime_slope_min;
    params.regime.confirm_candles = score.regime_confirm_bars;
    params.regime.boost_trend = score.regime_score_boost_trend;
    params.regime.penalty_chop = score.regime_score_penalty_chop;
    params.bandit.half_life_h = score.bandit_half_life_h;
    params.expected_r_min = score.bandit_min_er;
    params.thompson = score.bandit_explore == settings::BanditExplore::Thompson;
    let flow = &settings.order_flow;
    params.flow.is_on = flow.use_ws_orderflow;
    params.flow.strict = flow.orderflow_strict;
    params.flow.spread_bps_max = flow.max_spread_bps;
    params.flow.trades_per_min_min = flow.min_trades_per_min;
    params.flow.notional_per_min_usd_min = flow.min_notional_per_min_usd;
    params.flow.depth_usd_min = flow.min_depth_notional_usd;
    params.flow.window_sec = flow.orderflow_window_sec;
    params.label.shadow_score_min = score.shadow_score_min;
    params.label.horizon_candles = score.label_horizon_bars;
    let bracket = &settings.bracket;
    params.plan.mode = match bracket.tpsl_mode {
        settings::TpslMode::Bps => PlanMode::Bps,
        settings::TpslMode::Atr => PlanMode::Atr,
        settings::TpslMode::LevelAtr => PlanMode::LevelAtr,
    };
    params.plan.smart = bracket.enable_smart_tpsl;
    params.plan.tp_bps = bracket.tp_bps;
    params.plan.sl_bps = bracket.sl_bps;
    params.plan.atr_sl_mult = bracket.atr_sl_mult;
    params.plan.tp_mult = bracket.atr_tp1_mult;
    params.plan.level_buffer_bps = bracket.level_buffer_bps;
    params.plan.cost_sl_mult = bracket.cost_sl_mult;
    params.plan.panic_shrink = score.regime_tpsl_shrink_in_panic;
    params.plan.taker_fee_bps = settings.venue.taker_fee_bps;
    params.plan.slip_bps = score.expected_slippage_bps;
    params
}

/// The bounds of the gate.
pub fn limits(settings: &Settings) -> Limits {
    let (trade, flow) = (&settings.trade, &settings.order_flow);
    Limits {
        enable_autotrade: trade.enable_autotrade,
        notional_usd: trade.trade_notional_usd,
        score_min: trade.trade_min_score,
        probability_min: trade.trade_min_prob,
        ev_r_min: trade.ev_min_r,
        cost_r_max: trade.cost_r_max,
        positions_max: trade.trade_max_positions,
        exposure_usd_max: trade.trade_max_exposure_usd,
        cooldown_sec: trade.trade_cooldown_sec.ceil() as u32,
        single_position_per_symbol: trade.single_position_per_symbol,
        leverage: trade.trading_leverage.min(u32::from(u16::MAX)) as u16,
        slippage_bps: trade.order_slippage_bps,
        check_balance: trade.check_balance_before_order,
        margin_usd_min: trade.min_initial_margin_usd,
        upsize_to_min_margin: trade.upsize_to_min_margin,
        enforce_margin: trade
            .enforce_min_margin
            .then_some(match trade.enforce_min_margin_action {
                settings::MinMarginAction::Close => MarginAction::Close,
                settings::MinMarginAction::Topup => MarginAction::TopUp,
                settings::MinMarginAction::Alert => MarginAction::Alert,
            }),
        upsize_max_mult: trade.upsize_max_mult,
        margin_safety_bps: trade.margin_safety_bps,
        risk_usd: trade.risk_per_trade_usd,
        quote_volume_min: settings.scan.signal_min_qvol_usdt,
        entries_per_hour_max: trade.max_entries_per_hour,
        daily_loss_usd_max: trade.daily_loss_limit_usd,
        consecutive_losses_max: trade.max_consec_losses,
        order_flow: OrderFlowLimits {
            enabled: flow.use_ws_orderflow,
            strict: flow.orderflow_strict,
            spread_bps_max: flow.max_spread_bps,
            depth_usd_min: flow.min_depth_notional_usd,
            trades_per_min_min: flow.min_trades_per_min,
            notional_per_min_usd_min: flow.min_notional_per_min_usd,
        },
        ..Limits::default()
    }
}

/// Where stops and targets go.
pub fn brackets(settings: &Settings) -> BracketParams {
    let bracket = &settings.bracket;
    BracketParams {
        enabled: bracket.enable_tpsl,
        smart: bracket.enable_smart_tpsl,
        mode: match bracket.tpsl_mode {
            settings::TpslMode::Bps => BracketMode::Bps,
            settings::TpslMode::Atr => BracketMode::Atr,
            settings::TpslMode::LevelAtr => BracketMode::LevelAtr,
        },
        tp_bps: bracket.tp_bps,
        sl_bps: bracket.sl_bps,
        atr_sl_mult: bracket.atr_sl_mult,
        atr_tp1_mult: bracket.atr_tp1_mult,
        level_buffer_bps: bracket.level_buffer_bps,
        cost_sl_mult: bracket.cost_sl_mult,
        taker_fee_bps: settings.venue.taker_fee_bps,
        slip_bps: settings.score.expected_slippage_bps,
        panic_shrink: settings.score.regime_tpsl_shrink_in_panic,
        trigger_eps_bps: bracket.trigger_eps_bps,
        take_passed_target: bracket.tp_breach == settings::TpBreach::Close,
        retry_mult: bracket.tpsl_retry_mult,
    }
}

/// Break-even and trailing.
pub fn trailing(settings: &Settings) -> TrailParams {
    let bracket = &settings.bracket;
    TrailParams {
        enabled: bracket.enable_trailing,
        mode: match bracket.trail_mode {
            settings::TrailMode::Atr => TrailMode::Atr,
            settings::TrailMode::Bps => TrailMode::Bps,
        },
        atr_mult: bracket.trail_atr_mult,
        bps: bracket.trail_bps,
        break_even_after_r: bracket.break_even_after_r,
        break_even_buffer_bps: bracket.break_even_buffer_bps,
        cover_fees: bracket.be_cover_fees,
        step_bps_min: bracket.trail_min_step_bps,
        interval_ms_min: bracket.trail_min_interval_ms,
        distance_bps_min: (bracket.cost_sl_mult * 2.0 * settings.venue.taker_fee_bps)
            .max(0.5 * bracket.sl_bps),
    }
}

/// Everything that the gate is told once.
pub fn gate(settings: &Settings) -> GateParams {
    GateParams {
        limits: limits(settings),
        brackets: brackets(settings),
        trail: trailing(settings),
        budget: BudgetParams {
            calls_max: CALLS_OF_ORDERS,
            trailing_max: CALLS_OF_TRAILING,
            ..BudgetParams::default()
        },
        margin_mode: match settings.trade.trading_margin_mode {
            settings::MarginMode::Cross => MarginMode::Cross,
            settings::MarginMode::Isolated => MarginMode::Isolated,
        },
        position_mode: match settings.trade.trading_position_mode {
            settings::PositionMode::Net => PositionMode::Net,
            settings::PositionMode::LongShort => PositionMode::LongShort,
        },
        private_feed: settings.trade.enable_private_ws,
        panic_regime: Regime::Panic as u8,
        regime_aware: settings.score.regime_aware,
        dedupe_ttl_sec: settings.score.dedupe_ttl_sec as u32,
        // What a run before this one learned of the venue comes back with its snapshot.
        capabilities: Capabilities::to_probe(),
        retry_on_fail: settings.bracket.tpsl_retry_on_fail,
        retry_trigger: match settings.bracket.tpsl_retry_trigger_type {
            settings::TriggerType::Last => TriggerType::Last,
            settings::TriggerType::Mark => TriggerType::Mark,
            settings::TriggerType::Index => TriggerType::Index,
        },
        ..GateParams::default()
    }
}
