//! The gate's decision core: every input is a method, every consequence lands in `Outputs`.
//!
//! Owns limits, switches, orders, trades, positions, brackets and the call budget, and is their
//! only writer. Never reads a clock, allocates, blocks or does I/O; the glue around it moves
//! records between rings and makes intents durable before the first byte leaves.
//!
//! ```text
//! on_signal, on_alert ─▶ risk::gate::check ─▶ Approved<Order> ─▶ Place (bracket attached)
//! on_reply, on_account ─▶ orders::lifecycle ─▶ trade ─▶ orders::bracket::decide ─▶ protect, close
//! on_tick ─▶ quotes, trailing            on_timer ─▶ lookups, reconcile, sweeps, time limits
//! ```

use super::core_again::Waiting;
use super::core_call::{CALLS_MAX, open_call};
pub(super) use super::core_call::{Call, Purpose};
use super::core_modes::LeverageRead;
use super::core_outputs::{Counters, Outputs, event};
use super::core_trust::{DISTRUST_MAX, Distrust};
use crate::model::client_id::{ClientOrderId, Role};
use crate::model::message::{GateEventKind, Tick, TickKind};
use crate::model::time::{NS_PER_MS, NS_PER_SEC};
use crate::model::{
    INSTRUMENTS_MAX, Instrument, InstrumentId, Instruments, MarginMode, PositionMode, PositionSide, Reason,
    Side, TriggerType, Wall,
};
use crate::orders::book::OrderRole;
use crate::orders::bracket::{Capabilities, Timing};
use crate::orders::fills::FillBook;
use crate::orders::positions::{SLOTS, slot_of};
use crate::orders::trade::{Stage, TRADES_MAX};
use crate::orders::{BracketBook, OrderBook, Positions, Reconcile, Trade};
use crate::risk::gate::Market;
use crate::risk::trailing::TrailState;
use crate::risk::{BracketParams, Budget, BudgetParams, Limits, TrailParams};
use arrayvec::ArrayVec;

/// Everything the gate is told once.
#[derive(Clone, Copy, Debug)]
pub struct GateParams {
    pub limits: Limits,
    pub brackets: BracketParams,
    pub trail: TrailParams,
    pub budget: BudgetParams,
    pub capabilities: Capabilities,
    pub timing: Timing,
    pub margin_mode: MarginMode,
    pub position_mode: PositionMode,
    /// ENABLE_PRIVATE_WS: without it the account is polled.
    pub private_feed: bool,
    /// Code of the panic regime in `Signal::regime`; 0 = none.
    pub panic_regime: u8,
    /// REGIME_AWARE.
    pub regime_aware: bool,
    pub reconcile_every_ms: u32,
    /// Rounds while there is no private feed.
    pub poll_every_ms: u32,
    /// An entry that has not left after this is not sent.
    pub entry_ttl_ms: u32,
    /// DEDUPE_TTL_SEC.
    pub dedupe_ttl_sec: u32,
    /// Positions that we did not open are protected too.
    pub adopt: bool,
    /// TPSL_RETRY_ON_FAIL and TPSL_RETRY_TRIGGER_TYPE.
    pub retry_on_fail: bool,
    pub retry_trigger: TriggerType,
}

impl Default for GateParams {
    fn default() -> Self {
        GateParams {
            limits: Limits::default(),
            brackets: BracketParams::default(),
            trail: TrailParams::default(),
            budget: BudgetParams::default(),
            capabilities: Capabilities::default(),
            timing: Timing::default(),
            margin_mode: MarginMode::Cross,
            position_mode: PositionMode::Net,
            private_feed: true,
            panic_regime: 0,
            regime_aware: true,
            reconcile_every_ms: 30_000,
            poll_every_ms: 5_000,
            entry_ttl_ms: 2_000,
            dedupe_ttl_sec: 600,
            adopt: true,
            retry_on_fail: true,
            retry_trigger: TriggerType::Mark,
        }
    }
}

