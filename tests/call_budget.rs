//! The promise: with 500 instruments followed and six positions trailing, the calls stay within our own
//! budgets, the venue never says 429, and no position waits a window for its stop.

use smart_scanner::app::simulate::draw::Draw;
use smart_scanner::app::simulate::play;
use smart_scanner::exchange::{AttachPolicy, TwoStops};
use smart_scanner::model::Wall;
use smart_scanner::model::time::NS_PER_SEC;

const SEED: u64 = 11;
/// Virtual time in which entries are made; long enough for all histories to be asked for.
const TRADING_NS: u64 = 150 * NS_PER_SEC;
/// What we allow ourselves of the venue's 30 trading calls, 500 calls a minute and 1,500 in five: a burst
/// may fill a minute, and 288 a minute is what five of them sustain.
const TRADE_CALLS_10S: u64 = 24;
const CALLS_MINUTE: u64 = 480;
const CALLS_FIVE_MINUTES: u64 = 1_440;
/// The venue's window of trading calls.
const WINDOW_MS: i64 = 10_000;

/// A sound network, and a venue on which each move of a stop costs two calls.
fn crowded() -> Draw {
    let mut draw = Draw::of(SEED);
    draw.rules.clear();
    draw.schedule.clear();
    draw.instruments = 500;
    draw.alert_every_ms = 500;
    draw.exchange.attach = AttachPolicy::FullFill;
    draw.exchange.two_stops = TwoStops::Refuse;
    draw.exchange.amend = false;
    draw.settle = Wall(draw.start.0 + TRADING_NS);
    for (key, value) in [
        ("TRADE_MAX_POSITIONS", "6"),
        ("TRADE_MAX_EXPOSURE_USD", "1000"),
        ("ENABLE_TRAILING", "1"),
        ("TRAIL_BPS", "8"),
        ("TRAIL_MIN_STEP_BPS", "1"),
        ("BREAK_EVEN_AFTER_R", "0.2"),
        ("SL_BPS", "60"),
        ("TP_BPS", "400"),
        ("ENABLE_PRIVATE_WS", "1"),
    ] {
        draw.set.retain(|set| !set.starts_with(&format!("{key}=")));
        draw.set.push(format!("{key}={value}"));
    }
    draw
}

#[test]
fn five_hundred_instruments_and_six_trailing_positions_stay_within_the_limits() {
    let outcome = play(crowded(), None, false).expect("the run can be made");
    let counts = &outcome.counts;
    println!(
        "seed {SEED}: {} entries, {} order calls, {} reads; most {} under /trade in 10 s, {} in a minute, {} in five; \
         longest without a stop {} ms; refused {:?}",
        counts.entries_accepted,
        counts.calls,
        counts.reads,
        counts.trade_calls_10s_max,
        counts.calls_minute_max,
        counts.calls_five_minutes_max,
        outcome.unprotected_ms_max,
        counts.refusals
    );
    // A call beyond the venue's limits, and so a 429, breaks I10.
    assert!(outcome.breach.is_none(), "{:?}", outcome.breach);
    assert!(counts.trade_calls_10s_max <= TRADE_CALLS_10S);
    assert!(counts.calls_minute_max <= CALLS_MINUTE);
    assert!(counts.calls_five_minutes_max <= CALLS_FIVE_MINUTES);
    assert!(outcome.unprotected_ms_max <= WINDOW_MS);
    // Without a full table and stops that move it would show nothing.
    assert!(
        counts
            .refusals
            .get("positions_max")
            .is_some_and(|count| *count > 0)
    );
    assert!(counts.calls >= 2 * counts.entries_accepted, "stops were moved");
    assert!(counts.reads > 300, "histories were read");
}
