//! Signals and alerts: from an opinion to an approved entry on its way.
//!
//! Both come through the same door, `risk::gate::check`. Nothing here decides what is allowed; it
//! gathers what the check needs, and turns an approval into commands.

use super::core::{Call, Desk, Gate, NEVER, Purpose};
use super::core_again::Waiting;
use super::core_call::open_call;
use super::core_outputs::{Outputs, command, event, sent};
use crate::model::client_id::Role;
use crate::model::message::{Alert, AlertAnswer, CommandKind, GateEvent, GateEventKind, Lane, Signal};
use crate::model::time::NS_PER_SEC;
use crate::model::{InstrumentId, Reason, Side, Timeframe, Wall};
use crate::orders::book::{FillRead, Order as BookOrder, OrderRole};
use crate::orders::bracket::Guard;
use crate::orders::lifecycle::{Event, Progress, State, apply};
use crate::orders::lookup::Lookup;
use crate::orders::positions::slot_of;
use crate::orders::trade::{Filled, Stage, Trade};
use crate::risk::Spend;
use crate::risk::approved::Approved;
use crate::risk::gate::{self, Context, GateReport, Order, Proposal};
use bytemuck::Zeroable;

/// `Alert::timeframe` of an alert that names none.
const TIMEFRAME_EXTERNAL: u8 = 255;

/// Where an entry comes from.
#[derive(Clone, Copy)]
struct Origin {
    signal: u64,
    timeframe: u8,
    score: f64,
    probability: f64,
    atr: f64,
    level: f64,
    panic: bool,
}

impl Gate {
    /// A signal of our own strategies.
    pub fn on_signal(&mut self, signal: &Signal, now: Wall, out: &mut Outputs) {
        self.roll_day(now);
        let instrument = InstrumentId(signal.instrument);
        let known = self.instruments.get(instrument).is_some();
        let (Some(side), Some(timeframe), true) = (
            Side::from_code(signal.side),
            Timeframe::from_code(signal.timeframe),
            known,
        ) else {
            let mut line = event(GateEventKind::Refused, instrument, now);
            (line.side, line.timeframe) = (signal.side, signal.timeframe);
            (line.score, line.probability) = (signal.score, signal.probability);
            line.signal = signal.id;
            self.refuse_as(invalid_reason(known), line, out);
            return;
        };
        let panic = self.params.regime_aware
            && self.params.panic_regime != 0
            && signal.regime == self.params.panic_regime;
        let proposal = Proposal {
            instrument,
            side,
            score: signal.score,
            probability: signal.probability,
            ev_r: Some(signal.ev_r),
            cost_r: signal.cost_r,
            price: signal.price,
            atr: signal.atr,
            level: signal.level,
            quote_volume: signal.quote_volume,
            panic,
            formed: Wall::from_ms(signal.open_ms.saturating_add(timeframe.ms())),
            duplicate: self.is_seen([signal.id, 0], now),
        };
        let origin = Origin {
            signal: signal.id,
            timeframe: signal.timeframe,
            score: signal.score,
            probability: signal.probability,
            atr: signal.atr,
            level: signal.level,
            panic,
        };
        let entered = self.check(&proposal, now, None).and_then(|approved| {
            self.remember([signal.id, 0], now);
            self.enter(approved, &proposal, &origin, now, out)
        });
        if let Err(reason) = entered {
            self.refuse(&proposal, &origin, reason, now, out);
        }
        // The order leaves first; upkeep is due at once, but as an input of its own. A refusal changes
        // nothing that it could be waiting for.
        if entered.is_ok() {
            self.timer = now;
        }
    }

