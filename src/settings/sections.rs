//! The typed settings, a struct for each section, and the one place that fills them.
//!
//! A field is the key of the same name in lower case; meaning, unit, range and default stand in
//! `keys::KEYS` and in `config/default.toml`, and are not repeated here.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::model::Timeframe;

use super::layout;
use super::layout::Idle;
use super::layout::Layout;
use super::value::Values;

/// `[daemon]`: one daemon's name, files and threads.
#[derive(Clone, Debug, PartialEq)]
pub struct Daemon {
    pub instance: String,
    /// Never empty: the default follows from `instance`.
    pub bus_path: PathBuf,
    pub state_dir: PathBuf,
    pub layout: Layout,
    /// Empty means every core that the process may use.
    pub cores: Vec<u32>,
    pub idle: Idle,
}

/// `[venue]`: where the venue is and what it charges. Credentials are in `Settings::secrets`.
#[derive(Clone, Debug, PartialEq)]
pub struct Venue {
    /// Without a slash at its end.
    pub blofin_base_url: String,
    /// Never empty: the default follows from `blofin_base_url`.
    pub blofin_ws_public: String,
    /// Never empty: the default follows from `blofin_base_url`.
    pub blofin_ws_private: String,
    pub blofin_ca_file: Option<PathBuf>,
    pub taker_fee_bps: f64,
    pub maker_fee_bps: f64,
}

/// `[scan]`: the universe and its candles.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    pub scan_timeframes: Vec<Timeframe>,
    pub top_symbols: u32,
    pub candles_concurrency: u32,
    pub candles_chunk: u32,
    pub candles_inter_chunk_sleep: f64,
    pub use_ws_candles: bool,
    pub candles_build_from_1m: bool,
    pub ws_args_per_connection: u32,
    pub max_synth_gap: u32,
    pub universe_from_ws: bool,
    pub universe_cache_path: PathBuf,
    pub swap_only: bool,
    pub exclude_patterns: Vec<String>,
    pub bluechip_only: bool,
    pub bluechip_bases: Vec<String>,
    pub min_quote_vol_usdt: f64,
    pub min_last_price: f64,
    pub signal_min_qvol_usdt: f64,
    pub print_liquidity_debug: bool,
    pub print_diagnostics: bool,
}

/// How component weights are read from the posterior.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BanditExplore {
    Mean,
    Thompson,
}

/// `[score]`: from features to a signal.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    pub score_min: f64,
    pub score_max: f64,
    pub require_multi_components: bool,
    pub min_components: u32,
    pub max_candidates_per_tf: u32,
    pub max_candidates_per_loop: u32,
    pub scan_settle_ms: u32,
    pub warmup_bars: u32,
    pub signal_cooldown_sec: f64,
    pub dedupe_ttl_sec: f64,
    pub ema_slope_len: u32,
    pub ema_slope_lookback: u32,
    pub regime_aware: bool,
    pub regime_adx_len: u32,
    pub regime_atr_len: u32,
    pub regime_panic_atr_mult: f64,
    pub regime_chop_adx_max: f64,
    pub regime_trend_adx_min: f64,
    pub regime_slope_min: f64,
    pub regime_confirm_bars: u32,
    pub regime_score_boost_trend: f64,
    pub regime_score_penalty_chop: f64,
    pub regime_panic_min_score_add: f64,
    pub regime_tpsl_shrink_in_panic: f64,
    pub bandit_state_path: PathBuf,
    pub bandit_half_life_h: f64,
    /// `None` is off.
    pub bandit_min_er: Option<f64>,
    pub bandit_explore: BanditExplore,
    pub shadow_score_min: f64,
    pub label_horizon_bars: u32,
    pub expected_slippage_bps: f64,
    pub calibration_path: PathBuf,
}

/// `[order_flow]`: order books and the public tape.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderFlow {
    pub use_ws_orderflow: bool,
    pub orderflow_strict: bool,
    pub orderflow_window_sec: u32,
    pub ws_book_depth: u32,
    pub max_spread_bps: f64,
    pub min_trades_per_min: f64,
    pub min_notional_per_min_usd: f64,
    pub min_depth_notional_usd: f64,
    pub of_ready_min_trades: u32,
    pub of_ready_max_age_sec: u32,
}

/// Margin of a position: shared with the account, or its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarginMode {
    Cross,
    Isolated,
}

/// One position an instrument, or one a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PositionMode {
    Net,
    LongShort,
}

/// What to do with a position whose margin is too small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MinMarginAction {
    Close,
    Topup,
    Alert,
}

