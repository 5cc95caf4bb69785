//! Promise: the two sides are mirror images, nothing looks ahead, regimes do not flicker, and the
//! bandit is the one of the specification.

use bytemuck::bytes_of;
use serde_json::Value;
use smart_scanner::indicators::{Board, Builder, Params as IndicatorParams, SeriesPlan};
use smart_scanner::model::feature::row_flag;
use smart_scanner::model::message::{Signal, TradeOutcome, tick_flag};
use smart_scanner::model::{Candle, Feature, FeatureRow, InstrumentId, Side, Timeframe};
use smart_scanner::strategy::bandit::{Level, Node};
use smart_scanner::strategy::bandit_file;
use smart_scanner::strategy::components::COMPONENT_COUNT;
use smart_scanner::strategy::labels::{Label, Labels};
use smart_scanner::strategy::params::{BanditParams, LabelParams, RegimeParams};
use smart_scanner::strategy::regime::RegimeState;
use smart_scanner::strategy::view::View;
use smart_scanner::strategy::{Bandit, COMPONENTS, Params, Regime, Relative, Scorer, Verdict};

const MINUTE_MS: i64 = 60_000;
/// A Monday, 00:00 UTC.
const START_MS: i64 = 1_700_438_400_000;

struct Lcg(u64);

impl Lcg {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn pick(&mut self, count: usize) -> usize {
        (self.next() * count as f64) as usize
    }
}

/// Prices are multiples of this, so that mirroring them is exact.
const GRID: f64 = 1.0 / 4096.0;

/// A walk around 1024 with changing volatility and drift; every price on the grid.
fn walk(seed: u64, count: usize) -> Vec<Candle> {
    let mut random = Lcg(seed);
    let (mut price, mut size, mut drift) = (1024.0f64, 1.0, 0.0);
    let snap = |value: f64| (value / GRID).round() * GRID;
    (0..count)
        .map(|index| {
            if index % 40 == 0 {
                drift = 0.5 * (random.next() - 0.5);
                size = 0.3 + 2.0 * random.next() * random.next();
            }
            let open = price;
            let step = size * (random.next() + random.next() + random.next() - 1.5 + drift);
            let close = snap((open + step).clamp(600.0, 1400.0));
            let tail = |random: &mut Lcg| size * random.next().powi(3);
            let high = snap(open.max(close) + tail(&mut random));
            let low = snap(open.min(close) - tail(&mut random));
            price = close;
            let burst = if random.next() < 0.05 { 20.0 } else { 1.0 };
            Candle {
                open_ms: START_MS + index as i64 * MINUTE_MS,
                open,
                high,
                low,
                close,
                volume: (1.0 + 300.0 * random.next().powi(2) * burst * step.abs()).round(),
                volume_base: 1.0,
                volume_quote: 1.0,
            }
        })
        .collect()
}

/// The market upside down: p becomes 2048 − p.
fn mirrored(candle: &Candle) -> Candle {
    Candle {
        open: 2048.0 - candle.open,
        high: 2048.0 - candle.low,
        low: 2048.0 - candle.high,
        close: 2048.0 - candle.close,
        ..*candle
    }
}

const PLANS: [SeriesPlan; 3] = [
    SeriesPlan {
        timeframe: Timeframe::M1,
        warmup: 240,
        context_only: false,
    },
    SeriesPlan {
        timeframe: Timeframe::M5,
        warmup: 240,
        context_only: false,
    },
    SeriesPlan {
        timeframe: Timeframe::M15,
        warmup: 64,
        context_only: true,
    },
];

/// One instrument's way from 1m candles to rows of every timeframe, higher ones first.
struct Feed {
    board: Board,
    builders: Vec<[Builder; 2]>,
}

impl Feed {
    fn new(instruments: usize) -> Self {
        Feed {
            board: Board::new(IndicatorParams::default(), instruments, &PLANS),
            builders: vec![[Builder::new(Timeframe::M15), Builder::new(Timeframe::M5)]; instruments],
        }
    }

    fn push(&mut self, instrument: usize, minute: &Candle, mut take: impl FnMut(&FeatureRow)) {
        let id = InstrumentId(instrument as u16);
        let mut rows = Vec::new();
        for builder in &mut self.builders[instrument] {
            if let Some((candle, _)) = builder.push(minute, tick_flag::CONFIRMED) {
                rows.push((builder.timeframe(), candle));
            }
        }
        rows.push((Timeframe::M1, *minute));
        for (timeframe, candle) in rows {
            let series = self.board.series(id, timeframe).expect("planned");
            let mut row = FeatureRow::default();
            self.board
                .commit(series, &candle, 0, &mut row)
                .expect("a good candle");
            take(&row);
        }
    }
}

