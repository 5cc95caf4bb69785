//! ENFORCE_MIN_MARGIN: an open position whose margin is below the smallest one.
//!
//! It comes from an entry that was filled in part, or from a hand that took some of it away. Each size
//! is judged once, after it has stood for a moment: the position is closed, topped up within the bounds
//! of an entry, or reported.

use super::core::{Call, Desk, Gate, NEVER, Purpose};
use super::core_outputs::{Outputs, command, event};
use crate::model::client_id::Role;
use crate::model::message::{CommandKind, GateEventKind, Lane};
use crate::model::time::NS_PER_SEC;
use crate::model::{Reason, Wall};
use crate::orders::book::{FillRead, Order, OrderRole};
use crate::orders::bracket::{CloseCause, Cover};
use crate::orders::lifecycle::Progress;
use crate::orders::lookup::Lookup;
use crate::orders::trade::Trade;
use crate::risk::approved::Approved;
use crate::risk::gate::{Addition, Context, TopUp, check_top_up};
use crate::risk::{MarginAction, Spend};

/// A size is judged when it has stood this long.
const SETTLED_NS: u64 = NS_PER_SEC;

impl Gate {
    /// Judges the margin of an open position of `lots`; leaves a timer behind while it waits.
    pub(super) fn enforce_margin(
        &mut self,
        index: usize,
        cover: &Cover,
        lots: i64,
        now: Wall,
        out: &mut Outputs,
    ) {
        let Some(action) = self.params.limits.enforce_margin else {
            return;
        };
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return;
        };
        let held = lots.abs();
        let guard = &trade.guard;
        let steady = cover.covered || !guard.is_wanted();
        let busy = guard.call.is_some() || guard.closing.is_some();
        if held == trade.margin_lots || !steady || busy || self.open_entry_lots(&trade) > 0 {
            return;
        }
        let Some(desk) = self.desks[index].as_mut() else {
            return;
        };
        if trade.margin_seen != held {
            desk.trade.margin_seen = held;
            desk.trade.margin_since = now;
        }
        let due = Wall(desk.trade.margin_since.0 + SETTLED_NS);
        if now < due {
            desk.timer = desk.timer.min(due);
            return;
        }
        desk.trade.margin_lots = held;
        match self.margin_usd(&trade, held) {
            Some(margin_usd) if margin_usd + 1e-9 < self.params.limits.margin_usd_min => {}
            Some(_) | None => return,
        }
        match action {
            MarginAction::Close => {
                self.margin_line(&trade, held, Reason::MarginLow, now, out);
                if let Some(desk) = self.desks[index].as_mut() {
                    desk.trade.guard.close(CloseCause::Asked);
                    desk.timer = now;
                }
            }
            MarginAction::Alert => self.margin_line(&trade, held, Reason::MarginLow, now, out),
            MarginAction::TopUp => {
                if let Err(reason) = self.top_up(index, held, now, out) {
                    self.margin_line(&trade, held, reason, now, out);
                }
            }
        }
    }

    /// Margin of `held` lots at the worst price that the entry accepted; `None` when the leverage is
    /// not known. What the market did since is no reason to close.
    fn margin_usd(&self, trade: &Trade, held: i64) -> Option<f64> {
        let instrument = self.instruments.get(trade.instrument)?;
        let leverage = match trade.leverage {
            0 => self.rows[trade.instrument.index()].leverage,
            leverage => leverage,
        };
        let worst = trade.price_ticks as f64 * instrument.tick_f64();
        let price = trade.entry.average().max(trade.reference).max(worst);
        let usd = held as f64 * instrument.lot_base_f64() * price;
        (leverage > 0).then(|| usd / f64::from(leverage))
    }

    /// Adds what is missing, as an order with the position's own triggers attached.
    fn top_up(&mut self, index: usize, held: i64, now: Wall, out: &mut Outputs) -> Result<(), Reason> {
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return Err(Reason::SendBusy);
        };
        let approved = self.check_top_up(&trade, held, now)?;
        if self.orders.is_full() || !out.has_room() {
            return Err(Reason::SendBusy);
        }
        if !self.budget.try_spend(Spend::Entry, now) {
            return Err(Reason::BudgetSpent);
        }
        let mut place = command(CommandKind::Place, Lane::Entry, trade.instrument, now);
        place.client_id = self.new_id(Role::Entry);
        place.position_side = trade.position_side as u8;
        place.margin_mode = self.params.margin_mode as u8;
        place.leverage = trade.leverage;
        place.sl_ticks = trade.guard.want_sl_ticks;
        place.tp_ticks = trade.guard.want_tp_ticks;
        place.signal = trade.signal;
        place.expires_ns = place.expires_ns.min(now.0 + Self::ms(self.params.entry_ttl_ms));
        let added = addition_order(&trade, &approved, &place.client_id, held, now);
        let slot = self.orders.insert(added).ok_or(Reason::SendBusy)?;
        let call = self.open_call(Call {
            number: 0,
            purpose: Purpose::Entry,
            trade: trade.number,
            instrument: trade.instrument,
            client_id: place.client_id,
            venue_id: 0,
            since: now,
        });
        let Some(call) = call else {
            self.orders.remove(slot);
            return Err(Reason::SendBusy);
        };
        let place = approved.command(place).as_call(call, place.expires_ns);
        let _ = out.commands.try_push(place);
        let mut line = event(GateEventKind::OrderSent, trade.instrument, now);
        line.command = place.kind;
        line.side = place.side;
        line.order_type = place.order_type;
        line.timeframe = trade.timeframe;
        line.signal = trade.signal;
        line.client_id = place.client_id;
        line.price_ticks = place.price_ticks;
        line.size_lots = place.size_lots;
        line.sl_ticks = place.sl_ticks;
        line.tp_ticks = place.tp_ticks;
        line.reason = Reason::MarginLow as u16;
        out.event(line);
        if let Some(desk) = self.desks[index].as_mut() {
            desk.timer = NEVER;
        }
        Ok(())
    }

    fn check_top_up(&mut self, trade: &Trade, held: i64, now: Wall) -> Result<Approved<Addition>, Reason> {
        let account = self.view(trade.instrument, trade.side, now);
        let market = self.market_at(trade.instrument, now);
        let instrument = self
            .instruments
            .get(trade.instrument)
            .ok_or(Reason::InstrumentUnknown)?;
        let leverage = match trade.leverage {
            0 => self.rows[trade.instrument.index()].leverage,
            leverage => leverage,
        };
        let top_up = TopUp {
            side: trade.side,
            held,
            leverage,
        };
        check_top_up(
            top_up,
            &Context {
                limits: &self.params.limits,
                brackets: &self.params.brackets,
                instrument,
                market: &market,
                account: &account,
                now,
            },
        )
    }

    /// Says what was found, and why a position was not topped up.
    fn margin_line(&mut self, trade: &Trade, held: i64, reason: Reason, now: Wall, out: &mut Outputs) {
        self.counters.margins_low += 1;
        let mut line = event(GateEventKind::MarginLow, trade.instrument, now);
        line.side = trade.side as u8;
        line.timeframe = trade.timeframe;
        line.signal = trade.signal;
        line.client_id = trade.entry_id;
        line.size_lots = held;
        line.reason = reason as u16;
        line.fill_price = trade.entry.average();
        out.event(line);
    }
}

fn addition_order(
    trade: &Trade,
    addition: &Addition,
    client_id: &crate::model::ClientOrderId,
    held: i64,
    now: Wall,
) -> Order {
    Order {
        client_id: *client_id,
        role: OrderRole::Entry,
        instrument: trade.instrument,
        position_side: trade.position_side,
        side: trade.side,
        reduce_only: false,
        progress: Progress::sent(addition.lots.0),
        price_ticks: addition.price.0,
        trade: trade.number,
        since: now,
        touched: now,
        signed: now,
        position_before: held * trade.side.sign(),
        category: 0,
        lookup: Lookup::default(),
        seen_token: 0,
        cancel_wanted: false,
        cancel_sent: Wall(0),
        fills: FillRead::default(),
    }
}
