//! Regimes change with hysteresis.

use smart_scanner::model::{Feature, FeatureRow};
use smart_scanner::strategy::Regime;
use smart_scanner::strategy::params::RegimeParams;
use smart_scanner::strategy::regime::RegimeState;

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