// ---- symmetry ------------------------------------------------------------------------------------

#[test]
fn every_component_votes_the_mirror_image_in_a_mirrored_market() {
    let mut fired = [[0u32; 2]; COMPONENT_COUNT];
    for seed in [101, 102, 103] {
        println!("seed {seed}");
        let (mut feed, mut mirror) = (Feed::new(1), Feed::new(1));
        let mut random = Lcg(seed + 1000);
        for (index, candle) in walk(seed, 9000).iter().enumerate() {
            let outside = [(); 6].map(|()| random.next() - 0.5);
            let (mut rows, mut mirrored_rows) = (Vec::new(), Vec::new());
            feed.push(0, candle, |row| rows.push(with_order_flow(row, outside, 1.0)));
            mirror.push(0, &mirrored(candle), |row| {
                mirrored_rows.push(with_order_flow(row, outside, -1.0))
            });
            // Supertrend starts upwards in both markets; by then it has turned.
            if index < 1500 {
                continue;
            }
            for (row, mirrored_row) in rows.iter().zip(&mirrored_rows) {
                compare_votes(row, mirrored_row, &mut fired);
            }
        }
    }
    for (component, counts) in COMPONENTS.iter().zip(fired) {
        println!(
            "{:<20} long {:>5} short {:>5}",
            component.name, counts[0], counts[1]
        );
        assert!(
            counts[0] > 0 && counts[1] > 0,
            "{} never fired: nothing was compared",
            component.name
        );
    }
}

/// Adds what the caller of the board knows, mirrored with `sign` −1.
fn with_order_flow(row: &FeatureRow, outside: [f64; 6], sign: f64) -> FeatureRow {
    let mut row = *row;
    row.set(Feature::DepthImbalance, Some(sign * outside[0] * 1.6));
    row.set(Feature::AggressorBuy, Some(0.5 + sign * outside[1] * 0.6));
    row.set(Feature::CvdNorm, Some(sign * outside[2]));
    row.set(Feature::Funding8h, Some(sign * outside[3] * 4e-3));
    row.set(Feature::FundingZ, Some(sign * outside[4] * 6.0));
    row
}

fn compare_votes(row: &FeatureRow, mirrored_row: &FeatureRow, fired: &mut [[u32; 2]; COMPONENT_COUNT]) {
    for (index, component) in COMPONENTS.iter().enumerate() {
        for (side_index, side) in [Side::Buy, Side::Sell].into_iter().enumerate() {
            let vote = (component.fire)(&View::new(row, side));
            let image = (component.fire)(&View::new(mirrored_row, side.opposite()));
            let place = format!(
                "{} {side:?} at {}: {vote:?} {image:?}",
                component.name, row.candle.open_ms
            );
            assert_eq!(vote.is_some(), image.is_some(), "{place}");
            let Some((vote, image)) = vote.zip(image) else {
                continue;
            };
            fired[index][side_index] += 1;
            assert!((vote.strength - image.strength).abs() < 1e-9, "{place}");
            assert!((0.0..=1.0).contains(&vote.strength), "{place}");
            assert_eq!(vote.level.is_some(), image.level.is_some(), "{place}");
            // A level p of the long view is 2048 − p in the mirror, which its short view negates.
            let level = vote.level.zip(image.level);
            let moved = if side == Side::Buy { -2048.0 } else { 2048.0 };
            assert!(
                level.is_none_or(|(one, other)| (one + moved - other).abs() < 1e-6),
                "{place}"
            );
        }
    }
}

// ---- looking ahead -------------------------------------------------------------------------------

/// Signals of a run over three instruments, with a scorer that learns from its own labels.
fn signals(candles: &[Vec<Candle>], until: usize) -> Vec<Signal> {
    let params = Params {
        score_min: 2.0,
        components_min: 1,
        market_instrument: Some(InstrumentId(0)),
        ..Params::default()
    };
    let timeframes = PLANS.map(|plan| plan.timeframe);
    let bandit = Bandit::new(params.bandit);
    let mut scorer = Scorer::new(params, candles.len(), &timeframes, bandit);
    let mut feed = Feed::new(candles.len());
    let mut found = Vec::new();
    for minute in 0..until {
        for (instrument, series) in candles.iter().enumerate() {
            feed.push(instrument, &series[minute], |row| {
                if let Verdict::Signal(signal) = scorer.on_row(row) {
                    scorer.emitted(&signal);
                    found.push(signal);
                }
            });
        }
    }
    found
}

