//! A position is never without its stop: every way in, and every way out.

mod scene;

use scene::{BTC, Scene, params, two_brackets};
use smart_scanner::model::message::*;
use smart_scanner::model::*;
use smart_scanner::orders::bracket::Capabilities;
use smart_scanner::risk::{BracketMode, TrailMode, TrailParams};
use smart_scanner::stage::gate::core::{Gate, GateParams};
use smart_scanner::stage::gate::core_outputs::Outputs;
use smart_scanner::stage::gate::core_snapshot::{SNAPSHOT_MAX, SnapshotFault};
use smart_scanner::stage::gate::core_status::Status;

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

#[test]
fn a_partial_fill_is_protected_and_settled_for_what_was_filled() {
    let mut scene = Scene::new(params());
    scene.signal(Side::Buy);
    let entry = scene.last(CommandKind::Place);
    scene.reply(&entry, Outcome::Accepted, 77);
    let part = scene.order(&entry, 77, OrderState::PartiallyCanceled, 3, 60_000.1);
    scene.account(part);
    scene.position(3, 60_000.1);
    let row = scene.bracket(78, Side::Sell, 3, LONG_SL, LONG_TP, OrderState::Live);
    scene.account(row);
    scene.listed = vec![row];
    scene.run_ms(3_000);
    assert_eq!(scene.commands.len(), 1, "3 lots covered by 3 lots");
    let fill = scene.foreign_order(Side::Sell, 3, 59_700.1, 2);
    scene.account(fill);
    scene.position(0, 0.0);
    let closed = scene.closed();
    assert_eq!((closed.len(), closed[0].exit, closed[0].size_lots), (1, 2, 3));
    let fees = 0.0003 * (60_000.1 + 59_700.1) * 0.0006;
    assert!((closed[0].pnl - (-0.0003 * 300.0 - fees)).abs() < 1e-9);
    assert!(closed[0].r < -1.0 && closed[0].r > -1.3);
}

#[test]
fn a_bracket_that_covers_only_part_is_completed() {
    let mut scene = Scene::new(two_brackets(params()));
    scene.signal(Side::Buy);
    let entry = scene.last(CommandKind::Place);
    scene.reply(&entry, Outcome::Accepted, 77);
    let filled = scene.order(&entry, 77, OrderState::Filled, 8, 60_000.1);
    scene.account(filled);
    scene.position(8, 60_000.1);
    // The venue attached the bracket to the first fill only.
    let row = scene.bracket(78, Side::Sell, 3, LONG_SL, LONG_TP, OrderState::Live);
    scene.account(row);
    scene.listed = vec![row];
    scene.run_ms(1_499);
    assert_eq!(scene.count(CommandKind::PlaceBracket), 0);
    scene.run_ms(1);
    let whole = scene.last(CommandKind::PlaceBracket);
    assert_eq!(
        (whole.size_lots, whole.sl_ticks, whole.reduce_only),
        (-1, LONG_SL, 1)
    );
    scene.reply(&whole, Outcome::Accepted, 79);
    let cancel = scene.last(CommandKind::CancelBracket);
    assert_eq!(cancel.venue_id, 78, "the small one is surplus");
}

#[test]
fn a_missing_attached_bracket_is_placed_within_a_second_and_a_half() {
    let mut scene = Scene::new(params());
    scene.signal(Side::Sell);
    let entry = scene.last(CommandKind::Place);
    scene.reply(&entry, Outcome::Accepted, 77);
    let filled = scene.order(&entry, 77, OrderState::Filled, 8, 60_000.0);
    scene.account(filled);
    scene.position(-8, 60_000.0);
    scene.fetches.clear();
    scene.run_ms(750);
    let asked = scene
        .fetches
        .iter()
        .any(|request| request.list == ListKind::BracketsPending as u8);
    assert!(asked, "the push may have been lost: it is looked for first");
    scene.run_ms(750);
    let place = scene.last(CommandKind::PlaceBracket);
    assert_eq!(place.lane, Lane::Protect as u8);
    assert_eq!(
        (place.side, place.sl_ticks, place.tp_ticks),
        (Side::Buy as u8, 603_000, 595_200)
    );
    scene.reply(&place, Outcome::Accepted, 79);
    scene.run_ms(4_000);
    assert_eq!(scene.count(CommandKind::PlaceBracket), 1);
    assert_eq!(scene.count(CommandKind::Place), 1, "no close");
}

#[test]
fn a_position_that_cannot_be_protected_in_time_is_closed() {
    for outcome in [
        Outcome::NotSent,
        Outcome::RateLimited,
        Outcome::Ambiguous,
        Outcome::Rejected,
    ] {
        let mut scene = Scene::new(params());
        scene.signal(Side::Buy);
        let entry = scene.last(CommandKind::Place);
        scene.reply(&entry, Outcome::Accepted, 77);
        let filled = scene.order(&entry, 77, OrderState::Filled, 8, 60_000.1);
        scene.account(filled);
        scene.position(8, 60_000.1);
        let mut held = scene.fact(AccountKind::Position);
        held.size_lots = 8;
        held.average_price = 60_000.1;
        scene.listed = vec![held];
        scene.run_ms(1_500);
        let place = scene.last(CommandKind::PlaceBracket);
        scene.reply_code(&place, outcome, 0, 152_002);
        scene.run_ms(500);
        let close = scene.last(CommandKind::Place);
        assert_eq!(
            (close.lane, close.reduce_only),
            (Lane::Close as u8, 1),
            "{outcome:?}"
        );
        assert_eq!(
            (close.side, close.size_lots),
            (Side::Sell as u8, 8),
            "{outcome:?}"
        );
        assert_eq!(close.order_type, OrderType::Market as u8);
        assert_eq!(scene.gate.counters().naked_closes, 1, "{outcome:?}");
        scene.reply(&close, Outcome::Accepted, 90);
        let done = scene.order(&close, 90, OrderState::Filled, 8, 59_990.0);
        scene.account(done);
        scene.listed.clear();
        scene.position(0, 0.0);
        assert_eq!(scene.closed().len(), 1, "{outcome:?}");
        assert_eq!(scene.closed()[0].exit, 4, "{outcome:?}");
    }
}

#[test]
fn an_unanswered_bracket_call_does_not_outlast_the_deadline() {
    let mut scene = Scene::new(params());
    scene.signal(Side::Buy);
    let entry = scene.last(CommandKind::Place);
    scene.reply(&entry, Outcome::Accepted, 77);
    let filled = scene.order(&entry, 77, OrderState::Filled, 8, 60_000.1);
    scene.account(filled);
    scene.position(8, 60_000.1);
    scene.run_ms(2_000);
    assert_eq!(scene.count(CommandKind::PlaceBracket), 1);
    assert_eq!(scene.last(CommandKind::Place).lane, Lane::Close as u8);
}

