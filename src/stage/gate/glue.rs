//! The ring glue of `gate`: takes inputs in the declared order, hands them to the core, publishes
//! what the core wants done. It decides nothing itself.

use super::core::Gate;
use super::core_outputs::Outputs;
use super::core_status::Status;
use super::core_view::InstrumentSet;
use super::intents::Intents;
use crate::bus::{Bus, BusError, TableWriter};
use crate::driver::{Inlet, InputOrder, Inputs, Outlet, Progress, Stage, run_inputs};
use crate::metrics::{Counter, StageMeter};
use crate::model::message::{
    AccountEvent, Alert, AlertAnswer, CommandKind, FetchRequest, GateEvent, GateEventKind, Holding,
    IndicatorUpdate, Lane, OrderCommand, SendReply, Signal, Tick, TradeOutcome,
};
use crate::model::status::{POSITION_ROWS, PositionRow, StatusRow};
use crate::model::{INSTRUMENTS_MAX, Price, Reason, Wall};
use crate::stage::reasons::ReasonCounters;
use crate::topology::LinkId;
use crate::universe::live::InstrumentView;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Decision time between two looks at the status tables.
const STATUS_EVERY_NS: u64 = 200_000_000;
/// Records of `gate_housekeep` that must fit before an entry may leave.
const HOUSEKEEP_ROOM_MIN: usize = 512;

/// `AlertAnswer::decision`.
const ACCEPTED: u8 = 1;
const REFUSED: u8 = 2;

/// Bits of the control word: what people ask of a running gate.
pub mod control {
    /// Kill switch: no entry leaves; closes and stops do.
    pub const HALT: u64 = 1;
    /// The process is ending: resting entries are cancelled, stops stay.
    pub const SHUT_DOWN: u64 = 2;
    /// As `HALT`, for as long as this process runs: its contract terms are not fresh.
    pub const HOLD: u64 = 4;
    /// Orders and fills can no longer be told to `housekeep`: no entry leaves. Set by the stage itself
    /// and never in the shared word; it stands there so that the journal has it.
    pub(super) const TELLING_FULL: u64 = 1 << 63;
}

/// The control word, shared with the signal handler and the kill-switch watcher.
pub type ControlWord = Arc<AtomicU64>;

/// What the stage is made of.
pub struct Parts {
    pub core: Gate,
    /// Where intents go before orders do; `None` in a replay.
    pub intents: Option<Intents>,
    pub instruments: InstrumentView,
    pub ticks: Inlet<Tick>,
    pub signals: Inlet<Signal>,
    pub indicators: Inlet<IndicatorUpdate>,
    pub replies: Inlet<SendReply>,
    pub pushes: Inlet<AccountEvent>,
    pub pages: Inlet<AccountEvent>,
    pub alerts: Option<Inlet<Alert>>,
    pub commands: Outlet<OrderCommand>,
    pub fetches: Outlet<FetchRequest>,
    pub events: Outlet<GateEvent>,
    pub outcomes: Outlet<TradeOutcome>,
    pub holdings: Outlet<Holding>,
    pub answers: Option<Outlet<AlertAnswer>>,
    pub order: InputOrder,
    pub control: ControlWord,
}

/// The stage.
pub struct GateStage {
    parts: Parts,
    out: Box<Outputs>,
    status: Box<Status>,
    control_seen: u64,
    timer_sequence: u64,
    status_at: Wall,
    counts: Counts,
    meter: StageMeter,
    position_table: TableWriter<PositionRow>,
    status_table: TableWriter<StatusRow>,
    position_count: usize,
    refused: ReasonCounters,
    signal_count: Counter,
    /// What `decode` was told to be held.
    told_held: InstrumentSet,
    /// Receive stamp of the input in hand, for what it causes.
    receive_ns: u64,
}

/// Running totals for the status row.
#[derive(Default)]
struct Counts {
    signals: u64,
    orders: u64,
    fills: u64,
    entries_filled: u64,
    closed: [u64; 3],
    refused: u64,
    realised: f64,
}

impl GateStage {
    /// The stage over `bus`, which holds its meter, counters and tables.
    pub fn new(mut parts: Parts, bus: &Bus) -> Result<Self, BusError> {
        // The word is the latch, not what a snapshot remembers of it.
        let word = parts.control.load(Ordering::Acquire);
        parts.core.set_kill_switch(is_halted(word));
        Ok(GateStage {
            parts,
            out: Box::default(),
            status: Box::default(),
            control_seen: 0,
            timer_sequence: 0,
            status_at: Wall(0),
            counts: Counts::default(),
            meter: bus.stage_meter("gate")?,
            position_table: bus.table_writer("positions")?,
            status_table: bus.table_writer("status")?,
            position_count: 0,
            refused: ReasonCounters::new(bus, "gate")?,
            signal_count: bus.counter("gate_signal")?,
            told_held: [0; INSTRUMENTS_MAX / 64],
            receive_ns: 0,
        })
    }

