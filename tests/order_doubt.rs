//! Silence is not a no: lost answers, lists, restarts, and what others do on the account.

mod scene;

use scene::*;
use smart_scanner::model::message::*;
use smart_scanner::model::*;
use smart_scanner::stage::gate::core_status::Status;

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

#[test]
fn an_ambiguous_entry_holds_its_slot_until_it_is_proven_dead() {
    let mut scene = Scene::new(params());
    scene.signal(Side::Buy);
    let entry = scene.last(CommandKind::Place);
    scene.reply(&entry, Outcome::Ambiguous, 0);
    let mut elapsed = 0;
    while elapsed < 184_000 {
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
    assert_eq!(
        status.exposure_usd, 0.0,
        "dead after 185 s and twice absent everywhere"
    );
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
    scene.answers_lists = true;
    scene.account(fill);
    assert_eq!((scene.closed().len(), scene.closed()[0].exit), (1, 2));
}

#[test]
fn a_result_that_cannot_be_known_teaches_nothing() {
    let mut scene = Scene::new(params());
    scene.enter(Side::Buy, 60_000.1);
    scene.listed.clear();
    scene.position(0, 0.0);
    scene.run_ms(135_001);
    assert_eq!(scene.closed().len(), 1);
    assert_ne!(scene.closed()[0].reason, 0, "it says that fills are missing");
    assert!(scene.outcomes.is_empty());
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
    let asked: Vec<FetchRequest> = scene.fetches.split_off(scene.fetches.len().saturating_sub(6));
    assert_eq!(asked.len(), 6);
    for request in &asked[..5] {
        scene.answer_list(request);
    }
    assert!(!scene.gate.entries_enabled());
    scene.answer_list(&asked[5]);
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

#[test]
fn modes_that_differ_keep_entries_off_until_they_are_set() {
    let mut scene = Scene::new(params());
    let mut config = scene.fact(AccountKind::Config);
    config.margin_mode = MarginMode::Isolated as u8;
    config.detail = PositionMode::Net as u8;
    scene.account(config);
    assert_eq!(
        scene.kinds(),
        vec![CommandKind::SetPositionMode, CommandKind::SetMarginMode]
    );
    scene.signal(Side::Buy);
    assert_eq!(scene.refusals(Reason::ModesDiffer), 1);
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
    // It may arrive a minute late and lists lag up to two: before that it is not believed.
    for (seconds, in_flight) in [(184, 1), (41, 0)] {
        for _ in 0..seconds {
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
        assert_eq!(
            (
                status.entries_in_flight,
                status.orders_live + status.orders_unknown
            ),
            (in_flight, in_flight)
        );
    }
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
    assert_eq!(scene.refusals(Reason::OtherInstance), 1);
    assert_eq!(scene.gate.counters().foreign_instance_orders, 1);
    assert!(scene.commands.is_empty(), "its orders are not ours to cancel");
    scene.run_ms(31_000);
    assert!(
        scene.gate.entries_enabled(),
        "a whole list without it clears the alarm"
    );
}

#[test]
fn trigger_orders_of_the_user_are_read_and_left_alone() {
    let mut scene = Scene::new(params());
    scene.enter(Side::Buy, 60_000.1);
    scene.run_ms(31_000);
    let algos = ListKind::AlgosPending as u8;
    assert!(
        scene.fetches.iter().any(|request| request.list == algos),
        "they are read"
    );
    scene.clear();
    let mut row = scene.bracket(4_000, Side::Sell, 8, 0, 0, OrderState::Live);
    row.list = algos;
    row.token = 99_999;
    scene.account(row);
    scene.run_ms(31_000);
    assert!(scene.commands.is_empty(), "{:?}", scene.kinds());
    assert!(scene.gate.entries_enabled());
    row.client_id = scene.id_of("sscZZ000001B000000001");
    scene.account(row);
    assert_eq!(scene.gate.entries_off_reason(), Some(Reason::OtherInstance));
}
