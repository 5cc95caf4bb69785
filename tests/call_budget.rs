//! The promise: with 500 instruments followed and six positions trailing, the calls stay within our own
//! budgets and the venue's, the venue never says 429 of itself, and no protective call waits longer than one
//! window between the gate's decision and the wire: on a sound network, on a slow one, and among refusals that
//! come by chance. `refused_while_bare` places them where they hurt.

use smart_scanner::app::simulate::draw::Draw;
use smart_scanner::app::simulate::play;
use smart_scanner::app::simulate::world::Outcome;
use smart_scanner::exchange::{AttachPolicy, TwoStops};
use smart_scanner::model::Wall;
use smart_scanner::model::time::{NS_PER_MS, NS_PER_SEC};
use smart_scanner::orders::bracket::Timing;
use smart_scanner::venue::loopback::{Fault, FaultRule, Latency};

const SEED: u64 = 11;
/// Virtual time in which entries are made; long enough for all histories to be asked for.
const TRADING_NS: u64 = 150 * NS_PER_SEC;
/// What we allow ourselves of the venue's 30 trading calls, 500 calls a minute and 1,500 in five: a burst
/// may fill a minute, and 288 a minute is what five of them sustain.
const TRADE_CALLS_10S: u64 = 24;
const CALLS_MINUTE: u64 = 480;
const CALLS_FIVE_MINUTES: u64 = 1_440;
/// What the venue allows of trading calls, counted where they arrive: the network may bunch them.
const VENUE_TRADE_CALLS_10S: u64 = 30;
/// The venue's window of trading calls.
const WINDOW_MS: u64 = 10_000;
/// The longest that a call is under way where the network is slow: there, back, and a reply that is held.
const ROUND_TRIP_MS: u64 = 400 + 400 + 1_500;

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

/// The same where calls and answers take long, and one answer in fifty much longer.
fn slow() -> Draw {
    let mut draw = crowded();
    draw.latency = Latency {
        min_ns: 40 * NS_PER_MS,
        max_ns: 400 * NS_PER_MS,
    };
    let hold = Fault::HoldReply {
        ns: 1_500 * NS_PER_MS,
    };
    draw.rules.push(FaultRule::chance(hold, "/api/v1/trade", 20_000));
    draw
}

/// The same with a 429 now and then, for which everybody is silent for a window.
fn refusing() -> Draw {
    let mut draw = slow();
    draw.rules
        .push(FaultRule::chance(Fault::TooMany, "/api/v1/trade", 4_000));
    draw
}

#[track_caller]
fn within_the_limits(name: &str, draw: Draw) -> Outcome {
    let outcome = play(draw, None, false).expect("the run can be made");
    let counts = &outcome.counts;
    println!(
        "{name}, seed {SEED}: {} entries, {} order calls, {} reads; most {} under /trade in 10 s ({} where they \
         arrive), {} in a minute, {} in five; {} protective calls waited {} ms at most; longest without a stop {} ms; \
         faults {:?}; refused {:?}",
        counts.entries_accepted,
        counts.calls,
        counts.reads,
        counts.trade_calls_10s_max,
        outcome.venue_trade_calls_10s_max,
        counts.calls_minute_max,
        counts.calls_five_minutes_max,
        counts.protective_calls,
        counts.protective_wait_ms_max,
        outcome.unprotected_ms_max,
        counts.faults,
        counts.refusals
    );
    // A call beyond the venue's limits, and so a 429 of its own, breaks I10.
    assert!(outcome.breach.is_none(), "{name}: {:?}", outcome.breach);
    assert!(counts.trade_calls_10s_max <= TRADE_CALLS_10S, "{name}");
    assert!(
        outcome.venue_trade_calls_10s_max <= VENUE_TRADE_CALLS_10S,
        "{name}"
    );
    assert!(counts.calls_minute_max <= CALLS_MINUTE, "{name}");
    assert!(counts.calls_five_minutes_max <= CALLS_FIVE_MINUTES, "{name}");
    assert!(counts.protective_wait_ms_max <= WINDOW_MS, "{name}");
    // Without a full table and stops that move it would show nothing.
    assert!(
        counts
            .refusals
            .get("positions_max")
            .is_some_and(|count| *count > 0),
        "{name}"
    );
    assert!(
        counts.protective_calls > counts.entries_accepted && counts.entries_accepted > 0,
        "{name}: stops were moved"
    );
    assert!(counts.reads > 300, "{name}: histories were read");
    outcome
}

#[test]
fn on_a_sound_network_protection_leaves_at_once_and_within_the_limits() {
    let outcome = within_the_limits("sound", crowded());
    assert!(outcome.unprotected_ms_max <= WINDOW_MS as i64);
}

#[test]
fn on_a_slow_network_no_protective_call_waits_a_window() {
    let outcome = within_the_limits("slow", slow());
    assert!(
        outcome.counts.faults.values().sum::<u64>() > 0,
        "answers were held"
    );
    assert!(outcome.unprotected_ms_max <= WINDOW_MS as i64);
}

#[test]
fn a_refusal_delays_protection_by_one_window_at_most() {
    let outcome = within_the_limits("refusing", refusing());
    assert!(
        outcome.counts.faults.len() >= 2,
        "held and refused: {:?}",
        outcome.counts.faults
    );
    // While a refusal silences the gate it decides nothing that could wait: only the exchange knows how long a
    // position stood without a stop. It is refused, is silent for the window, and calls again; what it cannot
    // protect in `flatten_ms` it closes.
    let flatten_ms = u64::from(Timing::default().flatten_ms);
    let bound_ms = ROUND_TRIP_MS + WINDOW_MS + flatten_ms + ROUND_TRIP_MS;
    let longest_ms = outcome.unprotected_ms_max;
    assert!(longest_ms <= bound_ms as i64, "{longest_ms} ms of {bound_ms}");
}
