//! Promise: every key of `[trade]` and `[bracket]` acts. Each has a case here that shows two values of
//! it doing two things; a key without a case fails the test.

mod scene;

use scene::*;
use smart_scanner::app::params;
use smart_scanner::model::message::*;
use smart_scanner::model::*;
use smart_scanner::orders::bracket::Capabilities;
use smart_scanner::orders::trade::{OWN_TRADES_MAX, TRADES_MAX};
use smart_scanner::settings::keys::{KEYS, Kind, Section};
use smart_scanner::settings::{LoadOptions, Settings};
use smart_scanner::stage::gate::core::{ENTRIES_MAX, GateParams};
use std::ffi::OsString;

/// What a gate with these settings does, in words.
type Act = fn(&Settings) -> String;

struct Case {
    key: &'static str,
    /// Other settings that the case needs.
    with: &'static [&'static str],
    act: Act,
    /// Values of the key, and what they do.
    does: &'static [(&'static str, &'static str)],
}

const ETH: InstrumentId = InstrumentId(1);
/// The entry that most cases change: 8 lots at most 8 bps above the ask, 50 and 80 bps of bracket.
const ENTRY: &str = "8 lots at 600481 sl 597001 tp 604801";
/// Round numbers, and one thing at a time.
const BASE: [(&str, &str); 5] = [
    ("ENABLE_AUTOTRADE", "1"),
    ("TRADE_COOLDOWN_SEC", "0"),
    ("TPSL_MODE", "bps"),
    ("ENABLE_TRAILING", "0"),
    ("TRAIL_MODE", "bps"),
];

