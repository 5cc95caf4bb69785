//! The promise: a row of the account that cannot be believed neither passes unseen nor hides the others.
//!
//! A row about an instrument that is not followed turns all entries off until it is gone; one that cannot
//! be read turns off those of its instrument; behind neither is an order or a position taken for absent.

mod scene;

use scene::*;
use smart_scanner::model::message::*;
use smart_scanner::model::*;

const ETH: InstrumentId = InstrumentId(1);

fn named(scene: &Scene, list: ListKind, symbol: &str, instrument: u16, reason: Reason) -> AccountEvent {
    let mut row = scene.fact(AccountKind::Untrusted);
    row.list = list as u8;
    row.instrument = instrument;
    row.reason = reason as u16;
    row.symbol[..symbol.len()].copy_from_slice(symbol.as_bytes());
    row
}

fn unknown(scene: &Scene, list: ListKind) -> AccountEvent {
    named(scene, list, "DOGE-USDT", NO_INSTRUMENT, Reason::InstrumentUnknown)
}

/// Symbols of the events of `kind`.
fn told(scene: &Scene, kind: GateEventKind) -> Vec<String> {
    let events = scene.events.iter().filter(|event| event.kind == kind as u8);
    events
        .map(|event| {
            let text = String::from_utf8_lossy(&event.symbol).into_owned();
            text.trim_end_matches('\0').to_owned()
        })
        .collect()
}

#[test]
fn what_is_held_in_an_instrument_that_is_not_followed_turns_entries_off_until_it_is_gone() {
    for list in [
        ListKind::Positions,
        ListKind::OrdersPending,
        ListKind::BracketsPending,
        ListKind::AlgosPending,
    ] {
        let mut scene = Scene::new(params());
        let row = unknown(&scene, list);
        scene.listed.push(row);
        scene.run_ms(31_000);
        assert_eq!(
            scene.gate.entries_off_reason(),
            Some(Reason::HoldingUnknown),
            "{list:?}"
        );
        assert_eq!(told(&scene, GateEventKind::Untrusted), ["DOGE-USDT"], "said once");
        scene.quote(60_000.0, 60_000.1);
        scene.signal(Side::Buy);
        assert!(scene.commands.is_empty(), "{list:?}");
        let refusals = scene.gate.counters().refusals;
        assert_eq!(refusals[Reason::HoldingUnknown.index()], 1, "counted by name");
        // Seen again in the next round, it is said no more; gone, entries are on again.
        scene.run_ms(31_000);
        assert_eq!(told(&scene, GateEventKind::Untrusted).len(), 1);
        scene.listed.clear();
        scene.run_ms(31_000);
        assert_eq!(scene.gate.entries_off_reason(), None, "{list:?}");
        assert_eq!(told(&scene, GateEventKind::Trusted), ["DOGE-USDT"]);
        assert!(told(&scene, GateEventKind::EntriesOn).len() == 1);
    }
}

#[test]
fn a_push_about_an_instrument_that_is_not_followed_is_settled_by_the_list() {
    let mut scene = Scene::new(params());
    scene.answers_lists = false;
    let push = unknown(&scene, ListKind::OrdersPending);
    scene.account(push);
    assert_eq!(scene.gate.entries_off_reason(), Some(Reason::HoldingUnknown));
    let asked: Vec<FetchRequest> = std::mem::take(&mut scene.fetches);
    assert!(!asked.is_empty(), "the list is asked for at once");
    // An order that filled: not pending any more, but the position stands.
    let position = unknown(&scene, ListKind::Positions);
    scene.run_ms(5);
    scene.account(position);
    for request in &asked {
        scene.answer_list(request);
    }
    assert_eq!(
        scene.gate.entries_off_reason(),
        Some(Reason::HoldingUnknown),
        "a list asked for before the push says nothing of it"
    );
    scene.answers_lists = true;
    scene.run_ms(31_000);
    assert_eq!(scene.gate.entries_off_reason(), None);
}

#[test]
fn a_row_that_cannot_be_read_turns_off_its_instrument_only() {
    let mut scene = Scene::new(params());
    let row = named(
        &scene,
        ListKind::Positions,
        "ETH-USDT",
        ETH.0,
        Reason::NumberInvalid,
    );
    scene.listed.push(row);
    scene.run_ms(31_000);
    assert_eq!(scene.gate.entries_off_reason(), None);
    scene.quote_of(ETH, 60_000.0, 60_000.1);
    let signal = scene.make_signal(ETH, Side::Buy);
    scene.send_signal(&signal);
    assert!(scene.commands.is_empty());
    assert_eq!(scene.gate.counters().refusals[Reason::RowUnreadable.index()], 1);
    scene.quote(60_000.0, 60_000.1);
    scene.signal(Side::Buy);
    assert!(!scene.commands.is_empty(), "BTC is entered all the same");
}