    /// What it decides with, to be looked at.
    pub fn core(&self) -> &Gate {
        &self.parts.core
    }

    /// Fills `status` with the state as of `now`.
    pub fn status(&mut self, now: Wall, status: &mut Status) {
        self.parts.core.status(now, status);
    }

    /// Puts the state on record as it is, for the end of a run; false when it could not be.
    pub fn save(&mut self) -> bool {
        let parts = &mut self.parts;
        parts
            .intents
            .as_mut()
            .is_none_or(|intents| intents.write(&parts.core))
    }

    /// Publishes what one input caused. Room was made sure of before it was taken.
    fn publish(&mut self) {
        let is_entry = |command: &OrderCommand| command.kind == CommandKind::Place as u8;
        // A stop that is cancelled to be replaced must be remembered, and where it goes.
        let moves_stop = |command: &OrderCommand| {
            command.lane == Lane::Protect as u8 && command.kind != CommandKind::PlaceBracket as u8
        };
        let is_accepted = |answer: &AlertAnswer| answer.decision == ACCEPTED;
        let is_close = |event: &GateEvent| event.kind == GateEventKind::TradeClosed as u8;
        let mut may_enter = true;
        // An alert is answered only when its id is on record: a sender that asks again after a
        // crash must not be served twice. A trade that is accounted for is on record before it is told:
        // it must not be told, taught and booked once more, nor a limit that it reached be forgotten.
        if let Some(intents) = self.parts.intents.as_mut()
            && (self.parts.core.take_learned()
                || self
                    .out
                    .commands
                    .iter()
                    .any(|command| is_entry(command) || moves_stop(command))
                || self.out.events.iter().any(is_close)
                || self.out.answers.iter().any(is_accepted))
        {
            may_enter = intents.write(&self.parts.core);
        }
        for approved in self.out.commands.drain(..) {
            let mut command = approved.get();
            if !may_enter && is_entry(&command) && command.reduce_only == 0 {
                // Not on record: it must not leave. `send` answers that it did not.
                command.expires_ns = 1;
            }
            command.header.receive_ns = self.receive_ns;
            self.parts.commands.publish_or_drop(command);
        }
        for request in self.out.fetches.drain(..) {
            self.parts.fetches.publish_or_drop(request);
        }
        for event in self.out.events.drain(..) {
            self.counts.take(&event);
            if event.kind == GateEventKind::Refused as u8
                && let Some(reason) = Reason::from_code(event.reason)
            {
                self.refused.count(reason);
            }
            self.parts.events.publish_or_drop(event);
        }
        for outcome in self.out.outcomes.drain(..) {
            self.parts.outcomes.publish_or_drop(outcome);
        }
        for mut answer in self.out.answers.drain(..) {
            if !may_enter && is_accepted(&answer) {
                answer.decision = REFUSED;
                answer.reason = Reason::JournalFull as u16;
            }
            if let Some(answers) = self.parts.answers.as_mut() {
                answers.publish_or_drop(answer);
            }
        }
    }

    /// Tells `decode` what is held now and was not before, and the other way round. What finds no room is
    /// told after the next input.
    fn tell_held(&mut self, now: Wall) {
        let held = self.parts.core.held();
        if held == self.told_held {
            return;
        }
        for (index, word) in held.into_iter().enumerate() {
            let mut changed = word ^ self.told_held[index];
            while changed != 0 {
                let bit = changed.trailing_zeros();
                changed &= changed - 1;
                let mut holding: Holding = bytemuck::Zeroable::zeroed();
                holding.header.time_ns = now.0;
                holding.instrument = (index * 64) as u16 + bit as u16;
                holding.is_held = (word >> bit & 1) as u16;
                if self.parts.holdings.publish(holding).is_err() {
                    return;
                }
                self.told_held[index] ^= 1 << bit;
            }
        }
    }

    /// Takes a version of the instruments over.
    fn on_universe(&mut self, demanded: Option<u64>) -> Option<u64> {
        let number = self.parts.instruments.take(demanded)?;
        for (_, row) in self.parts.instruments.iter() {
            self.parts.core.set_instrument(*row);
        }
        Some(number)
    }

