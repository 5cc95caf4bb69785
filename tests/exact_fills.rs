//! What a trade earned is reckoned from every execution, once, with its exact price and fee; where the
//! venue's list does not come, from the differences of what was pushed.

mod scene;

use scene::*;
use smart_scanner::model::message::*;
use smart_scanner::model::*;

const LOT: f64 = 0.0001;

/// Replaces the list of fills of one order by executions of (tradeId, lots, price, fee).
fn list(scene: &mut Scene, order_id: u64, executions: &[(u64, i64, f64, f64)]) {
    scene.fills.retain(|fill| fill.order_id != order_id);
    for (trade_id, lots, price, fee) in executions {
        let mut fill = scene.fact(AccountKind::Fill);
        fill.venue_id = *trade_id;
        fill.order_id = order_id;
        fill.size_lots = *lots;
        fill.average_price = *price;
        fill.fee = *fee;
        scene.fills.push(fill);
    }
}

/// An entry of 8 lots pushed at 60,000.1, its stop fired and pushed at 59,700; the ids of both orders.
fn enter_and_stop(scene: &mut Scene, act: impl FnOnce(&mut Scene, u64, u64)) {
    let (entry, bracket_id) = scene.enter(Side::Buy, 60_000.1);
    let mut row = scene.bracket(
        bracket_id,
        Side::Sell,
        8,
        entry.sl_ticks,
        entry.tp_ticks,
        OrderState::Effective,
    );
    row.detail = 2;
    scene.account(row);
    let exit = scene.foreign_order(Side::Sell, 8, 59_700.0, 2);
    scene.account(exit);
    let entry_id = scene.fills[0].order_id;
    act(scene, entry_id, exit.venue_id);
    scene.listed.clear();
    scene.position(0, 0.0);
}

#[test]
fn a_result_comes_from_the_executions_each_counted_once() {
    let mut scene = Scene::new(params());
    enter_and_stop(&mut scene, |scene, entry, exit| {
        // The push's average was rounded; a page that overlaps repeats a row.
        let bought = [
            (1, 3, 60_000.1, 0.011),
            (2, 5, 60_000.4, 0.018),
            (1, 3, 60_000.1, 0.011),
        ];
        list(scene, entry, &bought);
        list(scene, exit, &[(3, 8, 59_699.3, 0.028)]);
    });
    let closed = scene.closed();
    assert_eq!((closed.len(), closed[0].executions), (1, 3));
    let value = 8.0 * 59_699.3 - 3.0 * 60_000.1 - 5.0 * 60_000.4;
    let expected = value * LOT - 0.011 - 0.018 - 0.028;
    assert!(
        (closed[0].pnl - expected).abs() < 1e-9,
        "{} {expected}",
        closed[0].pnl
    );
    assert!((closed[0].fee - 0.057).abs() < 1e-12);
    assert!((closed[0].fill_price - 59_699.3).abs() < 1e-9);
    let asked: Vec<u64> = scene
        .fetches
        .iter()
        .filter(|request| request.list == ListKind::Fills as u8)
        .map(|request| request.venue_id)
        .collect();
    assert_eq!(asked.len(), 2, "one read an order: {asked:?}");
}

#[test]
fn a_list_that_lags_is_read_again_and_then_the_pushes_count() {
    let mut scene = Scene::new(params());
    let mut exit_id = 0;
    enter_and_stop(&mut scene, |scene, _, exit| {
        exit_id = exit;
        list(scene, exit, &[(3, 2, 59_699.0, 0.007)]);
    });
    assert!(scene.closed().is_empty(), "two of eight lots are no list");
    list(
        &mut scene,
        exit_id,
        &[(3, 2, 59_699.0, 0.007), (4, 6, 59_698.0, 0.021)],
    );
    scene.run_ms(1_500);
    let closed = scene.closed();
    assert_eq!((closed.len(), closed[0].executions), (1, 3));

    let mut scene = Scene::new(params());
    enter_and_stop(&mut scene, |scene, _, exit| list(scene, exit, &[]));
    scene.run_ms(3_000);
    let closed = scene.closed();
    assert_eq!(
        (closed.len(), closed[0].executions),
        (1, 1),
        "the entry's list was whole"
    );
    assert!((closed[0].fill_price - 59_700.0).abs() < 1e-9, "the exit's push");
}

#[test]
fn a_read_that_fails_or_never_ends_does_not_hold_the_result_for_ever() {
    let mut scene = Scene::new(params());
    scene.answers_lists = false;
    enter_and_stop(&mut scene, |_, _, _| {});
    let requests: Vec<FetchRequest> = scene
        .fetches
        .iter()
        .copied()
        .filter(|request| request.list == ListKind::Fills as u8)
        .collect();
    assert_eq!(requests.len(), 2);
    let mut failed = scene.fact(AccountKind::ListFailed);
    failed.token = requests[0].token;
    failed.list = ListKind::Fills as u8;
    scene.account(failed);
    scene.run_ms(11_000);
    let closed = scene.closed();
    assert_eq!((closed.len(), closed[0].executions), (1, 0));
    let fees = 8.0 * LOT * (60_000.1 + 59_700.0) * 0.0006;
    assert!(
        (closed[0].pnl - (8.0 * LOT * -300.1 - fees)).abs() < 1e-9,
        "{}",
        closed[0].pnl
    );
}

#[test]
fn rows_that_cannot_be_or_are_not_ours_change_nothing() {
    let mut scene = Scene::new(params());
    enter_and_stop(&mut scene, |scene, entry, exit| {
        list(
            scene,
            exit,
            &[
                (3, 8, f64::NAN, 0.0),
                (4, -8, 59_000.0, 0.0),
                (0, 8, 59_000.0, 0.0),
                (5, 8, 59_700.0, 0.03),
            ],
        );
        let mut foreign = scene.fills[0];
        foreign.order_id = 42;
        foreign.venue_id = 99;
        foreign.token = 0;
        scene.account(foreign);
        assert_ne!(entry, 42);
    });
    let closed = scene.closed();
    assert_eq!((closed.len(), closed[0].executions), (1, 2));
    assert!((closed[0].fill_price - 59_700.0).abs() < 1e-9);
    assert_eq!(scene.gate.counters().events_invalid, 3);
}
