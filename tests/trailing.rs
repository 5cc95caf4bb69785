//! The stop follows the price by whatever means the venue has, and never leaves a gap or a survivor.

mod scene;

use scene::*;
use smart_scanner::model::message::*;
use smart_scanner::model::*;
use smart_scanner::orders::bracket::Capabilities;
use smart_scanner::stage::gate::core_status::Status;

#[test]
fn the_stop_trails_by_the_means_that_the_venue_has() {
    let with = |amend: bool, two_brackets: bool| Capabilities {
        amend,
        two_brackets,
        ..Capabilities::default()
    };
    // One R is 300: at 60,310 the best mark less 35 bps beats break-even.
    for (capabilities, first) in [
        (with(false, false), CommandKind::CancelBracket),
        (with(true, false), CommandKind::AmendBracket),
        (with(false, true), CommandKind::PlaceBracket),
    ] {
        let mut scene = Scene::new(trailing(capabilities));
        let (_, bracket) = scene.enter(Side::Buy, 60_000.1);
        scene.run_ms(2_000);
        scene.clear();
        scene.quote(60_299.0, 60_299.2);
        assert!(scene.commands.is_empty(), "not yet one R");
        scene.quote(60_310.0, 60_310.2);
        assert_eq!(scene.kinds(), vec![first]);
        // 60,310.1 less 35 bps = 60,099.01 → 60,099.0; break-even is 60,036.2.
        let (sl, tp) = (600_990, LONG_TP);
        let sent = scene.commands[0];
        scene.reply(&sent, Outcome::Accepted, 500);
        match first {
            CommandKind::AmendBracket => {
                assert_eq!((sent.venue_id, sent.sl_ticks, sent.tp_ticks), (bracket, sl, tp));
            }
            CommandKind::PlaceBracket => {
                assert_eq!((sent.size_lots, sent.sl_ticks, sent.tp_ticks), (-1, sl, tp));
                let old = scene.last(CommandKind::CancelBracket);
                assert_eq!(
                    old.venue_id, bracket,
                    "the old stop goes after the new one stands"
                );
                scene.reply(&old, Outcome::Accepted, 0);
            }
            _ => {
                assert_eq!(sent.venue_id, bracket);
                let new = scene.last(CommandKind::PlaceBracket);
                assert_eq!(
                    (new.size_lots, new.sl_ticks, new.tp_ticks),
                    (-1, sl, tp),
                    "at once"
                );
                scene.reply(&new, Outcome::Accepted, 501);
            }
        }
        scene.clear();
        scene.quote(60_250.0, 60_250.2);
        assert!(scene.commands.is_empty(), "never looser");
        let mut status = Status::default();
        scene.gate.status(scene.now, &mut status);
        assert_eq!(status.positions[0].sl_ticks, sl);
        assert!(status.positions[0].protected);
        assert!(status.positions[0].r > 0.8 && status.positions[0].r < 0.85);
    }
}

#[test]
fn a_replacement_that_is_refused_keeps_the_old_stop() {
    let mut scene = Scene::new(trailing(two_brackets(params()).capabilities));
    let (_, bracket) = scene.enter(Side::Buy, 60_000.1);
    scene.run_ms(2_000);
    scene.clear();
    scene.quote(60_310.0, 60_310.2);
    let place = scene.last(CommandKind::PlaceBracket);
    scene.reply_code(&place, Outcome::Rejected, 0, 152_002);
    scene.run_ms(4_000);
    assert_eq!(
        scene.kinds(),
        vec![CommandKind::PlaceBracket],
        "and rests a while"
    );
    let mut status = Status::default();
    scene.gate.status(scene.now, &mut status);
    assert!(status.positions[0].protected);
    let gone = scene.bracket(bracket, Side::Sell, 8, LONG_SL, LONG_TP, OrderState::Live);
    scene.account(gone);
    assert_eq!(scene.count(CommandKind::Place), 0, "and closes nothing");
}