    fn on_control(&mut self, word: u64) {
        self.control_seen = word;
        self.parts.core.set_kill_switch(is_halted(word));
        self.parts
            .core
            .set_journal_full(word & control::TELLING_FULL != 0);
        self.status_at = Wall(0);
        if word & control::SHUT_DOWN != 0 {
            self.parts.core.set_shutting_down();
            // Whoever ends the process may not wait for what is still coming.
            self.save();
        }
    }

    /// Shows the state in the tables of the bus, five times a second of decision time.
    fn show(&mut self, now: Wall) {
        if now.since(self.status_at) < STATUS_EVERY_NS {
            return;
        }
        self.status_at = now;
        self.parts.core.status(now, &mut self.status);
        let positions = &self.status.positions;
        for (index, position) in positions.iter().take(POSITION_ROWS).enumerate() {
            let instrument = self.parts.instruments.get(position.instrument);
            let price = |ticks: i64| match instrument {
                Some(instrument) if ticks > 0 => instrument.price_f64(Price(ticks)),
                _ => 0.0,
            };
            let protection = match (position.closing, position.protected) {
                (true, _) => 3,
                (false, true) => 1,
                (false, false) => 0,
            };
            let row = PositionRow {
                instrument: position.instrument.0,
                side: position.side as u8,
                protection,
                lots: position.lots,
                entry_price: position.entry,
                stop_price: price(position.sl_ticks),
                target_price: price(position.tp_ticks),
                mark_price: position.mark,
                r: position.r,
                ..PositionRow::default()
            };
            self.position_table.write(index, &row);
        }
        let count = positions.len().min(POSITION_ROWS);
        for index in count..self.position_count {
            self.position_table.write(index, &PositionRow::default());
        }
        self.position_count = count;
        let status = &self.status;
        let mut row = StatusRow {
            equity: status.equity,
            available: status.available,
            entries_on: u64::from(status.entries_off.is_none()),
            entries_off_reason: status.entries_off.map_or(0, |reason| reason as u64),
            positions: count as u64,
            orders_in_flight: u64::from(status.orders_live + status.orders_unknown),
            signal_count: self.counts.signals,
            order_count: self.counts.orders,
            fill_count: self.counts.fills,
            entry_filled_count: self.counts.entries_filled,
            closed_tp_count: self.counts.closed[0],
            closed_sl_count: self.counts.closed[1],
            closed_other_count: self.counts.closed[2],
            refused_count: self.counts.refused,
            budget_left: u64::from(status.calls_left_protect),
            budget_left_entry: u64::from(status.calls_left_entry),
            realised_pnl: self.counts.realised,
            exposure_usd: status.exposure_usd,
            ..StatusRow::default()
        };
        row.header.time_ns = now.0;
        self.status_table.write(0, &row);
    }
}

/// What people ask for, and whether there is room to tell of entries.
fn control_word(parts: &mut Parts) -> u64 {
    let asked = parts.control.load(Ordering::Acquire) & !control::TELLING_FULL;
    if parts.events.room() < HOUSEKEEP_ROOM_MIN {
        asked | control::TELLING_FULL
    } else {
        asked
    }
}

fn is_halted(word: u64) -> bool {
    word & (control::HALT | control::HOLD) != 0
}

impl Counts {
    fn take(&mut self, event: &GateEvent) {
        match GateEventKind::from_code(event.kind) {
            Some(GateEventKind::OrderSent) => {
                let is_order = CommandKind::from_code(event.command).is_some_and(CommandKind::is_order);
                self.orders += u64::from(is_order);
            }
            Some(GateEventKind::Fill) => {
                self.fills += 1;
                self.entries_filled += u64::from(event.reduce_only == 0);
            }
            Some(GateEventKind::TradeClosed) => {
                let place = match event.exit {
                    1 => 0,
                    2 => 1,
                    _ => 2,
                };
                self.closed[place] += 1;
                self.realised += event.pnl;
            }
            Some(GateEventKind::Refused) => self.refused += 1,
            _ => {}
        }
    }
}

