//! What an account may ask for. Each call takes the time it arrives at, answers at once, and leaves
//! what it changed in the outbox (`advance` or `drain` hand it out).
//!
//! Call `advance` up to the same time first: a command meets the market as it stands.

use super::account::Account;
use super::matching::Origin;
use super::order::{AccountId, Ack, Amend, Bracket, CancelSource, NewBracket, NewOrder, NewTrigger, Trigger};
use super::{Code, Exchange, Ids};
use crate::model::{
    ClientOrderId, InstrumentId, Lots, MarginMode, OrderState, OrderType, PositionMode, PositionSide, Wall,
};

impl Exchange {
    /// Accepts an order and matches it; the answer says only that it exists.
    pub fn place(&mut self, account: AccountId, now: Wall, order: &NewOrder) -> Result<Ack, Code> {
        self.arrive(now);
        self.check_order(account, order)?;
        let id = self.submit(account, order, Origin::USER);
        self.react(order.instrument, None);
        self.flush();
        Ok(Ack {
            id,
            client_id: order.client_id,
        })
    }

    /// Cancels an order that is still alive; 102068 for any other.
    pub fn cancel(&mut self, account: AccountId, now: Wall, id: u64) -> Result<Ack, Code> {
        self.arrive(now);
        let client_id = self
            .order(account, id)
            .map(|order| order.client_id)
            .ok_or(Code::CancelFailed)?;
        if !self.end_order(account, id, CancelSource::User) {
            return Err(Code::CancelFailed);
        }
        self.flush();
        Ok(Ack { id, client_id })
    }

    /// The same by client id.
    pub fn cancel_by_client(
        &mut self,
        account: AccountId,
        now: Wall,
        client_id: &ClientOrderId,
    ) -> Result<Ack, Code> {
        let id = self
            .order_by_client(account, client_id)
            .map(|order| order.id)
            .ok_or(Code::CancelFailed)?;
        self.cancel(account, now, id)
    }

    /// Places a bracket of its own for an open position.
    pub fn place_bracket(
        &mut self,
        account: AccountId,
        now: Wall,
        request: &NewBracket,
    ) -> Result<Ack, Code> {
        self.arrive(now);
        self.check_bracket(account, request)?;
        let id = Ids::next(&mut self.ids.algo);
        let now_ms = self.now.ms();
        let holder = self.accounts.get_mut(account.index()).ok_or(Code::Internal)?;
        let bracket = Bracket {
            id,
            client_id: request.client_id,
            instrument: request.instrument,
            margin_mode: request.margin_mode,
            position_side: request.position_side,
            side: request.side,
            lots: request.lots,
            reduce_only: request.reduce_only,
            leverage: holder.leverage_of(request.instrument, request.margin_mode, request.position_side),
            state: OrderState::Live,
            take_profit: request.take_profit,
            stop_loss: request.stop_loss,
            fired: None,
            actual_lots: Lots(0),
            order_id: 0,
            parent_id: 0,
            cancel_source: CancelSource::NotCanceled,
            create_ms: now_ms,
            update_ms: now_ms,
            orphaned: false,
        };
        remember_algo_client(holder, request.client_id, id);
        holder.brackets.insert(id, bracket);
        holder.open_brackets.insert(id);
        self.push_bracket(account, id);
        self.review_protection(account, request.instrument);
        self.flush();
        Ok(Ack {
            id,
            client_id: request.client_id,
        })
    }

    /// Cancels a live bracket; 102068 for any other.
    pub fn cancel_bracket(&mut self, account: AccountId, now: Wall, id: u64) -> Result<Ack, Code> {
        self.arrive(now);
        let client_id = self
            .bracket(account, id)
            .map(|row| row.client_id)
            .ok_or(Code::CancelFailed)?;
        if !self.end_bracket(account, id, OrderState::Canceled, CancelSource::User) {
            return Err(Code::CancelFailed);
        }
        Ok(Ack { id, client_id })
    }

    /// Cancels a live bracket as the venue itself does (fault injection); whether it was live.
    pub fn system_cancel_bracket(&mut self, account: AccountId, now: Wall, id: u64) -> bool {
        self.arrive(now);
        self.end_bracket(account, id, OrderState::Canceled, CancelSource::System)
    }