/// `[trade]`: from a signal to an order.
#[derive(Clone, Debug, PartialEq)]
pub struct Trade {
    pub enable_autotrade: bool,
    pub paper_trading: bool,
    pub live_trading: bool,
    pub trade_notional_usd: f64,
    pub trade_min_score: f64,
    pub trade_min_prob: f64,
    pub ev_min_r: f64,
    pub cost_r_max: f64,
    pub trade_max_positions: u32,
    pub trade_max_exposure_usd: f64,
    pub trade_cooldown_sec: f64,
    pub single_position_per_symbol: bool,
    pub max_entries_per_hour: u32,
    /// 0 is off.
    pub daily_loss_limit_usd: f64,
    /// 0 is off.
    pub max_consec_losses: u32,
    pub trading_margin_mode: MarginMode,
    pub trading_position_mode: PositionMode,
    pub trading_leverage: u32,
    pub order_slippage_bps: f64,
    pub check_balance_before_order: bool,
    pub margin_safety_bps: f64,
    pub min_initial_margin_usd: f64,
    pub upsize_to_min_margin: bool,
    pub upsize_max_mult: f64,
    /// 0 is off.
    pub risk_per_trade_usd: f64,
    pub enforce_min_margin: bool,
    pub enforce_min_margin_action: MinMarginAction,
    pub enable_private_ws: bool,
}

/// Where the distances of a bracket come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TpslMode {
    Bps,
    Atr,
    LevelAtr,
}

/// What to do with a target that is passed before it is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TpBreach {
    Move,
    Close,
}

/// The price that triggers a stop or a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerType {
    Last,
    Mark,
    Index,
}

/// Where the trailing distance comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrailMode {
    Atr,
    Bps,
}

/// `[bracket]`: take profit and stop loss.
#[derive(Clone, Debug, PartialEq)]
pub struct Bracket {
    pub enable_tpsl: bool,
    pub enable_smart_tpsl: bool,
    pub tpsl_mode: TpslMode,
    pub tp_bps: f64,
    pub sl_bps: f64,
    pub atr_sl_mult: f64,
    pub atr_tp1_mult: f64,
    pub cost_sl_mult: f64,
    pub level_buffer_bps: f64,
    pub trigger_eps_bps: f64,
    pub tp_breach: TpBreach,
    pub tpsl_retry_on_fail: bool,
    pub tpsl_retry_mult: f64,
    pub tpsl_retry_trigger_type: TriggerType,
    pub enable_trailing: bool,
    pub trail_mode: TrailMode,
    pub trail_atr_mult: f64,
    pub trail_bps: f64,
    pub trail_min_step_bps: f64,
    pub trail_min_interval_ms: u32,
    pub break_even_after_r: f64,
    pub break_even_buffer_bps: f64,
    pub be_cover_fees: bool,
}

/// `[gateway]`: the HTTP listener. Its tokens are in `Settings::secrets`.
#[derive(Clone, Debug, PartialEq)]
pub struct Gateway {
    /// `auto` is already decided: on when WEBHOOK_SECRET is set.
    pub enable_gateway: bool,
    pub webhook_host: IpAddr,
    pub webhook_port: u16,
    pub webhook_max_age_sec: u32,
    pub webhook_rate: f64,
    pub webhook_burst: u32,
    pub webhook_connections: u32,
    /// Empty means everybody.
    pub webhook_allow: Vec<String>,
    pub webhook_proxies: Vec<String>,
}

impl Gateway {
    /// The words of WEBHOOK_ALLOW or WEBHOOK_PROXIES as addresses, or the first that is none.
    pub fn addresses(words: &[String]) -> Result<Vec<IpAddr>, String> {
        let parse = |word: &String| word.parse::<IpAddr>().map_err(|_| word.clone());
        let canonical = |address: IpAddr| address.to_canonical();
        words.iter().map(|word| parse(word).map(canonical)).collect()
    }
}

/// `[record]`: what is written for people and for replay.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub metrics_enabled: bool,
    pub metrics_path: PathBuf,
    pub capture: bool,
    pub capture_dir: PathBuf,
    pub capture_max_mb: u32,
}

fn optional_path(text: &str) -> Option<PathBuf> {
    if text.is_empty() {
        None
    } else {
        Some(PathBuf::from(text))
    }
}

