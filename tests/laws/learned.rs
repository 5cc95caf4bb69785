//! What was learned and saved: read the same way twice, what is believed is in range, and learning goes on
//! with it. The files' own texts: bandit, calibration, or what is pending.

use super::{NOW_MS, check_told, texts};
use bytemuck::Zeroable;
use smart_scanner::model::message::{Signal, SignalLabel};
use smart_scanner::model::{Candle, Feature, FeatureRow, InstrumentId, Timeframe};
use smart_scanner::strategy::components::COMPONENT_COUNT;
use smart_scanner::strategy::labels::Label;
use smart_scanner::strategy::params::{BanditParams, Params};
use smart_scanner::strategy::pending::Sent;
use smart_scanner::strategy::probability::ModelInputs;
use smart_scanner::strategy::{Bandit, Calibration, Pending, Relative, Scorer, bandit_file, pending_file};

pub fn check(bytes: &[u8]) {
    check_pending(bytes);
    check_records(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        check_bandit(text);
        check_calibration(text);
    }
}

fn check_pending(bytes: &[u8]) {
    let load = || pending_file::load(bytes, |symbol| (symbol == "BTC-USDT").then_some(InstrumentId(0)));
    let Ok((pending, _)) = load() else {
        return assert!(load().is_err());
    };
    let saved = pending_file::save(&pending, |_| Some("BTC-USDT"));
    let (again, strangers) = pending_file::load(&saved, |_| Some(InstrumentId(0))).expect("our own file");
    assert_eq!((again.labels.len(), strangers), (pending.labels.len(), 0));
    assert_eq!((again.sent, again.forms), (pending.sent, pending.forms));
}

/// Whatever stands in the records of a file whose check sum is right: what a scorer takes up of it, it can
/// go on with.
fn check_records(bytes: &[u8]) {
    fn read<T: bytemuck::Pod>(bytes: &[u8]) -> Vec<T> {
        let records = bytes.chunks_exact(size_of::<T>());
        records.map(bytemuck::pod_read_unaligned).collect()
    }
    let mut pending = Pending::default();
    (pending.labels, pending.sent) = (read(bytes), read(bytes));
    (pending.crowds, pending.forms) = (read(bytes), read(bytes));
    pending.labels.iter_mut().for_each(|label| label.series = 0);
    pending.sent.iter_mut().for_each(|sent| sent.series = 0);
    pending.forms.iter_mut().for_each(|form| form.instrument = 0);
    (pending.close_ms, pending.signal_count) = (i64::MAX, u64::MAX);
    let file = pending_file::save(&pending, |_| Some("BTC-USDT"));
    let (loaded, _) = pending_file::load(&file, |_| Some(InstrumentId(0))).expect("our own file");
    assert!(loaded.labels.iter().all(Label::is_plausible) && loaded.sent.iter().all(Sent::is_plausible));
    // Bit for bit: what is not a number is not equal to itself.
    let bytes = |pending: &Pending| {
        let crowds: &[u8] = bytemuck::cast_slice(&pending.crowds);
        [crowds, bytemuck::cast_slice(&pending.forms)].concat()
    };
    assert!(bytes(&loaded) == bytes(&pending), "crowds and forms are others");
    let params = Params::default();
    let timeframes = [Timeframe::M1, Timeframe::M5];
    let bandit = Bandit::new(params.bandit);
    let mut scorer = Scorer::new(params, 1, &timeframes, bandit);
    scorer.restore(&loaded);
    let mut candidate = Signal::zeroed();
    for minute in 0..3 {
        let mut row = FeatureRow {
            timeframe: Timeframe::M1 as u8,
            candle: Candle::flat(NOW_MS + minute * 60_000, 100.0),
            ..FeatureRow::default()
        };
        row.set(Feature::Atr14, Some(1.0));
        scorer.on_row(&row, &mut candidate);
        scorer.prepare();
        while scorer.take_ended().is_some() {}
    }
}

