//! What a venue can do is asked by doing, where a no leaves the old stop in place, and is remembered
//! over restarts.

mod scene;

use scene::*;
use smart_scanner::model::client_id::instance_tag;
use smart_scanner::model::message::*;
use smart_scanner::model::*;
use smart_scanner::orders::bracket::{Ability, Capabilities};
use smart_scanner::stage::gate::core::Gate;
use smart_scanner::stage::gate::core_snapshot::SNAPSHOT_MAX;
use smart_scanner::stage::gate::core_status::Status;

/// A long whose stop is about to be moved for the first time, at a venue of which nothing is known.
fn about_to_trail() -> Scene {
    let mut scene = Scene::new(trailing(Capabilities::to_probe()));
    scene.enter(Side::Buy, 60_000.1);
    scene.run_ms(2_000);
    scene.clear();
    scene.quote(60_310.0, 60_310.2);
    scene
}

fn known(scene: &Scene, ability: Ability) -> Option<bool> {
    let (capabilities, known) = scene.gate.capabilities();
    (known & ability.bit() != 0).then(|| capabilities.can(ability))
}

fn protected(scene: &mut Scene) -> bool {
    let mut status = Status::default();
    scene.gate.status(scene.now, &mut status);
    status.positions[0].protected
}

#[test]
fn each_way_to_move_a_stop_is_left_only_for_the_next_after_a_clear_no() {
    let mut scene = about_to_trail();
    let amend = scene.last(CommandKind::AmendBracket);
    assert_eq!(scene.kinds(), [CommandKind::AmendBracket]);
    scene.reply_code(&amend, Outcome::Rejected, 0, 404);
    assert_eq!(known(&scene, Ability::Amend), Some(false));
    scene.run_ms(400);
    let second = scene.last(CommandKind::PlaceBracket);
    assert!(protected(&mut scene), "the old stop stands");
    // A code of two stops, whatever its number will be.
    scene.reply_code(&second, Outcome::Rejected, 0, 102_099);
    assert_eq!(known(&scene, Ability::TwoBrackets), Some(false));
    scene.run_ms(100);
    let cancel = scene.last(CommandKind::CancelBracket);
    scene.reply(&cancel, Outcome::Accepted, 0);
    let placed = scene.last(CommandKind::PlaceBracket);
    assert_ne!(placed.client_id, second.client_id, "in the same breath");
    scene.now = Wall(scene.now.0 + 30_000_000);
    scene.reply(&placed, Outcome::Accepted, 900);
    assert!(protected(&mut scene));
    // The gap was measured.
    let gap = |event: &GateEvent| event.gap_ms;
    assert_eq!(scene.events.iter().map(gap).max(), Some(30));
    assert_eq!(scene.gate.counters().replace_gap_ns_max, 30_000_000);
}

#[test]
fn a_refusal_that_is_about_something_else_teaches_nothing_of_two_stops() {
    for code in [102_038, 152_002, 102_022] {
        let mut scene = about_to_trail();
        let amend = scene.last(CommandKind::AmendBracket);
        scene.reply_code(&amend, Outcome::Rejected, 0, 404);
        scene.run_ms(400);
        let second = scene.last(CommandKind::PlaceBracket);
        scene.reply_code(&second, Outcome::Rejected, 0, code);
        assert_eq!(known(&scene, Ability::TwoBrackets), None, "{code}");
    }
}

#[test]
fn an_amendment_of_a_bracket_that_is_gone_teaches_nothing_and_a_good_one_teaches_yes() {
    let mut scene = about_to_trail();
    let amend = scene.last(CommandKind::AmendBracket);
    scene.reply_code(&amend, Outcome::Rejected, 0, 102_067);
    assert_eq!(known(&scene, Ability::Amend), None);
    let mut scene = about_to_trail();
    let amend = scene.last(CommandKind::AmendBracket);
    scene.reply(&amend, Outcome::Accepted, amend.venue_id);
    assert_eq!(known(&scene, Ability::Amend), Some(true));
    assert!(protected(&mut scene));
}

#[test]
fn an_unknown_code_for_the_second_stop_counts_once_the_lookup_finds_none() {
    let mut scene = about_to_trail();
    let amend = scene.last(CommandKind::AmendBracket);
    scene.reply_code(&amend, Outcome::Rejected, 0, 404);
    scene.run_ms(400);
    let second = scene.last(CommandKind::PlaceBracket);
    scene.reply_code(&second, Outcome::Ambiguous, 0, 199_999);
    scene.run_ms(100);
    let lookup = *scene
        .fetches
        .iter()
        .rev()
        .find(|request| request.list == ListKind::BracketDetail as u8)
        .expect("it is looked up, not taken for a no");
    assert_eq!(known(&scene, Ability::TwoBrackets), None);
    let mut absent = scene.fact(AccountKind::NotFound);
    absent.token = lookup.token;
    absent.list = lookup.list;
    scene.account(absent);
    assert_eq!(known(&scene, Ability::TwoBrackets), Some(false));
    assert!(protected(&mut scene));
}

#[test]
fn a_second_stop_that_is_taken_teaches_yes() {
    let mut scene = about_to_trail();
    let amend = scene.last(CommandKind::AmendBracket);
    scene.reply_code(&amend, Outcome::Rejected, 0, 404);
    scene.run_ms(400);
    let second = scene.last(CommandKind::PlaceBracket);
    scene.reply(&second, Outcome::Accepted, 901);
    assert_eq!(known(&scene, Ability::TwoBrackets), Some(true));
}