const CASES: &[Case] = &[
    case(
        "ENABLE_AUTOTRADE",
        &[],
        entry,
        &[("1", ENTRY), ("0", "autotrade_off")],
    ),
    case(
        "PAPER_TRADING",
        &["LIVE_TRADING=1"],
        live,
        &[("1", "paper"), ("0", "live")],
    ),
    case(
        "LIVE_TRADING",
        &["PAPER_TRADING=0"],
        live,
        &[("0", "refused"), ("1", "live")],
    ),
    case(
        "TRADE_NOTIONAL_USD",
        &[],
        entry,
        &[("50", ENTRY), ("100", "16 lots at 600481 sl 597001 tp 604801")],
    ),
    case(
        "TRADE_MIN_SCORE",
        &[],
        entry,
        &[("5", ENTRY), ("5.1", "score_low")],
    ),
    case(
        "TRADE_MIN_PROB",
        &[],
        entry,
        &[("0.7", ENTRY), ("0.71", "probability_low")],
    ),
    case(
        "EV_MIN_R",
        &[],
        entry,
        &[("0.4", ENTRY), ("0.41", "expected_value_low")],
    ),
    case(
        "COST_R_MAX",
        &[],
        entry,
        &[("0.25", ENTRY), ("0.23", "cost_high")],
    ),
    case(
        "TRADE_MAX_POSITIONS",
        &[],
        second,
        &[("2", ENTRY), ("1", "positions_max")],
    ),
    case(
        "TRADE_MAX_EXPOSURE_USD",
        &[],
        second,
        &[("100", ENTRY), ("90", "exposure_max")],
    ),
    case(
        "TRADE_COOLDOWN_SEC",
        &[],
        after_stop,
        &[("0", ENTRY), ("120", "cooldown")],
    ),
    case(
        "SINGLE_POSITION_PER_SYMBOL",
        &["TRADING_POSITION_MODE=long_short"],
        other_side,
        &[
            ("1", "order_in_flight"),
            ("0", "8 lots at 599520 sl 603000 tp 595200"),
        ],
    ),
    case(
        "MAX_ENTRIES_PER_HOUR",
        &[],
        second,
        &[("2", ENTRY), ("0", ENTRY), ("1", "entries_per_hour")],
    ),
    case(
        "DAILY_LOSS_LIMIT_USD",
        &[],
        after_stop,
        &[("0", ENTRY), ("1", ENTRY), ("0.2", "daily_loss")],
    ),
    case(
        "MAX_CONSEC_LOSSES",
        &[],
        after_stop,
        &[("0", ENTRY), ("2", ENTRY), ("1", "consecutive_losses")],
    ),
    case(
        "TRADING_MARGIN_MODE",
        &[],
        modes,
        &[("cross", "cross net"), ("isolated", "isolated net")],
    ),
    case(
        "TRADING_POSITION_MODE",
        &[],
        modes,
        &[("net", "cross net"), ("long_short", "cross long")],
    ),
    case(
        "TRADING_LEVERAGE",
        &[],
        entry,
        &[("3", ENTRY), ("5", "leverage 5")],
    ),
    case(
        "ORDER_SLIPPAGE_BPS",
        &[],
        entry,
        &[("8", ENTRY), ("20", "8 lots at 601201 sl 597001 tp 604801")],
    ),
    case(
        "CHECK_BALANCE_BEFORE_ORDER",
        &[],
        poor,
        &[("1", "balance_low"), ("0", ENTRY)],
    ),
    case(
        "MARGIN_SAFETY_BPS",
        &[],
        nearly_poor,
        &[("0", ENTRY), ("5000", "5 lots at 600481 sl 597001 tp 604801")],
    ),
    case(
        "MIN_INITIAL_MARGIN_USD",
        &[],
        entry,
        &[("10", ENTRY), ("20", "10 lots at 600481 sl 597001 tp 604801")],
    ),
    case(
        "UPSIZE_TO_MIN_MARGIN",
        &["MIN_INITIAL_MARGIN_USD=20"],
        entry,
        &[
            ("1", "10 lots at 600481 sl 597001 tp 604801"),
            ("0", "min_margin"),
        ],
    ),
    case(
        "UPSIZE_MAX_MULT",
        &["MIN_INITIAL_MARGIN_USD=20"],
        entry,
        &[
            ("1.5", "10 lots at 600481 sl 597001 tp 604801"),
            ("1.1", "min_margin"),
        ],
    ),
    case(
        "RISK_PER_TRADE_USD",
        &["MIN_INITIAL_MARGIN_USD=0"],
        entry,
        &[("0", ENTRY), ("0.13", "4 lots at 600481 sl 597001 tp 604801")],
    ),
    case(
        "ENFORCE_MIN_MARGIN",
        &[],
        partly_filled,
        &[("0", "nothing"), ("1", "close 3")],
    ),
    case(
        "ENFORCE_MIN_MARGIN_ACTION",
        &["ENFORCE_MIN_MARGIN=1"],
        partly_filled,
        &[
            ("close", "close 3"),
            ("topup", "2 lots at 600481 sl 597001 tp 604801"),
            ("alert", "min_margin"),
        ],
    ),
    case(
        "ENABLE_PRIVATE_WS",
        &[],
        without_socket,
        &[
            ("1", "private_feed_down, account read at [5, 10, 15] s"),
            ("0", "entries on, account read at [5, 10, 15] s"),
        ],
    ),
    case(
        "ENABLE_TPSL",
        &[],
        entry,
        &[("1", ENTRY), ("0", "8 lots at 600481 sl 0 tp 0")],
    ),
    case(
        "ENABLE_SMART_TPSL",
        &["TPSL_MODE=atr"],
        entry_atr,
        &[("1", "8 lots at 600481 sl 596401 tp 605761"), ("0", ENTRY)],
    ),
    case(
        "TPSL_MODE",
        &[],
        entry_atr,
        &[
            ("bps", ENTRY),
            ("atr", "8 lots at 600481 sl 596401 tp 605761"),
            ("level_atr", "8 lots at 600481 sl 594286 tp 609145"),
        ],
    ),
    case(
        "TP_BPS",
        &[],
        entry,
        &[("80", ENTRY), ("100", "8 lots at 600481 sl 597001 tp 606001")],
    ),
    case(
        "SL_BPS",
        &[],
        entry,
        &[("50", ENTRY), ("40", "8 lots at 600481 sl 597601 tp 604801")],
    ),
    case(
        "ATR_SL_MULT",
        &["TPSL_MODE=atr"],
        entry_atr,
        &[
            ("1.2", "8 lots at 600481 sl 596401 tp 605761"),
            ("2", "8 lots at 600481 sl 594001 tp 609601"),
        ],
    ),
    case(
        "ATR_TP1_MULT",
        &["TPSL_MODE=atr"],
        entry_atr,
        &[
            ("1.6", "8 lots at 600481 sl 596401 tp 605761"),
            ("2", "8 lots at 600481 sl 596401 tp 607201"),
        ],
    ),
    case(
        "COST_SL_MULT",
        &["SL_BPS=30", "TP_BPS=50", "COST_R_MAX=10"],
        entry,
        &[
            ("2", "8 lots at 600481 sl 598201 tp 603001"),
            ("5", "8 lots at 600481 sl 596396 tp 606009"),
        ],
    ),
    case(
        "LEVEL_BUFFER_BPS",
        &["TPSL_MODE=level_atr"],
        entry_atr,
        &[
            ("12", "8 lots at 600481 sl 594286 tp 609145"),
            ("24", "8 lots at 600481 sl 593572 tp 610287"),
        ],
    ),
    case(
        "TRIGGER_EPS_BPS",
        &[],
        price_below_stop,
        &[("8", "bracket sl 596322 tp 604801"), ("1", "close 8")],
    ),
    case(
        "TP_BREACH",
        &[],
        price_above_target,
        &[("move", "bracket sl 597001 tp 605484"), ("close", "close 8")],
    ),
    case(
        "TPSL_RETRY_ON_FAIL",
        &[],
        stop_refused,
        &[("1", "bracket sl 595666 tp 604801"), ("0", "close 8")],
    ),
    case(
        "TPSL_RETRY_MULT",
        &[],
        stop_refused,
        &[
            ("3", "bracket sl 595666 tp 604801"),
            ("1", "bracket sl 596622 tp 604801"),
        ],
    ),
    case(
        "TPSL_RETRY_TRIGGER_TYPE",
        &[],
        bracket_refused,
        &[
            ("mark", "trigger mark"),
            ("last", "trigger last"),
            ("index", "trigger index"),
        ],
    ),
    case(
        "ENABLE_TRAILING",
        &[],
        trailed,
        &[("0", "nothing"), ("1", "bracket sl 600990 tp 604801")],
    ),
    case(
        "TRAIL_MODE",
        &["ENABLE_TRAILING=1"],
        trailed,
        &[
            ("bps", "bracket sl 600990 tp 604801"),
            ("atr", "bracket sl 600701 tp 604801"),
        ],
    ),
    case(
        "TRAIL_ATR_MULT",
        &["ENABLE_TRAILING=1", "TRAIL_MODE=atr"],
        trailed,
        &[
            ("1", "bracket sl 600701 tp 604801"),
            ("1.1", "bracket sl 600461 tp 604801"),
        ],
    ),
    case(
        "TRAIL_BPS",
        &["ENABLE_TRAILING=1"],
        trailed,
        &[
            ("35", "bracket sl 600990 tp 604801"),
            ("20", "bracket sl 601894 tp 604801"),
        ],
    ),
    case(
        "TRAIL_MIN_STEP_BPS",
        &["ENABLE_TRAILING=1", "TRAIL_MIN_INTERVAL_MS=0"],
        trailed_again,
        &[("5", "nothing"), ("1", "bracket sl 601089 tp 604801")],
    ),
    case(
        "TRAIL_MIN_INTERVAL_MS",
        &["ENABLE_TRAILING=1", "TRAIL_MIN_STEP_BPS=1"],
        trailed_again,
        &[("1000", "nothing"), ("100", "bracket sl 601089 tp 604801")],
    ),
    case(
        "BREAK_EVEN_AFTER_R",
        &["ENABLE_TRAILING=1"],
        trailed,
        &[("1", "bracket sl 600990 tp 604801"), ("2", "nothing")],
    ),
    case(
        "BREAK_EVEN_BUFFER_BPS",
        &["ENABLE_TRAILING=1", "TRAIL_BPS=200"],
        trailed,
        &[
            ("6", "bracket sl 600361 tp 604801"),
            ("20", "bracket sl 601202 tp 604801"),
        ],
    ),
    case(
        "BE_COVER_FEES",
        &["ENABLE_TRAILING=1", "TRAIL_BPS=200"],
        trailed,
        &[
            ("0", "bracket sl 600361 tp 604801"),
            ("1", "bracket sl 600722 tp 604801"),
        ],
    ),
];

