//! From rows to signals and refusals, and from outcomes to weights.

use super::judge::judge;
use super::market::{MINUTE_MS, START_MS};
use smart_scanner::model::feature::row_flag;
use smart_scanner::model::message::{Signal, TradeOutcome};
use smart_scanner::model::{Candle, Feature, FeatureRow, Side, Timeframe};
use smart_scanner::strategy::bandit::Level;
use smart_scanner::strategy::params::RegimeParams;
use smart_scanner::strategy::{Bandit, Params, Relative, Scorer, Verdict};

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
    let (Verdict::Signal, signal) = judge(&mut scorer, &loud_row(2, START_MS)) else {
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
    // SL 1.2 ATR, TP 1.6 of it; 16 bps of 103 is the cost: fees, and 2 bps of slippage a side.
    assert!((signal.sl_distance - 1.2).abs() < 1e-12);
    assert!((signal.tp_distance - 1.92).abs() < 1e-12);
    assert!((signal.cost_r - 0.1648 / 1.2).abs() < 1e-12);
    let p = signal.probability;
    let ev_r = p * (1.6 - signal.cost_r) - (1.0 - p) * (1.0 + signal.cost_r);
    assert!((signal.ev_r - ev_r).abs() < 1e-12);
    assert_eq!(signal.features_present & 1, 1);
    assert_eq!(signal.features[0], signal.score);
}

#[test]
fn a_candidate_is_written_whole_whatever_stood_in_its_place() {
    for score_min in [1.0, 2.4] {
        let params = || Params { score_min, ..easy() };
        let row = loud_row(2, START_MS);
        let mut zeroed: Signal = bytemuck::Zeroable::zeroed();
        let verdict = scorer(params()).on_row(&row, &mut zeroed);
        let (again, dirty) = judge(&mut scorer(params()), &row);
        assert_eq!(verdict, again);
        assert_eq!(
            bytemuck::bytes_of(&zeroed),
            bytemuck::bytes_of(&dirty),
            "{verdict:?}"
        );
    }
}

#[test]
fn a_loaded_bandit_counts_from_the_first_close() {
    let mut learned = Bandit::new(Params::default().bandit);
    for component in 0..13 {
        for _ in 0..50 {
            learned.update(component, Relative::Neutral, Timeframe::M5, 1.0, 1.0, START_MS);
        }
    }
    let mut scorer = Scorer::new(easy(), 20, &[Timeframe::M5], learned);
    let (_, candidate) = judge(&mut scorer, &loud_row(2, START_MS));
    assert!(candidate.er_mix > 0.3, "{}", candidate.er_mix);
}

