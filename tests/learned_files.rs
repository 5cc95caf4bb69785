//! Promise: what was learned survives a restart bit for bit, a changed calibration is picked up while
//! running, and a file that cannot be believed is named and changes nothing.

#[path = "shared/judge.rs"]
mod judge;

use judge::judge;
use smart_scanner::app::learned::LearnedFiles;
use smart_scanner::model::feature::row_flag;
use smart_scanner::model::message::TradeOutcome;
use smart_scanner::model::{
    Candle, Decimal, Feature, FeatureRow, Instrument, Instruments, Lots, Reason, Symbol, Timeframe,
};
use smart_scanner::settings::Settings;
use smart_scanner::stage::learning::{FromScore, ToScore};
use smart_scanner::strategy::bandit::{Bandit, Level};
use smart_scanner::strategy::params::{BanditParams, RegimeParams};
use smart_scanner::strategy::{Params, Scorer, Verdict};
use smart_scanner::universe::live::Table;
use std::fs;
use std::path::{Path, PathBuf};

const MINUTE_MS: i64 = 60_000;
const START_MS: i64 = 1_748_000_100_000;
const INSTRUMENTS: u16 = 50;
const CLOSES: i64 = 400;

fn params() -> Params {
    let mut params = Params {
        score_min: 1.0,
        regime: RegimeParams {
            aware: false,
            ..RegimeParams::default()
        },
        ..Params::default()
    };
    // Weights fall; every label must go on all the same.
    params.label.shadow_score_min = 0.1;
    params
}

/// `momentum_burst` and `volume_spike` speak for the long side; with a pullback on every third.
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
    for (feature, value) in [
        (Feature::BodyRatio, 0.95),
        (Feature::RangeAtr, 2.5),
        (Feature::VolumeZ, 4.0),
        (Feature::Clv, 1.0),
        (Feature::Atr14, 1.0),
    ] {
        row.set(feature, Some(value));
    }
    if instrument.is_multiple_of(3) {
        // Only the burst: its experience becomes another one than the volume spike's.
        row.set(Feature::VolumeZ, Some(0.0));
        row.set(Feature::RangeAtr, Some(3.0));
        row.set(Feature::SupertrendDirection, Some(1.0));
        row.set(Feature::SupertrendAge, Some(0.0));
        row.set(Feature::Adx14, Some(40.0));
    }
    row
}

/// The candle after: it hits the target of most bursts with a flip, and the stop of most others.
fn ending_row(instrument: u16, open_ms: i64, draw: u64) -> FeatureRow {
    let mut row = FeatureRow {
        instrument,
        timeframe: Timeframe::M5 as u8,
        candle: Candle::flat(open_ms, 103.0),
        ..FeatureRow::default()
    };
    let wins = if instrument.is_multiple_of(3) {
        !draw.is_multiple_of(4)
    } else {
        draw.is_multiple_of(4)
    };
    if wins {
        row.candle.high = 120.0;
    } else {
        row.candle.low = 80.0;
    }
    row
}

/// Plays closes `from..to`; every label of a close ends with the next candle.
fn play(scorer: &mut Scorer, from: i64, to: i64) {
    let mut draw = 0x9e37_79b9_7f4a_7c15_u64.wrapping_add(from as u64);
    for close in from..to {
        let open_ms = START_MS + close * 10 * MINUTE_MS;
        for instrument in 0..INSTRUMENTS {
            judge(scorer, &loud_row(instrument, open_ms));
        }
        for instrument in 0..INSTRUMENTS {
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            judge(
                scorer,
                &ending_row(instrument, open_ms + 5 * MINUTE_MS, draw >> 33),
            );
        }
    }
    scorer.settle();
}

fn scorer(bandit: Bandit) -> Scorer {
    Scorer::new(params(), usize::from(INSTRUMENTS), &[Timeframe::M5], bandit)
}

fn open(directory: &Path) -> smart_scanner::app::learned::Opened {
    let (bandit, calibration) = (
        directory.join("bandit_state.json"),
        directory.join("calibration.json"),
    );
    LearnedFiles::open_paths(&bandit, &calibration, Params::default())
}

/// Saves `bandit` the way a run does: asked for, copied, written.
fn save(directory: &Path, bandit: &Bandit) {
    let mut opened = open(directory);
    assert!(opened.files.ask_lessons(true));
    let Some(ToScore::Lessons {
        mut into,
        is_final: true,
    }) = opened.learned.learning.take()
    else {
        panic!("no question came")
    };
    into.bandit.copy_from(bandit);
    assert!(opened.learned.learning.reply(FromScore::Lessons(into)).is_ok());
    opened.files.finish();
}