#[test]
fn a_tighter_stop_refused_on_the_wrong_side_of_the_price_does_not_loosen_the_one_that_stands() {
    let mut scene = Scene::new(trailing(two_brackets(params()).capabilities));
    scene.enter(Side::Buy, 60_000.1);
    scene.run_ms(2_000);
    scene.quote(60_310.0, 60_310.2);
    let first = scene.last(CommandKind::PlaceBracket);
    scene.reply(&first, Outcome::Accepted, 500);
    let old = scene.last(CommandKind::CancelBracket);
    scene.reply(&old, Outcome::Accepted, 0);
    scene.run_ms(2_000);
    scene.clear();
    scene.quote(60_400.0, 60_400.2);
    let tighter = scene.last(CommandKind::PlaceBracket);
    assert!(tighter.sl_ticks > first.sl_ticks);
    // The price falls back before the new stop is there.
    scene.quote(60_190.0, 60_190.2);
    scene.reply_code(&tighter, Outcome::Rejected, 0, 102_040);
    scene.run_ms(4_000);
    let places = scene.commands.iter();
    let mut places = places.filter(|sent| sent.kind == CommandKind::PlaceBracket as u8);
    assert!(places.all(|sent| sent.sl_ticks >= first.sl_ticks), "never looser");
    assert_eq!(scene.count(CommandKind::CancelBracket), 0, "the old one stays");
}

#[test]
fn a_stop_that_fires_while_it_is_replaced_leaves_no_survivor() {
    let mut scene = Scene::new(trailing(two_brackets(params()).capabilities));
    let (entry, bracket) = scene.enter(Side::Buy, 60_000.1);
    scene.run_ms(2_000);
    scene.clear();
    scene.quote(60_310.0, 60_310.2);
    let place = scene.last(CommandKind::PlaceBracket);
    scene.trigger(&entry, bracket, 2, 59_700.1);
    assert_eq!(scene.closed().len(), 1);
    let mut late = scene.bracket(
        700,
        Side::Sell,
        -1,
        place.sl_ticks,
        place.tp_ticks,
        OrderState::Live,
    );
    late.client_id = place.client_id;
    scene.account(late);
    let sweep = scene.last(CommandKind::CancelBracket);
    assert_eq!(sweep.venue_id, 700);
    scene.reply(&place, Outcome::Accepted, 700);
    scene.reply(&sweep, Outcome::Accepted, 0);
    scene.run_ms(10_000);
    assert_eq!(scene.count(CommandKind::CancelBracket), 1);
}

#[test]
fn our_own_cancels_are_not_the_users() {
    let mut scene = Scene::new(trailing(Capabilities::default()));
    let (_, mut standing) = scene.enter(Side::Buy, 60_000.1);
    let held = scene.listed[1];
    scene.listed = vec![held];
    for step in 0..6 {
        scene.run_ms(2_000);
        scene.clear();
        let bid = 60_400.0 + 100.0 * f64::from(step);
        scene.quote(bid, bid + 0.2);
        let cancel = scene.last(CommandKind::CancelBracket);
        assert_eq!(cancel.venue_id, standing);
        // The push overtakes the answer.
        let gone = scene.bracket(standing, Side::Sell, -1, 0, 0, OrderState::Canceled);
        scene.account(gone);
        let new = scene.last(CommandKind::PlaceBracket);
        scene.reply(&cancel, Outcome::Accepted, 0);
        standing = scene.venue_id();
        scene.reply(&new, Outcome::Accepted, standing);
        assert_eq!(
            scene.kinds(),
            vec![CommandKind::CancelBracket, CommandKind::PlaceBracket]
        );
    }
    let mut status = Status::default();
    scene.gate.status(scene.now, &mut status);
    assert!(status.positions[0].protected && !status.positions[0].closing);
}

#[test]
fn the_trailing_distance_follows_the_atr_of_the_closed_candle_without_a_new_signal() {
    let mut params = trailing(two_brackets(params()).capabilities);
    params.trail.mode = smart_scanner::risk::TrailMode::Atr;
    params.trail.distance_bps_min = 10.0;
    let stop_after = |atr: Option<(Timeframe, f64)>| {
        let mut scene = Scene::new(params);
        scene.enter(Side::Buy, 60_000.1);
        scene.run_ms(2_000);
        if let Some((timeframe, atr)) = atr {
            let mut update: IndicatorUpdate = bytemuck::Zeroable::zeroed();
            update.instrument = BTC.0;
            update.timeframe = timeframe as u8;
            update.atr = atr;
            scene.gate.on_indicators(&update, scene.now);
        }
        scene.quote(60_400.0, 60_400.2);
        scene.last(CommandKind::PlaceBracket).sl_ticks
    };
    // The signal had none: 35 bps of the best price; then one ATR below it.
    assert_eq!(stop_after(None), 601_886);
    assert_eq!(stop_after(Some((Timeframe::M5, 150.0))), 602_501);
    assert_eq!(stop_after(Some((Timeframe::M5, 250.0))), 601_501);
    assert_eq!(
        stop_after(Some((Timeframe::M1, 150.0))),
        601_886,
        "another series"
    );
    assert_eq!(stop_after(Some((Timeframe::M5, f64::NAN))), 601_886, "no number");
}