    /// A signal from outside. Always answers. A dry one changes nothing: no number is used up, no
    /// refusal counted, no line written.
    pub fn on_alert(&mut self, alert: &Alert, now: Wall, out: &mut Outputs) {
        self.roll_day(now);
        let is_dry = alert.dry == 1;
        let mut answer = AlertAnswer::zeroed();
        answer.header.time_ns = now.0;
        answer.request = alert.request;
        answer.instrument = alert.instrument;
        answer.side = alert.side;
        let instrument = InstrumentId(alert.instrument);
        let known = self.instruments.get(instrument).is_some();
        let timeframe =
            alert.timeframe == TIMEFRAME_EXTERNAL || Timeframe::from_code(alert.timeframe).is_some();
        // Alerts get numbers of their own, apart from those of signals: the top bit is set.
        let signal = (1 << 63) | (u64::from(self.epoch) << 32) | self.next_alert;
        let (Some(side), true, true) = (Side::from_code(alert.side), timeframe, known) else {
            answer.decision = 2;
            answer.reason = invalid_reason(known) as u16;
            if !is_dry {
                self.next_alert += 1;
                answer.signal = signal;
                let mut line = event(GateEventKind::Refused, instrument, now);
                (line.side, line.timeframe) = (alert.side, alert.timeframe);
                (line.score, line.probability) = (alert.score, alert.probability);
                line.signal = signal;
                self.refuse_as(invalid_reason(known), line, out);
            }
            let _ = out.answers.try_push(answer);
            return;
        };
        let proposal = self.proposal_of(alert, instrument, side, now);
        let mut report = GateReport::new();
        let checked = self.check(&proposal, now, Some(&mut report));
        answer.reference = self.last_price(instrument);
        if is_dry {
            match checked {
                Ok(approved) => self.fill_answer(&mut answer, &approved.get(), 0),
                Err(reason) => refused_answer(&mut answer, reason, &report),
            }
            let _ = out.answers.try_push(answer);
            return;
        }
        self.next_alert += 1;
        answer.signal = signal;
        let origin = Origin {
            signal,
            timeframe: alert.timeframe,
            score: alert.score,
            probability: alert.probability,
            atr: 0.0,
            level: 0.0,
            panic: false,
        };
        let entered = checked.and_then(|approved| {
            self.remember(alert.id_hash, now);
            self.enter(approved, &proposal, &origin, now, out)
                .map(|()| approved)
        });
        match entered {
            Ok(approved) => self.fill_answer(&mut answer, &approved.get(), signal),
            Err(reason) => {
                refused_answer(&mut answer, reason, &report);
                self.refuse(&proposal, &origin, reason, now, out);
            }
        }
        let _ = out.answers.try_push(answer);
        self.pump(now, out);
    }

    fn proposal_of(&self, alert: &Alert, instrument: InstrumentId, side: Side, now: Wall) -> Proposal {
        Proposal {
            instrument,
            side,
            score: alert.score,
            probability: alert.probability,
            ev_r: None,
            cost_r: 0.0,
            price: if alert.price.is_finite() { alert.price } else { 0.0 },
            atr: 0.0,
            level: 0.0,
            quote_volume: self.rows[instrument.index()].quote_volume,
            panic: false,
            formed: if alert.sender_ms > 0 {
                Wall::from_ms(alert.sender_ms)
            } else {
                now
            },
            duplicate: self.is_seen(alert.id_hash, now),
        }
    }

    /// The order of an approved alert. `signal` is 0 for a dry one, which entered nothing.
    fn fill_answer(&self, answer: &mut AlertAnswer, order: &Order, signal: u64) {
        let is_dry = signal == 0;
        answer.decision = if is_dry { 4 } else { 1 };
        answer.leverage = order.leverage;
        answer.order_type = order.order_type as u8;
        answer.price_ticks = order.price.0;
        answer.size_lots = order.lots.0;
        answer.tp_ticks = order.plan.tp_ticks;
        answer.sl_ticks = order.plan.sl_ticks;
        answer.reference = order.reference;
        answer.notional_usd = order.notional_usd;
        let slot = slot_of(order.instrument, self.position_side(order.side));
        if let (false, Some(index)) = (is_dry, self.desk_at(slot))
            && let Some(desk) = &self.desks[index]
        {
            answer.client_id = desk.trade.entry_id;
        }
    }

    pub(super) fn check(
        &mut self,
        proposal: &Proposal,
        now: Wall,
        report: Option<&mut GateReport>,
    ) -> Result<Approved<Order>, Reason> {
        let account = self.view(proposal.instrument, proposal.side, now);
        let market = self.market_at(proposal.instrument, now);
        let Some(instrument) = self.instruments.get(proposal.instrument) else {
            return Err(Reason::InstrumentUnknown);
        };
        gate::check(
            proposal,
            &Context {
                limits: &self.params.limits,
                brackets: &self.params.brackets,
                instrument,
                market: &market,
                account: &account,
                now,
            },
            report,
        )
    }

