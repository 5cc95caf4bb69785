//! The one table of settings: every key with its section, kind, range, default, unit and meaning.
//!
//! Parsing, range checks, nearest-name suggestions, the report of changed keys and the test of
//! `config/default.toml` all come from this table, so a key is added in three places only: a row
//! here, a field in `sections`, an entry in `config/default.toml`. It reads nothing itself.

use std::fmt;

use crate::model::Timeframe;

/// A section of the settings files: `[scan]` in TOML, `settings.scan` in the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// One daemon: its name, its files, its threads.
    Daemon,
    /// The outside trading place and the account there.
    Venue,
    /// Which instruments are watched, and where their candles come from.
    Scan,
    /// From features to a signal.
    Score,
    /// Order books and the public tape.
    OrderFlow,
    /// From a signal to an order: size, limits, live or paper.
    Trade,
    /// Take profit and stop loss of an open position.
    Bracket,
    /// The HTTP listener for external alerts.
    Gateway,
    /// What is written to disk for people and for replay.
    Record,
}

impl Section {
    /// Every section, in the order of `config/default.toml`.
    pub const ALL: [Section; 9] = [
        Section::Daemon,
        Section::Venue,
        Section::Scan,
        Section::Score,
        Section::OrderFlow,
        Section::Trade,
        Section::Bracket,
        Section::Gateway,
        Section::Record,
    ];

    /// The section's name in TOML, such as `order_flow`.
    pub const fn name(self) -> &'static str {
        match self {
            Section::Daemon => "daemon",
            Section::Venue => "venue",
            Section::Scan => "scan",
            Section::Score => "score",
            Section::OrderFlow => "order_flow",
            Section::Trade => "trade",
            Section::Bracket => "bracket",
            Section::Gateway => "gateway",
            Section::Record => "record",
        }
    }
}

/// What a value may be. Bounds are inclusive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// 0 or 1.
    Flag,
    /// A whole number from the first to the second bound.
    Whole(u32, u32),
    /// A finite number from the first to the second bound.
    Number(f64, f64),
    /// As `Number`, or the word `off`.
    NumberOrOff(f64, f64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Words between commas; `0` is the empty list.
    List,
    /// As `List`; each a glob over symbols, such as `BTCDOM-*`.
    Globs,
    /// As `List`; each one of [`Timeframe::ALL`], none twice, at least one.
    Timeframes,
    /// Letters, digits, `-` and `_`, 1 to 32 of them.
    Name,
    /// A path; empty means the place given in the meaning of the key.
    Path,
    /// A root such as `https://host:port`, `http` or `https`.
    HttpUrl,
    /// A websocket address, `ws` or `wss`; empty means derived from the REST root.
    SocketUrl,
    /// An address to listen on, such as `127.0.0.1`, or `localhost`.
    Host,
    /// `auto`, `fused`, `staged` or groups of stages.
    Layout,
    /// Core numbers and ranges, such as `0,2-3`; empty means all allowed.
    Cores,
    /// A credential: never printed, never on a command line.
    Secret,
}