pub(super) fn daemon(values: &Values) -> Daemon {
    let instance = values.text("INSTANCE").to_owned();
    let bus_path = optional_path(values.text("BUS_PATH"))
        .unwrap_or_else(|| PathBuf::from(format!("/dev/shm/smart-scanner/{instance}.bus")));
    let idle = [
        ("auto", Idle::Auto),
        ("spin", Idle::Spin),
        ("yield", Idle::Yield),
        ("park", Idle::Park),
    ];
    let cores = values.list("CORES").join(",");
    Daemon {
        instance,
        bus_path,
        state_dir: PathBuf::from(values.text("STATE_DIR")),
        layout: values
            .text("LAYOUT")
            .parse()
            .expect("LAYOUT was checked when it was read"),
        cores: layout::parse_cores(&cores).expect("CORES was checked when it was read"),
        idle: values.choice("IDLE", &idle),
    }
}

/// The websocket address below a REST root: http becomes ws, https becomes wss.
pub(super) fn socket_url(base_url: &str, path: &str) -> String {
    format!("ws{}{path}", base_url.strip_prefix("http").unwrap_or("://"))
}

pub(super) fn venue(values: &Values) -> Venue {
    let base = values.text("BLOFIN_BASE_URL").to_owned();
    let socket = |name: &str, path: &str| match values.text(name) {
        "" => socket_url(&base, path),
        url => url.to_owned(),
    };
    Venue {
        blofin_ws_public: socket("BLOFIN_WS_PUBLIC", "/ws/public"),
        blofin_ws_private: socket("BLOFIN_WS_PRIVATE", "/ws/private"),
        blofin_base_url: base,
        blofin_ca_file: optional_path(values.text("BLOFIN_CA_FILE")),
        taker_fee_bps: values.number("TAKER_FEE_BPS"),
        maker_fee_bps: values.number("MAKER_FEE_BPS"),
    }
}

pub(super) fn scan(values: &Values) -> Scan {
    let words = values.list("SCAN_TIMEFRAMES");
    let timeframes = words
        .iter()
        .map(|word| Timeframe::parse(word).expect("SCAN_TIMEFRAMES was checked when it was read"));
    Scan {
        scan_timeframes: timeframes.collect(),
        top_symbols: values.whole("TOP_SYMBOLS"),
        candles_concurrency: values.whole("CANDLES_CONCURRENCY"),
        candles_chunk: values.whole("CANDLES_CHUNK"),
        candles_inter_chunk_sleep: values.number("CANDLES_INTER_CHUNK_SLEEP"),
        use_ws_candles: values.flag("USE_WS_CANDLES"),
        candles_build_from_1m: values.flag("CANDLES_BUILD_FROM_1M"),
        ws_args_per_connection: values.whole("WS_ARGS_PER_CONNECTION"),
        max_synth_gap: values.whole("MAX_SYNTH_GAP"),
        universe_from_ws: values.flag("UNIVERSE_FROM_WS"),
        universe_cache_path: PathBuf::from(values.text("UNIVERSE_CACHE_PATH")),
        swap_only: values.flag("SWAP_ONLY"),
        exclude_patterns: values.list("EXCLUDE_PATTERNS"),
        bluechip_only: values.flag("BLUECHIP_ONLY"),
        bluechip_bases: values.list("BLUECHIP_BASES"),
        min_quote_vol_usdt: values.number("MIN_QUOTE_VOL_USDT"),
        min_last_price: values.number("MIN_LAST_PRICE"),
        signal_min_qvol_usdt: values.number("SIGNAL_MIN_QVOL_USDT"),
        print_liquidity_debug: values.flag("PRINT_LIQUIDITY_DEBUG"),
        print_diagnostics: values.flag("PRINT_DIAGNOSTICS"),
    }
}