    /// Records the intent and sends the entry, or the leverage that must come first.
    fn enter(
        &mut self,
        approved: Approved<Order>,
        proposal: &Proposal,
        origin: &Origin,
        now: Wall,
        out: &mut Outputs,
    ) -> Result<(), Reason> {
        let order = approved.get();
        let entry_id = self.new_id(Role::Entry);
        let trade = Trade {
            number: self.next_trade,
            stage: Stage::Leverage,
            adopted: false,
            instrument: order.instrument,
            position_side: self.position_side(order.side),
            side: order.side,
            signal: origin.signal,
            timeframe: origin.timeframe,
            score: origin.score,
            probability: origin.probability,
            atr: origin.atr,
            level: origin.level,
            panic: origin.panic,
            leverage: order.leverage,
            order_type: order.order_type,
            price_ticks: order.price.0,
            planned_lots: order.lots.0,
            reference: order.reference,
            attached_sl_ticks: order.sl_ticks(),
            attached_tp_ticks: order.tp_ticks(),
            risk: order.plan.risk,
            entry_id,
            expires: Wall(now.0 + Self::ms(self.params.entry_ttl_ms)),
            entry: Filled::default(),
            exit: Filled::default(),
            exit_kind: None,
            decided: now,
            first_fill: Wall(0),
            last_fill: Wall(0),
            seen_open: false,
            flat_since: Wall(0),
            history_asked: 0,
            margin_lots: 0,
            margin_seen: 0,
            margin_since: Wall(0),
            guard: Guard::new(order.sl_ticks(), order.tp_ticks()),
        };
        self.spare_desk(now, out);
        let index = self.open_desk(trade, None, now).ok_or(Reason::PositionsMax)?;
        self.next_trade += 1;
        let row = &mut self.rows[order.instrument.index()];
        let is_set = row.leverage == order.leverage;
        let activity = std::mem::replace(&mut row.activity, now);
        if self.entries.is_full() {
            self.entries.remove(0);
        }
        self.entries.push(now);
        let sent = if is_set {
            self.send_entry(index, &approved, now, out)
        } else {
            if let Some(desk) = self.desks[index].as_mut() {
                desk.waiting = Some(Waiting {
                    proposal: *proposal,
                    activity,
                });
            }
            self.send_leverage(index, now, out)
        };
        if sent.is_err() {
            self.clear_desk(index);
        }
        sent
    }

    fn send_leverage(&mut self, index: usize, now: Wall, out: &mut Outputs) -> Result<(), Reason> {
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return Err(Reason::SendBusy);
        };
        if !self.budget.try_spend(Spend::Entry, now) {
            return Err(Reason::BudgetSpent);
        }
        let mut set = command(CommandKind::SetLeverage, Lane::Entry, trade.instrument, now);
        set.leverage = trade.leverage;
        set.margin_mode = self.params.margin_mode as u8;
        set.position_side = trade.position_side as u8;
        set.signal = trade.signal;
        set.expires_ns = set.expires_ns.min(trade.expires.0);
        set.call = self
            .open_call(call_of(Purpose::Leverage, &trade, now))
            .ok_or(Reason::SendBusy)?;
        if !out.plain(set) {
            return Err(Reason::SendBusy);
        }
        let mut line = sent(&set, now);
        line.timeframe = trade.timeframe;
        out.event(line);
        Ok(())
    }

    /// Hands the entry of a desk over. The order is in the book before its command exists.
    pub(super) fn send_entry(
        &mut self,
        index: usize,
        approved: &Approved<Order>,
        now: Wall,
        out: &mut Outputs,
    ) -> Result<(), Reason> {
        let Some(desk) = self.desks[index].as_mut() else {
            return Err(Reason::SendBusy);
        };
        if !self.budget.try_spend(Spend::Entry, now) {
            return Err(Reason::BudgetSpent);
        }
        let trade = &mut desk.trade;
        let slot = slot_of(trade.instrument, trade.position_side);
        let order = BookOrder {
            client_id: trade.entry_id,
            role: OrderRole::Entry,
            instrument: trade.instrument,
            position_side: trade.position_side,
            side: trade.side,
            reduce_only: false,
            progress: Progress::sent(trade.planned_lots),
            price_ticks: trade.price_ticks,
            trade: trade.number,
            since: now,
            touched: now,
            signed: now,
            position_before: self.positions.lots(slot),
            category: 0,
            lookup: Lookup::default(),
            seen_token: 0,
            cancel_wanted: false,
            cancel_sent: Wall(0),
            fills: FillRead::default(),
        };
        let book_slot = self.orders.insert(order).ok_or(Reason::SendBusy)?;
        let call = call_of(Purpose::Entry, trade, now);
        let Some(call) = open_call(&mut self.calls, &mut self.next_call, call) else {
            self.orders.remove(book_slot);
            return Err(Reason::SendBusy);
        };
        let mut place = command(CommandKind::Place, Lane::Entry, trade.instrument, now);
        place.signal = trade.signal;
        place.position_side = trade.position_side as u8;
        place.margin_mode = self.params.margin_mode as u8;
        place.client_id = trade.entry_id;
        let place = approved.command(place).as_call(call, trade.expires.0);
        out.commands.try_push(place).map_err(|_| Reason::SendBusy)?;
        trade.stage = Stage::Entering;
        desk.timer = NEVER;
        self.counters.entries_sent += 1;
        entry_line(&desk.trade, place.price_ticks, now, out);
        Ok(())
    }

    fn refuse(&mut self, proposal: &Proposal, origin: &Origin, reason: Reason, now: Wall, out: &mut Outputs) {
        let mut line = event(GateEventKind::Refused, proposal.instrument, now);
        line.side = proposal.side as u8;
        line.timeframe = origin.timeframe;
        line.signal = origin.signal;
        line.score = proposal.score;
        line.probability = proposal.probability;
        self.refuse_as(reason, line, out);
    }

    /// Counts a refusal and tells it with `line`, which says whose it is.
    fn refuse_as(&mut self, reason: Reason, mut line: GateEvent, out: &mut Outputs) {
        self.counters.refusals[reason.index()] += 1;
        line.reason = reason as u16;
        out.event(line);
    }

    fn dedupe_ttl_ns(&self) -> u64 {
        u64::from(self.params.dedupe_ttl_sec) * NS_PER_SEC
    }

    fn is_seen(&self, key: [u64; 2], now: Wall) -> bool {
        let ttl_ns = self.dedupe_ttl_ns();
        self.seen
            .iter()
            .any(|(known, at)| *known == key && now.since(*at) < ttl_ns)
    }

    /// Remembers `key`, and forgets what is too old to be a duplicate: the list stays as short as its
    /// use allows, because every signal reads it whole.
    fn remember(&mut self, key: [u64; 2], now: Wall) {
        let ttl_ns = self.dedupe_ttl_ns();
        let old = self
            .seen
            .iter()
            .take_while(|(_, at)| now.since(*at) >= ttl_ns)
            .count();
        self.seen.drain(..old.max(usize::from(self.seen.is_full())));
        self.seen.push((key, now));
    }

    /// An entry that can no longer execute and filled nothing: its trade is over.
    pub(super) fn drop_entry(
        &mut self,
        index: usize,
        state: State,
        now: Wall,
        venue_code: u32,
        out: &mut Outputs,
    ) {
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return;
        };
        let mut line = event(GateEventKind::OrderState, trade.instrument, now);
        line.state = state as u8;
        line.side = trade.side as u8;
        line.timeframe = trade.timeframe;
        line.signal = trade.signal;
        line.client_id = trade.entry_id;
        line.venue_code = venue_code;
        line.size_lots = trade.planned_lots;
        out.event(line);
        self.clear_desk(index);
    }

    /// Applies `what` to an order; counts and looks into what cannot be.
    pub(super) fn apply(&mut self, slot: usize, what: Event, now: Wall) -> Option<(Progress, Progress)> {
        let order = self.orders.get_mut(slot)?;
        let before = order.progress;
        order.touched = now;
        match apply(before, what) {
            Ok(after) => {
                order.progress = after;
                match after.state {
                    State::Unknown => order.lookup.start(now),
                    State::Filled | State::Canceled | State::Rejected | State::Dead => order.lookup.stop(),
                    State::Sent | State::Live | State::PartiallyFilled | State::PendingCancel => {}
                }
                Some((before, after))
            }
            Err(_illegal) => {
                self.counters.illegal_transitions += 1;
                if !before.state.is_final() {
                    order.lookup.start(now);
                }
                self.reconcile.start(now);
                None
            }
        }
    }
}

