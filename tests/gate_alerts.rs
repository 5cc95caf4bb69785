//! Alerts and signals through the composed gate: one door, one answer, one entry.

mod scene;

use bytemuck::Zeroable;
use scene::*;
use smart_scanner::model::message::*;
use smart_scanner::model::*;

#[test]
fn an_alert_goes_through_the_same_gate() {
    let mut scene = Scene::new(params());
    let mut alert = Alert::zeroed();
    alert.request = 5;
    alert.instrument = BTC.0;
    alert.side = Side::Buy as u8;
    alert.timeframe = 255;
    alert.score = 4.2;
    alert.probability = 0.66;
    alert.id_hash = [1, 2];
    alert.dry = 1;
    scene.send_alert(&alert);
    let dry = scene.answers[0];
    assert_eq!((dry.request, dry.decision, dry.size_lots), (5, 4, 8));
    assert!(scene.commands.is_empty(), "dry means dry");

    alert.dry = 0;
    scene.send_alert(&alert);
    let accepted = scene.answers[1];
    let entry = scene.last(CommandKind::Place);
    assert_eq!((accepted.decision, accepted.client_id), (1, entry.client_id));
    assert_eq!(
        (accepted.sl_ticks, accepted.tp_ticks),
        (entry.sl_ticks, entry.tp_ticks)
    );
    assert_eq!(accepted.signal, entry.signal);

    scene.send_alert(&alert);
    assert_eq!(
        (scene.answers[2].decision, scene.answers[2].reason),
        (3, Reason::Duplicate as u16)
    );
    alert.id_hash = [3, 4];
    alert.side = Side::Sell as u8;
    scene.send_alert(&alert);
    let contrary = scene.answers[3];
    assert_eq!(
        (contrary.decision, contrary.reason),
        (2, Reason::OrderInFlight as u16),
        "the first wins"
    );
    alert.instrument = 99;
    scene.send_alert(&alert);
    assert_eq!(scene.answers[4].reason, Reason::InstrumentUnknown as u16);
    alert.instrument = BTC.0;
    alert.side = 9;
    scene.send_alert(&alert);
    assert_eq!(scene.answers[5].reason, Reason::OpinionInvalid as u16);
    for (answer, reason) in [(4, Reason::InstrumentUnknown), (5, Reason::OpinionInvalid)] {
        assert_eq!(scene.refusals(reason), 1);
        let told = |event: &&GateEvent| event.signal == scene.answers[answer].signal;
        assert_eq!(scene.events.iter().filter(told).count(), 1, "{reason:?}");
    }
    assert_eq!(scene.count(CommandKind::Place), 1);
}

#[test]
fn late_and_weak_alerts_are_refused() {
    for (score, probability, sender_ms, reason) in [
        (3.5, 0.9, 0, Reason::ScoreLow),
        (f64::NAN, 0.9, 0, Reason::ScoreLow),
        (5.0, 0.5, 0, Reason::ProbabilityLow),
        (5.0, 0.9, START_MS - 60_000, Reason::Expired),
    ] {
        let mut scene = Scene::new(params());
        let mut alert = Alert::zeroed();
        alert.side = Side::Buy as u8;
        alert.timeframe = 255;
        alert.score = score;
        alert.probability = probability;
        alert.sender_ms = sender_ms;
        scene.send_alert(&alert);
        assert_eq!(scene.answers[0].reason, reason as u16, "{reason:?}");
    }
}

#[test]
fn one_entry_for_one_signal_and_one_position_for_one_instrument() {
    let mut scene = Scene::new(params());
    let signal = scene.make_signal(BTC, Side::Buy);
    scene.send_signal(&signal);
    scene.send_signal(&signal);
    assert_eq!(scene.refusals(Reason::Duplicate), 1);
    let entry = scene.last(CommandKind::Place);
    scene.reply_code(&entry, Outcome::Rejected, 0, 103_003);
    scene.send_signal(&signal);
    assert_eq!(scene.count(CommandKind::Place), 1, "not even after a rejection");
}

#[test]
fn exposure_and_count_hold_what_is_in_flight() {
    let mut scene = Scene::new(params());
    scene.signal(Side::Buy);
    let mut status = Default::default();
    scene.gate.status(scene.now, &mut status);
    assert_eq!(status.entries_in_flight, 1);
    assert!((status.exposure_usd - 48.0).abs() < 0.1);
    let mut tight = params();
    tight.limits.positions_max = 1;
    let mut scene = Scene::new(tight);
    scene.signal(Side::Buy);
    scene.quote_of(InstrumentId(1), 60_000.0, 60_000.1);
    let other = scene.make_signal(InstrumentId(1), Side::Buy);
    scene.send_signal(&other);
    assert_eq!(scene.refusals(Reason::PositionsMax), 1);
}

#[test]
fn losses_pause_entries_until_the_next_day() {
    let mut limited = params();
    limited.limits.consecutive_losses_max = 1;
    let mut scene = Scene::new(limited);
    let (entry, bracket) = scene.enter(Side::Buy, 60_000.1);
    scene.trigger(&entry, bracket, 2, 59_700.1);
    scene.run_ms(121_000);
    scene.quote(60_000.0, 60_000.1);
    scene.signal(Side::Buy);
    assert_eq!(scene.refusals(Reason::ConsecutiveLosses), 1);
    scene.run_ms(86_400_000);
    scene.quote(60_000.0, 60_000.1);
    scene.signal(Side::Buy);
    assert_eq!(scene.count(CommandKind::Place), 2);
}

#[test]
fn nonsense_is_counted_and_dropped() {
    let mut scene = Scene::new(params());
    let mut signal = scene.make_signal(BTC, Side::Buy);
    signal.side = 7;
    scene.send_signal(&signal);
    signal.side = 1;
    signal.timeframe = 99;
    scene.send_signal(&signal);
    signal.timeframe = 0;
    signal.instrument = 999;
    scene.send_signal(&signal);
    let mut tick = Tick::new(TickKind::Quote, InstrumentId(2_000), 0);
    scene.tick(&tick);
    tick.kind = 77;
    tick.instrument = 0;
    scene.tick(&tick);
    let mut fact = scene.fact(AccountKind::Order);
    fact.state = 99;
    scene.account(fact);
    fact.kind = 99;
    scene.account(fact);
    assert_eq!(scene.gate.counters().events_invalid, 4);
    assert_eq!(scene.refusals(Reason::OpinionInvalid), 2);
    assert_eq!(scene.refusals(Reason::InstrumentUnknown), 1);
    let skips = scene.events.iter().filter(|event| {
        let named = event.signal == signal.id && event.reason != 0;
        event.kind == GateEventKind::Refused as u8 && named
    });
    assert_eq!(skips.count(), 3, "a line each");
    // A crossed quote does not replace a good one.
    scene.quote(70_000.0, 60_000.0);
    scene.signal(Side::Buy);
    assert_eq!(scene.count(CommandKind::Place), 1);
}