#[test]
fn a_bracket_whose_answer_was_lost_is_looked_up_and_found() {
    let mut scene = Scene::new(params());
    scene.signal(Side::Buy);
    let entry = scene.last(CommandKind::Place);
    scene.reply(&entry, Outcome::Accepted, 77);
    let filled = scene.order(&entry, 77, OrderState::Filled, 8, 60_000.1);
    scene.account(filled);
    scene.position(8, 60_000.1);
    scene.run_ms(1_500);
    let place = scene.last(CommandKind::PlaceBracket);
    scene.fetches.clear();
    scene.reply(&place, Outcome::Ambiguous, 0);
    scene.run_ms(50);
    let lookup = *scene.fetches.last().expect("a lookup");
    assert_eq!(lookup.list, ListKind::BracketDetail as u8);
    assert_eq!(lookup.client_id, place.client_id);
    let mut found = scene.bracket(81, Side::Sell, -1, LONG_SL, LONG_TP, OrderState::Live);
    found.client_id = place.client_id;
    found.token = lookup.token;
    scene.account(found);
    scene.listed = vec![found];
    scene.run_ms(5_000);
    assert_eq!(scene.count(CommandKind::PlaceBracket), 1);
    assert_eq!(scene.count(CommandKind::Place), 1, "the position stays open");
}

#[test]
fn a_stop_refused_as_already_crossed_is_widened_once_and_then_the_position_goes() {
    let mut scene = Scene::new(params());
    scene.signal(Side::Buy);
    let entry = scene.last(CommandKind::Place);
    scene.reply(&entry, Outcome::Accepted, 77);
    let filled = scene.order(&entry, 77, OrderState::Filled, 8, 60_000.1);
    scene.account(filled);
    scene.position(8, 60_000.1);
    scene.run_ms(1_400);
    // 59,710: the stop at 59,700.1 still is on its side, but the venue says no.
    scene.quote(59_709.9, 59_710.1);
    scene.run_ms(100);
    let place = scene.last(CommandKind::PlaceBracket);
    assert_eq!(place.sl_ticks, LONG_SL);
    scene.reply_code(&place, Outcome::Rejected, 0, 102_038);
    let wide = scene.last(CommandKind::PlaceBracket);
    assert_ne!(wide.client_id, place.client_id);
    // 24 bps below 59,710.0.
    assert_eq!(wide.sl_ticks, 595_666);
    scene.reply_code(&wide, Outcome::Rejected, 0, 102_038);
    let close = scene.last(CommandKind::Place);
    assert_eq!((close.lane, close.reduce_only), (Lane::Close as u8, 1));
    scene.reply(&close, Outcome::Accepted, 90);
    let done = scene.order(&close, 90, OrderState::Filled, 8, 59_690.0);
    scene.account(done);
    scene.position(0, 0.0);
    assert_eq!(scene.closed()[0].exit, 2, "the stop was hit, if not by the venue");
}

#[test]
fn a_price_that_gapped_through_the_stop_closes_at_market() {
    let mut scene = Scene::new(params());
    scene.signal(Side::Buy);
    let entry = scene.last(CommandKind::Place);
    scene.reply(&entry, Outcome::Accepted, 77);
    let filled = scene.order(&entry, 77, OrderState::Filled, 8, 60_000.1);
    scene.account(filled);
    scene.position(8, 60_000.1);
    scene.quote(59_500.0, 59_500.1);
    scene.run_ms(1_500);
    assert_eq!(
        scene.count(CommandKind::PlaceBracket),
        0,
        "a stop there was hit already"
    );
    let close = scene.last(CommandKind::Place);
    assert_eq!((close.lane, close.size_lots), (Lane::Close as u8, 8));
    assert_eq!(scene.gate.counters().naked_closes, 0);
}

#[test]
fn a_stop_that_gaps_settles_by_its_fill() {
    let mut scene = Scene::new(params());
    let (entry, bracket) = scene.enter(Side::Buy, 60_000.1);
    scene.trigger(&entry, bracket, 2, 59_000.0);
    let closed = scene.closed();
    assert_eq!(closed[0].exit, 2);
    assert!(closed[0].r < -3.3, "1,000.1 lost on 300 risked: {}", closed[0].r);
    assert_eq!(scene.outcomes[0].exit, 2);
}

#[test]
fn a_fill_far_from_the_plan_moves_the_bracket_with_it() {
    let mut scene = Scene::new(two_brackets(params()));
    scene.signal(Side::Buy);
    let entry = scene.last(CommandKind::Place);
    scene.reply(&entry, Outcome::Accepted, 77);
    // 31 above the ask: more than a tenth of the 300 risked.
    let filled = scene.order(&entry, 77, OrderState::Filled, 8, 60_031.1);
    scene.account(filled);
    scene.position(8, 60_031.1);
    let row = scene.bracket(78, Side::Sell, 8, LONG_SL, LONG_TP, OrderState::Live);
    scene.account(row);
    let moved = scene.last(CommandKind::PlaceBracket);
    // 60,031.1 less 50 bps is 59,730.9445.
    assert_eq!(moved.sl_ticks, 597_310);
    assert_eq!(
        scene.count(CommandKind::CancelBracket),
        0,
        "the old stop stands until the new does"
    );
    scene.reply(&moved, Outcome::Accepted, 79);
    assert_eq!(scene.last(CommandKind::CancelBracket).venue_id, 78);
    let near = Scene::new(params()).enter(Side::Buy, 60_029.0);
    assert_eq!(near.0.sl_ticks, LONG_SL);
}

#[test]
fn an_ambiguous_entry_is_looked_up_and_found_filled() {
    let mut scene = Scene::new(params());
    scene.signal(Side::Buy);
    let entry = scene.last(CommandKind::Place);
    scene.fetches.clear();
    scene.reply(&entry, Outcome::Ambiguous, 0);
    for wait in [50, 200, 500, 1_000, 2_000, 5_000] {
        scene.fetches.clear();
        scene.run_ms(wait);
        let lookup = lookup_of(&scene).expect("a lookup");
        assert_eq!(lookup.client_id, entry.client_id);
        let mut none = scene.fact(AccountKind::NotFound);
        none.token = lookup.token;
        scene.account(none);
    }
    scene.fetches.clear();
    scene.run_ms(5_000);
    let lookup = lookup_of(&scene).expect("a lookup");
    let mut found = scene.order(&entry, 77, OrderState::Filled, 8, 60_000.1);
    found.token = lookup.token;
    scene.account(found);
    scene.position(8, 60_000.1);
    scene.run_ms(1_500);
    assert_eq!(scene.count(CommandKind::Place), 1, "never sent twice");
    assert_eq!(scene.count(CommandKind::PlaceBracket), 1, "and protected");
}

/// The latest lookup of an order, not of a list.
fn lookup_of(scene: &Scene) -> Option<FetchRequest> {
    scene
        .fetches
        .iter()
        .rev()
        .find(|request| request.list == ListKind::OrderDetail as u8)
        .copied()
}