#[test]
fn rows_that_must_not_signal_do_not() {
    use smart_scanner::model::Reason::{self, *};
    let refused = |scorer: &mut Scorer, row: &FeatureRow| -> Option<Reason> {
        match judge(scorer, row) {
            (Verdict::Refused(refusal), _) => Some(refusal.reason),
            (Verdict::None, _) => None,
            (Verdict::Signal, signal) => panic!("signal {}", signal.id),
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
fn a_signal_needs_the_volume_that_is_asked_for_and_an_unknown_one_is_none() {
    use smart_scanner::model::Reason;
    for (volume, asked, passes) in [
        (None, 0.0, true),
        (Some(400_000.0), 400_000.0, true),
        (Some(399_999.0), 400_000.0, false),
        (None, 400_000.0, false),
    ] {
        let mut scorer = scorer(Params {
            quote_volume_min: asked,
            ..easy()
        });
        let mut row = loud_row(1, START_MS);
        row.set(Feature::QuoteVolume24h, volume);
        match judge(&mut scorer, &row) {
            (Verdict::Signal, _) => assert!(passes, "{volume:?} of {asked}"),
            (Verdict::Refused(refusal), candidate) => {
                assert!(!passes, "{volume:?} of {asked}");
                assert_eq!(refusal.reason, Reason::VolumeLow);
                assert!(refusal.is_near, "and it is written down");
                assert_eq!(candidate.reason, Reason::VolumeLow as u16);
            }
            (Verdict::None, _) => panic!("nothing fired"),
        }
    }
}

#[test]
fn the_cooldown_starts_with_the_emitted_signal() {
    use smart_scanner::model::Reason;
    let mut scorer = scorer(Params {
        signal_cooldown_ms: 6 * MINUTE_MS,
        ..easy()
    });
    let at = |minutes: i64| loud_row(1, START_MS + minutes * MINUTE_MS);
    let (Verdict::Signal, first) = judge(&mut scorer, &at(0)) else {
        panic!("a signal")
    };
    assert!(
        matches!(judge(&mut scorer, &at(5)), (Verdict::Signal, _)),
        "not emitted yet, so no cooldown"
    );
    scorer.emitted(&first);
    let (Verdict::Refused(refusal), _) = judge(&mut scorer, &at(5)) else {
        panic!("cooling down")
    };
    assert_eq!(refusal.reason, Reason::SignalCooldown);
    assert!(matches!(judge(&mut scorer, &at(10)), (Verdict::Signal, _)));
}

#[test]
fn components_learn_from_their_virtual_trades_whatever_the_order_of_rows() {
    let run = |order: &[u16]| -> Bandit {
        let mut scorer = scorer(easy());
        for instrument in order {
            judge(&mut scorer, &loud_row(*instrument, START_MS));
        }
        for instrument in order {
            let mut next = FeatureRow {
                candle: Candle::flat(START_MS + 5 * MINUTE_MS, 103.0),
                ..loud_row(*instrument, 0)
            };
            next.candle.high = if instrument % 2 == 0 { 110.0 } else { 103.0 };
            next.candle.low = 103.0 - f64::from(*instrument);
            judge(&mut scorer, &next);
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
    let (Verdict::Signal, signal) = judge(&mut scorer, &loud_row(7, START_MS)) else {
        panic!("a signal")
    };
    scorer.emitted(&signal);
    scorer.on_outcome(&outcome(&signal, 1.5));
    assert_eq!(scorer.bandit().node(4, Level::Arm).count, 1);
    assert!((scorer.bandit().node(4, Level::Arm).success - 2.0 / 3.0).abs() < 1e-12);
    scorer.on_outcome(&outcome(&signal, 1.5));
    assert_eq!(scorer.bandit().node(4, Level::Arm).count, 1, "not twice");
    assert_eq!(scorer.outcome_late_count(), 1);
    // The virtual trade runs on for its label, and teaches nobody.
    let stopped = stopped_row(7, START_MS + 5 * MINUTE_MS);
    judge(&mut scorer, &stopped);
    scorer.settle();
    assert_eq!(scorer.bandit().node(4, Level::Arm).count, 1);
    let label = scorer.take_ended().expect("the label of the signal");
    assert_eq!((label.signal, label.outcome), (signal.id, 2));
    assert!(label.r < -1.0, "a stop, and its cost: {}", label.r);
}

/// A quiet candle after `loud_row` that falls through every stop.
fn stopped_row(instrument: u16, open_ms: i64) -> FeatureRow {
    let mut row = FeatureRow {
        instrument,
        timeframe: Timeframe::M5 as u8,
        candle: Candle::flat(open_ms, 103.0),
        ..FeatureRow::default()
    };
    row.candle.low = 90.0;
    row
}

#[test]
fn a_realised_result_that_comes_late_takes_the_virtual_one_back() {
    let mut scorer = scorer(easy());
    let (Verdict::Signal, signal) = judge(&mut scorer, &loud_row(7, START_MS)) else {
        panic!("a signal")
    };
    scorer.emitted(&signal);
    judge(&mut scorer, &stopped_row(7, START_MS + 5 * MINUTE_MS));
    scorer.settle();
    let virtual_only = *scorer.bandit().node(4, Level::Arm);
    assert_eq!(virtual_only.count, 1);
    assert!(virtual_only.success < 0.15, "{virtual_only:?}");
    let at_ms = START_MS + 10 * MINUTE_MS;
    scorer.on_outcome(&TradeOutcome {
        signal: signal.id,
        r: 3.0,
        instrument: signal.instrument,
        timeframe: signal.timeframe,
        exit: 1,
        closed_ms: at_ms,
        ..bytemuck::Zeroable::zeroed()
    });
    let node = *scorer.bandit().node(4, Level::Arm);
    assert_eq!(node.count, 1, "one trade, one lesson");
    assert!(
        (node.success - 1.0).abs() < 1e-12 && node.failure < 1e-12,
        "{node:?}"
    );
}

#[test]
fn a_near_miss_is_told_whole_and_with_its_reason() {
    use smart_scanner::model::Reason;
    let mut scorer = scorer(Params {
        score_min: 2.4,
        ..easy()
    });
    let (Verdict::Refused(refusal), candidate) = judge(&mut scorer, &loud_row(1, START_MS)) else {
        panic!("2.0 points are no signal")
    };
    assert!(refusal.is_near, "less than half a point away");
    assert_eq!(
        (candidate.id, candidate.reason),
        (0, Reason::ScoreBelowMin as u16)
    );
    assert_eq!((candidate.score, candidate.score_min), (2.0, 2.4));
    assert_eq!((candidate.component_count, candidate.components_min), (2, 2));
    assert_eq!((candidate.points_long, candidate.points_short), (2.0, 0.0));
}

#[test]
fn what_components_have_earned_can_be_asked_for() {
    use smart_scanner::model::Reason;
    let with = |least: f64| {
        let mut scorer = scorer(Params {
            expected_r_min: Some(least),
            ..easy()
        });
        judge(&mut scorer, &loud_row(1, START_MS))
    };
    assert!(
        matches!(with(-0.1), (Verdict::Signal, _)),
        "nothing learned is 0 R"
    );
    let (Verdict::Refused(refusal), _) = with(0.1) else {
        panic!("0 R is less than 0.1 R")
    };
    assert_eq!(refusal.reason, Reason::ExpectedRLow);
}