fn close_ms(signal: &Signal) -> i64 {
    signal.open_ms + Timeframe::from_code(signal.timeframe).expect("a code").ms()
}

fn assert_same_signals(one: &[Signal], other: &[Signal]) {
    assert_eq!(one.len(), other.len());
    for (one, other) in one.iter().zip(other) {
        assert_eq!(
            bytes_of(one),
            bytes_of(other),
            "signal {} of {}",
            one.id,
            one.open_ms
        );
    }
}

#[test]
fn signals_of_a_prefix_are_the_prefix_of_the_signals() {
    let candles: Vec<Vec<Candle>> = [201, 202, 203].map(|seed| walk(seed, 3000)).to_vec();
    let whole = signals(&candles, 3000);
    assert!(
        whole.len() > 30,
        "only {} signals: nothing is compared",
        whole.len()
    );
    for until in [700, 1501, 2222] {
        let prefix = signals(&candles, until);
        let end_ms = START_MS + until as i64 * MINUTE_MS;
        let expected: Vec<Signal> = whole
            .iter()
            .filter(|signal| close_ms(signal) <= end_ms)
            .copied()
            .collect();
        assert_same_signals(&prefix, &expected);
    }
}

#[test]
fn scrambling_the_future_changes_nothing_before_it() {
    let candles: Vec<Vec<Candle>> = [211, 212].map(|seed| walk(seed, 2500)).to_vec();
    let known = 1800;
    let end_ms = START_MS + known as i64 * MINUTE_MS;
    let mut scrambled = candles.clone();
    for (series, other) in scrambled.iter_mut().zip([911, 912]) {
        for (candle, strange) in series[known..].iter_mut().zip(&walk(other, 2500)[known..]) {
            *candle = *strange;
        }
    }
    let before = |found: Vec<Signal>| -> Vec<Signal> {
        found
            .into_iter()
            .filter(|signal| close_ms(signal) <= end_ms)
            .collect()
    };
    let (one, other) = (before(signals(&candles, 2500)), before(signals(&scrambled, 2500)));
    assert!(one.len() > 10);
    assert_same_signals(&one, &other);
}

#[test]
fn a_higher_candle_is_invisible_until_it_has_closed() {
    let candles = walk(221, 2400);
    let mut feed = Feed::new(1);
    let mut closed_direction = None;
    let mut seen = 0;
    for candle in &candles {
        let close_ms = candle.open_ms + MINUTE_MS;
        feed.push(0, candle, |row| match Timeframe::from_code(row.timeframe) {
            Some(Timeframe::M15) => {
                assert_eq!(
                    row.candle.open_ms + 15 * MINUTE_MS,
                    close_ms,
                    "emitted when it closes"
                );
                closed_direction = smart_scanner::indicators::series::direction(&row.candle, row);
            }
            Some(Timeframe::M1) => {
                assert_eq!(row.get(Feature::Htf2Direction), closed_direction, "at {close_ms}");
                seen += u32::from(closed_direction.is_some_and(|direction| direction != 0.0));
            }
            _ => {}
        });
    }
    assert!(seen > 100, "the context never leaned to a side");
}

#[test]
fn a_higher_series_that_is_ahead_shows_only_what_had_closed() {
    let candles = walk(231, 4000);
    let mut ahead = Board::new(IndicatorParams::default(), 1, &PLANS);
    let mut feed = Feed::new(1);
    let higher = ahead.series(InstrumentId(0), Timeframe::M15).expect("planned");
    let lower = ahead.series(InstrumentId(0), Timeframe::M1).expect("planned");
    let mut builder = Builder::new(Timeframe::M15);
    let fifteen: Vec<Candle> = candles
        .iter()
        .filter_map(|minute| {
            builder
                .push(minute, tick_flag::CONFIRMED)
                .map(|(candle, _)| candle)
        })
        .collect();
    let mut committed = 0;
    let mut row = FeatureRow::default();
    let mut compared = 0;
    for minute in &candles {
        // The higher candle comes 14 minutes too early.
        while fifteen
            .get(committed)
            .is_some_and(|candle| candle.open_ms <= minute.open_ms)
        {
            ahead
                .commit(higher, &fifteen[committed], 0, &mut row)
                .expect("a good candle");
            committed += 1;
        }
        ahead.commit(lower, minute, 0, &mut row).expect("a good candle");
        let (htf, mut expected) = (row.get(Feature::Htf2Direction), None);
        feed.push(0, minute, |honest| {
            if honest.timeframe == Timeframe::M1 as u8 {
                expected = honest.get(Feature::Htf2Direction);
            }
        });
        assert_eq!(htf, expected, "at {}", minute.open_ms);
        compared += usize::from(expected.is_some());
    }
    assert!(compared > 1000);
}

