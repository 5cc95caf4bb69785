//! Nothing that has not closed is seen: prefix invariance, scrambled futures, higher timeframes.

use super::judge::judge;
use super::market::{Feed, MINUTE_MS, PLANS, START_MS, walk};
use bytemuck::bytes_of;
use smart_scanner::indicators::{Board, Builder, Params as IndicatorParams};
use smart_scanner::model::message::{Signal, tick_flag};
use smart_scanner::model::{Candle, Feature, FeatureRow, InstrumentId, Timeframe};
use smart_scanner::strategy::{Bandit, Params, Scorer, Verdict};

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
                if let (Verdict::Signal, signal) = judge(&mut scorer, row) {
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