#[test]
fn an_ambiguous_entry_holds_its_slot_until_it_is_proven_dead() {
    let mut scene = Scene::new(params());
    scene.signal(Side::Buy);
    let entry = scene.last(CommandKind::Place);
    scene.reply(&entry, Outcome::Ambiguous, 0);
    let mut elapsed = 0;
    while elapsed < 64_000 {
        scene.fetches.clear();
        scene.run_ms(1_000);
        elapsed += 1_000;
        for lookup in scene.fetches.clone() {
            if lookup.list == ListKind::OrderDetail as u8 {
                let mut none = scene.fact(AccountKind::NotFound);
                none.token = lookup.token;
                scene.account(none);
            }
        }
    }
    scene.quote(60_000.0, 60_000.1);
    scene.signal(Side::Buy);
    assert_eq!(scene.refusals(Reason::OrderInFlight), 1, "its slot is taken");
    let mut status = Default::default();
    scene.gate.status(scene.now, &mut status);
    assert!((status.exposure_usd - 48.0).abs() < 0.1, "and its exposure");
    for _ in 0..20 {
        scene.fetches.clear();
        scene.run_ms(1_000);
        for lookup in scene.fetches.clone() {
            if lookup.list == ListKind::OrderDetail as u8 {
                let mut none = scene.fact(AccountKind::NotFound);
                none.token = lookup.token;
                scene.account(none);
            }
        }
    }
    scene.gate.status(scene.now, &mut status);
    assert_eq!(status.exposure_usd, 0.0, "dead after 65 s and absent everywhere");
    assert_eq!(status.orders_unknown, 0);
    let dead = scene.events.iter().any(|event| {
        event.kind == GateEventKind::OrderState as u8
            && event.client_id == entry.client_id
            && event.state == 9
    });
    assert!(dead);
}

#[test]
fn a_duplicate_id_proves_an_earlier_copy() {
    let mut scene = Scene::new(params());
    scene.signal(Side::Buy);
    let entry = scene.last(CommandKind::Place);
    scene.fetches.clear();
    scene.reply_code(&entry, Outcome::Duplicate, 0, 102_002);
    scene.run_ms(50);
    let lookup = lookup_of(&scene).expect("a lookup, not a rejection");
    let mut found = scene.order(&entry, 77, OrderState::Filled, 8, 60_000.1);
    found.token = lookup.token;
    scene.account(found);
    let mut status = Default::default();
    scene.gate.status(scene.now, &mut status);
    assert_eq!(status.positions.len(), 1);
}

#[test]
fn entries_that_did_not_happen_release_everything() {
    for (outcome, code) in [
        (Outcome::Rejected, 103_003),
        (Outcome::NotSent, 0),
        (Outcome::RateLimited, 429),
        (Outcome::FatalAuth, 152_401),
    ] {
        let mut scene = Scene::new(params());
        scene.signal(Side::Buy);
        let entry = scene.last(CommandKind::Place);
        scene.reply_code(&entry, outcome, 0, code);
        let mut status = Default::default();
        scene.gate.status(scene.now, &mut status);
        assert_eq!(
            (status.entries_in_flight, status.exposure_usd),
            (0, 0.0),
            "{outcome:?}"
        );
        scene.run_ms(1_000);
        assert_eq!(scene.count(CommandKind::Place), 1, "no loop: {outcome:?}");
    }
}

#[test]
fn a_cancel_that_lost_the_race_is_looked_up_and_the_fill_protected() {
    let mut scene = Scene::new(params());
    scene.signal(Side::Buy);
    let entry = scene.last(CommandKind::Place);
    scene.reply(&entry, Outcome::Accepted, 77);
    let resting = scene.order(&entry, 77, OrderState::Live, 0, 0.0);
    scene.account(resting);
    scene.run_ms(2_001);
    let cancel = scene.last(CommandKind::Cancel);
    assert_eq!(cancel.venue_id, 77);
    scene.fetches.clear();
    scene.reply_code(&cancel, Outcome::Rejected, 0, 102_068);
    scene.run_ms(50);
    let lookup = lookup_of(&scene).expect("the end of it is not assumed");
    let mut found = scene.order(&entry, 77, OrderState::Filled, 8, 60_000.1);
    found.token = lookup.token;
    scene.account(found);
    scene.position(8, 60_000.1);
    scene.run_ms(1_500);
    assert_eq!(scene.count(CommandKind::PlaceBracket), 1);
}

#[test]
fn a_resting_entry_is_cancelled_when_its_time_is_over() {
    let mut scene = Scene::new(params());
    scene.signal(Side::Buy);
    let entry = scene.last(CommandKind::Place);
    scene.reply(&entry, Outcome::Accepted, 77);
    let resting = scene.order(&entry, 77, OrderState::Live, 0, 0.0);
    scene.account(resting);
    scene.run_ms(2_001);
    let cancel = scene.last(CommandKind::Cancel);
    scene.reply(&cancel, Outcome::Accepted, 77);
    let gone = scene.order(&entry, 77, OrderState::Canceled, 0, 0.0);
    scene.account(gone);
    let mut status = Default::default();
    scene.gate.status(scene.now, &mut status);
    assert_eq!((status.entries_in_flight, status.orders_live), (0, 0));
}

#[test]
fn the_user_and_the_venue_may_close_too() {
    for (category, exit) in [(0u8, 6u8), (4, 5), (5, 5), (6, 5)] {
        let mut scene = Scene::new(params());
        let (_, bracket) = scene.enter(Side::Buy, 60_000.1);
        let fill = scene.foreign_order(Side::Sell, 8, 59_900.0, category);
        scene.account(fill);
        scene.position(0, 0.0);
        let closed = scene.closed();
        assert_eq!((closed.len(), closed[0].exit), (1, exit), "category {category}");
        assert_eq!(scene.outcomes[0].exit, 4);
        // The bracket that is left over is swept, well within ten seconds.
        let sweep = scene.last(CommandKind::CancelBracket);
        assert_eq!(sweep.venue_id, bracket);
    }
}

#[test]
fn leftovers_are_swept_until_they_are_gone() {
    let mut scene = Scene::new(params());
    let (_, bracket) = scene.enter(Side::Buy, 60_000.1);
    let held = scene.listed[0];
    let fill = scene.foreign_order(Side::Sell, 8, 59_900.0, 0);
    scene.account(fill);
    scene.listed = vec![held];
    scene.position(0, 0.0);
    let first = scene.last(CommandKind::CancelBracket);
    assert_eq!(first.venue_id, bracket);
    scene.reply_code(&first, Outcome::Rejected, 0, 500);
    scene.run_ms(1_999);
    assert_eq!(scene.count(CommandKind::CancelBracket), 1, "no storm");
    scene.run_ms(1);
    assert_eq!(
        scene.count(CommandKind::CancelBracket),
        2,
        "the list says that it still stands"
    );
    let second = scene.last(CommandKind::CancelBracket);
    scene.reply(&second, Outcome::Accepted, 0);
    scene.listed.clear();
    scene.run_ms(60_000);
    assert_eq!(scene.count(CommandKind::CancelBracket), 2);
}