// ---- regime --------------------------------------------------------------------------------------

struct Weather {
    adx: f64,
    slope: f64,
    di: f64,
    atr_ratio: f64,
    true_range: f64,
}

const CALM: Weather = Weather {
    adx: 19.0,
    slope: 0.0,
    di: 0.0,
    atr_ratio: 1.0,
    true_range: 1.0,
};

fn weather_row(weather: &Weather) -> FeatureRow {
    let mut row = FeatureRow::default();
    row.set(Feature::RegimeAdx, Some(weather.adx));
    row.set(Feature::RegimePdi, Some(20.0 + weather.di));
    row.set(Feature::RegimeMdi, Some(20.0));
    row.set(Feature::Slope, Some(weather.slope));
    row.set(Feature::AtrRatio, Some(weather.atr_ratio));
    row.set(Feature::TrueRange, Some(weather.true_range));
    row.set(Feature::RegimeAtrPrev, Some(1.0));
    row
}

fn steps(state: &mut RegimeState, weather: &Weather, count: usize) -> Vec<Regime> {
    let row = weather_row(weather);
    (0..count)
        .map(|_| state.step(&row, &RegimeParams::default()))
        .collect()
}

#[test]
fn a_regime_changes_after_two_candles_and_stays_inside_its_band() {
    use Regime::*;
    let mut state = RegimeState::default();
    let up = Weather {
        adx: 25.0,
        slope: 0.1,
        di: 5.0,
        ..CALM
    };
    assert_eq!(steps(&mut state, &up, 3), [Neutral, TrendUp, TrendUp]);
    let weaker = Weather {
        adx: 18.5,
        slope: 0.045,
        di: -1.0,
        ..CALM
    };
    assert_eq!(
        steps(&mut state, &weaker, 3),
        [TrendUp; 3],
        "above 18 and half the slope it stays"
    );
    assert_eq!(
        steps(&mut state, &Weather { adx: 17.0, ..up }, 3),
        [TrendUp, Chop, Chop]
    );
    assert_eq!(
        steps(&mut state, &Weather { adx: 19.5, ..up }, 3),
        [Chop; 3],
        "chop lasts up to 20"
    );
    assert_eq!(steps(&mut state, &Weather { adx: 20.5, ..CALM }, 1), [Chop]);
    assert_eq!(
        steps(&mut state, &Weather { adx: 17.0, ..CALM }, 1),
        [Chop],
        "one candle is no change"
    );
    let down = Weather {
        adx: 25.0,
        slope: -0.1,
        di: -5.0,
        ..CALM
    };
    assert_eq!(steps(&mut state, &down, 3), [Chop, TrendDown, TrendDown]);
}

#[test]
fn an_adx_that_swings_inside_the_band_never_flips_the_regime() {
    let mut state = RegimeState::default();
    steps(&mut state, &Weather { adx: 15.0, ..CALM }, 5);
    let mut changes = 0;
    for candle in 0..200 {
        let adx = if candle % 4 < 2 { 18.2 } else { 19.8 };
        let regime = steps(&mut state, &Weather { adx, ..CALM }, 1)[0];
        changes += u32::from(regime != Regime::Chop);
    }
    assert_eq!(changes, 0);
}

