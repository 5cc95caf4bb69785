//! Promise: signal, candidate and label lines have every field that users' tools read, under its name.

use serde_json::Value;
use smart_scanner::app::graph::names;
use smart_scanner::model::message::{Signal, SignalLabel, Vote};
use smart_scanner::model::{Instruments, Reason, Side, Timeframe};
use smart_scanner::research::metrics_line::{self, MetricsLine};
use smart_scanner::stage::housekeep::lines;

const OPEN_MS: i64 = 1_748_169_300_000;

fn signal() -> Signal {
    let mut signal: Signal = bytemuck::Zeroable::zeroed();
    signal.header.time_ns = 1_748_169_360_250_000_000;
    signal.id = (1 << 40) | 7;
    signal.timeframe = Timeframe::M1 as u8;
    signal.side = Side::Sell as u8;
    signal.open_ms = OPEN_MS;
    signal.score = 4.125;
    signal.price = 100.5;
    signal.probability = 0.61;
    signal.probability_source = 1;
    signal.ev_r = 0.2;
    signal.score_min = 3.5;
    signal.component_count = 1;
    signal.regime = 2;
    signal.vote_count = 2;
    let vote = |component: u8, side: Side| Vote {
        component,
        side: side as u8,
        strength: 0.4,
        points: 0.8,
        weight: 1.0,
        ..Vote::default()
    };
    signal.votes[0] = vote(0, Side::Sell);
    signal.votes[1] = vote(8, Side::Buy);
    signal.features_present = 0b1;
    signal.features[0] = 4.125;
    signal
}

fn has(line: &Value, fields: &[&str]) {
    for field in fields {
        assert!(line.get(field).is_some(), "{field} is missing in {line}");
    }
}

#[test]
fn a_signal_line_has_every_field() {
    let line = lines::signal(&signal(), &Instruments::new(), &names(true));
    has(
        &line,
        &[
            "ts",
            "kind",
            "symbol",
            "timeframe",
            "side",
            "score",
            "price",
            "components",
            "type",
            "prob",
            "ev",
            "tags",
            "level",
            "created_ts",
            "meta",
            "v",
            "ts_ms",
            "id",
            "ev_r",
            "prob_src",
            "regime",
            "votes",
            "features",
            "stamps_ns",
        ],
    );
    assert_eq!(line["kind"], "signal");
    assert_eq!(
        (&line["side"], &line["timeframe"]),
        (&"sell".into(), &"1m".into())
    );
    assert_eq!(line["ts"], 1_748_169_360.25);
    assert_eq!(line["id"], "0000010000000007");
    assert_eq!(line["components"], serde_json::json!(["trend_pullback"]));
    assert_eq!(line["votes"][0]["strength"], 0.4, "the shortest decimal");
    assert_eq!(line["votes"][1]["name"], "volume_spike");
    assert_eq!(line["features"], serde_json::json!({"score": 4.125}));
    assert_eq!(line["regime"], "trend_down");
    assert_eq!(line["level"], Value::Null);
}

#[test]
fn a_candidate_line_names_its_reason_and_has_no_id() {
    let refused = Signal {
        id: 0,
        reason: Reason::ScoreBelowMin as u16,
        ..signal()
    };
    let line = lines::candidate(&refused, &Instruments::new(), &names(true));
    assert_eq!(
        (&line["kind"], &line["reason"]),
        (&"candidate".into(), &"score_below_min".into())
    );
    assert_eq!(line["id"], Value::Null);
    assert_eq!(line["meta"]["score_min"], 3.5);
}

#[test]
fn a_label_line_has_every_field_and_research_reads_it() {
    let label = SignalLabel {
        signal: signal().id,
        timeframe: Timeframe::M1 as u8,
        side: Side::Sell as u8,
        outcome: 1,
        mask: 0b1_0000_0001,
        vote_count: 2,
        votes: signal().votes,
        features_present: signal().features_present,
        features: signal().features,
        sl_distance: 0.5,
        horizon_candles: 20,
        created_ms: 1_748_169_360_250,
        end_ms: OPEN_MS + 360_000,
        entry: 100.0,
        exit: 99.0,
        r: 1.5,
        score: 4.125,
        probability: 0.61,
        ..bytemuck::Zeroable::zeroed()
    };
    let mut line = lines::label(&label, &Instruments::new(), &names(true));
    has(
        &line,
        &[
            "ts",
            "kind",
            "signal_id",
            "symbol",
            "side",
            "timeframe",
            "created_ts",
            "entry_price",
            "horizon_sec",
            "end_ts",
            "end_price",
            "ret",
            "components",
            "score",
            "prob",
            "ev",
            "meta",
            "v",
            "ts_ms",
            "id",
            "ev_r",
            "prob_src",
            "regime",
            "votes",
            "features",
            "stamps_ns",
            "r",
            "outcome",
        ],
    );
    assert_eq!((&line["outcome"], &line["r"]), (&"tp".into(), &1.5.into()));
    assert_eq!(line["horizon_sec"], 1200);
    assert!(
        (line["ret"].as_f64().expect("a number") - 0.01).abs() < 1e-12,
        "a short that fell"
    );
    assert_eq!(
        line["components"],
        serde_json::json!(["trend_pullback", "volume_spike"])
    );
    let of_signal = lines::signal(&signal(), &Instruments::new(), &names(true));
    assert_eq!(
        (&line["votes"], &line["features"]),
        (&of_signal["votes"], &of_signal["features"])
    );
    assert_eq!(line["meta"]["sl_distance"], 0.5);
    line["symbol"] = "BTC-USDT".into();
    let Ok(MetricsLine::Label(read)) = metrics_line::parse(&line.to_string(), false) else {
        panic!("research does not read {line}")
    };
    assert_eq!(read.signal_id.as_deref(), Some("0000010000000007"));
    assert_eq!(read.end_ms, Some(OPEN_MS + 360_000));
}