#[test]
fn fills_that_no_push_told_are_read_from_the_history() {
    let mut scene = Scene::new(params());
    let (_, bracket) = scene.enter(Side::Buy, 60_000.1);
    scene.answers_lists = false;
    let gone = scene.bracket(bracket, Side::Sell, 8, LONG_SL, LONG_TP, OrderState::Canceled);
    scene.account(gone);
    scene.position(0, 0.0);
    assert_eq!(scene.closed().len(), 0);
    scene.fetches.clear();
    scene.run_ms(300);
    let history = *scene
        .fetches
        .iter()
        .find(|request| request.list == ListKind::OrdersHistory as u8)
        .expect("the history is asked");
    let mut fill = scene.foreign_order(Side::Sell, 8, 59_700.1, 2);
    fill.token = history.token;
    scene.account(fill);
    assert_eq!((scene.closed().len(), scene.closed()[0].exit), (1, 2));
}

#[test]
fn a_result_that_cannot_be_known_teaches_nothing() {
    let mut scene = Scene::new(params());
    scene.enter(Side::Buy, 60_000.1);
    scene.listed.clear();
    scene.position(0, 0.0);
    scene.run_ms(10_001);
    assert_eq!(scene.closed().len(), 1);
    assert_ne!(scene.closed()[0].reason, 0, "it says that fills are missing");
    assert!(scene.outcomes.is_empty());
}

#[test]
fn a_close_that_is_refused_is_repeated_another_way() {
    let mut scene = Scene::new(params());
    scene.enter(Side::Buy, 60_000.1);
    let mut out = smart_scanner::stage::gate::core_outputs::Outputs::default();
    assert!(scene.gate.close(BTC, Side::Buy, scene.now, &mut out));
    let first = out.commands[0];
    assert_eq!((first.kind, first.reduce_only), (CommandKind::Place as u8, 1));
    scene.reply_code(&first, Outcome::Rejected, 0, 152_002);
    scene.run_ms(300);
    let second = scene.last(CommandKind::Place);
    assert_ne!(second.client_id, first.client_id);
    scene.reply_code(&second, Outcome::Rejected, 0, 152_002);
    scene.run_ms(300);
    let third = scene.last(CommandKind::ClosePosition);
    scene.reply(&third, Outcome::Accepted, 0);
    let fill = scene.foreign_order(Side::Sell, 8, 60_100.0, 0);
    scene.account(fill);
    scene.listed.clear();
    scene.position(0, 0.0);
    assert_eq!(scene.closed().len(), 1);
}

#[test]
fn a_close_without_any_answer_is_repeated_in_time() {
    let mut scene = Scene::new(params());
    scene.signal(Side::Buy);
    let entry = scene.last(CommandKind::Place);
    scene.reply(&entry, Outcome::Accepted, 77);
    let filled = scene.order(&entry, 77, OrderState::Filled, 8, 60_000.1);
    scene.account(filled);
    scene.position(8, 60_000.1);
    let mut held = scene.fact(AccountKind::Position);
    held.size_lots = 8;
    held.average_price = 60_000.1;
    scene.listed = vec![held];
    scene.run_ms(2_000);
    let place = scene.last(CommandKind::PlaceBracket);
    let first = scene.last(CommandKind::Place);
    scene.run_ms(2_000);
    let second = scene.last(CommandKind::Place);
    assert_ne!(first.client_id, second.client_id);
    assert_eq!(second.reduce_only, 1);
    // The answers of what was given up come after all, and disturb nothing.
    scene.reply(&place, Outcome::Accepted, 91);
    scene.reply(&first, Outcome::Accepted, 92);
    scene.run_ms(1_000);
    assert_eq!(scene.count(CommandKind::Place), 3);
    let done = scene.order(&second, 93, OrderState::Filled, 8, 59_990.0);
    scene.account(done);
    scene.listed.clear();
    scene.position(0, 0.0);
    assert_eq!(scene.closed().len(), 1);
}

#[test]
fn a_stop_that_fired_without_an_order_closes_the_position() {
    let mut scene = Scene::new(params());
    let (_, bracket) = scene.enter(Side::Buy, 60_000.1);
    let failed = scene.bracket(bracket, Side::Sell, 8, LONG_SL, LONG_TP, OrderState::OrderFailed);
    scene.account(failed);
    let close = scene.last(CommandKind::Place);
    assert_eq!((close.lane, close.reduce_only), (Lane::Close as u8, 1));
}

#[test]
fn a_stop_cancelled_by_somebody_else_is_placed_again_a_few_times() {
    let mut scene = Scene::new(params());
    let (_, bracket) = scene.enter(Side::Buy, 60_000.1);
    let mut standing = bracket;
    let held = scene.listed[1];
    for round in 0..3 {
        scene.run_ms(5_000);
        scene.listed = vec![held];
        let mut gone = scene.bracket(standing, Side::Sell, 8, LONG_SL, LONG_TP, OrderState::Canceled);
        gone.detail = 1;
        scene.account(gone);
        assert_eq!(scene.count(CommandKind::PlaceBracket), round + 1);
        let again = scene.last(CommandKind::PlaceBracket);
        standing = scene.venue_id();
        scene.reply(&again, Outcome::Accepted, standing);
    }
    scene.run_ms(1_000);
    let gone = scene.bracket(standing, Side::Sell, 8, LONG_SL, LONG_TP, OrderState::Canceled);
    scene.account(gone);
    assert_eq!(scene.count(CommandKind::PlaceBracket), 3);
    assert_eq!(
        scene.last(CommandKind::Place).lane,
        Lane::Close as u8,
        "then it is closed"
    );
}

fn trailing(capabilities: Capabilities) -> GateParams {
    GateParams {
        capabilities,
        trail: TrailParams {
            mode: TrailMode::Bps,
            ..TrailParams::default()
        },
        ..params()
    }
}