/// Opinions remembered against doubles.
pub(super) const SEEN_MAX: usize = 256;
/// Entries of the last hour that are counted one by one, the most that MAX_ENTRIES_PER_HOUR allows: more
/// than that no limit could see.
pub const ENTRIES_MAX: usize = 256;
/// Far enough: no timer.
pub(super) const NEVER: Wall = Wall(u64::MAX);

/// A trade with what the decision core adds to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Desk {
    pub trade: Trade,
    pub trail: Option<TrailState>,
    /// While its leverage is being set.
    pub waiting: Option<Waiting>,
    /// When it wants to be looked at; `NEVER` = only after an input.
    pub timer: Wall,
}

/// Result of the running UTC day: of the trades that are accounted for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Day {
    pub day: u64,
    pub realised_usd: f64,
    pub losses_in_row: u32,
}

/// Per instrument: market, last activity, leverage.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Row {
    pub market: Market,
    /// When the book was told, and the pace of the tape.
    pub flow_time: Wall,
    pub tape_time: Wall,
    /// 24 h volume in USDT from the ticker; 0 = unknown.
    pub quote_volume: f64,
    /// Last entry or exit.
    pub activity: Wall,
    /// As set at the venue; 0 = unknown.
    pub leverage: u16,
    /// The venue refused our leverage until then.
    pub leverage_refused: Wall,
}

/// The account as last heard of.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Account {
    pub equity: f64,
    pub available: f64,
    pub private_up: bool,
    /// When this private feed first told all positions; 0 = not yet.
    pub pushed: Wall,
    /// Margin or position mode at the venue is not ours; entries are off.
    pub modes_differ: bool,
    /// Which of them: the venue answers one at a time.
    pub margin_differs: bool,
    pub position_differs: bool,
    pub modes_tried: bool,
    pub fatal_auth: bool,
    pub leverage_read: LeverageRead,
    /// Another instance's live order was seen at.
    pub foreign_instance: Wall,
    /// When a complete set of positions was last pushed, and when one was asked for that was read.
    pub positions_pushed: Wall,
    pub positions_listed: Wall,
}

/// The decision core.
pub struct Gate {
    pub(super) params: GateParams,
    pub(super) instruments: Instruments,
    pub(super) instance: u16,
    pub(super) epoch: u32,
    pub(super) sequence: u64,
    pub(super) next_call: u64,
    pub(super) next_trade: u64,
    pub(super) next_alert: u64,
    pub(super) rows: Vec<Row>,
    pub(super) desks: Vec<Option<Desk>>,
    /// One past the highest desk in use.
    pub(super) desks_top: usize,
    /// Index of the desk of a position slot, plus one; 0 = none.
    pub(super) desk_of: Vec<u16>,
    pub(super) orders: OrderBook,
    pub(super) brackets: BracketBook,
    pub(super) fills: FillBook,
    pub(super) positions: Positions,
    pub(super) reconcile: Reconcile,
    pub(super) budget: Budget,
    pub(super) calls: ArrayVec<Call, CALLS_MAX>,
    pub(super) seen: ArrayVec<([u64; 2], Wall), SEEN_MAX>,
    pub(super) entries: ArrayVec<Wall, ENTRIES_MAX>,
    pub(super) day: Day,
    pub(super) account: Account,
    /// Rows of the account that are not believed.
    pub(super) distrusts: ArrayVec<Distrust, DISTRUST_MAX>,
    pub(super) kill_switch: bool,
    pub(super) shutting_down: bool,
    pub(super) journal_full: bool,
    pub(super) entries_on: bool,
    /// Restored from a snapshot: no trade is touched before the venue has told how things are.
    pub(super) awaits_truth: bool,
    /// Bits of the abilities that the venue has shown or denied.
    pub(super) abilities_known: u32,
    /// Something was learned that is not yet on disk.
    pub(super) has_learned: bool,
    /// When the lists were last polled for want of a private feed.
    pub(super) polled: Wall,
    pub(super) timer: Wall,
    pub(super) counters: Counters,
}

