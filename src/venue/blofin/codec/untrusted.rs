//! Rows of the account that cannot be believed: unreadable, or about an instrument that this run does
//! not follow.
//!
//! One such row must not blind the account to all others, and must not pass unseen either: it becomes
//! an event of its own, with as much of its identity as can be read.

use super::document::Element;
use super::rows::{self, Row};
use crate::model::instrument::SYMBOL_MAX;
use crate::model::message::{AccountEvent, AccountKind, ListKind, NO_INSTRUMENT};
use crate::model::{Instruments, Reason};

/// The event that `row` of `list` comes to, `read` having read it; `None` for a row that says nothing:
/// of an instrument that is not followed, in a list of the past or flat.
pub fn event_of(
    row: Element<'_>,
    read: Row,
    list: ListKind,
    instruments: &Instruments,
) -> Option<AccountEvent> {
    match read {
        Ok(Some(event)) => Some(event),
        Ok(None) if !is_of_now(list) || is_flat(row, list) => None,
        Ok(None) => Some(untrusted(row, list, Reason::InstrumentUnknown, instruments)),
        Err(reason) => Some(untrusted(row, list, reason, instruments)),
    }
}

/// Whether the rows of `list` are what the account holds now.
pub fn is_of_now(list: ListKind) -> bool {
    matches!(
        list,
        ListKind::Positions | ListKind::OrdersPending | ListKind::BracketsPending | ListKind::AlgosPending
    )
}

fn is_flat(row: Element<'_>, list: ListKind) -> bool {
    let size = match row.fields(&["positions"]) {
        Ok([size]) => size.and_then(Element::as_f64),
        Err(_) => None,
    };
    list == ListKind::Positions && size == Some(0.0)
}

/// What can be read of a row that cannot be believed for `reason`.
fn untrusted(row: Element<'_>, list: ListKind, reason: Reason, instruments: &Instruments) -> AccountEvent {
    let mut event = rows::event(AccountKind::Untrusted);
    event.list = list as u8;
    event.reason = reason as u16;
    event.instrument = NO_INSTRUMENT;
    let Ok([symbol, order, tpsl, algo, client]) =
        row.fields(&["instId", "orderId", "tpslId", "algoId", "clientOrderId"])
    else {
        return event;
    };
    if let Some(text) = symbol.and_then(Element::as_text) {
        let length = text.len().min(SYMBOL_MAX);
        event.symbol[..length].copy_from_slice(&text.as_bytes()[..length]);
        if let Some(id) = instruments.id_of(text.as_bytes()) {
            event.instrument = id.0;
        }
    }
    event.client_id = rows::client_id(client);
    let id = match list {
        ListKind::BracketsPending | ListKind::BracketsHistory | ListKind::AlgosPending => tpsl.or(algo),
        _ => order,
    };
    event.venue_id = rows::id_of(id).ok().flatten().unwrap_or(0);
    event
}
