//! Whether a gate and the exchange that it traded on tell the same story: positions, open orders and
//! brackets, compared once everything has come to rest. `simulate` and `demo` end with it.

use crate::exchange::{AccountId, Exchange, PositionRow};
use crate::model::{ClientOrderId, InstrumentId, Instruments, PositionSide, Side, Symbol};
use crate::orders::State;
use crate::orders::positions::{instrument_of, slot_of};
use crate::stage::gate::core::Gate;
use std::collections::BTreeMap;

/// A position's place: its instrument, and whether it is the short one of two.
type Place = (Option<Symbol>, bool);

/// What the two do not agree about, and what is not as it should be at rest, each by name; empty = all is
/// well. Their instruments may have different numbers: symbols tell which is which.
pub fn differences(exchange: &Exchange, account: AccountId, gate: &Gate) -> Vec<String> {
    let mut found = Vec::new();
    let theirs = positions_of_exchange(exchange, account);
    let mine = positions_of_gate(gate);
    let only_mine = mine.keys().filter(|place| !theirs.contains_key(*place));
    for place in theirs.keys().chain(only_mine) {
        let [there, here] = [&theirs, &mine].map(|positions| positions.get(place).copied().unwrap_or(0));
        if there != here {
            let side = if place.1 { "short" } else { "net or long" };
            found.push(format!(
                "position {}, {side}: {there} lots at the exchange, {here} in the gate",
                word(place.0)
            ));
        }
    }
    let rows = exchange.orders_open(account);
    let theirs = rows.map(|row| Named::of(exchange.instruments(), row.id, row.instrument, row.client_id));
    let rows = gate.orders().iter().map(|(_, order)| order);
    let mine = rows
        .filter(|order| !order.progress.state.is_final())
        .map(|order| {
            let id = order.progress.venue_id;
            Named::of(gate.instruments(), id, order.instrument, order.client_id)
        });
    compare("open order", theirs.collect(), mine.collect(), &mut found);
    let rows = exchange.brackets_open(account);
    let theirs = rows.map(|row| Named::of(exchange.instruments(), row.id, row.instrument, row.client_id));
    let rows = gate.brackets().iter();
    let mine = rows.map(|row| Named::of(gate.instruments(), row.venue_id, row.instrument, row.client_id));
    compare("bracket", theirs.collect(), mine.collect(), &mut found);
    found.extend(loose_ends(exchange, account));
    for (_, order) in gate.orders().iter() {
        if order.progress.state == State::Unknown {
            found.push(format!("order {} is still in doubt", order.client_id.as_str()));
        }
    }
    found
}

/// What the exchange itself shows to be unfinished: a position without a full stop, a bracket without a
/// position.
pub fn loose_ends(exchange: &Exchange, account: AccountId) -> Vec<String> {
    let symbol = |id: InstrumentId| word(symbol_of(exchange.instruments(), id));
    let positions = exchange.positions(account);
    let bare = positions.iter().filter(|row| !stop_of(exchange, account, row).0);
    let mut found: Vec<String> = bare
        .map(|row| format!("the position on {} has no full stop", symbol(row.instrument)))
        .collect();
    let has_position = |instrument: InstrumentId, side: PositionSide| {
        let slot = slot_of(instrument, side);
        positions
            .iter()
            .any(|row| slot_of(row.instrument, row.position_side) == slot)
    };
    let orphans = exchange
        .brackets_open(account)
        .filter(|row| !has_position(row.instrument, row.position_side));
    found.extend(orphans.map(|row| format!("bracket {} is an orphan on {}", row.id, symbol(row.instrument))));
    found
}

/// Whether live stops cover the whole position, and the tightest of those that cover all of it alone.
pub fn stop_of(exchange: &Exchange, account: AccountId, row: &PositionRow) -> (bool, i64) {
    let is_long = row.lots.0 > 0;
    let mut lots = 0i64;
    let mut tightest: Option<i64> = None;
    for bracket in exchange.brackets_open(account) {
        let closes = if is_long { Side::Sell } else { Side::Buy };
        let is_ours = bracket.instrument == row.instrument
            && bracket.position_side == row.position_side
            && bracket.side == closes;
        let Some(leg) = bracket.stop_loss.filter(|_| is_ours) else {
            continue;
        };
        let covers = bracket.lots.map_or(i64::MAX, |lots| lots.0);
        lots = lots.saturating_add(covers);
        if covers >= row.lots.0.abs() {
            let ticks = leg.trigger.0;
            let best = tightest.map_or(
                ticks,
                |best| {
                    if is_long { best.max(ticks) } else { best.min(ticks) }
                },
            );
            tightest = Some(best);
        }
    }
    (lots >= row.lots.0.abs(), tightest.unwrap_or(0))
}

fn positions_of_exchange(exchange: &Exchange, account: AccountId) -> BTreeMap<Place, i64> {
    let rows = exchange.positions(account);
    let place = |row: &PositionRow| {
        let symbol = symbol_of(exchange.instruments(), row.instrument);
        (symbol, row.position_side == PositionSide::Short)
    };
    rows.iter().map(|row| (place(row), row.lots.0)).collect()
}

fn positions_of_gate(gate: &Gate) -> BTreeMap<Place, i64> {
    let open = gate.positions().open().iter().map(|slot| usize::from(*slot));
    open.map(|slot| {
        let instrument = instrument_of(slot);
        let is_short = slot == slot_of(instrument, PositionSide::Short);
        let symbol = symbol_of(gate.instruments(), instrument);
        ((symbol, is_short), gate.positions().lots(slot))
    })
    .collect()
}

fn symbol_of(instruments: &Instruments, id: InstrumentId) -> Option<Symbol> {
    instruments.get(id).map(|row| row.symbol)
}

fn word(symbol: Option<Symbol>) -> String {
    symbol.map_or_else(
        || "of an unknown instrument".to_owned(),
        |symbol| symbol.to_string(),
    )
}

/// A row by the exchange's number, and what people know it by.
#[derive(Clone, Copy)]
struct Named {
    id: u64,
    symbol: Option<Symbol>,
    client_id: ClientOrderId,
}

impl Named {
    fn of(instruments: &Instruments, id: u64, instrument: InstrumentId, client_id: ClientOrderId) -> Named {
        let symbol = symbol_of(instruments, instrument);
        Named {
            id,
            symbol,
            client_id,
        }
    }
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}", self.id, word(self.symbol))?;
        match self.client_id.as_str() {
            "" => write!(f, ")"),
            own => write!(f, ", {own})"),
        }
    }
}

/// Rows that only one side has, or the gate has twice.
fn compare(what: &str, mut theirs: Vec<Named>, mut mine: Vec<Named>, found: &mut Vec<String>) {
    theirs.sort_unstable_by_key(|row| row.id);
    mine.sort_unstable_by_key(|row| row.id);
    for (rows, others, side) in [
        (&theirs, &mine, "at the exchange"),
        (&mine, &theirs, "in the gate"),
    ] {
        let is_missing = |row: &&Named| others.binary_search_by_key(&row.id, |other| other.id).is_err();
        let missing = rows.iter().filter(is_missing);
        found.extend(missing.map(|row| format!("{what} {row} is only {side}")));
    }
    let twice = mine.windows(2).filter(|pair| pair[0].id == pair[1].id);
    found.extend(twice.map(|pair| format!("{what} {} is in the gate twice", pair[0])));
}
