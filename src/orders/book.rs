//! The tables of orders and brackets that we know of, ours and the user's.
//!
//! Fixed capacity, stable slot numbers, lookup by scanning the used part in slot order: a handful
//! of rows in practice, and the same order of rows in every run.

use super::lifecycle::{Progress, State};
use super::lookup::Lookup;
use crate::model::client_id::ClientOrderId;
use crate::model::time::NS_PER_SEC;
use crate::model::{InstrumentId, PositionSide, Side, Wall};
use arrayvec::ArrayVec;

/// Orders that may be known at a time: entries and closes of 64 trades, and the user's own.
pub const ORDERS_MAX: usize = 256;
/// Brackets that may be known at a time.
pub const BRACKETS_MAX: usize = 256;
/// Attachments of trades that are over which are remembered, and for how long.
const ATTACHMENTS_MAX: usize = 64;
const ATTACHMENT_NS: u64 = 600 * NS_PER_SEC;

/// Why we know of an order.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderRole {
    Entry = 1,
    Close = 2,
    /// Made by the venue from a bracket, by a liquidation, or by the user.
    Foreign = 3,
}

impl OrderRole {
    pub fn from_code(code: u8) -> Option<OrderRole> {
        [OrderRole::Entry, OrderRole::Close, OrderRole::Foreign]
            .into_iter()
            .find(|role| *role as u8 == code)
    }
}

/// One order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Order {
    pub client_id: ClientOrderId,
    pub role: OrderRole,
    pub instrument: InstrumentId,
    pub position_side: PositionSide,
    pub side: Side,
    pub reduce_only: bool,
    pub progress: Progress,
    pub price_ticks: i64,
    /// The trade it belongs to; 0 = none.
    pub trade: u64,
    /// When we first knew of it.
    pub since: Wall,
    /// When we last heard of it.
    pub touched: Wall,
    /// When its bytes were signed, as far as known; the moment of handing over before that.
    pub signed: Wall,
    /// Position of its slot when it was sent, to see whether it moved.
    pub position_before: i64,
    /// `AccountEvent::category` of the latest report.
    pub category: u8,
    pub lookup: Lookup,
    /// Token of the complete list in which it was last seen.
    pub seen_token: u32,
    /// A cancel is wanted, or in flight since then.
    pub cancel_wanted: bool,
    pub cancel_sent: Wall,
    pub fills: FillRead,
}

/// The reading of one order's executions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FillRead {
    /// Token of the read that is under way; 0 = none.
    pub token: u32,
    pub asked: u8,
    /// Not asked again before.
    pub next: Wall,
}

/// Every order we know of.
#[derive(Debug)]
pub struct OrderBook {
    slots: Vec<Option<Order>>,
    top: usize,
}

impl Default for OrderBook {
    fn default() -> Self {
        OrderBook {
            slots: vec![None; ORDERS_MAX],
            top: 0,
        }
    }
}

impl OrderBook {
    /// Adds `order`; `None` when the table is full.
    pub fn insert(&mut self, order: Order) -> Option<usize> {
        let slot = self.slots.iter().position(Option::is_none)?;
        self.slots[slot] = Some(order);
        self.top = self.top.max(slot + 1);
        Some(slot)
    }

    pub fn get(&self, slot: usize) -> Option<&Order> {
        self.slots.get(slot)?.as_ref()
    }

    pub fn get_mut(&mut self, slot: usize) -> Option<&mut Order> {
        self.slots.get_mut(slot)?.as_mut()
    }

    /// Slot of the order with this client id, or with this venue id (when not 0) where one of the
    /// two sides does not say its client id.
    pub fn find(&self, client_id: &ClientOrderId, venue_id: u64) -> Option<usize> {
        self.slots[..self.top].iter().position(|slot| {
            slot.as_ref().is_some_and(|order| {
                if client_id.is_empty() || order.client_id.is_empty() {
                    venue_id != 0 && order.progress.venue_id == venue_id
                } else {
                    order.client_id == *client_id
                }
            })
        })
    }

    pub fn remove(&mut self, slot: usize) {
        if let Some(entry) = self.slots.get_mut(slot) {
            *entry = None;
        }
        while self.top > 0 && self.slots[self.top - 1].is_none() {
            self.top -= 1;
        }
    }

    /// Used slots in slot order.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Order)> {
        self.slots[..self.top]
            .iter()
            .enumerate()
            .filter_map(|(slot, order)| order.as_ref().map(|order| (slot, order)))
    }

    /// One past the highest used slot.
    pub fn top(&self) -> usize {
        self.top
    }

    pub fn len(&self) -> usize {
        self.iter().count()
    }

    pub fn is_empty(&self) -> bool {
        self.top == 0
    }

    pub fn is_full(&self) -> bool {
        self.top == ORDERS_MAX && self.slots.iter().all(Option::is_some)
    }

    /// What must hold after every step; the text names the first breach.
    pub fn check_invariants(&self) -> Result<(), &'static str> {
        for (slot, order) in self.iter() {
            let progress = &order.progress;
            if progress.filled_lots < 0 || progress.size_lots < 0 {
                return Err("an order has negative lots");
            }
            if order.role != OrderRole::Foreign && progress.filled_lots > progress.size_lots {
                return Err("an order of ours is filled beyond its size");
            }
            if progress.state == State::Unknown && !order.lookup.is_running() {
                return Err("an unknown order is not being looked up");
            }
            let twin = self.iter().any(|(other, twin)| {
                other != slot && !order.client_id.is_empty() && twin.client_id == order.client_id
            });
            if twin {
                return Err("two orders share a client id");
            }
        }
        Ok(())
    }
}

