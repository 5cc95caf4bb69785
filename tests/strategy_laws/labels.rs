//! Virtual trades follow the first-touch rules, and cost what they cost.

use super::market::{Lcg, MINUTE_MS, START_MS};
use smart_scanner::model::{Candle, Side, Timeframe};
use smart_scanner::strategy::labels::{Label, Labels};
use smart_scanner::strategy::params::LabelParams;

/// Open, high, low, close of the candles after the signal, and the exit that must be found.
const FIRST_TOUCH: [(&str, &[[f64; 4]], f64); 8] = [
    (
        "target first",
        &[[100.0, 100.4, 99.8, 100.2], [100.2, 101.2, 100.0, 101.0]],
        101.0,
    ),
    (
        "stop first",
        &[[100.0, 100.4, 99.8, 100.2], [100.2, 100.3, 99.4, 99.6]],
        99.5,
    ),
    (
        "both in one candle",
        &[[100.0, 100.2, 99.9, 100.1], [100.1, 101.5, 99.0, 100.0]],
        99.5,
    ),
    (
        "gap through the stop",
        &[[100.0, 100.2, 99.9, 100.1], [98.8, 99.0, 98.5, 98.9]],
        98.8,
    ),
    ("stop in the entry candle", &[[100.0, 100.2, 99.3, 100.1]], 99.5),
    (
        "gap through the target",
        &[[100.0, 100.2, 99.9, 100.1], [101.9, 102.0, 101.5, 101.8]],
        101.0,
    ),
    ("touch is enough", &[[100.0, 101.0, 99.6, 100.1]], 101.0),
    (
        "time",
        &[
            [100.0, 100.2, 99.9, 100.1],
            [100.1, 100.3, 99.9, 100.2],
            [100.2, 100.4, 99.9, 100.3],
        ],
        100.3,
    ),
];

fn labels(horizon_candles: u32) -> Labels {
    let params = LabelParams {
        horizon_candles,
        pending_max: 4,
        ..LabelParams::default()
    };
    Labels::new(params, 2)
}

fn label(side: Side) -> Label {
    Label {
        open_ms: START_MS,
        mask: 1,
        side: side as u8,
        sl_distance: 0.5,
        tp_distance: 1.0,
        cost: 0.0012,
        ..Label::default()
    }
}

/// Result of a label over the candles, which follow the signal's.
fn result(side: Side, candles: &[Candle]) -> Option<f64> {
    let mut labels = labels(3);
    labels.register(label(side));
    let mut results = Vec::new();
    for candle in candles {
        labels.on_candle(0, Timeframe::M1, candle, &mut |ended| results.push(ended.r));
    }
    assert!(results.len() <= 1);
    results.first().copied()
}

#[test]
fn first_touch_follows_the_table_on_both_sides() {
    for (name, prices, exit) in FIRST_TOUCH {
        let candle = |(index, [open, high, low, close]): (usize, &[f64; 4])| Candle {
            open_ms: START_MS + (index as i64 + 1) * MINUTE_MS,
            open: *open,
            high: *high,
            low: *low,
            close: *close,
            ..Candle::default()
        };
        let long: Vec<Candle> = prices.iter().enumerate().map(candle).collect();
        let short: Vec<Candle> = long
            .iter()
            .map(|candle| Candle {
                open: 200.0 - candle.open,
                high: 200.0 - candle.low,
                low: 200.0 - candle.high,
                close: 200.0 - candle.close,
                ..*candle
            })
            .collect();
        let expected = ((exit / 100.0 - 1.0) - 0.0012) / 0.005;
        for (side, candles) in [(Side::Buy, &long), (Side::Sell, &short)] {
            let r = result(side, candles).unwrap_or_else(|| panic!("{name} {side:?} never ended"));
            assert!(
                (r - expected).abs() < 1e-9,
                "{name} {side:?}: {r} instead of {expected}"
            );
        }
    }
}

#[test]
fn a_label_with_a_hole_in_its_candles_is_dropped_not_guessed() {
    let mut labels = labels(10);
    labels.register(label(Side::Buy));
    let later = Candle::flat(START_MS + 3 * MINUTE_MS, 100.0);
    labels.on_candle(0, Timeframe::M1, &later, &mut |ended| panic!("{ended:?}"));
    assert_eq!((labels.pending_count(), labels.dropped_count), (0, 1));
    for _ in 0..6 {
        labels.register(label(Side::Sell));
    }
    assert_eq!(
        (labels.pending_count(), labels.dropped_count),
        (4, 3),
        "a full pool drops and counts"
    );
}

#[test]
fn many_labels_of_one_close_weigh_three_together() {
    let mut labels = labels(10);
    assert_eq!(labels.mass(&label(Side::Buy), 0), 1.0);
    for _ in 0..12 {
        labels.register(label(Side::Buy));
    }
    labels.register(label(Side::Sell));
    assert_eq!(labels.mass(&label(Side::Buy), 0), 0.25);
    assert_eq!(labels.mass(&label(Side::Sell), 0), 1.0);
    assert_eq!(labels.mass(&label(Side::Buy), 5), 1.0);
}

#[test]
fn without_drift_virtual_trades_lose_what_they_cost() {
    let seed = 314;
    println!("seed {seed}");
    let mut random = Lcg(seed);
    let params = LabelParams {
        horizon_candles: 200,
        pending_max: 64,
        ..LabelParams::default()
    };
    let mut labels = Labels::new(params, 1);
    let (mut price, mut sum, mut count) = (1000.0, 0.0, 0.0);
    for number in 0..120_000 {
        // Steps far smaller than the stop, so that the order inside a candle hardly matters.
        let open = price;
        let (mut high, mut low) = (open, open);
        for _ in 0..4 {
            price += 0.1 * (random.next() - 0.5);
            high = price.max(high);
            low = price.min(low);
        }
        let open_ms = START_MS + number * MINUTE_MS;
        let candle = Candle {
            open_ms,
            open,
            high,
            low,
            close: price,
            ..Candle::default()
        };
        labels.on_candle(0, Timeframe::M1, &candle, &mut |ended| {
            sum += ended.r;
            count += 1.0;
        });
        if number % 10 == 0 {
            let side = if random.next() < 0.5 {
                Side::Buy
            } else {
                Side::Sell
            };
            labels.register(Label {
                open_ms,
                cost: 0.0002,
                ..label(side)
            });
        }
    }
    let mean: f64 = sum / count;
    let cost_r = 0.0002 * price / 0.5;
    println!("{count} labels, mean {mean:.3} R, cost {cost_r:.3} R");
    assert!(count > 5000.0);
    assert!((mean + cost_r).abs() < 0.1, "mean {mean}, cost {cost_r}");
}
