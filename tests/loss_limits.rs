//! The loss limits count a trade from the moment that its position is gone, whether or not its fills have
//! been told, and over a restart.

mod scene;

use scene::*;
use smart_scanner::model::message::*;
use smart_scanner::model::*;
use smart_scanner::orders::trade::TRADES_MAX;
use smart_scanner::stage::gate::core::{Gate, GateParams};
use smart_scanner::stage::gate::core_snapshot::SNAPSHOT_MAX;
use smart_scanner::stage::gate::core_status::Status;

/// 8 lots of 0.0001 BTC bought at 60,000.1, the stop at 59,700.1: 1 R is 0.24 USD, and each fee 0.0288.
const RISK_USD: f64 = 300.0 * 8.0 * 0.0001;
const FEE_USD: f64 = 60_000.1 * 8.0 * 0.0001 * 0.0006;

fn limited(daily_loss_usd_max: f64, consecutive_losses_max: u32) -> GateParams {
    let mut params = params();
    params.limits.daily_loss_usd_max = daily_loss_usd_max;
    params.limits.consecutive_losses_max = consecutive_losses_max;
    params.limits.cooldown_sec = 0;
    params
}

/// A long whose position is gone, and nobody said how.
fn vanished(params: GateParams) -> Scene {
    let mut scene = Scene::new(params);
    scene.enter(Side::Buy, 60_000.1);
    scene.listed.clear();
    scene.position(0, 0.0);
    scene
}

fn realised(scene: &mut Scene) -> f64 {
    let mut status = Status::default();
    scene.gate.status(scene.now, &mut status);
    status.realised_today_usd
}

fn near(value: f64, expected: f64) {
    assert!((value - expected).abs() < 1e-4, "{value}, not {expected}");
}

fn stands(scene: &Scene, bracket: u64) -> bool {
    scene.gate.brackets().find(&Default::default(), bracket).is_some()
}

/// Another instrument, which has nothing to do with the trade but the limits.
fn signal_elsewhere(scene: &mut Scene) {
    let other = InstrumentId(1);
    scene.quote_of(other, 60_000.0, 60_000.1);
    let signal = scene.make_signal(other, Side::Buy);
    scene.send_signal(&signal);
}

#[test]
fn a_trade_whose_fills_are_missing_has_lost_its_risk_and_its_fees_for_the_limits() {
    for (params, reason) in [
        (limited(0.29, 0), Reason::DailyLoss),
        (limited(0.0, 1), Reason::ConsecutiveLosses),
    ] {
        let mut scene = vanished(params);
        near(realised(&mut scene), -RISK_USD - 2.0 * FEE_USD);
        signal_elsewhere(&mut scene);
        assert_eq!(scene.refusals(reason), 1, "at once");
        scene.run_ms(134_999);
        assert!(scene.closed().is_empty(), "a list may still tell");
        signal_elsewhere(&mut scene);
        assert_eq!(scene.refusals(reason), 2, "while the fills are waited for");
        scene.run_ms(2);
        let closed = scene.closed();
        assert_eq!((closed.len(), closed[0].pnl), (1, 0.0));
        assert_ne!(closed[0].reason, 0, "the line says that it is not known");
        assert!(scene.outcomes.is_empty(), "and nothing is taught");
        signal_elsewhere(&mut scene);
        assert_eq!(scene.refusals(reason), 3, "and when they were given up");
        near(realised(&mut scene), -RISK_USD - 2.0 * FEE_USD);
    }
}

#[test]
fn fills_that_a_list_tells_late_take_the_place_of_what_was_assumed() {
    let mut scene = vanished(limited(0.29, 1));
    let mut fill = scene.foreign_order(Side::Sell, 8, 60_480.1, 1);
    fill.list = ListKind::OrdersHistory as u8;
    scene.run_ms(30_000);
    signal_elsewhere(&mut scene);
    assert_eq!(scene.refusals(Reason::DailyLoss), 1);
    scene.listed = vec![fill];
    scene.run_ms(40_000);
    let closed = scene.closed();
    assert_eq!((closed.len(), closed[0].reason, closed[0].exit), (1, 0, 1));
    assert_eq!(scene.outcomes.len(), 1, "a result that is known teaches");
    let won = 480.0 * 8.0 * 0.0001 - FEE_USD * (1.0 + 60_480.1 / 60_000.1);
    near(realised(&mut scene), won);
    signal_elsewhere(&mut scene);
    assert_eq!(scene.count(CommandKind::SetLeverage), 1, "entries go on");
}