#[test]
fn when_the_venue_attaches_is_learned_from_a_partial_fill() {
    // The bracket stands while the entry still fills.
    let mut scene = Scene::new(trailing(Capabilities::to_probe()));
    scene.signal(Side::Buy);
    let entry = scene.last(CommandKind::Place);
    scene.reply(&entry, Outcome::Accepted, 77);
    let part = scene.order(&entry, 77, OrderState::PartiallyFilled, 3, 60_000.1);
    scene.account(part);
    let mut row = scene.bracket(
        78,
        Side::Sell,
        3,
        entry.sl_ticks,
        entry.tp_ticks,
        OrderState::Live,
    );
    row.order_id = 77;
    scene.account(row);
    assert_eq!(known(&scene, Ability::AttachPartial), Some(true));

    // It does not come: after half a second the gate places its own, and the next time at once.
    let mut scene = Scene::new(trailing(Capabilities::to_probe()));
    scene.signal(Side::Buy);
    let entry = scene.last(CommandKind::Place);
    scene.reply(&entry, Outcome::Accepted, 77);
    let part = scene.order(&entry, 77, OrderState::PartiallyCanceled, 3, 60_000.1);
    scene.account(part);
    scene.position(3, 60_000.1);
    let mut held = scene.fact(AccountKind::Position);
    held.size_lots = 3;
    held.average_price = 60_000.1;
    scene.listed = vec![held];
    scene.run_ms(499);
    assert_eq!(scene.count(CommandKind::PlaceBracket), 0);
    scene.run_ms(1);
    let own = scene.last(CommandKind::PlaceBracket);
    assert_eq!(known(&scene, Ability::AttachPartial), Some(false));
    scene.reply(&own, Outcome::Accepted, 80);
    let stop = scene.foreign_order(Side::Sell, 3, 59_700.1, 2);
    scene.account(stop);
    scene.listed.clear();
    scene.position(0, 0.0);
    scene.run_ms(130_000);
    scene.quote(60_000.0, 60_000.1);
    scene.clear();
    scene.signal(Side::Buy);
    let entry = scene.last(CommandKind::Place);
    scene.reply(&entry, Outcome::Accepted, 90);
    let part = scene.order(&entry, 90, OrderState::PartiallyFilled, 3, 60_000.1);
    scene.account(part);
    assert_eq!(
        scene.count(CommandKind::PlaceBracket),
        1,
        "at once: {:?}",
        scene.kinds()
    );
}

#[test]
fn leftovers_are_given_time_until_the_venue_is_known_not_to_cancel_them() {
    // The venue does: nothing is sent, and it is remembered.
    let mut scene = Scene::new(trailing(Capabilities::to_probe()));
    let (_, bracket) = scene.enter(Side::Buy, 60_000.1);
    let exit = scene.foreign_order(Side::Sell, 8, 59_900.0, 0);
    scene.account(exit);
    scene.listed.clear();
    scene.answers_lists = false;
    scene.position(0, 0.0);
    scene.clear();
    scene.run_ms(300);
    let gone = scene.bracket(bracket, Side::Sell, 8, LONG_SL, LONG_TP, OrderState::Canceled);
    scene.account(gone);
    assert!(scene.commands.is_empty(), "{:?}", scene.kinds());

    // The venue does not: after two seconds it is swept, and at once from then on.
    let mut scene = Scene::new(trailing(Capabilities::to_probe()));
    scene.enter(Side::Buy, 60_000.1);
    let exit = scene.foreign_order(Side::Sell, 8, 59_900.0, 0);
    scene.account(exit);
    scene.listed.retain(|row| row.kind == AccountKind::Bracket as u8);
    scene.position(0, 0.0);
    scene.clear();
    scene.run_ms(1_900);
    assert!(scene.commands.is_empty(), "{:?}", scene.kinds());
    scene.run_ms(200);
    let sweep = scene.last(CommandKind::CancelBracket);
    scene.reply(&sweep, Outcome::Accepted, 0);
    assert_eq!(known(&scene, Ability::LeftoversCancelled), Some(false));
}

#[test]
fn what_was_learned_outlives_a_restart() {
    let mut scene = about_to_trail();
    let amend = scene.last(CommandKind::AmendBracket);
    scene.reply_code(&amend, Outcome::Rejected, 0, 404);
    assert!(scene.gate.take_learned(), "it belongs on disk");
    assert!(!scene.gate.take_learned(), "once");
    let mut bytes = vec![0u8; SNAPSHOT_MAX];
    let length = scene.gate.snapshot_bytes(&mut bytes).expect("fits");
    let mut instruments = Instruments::new();
    instruments.insert(scene::instrument("BTC-USDT"));
    let params = trailing(Capabilities::to_probe());
    let mut next = Gate::new(params, instruments, instance_tag("default"), 2);
    next.restore(&bytes[..length], scene.now).expect("restores");
    let (capabilities, known) = next.capabilities();
    assert_eq!(known, Ability::Amend.bit());
    assert!(
        !capabilities.amend && capabilities.two_brackets,
        "{capabilities:?}"
    );
}

#[test]
fn a_leftover_does_not_outlive_its_position_for_want_of_calls_for_entries() {
    let mut params = trailing(Capabilities::default());
    // One call for entries in 10.5 s, and the entry took it.
    params.budget.calls_max = 7;
    let mut scene = Scene::new(params);
    scene.enter(Side::Buy, 60_000.1);
    let exit = scene.foreign_order(Side::Sell, 8, 59_900.0, 0);
    scene.account(exit);
    scene.listed.retain(|row| row.kind == AccountKind::Bracket as u8);
    scene.position(0, 0.0);
    scene.clear();
    scene.run_ms(3_000);
    assert!(scene.commands.is_empty(), "{:?}", scene.kinds());
    scene.run_ms(1_200);
    assert_eq!(scene.count(CommandKind::CancelBracket), 1);
}