fn nodes(bandit: &Bandit) -> Vec<[u64; 4]> {
    (0..smart_scanner::strategy::COMPONENTS.len())
        .flat_map(|arm| Level::all().map(move |level| (arm, level)))
        .map(|(arm, level)| {
            let node = bandit.node(arm, level);
            let words = [node.success.to_bits(), node.failure.to_bits()];
            [words[0], words[1], node.count, node.updated_ms as u64]
        })
        .collect()
}

#[test]
fn twenty_thousand_virtual_labels_move_the_weights_and_continue_bit_for_bit() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut whole = scorer(Bandit::new(BanditParams::default()));
    play(&mut whole, 0, CLOSES);
    let labels = CLOSES * i64::from(INSTRUMENTS);
    assert_eq!(labels, 20_000);
    let flip = whole.bandit().node(5, Level::Arm);
    let spike = whole.bandit().node(8, Level::Arm);
    assert_eq!(
        flip.count + spike.count,
        labels as u64,
        "each label taught one of the two"
    );
    let at_ms = START_MS + CLOSES * 10 * MINUTE_MS;
    let weights = whole
        .bandit()
        .weights(smart_scanner::strategy::Relative::Neutral, Timeframe::M5, at_ms);
    assert!(weights[5] > 1.2 && weights[8] < 0.8, "{weights:?}");

    save(directory.path(), whole.bandit());
    let reloaded = open(directory.path())
        .learned
        .bandit
        .expect("the file just saved");
    assert_eq!(nodes(&reloaded), nodes(whole.bandit()));
    let mut continued = scorer(reloaded);
    play(&mut whole, CLOSES, CLOSES + 50);
    play(&mut continued, CLOSES, CLOSES + 50);
    assert_eq!(nodes(continued.bandit()), nodes(whole.bandit()));
}

#[test]
fn a_save_is_whole_or_not_there_and_the_one_before_stays() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut first = Bandit::new(BanditParams::default());
    let context = (smart_scanner::strategy::Relative::Chop, Timeframe::M1);
    first.update(3, context.0, context.1, 1.0, 1.0, START_MS);
    save(directory.path(), &first);
    let mut second = first.clone();
    second.update(3, context.0, context.1, 2.0, 1.0, START_MS + 1);
    save(directory.path(), &second);
    let path = directory.path().join("bandit_state.json");
    assert!(!directory.path().join("bandit_state.json.new").exists());
    for torn in ["", "{\"version\":1,\"algo\":\"dbe", "[]"] {
        fs::write(&path, torn).expect("written");
        let opened = open(directory.path());
        let bandit = opened.learned.bandit.expect("the backup");
        assert_eq!(nodes(&bandit), nodes(&first), "the save before");
        assert!(
            opened.notes[0].contains("bandit_state.json:"),
            "{:?}",
            opened.notes
        );
    }
}

fn huge(path: &PathBuf) {
    // A hole: a gigabyte that takes no room on the disk.
    let file = fs::File::create(path).expect("created");
    file.set_len(1 << 30).expect("a sparse file");
}