/// A list of positions in which a row became unreadable would have called that position flat, and its
/// stop a leftover.
#[test]
fn a_position_behind_a_row_that_cannot_be_read_is_not_flat() {
    let mut scene = Scene::new(params());
    let mut position = scene.fact(AccountKind::Position);
    position.instrument = ETH.0;
    position.size_lots = 50;
    position.average_price = 3_000.0;
    position.list = ListKind::Positions as u8;
    scene.listed.push(position);
    scene.run_ms(31_000);
    assert_eq!(scene.gate.positions().open().len(), 1);
    let row = named(
        &scene,
        ListKind::Positions,
        "ETH-USDT",
        ETH.0,
        Reason::NumberInvalid,
    );
    scene.listed = vec![row];
    scene.run_ms(62_000);
    assert_eq!(scene.gate.positions().open().len(), 1, "it still stands");
    // Nor is it when the row does not even say of which instrument it is.
    scene.listed = vec![named(
        &scene,
        ListKind::Positions,
        "",
        NO_INSTRUMENT,
        Reason::FieldMissing,
    )];
    scene.run_ms(62_000);
    assert_eq!(scene.gate.positions().open().len(), 1);
    assert_eq!(scene.gate.entries_off_reason(), Some(Reason::HoldingUnknown));
    scene.listed.clear();
    scene.run_ms(31_000);
    assert!(scene.gate.positions().open().is_empty());
}

/// The list of trigger orders that others placed is not needed for protection: a venue that does not give
/// it must not keep a position from its stop.
#[test]
fn without_the_list_of_trigger_orders_a_position_is_protected_and_nothing_entered() {
    let mut scene = Scene::unsynced(params());
    scene.answers_lists = false;
    let up = scene.fact(AccountKind::SocketUp);
    scene.account(up);
    scene.quote_of(ETH, 3_000.0, 3_000.1);
    let mut position = scene.fact(AccountKind::Position);
    position.instrument = ETH.0;
    position.size_lots = 50;
    position.average_price = 3_000.0;
    position.list = ListKind::Positions as u8;
    scene.listed.push(position);
    for _ in 0..8 {
        for request in std::mem::take(&mut scene.fetches) {
            if request.list == ListKind::AlgosPending as u8 {
                let mut failed = scene.fact(AccountKind::ListFailed);
                (failed.token, failed.list) = (request.token, request.list);
                scene.account(failed);
            } else {
                scene.answer_list(&request);
            }
        }
        scene.run_ms(500);
    }
    let is_stop = |command: &&OrderCommand| {
        command.kind == CommandKind::PlaceBracket as u8 && command.instrument == ETH.0
    };
    assert!(scene.commands.iter().any(|command| is_stop(&command)), "no stop");
    assert_eq!(scene.gate.entries_off_reason(), Some(Reason::AccountUnsynced));
}

/// Reads and orders go to one address: a ban on either silences both.
#[test]
fn a_ban_of_reads_silences_orders_and_the_other_way_round() {
    let mut scene = Scene::new(params());
    let mut ban = scene.fact(AccountKind::Suspended);
    ban.update_ms = scene.now.ms() + 300_000;
    ban.detail = 1;
    scene.account(ban);
    scene.quote(60_000.0, 60_000.1);
    scene.signal(Side::Buy);
    assert!(scene.commands.is_empty(), "no entry while reads are banned");
    scene.run_ms(299_000);
    scene.quote(60_000.0, 60_000.1);
    scene.signal(Side::Buy);
    assert!(scene.commands.is_empty(), "nor shortly before its end");
    scene.run_ms(1_100);
    scene.quote(60_000.0, 60_000.1);
    scene.signal(Side::Buy);
    let entry = *scene.commands.last().expect("an entry afterwards");
    // The venue answers 429: reads are told to be silent.
    let mut reply: SendReply = bytemuck::Zeroable::zeroed();
    reply.call = entry.call;
    reply.kind = entry.kind;
    reply.outcome = Outcome::RateLimited as u8;
    reply.http_status = 429;
    scene.clear();
    scene.send_reply(&reply);
    let suspend = scene
        .fetches
        .iter()
        .find(|request| request.list == ListKind::Suspend as u8);
    let until = suspend.expect("fetch is told").to_ms;
    assert!(until > scene.now.ms() + 9_000, "for a window at least");
}

/// Lookups of a bracket whose answer was lost climb the ladder instead of repeating every 300 ms.
#[test]
fn failed_lookups_of_a_bracket_come_less_and_less_often() {
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
    let lost_ms = scene.now.ms();
    let mut asked_ms = Vec::new();
    for _ in 0..1_900 {
        scene.run_ms(1);
        for request in std::mem::take(&mut scene.fetches) {
            if request.list == ListKind::BracketDetail as u8 {
                asked_ms.push(scene.now.ms() - lost_ms);
                let mut failed = scene.fact(AccountKind::ListFailed);
                (failed.token, failed.list) = (request.token, request.list);
                scene.account(failed);
            }
        }
    }
    // Before the next one is due the position, still without a stop, is closed.
    assert_eq!(asked_ms, [50, 250]);
    assert_eq!(scene.last(CommandKind::Place).reduce_only, 1);
}