impl Kind {
    /// The allowed values in words, as error texts and `config/default.toml` give them.
    pub fn range(&self) -> String {
        match self {
            Kind::Flag => "0 or 1".to_owned(),
            Kind::Whole(min, max) => format!("{min} to {max}, whole"),
            Kind::Number(min, max) => format!("{min} to {max}"),
            Kind::NumberOrOff(min, max) => format!("{min} to {max}, or off"),
            Kind::Choice(words) => words.join(" | "),
            Kind::List => "words between commas, or 0 for none".to_owned(),
            Kind::Globs => "glob patterns between commas, or 0 for none".to_owned(),
            Kind::Timeframes => format!("some of {}", Timeframe::ALL.map(Timeframe::text).join(",")),
            Kind::Name => "1 to 32 letters, digits, - or _".to_owned(),
            Kind::Path => "a path".to_owned(),
            Kind::HttpUrl => "http://host[:port] or https://host[:port]".to_owned(),
            Kind::SocketUrl => "ws://host[:port]/path or wss://host[:port]/path".to_owned(),
            Kind::Host => "an ip address, or localhost".to_owned(),
            Kind::Layout => {
                "auto | fused | staged | groups such as decode,indicate+score+gate,send".to_owned()
            }
            Kind::Cores => "core numbers such as 0,2-3".to_owned(),
            Kind::Secret => "text, from the environment or .env".to_owned(),
        }
    }
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The name in the environment and in `.env`, such as `TOP_SYMBOLS`.
    pub name: &'static str,
    /// Where it stands in TOML.
    pub section: Section,
    /// What it may be.
    pub kind: Kind,
    /// The value when nothing sets it, as text of the same form as in `.env`.
    pub default: &'static str,
    /// The unit in words; empty for flags, words and paths.
    pub unit: &'static str,
    /// What it does and why one would change it.
    pub doc: &'static str,
}

impl Key {
    /// The key's name in TOML, in lower case.
    pub fn toml_name(&self) -> String {
        self.name.to_ascii_lowercase()
    }