pub(super) fn score(values: &Values) -> Score {
    let explore = [
        ("mean", BanditExplore::Mean),
        ("thompson", BanditExplore::Thompson),
    ];
    Score {
        score_min: values.number("SCORE_MIN"),
        score_max: values.number("SCORE_MAX"),
        require_multi_components: values.flag("REQUIRE_MULTI_COMPONENTS"),
        min_components: values.whole("MIN_COMPONENTS"),
        max_candidates_per_tf: values.whole("MAX_CANDIDATES_PER_TF"),
        max_candidates_per_loop: values.whole("MAX_CANDIDATES_PER_LOOP"),
        scan_settle_ms: values.whole("SCAN_SETTLE_MS"),
        warmup_bars: values.whole("WARMUP_BARS"),
        signal_cooldown_sec: values.number("SIGNAL_COOLDOWN_SEC"),
        dedupe_ttl_sec: values.number("DEDUPE_TTL_SEC"),
        ema_slope_len: values.whole("EMA_SLOPE_LEN"),
        ema_slope_lookback: values.whole("EMA_SLOPE_LOOKBACK"),
        regime_aware: values.flag("REGIME_AWARE"),
        regime_adx_len: values.whole("REGIME_ADX_LEN"),
        regime_atr_len: values.whole("REGIME_ATR_LEN"),
        regime_panic_atr_mult: values.number("REGIME_PANIC_ATR_MULT"),
        regime_chop_adx_max: values.number("REGIME_CHOP_ADX_MAX"),
        regime_trend_adx_min: values.number("REGIME_TREND_ADX_MIN"),
        regime_slope_min: values.number("REGIME_SLOPE_MIN"),
        regime_confirm_bars: values.whole("REGIME_CONFIRM_BARS"),
        regime_score_boost_trend: values.number("REGIME_SCORE_BOOST_TREND"),
        regime_score_penalty_chop: values.number("REGIME_SCORE_PENALTY_CHOP"),
        regime_panic_min_score_add: values.number("REGIME_PANIC_MIN_SCORE_ADD"),
        regime_tpsl_shrink_in_panic: values.number("REGIME_TPSL_SHRINK_IN_PANIC"),
        bandit_state_path: PathBuf::from(values.text("BANDIT_STATE_PATH")),
        bandit_half_life_h: values.number("BANDIT_HALF_LIFE_H"),
        bandit_min_er: values.number_or_off("BANDIT_MIN_ER"),
        bandit_explore: values.choice("BANDIT_EXPLORE", &explore),
        shadow_score_min: values.number("SHADOW_SCORE_MIN"),
        label_horizon_bars: values.whole("LABEL_HORIZON_BARS"),
        expected_slippage_bps: values.number("EXPECTED_SLIPPAGE_BPS"),
        calibration_path: PathBuf::from(values.text("CALIBRATION_PATH")),
    }
}

pub(super) fn order_flow(values: &Values) -> OrderFlow {
    OrderFlow {
        use_ws_orderflow: values.flag("USE_WS_ORDERFLOW"),
        orderflow_strict: values.flag("ORDERFLOW_STRICT"),
        orderflow_window_sec: values.whole("ORDERFLOW_WINDOW_SEC"),
        ws_book_depth: values.whole("WS_BOOK_DEPTH"),
        max_spread_bps: values.number("MAX_SPREAD_BPS"),
        min_trades_per_min: values.number("MIN_TRADES_PER_MIN"),
        min_notional_per_min_usd: values.number("MIN_NOTIONAL_PER_MIN_USD"),
        min_depth_notional_usd: values.number("MIN_DEPTH_NOTIONAL_USD"),
        of_ready_min_trades: values.whole("OF_READY_MIN_TRADES"),
        of_ready_max_age_sec: values.whole("OF_READY_MAX_AGE_SEC"),
    }
}

pub(super) fn trade(values: &Values) -> Trade {
    let margin = [("cross", MarginMode::Cross), ("isolated", MarginMode::Isolated)];
    let position = [
        ("net", PositionMode::Net),
        ("long_short", PositionMode::LongShort),
    ];
    let action = [
        ("close", MinMarginAction::Close),
        ("topup", MinMarginAction::Topup),
        ("alert", MinMarginAction::Alert),
    ];
    Trade {
        enable_autotrade: values.flag("ENABLE_AUTOTRADE"),
        paper_trading: values.flag("PAPER_TRADING"),
        live_trading: values.flag("LIVE_TRADING"),
        trade_notional_usd: values.number("TRADE_NOTIONAL_USD"),
        trade_min_score: values.number("TRADE_MIN_SCORE"),
        trade_min_prob: values.number("TRADE_MIN_PROB"),
        ev_min_r: values.number("EV_MIN_R"),
        cost_r_max: values.number("COST_R_MAX"),
        trade_max_positions: values.whole("TRADE_MAX_POSITIONS"),
        trade_max_exposure_usd: values.number("TRADE_MAX_EXPOSURE_USD"),
        trade_cooldown_sec: values.number("TRADE_COOLDOWN_SEC"),
        single_position_per_symbol: values.flag("SINGLE_POSITION_PER_SYMBOL"),
        max_entries_per_hour: values.whole("MAX_ENTRIES_PER_HOUR"),
        daily_loss_limit_usd: values.number("DAILY_LOSS_LIMIT_USD"),
        max_consec_losses: values.whole("MAX_CONSEC_LOSSES"),
        trading_margin_mode: values.choice("TRADING_MARGIN_MODE", &margin),
        trading_position_mode: values.choice("TRADING_POSITION_MODE", &position),
        trading_leverage: values.whole("TRADING_LEVERAGE"),
        order_slippage_bps: values.number("ORDER_SLIPPAGE_BPS"),
        check_balance_before_order: values.flag("CHECK_BALANCE_BEFORE_ORDER"),
        margin_safety_bps: values.number("MARGIN_SAFETY_BPS"),
        min_initial_margin_usd: values.number("MIN_INITIAL_MARGIN_USD"),
        upsize_to_min_margin: values.flag("UPSIZE_TO_MIN_MARGIN"),
        upsize_max_mult: values.number("UPSIZE_MAX_MULT"),
        risk_per_trade_usd: values.number("RISK_PER_TRADE_USD"),
        enforce_min_margin: values.flag("ENFORCE_MIN_MARGIN"),
        enforce_min_margin_action: values.choice("ENFORCE_MIN_MARGIN_ACTION", &action),
        enable_private_ws: values.flag("ENABLE_PRIVATE_WS"),
    }
}