#[test]
fn weights_that_cannot_be_believed_begin_at_one_with_a_word() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("bandit_state.json");
    assert!(open(directory.path()).notes.is_empty(), "absent files are normal");
    let node = |s: &str| {
        format!(
            r#"{{"version":1,"algo":"dbeta-pool","reward":{{"lo":-1.5,"hi":3.0}},"nodes":{{"trend_pullback":{{"s":{s},"f":1,"n":1,"ts_ms":1}}}}}}"#
        )
    };
    for (text, words) in [
        (r#"{"tau":0.1,"weights":{"x":1}}"#.to_string(), "Python scanner"),
        (r#"{"version":7,"algo":"dbeta-pool"}"#.to_string(), "version"),
        (node("NaN"), "JSON"),
        (node("1e999"), "JSON"),
        (node("-1"), "dropped"),
    ] {
        fs::write(&path, &text).expect("written");
        let opened = open(directory.path());
        assert!(
            opened.notes.iter().any(|note| note.contains(words)),
            "{text}: {:?}",
            opened.notes
        );
        let known = opened
            .learned
            .bandit
            .unwrap_or(Bandit::new(BanditParams::default()));
        assert_eq!(
            nodes(&known),
            nodes(&Bandit::new(BanditParams::default())),
            "{text}"
        );
        assert_eq!(
            fs::read_to_string(&path).expect("still there"),
            text,
            "it is left alone"
        );
    }
    huge(&path);
    let opened = open(directory.path());
    assert!(opened.learned.bandit.is_none());
    assert!(opened.notes[0].contains("more than"), "{:?}", opened.notes);
}

#[test]
fn a_changed_calibration_is_handed_over_and_a_bad_one_is_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("calibration.json");
    fs::write(&path, r#"{"bias":0.0,"coef":{"score":0.1}}"#).expect("written");
    let mut opened = open(directory.path());
    assert!(opened.learned.calibration.is_some());
    let learning = opened.learned.learning.clone();
    assert!(
        opened.files.look().is_empty() && learning.take().is_none(),
        "nothing changed"
    );

    for (text, words) in [
        (r#"{"bias":0.0,"coef":{"sc"#, "not JSON"),
        (r#"{"bias":"high","coef":{}}"#, "bias"),
        (r#"{"bias":1e999,"coef":{}}"#, "not JSON"),
    ] {
        fs::write(&path, text).expect("written");
        let notes = opened.files.look();
        assert!(notes.iter().any(|note| note.contains(words)), "{text}: {notes:?}");
        assert!(learning.take().is_none(), "the good model stays");
        assert!(opened.files.look().is_empty(), "and it is said once");
    }
    huge(&path);
    assert!(opened.files.look()[0].contains("more than"));
    assert!(learning.take().is_none());
    fs::remove_file(&path).expect("removed");
    assert!(opened.files.look()[0].contains("gone"));
    assert!(learning.take().is_none());

    fs::write(&path, r#"{"bias":0.25,"coef":{"score":0.2}}"#).expect("written");
    opened.files.look();
    let Some(ToScore::Model(mut model)) = learning.take() else {
        panic!("the new model is not handed over")
    };
    let mut scorer = scorer(Bandit::new(BanditParams::default()));
    scorer.swap_calibration(&mut model);
    let (Verdict::Signal, signal) = judge(&mut scorer, &loud_row(1, START_MS)) else {
        panic!("a signal")
    };
    assert_eq!(signal.probability_source, 2);
    let expected = 1.0 / (1.0 + (-(0.25 + 0.2 * signal.score)).exp());
    assert!((signal.probability - expected).abs() < 1e-12);
}

/// The instruments of `loud_row`, by id.
fn instruments() -> Instruments {
    let one = Decimal::parse(b"1").expect("a decimal");
    let mut all = Instruments::new();
    for number in 0..INSTRUMENTS {
        let instrument = Instrument {
            symbol: Symbol::parse(&format!("S{number:02}-USDT")).expect("a symbol"),
            tick_size: one,
            lot_size: one,
            contract_value: one,
            min_lots: Lots(1),
            max_limit_lots: Lots(1),
            max_market_lots: Lots(1),
            max_leverage: 1,
            live: true,
            list_ms: 0,
        };
        all.insert(instrument).expect("room");
    }
    all
}

fn flat_row(instrument: u16, open_ms: i64) -> FeatureRow {
    FeatureRow {
        instrument,
        timeframe: Timeframe::M5 as u8,
        candle: Candle::flat(open_ms, 103.0),
        ..FeatureRow::default()
    }
}

/// Saves what `scorer` has the way a run does while it goes on.
fn save_all(settings: &Settings, scorer: &Scorer) {
    let mut opened = LearnedFiles::open(settings, params(), &instruments());
    opened.files.follow(Table::new(instruments(), Vec::new()).view());
    assert!(opened.files.ask_lessons(false));
    let Some(ToScore::Lessons { mut into, .. }) = opened.learned.learning.take() else {
        panic!("no question came")
    };
    into.bandit.copy_from(scorer.bandit());
    let room = into.pending.labels.capacity();
    scorer.save(&mut into.pending);
    assert_eq!(
        into.pending.labels.capacity(),
        room,
        "the deciding side never allocates"
    );
    assert!(opened.learned.learning.reply(FromScore::Lessons(into)).is_ok());
    opened.files.finish();
}

#[test]
fn what_is_pending_goes_on_after_a_restart_and_teaches_what_it_would_have_taught() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = Settings::research(None, &[], directory.path()).expect("settings");
    let mut whole = scorer(Bandit::new(BanditParams::default()));
    play(&mut whole, 0, 3);
    let open_ms = START_MS + 3 * 10 * MINUTE_MS;
    let at = |candles: i64| open_ms + candles * 5 * MINUTE_MS;
    let mut ids = Vec::new();
    for instrument in 0..INSTRUMENTS {
        let (Verdict::Signal, signal) = judge(&mut whole, &loud_row(instrument, at(0))) else {
            panic!("a signal")
        };
        if instrument < 3 {
            whole.emitted(&signal);
            ids.push(signal.id);
        }
    }
    // A candle that ends one trade, which has taught nobody yet, and leaves the others open.
    let second = |instrument: u16| match instrument {
        7 => ending_row(7, at(1), 0),
        other => flat_row(other, at(1)),
    };
    for instrument in 0..INSTRUMENTS {
        judge(&mut whole, &second(instrument));
    }
    assert_eq!(whole.labels().pending_count(), 49);
    save_all(&settings, &whole);

    let opened = LearnedFiles::open(&settings, params(), &instruments());
    let said = opened
        .notes
        .iter()
        .any(|note| note.contains("score.snapshot: 50 virtual trades"));
    assert!(said, "{:?}", opened.notes);
    let pending = opened.learned.pending.expect("the snapshot");
    let resume = || {
        let mut resumed = scorer(opened.learned.bandit.clone().expect("the weights"));
        assert_eq!(resumed.restore(&pending), 0);
        resumed
    };
    let mut resumed = resume();
    // The history is read first, one series after the other.
    for instrument in 0..INSTRUMENTS {
        for row in [loud_row(instrument, at(0)), second(instrument)] {
            let flags = row_flag::BACKFILL;
            assert!(matches!(
                judge(&mut resumed, &FeatureRow { flags, ..row }).0,
                Verdict::None
            ));
        }
    }
    assert_eq!(resumed.labels().pending_count(), 49);
    // What left before the restart still silences its series, and another series is free.
    let (verdict, _) = judge(&mut resume(), &loud_row(1, at(1)));
    assert!(
        matches!(verdict, Verdict::Refused(refusal) if refusal.reason == Reason::Duplicate),
        "{verdict:?}"
    );
    let (Verdict::Signal, signal) = judge(&mut resume(), &loud_row(9, at(1))) else {
        panic!("a signal")
    };
    assert!(!ids.contains(&signal.id), "ids go on");

    for instrument in 0..INSTRUMENTS {
        let row = ending_row(instrument, at(2), u64::from(instrument));
        judge(&mut whole, &row);
        judge(&mut resumed, &row);
    }
    // The first signal's trade ended, at another result than its virtual one.
    let outcome = TradeOutcome {
        signal: ids[0],
        r: -0.7,
        timeframe: Timeframe::M5 as u8,
        closed_ms: at(3),
        ..bytemuck::Zeroable::zeroed()
    };
    for scorer in [&mut whole, &mut resumed] {
        scorer.settle();
        scorer.on_outcome(&outcome);
        assert_eq!(scorer.outcome_late_count(), 0);
    }
    assert_eq!(nodes(resumed.bandit()), nodes(whole.bandit()), "bit for bit");
    for id in ids {
        let (one, other) = (whole.take_ended(), resumed.take_ended());
        assert_eq!(one.map(|label| label.signal), Some(id));
        assert_eq!(one, other);
    }

    // Without the candle in between nobody knows what happened: dropped, and nothing is taught.
    let mut holed = resume();
    let before = nodes(holed.bandit());
    for instrument in 0..INSTRUMENTS {
        judge(&mut holed, &ending_row(instrument, at(3), 0));
    }
    holed.settle();
    assert_eq!(holed.labels().dropped_count, 50);
    assert_eq!(nodes(holed.bandit()), before);
}

#[test]
fn a_snapshot_that_cannot_be_believed_begins_anew_with_a_word() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = Settings::research(None, &[], directory.path()).expect("settings");
    let mut scorer = scorer(Bandit::new(BanditParams::default()));
    judge(&mut scorer, &loud_row(0, START_MS));
    save_all(&settings, &scorer);
    let path = settings.daemon.state_dir.join("score.snapshot");
    let bytes = fs::read(&path).expect("saved");
    fs::write(&path, &bytes[..bytes.len() - 1]).expect("cut");
    let opened = LearnedFiles::open(&settings, params(), &instruments());
    assert!(opened.learned.pending.is_none());
    assert!(
        opened
            .notes
            .iter()
            .any(|note| note.contains("score.snapshot") && note.contains("damaged")),
        "{:?}",
        opened.notes
    );
    // Another universe: what it does not follow is left out, and said.
    fs::write(&path, &bytes).expect("whole again");
    let opened = LearnedFiles::open(&settings, params(), &Instruments::new());
    assert!(opened.learned.pending.expect("an empty one").labels.is_empty());
    assert!(
        opened.notes.iter().any(|note| note.contains("left out")),
        "{:?}",
        opened.notes
    );
}