    /// True for credentials, whose values are never shown.
    pub fn is_secret(&self) -> bool {
        self.kind == Kind::Secret
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Older names of credentials that users of the Python scanner have in their files.
pub const ALIASES: [(&str, &str); 2] = [
    ("SECRET_KEY", "BLOFIN_API_SECRET"),
    ("PASSPHRASE", "BLOFIN_API_PASSPHRASE"),
];

const fn key(
    name: &'static str,
    section: Section,
    kind: Kind,
    default: &'static str,
    unit: &'static str,
    doc: &'static str,
) -> Key {
    Key {
        name,
        section,
        kind,
        default,
        unit,
        doc,
    }
}

use Kind::Cores;
use Kind::Flag;
use Kind::Globs;
use Kind::Host;
use Kind::HttpUrl;
use Kind::List;
use Kind::Name;
use Kind::Number;
use Kind::NumberOrOff;
use Kind::Secret;
use Kind::SocketUrl;
use Kind::Timeframes;
use Kind::Whole;
use Section::Bracket;
use Section::Daemon;
use Section::Gateway;
use Section::OrderFlow;
use Section::Record;
use Section::Scan;
use Section::Score;
use Section::Trade;
use Section::Venue;

const BLUECHIPS: &str =
    "BTC,ETH,SOL,BNB,XRP,DOGE,ADA,LINK,DOT,LTC,TRX,AVAX,BCH,XMR,ATOM,FIL,AAVE,UNI,ETC,NEAR";

/// Every setting, section by section. A row a key: formatting would make six lines of each.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("INSTANCE", Daemon, Name, "default", "", "name of this daemon; two on one machine need two names"),
    key("BUS_PATH", Daemon, Kind::Path, "", "", "the mapped file with rings and histograms; empty: /dev/shm/smart-scanner/<INSTANCE>.bus, memory rather than disk"),
    key("STATE_DIR", Daemon, Kind::Path, "state", "", "snapshots and candle rings; keep it on a disk that survives a restart"),
    key("LAYOUT", Daemon, Kind::Layout, "auto", "", "which stages share a thread; auto picks by the cores allowed, five spinning threads on two cores are 20,000 times slower than one"),
    key("CORES", Daemon, Cores, "", "", "cores to pin the decision threads to, of those that this process may use; empty: not pinned"),
    key("IDLE", Daemon, Kind::Choice(&["auto", "spin", "yield", "park"]), "auto", "", "what a thread without work does; spin only on cores that nothing else uses"),

    key("BLOFIN_BASE_URL", Venue, HttpUrl, "https://openapi.blofin.com", "", "REST root; the websocket roots follow from it unless set; demo accounts: https://demo-trading-openapi.blofin.com"),
    key("BLOFIN_API_KEY", Venue, Secret, "", "", "credential; READ and TRADE rights only, bound to this machine's address"),
    key("BLOFIN_API_SECRET", Venue, Secret, "", "", "credential; SECRET_KEY is accepted as an older name"),
    key("BLOFIN_API_PASSPHRASE", Venue, Secret, "", "", "credential; PASSPHRASE is accepted as an older name"),
    key("BLOFIN_WS_PUBLIC", Venue, SocketUrl, "", "", "market websocket; empty: BLOFIN_BASE_URL with ws or wss and /ws/public"),
    key("BLOFIN_WS_PRIVATE", Venue, SocketUrl, "", "", "account websocket; empty: BLOFIN_BASE_URL with ws or wss and /ws/private"),
    key("BLOFIN_CA_FILE", Venue, Kind::Path, "", "", "PEM file with one more root certificate, for a proxy or the embedded exchange with TLS; empty: the public roots only"),
    key("TAKER_FEE_BPS", Venue, Number(0.0, 100.0), "6", "bps of notional", "fee of an order that takes; the venue's first tier, read your own account's rate"),
    key("MAKER_FEE_BPS", Venue, Number(-10.0, 100.0), "2", "bps of notional", "fee of an order that rests, as the paper venue, replay and demo charge it; below zero is a rebate"),

    key("SCAN_TIMEFRAMES", Scan, Timeframes, "1m,3m,5m,15m", "", "timeframes scanned; on quiet 1m candles the fee can exceed the stop"),
    key("TOP_SYMBOLS", Scan, Whole(1, 1000), "80", "instruments", "universe size, by 24 h quote volume"),
    key("CANDLES_CONCURRENCY", Scan, Whole(1, 64), "6", "requests", "REST candle reads at once; the venue allows 500 a minute in all"),
    key("CANDLES_CHUNK", Scan, Whole(1, 1000), "24", "requests", "REST candle reads in a chunk, before the pause"),
    key("CANDLES_INTER_CHUNK_SLEEP", Scan, Number(0.0, 60.0), "0.6", "s", "pause between chunks; shorter warms up sooner and meets the rate limit sooner"),
    key("USE_WS_CANDLES", Scan, Flag, "1", "", "candles from the websocket; 0: REST polling"),
    key("CANDLES_BUILD_FROM_1M", Scan, Flag, "1", "", "subscribe 1m only and build the other timeframes from it: fewer frames, one truth"),
    key("WS_ARGS_PER_CONNECTION", Scan, Whole(1, 400), "100", "subscriptions", "subscriptions on one websocket; stays under 480 requests an hour with room for reconnects"),
    key("MAX_SYNTH_GAP", Scan, Whole(0, 100), "3", "candles", "missing candles filled flat when the venue has none either; more than this and the series warms up again"),
    key("UNIVERSE_FROM_WS", Scan, Flag, "1", "", "universe from websocket tickers; 0: REST tickers"),
    key("UNIVERSE_CACHE_PATH", Scan, Kind::Path, ".universe_cache.json", "", "last good universe, used when the venue does not answer"),
    key("SWAP_ONLY", Scan, Flag, "1", "", "perpetual swaps only"),
    key("EXCLUDE_PATTERNS", Scan, Globs, "BTCDOM-*,XAUT-*", "", "symbols left out: indices and metals do not move like coins"),
    key("BLUECHIP_ONLY", Scan, Flag, "0", "", "keep only the bases of BLUECHIP_BASES"),
    key("BLUECHIP_BASES", Scan, List, BLUECHIPS, "", "base currencies kept when BLUECHIP_ONLY=1"),
    key("MIN_QUOTE_VOL_USDT", Scan, Number(0.0, 1e12), "200000", "USDT in 24 h", "universe floor by volume; 0 turns it off"),
    key("MIN_LAST_PRICE", Scan, Number(0.0, 1e9), "0.01", "USDT", "universe floor by last price; 0 turns it off"),
    key("SIGNAL_MIN_QVOL_USDT", Scan, Number(0.0, 1e12), "0", "USDT in 24 h", "volume floor again at signal time; 0 turns it off"),
    key("PRINT_LIQUIDITY_DEBUG", Scan, Flag, "0", "", "say which instruments were dropped and why"),
    key("PRINT_DIAGNOSTICS", Scan, Flag, "0", "", "say how many passed each gate in each scan"),

    key("SCORE_MIN", Score, Number(0.0, 100.0), "3.0", "points", "emit a signal at this score and above; 3 is about one candle in 38, 6 about one in 50,000"),
    key("SCORE_MAX", Score, Number(0.1, 100.0), "7", "points", "scores are clipped here"),
    key("REQUIRE_MULTI_COMPONENTS", Score, Flag, "1", "", "ask for MIN_COMPONENTS strategies on the same side"),
    key("MIN_COMPONENTS", Score, Whole(1, 13), "2", "strategies", "how many strategies must agree when REQUIRE_MULTI_COMPONENTS=1"),
    key("MAX_CANDIDATES_PER_TF", Score, Whole(1, 1000), "8", "signals", "best signals kept of one timeframe"),
    key("MAX_CANDIDATES_PER_LOOP", Score, Whole(1, 1000), "24", "signals", "best signals kept of one scan"),
    key("SCAN_SETTLE_MS", Score, Whole(0, 5000), "250", "ms", "a candidate waits while rows of its close that are still missing could rank above it, until none has come for this long (5 s in all at most); 0: none waits, and the caps keep the first to arrive"),
    key("WARMUP_BARS", Score, Whole(56, 1440), "240", "closed candles", "before a series may signal; the regime's 200-candle median of ATR needs it, 56 is the least that the slow EMA needs"),
    key("SIGNAL_COOLDOWN_SEC", Score, Number(0.0, 86_400.0), "90", "s", "silence after an emitted signal, for each instrument and timeframe"),
    key("DEDUPE_TTL_SEC", Score, Number(0.0, 604_800.0), "600", "s", "the same signal again (instrument, timeframe, side, strategies) within this time is dropped"),
    key("EMA_SLOPE_LEN", Score, Whole(2, 200), "21", "candles", "length of the EMA whose slope is a feature"),
    key("EMA_SLOPE_LOOKBACK", Score, Whole(1, 31), "8", "candles", "slope over this many candles, in ATR a candle"),
    key("REGIME_AWARE", Score, Flag, "1", "", "the regime changes score, TP and SL"),
    key("REGIME_ADX_LEN", Score, Whole(2, 100), "14", "candles", "length of ADX in the regime"),
    key("REGIME_ATR_LEN", Score, Whole(2, 100), "14", "candles", "length of ATR in the regime"),
    key("REGIME_PANIC_ATR_MULT", Score, Number(1.0, 100.0), "3.5", "times", "ATR over its 200-candle median that means panic"),
    key("REGIME_CHOP_ADX_MAX", Score, Number(0.0, 100.0), "18", "ADX points", "below it the market is chop; with REGIME_TREND_ADX_MIN a hysteresis band"),
    key("REGIME_TREND_ADX_MIN", Score, Number(0.0, 100.0), "20", "ADX points", "from it a trend may begin; driftless noise is above 20 two thirds of the time, so slope and DI must agree"),
    key("REGIME_SLOPE_MIN", Score, Number(0.0, 10.0), "0.08", "ATR a candle", "EMA slope that a trend needs; noise stays below it half the time"),
    key("REGIME_CONFIRM_BARS", Score, Whole(1, 20), "2", "candles", "candles that must agree before the regime changes, panic excepted"),
    key("REGIME_SCORE_BOOST_TREND", Score, Number(0.0, 10.0), "0.35", "points", "added when the signal goes with the trend"),
    key("REGIME_SCORE_PENALTY_CHOP", Score, Number(0.0, 10.0), "0.25", "points", "taken from trend, breakout and momentum signals in chop"),
    key("REGIME_PANIC_MIN_SCORE_ADD", Score, Number(0.0, 10.0), "0.5", "points", "added to SCORE_MIN while the whole market is in panic"),
    key("REGIME_TPSL_SHRINK_IN_PANIC", Score, Number(0.1, 1.0), "0.6", "factor", "on TP and SL distance in panic, where ATR has already grown 3.5 times"),
    key("BANDIT_STATE_PATH", Score, Kind::Path, "bandit_state.json", "", "weights, loaded at start, saved every 5 minutes and at the end"),
    key("BANDIT_HALF_LIFE_H", Score, Number(1.0, 10_000.0), "168", "h", "age at which an outcome counts half; a week of wall clock, so that it does not depend on the universe"),
    key("BANDIT_MIN_ER", Score, NumberOrOff(-1.5, 3.0), "off", "R", "refuse signals whose strategies have earned less than this on average"),
    key("BANDIT_EXPLORE", Score, Kind::Choice(&["mean", "thompson"]), "mean", "", "weights from the mean, or drawn from the posterior (paper only; costs about 0.02 R a trade)"),
    key("SHADOW_SCORE_MIN", Score, Number(0.0, 100.0), "1.5", "points", "virtual trades that teach the weights are kept from this score of a side"),
    key("LABEL_HORIZON_BARS", Score, Whole(1, 250), "20", "candles", "a virtual trade ends here when neither TP nor SL was touched"),
    key("EXPECTED_SLIPPAGE_BPS", Score, Number(0.0, 100.0), "2", "bps of notional", "slippage of one side that costs and virtual trades reckon with where no spread is known; where one is, half of it"),
    key("CALIBRATION_PATH", Score, Kind::Path, "calibration.json", "", "{\"bias\":…,\"coef\":{…}}; overrides the heuristic probability when the file is there"),

    key("USE_WS_ORDERFLOW", OrderFlow, Flag, "0", "", "books and trades subscribed; several times the traffic"),
    key("ORDERFLOW_STRICT", OrderFlow, Flag, "1", "", "absent or stale order flow blocks a signal; 0: it is left out of the score"),
    key("ORDERFLOW_WINDOW_SEC", OrderFlow, Whole(1, 3600), "60", "s", "window of trade counts and notional"),
    key("WS_BOOK_DEPTH", OrderFlow, Whole(1, 200), "10", "levels", "book levels summed on each side; 5 and fewer use the lighter books5 channel"),
    key("MAX_SPREAD_BPS", OrderFlow, Number(0.0, 1000.0), "8.0", "bps of the middle", "block above this spread; 0 turns it off"),
    key("MIN_TRADES_PER_MIN", OrderFlow, Number(0.0, 1e6), "2.0", "trades a minute", "block below; 0 turns it off"),
    key("MIN_NOTIONAL_PER_MIN_USD", OrderFlow, Number(0.0, 1e12), "5000", "USD a minute", "block below; 0 turns it off"),
    key("MIN_DEPTH_NOTIONAL_USD", OrderFlow, Number(0.0, 1e12), "10000", "USD", "block when the thinner side of the book is below; 0 turns it off"),
    key("OF_READY_MIN_TRADES", OrderFlow, Whole(0, 1_000_000), "1", "trades", "in the window before order flow counts as ready"),
    key("OF_READY_MAX_AGE_SEC", OrderFlow, Whole(1, 3600), "180", "s", "age of book and last trade above which order flow is stale"),

    key("ENABLE_AUTOTRADE", Trade, Flag, "0", "", "route signals to the trader"),
    key("PAPER_TRADING", Trade, Flag, "1", "", "simulated fills; 0: real orders, which also needs LIVE_TRADING=1 or --live and all three credentials"),
    key("LIVE_TRADING", Trade, Flag, "0", "", "second opt-in for real orders, so that one flipped flag never trades"),
    key("TRADE_NOTIONAL_USD", Trade, Number(1.0, 1e7), "50", "USD", "size of one trade"),
    key("TRADE_MIN_SCORE", Trade, Number(0.0, 100.0), "3.6", "points", "trade at this score and above"),
    key("TRADE_MIN_PROB", Trade, Number(0.0, 1.0), "0.62", "probability", "trade at this probability of a net gain and above; break-even at 80/50 bps with fees is 0.48"),
    key("EV_MIN_R", Trade, Number(-10.0, 10.0), "0", "R", "trade at this expected value and above, costs included"),
    key("COST_R_MAX", Trade, Number(0.01, 1000.0), "0.35", "R", "refuse a trade whose fees and slippage exceed this part of its risk"),
    key("TRADE_MAX_POSITIONS", Trade, Whole(1, 48), "6", "positions", "open and in flight together; positions of your own need room beside them"),
    key("TRADE_MAX_EXPOSURE_USD", Trade, Number(1.0, 1e9), "500", "USD", "notional open and in flight together"),
    key("TRADE_COOLDOWN_SEC", Trade, Number(0.0, 86_400.0), "120", "s", "for each instrument, since the last entry or exit"),
    key("SINGLE_POSITION_PER_SYMBOL", Trade, Flag, "1", "", "one position an instrument; 0 allows one a side, which needs TRADING_POSITION_MODE=long_short"),
    key("MAX_ENTRIES_PER_HOUR", Trade, Whole(0, 256), "20", "entries an hour", "pauses entries, not protection, when a fault makes signals rain; 0 turns it off"),
    key("DAILY_LOSS_LIMIT_USD", Trade, Number(0.0, 1e9), "0", "USD a UTC day", "realised loss with fees, without funding and open losses, that pauses entries, not protection; 0 turns it off"),
    key("MAX_CONSEC_LOSSES", Trade, Whole(0, 1000), "0", "losses in a row", "within a UTC day; pauses entries, not protection, until the next day; 0 turns it off"),
    key("TRADING_MARGIN_MODE", Trade, Kind::Choice(&["cross", "isolated"]), "cross", "", "isolated limits a loss to the margin of one position"),
    key("TRADING_POSITION_MODE", Trade, Kind::Choice(&["net", "long_short"]), "net", "", "one position an instrument, or one a side; must equal the account's own mode"),
    key("TRADING_LEVERAGE", Trade, Whole(1, 125), "3", "times", "leverage set before an entry; capped by the instrument's own maximum"),
    key("ORDER_SLIPPAGE_BPS", Trade, Number(0.0, 500.0), "8.0", "bps", "worst price accepted, from the quote at decision time"),
    key("CHECK_BALANCE_BEFORE_ORDER", Trade, Flag, "1", "", "refuse or shrink an entry that the free balance does not carry"),
    key("MARGIN_SAFETY_BPS", Trade, Number(0.0, 10_000.0), "200", "bps of margin", "head-room asked of the free balance above the margin of an order"),
    key("MIN_INITIAL_MARGIN_USD", Trade, Number(0.0, 1e6), "10", "USD", "smallest margin of an order; 0 turns it off"),
    key("UPSIZE_TO_MIN_MARGIN", Trade, Flag, "1", "", "raise the size to reach the smallest margin or size; 0: skip the trade"),
    key("UPSIZE_MAX_MULT", Trade, Number(1.0, 10.0), "1.5", "times TRADE_NOTIONAL_USD", "largest size that raising may reach"),
    key("RISK_PER_TRADE_USD", Trade, Number(0.0, 1e6), "0", "USD", "shrink the size so that the stop loses at most this; 0 turns it off"),
    key("ENFORCE_MIN_MARGIN", Trade, Flag, "0", "", "watch open positions for a margin below MIN_INITIAL_MARGIN_USD"),
    key("ENFORCE_MIN_MARGIN_ACTION", Trade, Kind::Choice(&["close", "topup", "alert"]), "close", "", "what to do with such a position"),
    key("ENABLE_PRIVATE_WS", Trade, Flag, "1", "", "private websocket; 0: REST polling of orders and positions"),

    key("ENABLE_TPSL", Bracket, Flag, "1", "", "protect every position with a stop and a target"),
    key("ENABLE_SMART_TPSL", Bracket, Flag, "1", "", "honour TPSL_MODE, clamp the stop, shrink in panic; 0: plain bps whatever TPSL_MODE says"),
    key("TPSL_MODE", Bracket, Kind::Choice(&["bps", "atr", "level_atr"]), "atr", "", "distance from fixed bps, from ATR, or from ATR and the signal's level"),
    key("TP_BPS", Bracket, Number(1.0, 5000.0), "80", "bps of entry", "target distance in bps mode; must exceed two taker fees"),
    key("SL_BPS", Bracket, Number(1.0, 5000.0), "50", "bps of entry", "stop distance in bps mode; elsewhere the stop is clamped to 0.5 to 3 times this"),
    key("ATR_SL_MULT", Bracket, Number(0.1, 20.0), "1.2", "ATR", "stop distance in the atr modes"),
    key("ATR_TP1_MULT", Bracket, Number(0.1, 20.0), "1.6", "R", "target distance in the atr modes, in multiples of the stop distance"),
    key("COST_SL_MULT", Bracket, Number(0.0, 20.0), "3", "round-trip costs", "the stop is at least this many fees and slippages away; a closer one is eaten by them"),
    key("LEVEL_BUFFER_BPS", Bracket, Number(0.0, 500.0), "12", "bps", "the stop stands this far beyond the signal's level in level_atr mode"),
    key("TRIGGER_EPS_BPS", Bracket, Number(0.0, 500.0), "8", "bps of last", "a trigger on the wrong side of the last price is moved to this side of it; the venue wants strict inequality"),
    key("TP_BREACH", Bracket, Kind::Choice(&["move", "close"]), "move", "", "when the target is passed before it is placed: move it beyond the last price, or take the profit now"),
    key("TPSL_RETRY_ON_FAIL", Bracket, Flag, "1", "", "try again when the venue rejects a stop or target; a position that stays naked is closed"),
    key("TPSL_RETRY_MULT", Bracket, Number(1.0, 20.0), "3.0", "times TRIGGER_EPS_BPS", "tolerance of the second try"),
    key("TPSL_RETRY_TRIGGER_TYPE", Bracket, Kind::Choice(&["last", "mark", "index"]), "mark", "", "trigger price of one more try after other rejections"),
    key("ENABLE_TRAILING", Bracket, Flag, "1", "", "move the stop behind the price after break-even; it never loosens"),
    key("TRAIL_MODE", Bracket, Kind::Choice(&["atr", "bps"]), "atr", "", "trailing distance from ATR or fixed bps"),
    key("TRAIL_ATR_MULT", Bracket, Number(0.1, 20.0), "1.0", "ATR", "trailing distance in atr mode"),
    key("TRAIL_BPS", Bracket, Number(1.0, 5000.0), "35", "bps", "trailing distance in bps mode"),
    key("TRAIL_MIN_STEP_BPS", Bracket, Number(0.0, 500.0), "5", "bps of entry", "smallest move of the stop; each costs a request"),
    key("TRAIL_MIN_INTERVAL_MS", Bracket, Whole(0, 3_600_000), "1000", "ms", "shortest time between two moves of one stop"),
    key("BREAK_EVEN_AFTER_R", Bracket, Number(0.0, 20.0), "1.0", "R", "gain after which the stop moves to the entry price"),
    key("BREAK_EVEN_BUFFER_BPS", Bracket, Number(0.0, 500.0), "6", "bps of entry", "how far beyond the entry price"),
    key("BE_COVER_FEES", Bracket, Flag, "0", "", "use at least two taker fees as that buffer: 6 bps is less than the 12 bps of a round trip"),

    key("ENABLE_GATEWAY", Gateway, Kind::Choice(&["auto", "0", "1"]), "auto", "", "listen for alerts inside run; auto: when WEBHOOK_SECRET is set"),
    key("WEBHOOK_HOST", Gateway, Host, "127.0.0.1", "", "address to listen on; anything but loopback needs WEBHOOK_SECRET"),
    key("WEBHOOK_PORT", Gateway, Whole(1, 65_535), "8080", "", "port to listen on"),
    key("WEBHOOK_SECRET", Gateway, Secret, "", "", "token that an alert must carry in X-Webhook-Token; 32 random bytes"),
    key("WEBHOOK_SECRET_NEXT", Gateway, Secret, "", "", "second accepted token, while senders change over"),
    key("WEBHOOK_MAX_AGE_SEC", Gateway, Whole(1, 300), "10", "s", "how far an alert's time may be from our clock, either way"),
    key("WEBHOOK_RATE", Gateway, Number(0.1, 1e6), "20", "requests/s", "requests of one source in the long run; more are told 429"),
    key("WEBHOOK_BURST", Gateway, Whole(1, 1_000_000), "100", "requests", "requests of one source at once"),
    key("WEBHOOK_CONNECTIONS", Gateway, Whole(4, 1024), "64", "connections", "open at a time; one source may have three quarters of them"),
    key("WEBHOOK_ALLOW", Gateway, List, "0", "", "addresses that may send alerts, such as 203.0.113.7,203.0.113.8; 0 for all"),
    key("WEBHOOK_PROXIES", Gateway, List, "0", "", "addresses of your own proxies, whose X-Forwarded-For is believed; 0 for none"),

    key("METRICS_ENABLED", Record, Flag, "1", "", "write signals, fills and outcomes"),
    key("METRICS_PATH", Record, Kind::Path, "scanner_metrics.jsonl", "", "where; one JSON object a line"),
    key("CAPTURE", Record, Flag, "0", "", "record raw frames for replay and parity; gigabytes a day"),
    key("CAPTURE_DIR", Record, Kind::Path, "capture", "", "where; a directory a day, one in it for each run"),
    key("CAPTURE_MAX_MB", Record, Whole(16, 10_000_000), "20000", "MiB", "all captures together: the oldest runs make room for a new one, which ends at what is left"),
];

/// The key of that exact name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The key that users may write as `name`, and that name: its own, or an older one.
pub fn find_written(name: &str) -> Option<(&'static Key, &'static str)> {
    if let Some(key) = find(name) {
        return Some((key, key.name));
    }
    let (alias, canonical) = ALIASES.iter().find(|(alias, _)| *alias == name)?;
    Some((find(canonical)?, alias))
}

/// What to do about the unknown key `name`: the nearest known one, when it can have been meant.
pub fn advice(name: &str) -> String {
    // One letter in three wrong is no slip of the finger any more.
    let (nearest, distance) = nearest(name);
    if distance <= (name.len() / 3).max(2) {
        format!("the nearest known one is {nearest}")
    } else {
        "no known one is like it; remove it, or look it up in config/default.toml".to_owned()
    }
}

/// The known key nearest to `name` in spelling, and its distance in edits.
pub fn nearest(name: &str) -> (&'static str, usize) {
    let wanted = name.to_ascii_uppercase();
    KEYS.iter()
        .map(|key| key.name)
        .chain(ALIASES.iter().map(|(alias, _)| *alias))
        .map(|known| (known, strsim::damerau_levenshtein(known, &wanted)))
        .min_by_key(|(_, distance)| *distance)
        .expect("KEYS is not empty")
}