/// One TP/SL order at the venue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BracketRow {
    pub venue_id: u64,
    /// Empty for brackets attached to an entry.
    pub client_id: ClientOrderId,
    pub instrument: InstrumentId,
    pub position_side: PositionSide,
    /// Side of the order it would send.
    pub side: Side,
    /// −1 = the whole position.
    pub lots: i64,
    pub tp_ticks: i64,
    pub sl_ticks: i64,
    /// It protects or protected a trade of ours.
    pub linked: bool,
    pub since: Wall,
    /// When we last heard of it.
    pub touched: Wall,
    pub update_ms: i64,
    pub seen_token: u32,
    /// When a cancel was handed over; 0 = none is in flight.
    pub cancel_sent: Wall,
}

impl BracketRow {
    /// Whether `instance` placed it, or it came with an entry of ours.
    pub fn is_own(&self, instance: u16) -> bool {
        self.linked || self.client_id.is_of(instance)
    }
}

/// The bracket attached to the entry of a trade that is over. It may be heard of only now, without a
/// client id, and is ours to cancel all the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attachment {
    pub instrument: InstrumentId,
    pub position_side: PositionSide,
    /// Side of the order it would send.
    pub side: Side,
    /// The venue's id of the entry; 0 = not known.
    pub order_id: u64,
    pub tp_ticks: i64,
    pub sl_ticks: i64,
    /// When the trade was over.
    pub since: Wall,
}

/// Every live bracket we know of; rows leave when the venue says that they ended.
#[derive(Debug)]
pub struct BracketBook {
    rows: Vec<BracketRow>,
    /// Oldest first.
    attachments: ArrayVec<Attachment, ATTACHMENTS_MAX>,
}

impl Default for BracketBook {
    fn default() -> Self {
        BracketBook {
            rows: Vec::with_capacity(BRACKETS_MAX),
            attachments: ArrayVec::new(),
        }
    }
}

impl BracketBook {
    /// Adds a row; false when the table is full.
    pub fn insert(&mut self, row: BracketRow) -> bool {
        let room = self.rows.len() < BRACKETS_MAX;
        if room {
            self.rows.push(row);
        }
        room
    }

    pub fn find(&self, client_id: &ClientOrderId, venue_id: u64) -> Option<usize> {
        self.rows.iter().position(|row| {
            let by_client = !client_id.is_empty() && row.client_id == *client_id;
            by_client || (venue_id != 0 && row.venue_id == venue_id)
        })
    }

    /// Remembers what was attached to the entry of a trade that is over; the oldest makes room.
    pub fn remember(&mut self, attachment: Attachment) {
        if self.attachments.is_full() {
            self.attachments.remove(0);
        }
        self.attachments.push(attachment);
    }

    /// Whether `row`, made by the order `order_id` (0 = not said), was attached to an entry of ours whose
    /// trade is over by now.
    pub fn was_attached(&self, row: &BracketRow, order_id: u64, now: Wall) -> bool {
        row.client_id.is_empty()
            && self.attachments.iter().any(|one| {
                let place = (one.instrument, one.position_side, one.side);
                let by_triggers = (one.sl_ticks, one.tp_ticks) == (row.sl_ticks, row.tp_ticks);
                // Where both orders are known, they say it.
                let is_same = match (order_id, one.order_id) {
                    (0, _) | (_, 0) => by_triggers,
                    (order_id, entry) => order_id == entry,
                };
                place == (row.instrument, row.position_side, row.side)
                    && is_same
                    && now.since(one.since) < ATTACHMENT_NS
            })
    }

    pub fn get_mut(&mut self, index: usize) -> Option<&mut BracketRow> {
        self.rows.get_mut(index)
    }

    /// Takes a row out; later rows keep their order.
    pub fn remove(&mut self, index: usize) -> BracketRow {
        self.rows.remove(index)
    }

    pub fn iter(&self) -> std::slice::Iter<'_, BracketRow> {
        self.rows.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut BracketRow> {
        self.rows.iter_mut()
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Keeps the rows for which `keep` says so.
    pub fn retain(&mut self, keep: impl FnMut(&BracketRow) -> bool) {
        self.rows.retain(keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bracket_that_names_another_entry_was_not_attached_to_ours() {
        let row = BracketRow {
            venue_id: 801,
            client_id: ClientOrderId::default(),
            instrument: InstrumentId(0),
            position_side: PositionSide::Net,
            side: Side::Sell,
            lots: 8,
            tp_ticks: 120,
            sl_ticks: 90,
            linked: false,
            since: Wall(1),
            touched: Wall(1),
            update_ms: 0,
            seen_token: 0,
            cancel_sent: Wall(0),
        };
        let other = BracketRow { sl_ticks: 91, ..row };
        // (order of the trade, order that the row names, same triggers, other triggers)
        for (entry, named, same, others) in [
            (77, 77, true, true),
            (77, 78, false, false),
            (77, 0, true, false),
            (0, 78, true, false),
            (0, 0, true, false),
        ] {
            let mut book = BracketBook::default();
            book.remember(Attachment {
                instrument: row.instrument,
                position_side: row.position_side,
                side: row.side,
                order_id: entry,
                tp_ticks: row.tp_ticks,
                sl_ticks: row.sl_ticks,
                since: Wall(1),
            });
            let was = |row: &BracketRow| book.was_attached(row, named, Wall(2));
            assert_eq!((was(&row), was(&other)), (same, others), "{entry}, named {named}");
        }
    }
}