    /// Changes a live bracket in place, without a moment between old and new. 404 unless `amend` is
    /// on.
    pub fn amend_bracket(
        &mut self,
        account: AccountId,
        now: Wall,
        id: u64,
        amend: &Amend,
    ) -> Result<Ack, Code> {
        self.arrive(now);
        if !self.config.amend {
            return Err(Code::NotFound);
        }
        let row = self
            .bracket(account, id)
            .filter(|row| !row.state.is_final())
            .copied();
        let row = row.ok_or(Code::AmendFailed)?;
        if amend.lots.is_some_and(|lots| lots.0 <= 0) {
            return Err(Code::ParameterError);
        }
        self.check_legs_against_market(row.instrument, row.side, amend.take_profit, amend.stop_loss)?;
        let now_ms = self.now.ms();
        let holder = self.accounts.get_mut(account.index()).ok_or(Code::Internal)?;
        if let Some(live) = holder.brackets.get_mut(&id) {
            live.lots = amend.lots.or(live.lots);
            live.take_profit = amend.take_profit.or(live.take_profit);
            live.stop_loss = amend.stop_loss.or(live.stop_loss);
            live.update_ms = now_ms;
        }
        self.push_bracket(account, id);
        self.review_protection(account, row.instrument);
        Ok(Ack {
            id,
            client_id: row.client_id,
        })
    }

    /// Places a trigger order: it fires when the price comes to `trigger` from where it is now.
    pub fn place_trigger(
        &mut self,
        account: AccountId,
        now: Wall,
        request: &NewTrigger,
    ) -> Result<Ack, Code> {
        self.arrive(now);
        self.check_trigger(account, request)?;
        let price = self.trigger_price(request.instrument, request.trigger_type);
        let row = self
            .instruments
            .get(request.instrument)
            .ok_or(Code::InstrumentUnknown)?;
        let fires_above = row.price_f64(request.trigger) > price;
        let id = Ids::next(&mut self.ids.algo);
        let now_ms = self.now.ms();
        let holder = self.accounts.get_mut(account.index()).ok_or(Code::Internal)?;
        let trigger = Trigger {
            id,
            client_id: request.client_id,
            instrument: request.instrument,
            margin_mode: request.margin_mode,
            position_side: request.position_side,
            side: request.side,
            lots: request.lots,
            trigger: request.trigger,
            trigger_type: request.trigger_type,
            order_price: request.order_price,
            reduce_only: request.reduce_only,
            leverage: holder.leverage_of(request.instrument, request.margin_mode, request.position_side),
            state: OrderState::Live,
            take_profit: request.take_profit,
            stop_loss: request.stop_loss,
            actual_lots: Lots(0),
            order_id: 0,
            cancel_source: CancelSource::NotCanceled,
            create_ms: now_ms,
            update_ms: now_ms,
            fires_above,
            orphaned: false,
        };
        remember_algo_client(holder, request.client_id, id);
        holder.triggers.insert(id, trigger);
        holder.open_triggers.insert(id);
        self.push_trigger(account, id);
        self.review_protection(account, request.instrument);
        Ok(Ack {
            id,
            client_id: request.client_id,
        })
    }

    /// Cancels a live trigger order; 102068 for any other.
    pub fn cancel_trigger(&mut self, account: AccountId, now: Wall, id: u64) -> Result<Ack, Code> {
        self.arrive(now);
        let client_id = self
            .trigger(account, id)
            .map(|row| row.client_id)
            .ok_or(Code::CancelFailed)?;
        if !self.end_trigger(account, id, OrderState::Canceled, CancelSource::User) {
            return Err(Code::CancelFailed);
        }
        Ok(Ack { id, client_id })
    }

    /// Closes a whole position at market; 102005 when there is none. Resting orders stay.
    pub fn close_position(
        &mut self,
        account: AccountId,
        now: Wall,
        instrument: InstrumentId,
        margin_mode: MarginMode,
        position_side: PositionSide,
        client_id: ClientOrderId,
    ) -> Result<Ack, Code> {
        self.arrive(now);
        let position = self.position(account, (instrument, position_side)).copied();
        let position = position.filter(|position| position.margin_mode == margin_mode);
        let position = position.ok_or(Code::PositionClosed)?;
        let holder = self.accounts.get(account.index()).ok_or(Code::Internal)?;
        if !client_id.is_empty() && holder.client_ids.contains_key(&client_id) {
            return Err(Code::DuplicateClientId);
        }
        let order = NewOrder {
            instrument,
            margin_mode,
            position_side,
            side: position.closing_side(),
            order_type: OrderType::Market,
            price: None,
            lots: position.size(),
            reduce_only: true,
            client_id,
            take_profit: None,
            stop_loss: None,
        };
        let id = self.submit(account, &order, Origin::USER);
        self.flush();
        Ok(Ack { id, client_id })
    }