impl Gate {
    /// A gate that knows nothing of the account: entries stay off until a reconcile is complete.
    /// `instance` marks its client ids, `epoch` must never have been used before.
    pub fn new(params: GateParams, instruments: Instruments, instance: u16, epoch: u32) -> Self {
        Gate {
            params,
            instruments,
            instance,
            epoch,
            sequence: 0,
            // Answers to calls of an earlier run find nobody.
            next_call: (u64::from(epoch) << 32) | 1,
            next_trade: 1,
            next_alert: 1,
            rows: vec![Row::default(); INSTRUMENTS_MAX],
            desks: vec![None; TRADES_MAX],
            desks_top: 0,
            desk_of: vec![0; SLOTS],
            orders: OrderBook::default(),
            brackets: BracketBook::default(),
            fills: FillBook::default(),
            positions: Positions::of_feed(params.private_feed),
            reconcile: Reconcile::new(params.reconcile_every_ms),
            budget: Budget::new(params.budget),
            calls: ArrayVec::new(),
            seen: ArrayVec::new(),
            entries: ArrayVec::new(),
            day: Day::default(),
            account: Account::default(),
            distrusts: ArrayVec::new(),
            kill_switch: false,
            shutting_down: false,
            journal_full: false,
            entries_on: false,
            awaits_truth: false,
            abilities_known: 0,
            has_learned: false,
            polled: Wall(0),
            timer: Wall(0),
            counters: Counters::default(),
        }
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Stops or allows entries; protection and closing go on.
    pub fn set_kill_switch(&mut self, on: bool) {
        self.kill_switch = on;
        self.timer = Wall(0);
    }

    /// No entry from now on; resting entries are cancelled, stops stay.
    pub fn set_shutting_down(&mut self) {
        self.shutting_down = true;
        for slot in 0..self.orders.top() {
            if let Some(order) = self.orders.get_mut(slot)
                && order.role == OrderRole::Entry
            {
                order.cancel_wanted = true;
            }
        }
        self.timer = Wall(0);
    }

    /// The ring that must not drop is full: entries pause until it is not.
    pub fn set_journal_full(&mut self, full: bool) {
        self.journal_full = full;
    }

    /// Adds an instrument or refreshes its row; false when the table is full.
    pub fn set_instrument(&mut self, instrument: Instrument) -> bool {
        self.instruments.insert(instrument).is_some()
    }

    /// Whether every condition for entries that is not about one signal holds.
    pub fn entries_enabled(&self) -> bool {
        self.entries_off_reason().is_none()
    }

    /// Why entries are off; `None` when they are on.
    pub fn entries_off_reason(&self) -> Option<Reason> {
        if self.kill_switch {
            Some(Reason::KillSwitch)
        } else if self.shutting_down {
            Some(Reason::ShuttingDown)
        } else if self.journal_full {
            Some(Reason::JournalFull)
        } else if !self.is_feed_up() {
            Some(Reason::PrivateFeedDown)
        } else if self.account.fatal_auth {
            Some(Reason::AuthRefused)
        } else if self.account.modes_differ {
            Some(Reason::ModesDiffer)
        } else if self.account.foreign_instance > Wall(0) {
            Some(Reason::OtherInstance)
        } else if !self.reconcile.is_whole() {
            Some(Reason::AccountUnsynced)
        } else if self.holds_unknown() {
            Some(Reason::HoldingUnknown)
        } else if !self.params.limits.enable_autotrade {
            Some(Reason::AutotradeOff)
        } else {
            None
        }
    }

    pub(super) fn is_feed_up(&self) -> bool {
        self.account.private_up || !self.params.private_feed
    }

    /// A quote, mark or change of trust of one instrument. Other ticks change nothing.
    pub fn on_tick(&mut self, tick: &Tick, now: Wall, out: &mut Outputs) {
        let Some(row) = self.rows.get_mut(tick.instrument().index()) else {
            self.counters.events_invalid += 1;
            return;
        };
        let Some(kind) = TickKind::from_code(tick.kind) else {
            self.counters.events_invalid += 1;
            return;
        };
        let market = &mut row.market;
        let price = |value: f64| value.is_finite() && value > 0.0;
        match kind {
            TickKind::Quote | TickKind::Depth => {
                // A crossed or empty book says nothing; the age of the last good one will tell.
                if price(tick.v[0]) && price(tick.v[1]) && tick.v[1] > tick.v[0] {
                    market.bid = tick.v[0];
                    market.ask = tick.v[1];
                    market.quote_time = now;
                }
                if kind == TickKind::Quote && price(tick.v[4]) {
                    market.last = tick.v[4];
                    if price(tick.v[6]) {
                        row.quote_volume = tick.v[6] * tick.v[4];
                    }
                }
                if kind == TickKind::Depth {
                    // The rates of the tape are `indicate`'s to tell.
                    market.flow.ready = true;
                    market.flow.depth_bid_usd = tick.v[4];
                    market.flow.depth_ask_usd = tick.v[5];
                    row.flow_time = now;
                }
            }
            // Without one the last price stands for it: an old mark must not.
            TickKind::Mark => market.mark = if price(tick.v[0]) { tick.v[0] } else { 0.0 },
            TickKind::Trade if price(tick.v[0]) => market.last = tick.v[0],
            TickKind::Stale => market.stale = true,
            TickKind::Fresh => market.stale = false,
            TickKind::Trade | TickKind::Candle | TickKind::Funding => return,
        }
        for position_side in [PositionSide::Net, PositionSide::Short] {
            if let Some(desk) = self.desk_at(slot_of(tick.instrument(), position_side)) {
                self.step_desk(desk, now, out);
                self.update_timer(now);
            }
        }
    }

    /// The next decision time at which `on_timer` has work.
    pub fn next_timer(&self) -> Option<Wall> {
        (self.timer < NEVER).then_some(self.timer)
    }

    /// Does everything that is due at `now`. What does not fit into `out` stays due.
    pub fn on_timer(&mut self, now: Wall, out: &mut Outputs) {
        self.pump(now, out);
    }

    /// Steps what is due and finds the next timer. Every handler ends with it.
    pub(super) fn pump(&mut self, now: Wall, out: &mut Outputs) {
        self.roll_day(now);
        self.lose_calls(now, out);
        // A position without a stop does not wait for another's stop to move.
        for bare in [true, false] {
            for index in 0..self.desks_top {
                let is_due =
                    |desk: &Desk| desk.timer <= now && (desk.trade.guard.naked_since > Wall(0)) == bare;
                if self.desks[index].as_ref().is_some_and(is_due) && out.has_room() {
                    self.step_desk(index, now, out);
                }
            }
        }
        self.step_account(now, out);
        self.announce(now, out);
        self.update_timer(now);
        if self.timer <= now && out.is_empty() {
            // Something is due that cannot be done now, for want of budget or of an answer: look
            // again soon, but let time pass in between.
            self.timer = Wall(now.0 + NS_PER_MS);
        }
    }

    /// The earliest moment at which anything is due.
    fn update_timer(&mut self, now: Wall) {
        let desks = self.desks[..self.desks_top]
            .iter()
            .flatten()
            .map(|desk| desk.timer);
        let calls = self.calls.iter().map(Call::lost_at);
        let due = desks
            .chain(calls)
            .min()
            .unwrap_or(NEVER)
            .min(self.account_timer(now));
        self.timer = due;
    }

    /// Says when entries went on or off.
    fn announce(&mut self, now: Wall, out: &mut Outputs) {
        let on = self.entries_enabled();
        if on == self.entries_on {
            return;
        }
        self.entries_on = on;
        let kind = if on {
            GateEventKind::EntriesOn
        } else {
            GateEventKind::EntriesOff
        };
        let mut line = event(kind, InstrumentId(u16::MAX), now);
        line.reason = self.entries_off_reason().map_or(0, |reason| reason as u16);
        out.event(line);
    }

    /// A new UTC day begins with a clean slate for the loss limits.
    pub(super) fn roll_day(&mut self, now: Wall) {
        let day = now.0 / (86_400 * NS_PER_SEC);
        if day != self.day.day {
            self.day = Day {
                day,
                ..Day::default()
            };
        }
    }

    /// A client id never used before.
    pub(super) fn new_id(&mut self, role: Role) -> ClientOrderId {
        self.sequence += 1;
        ClientOrderId::new(self.instance, self.epoch, role, self.sequence)
    }

    /// Notes a call that is about to leave and returns its number; `None` when too many are open.
    pub(super) fn open_call(&mut self, call: Call) -> Option<u64> {
        open_call(&mut self.calls, &mut self.next_call, call)
    }

    pub(super) fn desk_at(&self, slot: usize) -> Option<usize> {
        usize::from(*self.desk_of.get(slot)?).checked_sub(1)
    }

    /// Whether the position of `trade`, on desk `index`, is still that desk's. A trade that settles has
    /// lost it when the position was turned around.
    pub(super) fn is_at_slot(&self, index: usize, trade: &Trade) -> bool {
        self.desk_at(slot_of(trade.instrument, trade.position_side)) == Some(index)
    }

    /// Index of the desk of trade `number`.
    pub(super) fn desk_of_trade(&self, number: u64) -> Option<usize> {
        self.desks[..self.desks_top]
            .iter()
            .position(|desk| number != 0 && desk.as_ref().is_some_and(|desk| desk.trade.number == number))
    }

    /// Puts `trade` on a free desk; `None` when all are taken.
    pub(super) fn open_desk(&mut self, trade: Trade, trail: Option<TrailState>, now: Wall) -> Option<usize> {
        let index = self.desks.iter().position(Option::is_none)?;
        let slot = slot_of(trade.instrument, trade.position_side);
        self.desks[index] = Some(Desk {
            trade,
            trail,
            waiting: None,
            timer: now,
        });
        // One that is only accounted for any more, after a restart, leaves what is found there to another: it
        // may have been opened since.
        if trade.stage != Stage::Settling {
            self.desk_of[slot] = index as u16 + 1;
        }
        self.desks_top = self.desks_top.max(index + 1);
        Some(index)
    }

    /// Clears a desk. Orders of it that may still live stay known until they are proven over.
    pub(super) fn clear_desk(&mut self, index: usize) {
        let Some(desk) = self.desks[index].take() else {
            return;
        };
        while self.desks_top > 0 && self.desks[self.desks_top - 1].is_none() {
            self.desks_top -= 1;
        }
        let trade = desk.trade;
        self.forget_fills(trade.number);
        if self.is_at_slot(index, &trade) {
            self.desk_of[slot_of(trade.instrument, trade.position_side)] = 0;
        }
        for slot in 0..self.orders.top() {
            let Some(order) = self.orders.get_mut(slot) else {
                continue;
            };
            if order.trade != trade.number {
                continue;
            }
            if order.progress.state.is_final() || order.role == OrderRole::Foreign {
                self.orders.remove(slot);
            } else {
                order.trade = 0;
                order.cancel_wanted = order.role == OrderRole::Entry;
            }
        }
    }

    /// The side of the position that an order of `side` opens, in the account's position mode.
    pub(super) fn position_side(&self, side: Side) -> PositionSide {
        match (self.params.position_mode, side) {
            (PositionMode::Net, _) => PositionSide::Net,
            (PositionMode::LongShort, Side::Buy) => PositionSide::Long,
            (PositionMode::LongShort, Side::Sell) => PositionSide::Short,
        }
    }

    /// Last price of an instrument, the middle of the quote when there was no trade; 0 = none.
    pub(super) fn last_price(&self, instrument: InstrumentId) -> f64 {
        let market = &self.rows[instrument.index()].market;
        if market.last > 0.0 {
            market.last
        } else if market.has_quote() {
            (market.bid + market.ask) / 2.0
        } else {
            market.mark
        }
    }

    /// Mark price, the last price when there is none; 0 = neither.
    pub(super) fn mark_price(&self, instrument: InstrumentId) -> f64 {
        let market = &self.rows[instrument.index()].market;
        if market.mark > 0.0 {
            market.mark
        } else {
            self.last_price(instrument)
        }
    }

    /// Nanoseconds of a setting in milliseconds.
    pub(super) fn ms(value: u32) -> u64 {
        u64::from(value) * NS_PER_MS
    }
}