/// The fills of the first trade come while the second one is open; each gets its own.
#[test]
fn the_instrument_is_free_while_a_list_lags() {
    let mut scene = vanished(limited(0.0, 0));
    let mut late = scene.foreign_order(Side::Sell, 8, 59_700.1, 2);
    late.list = ListKind::OrdersHistory as u8;
    scene.run_ms(9_999);
    scene.quote(60_000.0, 60_000.1);
    scene.signal(Side::Buy);
    assert_eq!(
        scene.refusals(Reason::PositionOpen),
        1,
        "it may not be gone after all"
    );
    scene.run_ms(2);
    scene.clear();
    let (_, bracket) = scene.enter(Side::Buy, 60_000.1);
    let second = scene.listed.clone();
    scene.listed.push(late);
    scene.run_ms(15_000);
    let closed = scene.closed();
    assert_eq!((closed.len(), closed[0].exit, closed[0].reason), (1, 2, 0));
    near(closed[0].pnl, -RISK_USD - FEE_USD * (1.0 + 59_700.1 / 60_000.1));
    scene.listed = second;
    scene.run_ms(200_000);
    assert_eq!(scene.closed().len(), 1, "the second one is open");
    assert!(stands(&scene, bracket) && scene.count(CommandKind::PlaceBracket) == 0);
}

/// A position that is turned around every second, while no list tells of any fill.
#[test]
fn trades_that_wait_for_their_fills_take_no_desk_from_a_position_that_is_open() {
    let mut scene = Scene::new(limited(0.0, 0));
    for turn in 0..2 * TRADES_MAX as i64 {
        let lots = if turn % 2 == 0 { 20 } else { -20 };
        scene.position(lots, 60_000.0);
        scene.run_ms(1_200);
        let mut status = Status::default();
        scene.gate.status(scene.now, &mut status);
        let side = if lots > 0 { Side::Buy } else { Side::Sell };
        let held = status.positions.iter().map(|held| (held.side, held.adopted));
        assert_eq!(held.collect::<Vec<_>>(), [(side, true)], "turn {turn}");
    }
    assert_eq!(scene.gate.counters().tables_full, 0);
    assert!(scene.closed().len() >= TRADES_MAX);
}

/// A gate that takes over from `scene`'s, as after a kill or an orderly stop.
fn restart(scene: &mut Scene, params: GateParams) {
    let mut bytes = vec![0u8; SNAPSHOT_MAX];
    let length = scene.gate.snapshot_bytes(&mut bytes).expect("fits");
    let tag = smart_scanner::model::client_id::instance_tag("default");
    let mut gate = Gate::new(params, scene.gate.instruments().clone(), tag, 2);
    gate.restore(&bytes[..length], scene.now).expect("restores");
    scene.gate = gate;
    scene.clear();
}

#[test]
fn a_restart_while_fills_are_waited_for_neither_forgets_the_limit_nor_takes_the_position_of_another() {
    let params = limited(0.29, 0);
    let mut scene = vanished(limited(0.0, 0));
    scene.run_ms(10_001);
    scene.quote(60_000.0, 60_000.1);
    let (_, bracket) = scene.enter(Side::Buy, 60_000.1);
    restart(&mut scene, params);
    scene.sync();
    near(realised(&mut scene), -RISK_USD - 2.0 * FEE_USD);
    signal_elsewhere(&mut scene);
    assert_eq!(scene.refusals(Reason::DailyLoss), 1);
    scene.run_ms(60_000);
    assert!(scene.closed().is_empty() && stands(&scene, bracket));
    let mut status = Status::default();
    scene.gate.status(scene.now, &mut status);
    assert_eq!((status.positions.len(), status.positions[0].adopted), (1, false));
}