#[test]
fn panic_begins_at_once_and_lasts_five_candles_at_least() {
    use Regime::*;
    let mut state = RegimeState::default();
    steps(&mut state, &CALM, 3);
    assert_eq!(
        steps(
            &mut state,
            &Weather {
                true_range: 7.0,
                ..CALM
            },
            1
        ),
        [Panic]
    );
    let after = steps(&mut state, &CALM, 6);
    assert_eq!(after[..4], [Panic; 4]);
    assert_eq!(after[4], Neutral);
    assert_eq!(
        steps(
            &mut state,
            &Weather {
                atr_ratio: 3.5,
                ..CALM
            },
            1
        ),
        [Panic]
    );
    assert_eq!(
        steps(
            &mut state,
            &Weather {
                atr_ratio: 2.6,
                ..CALM
            },
            9
        ),
        [Panic; 9],
        "not calm yet"
    );
    assert_eq!(
        steps(
            &mut state,
            &Weather {
                atr_ratio: 2.4,
                ..CALM
            },
            1
        ),
        [Neutral]
    );
}

#[test]
fn a_missing_input_means_not_ready() {
    let mut state = RegimeState::default();
    steps(
        &mut state,
        &Weather {
            adx: 25.0,
            slope: 0.1,
            di: 5.0,
            ..CALM
        },
        4,
    );
    assert!(state.is_ready());
    let mut row = weather_row(&CALM);
    row.set(Feature::AtrRatio, None);
    assert_eq!(state.step(&row, &RegimeParams::default()), Regime::Neutral);
    assert!(!state.is_ready());
}

// ---- bandit --------------------------------------------------------------------------------------

#[test]
fn twenty_thousand_labels_give_what_the_python_reference_gives() {
    let text = include_str!("fixtures/bandit_reference.json");
    let reference: Value = serde_json::from_str(text).expect("the fixture is JSON");
    let mut random = Lcg(20_251_122);
    let mut bandit = Bandit::new(BanditParams::default());
    let mut now_ms = 1_700_000_000_000;
    for _ in 0..20_000 {
        now_ms += random.pick(1_200_000) as i64;
        if random.next() < 0.0005 {
            now_ms += 5 * 86_400_000;
        }
        let (arm, relative, timeframe) = (random.pick(13), random.pick(5), random.pick(4));
        let r = -2.0 + 5.0 * random.next() + 0.08 * (arm as f64 - 6.0);
        let mass = (3.0 / (1 + random.pick(9)) as f64).min(1.0);
        bandit.update(
            arm,
            Relative::ALL[relative],
            Timeframe::ALL[timeframe],
            r,
            mass,
            now_ms,
        );
    }
    assert_eq!(
        reference["end_ms"].as_i64(),
        Some(now_ms),
        "the scripts have diverged"
    );
    let near = |actual: f64, expected: &Value, place: &str| {
        let expected = expected.as_f64().expect("a number");
        assert!(
            (actual - expected).abs() <= 1e-12 * expected.abs().max(1.0),
            "{place}: {actual} {expected}"
        );
    };
    for arm in 0..COMPONENT_COUNT {
        let node = bandit.node(arm, Level::Arm);
        near(node.success, &reference["arms"][arm][0], "success");
        near(node.failure, &reference["arms"][arm][1], "failure");
        assert_eq!(Some(node.count), reference["arms"][arm][2].as_u64());
    }
    for read in reference["reads"].as_array().expect("a list") {
        let relative = Relative::ALL[read["regime"].as_u64().expect("a code") as usize];
        let timeframe = Timeframe::ALL[read["timeframe"].as_u64().expect("a code") as usize];
        let at_ms = now_ms + read["later_ms"].as_i64().expect("ms");
        let weights = bandit.weights(relative, timeframe, at_ms);
        for (arm, weight) in weights.iter().enumerate() {
            let estimate = bandit.estimate(arm, relative, timeframe, at_ms);
            near(estimate.expected_r, &read["estimates"][arm][0], "expected R");
            near(estimate.deviation_r, &read["estimates"][arm][1], "deviation");
            near(*weight, &read["weights"][arm], "weight");
        }
    }
}

fn taught(results: &[(usize, f64)], now_ms: i64) -> Bandit {
    let mut bandit = Bandit::new(BanditParams::default());
    for (arm, r) in results {
        bandit.update(*arm, Relative::Neutral, Timeframe::M5, *r, 1.0, now_ms);
    }
    bandit
}

#[test]
fn without_experience_every_weight_is_exactly_one() {
    let bandit = Bandit::new(BanditParams::default());
    assert_eq!(
        bandit.weights(Relative::Chop, Timeframe::M1, START_MS),
        [1.0; COMPONENT_COUNT]
    );
}

