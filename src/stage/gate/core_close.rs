//! The end of a trade: closing it at market, waiting for its fills, accounting for it.
//!
//! A close is a reduce-only order with an id of its own, repeated until the position is gone. Fills that
//! nobody told are read for longer than lists lag, without holding up the next trade of the instrument. A
//! result that cannot be known is reported as such and teaches nothing.

use super::core::{Desk, Gate, NEVER};
use super::core_fills::Fills;
use super::core_outputs::{Outputs, command, event, fetch};
use super::core_stop::exit_of;
use crate::model::client_id::{ClientOrderId, Role};
use crate::model::message::{CommandKind, GateEventKind, Lane, ListKind, TradeOutcome};
use crate::model::time::{NS_PER_MS, NS_PER_SEC};
use crate::model::{OrderType, Reason, Side, Wall};
use crate::orders::book::{Attachment, FillRead, Order, OrderRole};
use crate::orders::bracket::{CloseCause, PendingKind, exit_side};
use crate::orders::lifecycle::Progress;
use crate::orders::lookup::Lookup;
use crate::orders::positions::{side_of, slot_of};
use crate::orders::trade::{ExitKind, Stage, Trade};
use crate::risk::Spend;
use crate::risk::gate::check_exit;
use bytemuck::Zeroable;

/// Reads of the history for the fills that closed a position. What is read may lag 120 s.
const SETTLE_MS: [u64; 6] = [300, 1_500, 5_000, 20_000, 60_000, 125_000];
/// The next trade of the instrument need not wait for longer than this.
pub(super) const SETTLE_END_MS: u64 = 10_000;
/// The fills are given up: the last read has been answered, if it ever will be.
const LATE_END_MS: u64 = 135_000;
/// Closing through close-position instead of an order from this attempt on, every other time.
const CLOSE_POSITION_FROM: u8 = 2;

