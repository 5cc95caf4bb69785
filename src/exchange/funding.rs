//! Funding: what longs and shorts pay each other at 00, 08 and 16 UTC.

use super::account::{Account, FundingPayment};
use super::amount::{self, Amount};
use super::market::state::FUNDING_MAX;
use super::market::{FUNDING_INTERVAL_MS, FundingRow};
use super::order::AccountId;
use super::{Exchange, Ids};
use crate::model::{InstrumentId, MarginMode};

impl Exchange {
    /// From now on this is the rate for eight hours; it is charged at the next settlement and told to
    /// whoever follows the instrument.
    pub fn set_funding_rate(&mut self, instrument: InstrumentId, rate: f64) {
        if let Some(market) = self.markets.get_mut(instrument.index()) {
            market.funding_rate = rate;
            market.funding_ms = i64::MIN;
        }
        self.publish(instrument);
    }

    /// Pays funding on every open position, and starts the next interval.
    pub(super) fn settle_funding(&mut self) {
        let settle_ms = self.driver.next_funding_ms;
        self.driver.next_funding_ms += FUNDING_INTERVAL_MS;
        for index in 0..self.markets.len() {
            let instrument = InstrumentId(index as u16);
            let market = &mut self.markets[index];
            let rate = market.funding_rate;
            if !market.priced {
                continue;
            }
            if market.funding_history.len() >= FUNDING_MAX {
                market.funding_history.pop_front();
            }
            market.funding_history.push_back(FundingRow { rate, settle_ms });
            self.charge_funding(instrument, rate);
            self.react(instrument, None);
        }
    }

    /// `Q·M·rate` from longs to shorts (from shorts to longs when the rate is negative).
    fn charge_funding(&mut self, instrument: InstrumentId, rate: f64) {
        let Some((terms, mark)) = self.terms_and_mark(instrument) else {
            return;
        };
        let per_lot = amount::cut(terms.lot_base * mark * amount::of_f64(rate));
        for index in 0..self.accounts.len() {
            let account = AccountId(index as u16);
            let Some(holder) = self.accounts.get_mut(index) else {
                continue;
            };
            let mut paid = false;
            for (key, position) in &mut holder.positions {
                if key.0 != instrument {
                    continue;
                }
                let change = -(per_lot * Amount::from(position.lots.0));
                holder.balance += change;
                if position.margin_mode == MarginMode::Isolated {
                    position.margin_change += change;
                }
                self.ledger.record_funding(account, change);
                let payment = FundingPayment {
                    id: Ids::next(&mut self.ids.bill),
                    instrument,
                    amount: change,
                    rate,
                    time_ms: self.now.ms(),
                };
                Account::remember(&mut holder.funding, payment);
                paid = true;
            }
            if paid {
                self.touch(account);
            }
        }
    }
}