pub(super) fn bracket(values: &Values) -> Bracket {
    let mode = [
        ("bps", TpslMode::Bps),
        ("atr", TpslMode::Atr),
        ("level_atr", TpslMode::LevelAtr),
    ];
    let trigger = [
        ("last", TriggerType::Last),
        ("mark", TriggerType::Mark),
        ("index", TriggerType::Index),
    ];
    Bracket {
        enable_tpsl: values.flag("ENABLE_TPSL"),
        enable_smart_tpsl: values.flag("ENABLE_SMART_TPSL"),
        tpsl_mode: values.choice("TPSL_MODE", &mode),
        tp_bps: values.number("TP_BPS"),
        sl_bps: values.number("SL_BPS"),
        atr_sl_mult: values.number("ATR_SL_MULT"),
        atr_tp1_mult: values.number("ATR_TP1_MULT"),
        cost_sl_mult: values.number("COST_SL_MULT"),
        level_buffer_bps: values.number("LEVEL_BUFFER_BPS"),
        trigger_eps_bps: values.number("TRIGGER_EPS_BPS"),
        tp_breach: values.choice(
            "TP_BREACH",
            &[("move", TpBreach::Move), ("close", TpBreach::Close)],
        ),
        tpsl_retry_on_fail: values.flag("TPSL_RETRY_ON_FAIL"),
        tpsl_retry_mult: values.number("TPSL_RETRY_MULT"),
        tpsl_retry_trigger_type: values.choice("TPSL_RETRY_TRIGGER_TYPE", &trigger),
        enable_trailing: values.flag("ENABLE_TRAILING"),
        trail_mode: values.choice("TRAIL_MODE", &[("atr", TrailMode::Atr), ("bps", TrailMode::Bps)]),
        trail_atr_mult: values.number("TRAIL_ATR_MULT"),
        trail_bps: values.number("TRAIL_BPS"),
        trail_min_step_bps: values.number("TRAIL_MIN_STEP_BPS"),
        trail_min_interval_ms: values.whole("TRAIL_MIN_INTERVAL_MS"),
        break_even_after_r: values.number("BREAK_EVEN_AFTER_R"),
        break_even_buffer_bps: values.number("BREAK_EVEN_BUFFER_BPS"),
        be_cover_fees: values.flag("BE_COVER_FEES"),
    }
}

pub(super) fn gateway(values: &Values, has_webhook_secret: bool) -> Gateway {
    let port = values.whole("WEBHOOK_PORT");
    Gateway {
        enable_gateway: match values.text("ENABLE_GATEWAY") {
            "auto" => has_webhook_secret,
            word => word == "1",
        },
        webhook_host: values
            .text("WEBHOOK_HOST")
            .parse()
            .expect("WEBHOOK_HOST was checked when it was read"),
        webhook_port: u16::try_from(port).expect("WEBHOOK_PORT is at most 65535"),
        webhook_max_age_sec: values.whole("WEBHOOK_MAX_AGE_SEC"),
        webhook_rate: values.number("WEBHOOK_RATE"),
        webhook_burst: values.whole("WEBHOOK_BURST"),
        webhook_connections: values.whole("WEBHOOK_CONNECTIONS"),
        webhook_allow: values.list("WEBHOOK_ALLOW"),
        webhook_proxies: values.list("WEBHOOK_PROXIES"),
    }
}

pub(super) fn record(values: &Values) -> Record {
    Record {
        metrics_enabled: values.flag("METRICS_ENABLED"),
        metrics_path: PathBuf::from(values.text("METRICS_PATH")),
        capture: values.flag("CAPTURE"),
        capture_dir: PathBuf::from(values.text("CAPTURE_DIR")),
        capture_max_mb: values.whole("CAPTURE_MAX_MB"),
    }
}