    /// Sets the leverage of an instrument, of an open position too. Refused above the instrument's
    /// maximum (152002), with resting cross orders on it (110006), and when isolated margin would
    /// grow beyond what is free (103003).
    pub fn set_leverage(
        &mut self,
        account: AccountId,
        now: Wall,
        instrument: InstrumentId,
        margin_mode: MarginMode,
        position_side: PositionSide,
        leverage: u16,
    ) -> Result<(), Code> {
        self.arrive(now);
        let row = self.instruments.get(instrument).ok_or(Code::InstrumentUnknown)?;
        if leverage == 0 || leverage > row.max_leverage {
            return Err(Code::ParameterError);
        }
        let hedged = self.position_mode(account) == PositionMode::LongShort;
        if hedged && margin_mode == MarginMode::Isolated && position_side == PositionSide::Net {
            return Err(Code::ParameterEmpty);
        }
        let resting = self.orders_open(account);
        let blocked = |mode: MarginMode| mode == MarginMode::Cross && margin_mode == MarginMode::Cross;
        if resting
            .into_iter()
            .any(|order| order.instrument == instrument && blocked(order.margin_mode))
        {
            return Err(Code::PendingCrossOrders);
        }
        let holder = self.accounts.get(account.index()).ok_or(Code::Internal)?;
        let affected: Vec<_> = holder
            .positions
            .iter()
            .filter(|(key, position)| key.0 == instrument && position.margin_mode == margin_mode)
            .filter(|(key, _)| margin_mode == MarginMode::Cross || key.1 == position_side)
            .map(|(key, position)| (*key, position.leverage))
            .collect();
        let apply = |exchange: &mut Exchange, of: &dyn Fn(u16) -> u16| {
            for (key, old) in &affected {
                let positions = exchange
                    .accounts
                    .get_mut(account.index())
                    .map(|holder| &mut holder.positions);
                if let Some(position) = positions.and_then(|positions| positions.get_mut(key)) {
                    position.leverage = of(*old);
                }
            }
        };
        apply(self, &|_| leverage);
        if !affected.is_empty() && self.balance(account).available.is_sign_negative() {
            apply(self, &|old| old);
            return Err(Code::MarginLow);
        }
        if let Some(holder) = self.accounts.get_mut(account.index()) {
            let key = Account::leverage_key(instrument, margin_mode, position_side);
            holder.leverage.insert(key, leverage);
        }
        if !affected.is_empty() {
            self.touch(account);
            self.flush();
        }
        Ok(())
    }

    /// Sets the account's margin mode; 110019 with any live row or position.
    pub fn set_margin_mode(&mut self, account: AccountId, mode: MarginMode) -> Result<(), Code> {
        let holder = self.accounts.get_mut(account.index()).ok_or(Code::Internal)?;
        if holder.margin_mode != mode && holder.is_busy() {
            return Err(Code::SettingBusy);
        }
        holder.margin_mode = mode;
        Ok(())
    }

    /// Sets the account's position mode; 110019 with any live row or position.
    pub fn set_position_mode(&mut self, account: AccountId, mode: PositionMode) -> Result<(), Code> {
        let holder = self.accounts.get_mut(account.index()).ok_or(Code::Internal)?;
        if holder.position_mode != mode && holder.is_busy() {
            return Err(Code::SettingBusy);
        }
        holder.position_mode = mode;
        Ok(())
    }

    /// Takes the time of a call; time never goes back.
    pub(super) fn arrive(&mut self, now: Wall) {
        self.now = self.now.max(now);
    }
}

fn remember_algo_client(holder: &mut Account, client_id: ClientOrderId, id: u64) {
    if !client_id.is_empty() {
        holder.algo_client_ids.insert(client_id, id);
    }
}

impl Account {
    fn is_busy(&self) -> bool {
        !(self.positions.is_empty()
            && self.open_orders.is_empty()
            && self.open_brackets.is_empty()
            && self.open_triggers.is_empty())
    }
}
