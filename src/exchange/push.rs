//! What account changes leave in the outbox: whole rows at once, positions and balance at the end of
//! a step.

use super::account::PositionKey;
use super::order::{AccountId, Order};
use super::position::Position;
use super::{Event, Exchange};

impl Exchange {
    pub(super) fn push_order(&mut self, account: AccountId, id: u64) {
        if let Some(order) = self.order(account, id).copied() {
            self.outbox.push(Event::Order {
                account,
                order: Box::new(order),
            });
        }
    }

    pub(super) fn push_bracket(&mut self, account: AccountId, id: u64) {
        if let Some(bracket) = self.bracket(account, id).copied() {
            self.outbox.push(Event::Bracket {
                account,
                bracket: Box::new(bracket),
            });
        }
    }

    pub(super) fn push_trigger(&mut self, account: AccountId, id: u64) {
        if let Some(trigger) = self.trigger(account, id).copied() {
            self.outbox.push(Event::Trigger {
                account,
                trigger: Box::new(trigger),
            });
        }
    }

    /// Remembers that positions and balance of the account have to be pushed.
    pub(super) fn touch(&mut self, account: AccountId) {
        if !self.touched.contains(&account) {
            self.touched.push(account);
        }
    }

    /// Pushes positions, then the balance, of every account that changed.
    pub(super) fn flush(&mut self) {
        for account in std::mem::take(&mut self.touched) {
            let rows = self.positions(account);
            let balance = Box::new(self.balance(account));
            self.outbox.push(Event::Positions { account, rows });
            self.outbox.push(Event::Balance { account, balance });
        }
    }

    pub(super) fn order_mut(&mut self, account: AccountId, id: u64) -> Option<&mut Order> {
        self.accounts.get_mut(account.index())?.orders.get_mut(&id)
    }

    pub(super) fn position(&self, account: AccountId, key: PositionKey) -> Option<&Position> {
        self.accounts.get(account.index())?.positions.get(&key)
    }
}
