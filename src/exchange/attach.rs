//! Brackets between their birth and their end: made from the legs of an entry, grown with it, and
//! cleared or left behind when the position is gone.

use super::account::Account;
use super::account::PositionKey;
use super::matching::opens;
use super::order::{AccountId, Bracket, CancelSource};
use super::position::Position;
use super::{AttachPolicy, Exchange, Ids, Leftovers};
use crate::model::{ClientOrderId, Lots, OrderState, Side};

impl Exchange {
    /// Brings the TP/SL of an entry to life, or lets it grow with its fills.
    pub(super) fn attach_bracket(&mut self, account: AccountId, id: u64) {
        let Some(order) = self.order(account, id).copied() else {
            return;
        };
        let carries = order.take_profit.is_some() || order.stop_loss.is_some();
        let due = self.config.attach == AttachPolicy::FirstFill || order.state.is_final();
        if !carries || !due || order.opened.0 == 0 {
            return;
        }
        let now_ms = self.now.ms();
        let Some(holder) = self.accounts.get_mut(account.index()) else {
            return;
        };
        // Lots of this entry that rows made earlier already cover.
        let made: i64 = holder
            .brackets
            .range(order.bracket..)
            .filter(|(_, row)| order.bracket != 0 && row.parent_id == id)
            .map(|(_, row)| row.lots.map_or(0, |lots| lots.0))
            .sum();
        let missing = order.opened.0 - made;
        if missing <= 0 {
            return;
        }
        let live = holder.open_brackets.iter().rev().copied();
        let grows = live
            .into_iter()
            .find(|live| holder.brackets.get(live).is_some_and(|row| row.parent_id == id));
        let bracket_id = match grows.and_then(|live| holder.brackets.get_mut(&live)) {
            Some(row) => {
                row.lots = row.lots.map(|lots| Lots(lots.0 + missing));
                row.update_ms = now_ms;
                row.id
            }
            None => {
                let bracket = Bracket {
                    id: Ids::next(&mut self.ids.algo),
                    client_id: ClientOrderId::default(),
                    instrument: order.instrument,
                    margin_mode: order.margin_mode,
                    position_side: order.position_side,
                    side: order.side.opposite(),
                    lots: Some(Lots(missing)),
                    reduce_only: true,
                    leverage: order.leverage,
                    state: OrderState::Live,
                    take_profit: order.take_profit,
                    stop_loss: order.stop_loss,
                    fired: None,
                    actual_lots: Lots(0),
                    order_id: 0,
                    parent_id: id,
                    cancel_source: CancelSource::NotCanceled,
                    create_ms: now_ms,
                    update_ms: now_ms,
                    orphaned: false,
                };
                holder.brackets.insert(bracket.id, bracket);
                holder.open_brackets.insert(bracket.id);
                bracket.id
            }
        };
        if let Some(row) = self.order_mut(account, id).filter(|row| row.bracket == 0) {
            row.bracket = bracket_id;
        }
        self.push_bracket(account, bracket_id);
    }

    /// What lives on when a position has closed, by `Leftovers`. After a flip only rows that closed
    /// the old direction go.
    pub(super) fn clear_leftovers(&mut self, account: AccountId, key: PositionKey, flipped: bool) {
        if self.config.leftovers == Leftovers::Keep {
            return;
        }
        let all = self.config.leftovers == Leftovers::CancelAll;
        let held = self.position(account, key).map(Position::closing_side);
        let Some(holder) = self.accounts.get(account.index()) else {
            return;
        };
        let stale = |side: Side| !flipped || held != Some(side);
        let brackets: Vec<u64> = holder
            .open_brackets
            .iter()
            .copied()
            .filter(|id| {
                holder.brackets.get(id).is_some_and(|row| {
                    (row.instrument, row.position_side) == key
                        && stale(row.side)
                        && (all || row.lots.is_none())
                })
            })
            .collect();
        let orders: Vec<u64> = holder
            .open_orders
            .iter()
            .copied()
            .filter(|id| {
                holder.orders.get(id).is_some_and(|row| {
                    let reduces = row.reduce_only || !opens(row.side, row.position_side);
                    (row.instrument, row.position_side) == key && stale(row.side) && reduces
                })
            })
            .collect();
        for id in brackets {
            self.end_bracket(account, id, OrderState::Canceled, CancelSource::System);
        }
        for id in orders {
            self.end_order(account, id, CancelSource::System);
        }
    }

    /// Ends a live bracket; `false` when it was not live.
    pub(super) fn end_bracket(
        &mut self,
        account: AccountId,
        id: u64,
        state: OrderState,
        source: CancelSource,
    ) -> bool {
        let now_ms = self.now.ms();
        let Some(holder) = self.accounts.get_mut(account.index()) else {
            return false;
        };
        if !holder.open_brackets.remove(&id) {
            return false;
        }
        let Some(row) = holder.brackets.get_mut(&id) else {
            return false;
        };
        row.state = state;
        row.cancel_source = source;
        row.update_ms = now_ms;
        let instrument = row.instrument;
        Account::trim(&mut holder.brackets, &holder.open_brackets);
        self.push_bracket(account, id);
        self.review_protection(account, instrument);
        true
    }
}
