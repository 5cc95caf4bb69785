//! ENFORCE_MIN_MARGIN: a position that is left with too little margin is closed, topped up within the
//! bounds of an entry, or reported, once for each size.

mod scene;

use scene::*;
use smart_scanner::model::message::*;
use smart_scanner::model::*;
use smart_scanner::risk::MarginAction;
use smart_scanner::stage::gate::core::GateParams;

fn enforcing(action: MarginAction) -> GateParams {
    let mut params = two_brackets(params());
    params.limits.enforce_margin = Some(action);
    params
}

/// An entry of 8 lots (16 USD of margin) of which `filled` were filled and are protected.
fn part(action: MarginAction, filled: i64) -> Scene {
    let mut scene = Scene::new(enforcing(action));
    scene.signal(Side::Buy);
    let entry = scene.last(CommandKind::Place);
    scene.reply(&entry, Outcome::Accepted, 77);
    let fact = scene.order(&entry, 77, OrderState::PartiallyCanceled, filled, 60_000.1);
    scene.account(fact);
    scene.position(filled, 60_000.1);
    let row = scene.bracket(78, Side::Sell, filled, LONG_SL, LONG_TP, OrderState::Live);
    scene.account(row);
    let mut held = scene.fact(AccountKind::Position);
    held.size_lots = filled;
    held.average_price = 60_000.1;
    held.mark_price = 60_000.1;
    scene.listed = vec![row, held];
    scene.clear();
    scene
}

fn alerts(scene: &Scene) -> Vec<u16> {
    let low = |event: &&GateEvent| event.kind == GateEventKind::MarginLow as u8;
    scene
        .events
        .iter()
        .filter(low)
        .map(|event| event.reason)
        .collect()
}

#[test]
fn enough_margin_is_left_alone() {
    // Five lots are 30 USD, 10 USD of margin; the fill was a little better than the worst price.
    for action in [MarginAction::Close, MarginAction::TopUp, MarginAction::Alert] {
        let mut scene = part(action, 5);
        scene.run_ms(5_000);
        assert!(
            scene.commands.is_empty() && alerts(&scene).is_empty(),
            "{:?}",
            scene.kinds()
        );
    }
}

#[test]
fn too_little_is_closed_after_it_has_stood_a_moment() {
    let mut scene = part(MarginAction::Close, 3);
    scene.run_ms(900);
    assert!(scene.commands.is_empty());
    scene.run_ms(200);
    let close = scene.last(CommandKind::Place);
    assert_eq!(
        (close.reduce_only, close.size_lots, close.side),
        (1, 3, Side::Sell as u8)
    );
    assert_eq!(alerts(&scene), [Reason::MarginLow as u16]);
}

#[test]
fn an_alert_is_said_once_for_each_size_and_nothing_is_sent() {
    let mut scene = part(MarginAction::Alert, 4);
    scene.run_ms(10_000);
    assert_eq!((alerts(&scene).len(), scene.commands.len()), (1, 0));
    // A hand takes two lots away.
    scene.listed[1].size_lots = 2;
    scene.position(2, 60_000.1);
    scene.run_ms(10_000);
    assert_eq!(alerts(&scene).len(), 2);
}

#[test]
fn off_means_off() {
    let mut scene = Scene::new(params());
    scene.signal(Side::Buy);
    let entry = scene.last(CommandKind::Place);
    scene.reply(&entry, Outcome::Accepted, 77);
    let fact = scene.order(&entry, 77, OrderState::PartiallyCanceled, 1, 60_000.1);
    scene.account(fact);
    scene.position(1, 60_000.1);
    let row = scene.bracket(78, Side::Sell, 1, LONG_SL, LONG_TP, OrderState::Live);
    scene.account(row);
    scene.listed = vec![row];
    scene.run_ms(3_000);
    assert_eq!(scene.count(CommandKind::Place), 1);
}

#[test]
fn a_top_up_buys_what_is_missing_with_the_positions_own_triggers() {
    let mut scene = part(MarginAction::TopUp, 3);
    scene.run_ms(1_100);
    let add = scene.last(CommandKind::Place);
    assert_eq!(
        (add.reduce_only, add.size_lots, add.side),
        (0, 2, Side::Buy as u8)
    );
    assert_eq!((add.order_type, add.price_ticks), (OrderType::Ioc as u8, 600_481));
    assert_eq!((add.sl_ticks, add.tp_ticks), (LONG_SL, LONG_TP));
    scene.reply(&add, Outcome::Accepted, 90);
    let filled = scene.order(&add, 90, OrderState::Filled, 2, 60_000.2);
    scene.account(filled);
    scene.position(5, 60_000.14);
    let mut row = scene.bracket(91, Side::Sell, 2, LONG_SL, LONG_TP, OrderState::Live);
    row.order_id = 90;
    scene.account(row);
    scene.listed[1].size_lots = 5;
    scene.listed.push(row);
    scene.run_ms(5_000);
    assert!(alerts(&scene).is_empty());
    // One whole bracket takes the place of the two.
    let whole = scene.last(CommandKind::PlaceBracket);
    assert_eq!((whole.size_lots, whole.sl_ticks), (-1, LONG_SL));
    assert_eq!(scene.count(CommandKind::Place), 1, "once");
}

#[test]
fn a_top_up_that_is_refused_or_rejected_leaves_the_position_protected() {
    let mut scene = part(MarginAction::TopUp, 3);
    scene.run_ms(1_100);
    let add = scene.last(CommandKind::Place);
    scene.reply_code(&add, Outcome::Rejected, 0, 103_003);
    scene.run_ms(5_000);
    assert_eq!(scene.kinds(), [CommandKind::Place], "not again for this size");
    scene.listed.clear();
    let stop = scene.foreign_order(Side::Sell, 3, 59_700.1, 2);
    scene.account(stop);
    scene.position(0, 0.0);
    assert_eq!(scene.closed().len(), 1, "the trade went on as it was");

    let mut scene = part(MarginAction::TopUp, 3);
    scene.gate.set_kill_switch(true);
    scene.run_ms(5_000);
    assert!(scene.commands.is_empty());
    assert_eq!(alerts(&scene), [Reason::KillSwitch as u16]);
}