#[test]
fn the_stop_trails_by_the_means_that_the_venue_has() {
    let with = |amend: bool, two_brackets: bool| Capabilities {
        amend,
        two_brackets,
        trigger_types: false,
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
fn positions_of_others_are_protected_and_counted() {
    let mut scene = Scene::new(params());
    let mut held = scene.fact(AccountKind::Position);
    held.size_lots = -20;
    held.average_price = 60_000.0;
    held.mark_price = 60_000.0;
    scene.listed = vec![held];
    scene.position(-20, 60_000.0);
    assert!(scene.commands.is_empty(), "it may be ours and only just filled");
    scene.run_ms(1_000);
    let place = scene.last(CommandKind::PlaceBracket);
    assert_eq!((place.side, place.size_lots), (Side::Buy as u8, -1));
    assert_eq!((place.sl_ticks, place.tp_ticks), (603_000, 595_200));
    scene.reply(&place, Outcome::Accepted, 900);
    scene.signal(Side::Buy);
    assert_eq!(scene.refusals(Reason::PositionOpen), 1);
    let mut status = Status::default();
    scene.gate.status(scene.now, &mut status);
    assert!(status.positions[0].adopted);
    assert!((status.exposure_usd - 120.0).abs() < 0.1);
}

#[test]
fn a_stop_of_the_owners_is_left_where_it_is() {
    let mut scene = Scene::new(params());
    let row = scene.bracket(600, Side::Sell, -1, 590_000, 0, OrderState::Live);
    scene.account(row);
    let mut held = scene.fact(AccountKind::Position);
    held.size_lots = 20;
    held.average_price = 60_000.0;
    held.mark_price = 60_000.0;
    scene.listed = vec![held, row];
    scene.position(20, 60_000.0);
    scene.run_ms(120_000);
    assert!(scene.commands.is_empty(), "{:?}", scene.kinds());
    let mut status = Status::default();
    scene.gate.status(scene.now, &mut status);
    assert_eq!(
        (status.positions.len(), status.positions[0].sl_ticks),
        (1, 590_000)
    );
    scene.listed.clear();
    scene.position(0, 0.0);
    scene.run_ms(60_000);
    assert!(scene.commands.is_empty(), "what is theirs is not swept");
}

#[test]
fn an_entry_of_a_lost_run_is_cancelled() {
    let mut scene = Scene::unsynced(params());
    let id = smart_scanner::model::client_id::ClientOrderId::new(
        smart_scanner::model::client_id::instance_tag("default"),
        0,
        smart_scanner::model::client_id::Role::Entry,
        5,
    );
    let mut order = scene.fact(AccountKind::Order);
    order.client_id = id;
    order.venue_id = 44;
    order.side = Side::Buy as u8;
    order.size_lots = 8;
    order.state = OrderState::Live as u8;
    scene.listed = vec![order];
    scene.sync();
    let cancel = scene.last(CommandKind::Cancel);
    assert_eq!((cancel.venue_id, cancel.client_id), (44, id));
    // A stop of ours whose position is gone goes as well.
    let mut bracket = scene.bracket(45, Side::Sell, -1, 590_000, 0, OrderState::Live);
    bracket.client_id = id;
    scene.listed.clear();
    scene.account(bracket);
    assert_eq!(scene.last(CommandKind::CancelBracket).venue_id, 45);
}

#[test]
fn failed_and_empty_lists_are_not_flat() {
    let mut scene = Scene::new(params());
    scene.enter(Side::Buy, 60_000.1);
    scene.answers_lists = false;
    scene.clear();
    scene.run_ms(31_000);
    let asked = scene.fetches.clone();
    assert!(!asked.is_empty());
    for request in asked {
        let mut failed = scene.fact(AccountKind::ListFailed);
        failed.token = request.token;
        failed.list = request.list;
        scene.account(failed);
    }
    let mut status = Status::default();
    scene.gate.status(scene.now, &mut status);
    assert_eq!(status.positions.len(), 1, "a list that failed says nothing");
    assert!(status.positions[0].protected);
    assert!(scene.closed().is_empty() && scene.commands.is_empty());
}

#[test]
fn a_position_list_older_than_a_fill_closes_nothing() {
    let mut scene = Scene::new(params());
    scene.signal(Side::Buy);
    let entry = scene.last(CommandKind::Place);
    scene.reply(&entry, Outcome::Accepted, 77);
    let filled = scene.order(&entry, 77, OrderState::Filled, 8, 60_000.1);
    scene.account(filled);
    // Pushed before the fill, heard after it.
    scene.position(0, 0.0);
    let row = scene.bracket(78, Side::Sell, 8, LONG_SL, LONG_TP, OrderState::Live);
    scene.account(row);
    scene.run_ms(500);
    assert!(scene.closed().is_empty());
    assert_eq!(scene.commands.len(), 1);
    scene.position(8, 60_000.1);
    scene.run_ms(2_000);
    assert_eq!(scene.commands.len(), 1);
}

#[test]
fn entries_wait_for_the_private_feed_and_a_fresh_reconcile() {
    let mut scene = Scene::new(params());
    let down = scene.fact(AccountKind::SocketDown);
    scene.account(down);
    scene.signal(Side::Buy);
    assert_eq!(scene.refusals(Reason::PrivateFeedDown), 1);
    scene.answers_lists = false;
    let up = scene.fact(AccountKind::SocketUp);
    scene.account(up);
    scene.signal(Side::Buy);
    assert_eq!(scene.refusals(Reason::AccountUnsynced), 1);
    let asked: Vec<FetchRequest> = scene.fetches.split_off(scene.fetches.len().saturating_sub(5));
    assert_eq!(asked.len(), 5);
    for request in &asked[..4] {
        scene.answer_list(request);
    }
    assert!(!scene.gate.entries_enabled());
    scene.answer_list(&asked[4]);
    assert!(scene.gate.entries_enabled());
    let kinds: Vec<u8> = scene.events.iter().map(|event| event.kind).collect();
    assert!(kinds.contains(&(GateEventKind::EntriesOff as u8)));
    assert!(kinds.contains(&(GateEventKind::EntriesOn as u8)));
}

#[test]
fn a_shutdown_cancels_entries_and_keeps_stops() {
    let mut scene = Scene::new(params());
    scene.enter(Side::Buy, 60_000.1);
    let signal = scene.make_signal(InstrumentId(1), Side::Buy);
    scene.quote_of(InstrumentId(1), 60_000.0, 60_000.1);
    scene.send_signal(&signal);
    let leverage = scene.last(CommandKind::SetLeverage);
    scene.reply(&leverage, Outcome::Accepted, 0);
    let entry = scene.last(CommandKind::Place);
    assert_eq!(entry.instrument, 1);
    scene.reply(&entry, Outcome::Accepted, 88);
    let mut resting = scene.order(&entry, 88, OrderState::Live, 0, 0.0);
    resting.instrument = 1;
    scene.account(resting);
    scene.gate.set_shutting_down();
    scene.run_ms(1);
    assert_eq!(scene.last(CommandKind::Cancel).venue_id, 88);
    assert_eq!(scene.count(CommandKind::CancelBracket), 0);
}

#[test]
fn the_leverage_is_set_once_before_the_first_entry() {
    let mut scene = Scene::new(params());
    scene.quote_of(InstrumentId(2), 60_000.0, 60_000.1);
    let signal = scene.make_signal(InstrumentId(2), Side::Sell);
    scene.send_signal(&signal);
    assert_eq!(scene.kinds(), vec![CommandKind::SetLeverage]);
    let set = scene.last(CommandKind::SetLeverage);
    assert_eq!((set.leverage, set.instrument), (3, 2));
    scene.reply(&set, Outcome::Accepted, 0);
    assert_eq!(scene.kinds(), vec![CommandKind::SetLeverage, CommandKind::Place]);
    // Refused: the instrument is left alone.
    let mut scene = Scene::new(params());
    scene.quote_of(InstrumentId(2), 60_000.0, 60_000.1);
    let signal = scene.make_signal(InstrumentId(2), Side::Sell);
    scene.send_signal(&signal);
    let set = scene.last(CommandKind::SetLeverage);
    scene.reply_code(&set, Outcome::Rejected, 0, 110_006);
    assert_eq!(scene.kinds(), vec![CommandKind::SetLeverage]);
    let mut status = Status::default();
    scene.gate.status(scene.now, &mut status);
    assert_eq!(status.entries_in_flight, 0);
}

/// A gate that takes over from `old`, as after a kill and a restart at `scene.now`.
fn restart(scene: &mut Scene, params: GateParams) {
    let mut bytes = vec![0u8; SNAPSHOT_MAX];
    let length = scene.gate.snapshot_bytes(&mut bytes).expect("fits");
    let other = Scene::unsynced(params);
    let mut instruments = Instruments::new();
    // The universe came back in another order.
    for symbol in ["SOL-USDT", "ETH-USDT", "BTC-USDT"] {
        instruments.insert(scene::instrument(symbol));
    }
    drop(other);
    let tag = smart_scanner::model::client_id::instance_tag("default");
    let mut gate = Gate::new(params, instruments, tag, 2);
    gate.restore(&bytes[..length], scene.now).expect("restores");
    let mut same = vec![0u8; SNAPSHOT_MAX];
    assert_eq!(
        gate.snapshot_bytes(&mut same),
        Ok(length),
        "nothing is lost by a round trip"
    );
    scene.gate = gate;
    scene.commands.clear();
    scene.fetches.clear();
    scene.events.clear();
    for row in &mut scene.listed {
        row.instrument = 2;
    }
}

#[test]
fn a_restart_with_an_open_trade_resumes_it() {
    let mut scene = Scene::new(params());
    let (entry, bracket) = scene.enter(Side::Buy, 60_000.1);
    restart(&mut scene, params());
    scene.run_ms(100);
    scene.sync();
    scene.run_ms(5_000);
    assert!(scene.commands.is_empty(), "{:?}", scene.kinds());
    let mut status = Status::default();
    scene.gate.status(scene.now, &mut status);
    assert_eq!(status.positions.len(), 1);
    assert_eq!(status.positions[0].instrument, InstrumentId(2));
    assert!(status.positions[0].protected && !status.positions[0].adopted);
    let mut gone = scene.bracket(bracket, Side::Sell, 8, LONG_SL, LONG_TP, OrderState::Effective);
    gone.instrument = 2;
    gone.detail = 2;
    scene.account(gone);
    let mut fill = scene.foreign_order(Side::Sell, 8, 59_700.1, 2);
    fill.instrument = 2;
    scene.account(fill);
    scene.listed.clear();
    scene.position(0, 0.0);
    let closed = scene.closed();
    assert_eq!((closed.len(), closed[0].exit), (1, 2));
    assert_eq!(closed[0].client_id, entry.client_id);
    assert_eq!(scene.outcomes.len(), 1, "the bandit still learns from it");
}

#[test]
fn a_restart_with_an_unanswered_entry_looks_it_up() {
    let mut scene = Scene::new(params());
    scene.signal(Side::Buy);
    let entry = scene.last(CommandKind::Place);
    restart(&mut scene, params());
    scene.sync();
    scene.run_ms(100);
    let lookup = lookup_of(&scene).expect("a lookup");
    assert_eq!((lookup.client_id, lookup.instrument), (entry.client_id, 2));
    let mut found = scene.order(&entry, 77, OrderState::Filled, 8, 60_000.1);
    found.instrument = 2;
    found.token = lookup.token;
    scene.account(found);
    let mut held = scene.fact(AccountKind::Position);
    held.instrument = 2;
    held.size_lots = 8;
    held.average_price = 60_000.1;
    scene.account(held);
    scene.listed = vec![held];
    scene.run_ms(1_500);
    assert_eq!(scene.count(CommandKind::Place), 0, "never twice");
    assert_eq!(scene.count(CommandKind::PlaceBracket), 1, "and protected");
}

#[test]
fn a_restart_after_the_stop_fired_settles_the_trade() {
    let mut scene = Scene::new(params());
    scene.enter(Side::Buy, 60_000.1);
    restart(&mut scene, params());
    scene.listed.clear();
    let mut fill = scene.foreign_order(Side::Sell, 8, 59_700.1, 2);
    fill.instrument = 2;
    fill.list = ListKind::OrdersHistory as u8;
    scene.listed = vec![fill];
    scene.sync();
    scene.run_ms(2_000);
    assert_eq!(scene.closed().len(), 1);
    assert_eq!((scene.closed()[0].exit, scene.outcomes.len()), (2, 1));
    assert!(scene.commands.is_empty(), "{:?}", scene.kinds());
}

#[test]
fn snapshots_that_are_not_ours_are_refused() {
    let mut scene = Scene::new(params());
    scene.enter(Side::Buy, 60_000.1);
    let mut bytes = vec![0u8; SNAPSHOT_MAX];
    let length = scene.gate.snapshot_bytes(&mut bytes).expect("fits");
    let tag = smart_scanner::model::client_id::instance_tag("default");
    let restore = |bytes: &[u8], tag: u16, epoch: u32| {
        Gate::new(params(), Instruments::new(), tag, epoch).restore(bytes, Wall(1))
    };
    assert_eq!(restore(&bytes[..length], tag, 2), Ok(()));
    assert_eq!(
        restore(&bytes[..length], tag, 1),
        Err(SnapshotFault::Epoch { saved: 1, this: 1 })
    );
    assert!(matches!(
        restore(&bytes[..length], tag + 1, 2),
        Err(SnapshotFault::Instance(_))
    ));
    for cut in 0..length {
        assert!(restore(&bytes[..cut], tag, 2).is_err(), "cut at {cut}");
    }
    let mut other = bytes.clone();
    other[8] = 9;
    assert_eq!(restore(&other[..length], tag, 2), Err(SnapshotFault::Version(9)));
    other[0] = 0;
    assert_eq!(restore(&other[..length], tag, 2), Err(SnapshotFault::NotOurs));
    assert!(matches!(
        scene.gate.snapshot_bytes(&mut [0u8; 8]),
        Err(SnapshotFault::TooSmall { .. })
    ));
}

#[test]
fn the_kill_switch_outlives_a_restart() {
    let mut scene = Scene::new(params());
    scene.gate.set_kill_switch(true);
    scene.signal(Side::Buy);
    assert_eq!(scene.refusals(Reason::KillSwitch), 1);
    restart(&mut scene, params());
    scene.sync();
    assert_eq!(scene.gate.entries_off_reason(), Some(Reason::KillSwitch));
}

/// A short in a mirrored market does, step by step, what the long does.
#[test]
fn both_sides_mirror() {
    // Prices are mirrored around 60,000.05, the middle of the quote.
    let mirror = |price: f64, side: Side| {
        if side == Side::Buy {
            price
        } else {
            120_000.1 - price
        }
    };
    let run = |side: Side| {
        let mut scene = Scene::new(trailing(two_brackets(params()).capabilities));
        let at = |price: f64| mirror(price, side);
        scene.enter(side, at(60_000.1));
        scene.run_ms(2_000);
        for price in [60_100.0, 60_250.0, 60_320.0, 60_500.0, 60_400.0] {
            let (near, far) = (at(price - 0.05), at(price + 0.05));
            scene.quote(near.min(far), near.max(far));
            for command in std::mem::take(&mut scene.commands) {
                let venue_id = scene.venue_id();
                scene.reply(&command, Outcome::Accepted, venue_id);
            }
            scene.run_ms(1_000);
        }
        let mut status = Status::default();
        scene.gate.status(scene.now, &mut status);
        let stop = status.positions[0].sl_ticks;
        (stop, status.positions[0].r)
    };
    let (long, long_r) = run(Side::Buy);
    let (short, short_r) = run(Side::Sell);
    // The trailing distance is relative to the price, so it differs by 35 bps of twice the move.
    assert!((long + short - 1_200_001).abs() <= 36, "{long} {short}");
    assert!((long_r - short_r).abs() < 0.02, "{long_r} {short_r}");
    assert!(long > 600_000, "the stop has locked a profit");
}

#[test]
fn the_gate_never_writes_more_than_it_promises() {
    let room = Outputs::PER_INPUT;
    let out = Outputs::default();
    assert_eq!(room.commands, out.commands.capacity());
    assert_eq!(room.fetches, out.fetches.capacity());
    assert_eq!(room.events, out.events.capacity());
    assert_eq!(room.outcomes, out.outcomes.capacity());
    assert_eq!(room.answers, out.answers.capacity());
}

#[test]
fn the_first_of_two_targets_takes_half_and_frees_the_rest_of_risk() {
    let mut halves = trailing(two_brackets(params()).capabilities);
    halves.brackets.mode = BracketMode::Atr;
    halves.brackets.scale_out_part = 0.5;
    let mut scene = Scene::new(halves);
    let mut signal = scene.make_signal(BTC, Side::Buy);
    signal.atr = 250.0;
    scene.send_signal(&signal);
    let entry = scene.last(CommandKind::Place);
    // R is 300: the whole has its target at 3 R, half of it at 1.6 R.
    assert_eq!((entry.sl_ticks, entry.tp_ticks), (597_001, 609_001));
    scene.reply(&entry, Outcome::Accepted, 77);
    let filled = scene.order(&entry, 77, OrderState::Filled, 8, 60_000.1);
    scene.account(filled);
    scene.position(8, 60_000.1);
    let row = scene.bracket(78, Side::Sell, 8, 597_001, 609_001, OrderState::Live);
    scene.account(row);
    let part = scene.last(CommandKind::PlaceBracket);
    assert_eq!((part.size_lots, part.sl_ticks, part.tp_ticks), (4, 0, 604_801));
    scene.reply(&part, Outcome::Accepted, 79);
    scene.run_ms(1_000);
    assert_eq!(scene.commands.len(), 2, "both stand: {:?}", scene.kinds());

    scene.quote(60_480.0, 60_480.2);
    let mut taken = scene.bracket(79, Side::Sell, 4, 0, 604_801, OrderState::Effective);
    taken.client_id = part.client_id;
    taken.detail = 1;
    scene.account(taken);
    let fill = scene.foreign_order(Side::Sell, 4, 60_480.1, 1);
    scene.account(fill);
    scene.position(4, 60_000.1);
    scene.run_ms(1_500);
    scene.quote(60_480.0, 60_480.2);
    assert_eq!(scene.count(CommandKind::PlaceBracket), 2, "not the part again");
    let moved = scene.last(CommandKind::PlaceBracket);
    assert!(
        moved.sl_ticks > 600_001 && moved.size_lots == -1,
        "the rest is beyond break-even"
    );
    scene.reply(&moved, Outcome::Accepted, 80);
    let fill = scene.foreign_order(Side::Sell, 4, 60_100.1, 2);
    scene.account(fill);
    scene.position(0, 0.0);
    let closed = scene.closed();
    assert_eq!((closed.len(), closed[0].exit, closed[0].filled_lots), (1, 2, 8));
    assert!(closed[0].pnl > 0.0);
}

#[test]
fn in_long_short_mode_a_position_has_its_side() {
    let mut hedged = params();
    hedged.position_mode = PositionMode::LongShort;
    hedged.limits.single_position_per_symbol = false;
    hedged.limits.cooldown_sec = 0;
    let mut scene = Scene::unsynced(hedged);
    scene.sync();
    let mut config = scene.fact(AccountKind::Config);
    config.position_side = PositionSide::Long as u8;
    config.leverage = 3;
    scene.account(config);
    scene.quote(60_000.0, 60_000.1);
    for (side, position_side) in [(Side::Buy, PositionSide::Long), (Side::Sell, PositionSide::Short)] {
        scene.signal(side);
        let entry = scene.last(CommandKind::Place);
        assert_eq!(entry.position_side, position_side as u8, "{side:?}");
        let venue_id = scene.venue_id();
        scene.reply(&entry, Outcome::Accepted, venue_id);
        let mut filled = scene.order(&entry, venue_id, OrderState::Filled, 8, 60_000.0);
        filled.position_side = position_side as u8;
        scene.account(filled);
        let mut held = scene.fact(AccountKind::Position);
        held.position_side = position_side as u8;
        held.size_lots = 8;
        held.average_price = 60_000.0;
        scene.account(held);
        scene.listed.push(held);
        let id = scene.venue_id();
        let mut row = scene.bracket(
            id,
            side.opposite(),
            8,
            entry.sl_ticks,
            entry.tp_ticks,
            OrderState::Live,
        );
        row.position_side = position_side as u8;
        scene.account(row);
        scene.listed.push(row);
    }
    scene.signal(Side::Buy);
    assert_eq!(scene.refusals(Reason::PositionOpen), 1, "one on each side");
    scene.run_ms(35_000);
    assert_eq!(scene.commands.len(), 2);
    let mut status = Status::default();
    scene.gate.status(scene.now, &mut status);
    assert_eq!(status.positions.len(), 2);
    assert!(status.positions.iter().all(|position| position.protected));
}

#[test]
fn modes_that_differ_keep_entries_off_until_they_are_set() {
    let mut scene = Scene::new(params());
    let mut config = scene.fact(AccountKind::Config);
    config.margin_mode = MarginMode::Isolated as u8;
    config.position_side = PositionSide::Net as u8;
    scene.account(config);
    assert_eq!(
        scene.kinds(),
        vec![CommandKind::SetPositionMode, CommandKind::SetMarginMode]
    );
    scene.signal(Side::Buy);
    assert_eq!(scene.refusals(Reason::AccountUnsynced), 1);
    config.margin_mode = MarginMode::Cross as u8;
    scene.account(config);
    scene.signal(Side::Buy);
    assert_eq!(scene.count(CommandKind::Place), 1);
}

#[test]
fn an_order_that_the_venue_forgot_ends_at_last() {
    let mut scene = Scene::new(params());
    scene.signal(Side::Buy);
    let entry = scene.last(CommandKind::Place);
    scene.reply(&entry, Outcome::Accepted, 77);
    // No push ever comes, and the list of pending orders does not name it.
    let mut status = Status::default();
    for _ in 0..120 {
        scene.fetches.clear();
        scene.run_ms(1_000);
        for lookup in scene.fetches.clone() {
            if lookup.list == ListKind::OrderDetail as u8 {
                let mut none = scene.fact(AccountKind::NotFound);
                none.token = lookup.token;
                scene.account(none);
            }
        }
    }
    scene.gate.status(scene.now, &mut status);
    assert_eq!((status.entries_in_flight, status.orders_live), (0, 0));
}

#[test]
fn another_daemon_on_the_account_stops_entries() {
    let mut scene = Scene::new(params());
    let tag = smart_scanner::model::client_id::instance_tag("other");
    let mut order = scene.fact(AccountKind::Order);
    order.client_id = smart_scanner::model::client_id::ClientOrderId::new(
        tag,
        1,
        smart_scanner::model::client_id::Role::Entry,
        1,
    );
    order.venue_id = 9;
    order.side = Side::Buy as u8;
    order.state = OrderState::Live as u8;
    order.size_lots = 1;
    scene.account(order);
    scene.signal(Side::Buy);
    assert_eq!(scene.refusals(Reason::AccountUnsynced), 1);
    assert_eq!(scene.gate.counters().foreign_instance_orders, 1);
    assert!(scene.commands.is_empty(), "its orders are not ours to cancel");
    scene.run_ms(31_000);
    assert!(
        scene.gate.entries_enabled(),
        "a whole list without it clears the alarm"
    );
}

#[test]
fn the_call_budget_keeps_protection_affordable() {
    let mut spent = params();
    spent.budget.calls_max = 3;
    spent.budget.reserve = 2;
    let mut scene = Scene::new(spent);
    scene.signal(Side::Buy);
    assert_eq!(scene.count(CommandKind::Place), 1, "one, and two to protect it");
    scene.quote_of(InstrumentId(1), 60_000.0, 60_000.1);
    let other = scene.make_signal(InstrumentId(1), Side::Buy);
    scene.send_signal(&other);
    assert_eq!(scene.refusals(Reason::BudgetSpent), 1);
    let entry = scene.last(CommandKind::Place);
    scene.reply(&entry, Outcome::Accepted, 77);
    let filled = scene.order(&entry, 77, OrderState::Filled, 8, 60_000.1);
    scene.account(filled);
    scene.position(8, 60_000.1);
    scene.run_ms(2_000);
    assert_eq!(scene.count(CommandKind::PlaceBracket), 1);
    assert_eq!(scene.count(CommandKind::Place), 2, "and a close");
}

/// A small generator of its own: the same seed gives the same run everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Whatever the venue says, in whatever order: invariants hold, timers move, and no command of an
/// exit can do more than reduce.
#[test]
fn nothing_that_the_venue_says_breaks_the_gate() {
    for seed in 0..150 {
        println!("seed {seed}");
        let mut dice = Dice(seed);
        let mut chaotic = trailing(Capabilities {
            amend: seed % 3 == 0,
            two_brackets: seed % 2 == 0,
            trigger_types: seed % 5 == 0,
        });
        chaotic.limits.cooldown_sec = 1;
        chaotic.limits.entries_per_hour_max = 0;
        let mut scene = Scene::new(chaotic);
        scene.answers_lists = false;
        let mut mid = 60_000.0;
        for _ in 0..400 {
            chaos(&mut scene, &mut dice, &mut mid);
        }
        let entries: Vec<u64> = scene
            .commands
            .iter()
            .filter(|command| command.kind == CommandKind::Place as u8 && command.reduce_only == 0)
            .map(|command| command.signal)
            .collect();
        let mut once = entries.clone();
        once.dedup();
        assert_eq!(entries, once, "one entry a signal");
        for command in &scene.commands {
            let exit = matches!(
                CommandKind::from_code(command.kind),
                Some(CommandKind::PlaceBracket | CommandKind::ClosePosition)
            );
            assert!(!exit || command.reduce_only == 1);
        }
    }
}

fn chaos(scene: &mut Scene, dice: &mut Dice, mid: &mut f64) {
    match dice.below(10) {
        0 => {
            let side = if dice.below(2) == 0 { Side::Buy } else { Side::Sell };
            scene.signal(side);
        }
        1 => {
            *mid += dice.below(400) as f64 - 200.0;
            scene.quote(*mid, *mid + 0.1);
        }
        2 => scene.run_ms(dice.below(3_000) as i64),
        3 | 4 => {
            if let Some(command) = pick(&scene.commands, dice) {
                let outcome = Outcome::from_code(1 + dice.below(7) as u8).expect("a code");
                let code = [0, 102_038, 102_022, 102_068, 152_002][dice.below(5) as usize];
                let id = scene.venue_id();
                scene.reply_code(&command, outcome, id, code);
            }
        }
        5 => {
            if let Some(command) = pick(&scene.commands, dice) {
                let state = OrderState::from_code(1 + dice.below(7) as u8).expect("a code");
                let filled = dice.below(command.size_lots.unsigned_abs() + 1) as i64;
                let id = 5_000 + dice.below(5);
                let fact = scene.order(&command, id, state, filled, *mid);
                scene.account(fact);
            }
        }
        6 => {
            let state = OrderState::from_code(1 + dice.below(7) as u8).expect("a code");
            let side = if dice.below(2) == 0 { Side::Buy } else { Side::Sell };
            let command = pick(&scene.commands, dice);
            let (sl, tp) = command.map_or((590_000, 610_000), |command| (command.sl_ticks, command.tp_ticks));
            let lots = dice.below(10) as i64 - 1;
            let mut fact = scene.bracket(1_000 + dice.below(60), side, lots, sl, tp, state);
            if let (Some(command), 0) = (command, dice.below(3)) {
                fact.client_id = command.client_id;
            }
            fact.detail = dice.below(3) as u8;
            scene.account(fact);
        }
        7 => {
            let lots = dice.below(17) as i64 - 8;
            scene.position(lots, *mid);
        }
        8 => {
            if let Some(request) = pick(&scene.fetches, dice) {
                let kind = [
                    AccountKind::ListComplete,
                    AccountKind::ListFailed,
                    AccountKind::NotFound,
                ];
                let mut end = scene.fact(kind[dice.below(3) as usize]);
                end.token = request.token;
                end.list = request.list;
                scene.account(end);
            }
        }
        _ => {
            let kind = [
                AccountKind::SocketUp,
                AccountKind::SocketDown,
                AccountKind::SocketUp,
            ];
            let fact = scene.fact(kind[dice.below(3) as usize]);
            scene.account(fact);
            let requests = std::mem::take(&mut scene.fetches);
            for request in &requests {
                scene.answer_list(request);
            }
        }
    }
}

fn pick<T: Copy>(from: &[T], dice: &mut Dice) -> Option<T> {
    let recent = &from[from.len().saturating_sub(8)..];
    recent
        .get(dice.below(recent.len().max(1) as u64) as usize)
        .copied()
}