impl Gate {
    pub(super) fn close_position(
        &mut self,
        index: usize,
        cause: CloseCause,
        lots: i64,
        now: Wall,
        out: &mut Outputs,
    ) {
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return;
        };
        let Ok(approved) = check_exit(exit_of(&trade, lots.abs(), (0, 0)), lots) else {
            self.counters.exits_refused += 1;
            return;
        };
        if self.orders.is_full() || !self.pay(index, Spend::Protect, now) {
            return;
        }
        let attempt = trade.guard.close_attempts;
        let whole = attempt >= CLOSE_POSITION_FROM && attempt % 2 == 0;
        let kind = if whole {
            CommandKind::ClosePosition
        } else {
            CommandKind::Place
        };
        let mut close = command(kind, Lane::Close, trade.instrument, now);
        close.order_type = OrderType::Market as u8;
        close.position_side = trade.position_side as u8;
        close.margin_mode = self.params.margin_mode as u8;
        close.client_id = self.new_id(Role::Close);
        close.signal = trade.signal;
        if !whole {
            self.orders.insert(close_order(
                &trade,
                approved.side,
                close.client_id,
                approved.lots,
                lots,
                now,
            ));
        }
        if let Some(desk) = self.desks[index].as_mut() {
            let guard = &mut desk.trade.guard;
            guard.close(cause);
            guard.close_attempts = guard.close_attempts.saturating_add(1);
            guard.next_close = Wall(now.0 + Self::ms(self.params.timing.close_retry_ms));
        }
        if cause == CloseCause::Naked && attempt == 0 {
            self.counters.naked_closes += 1;
            let mut line = event(GateEventKind::NakedClose, trade.instrument, now);
            line.side = trade.side as u8;
            line.timeframe = trade.timeframe;
            line.signal = trade.signal;
            line.size_lots = lots.abs();
            line.reason = Reason::StopAbsent as u16;
            out.event(line);
        }
        self.send_guard(index, PendingKind::Close, approved.command(close), now, out);
        self.reconcile.want(ListKind::Positions, now);
    }

    /// The position is gone: wait for its fills, then say how the trade ended.
    pub(super) fn step_settling(&mut self, index: usize, now: Wall, out: &mut Outputs) {
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return;
        };
        let slot = slot_of(trade.instrument, trade.position_side);
        let at_slot = self.is_at_slot(index, &trade);
        let side = side_of(self.positions.lots(slot)).filter(|_| at_slot);
        if side == Some(trade.side.opposite()) {
            // Turned around: another position, which needs its stop before this one's fills are told.
            self.leave_slot(index, &trade, now);
        }
        if side == Some(trade.side) {
            // It was not gone after all: a list was older than a fill.
            if let Some(desk) = self.desks[index].as_mut() {
                desk.trade.stage = Stage::Open;
                desk.trade.flat_since = Wall(0);
            }
            self.step_open(index, now, out);
            return;
        }
        let entry_open = self.orders.iter().any(|(_, order)| {
            order.trade == trade.number && order.role == OrderRole::Entry && !order.progress.state.is_final()
        });
        let since_ms = now.since(trade.flat_since) / NS_PER_MS;
        if since_ms >= LATE_END_MS && !entry_open {
            if trade.history_asked > 0 && !self.is_reading_refused(now) {
                self.finish(index, now, out);
                return;
            }
            // Nothing could be read meanwhile, in a ban or before the account was known: the clock starts now.
            if let Some(desk) = self.desks[index].as_mut() {
                (desk.trade.flat_since, desk.trade.history_asked) = (now, 0);
                desk.timer = Wall(now.0 + NS_PER_SEC);
            }
            return;
        }
        if since_ms >= SETTLE_END_MS && !entry_open {
            self.leave_slot(index, &trade, now);
        }
        if trade.is_settled() && !entry_open {
            match self.read_fills(&trade, now, out) {
                Fills::Settled => self.finish(index, now, out),
                Fills::Wait(at) => self.set_desk_timer(index, at.min(settle_end(&trade, since_ms))),
            }
            return;
        }
        let asked = usize::from(trade.history_asked);
        let due_ms = SETTLE_MS.get(asked).copied().unwrap_or(LATE_END_MS);
        if since_ms >= due_ms && asked < SETTLE_MS.len() {
            let token = self.reconcile.token();
            let mut request = fetch(ListKind::OrdersHistory, Lane::Reconcile, token, now);
            request.instrument = trade.instrument.0;
            request.from_ms = trade.decided.ms();
            let _ = out.fetches.try_push(request);
            if let Some(desk) = self.desks[index].as_mut() {
                // One answer serves every rung that is due.
                let due = SETTLE_MS.iter().filter(|due_ms| since_ms >= **due_ms).count();
                desk.trade.history_asked = due as u8;
            }
        }
        let asked = usize::from(
            self.desks[index]
                .as_ref()
                .map_or(0, |desk| desk.trade.history_asked),
        );
        let next_ms = SETTLE_MS.get(asked).copied().unwrap_or(LATE_END_MS);
        // Held open by an entry that may still fill: that order's own lookups wake the desk.
        let next = Wall(trade.flat_since.0 + next_ms * NS_PER_MS).min(settle_end(&trade, since_ms));
        let timer = match (next > now, entry_open) {
            (true, _) => next,
            (false, true) => NEVER,
            (false, false) => Wall(now.0 + NS_PER_SEC),
        };
        self.set_desk_timer(index, timer);
    }

    /// Whether the venue refuses our reads, or did until so lately that none can have been answered.
    fn is_reading_refused(&self, now: Wall) -> bool {
        now.0 < self.budget.penalty_until().0 + SETTLE_END_MS * NS_PER_MS
    }

    /// A trade that is only accounted for any more lets go of its position: what is found there from now
    /// on is another's. Nothing when it has done so.
    fn leave_slot(&mut self, index: usize, trade: &Trade, now: Wall) {
        if self.is_at_slot(index, trade) {
            self.desk_of[slot_of(trade.instrument, trade.position_side)] = 0;
            self.rows[trade.instrument.index()].activity = now;
            self.remember_attached(trade, now);
        }
    }

    /// The trade is over: account for it, teach, and clear the desk.
    pub(super) fn finish(&mut self, index: usize, now: Wall, out: &mut Outputs) {
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return;
        };
        let lot_base = self
            .instruments
            .get(trade.instrument)
            .map_or(0.0, |instrument| instrument.lot_base_f64());
        let (trade, executions) = self.exact(trade);
        // Without all its fills the result is not known, and an unknown result teaches nothing.
        let known = trade.is_settled();
        let (pnl, r) = if known {
            (trade.pnl(lot_base), trade.r(lot_base))
        } else {
            (0.0, 0.0)
        };
        let exit = trade.exit_kind.unwrap_or(ExitKind::Other);
        let mut line = event(GateEventKind::TradeClosed, trade.instrument, now);
        line.side = trade.side as u8;
        line.exit = exit as u8;
        line.timeframe = trade.timeframe;
        line.signal = trade.signal;
        line.client_id = trade.entry_id;
        line.size_lots = trade.entry.lots;
        line.filled_lots = trade.exit.lots;
        line.sl_ticks = trade.guard.want_sl_ticks;
        line.tp_ticks = trade.guard.want_tp_ticks;
        line.fill_price = trade.exit.average();
        line.entry_price = trade.entry.average();
        line.opened_ms = trade.first_fill.ms();
        line.fee = trade.entry.fee + trade.exit.fee;
        line.pnl = pnl;
        line.r = r;
        line.executions = executions;
        line.score = trade.score;
        line.probability = trade.probability;
        line.reason = if known { 0 } else { Reason::ReplyItemMissing as u16 };
        out.event(line);
        self.book_result(&trade);
        if known && trade.signal != 0 && trade.risk > 0.0 {
            let mut outcome = TradeOutcome::zeroed();
            outcome.header.time_ns = now.0;
            outcome.signal = trade.signal;
            outcome.r = r;
            outcome.instrument = trade.instrument.0;
            outcome.timeframe = trade.timeframe;
            outcome.exit = match exit {
                ExitKind::Target => 1,
                ExitKind::Stop => 2,
                ExitKind::Time => 3,
                ExitKind::Other | ExitKind::Liquidation | ExitKind::Manual => 4,
            };
            outcome.closed_ms = now.ms();
            let _ = out.outcomes.try_push(outcome);
        }
        self.counters.trades_closed += 1;
        self.leave_slot(index, &trade, now);
        self.clear_desk(index);
    }

    /// The bracket attached to the entry may not have been heard of yet, or have been missing from a list
    /// that lagged; when it is, it is known for what is left of this trade.
    fn remember_attached(&mut self, trade: &Trade, now: Wall) {
        if trade.attached_sl_ticks == 0 && trade.attached_tp_ticks == 0 {
            return;
        }
        let entry = self.orders.find(&trade.entry_id, 0);
        self.brackets.remember(Attachment {
            instrument: trade.instrument,
            position_side: trade.position_side,
            side: exit_side(trade.side),
            order_id: entry
                .and_then(|slot| self.orders.get(slot))
                .map_or(0, |order| order.progress.venue_id),
            tp_ticks: trade.attached_tp_ticks,
            sl_ticks: trade.attached_sl_ticks,
            since: now,
        });
    }
}

/// When a trade that is being accounted for is looked at at the latest, `since_ms` after its position went.
fn settle_end(trade: &Trade, since_ms: u64) -> Wall {
    let end_ms = if since_ms < SETTLE_END_MS {
        SETTLE_END_MS
    } else {
        LATE_END_MS
    };
    Wall(trade.flat_since.0 + end_ms * NS_PER_MS)
}

fn close_order(
    trade: &Trade,
    side: Side,
    client_id: ClientOrderId,
    lots: i64,
    held: i64,
    now: Wall,
) -> Order {
    Order {
        client_id,
        role: OrderRole::Close,
        instrument: trade.instrument,
        position_side: trade.position_side,
        side,
        reduce_only: true,
        progress: Progress::sent(lots),
        price_ticks: 0,
        trade: trade.number,
        since: now,
        touched: now,
        signed: now,
        position_before: held,
        category: 0,
        lookup: Lookup::default(),
        seen_token: 0,
        cancel_wanted: false,
        cancel_sent: Wall(0),
        fills: FillRead::default(),
    }
}
