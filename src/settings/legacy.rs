//! Keys that users of the Python scanner have in their files and that have no meaning here.
//!
//! They are accepted with one warning line each, so that an old `.env` still starts. A key that
//! was a brake (KILL_SWITCH) is the exception: silently ignoring a pulled brake would trade.

/// A key without a meaning here, and what to use instead.
pub struct LegacyKey {
    /// The name in old files.
    pub name: &'static str,
    /// What the user should know or do, in lower case without a full stop.
    pub advice: &'static str,
    /// True when any value but 0 or empty must be refused rather than ignored.
    pub is_brake: bool,
}

const fn ignored(name: &'static str, advice: &'static str) -> LegacyKey {
    LegacyKey {
        name,
        advice,
        is_brake: false,
    }
}

const fn brake(name: &'static str, advice: &'static str) -> LegacyKey {
    LegacyKey {
        name,
        advice,
        is_brake: true,
    }
}

const PACED: &str = "requests are paced by the venue's own limits";
const ONE_TARGET: &str = "a position has one target, ATR_TP1_MULT or TP_BPS";
const FIXED_SIZE: &str =
    "size and leverage are fixed: TRADE_NOTIONAL_USD, RISK_PER_TRADE_USD, TRADING_LEVERAGE";
const STOP_BY_HAND: &str = "it would not stop this program; set ENABLE_AUTOTRADE=0";

/// Every such key.
#[rustfmt::skip]
pub const LEGACY: &[LegacyKey] = &[
    ignored("ENV_FILE", "use --env-file"),
    ignored("LOCAL_ARTIFACTS_DIR", "set the paths one by one, and STATE_DIR"),
    ignored("CANDLES_LIMIT", "as many candles are read as WARMUP_BARS needs"),
    ignored("WS_BACKFIL_BARS", "as many candles are read as WARMUP_BARS needs"),
    ignored("INCLUDE_SYMBOLS", "use BLUECHIP_ONLY and BLUECHIP_BASES"),
    ignored("EXCLUDE_SYMBOLS", "use EXCLUDE_PATTERNS"),
    ignored("FALLBACK_UNIVERSE", "the last good universe of UNIVERSE_CACHE_PATH is used"),
    ignored("UNIVERSE_TTL_SEC", "the universe follows the tickers"),
    ignored("TICKERS_TTL_SEC", "the universe follows the tickers"),
    ignored("MAX_LAST_PRICE", "there is no upper price limit"),
    ignored("MIN_QVOL_TRADE_USDT", "use SIGNAL_MIN_QVOL_USDT"),
    ignored("REST_CONCURRENCY", PACED),
    ignored("HTTP_MAX_RETRIES", PACED),
    ignored("HTTP_BASE_BACKOFF", PACED),
    ignored("HTTP_MAX_BACKOFF", PACED),
    ignored("BLOFIN_MIN_REQ_INTERVAL_MS", PACED),
    ignored("BLOFIN_429_COOLDOWN_SEC", PACED),
    ignored("TF_SLEEP_SEC", "every timeframe is scored when its candle closes"),
    ignored("LOOP_SLEEP_SEC", "every timeframe is scored when its candle closes"),
    ignored("WS_MAX_SYMBOLS", "TOP_SYMBOLS holds for the websocket too"),
    ignored("WS_TICKERS_INSTTYPE", "use SWAP_ONLY"),
    ignored("WS_UNIVERSE_READY_WAIT_SEC", "readiness is per series"),
    ignored("WS_PING_INTERVAL_SEC", "the venue's own interval is used"),
    ignored("REQUIRE_CONFIRMATION", "only confirmed candles signal"),
    ignored("REGIME_WINDOW", "use the REGIME_ keys"),
    ignored("BANDIT_TAU", "use BANDIT_HALF_LIFE_H"),
    ignored("PRINT_JSON_LINES", "read METRICS_PATH"),
    ignored("PRINT_OF_DEBUG", "use PRINT_DIAGNOSTICS"),
    ignored("PRETTY", "the text log is plain"),
    ignored("LOG_TRADE_SKIPS", "every refusal is counted by reason"),
    ignored("ACCOUNT_SANITY", "use doctor"),
    ignored("ACCOUNT_SANITY_TIMEOUT_SEC", "use doctor"),
    ignored("CONTRACT_SIZE_AWARE", "sizes are always in contracts"),
    ignored("PRICE_ROUND_DP", "prices are rounded to the instrument's tick"),
    ignored("SET_LEVERAGE_ON_ENTRY", "leverage is always set before an entry"),
    ignored("TP2_BPS", ONE_TARGET),
    ignored("ATR_TP2_MULT", ONE_TARGET),
    ignored("SCALE_OUT_PCT1", ONE_TARGET),
    ignored("SCALE_OUT_PCT2", ONE_TARGET),
    ignored("MOVE_SL_BE_ON_TP1", ONE_TARGET),
    ignored("RESERVE_MIN_FOR_TP2", ONE_TARGET),
    ignored("ATR_TPSL_MIN_PCT", "the stop is clamped by SL_BPS and COST_SL_MULT"),
    ignored("ATR_TPSL_MAX_PCT", "the stop is clamped by SL_BPS and COST_SL_MULT"),
    ignored("USE_SIGNAL_LEVEL", "use TPSL_MODE=level_atr"),
    ignored("REGIME_SCALE_RISK", "use REGIME_AWARE and REGIME_TPSL_SHRINK_IN_PANIC"),
    ignored("ENABLE_SMART_RISK", FIXED_SIZE),
    ignored("LEV_MIN", FIXED_SIZE),
    ignored("LEV_MAX", FIXED_SIZE),
    ignored("LEV_BASE", FIXED_SIZE),
    ignored("LEV_K_CONF", FIXED_SIZE),
    ignored("LEV_K_VOL", FIXED_SIZE),
    ignored("ATR_REF_PCT", FIXED_SIZE),
    ignored("CROSS_IF_ATR_GT", FIXED_SIZE),
    ignored("ISOLATED_IF_CONF_GT", FIXED_SIZE),
    ignored("ENABLE_DYNAMIC_NOTIONAL", FIXED_SIZE),
    ignored("DYN_NOTIONAL_MIN_MULT", FIXED_SIZE),
    ignored("DYN_NOTIONAL_MAX_MULT", FIXED_SIZE),
    ignored("BOT_TIMEFRAME", "there is no separate bot"),
    ignored("BOT_EMA_FAST", "there is no separate bot"),
    ignored("BOT_EMA_SLOW", "there is no separate bot"),
    ignored("BOT_SCORE", "there is no separate bot"),
    ignored("BOT_PROB", "there is no separate bot"),
    brake("KILL_SWITCH", STOP_BY_HAND),
    brake("AUTO_PANIC_ON_FILE", STOP_BY_HAND),
    ignored("EMERGENCY_FILE", STOP_BY_HAND),
    ignored("PANIC_CANCEL_OPEN", "there is no panic file"),
    ignored("PANIC_CLOSE_POSITIONS", "there is no panic file"),
    ignored("PANIC_REDUCE_ONLY", "there is no panic file"),
];

/// The legacy key of that exact name.
pub fn find(name: &str) -> Option<&'static LegacyKey> {
    LEGACY.iter().find(|key| key.name == name)
}