fn check_bandit(text: &str) {
    let params = BanditParams::default();
    let mut loaded = match bandit_file::load(text, params) {
        Ok(loaded) => loaded,
        Err(error) => return check_told(&error.to_string()),
    };
    let saved = bandit_file::save(&loaded.bandit, &loaded.unknown, NOW_MS);
    let again = bandit_file::load(&saved, params).expect("our own text");
    assert_eq!(bandit_file::save(&again.bandit, &again.unknown, NOW_MS), saved);
    check_weights(&loaded.bandit);
    for arm in 0..COMPONENT_COUNT {
        for timeframe in Timeframe::ALL {
            let bandit = &mut loaded.bandit;
            bandit.update(arm, Relative::ALL[0], timeframe, 1.0, 1.0, NOW_MS);
            bandit.withdraw(arm, Relative::ALL[0], timeframe, 1.0, 1.0, NOW_MS);
        }
    }
    check_weights(&loaded.bandit);
}

fn check_weights(bandit: &Bandit) {
    let params = bandit.params();
    for relative in Relative::ALL {
        for timeframe in [Timeframe::ALL[0], Timeframe::H1] {
            for weight in bandit.weights(relative, timeframe, NOW_MS) {
                assert!(
                    (params.weight_min..=params.weight_max).contains(&weight),
                    "{weight}"
                );
            }
        }
    }
}

fn check_calibration(text: &str) {
    let read = || Calibration::parse(text, 62.0);
    let (calibration, warnings) = match (read(), read()) {
        (Ok(one), Ok(other)) => {
            assert_eq!(one, other);
            one
        }
        (Err(error), Err(_)) => return check_told(&error.to_string()),
        _ => panic!("it is read in two ways"),
    };
    warnings.iter().for_each(|warning| check_told(warning));
    for value in [0.0, 1.0, -1e300, 1e300] {
        for present in [0, u64::MAX] {
            let mut inputs = ModelInputs::default();
            (inputs.present, inputs.values) = (present, [value; _]);
            let probability = calibration.probability(&inputs);
            assert!((0.01..=0.99).contains(&probability), "{probability}");
        }
    }
}

/// A virtual trade under way and a signal that is remembered, as bytes; and the same at the ends of what
/// times and counts can be.
fn records() -> Vec<Vec<u8>> {
    let label = Label {
        open_ms: NOW_MS - 60_000,
        mask: 0b11,
        side: 1,
        signal: 5,
        sl_distance: 1.0,
        tp_distance: 2.0,
        ..Label::default()
    };
    let sent = Sent {
        signal: 5,
        mask: 0b11,
        side: 1,
        open_ms: NOW_MS - 60_000,
        ..Sent::zeroed()
    };
    let form = SignalLabel {
        signal: 5,
        side: 1,
        ..SignalLabel::zeroed()
    };
    let mut seeds = vec![
        bytemuck::bytes_of(&label).to_vec(),
        bytemuck::bytes_of(&sent).to_vec(),
        bytemuck::bytes_of(&form).to_vec(),
    ];
    for open_ms in [i64::MIN, -1, i64::MAX] {
        seeds.push(bytemuck::bytes_of(&Label { open_ms, ..label }).to_vec());
        seeds.push(bytemuck::bytes_of(&Sent { open_ms, ..sent }).to_vec());
    }
    let old = Label {
        candles: u8::MAX,
        entry: 100.0,
        open_ms: NOW_MS - 256 * 60_000,
        ..label
    };
    seeds.push(bytemuck::bytes_of(&old).to_vec());
    seeds
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut bandit = Bandit::new(BanditParams::default());
    for arm in 0..4 {
        bandit.update(arm, Relative::ALL[arm % 2], Timeframe::H1, 0.7, 1.0, NOW_MS);
    }
    let mut seeds = texts(&[
        &bandit_file::save(&bandit, &[], NOW_MS),
        r#"{"tau":1,"weights":{}}"#,
        r#"{"feature_version":1,"bias":-0.4,"coef":{"score":0.02,"er_mix":1.5},"clip":{"score":[0,100]},"absent":{"er_mix":0.3},"iso":{"x":[0.1,0.5],"y":[0.2,0.6]}}"#,
        r#"{"bias":0,"coef":{}}"#,
    ]);
    let mut pending = Pending::default();
    (pending.close_ms, pending.signal_count) = (NOW_MS, 7);
    seeds.push(pending_file::save(&pending, |_| Some("BTC-USDT")));
    seeds.extend(records());
    // A count at its end: one more label must not end the program.
    let full = bandit_file::save(&bandit, &[], NOW_MS).replace("\"n\": 1", &format!("\"n\": {}", u64::MAX));
    seeds.push(full.into_bytes());
    seeds
}