#[test]
fn labels_of_one_instant_may_come_in_any_order() {
    let results: Vec<(usize, f64)> = (0..200)
        .map(|index| (index % 3, (index % 7) as f64 - 2.5))
        .collect();
    let reversed: Vec<(usize, f64)> = results.iter().rev().copied().collect();
    let (one, other) = (taught(&results, START_MS), taught(&reversed, START_MS));
    let weights = |bandit: &Bandit| bandit.weights(Relative::Neutral, Timeframe::M5, START_MS);
    for (one, other) in weights(&one).iter().zip(weights(&other)) {
        assert!((one - other).abs() < 1e-12);
    }
}

#[test]
fn weights_stay_in_their_bounds_whatever_happens() {
    let mut results = vec![(0, 50.0); 5000];
    results.extend(vec![(1, -50.0); 5000]);
    let bandit = taught(&results, START_MS);
    let weights = bandit.weights(Relative::Neutral, Timeframe::M5, START_MS);
    assert_eq!((weights[0], weights[1]), (2.0, 0.25));
    let node = bandit.node(0, Level::Arm);
    assert!(
        node.success + node.failure <= 2000.0 + 1e-9,
        "a node forgets beyond 2,000 labels"
    );
    let ignored = taught(&[(0, f64::NAN), (0, f64::INFINITY)], START_MS);
    assert_eq!(ignored.node(0, Level::Arm).count, 0);
}

#[test]
fn an_idle_year_takes_a_lesson_away() {
    let bandit = taught(&[(2, 3.0); 300], START_MS);
    let week_ms = 168 * 3_600_000;
    let expected = |at_ms: i64| {
        bandit
            .estimate(2, Relative::Neutral, Timeframe::M5, at_ms)
            .expected_r
    };
    assert!(expected(START_MS) > 2.0);
    assert!(expected(START_MS + week_ms) < expected(START_MS));
    assert!(
        expected(START_MS + 52 * week_ms).abs() < 1e-9,
        "and it is as good as unknown again"
    );
    let node = taught(&[(2, 3.0), (2, 3.0)], START_MS);
    let mut later = node.clone();
    later.update(2, Relative::Neutral, Timeframe::M5, 3.0, 1.0, START_MS + week_ms);
    assert!(
        (later.node(2, Level::Arm).success - 2.0).abs() < 1e-12,
        "half of two, and one"
    );
}

#[test]
fn a_saved_bandit_loads_with_identical_weights() {
    let mut random = Lcg(77);
    let mut bandit = Bandit::new(BanditParams::default());
    for step in 0..3000 {
        let (arm, relative, timeframe) = (random.pick(13), random.pick(5), random.pick(12));
        let at_ms = START_MS + step * 61_007;
        bandit.update(
            arm,
            Relative::ALL[relative],
            Timeframe::ALL[timeframe],
            6.0 * random.next() - 2.0,
            0.7,
            at_ms,
        );
    }
    let stranger = (
        "retired_component|CHOP".to_owned(),
        Node {
            success: 1.0,
            failure: 2.0,
            count: 3,
            updated_ms: 4,
        },
    );
    let text = bandit_file::save(&bandit, std::slice::from_ref(&stranger), START_MS);
    let loaded = bandit_file::load(&text, BanditParams::default()).expect("our own file");
    assert_eq!((loaded.dropped_count, loaded.warning), (0, None));
    assert_eq!(loaded.unknown, [stranger], "a node of another version is kept");
    for relative in Relative::ALL {
        for timeframe in Timeframe::ALL {
            let at_ms = START_MS + 300_000_000;
            let (one, other) = (&bandit, &loaded.bandit);
            assert_eq!(
                one.weights(relative, timeframe, at_ms),
                other.weights(relative, timeframe, at_ms)
            );
        }
    }
    assert_eq!(bandit_file::save(&loaded.bandit, &loaded.unknown, START_MS), text);
}

