//! Modes and leverages are read before the first entry, so that what is already so is not set again,
//! and what differs is set before an order relies on it.

mod scene;

use scene::*;
use smart_scanner::model::message::*;
use smart_scanner::model::*;

/// A scene whose venue lists this leverage of BTC when it is asked for leverages.
fn listed(leverage: u16, margin_mode: MarginMode) -> Scene {
    let mut scene = Scene::unsynced(params());
    let mut row = scene.fact(AccountKind::Config);
    row.leverage = leverage;
    row.margin_mode = margin_mode as u8;
    row.list = ListKind::Leverage as u8;
    scene.listed = vec![row];
    scene.sync();
    scene.quote(60_000.0, 60_000.1);
    let asked: Vec<&FetchRequest> = scene
        .fetches
        .iter()
        .filter(|request| request.list == ListKind::Leverage as u8)
        .collect();
    assert_eq!(asked.len(), 1, "once, after the account is known");
    assert_eq!(asked[0].margin_mode, MarginMode::Cross as u8);
    assert_eq!(asked[0].lane, Lane::Entry as u8, "behind lookups and stops");
    scene
}

#[test]
fn a_leverage_that_is_right_costs_no_call() {
    let mut scene = listed(3, MarginMode::Cross);
    scene.signal(Side::Buy);
    assert_eq!(scene.kinds(), [CommandKind::Place]);
}

#[test]
fn a_leverage_that_differs_or_is_of_another_mode_is_set_first() {
    for (leverage, mode) in [(10, MarginMode::Cross), (3, MarginMode::Isolated)] {
        let mut scene = listed(leverage, mode);
        scene.signal(Side::Buy);
        assert_eq!(scene.kinds(), [CommandKind::SetLeverage], "{leverage} {mode:?}");
        let set = scene.last(CommandKind::SetLeverage);
        assert_eq!((set.leverage, set.margin_mode), (3, MarginMode::Cross as u8));
        scene.reply(&set, Outcome::Accepted, 0);
        assert_eq!(scene.kinds(), [CommandKind::SetLeverage, CommandKind::Place]);
    }
}

#[test]
fn leverages_are_read_again_after_a_reconnect_and_after_a_failure() {
    let mut scene = listed(3, MarginMode::Cross);
    let count = |scene: &Scene| {
        let reads = scene.fetches.iter();
        reads
            .filter(|request| request.list == ListKind::Leverage as u8)
            .count()
    };
    let up = scene.fact(AccountKind::SocketUp);
    scene.account(up);
    scene.run_ms(10);
    assert_eq!(count(&scene), 2);
    scene.answers_lists = false;
    let up = scene.fact(AccountKind::SocketUp);
    scene.account(up);
    scene.run_ms(10);
    for request in scene.fetches.clone() {
        scene.answer_list(&request);
    }
    scene.run_ms(10);
    let last = *scene.fetches.last().expect("a read");
    assert_eq!(last.list, ListKind::Leverage as u8);
    let mut failed = scene.fact(AccountKind::ListFailed);
    failed.list = last.list;
    failed.token = last.token;
    scene.account(failed);
    scene.run_ms(1_000);
    assert_eq!(count(&scene), 3, "not at once");
    scene.answers_lists = true;
    scene.run_ms(61_000);
    assert_eq!(count(&scene), 4);
}

#[test]
fn a_position_tells_its_leverage_too() {
    let mut scene = listed(3, MarginMode::Cross);
    let mut held = scene.fact(AccountKind::Position);
    held.instrument = 1;
    held.size_lots = 5;
    held.average_price = 3_000.0;
    held.leverage = 20;
    held.margin_mode = MarginMode::Cross as u8;
    scene.account(held);
    let flat = scene.fact(AccountKind::PositionsComplete);
    scene.account(flat);
    scene.listed.clear();
    scene.position(0, 0.0);
    scene.run_ms(130_000);
    scene.quote_of(InstrumentId(1), 60_000.0, 60_000.1);
    scene.clear();
    let signal = scene.make_signal(InstrumentId(1), Side::Buy);
    scene.send_signal(&signal);
    assert!(
        scene.kinds().contains(&CommandKind::SetLeverage),
        "{:?}",
        scene.kinds()
    );
}
