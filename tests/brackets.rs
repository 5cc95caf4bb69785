//! A position is never without its stop: every way in, and every way out.

mod scene;

use scene::{BTC, Scene, params, two_brackets};
use smart_scanner::model::message::*;
use smart_scanner::model::*;

/// 0.8 contracts of 0.001 BTC, 8 lots; the ask of 60,000.1 less and plus 50 and 80 bps.
const LONG_SL: i64 = 597_001;
const LONG_TP: i64 = 604_801;

#[test]
fn a_signal_becomes_an_entry_with_its_bracket_attached_and_ends_at_its_target() {
    let mut scene = Scene::new(params());
    let signal = scene.signal(Side::Buy);
    let entry = scene.last(CommandKind::Place);
    assert_eq!(scene.commands.len(), 1);
    assert_eq!(entry.size_lots, 8);
    assert_eq!((entry.sl_ticks, entry.tp_ticks), (LONG_SL, LONG_TP));
    // 8 bps worse than the ask, rounded down.
    assert_eq!(entry.price_ticks, 600_481);
    assert_eq!(entry.order_type, OrderType::Ioc as u8);
    assert_eq!(entry.lane, Lane::Entry as u8);
    scene.reply(&entry, Outcome::Accepted, 77);
    let filled = scene.order(&entry, 77, OrderState::Filled, 8, 60_000.1);
    scene.account(filled);
    scene.position(8, 60_000.1);
    let row = scene.bracket(78, Side::Sell, 8, LONG_SL, LONG_TP, OrderState::Live);
    scene.account(row);
    scene.listed = vec![row];
    scene.run_ms(3_000);
    assert_eq!(
        scene.commands.len(),
        1,
        "nothing more is needed: {:?}",
        scene.kinds()
    );

    scene.trigger(&entry, 78, 1, 60_480.1);
    let closed = scene.closed();
    assert_eq!(closed.len(), 1);
    assert_eq!(closed[0].exit, 1);
    // 480 USD on 0.0008 BTC, less two taker fees of 6 bps.
    let fees = 0.0008 * (60_000.1 + 60_480.1) * 0.0006;
    assert!((closed[0].pnl - (0.0008 * 480.0 - fees)).abs() < 1e-9);
    assert!((closed[0].r - closed[0].pnl / (0.0008 * 300.0)).abs() < 1e-9);
    assert_eq!(scene.outcomes.len(), 1);
    let outcome = scene.outcomes[0];
    assert_eq!(
        (outcome.signal, outcome.exit, outcome.instrument),
        (signal, 1, BTC.0)
    );
    assert!((outcome.r - closed[0].r).abs() < 1e-12);
    // The instrument rests.
    scene.quote(60_000.0, 60_000.1);
    scene.signal(Side::Buy);
    assert_eq!(scene.refusals(Reason::Cooldown), 1);
}