#[test]
fn strange_bandit_files_are_told_apart() {
    let load = |text: &str| bandit_file::load(text, BanditParams::default());
    let legacy = load(r#"{"tau":0.07,"weights":{"breakout":1.9}}"#).expect("accepted");
    assert!(
        legacy
            .warning
            .is_some_and(|warning| warning.contains("Python scanner"))
    );
    assert!(load("{").is_err());
    assert!(load(r#"{"version":2,"algo":"dbeta-pool"}"#).is_err());
    let other_range = r#"{"version":1,"algo":"dbeta-pool","reward":{"lo":-1,"hi":3},"nodes":{}}"#;
    assert!(load(other_range).expect("cold start").warning.is_some());
    let file = |node: &str| {
        format!(
            r#"{{"version":1,"algo":"dbeta-pool","reward":{{"lo":-1.5,"hi":3.0}},"nodes":{{"trend_pullback":{node}}}}}"#
        )
    };
    let bad = load(&file(r#"{"s":-1,"f":2,"n":3,"ts_ms":4}"#)).expect("loads");
    assert_eq!((bad.dropped_count, bad.bandit.node(0, Level::Arm).count), (1, 0));
    let good = load(&file(r#"{"s":1,"f":2,"n":3,"ts_ms":4}"#)).expect("loads");
    assert_eq!(good.bandit.node(0, Level::Arm).failure, 2.0);
}

// ---- labels --------------------------------------------------------------------------------------

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
        entry_slip_bps: 0.0,
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
        entry_slip_bps: 0.0,
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

// ---- the scorer ----------------------------------------------------------------------------------

/// A row on which `momentum_burst` and `volume_spike` fire for the long side, fully.
fn loud_row(instrument: u16, open_ms: i64) -> FeatureRow {
    let mut row = FeatureRow {
        instrument,
        timeframe: Timeframe::M5 as u8,
        candle: Candle {
            open_ms,
            open: 100.0,
            high: 103.0,
            low: 100.0,
            close: 103.0,
            volume: 9.0,
            ..Candle::default()
        },
        ..FeatureRow::default()
    };
    row.set(Feature::BodyRatio, Some(0.95));
    row.set(Feature::RangeAtr, Some(2.5));
    row.set(Feature::VolumeZ, Some(4.0));
    row.set(Feature::Clv, Some(1.0));
    row.set(Feature::Atr14, Some(1.0));
    row
}

fn scorer(params: Params) -> Scorer {
    let bandit = Bandit::new(params.bandit);
    Scorer::new(params, 300, &[Timeframe::M5], bandit)
}

fn easy() -> Params {
    Params {
        score_min: 1.0,
        regime: RegimeParams {
            aware: false,
            ..RegimeParams::default()
        },
        ..Params::default()
    }
}

#[test]
fn a_signal_adds_up() {
    let mut scorer = scorer(Params { epoch: 5, ..easy() });
    let Verdict::Signal(signal) = scorer.on_row(&loud_row(2, START_MS)) else {
        panic!("two strong components are a signal");
    };
    // One point each, from two families.
    assert!((signal.score - 2.0).abs() < 1e-12);
    assert_eq!(
        (signal.side, signal.vote_count, signal.id),
        (Side::Buy as u8, 2, 5 << 40 | 1)
    );
    assert_eq!(
        signal.level, 100.0,
        "the low of the burst: the first of two equal votes"
    );
    // SL 1.2 ATR, TP 1.6 of it; 12 bps of 103 is the cost.
    assert!((signal.sl_distance - 1.2).abs() < 1e-12);
    assert!((signal.tp_distance - 1.92).abs() < 1e-12);
    assert!((signal.cost_r - 0.1236 / 1.2).abs() < 1e-12);
    let p = signal.probability;
    let ev_r = p * (1.6 - signal.cost_r) - (1.0 - p) * (1.0 + signal.cost_r);
    assert!((signal.ev_r - ev_r).abs() < 1e-12);
    assert_eq!(signal.features_present & 1, 1);
    assert_eq!(signal.features[0], signal.score);
}

#[test]
fn rows_that_must_not_signal_do_not() {
    use smart_scanner::model::Reason::{self, *};
    let refused = |scorer: &mut Scorer, row: &FeatureRow| -> Option<Reason> {
        match scorer.on_row(row) {
            Verdict::Refused(refusal) => Some(refusal.reason),
            Verdict::None => None,
            Verdict::Signal(signal) => panic!("signal {}", signal.id),
        }
    };
    let mut quiet = scorer(easy());
    for (flag, reason) in [
        (row_flag::SYNTHETIC, Some(Synthetic)),
        (row_flag::WARMING_UP, Some(WarmingUp)),
        (row_flag::BACKFILL, None),
        (row_flag::CONTEXT_ONLY, None),
    ] {
        let row = FeatureRow {
            flags: flag,
            ..loud_row(0, START_MS)
        };
        let expected = if flag == row_flag::SYNTHETIC {
            Some(Synthetic)
        } else {
            reason
        };
        assert_eq!(refused(&mut quiet, &row), expected, "flag {flag}");
    }
    assert_eq!(
        refused(&mut quiet, &FeatureRow::default()),
        None,
        "no such series"
    );
    let mut lonely = loud_row(0, START_MS);
    lonely.set(Feature::VolumeZ, Some(0.0));
    assert_eq!(refused(&mut quiet, &lonely), Some(ComponentsFew));
    let mut strict = scorer(Params {
        score_min: 3.0,
        ..easy()
    });
    assert_eq!(refused(&mut strict, &loud_row(0, START_MS)), Some(ScoreBelowMin));
    let mut confirmed = FeatureRow {
        candle: Candle::flat(START_MS, 1.0),
        ..lonely
    };
    confirmed.set(Feature::Htf1Direction, Some(1.0));
    confirmed.set(Feature::Htf2Direction, Some(1.0));
    assert_eq!(
        refused(&mut quiet, &confirmed),
        None,
        "a confirmer alone says nothing"
    );
}

#[test]
fn the_cooldown_starts_with_the_emitted_signal() {
    use smart_scanner::model::Reason;
    let mut scorer = scorer(Params {
        signal_cooldown_ms: 6 * MINUTE_MS,
        ..easy()
    });
    let at = |minutes: i64| loud_row(1, START_MS + minutes * MINUTE_MS);
    let Verdict::Signal(first) = scorer.on_row(&at(0)) else {
        panic!("a signal")
    };
    assert!(
        matches!(scorer.on_row(&at(5)), Verdict::Signal(_)),
        "not emitted yet, so no cooldown"
    );
    scorer.emitted(&first);
    let Verdict::Refused(refusal) = scorer.on_row(&at(5)) else {
        panic!("cooling down")
    };
    assert_eq!(refusal.reason, Reason::SignalCooldown);
    assert!(matches!(scorer.on_row(&at(10)), Verdict::Signal(_)));
}

#[test]
fn components_learn_from_their_virtual_trades_whatever_the_order_of_rows() {
    let run = |order: &[u16]| -> Bandit {
        let mut scorer = scorer(easy());
        for instrument in order {
            scorer.on_row(&loud_row(*instrument, START_MS));
        }
        for instrument in order {
            let mut next = FeatureRow {
                candle: Candle::flat(START_MS + 5 * MINUTE_MS, 103.0),
                ..loud_row(*instrument, 0)
            };
            next.candle.high = if instrument % 2 == 0 { 110.0 } else { 103.0 };
            next.candle.low = 103.0 - f64::from(*instrument);
            scorer.on_row(&next);
        }
        scorer.settle();
        scorer.bandit().clone()
    };
    let (one, other) = (run(&[0, 1, 2, 3, 4, 5]), run(&[5, 3, 1, 4, 2, 0]));
    for arm in [4, 8] {
        let node = one.node(arm, Level::Arm);
        assert_eq!(node, other.node(arm, Level::Arm), "bit for bit");
        assert!(node.count >= 4, "{node:?}");
        assert!(
            node.success + node.failure <= 3.0 + 1e-12,
            "six alike weigh three"
        );
    }
    assert_eq!(
        one.node(0, Level::Arm).count,
        0,
        "who did not vote learns nothing"
    );
}

#[test]
fn a_realised_result_replaces_the_virtual_one_and_never_joins_it() {
    let outcome = |signal: &Signal, r: f64| TradeOutcome {
        signal: signal.id,
        r,
        instrument: signal.instrument,
        timeframe: signal.timeframe,
        exit: 1,
        closed_ms: START_MS + 9 * MINUTE_MS,
        ..bytemuck::Zeroable::zeroed()
    };
    let mut scorer = scorer(easy());
    let Verdict::Signal(signal) = scorer.on_row(&loud_row(7, START_MS)) else {
        panic!("a signal")
    };
    scorer.emitted(&signal);
    scorer.on_outcome(&outcome(&signal, 1.5));
    assert_eq!(scorer.labels().pending_count(), 0);
    assert_eq!(scorer.bandit().node(4, Level::Arm).count, 1);
    assert!((scorer.bandit().node(4, Level::Arm).success - 2.0 / 3.0).abs() < 1e-12);
    scorer.on_outcome(&outcome(&signal, 1.5));
    assert_eq!(scorer.bandit().node(4, Level::Arm).count, 1, "not twice");
    assert_eq!(scorer.outcome_late_count, 1);
}