/// Why an opinion that names no instrument, no side or no timeframe is refused.
fn invalid_reason(is_instrument_known: bool) -> Reason {
    if is_instrument_known {
        Reason::OpinionInvalid
    } else {
        Reason::InstrumentUnknown
    }
}

/// The call that `purpose` makes for the entry of `trade`.
fn call_of(purpose: Purpose, trade: &Trade, now: Wall) -> Call {
    Call {
        number: 0,
        purpose,
        trade: trade.number,
        instrument: trade.instrument,
        client_id: trade.entry_id,
        venue_id: 0,
        since: now,
    }
}

fn entry_line(trade: &Trade, price_ticks: i64, now: Wall, out: &mut Outputs) {
    let mut line = event(GateEventKind::OrderSent, trade.instrument, now);
    line.side = trade.side as u8;
    line.order_type = trade.order_type as u8;
    line.timeframe = trade.timeframe;
    line.signal = trade.signal;
    line.client_id = trade.entry_id;
    line.command = CommandKind::Place as u8;
    line.price_ticks = price_ticks;
    line.size_lots = trade.planned_lots;
    line.sl_ticks = trade.attached_sl_ticks;
    line.tp_ticks = trade.attached_tp_ticks;
    line.score = trade.score;
    line.probability = trade.probability;
    out.event(line);
}

/// Why an alert was refused, with the comparison that it failed.
fn refused_answer(answer: &mut AlertAnswer, reason: Reason, report: &GateReport) {
    answer.decision = if reason == Reason::Duplicate { 3 } else { 2 };
    answer.reason = reason as u16;
    let failed = report.last().filter(|line| !line.passed && line.gate == reason);
    if let Some(line) = failed {
        answer.value = line.value;
        answer.limit = line.limit;
    }
}