impl Inputs for GateStage {
    // What is known to have happened comes before what is hoped for: replies, our account, marks,
    // then time, then new signals, and what others send us last.
    const LINKS: &'static [LinkId] = &[
        LinkId::Universe,
        LinkId::Flush,
        LinkId::SendGate,
        LinkId::AccountGate,
        LinkId::FetchGate,
        LinkId::DecodeGate,
        LinkId::Timer,
        LinkId::ScoreGate,
        // Not urgent: a candle's ATR moves a stop at the next quote.
        LinkId::IndicateGate,
        LinkId::WebhookGate,
    ];

    fn order(&mut self) -> &mut InputOrder {
        &mut self.parts.order
    }

    fn has_room(&mut self) -> bool {
        let need = Outputs::PER_INPUT;
        let events = self.parts.events.room();
        self.parts.commands.room() >= need.commands
            && self.parts.fetches.room() >= need.fetches
            && events >= need.events
            && self
                .parts
                .answers
                .as_mut()
                .is_none_or(|answers| answers.room() >= need.answers)
    }

    fn take(&mut self, link: LinkId, now: Wall, demanded: Option<u64>) -> Option<u64> {
        if link == LinkId::Universe {
            return self.on_universe(demanded);
        }
        let out = self.out.as_mut();
        let parts = &mut self.parts;
        let (sequence, header) = match link {
            LinkId::SendGate => {
                let reply = parts.replies.take()?;
                let taken_ns = self.meter.taken(reply.header.publish_ns);
                parts.core.on_reply(&reply, now, out);
                (reply.header.seq, (reply.header.receive_ns, taken_ns))
            }
            LinkId::AccountGate => {
                let event = parts.pushes.take()?;
                let taken_ns = self.meter.taken(event.header.publish_ns);
                parts.core.on_account(&event, now, out);
                (event.header.seq, (event.header.receive_ns, taken_ns))
            }
            LinkId::FetchGate => {
                let event = parts.pages.take()?;
                let taken_ns = self.meter.taken(event.header.publish_ns);
                parts.core.on_account(&event, now, out);
                (event.header.seq, (event.header.receive_ns, taken_ns))
            }
            LinkId::DecodeGate => {
                let tick = parts.ticks.take()?;
                let taken_ns = self.meter.taken(tick.header.publish_ns);
                parts.core.on_tick(&tick, now, out);
                (tick.header.seq, (tick.header.receive_ns, taken_ns))
            }
            LinkId::ScoreGate => {
                let signal = parts.signals.take()?;
                let taken_ns = self.meter.taken(signal.header.publish_ns);
                self.counts.signals += 1;
                self.signal_count.add(1);
                parts.core.on_signal(&signal, now, out);
                (signal.header.seq, (signal.header.receive_ns, taken_ns))
            }
            LinkId::WebhookGate => {
                let alert = parts.alerts.as_mut()?.take()?;
                let taken_ns = self.meter.taken(alert.header.publish_ns);
                parts.core.on_alert(&alert, now, out);
                (alert.header.seq, (alert.header.receive_ns, taken_ns))
            }
            LinkId::IndicateGate => {
                let update = parts.indicators.take()?;
                let taken_ns = self.meter.taken(update.header.publish_ns);
                parts.core.on_indicators(&update, now);
                (update.header.seq, (update.header.receive_ns, taken_ns))
            }
            LinkId::Timer => {
                let is_due = parts.core.next_timer().is_some_and(|time| time <= now);
                if !is_due && demanded.is_none() {
                    return None;
                }
                parts.core.on_timer(now, out);
                self.timer_sequence += 1;
                (self.timer_sequence, (0, 0))
            }
            LinkId::Flush => {
                let word = demanded.unwrap_or_else(|| control_word(parts));
                if word == self.control_seen {
                    return None;
                }
                self.on_control(word);
                return Some(word);
            }
            _ => return None,
        };
        let (receive_ns, taken_ns) = header;
        self.receive_ns = receive_ns;
        self.publish();
        if !matches!(link, LinkId::DecodeGate | LinkId::IndicateGate) {
            self.tell_held(now);
        }
        if taken_ns > 0 {
            self.meter.done(taken_ns);
        }
        Some(sequence)
    }
}

impl Stage for GateStage {
    fn name(&self) -> &'static str {
        "gate"
    }

    fn poll(&mut self, now: Wall) -> Progress {
        let progress = run_inputs(self, now);
        // Nobody looks at a repeat, and its `now` may be ahead of the inputs that it takes.
        if progress == Progress::Busy && !self.parts.order.is_repeating() {
            self.show(now);
        }
        progress
    }

    fn has_input(&self) -> bool {
        let parts = &self.parts;
        !parts.ticks.is_empty()
            || !parts.signals.is_empty()
            || !parts.replies.is_empty()
            || !parts.pushes.is_empty()
            || !parts.pages.is_empty()
            || parts.alerts.as_ref().is_some_and(|alerts| !alerts.is_empty())
            || parts.order.must_look_again()
    }

    fn next_timer(&self) -> Option<Wall> {
        if self.parts.order.is_repeating() {
            return self.parts.order.next_repeat();
        }
        self.parts.core.next_timer()
    }
}