const fn case(
    key: &'static str,
    with: &'static [&'static str],
    act: Act,
    does: &'static [(&'static str, &'static str)],
) -> Case {
    Case { key, with, act, does }
}

/// Settings from `BASE` and `set`, with credentials that open nothing.
fn load(set: &[String]) -> Result<Settings, String> {
    let directory = tempfile::tempdir().expect("a directory");
    let credentials = ["BLOFIN_API_KEY", "BLOFIN_API_SECRET", "BLOFIN_API_PASSPHRASE"].map(|key| (key, "x"));
    let environment = BASE.into_iter().chain(credentials);
    let environment = environment.map(|(key, value)| (OsString::from(key), OsString::from(value)));
    let options = LoadOptions {
        set: set.to_vec(),
        ..LoadOptions::default()
    };
    Settings::from_sources(&options, environment, directory.path()).map_err(|error| error.to_string())
}

#[test]
fn every_key_acts() {
    let mut wrong: Vec<String> = Vec::new();
    for case in CASES {
        let mut seen: Vec<String> = Vec::new();
        for (value, does) in case.does {
            let mut set: Vec<String> = case.with.iter().map(|text| text.to_string()).collect();
            set.push(format!("{}={value}", case.key));
            let did = match load(&set) {
                Ok(settings) => (case.act)(&settings),
                Err(error) if case.key == "LIVE_TRADING" && error.contains(case.key) => "refused".to_string(),
                Err(error) => panic!("{set:?}: {error}"),
            };
            if did != *does {
                wrong.push(format!("{set:?}: {did:?}, not {does:?}"));
            }
            seen.push(did);
        }
        seen.dedup();
        if seen.len() < 2 {
            wrong.push(format!("{}: its values do the same: {seen:?}", case.key));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_key_has_a_case() {
    for key in KEYS {
        let wanted = matches!(key.section, Section::Trade | Section::Bracket);
        let cases = CASES.iter().filter(|case| case.key == key.name).count();
        assert_eq!(cases, usize::from(wanted), "{}", key.name);
    }
}

/// A limit above what the gate can count would be none.
#[test]
fn counts_that_can_be_set_can_be_counted() {
    for (name, most) in [
        ("TRADE_MAX_POSITIONS", OWN_TRADES_MAX),
        ("MAX_ENTRIES_PER_HOUR", ENTRIES_MAX),
    ] {
        let key = KEYS.iter().find(|key| key.name == name).expect("a key");
        assert!(
            matches!(key.kind, Kind::Whole(_, last) if last as usize == most),
            "{name}: {most}"
        );
    }
    const { assert!(OWN_TRADES_MAX < TRADES_MAX) }
}

fn gate_params(settings: &Settings) -> GateParams {
    GateParams {
        // The ways of a known venue, so that each case moves a stop in the same way.
        capabilities: Capabilities {
            two_brackets: true,
            trigger_types: true,
            ..Capabilities::default()
        },
        ..params::gate(settings)
    }
}

/// A gate with these settings at a venue with the same modes and 3 times leverage, with quotes.
fn ready(settings: &Settings) -> Scene {
    let params = gate_params(settings);
    let mut scene = Scene::unsynced(params);
    scene.sync();
    let mut config = scene.fact(AccountKind::Config);
    config.margin_mode = params.margin_mode as u8;
    config.detail = params.position_mode as u8;
    scene.account(config);
    config.detail = 0;
    config.leverage = 3;
    for instrument in [BTC, ETH] {
        config.instrument = instrument.0;
        scene.account(config);
        scene.quote_of(instrument, 60_000.0, 60_000.1);
    }
    scene.clear();
    scene
}

/// The last thing that happened, in words.
fn said(scene: &Scene) -> String {
    let told = scene.events.iter().rev().find_map(|event| {
        let kind = GateEventKind::from_code(event.kind)?;
        let told = matches!(kind, GateEventKind::Refused | GateEventKind::MarginLow);
        told.then(|| {
            Reason::from_code(event.reason)
                .map_or("", Reason::text)
                .to_string()
        })
    });
    let Some(last) = scene.commands.last() else {
        return told.unwrap_or_else(|| "nothing".to_string());
    };
    match CommandKind::from_code(last.kind) {
        Some(CommandKind::Place) if last.reduce_only == 1 => format!("close {}", last.size_lots),
        Some(CommandKind::Place) => format!(
            "{} lots at {} sl {} tp {}",
            last.size_lots, last.price_ticks, last.sl_ticks, last.tp_ticks
        ),
        Some(CommandKind::PlaceBracket) => format!("bracket sl {} tp {}", last.sl_ticks, last.tp_ticks),
        Some(CommandKind::SetLeverage) => format!("leverage {}", last.leverage),
        other => format!("{other:?}"),
    }
}

fn live(settings: &Settings) -> String {
    if settings.is_live() { "live" } else { "paper" }.to_string()
}

fn entry(settings: &Settings) -> String {
    let mut scene = ready(settings);
    scene.signal(Side::Buy);
    said(&scene)
}

/// With an ATR of 300 and a level at 59,500.
fn entry_atr(settings: &Settings) -> String {
    let mut scene = ready(settings);
    let mut signal = scene.make_signal(BTC, Side::Buy);
    signal.atr = 300.0;
    signal.level = 59_500.0;
    scene.send_signal(&signal);
    said(&scene)
}

/// An entry is in flight; a signal comes for another instrument.
fn second(settings: &Settings) -> String {
    let mut scene = ready(settings);
    scene.signal(Side::Buy);
    scene.clear();
    let signal = scene.make_signal(ETH, Side::Buy);
    scene.send_signal(&signal);
    said(&scene)
}

/// An entry is in flight; a signal comes for the other side of the same instrument.
fn other_side(settings: &Settings) -> String {
    let mut scene = ready(settings);
    scene.signal(Side::Buy);
    scene.clear();
    scene.signal(Side::Sell);
    said(&scene)
}

/// A trade lost one R; 10 s later there is another signal.
fn after_stop(settings: &Settings) -> String {
    let mut scene = ready(settings);
    let (entry, bracket) = scene.enter(Side::Buy, 60_000.1);
    scene.trigger(&entry, bracket, 2, 59_700.1);
    scene.run_ms(10_000);
    scene.quote(60_000.0, 60_000.1);
    scene.clear();
    scene.signal(Side::Buy);
    said(&scene)
}

fn modes(settings: &Settings) -> String {
    let mut scene = ready(settings);
    scene.signal(Side::Buy);
    let place = scene.last(CommandKind::Place);
    let margin = MarginMode::from_code(place.margin_mode).map_or("", MarginMode::text);
    let side = PositionSide::from_code(place.position_side).map_or("", PositionSide::text);
    format!("{margin} {side}")
}

fn with_available(settings: &Settings, available: f64) -> String {
    let mut scene = ready(settings);
    let mut balance = scene.fact(AccountKind::Balance);
    balance.equity = 1_000.0;
    balance.available = available;
    scene.account(balance);
    scene.signal(Side::Buy);
    said(&scene)
}

fn poor(settings: &Settings) -> String {
    with_available(settings, 1.0)
}

/// 8 lots need 16.07 USD without head-room.
fn nearly_poor(settings: &Settings) -> String {
    with_available(settings, 17.0)
}

/// 3 of 8 lots were filled and are protected: 6 USD of margin.
fn partly_filled(settings: &Settings) -> String {
    let mut scene = ready(settings);
    scene.signal(Side::Buy);
    let entry = scene.last(CommandKind::Place);
    scene.reply(&entry, Outcome::Accepted, 77);
    let part = scene.order(&entry, 77, OrderState::PartiallyCanceled, 3, 60_000.1);
    scene.account(part);
    scene.position(3, 60_000.1);
    let row = scene.bracket(
        78,
        Side::Sell,
        3,
        entry.sl_ticks,
        entry.tp_ticks,
        OrderState::Live,
    );
    scene.account(row);
    let mut held = scene.fact(AccountKind::Position);
    held.size_lots = 3;
    held.average_price = 60_000.1;
    scene.listed = vec![row, held];
    scene.clear();
    scene.run_ms(1_500);
    said(&scene)
}

/// The private socket never comes up: what that means for entries, and when all that it would push is read
/// after the first round.
fn without_socket(settings: &Settings) -> String {
    let mut scene = Scene::unsynced(gate_params(settings));
    scene.run_ms(100);
    scene.fetches.clear();
    scene.run_ms(17_000);
    let entries = match scene.gate.entries_off_reason() {
        None => "entries on".to_string(),
        Some(reason) => reason.text().to_string(),
    };
    let [times, others @ ..] = PUSHED.map(|list| read_at(&scene, list));
    for other in others {
        assert_eq!(other, times, "what is polled is polled together");
    }
    format!("{entries}, account read at {times:?} s")
}

/// What the four channels of the private socket tell.
const PUSHED: [ListKind; 4] = [
    ListKind::OrdersPending,
    ListKind::BracketsPending,
    ListKind::Positions,
    ListKind::Balance,
];

/// When `list` was asked for, in seconds since the start.
fn read_at(scene: &Scene, list: ListKind) -> Vec<i64> {
    let asked = scene.fetches.iter().filter(|request| request.list == list as u8);
    asked
        .map(|request| (Wall(request.header.time_ns).ms() - START_MS) / 1_000)
        .collect()
}

#[test]
fn what_a_private_socket_pushes_is_not_polled() {
    let mut scene = ready(&load(&["ENABLE_PRIVATE_WS=1".to_string()]).expect("settings"));
    scene.run_ms(17_000);
    for list in PUSHED {
        assert_eq!(read_at(&scene, list), [0; 0], "{list:?}");
    }
}

/// A filled long whose attached bracket does not come while the last price is `last`; what is sent
/// when it has been waited for.
fn unattached(settings: &Settings, last: f64) -> Scene {
    let mut scene = ready(settings);
    scene.signal(Side::Buy);
    let entry = scene.last(CommandKind::Place);
    scene.reply(&entry, Outcome::Accepted, 77);
    let filled = scene.order(&entry, 77, OrderState::Filled, 8, 60_000.1);
    scene.account(filled);
    scene.position(8, 60_000.1);
    let mut held = scene.fact(AccountKind::Position);
    held.size_lots = 8;
    held.average_price = 60_000.1;
    scene.listed = vec![held];
    scene.quote(last - 0.1, last + 0.1);
    scene.clear();
    scene.run_ms(1_500);
    scene
}

fn price_below_stop(settings: &Settings) -> String {
    said(&unattached(settings, 59_680.0))
}

fn price_above_target(settings: &Settings) -> String {
    said(&unattached(settings, 60_500.0))
}

/// The venue says that the stop is on the wrong side of the price.
fn stop_refused(settings: &Settings) -> String {
    let mut scene = unattached(settings, 59_710.0);
    let place = scene.last(CommandKind::PlaceBracket);
    scene.reply_code(&place, Outcome::Rejected, 0, 102_038);
    scene.run_ms(10);
    said(&scene)
}

/// The venue refuses the bracket for another reason.
fn bracket_refused(settings: &Settings) -> String {
    let mut scene = unattached(settings, 60_000.0);
    let place = scene.last(CommandKind::PlaceBracket);
    scene.reply_code(&place, Outcome::Rejected, 0, 152_002);
    scene.run_ms(10);
    let code = scene.last(CommandKind::PlaceBracket).trigger_type;
    let trigger = TriggerType::from_code(code).map_or("", TriggerType::text);
    format!("trigger {trigger}")
}

/// A protected long, the mark 1.03 R above the entry, an ATR of 240.
fn trailing_scene(settings: &Settings) -> Scene {
    let mut scene = ready(settings);
    scene.enter(Side::Buy, 60_000.1);
    scene.run_ms(2_000);
    let mut update: IndicatorUpdate = bytemuck::Zeroable::zeroed();
    update.timeframe = Timeframe::M5 as u8;
    update.atr = 240.0;
    scene.gate.on_indicators(&update, scene.now);
    scene.clear();
    scene.quote(60_310.0, 60_310.2);
    scene
}

fn trailed(settings: &Settings) -> String {
    said(&trailing_scene(settings))
}

/// The stop has moved; half a second later the price is 10 higher.
fn trailed_again(settings: &Settings) -> String {
    let mut scene = trailing_scene(settings);
    let place = scene.last(CommandKind::PlaceBracket);
    scene.reply(&place, Outcome::Accepted, 900);
    let cancel = scene.last(CommandKind::CancelBracket);
    scene.reply(&cancel, Outcome::Accepted, 0);
    scene.run_ms(500);
    scene.clear();
    scene.quote(60_320.0, 60_320.2);
    said(&scene)
}
