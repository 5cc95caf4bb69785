//! A position is never without its stop: every way in, and every way out.

mod scene;

use scene::*;
use smart_scanner::model::message::*;
use smart_scanner::model::*;
use smart_scanner::stage::gate::core_status::Status;

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
        // Refused for too many calls, the next one must wait for the window to have room.
        let wait_ms = if outcome == Outcome::RateLimited {
            10_500
        } else {
            500
        };
        scene.run_ms(wait_ms);
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
fn a_position_that_is_closed_for_want_of_a_stop_is_told_with_its_side_and_size() {
    for side in [Side::Buy, Side::Sell] {
        let mut scene = Scene::new(params());
        let (entry, bracket) = scene.enter(side, 60_000.1);
        scene.leave(&entry, bracket);
        let line = scene
            .events
            .iter()
            .find(|event| event.kind == GateEventKind::NakedClose as u8)
            .expect("a line");
        assert_eq!(
            (line.side, line.size_lots, line.reason, line.signal),
            (
                side as u8,
                entry.size_lots,
                Reason::StopAbsent as u16,
                entry.signal
            )
        );
    }
}

#[test]
fn a_close_that_is_refused_is_repeated_another_way() {
    let mut scene = Scene::new(params());
    let (entry, bracket) = scene.enter(Side::Buy, 60_000.1);
    let first = scene.leave(&entry, bracket);
    assert_eq!((first.kind, first.reduce_only), (CommandKind::Place as u8, 1));
    scene.reply_code(&first, Outcome::Rejected, 0, 152_002);
    scene.run_ms(300);
    let second = scene.last(CommandKind::Place);
    assert_ne!(second.client_id, first.client_id);
    scene.reply_code(&second, Outcome::Rejected, 0, 152_002);
    scene.run_ms(600);
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

#[test]
fn in_long_short_mode_a_position_has_its_side() {
    let mut hedged = params();
    hedged.position_mode = PositionMode::LongShort;
    hedged.limits.single_position_per_symbol = false;
    hedged.limits.cooldown_sec = 0;
    let mut scene = Scene::unsynced(hedged);
    scene.sync();
    let mut config = scene.fact(AccountKind::Config);
    config.detail = PositionMode::LongShort as u8;
    scene.account(config);
    config.detail = 0;
    config.margin_mode = MarginMode::Cross as u8;
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

#[test]
fn a_looser_stop_that_a_worse_fill_asks_for_is_placed_once_and_replaces_the_attached_one() {
    // The fill is a third of R from the ask: the bracket is planned anew around it, and its stop is looser.
    for (side, filled) in [(Side::Buy, 59_900.0), (Side::Sell, 60_100.0)] {
        let mut scene = Scene::new(two_brackets(params()));
        let (entry, attached) = scene.enter(side, filled);
        let place = scene.last(CommandKind::PlaceBracket);
        let looser = (entry.sl_ticks - place.sl_ticks) * side.sign();
        assert!(
            looser > 0,
            "{side:?}: {} after {}",
            place.sl_ticks,
            entry.sl_ticks
        );
        scene.reply(&place, Outcome::Accepted, 800);
        let cancel = scene.last(CommandKind::CancelBracket);
        assert_eq!(cancel.venue_id, attached, "{side:?}");
        scene.reply(&cancel, Outcome::Accepted, 0);
        let mut row = scene.bracket(
            800,
            side.opposite(),
            -1,
            place.sl_ticks,
            place.tp_ticks,
            OrderState::Live,
        );
        row.client_id = place.client_id;
        scene.account(row);
        scene.listed[0] = row;
        scene.run_ms(60_000);
        assert_eq!(
            scene.count(CommandKind::PlaceBracket),
            1,
            "{side:?}: {:?}",
            scene.kinds()
        );
    }
}
