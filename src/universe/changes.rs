//! New listings and delistings while running: the difference of two selections, and the next one.
//!
//! Pure. Ids never change: what was followed keeps its id for the whole run, also when it goes and
//! comes back. An instrument with a position is never dropped.

use super::select::{DropWhy, Selection};
use crate::model::{INSTRUMENTS_MAX, Instrument, InstrumentId, Symbol};

/// An instrument that is followed from now on.
#[derive(Clone, Copy, Debug)]
pub struct Listed {
    pub id: InstrumentId,
    pub instrument: Instrument,
    /// It was followed earlier in this run; its candles have a gap.
    pub is_back: bool,
    /// Followed for context only, not to be entered.
    pub is_context: bool,
}

/// An instrument that the new selection leaves out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Delisted {
    pub id: InstrumentId,
    pub symbol: Symbol,
    /// `None` when the venue does not list it any more.
    pub why: Option<DropWhy>,
}

/// An instrument whose row is not what it was.
#[derive(Clone, Copy, Debug)]
pub struct Refreshed {
    pub id: InstrumentId,
    pub before: Instrument,
    pub after: Instrument,
    /// Tick size, lot size or contract value changed: prices in ticks and sizes in lots mean
    /// something else now. Books, positions and orders of it have to be read again.
    pub is_rescaled: bool,
}

/// What has to be done to follow the new selection. Each list is in the order of ids, `no_room` in
/// rank order.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    pub listed: Vec<Listed>,
    /// No position: unsubscribe.
    pub delisted: Vec<Delisted>,
    /// Would be dropped but for its position: no entry, everything else goes on.
    pub held: Vec<Delisted>,
    /// Of those followed before and after.
    pub refreshed: Vec<Refreshed>,
    /// New ones for which the table of 1,024 has no id left.
    pub no_room: Vec<Symbol>,
}

impl Changes {
    /// Whether nothing has to be done.
    pub fn is_empty(&self) -> bool {
        // What is held is not news: it needs no subscription changed.
        self.listed.is_empty()
            && self.delisted.is_empty()
            && self.refreshed.is_empty()
            && self.no_room.is_empty()
    }
}

/// What changes from `old`, whose ids the run uses, to `new`, whose ids mean nothing to it.
/// `has_position` is asked with ids of `old`; it should also be true while an order is in flight.
pub fn diff(old: &Selection, new: &Selection, has_position: impl Fn(InstrumentId) -> bool) -> Changes {
    let mut changes = Changes::default();
    let mut free_id = old.instruments.len();
    for (position, id) in new.followed().enumerate() {
        let Some(after) = new.instruments.get(id) else {
            continue;
        };
        let known = old.instruments.id_of(after.symbol.as_bytes());
        if let Some(id) = known.filter(|id| old.followed().any(|followed| followed == *id)) {
            changes.refreshed.extend(refreshed(old, id, after));
            continue;
        }
        let id = known.unwrap_or(InstrumentId(free_id as u16));
        if known.is_none() {
            if free_id >= INSTRUMENTS_MAX {
                changes.no_room.push(after.symbol);
                continue;
            }
            free_id += 1;
        }
        changes.listed.push(Listed {
            id,
            instrument: *after,
            is_back: known.is_some(),
            is_context: position >= new.ranking.len(),
        });
    }
    for id in old.followed() {
        let Some(before) = old.instruments.get(id) else {
            continue;
        };
        let symbol = before.symbol;
        let is_followed = new
            .instruments
            .id_of(symbol.as_bytes())
            .is_some_and(|new_id| new.followed().any(|followed| followed == new_id));
        if is_followed {
            continue;
        }
        let dropped = new.dropped.iter().find(|row| row.symbol == symbol.as_str());
        let delisted = Delisted {
            id,
            symbol,
            why: dropped.map(|row| row.why),
        };
        if has_position(id) {
            changes.held.push(delisted);
        } else {
            changes.delisted.push(delisted);
        }
    }
    changes.listed.sort_by_key(|listed| listed.id);
    changes.delisted.sort_by_key(|delisted| delisted.id);
    changes.held.sort_by_key(|held| held.id);
    changes.refreshed.sort_by_key(|refreshed| refreshed.id);
    changes
}

/// The selection to run with after `changes`, which `diff` made of these two: the ranking and the
/// reasons of `new` with the ids of `old`.
pub fn apply(old: &Selection, new: &Selection, changes: &Changes) -> Selection {
    let mut instruments = old.instruments.clone();
    for listed in &changes.listed {
        instruments.insert(listed.instrument);
    }
    for refreshed in &changes.refreshed {
        instruments.insert(refreshed.after);
    }
    let translated = |ids: &[InstrumentId]| -> Vec<InstrumentId> {
        let symbols = ids.iter().filter_map(|id| new.instruments.get(*id));
        symbols
            .filter_map(|row| instruments.id_of(row.symbol.as_bytes()))
            .collect()
    };
    let ranking = translated(&new.ranking);
    let mut context_only = translated(&new.context_only);
    context_only.extend(changes.held.iter().map(|held| held.id));
    context_only.sort();
    Selection {
        ranking,
        context_only,
        dropped: new.dropped.clone(),
        instruments,
    }
}

fn refreshed(old: &Selection, id: InstrumentId, after: &Instrument) -> Option<Refreshed> {
    let before = old.instruments.get(id)?;
    let is_rescaled = before.tick_size != after.tick_size
        || before.lot_size != after.lot_size
        || before.contract_value != after.contract_value;
    let is_same = !is_rescaled
        && before.min_lots == after.min_lots
        && before.max_limit_lots == after.max_limit_lots
        && before.max_market_lots == after.max_market_lots
        && before.max_leverage == after.max_leverage
        && before.live == after.live
        && before.list_ms == after.list_ms;
    (!is_same).then_some(Refreshed {
        id,
        before: *before,
        after: *after,
        is_rescaled,
    })
}
