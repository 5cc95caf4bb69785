//! What one input to the gate may cause, in fixed room, and the records it is made of.
//!
//! The caller hands in an empty `Outputs`, takes out what was written, and makes sure beforehand
//! that its rings have room for [`Outputs::PER_INPUT`]. Work that does not fit stays with the gate,
//! which then asks to be polled again at once.

use crate::model::message::{
    AlertAnswer, CommandKind, FetchRequest, GateEvent, GateEventKind, Lane, ListKind, OrderCommand,
    TradeOutcome,
};
use crate::model::{InstrumentId, Reason, Wall};
use crate::risk::LEAVE_NS;
use arrayvec::ArrayVec;
use bytemuck::Zeroable;

/// Most records of each kind that one input causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub commands: usize,
    pub fetches: usize,
    pub events: usize,
    pub outcomes: usize,
    pub answers: usize,
}

pub const COMMANDS_MAX: usize = 16;
pub const FETCHES_MAX: usize = 16;
pub const EVENTS_MAX: usize = 48;
pub const OUTCOMES_MAX: usize = 4;
pub const ANSWERS_MAX: usize = 1;

/// Records caused by one input.
#[derive(Debug, Default)]
pub struct Outputs {
    pub commands: ArrayVec<OrderCommand, COMMANDS_MAX>,
    pub fetches: ArrayVec<FetchRequest, FETCHES_MAX>,
    pub events: ArrayVec<GateEvent, EVENTS_MAX>,
    pub outcomes: ArrayVec<TradeOutcome, OUTCOMES_MAX>,
    pub answers: ArrayVec<AlertAnswer, ANSWERS_MAX>,
}

impl Outputs {
    /// Room that every handler may need.
    pub const PER_INPUT: Room = Room {
        commands: COMMANDS_MAX,
        fetches: FETCHES_MAX,
        events: EVENTS_MAX,
        outcomes: OUTCOMES_MAX,
        answers: ANSWERS_MAX,
    };

    /// Whether nothing was caused.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
            && self.fetches.is_empty()
            && self.events.is_empty()
            && self.outcomes.is_empty()
            && self.answers.is_empty()
    }

    pub fn clear(&mut self) {
        self.commands.clear();
        self.fetches.clear();
        self.events.clear();
        self.outcomes.clear();
        self.answers.clear();
    }

    /// Whether one more piece of work (at most two commands, four fetches, eight events and an
    /// outcome) fits.
    pub(super) fn has_room(&self) -> bool {
        self.commands.remaining_capacity() >= 2
            && self.fetches.remaining_capacity() >= 4
            && self.events.remaining_capacity() >= 8
            && self.outcomes.remaining_capacity() >= 1
    }

    /// Writes an event. Handlers check `has_room` before a piece of work, so one that finds no
    /// room is a line missing in the metrics file, never an order.
    pub(super) fn event(&mut self, event: GateEvent) {
        let _ = self.events.try_push(event);
    }
}

/// An event of `kind` at `now`, everything else empty.
pub(super) fn event(kind: GateEventKind, instrument: InstrumentId, now: Wall) -> GateEvent {
    let mut event = GateEvent::zeroed();
    event.kind = kind as u8;
    event.instrument = instrument.0;
    event.header.time_ns = now.0;
    event.market_ms = now.ms();
    event
}

/// A command of `kind` at `now` that leaves soon or not at all, everything else empty.
pub(super) fn command(kind: CommandKind, lane: Lane, instrument: InstrumentId, now: Wall) -> OrderCommand {
    let mut command = OrderCommand::zeroed();
    command.kind = kind as u8;
    command.lane = lane as u8;
    command.instrument = instrument.0;
    command.header.time_ns = now.0;
    command.expires_ns = now.0 + LEAVE_NS;
    command
}

/// The line about `command` that has been handed over.
pub(super) fn sent(command: &OrderCommand, now: Wall) -> GateEvent {
    let mut line = event(GateEventKind::OrderSent, InstrumentId(command.instrument), now);
    line.command = command.kind;
    line.side = command.side;
    line.order_type = command.order_type;
    line.reduce_only = command.reduce_only;
    line.signal = command.signal;
    line.client_id = command.client_id;
    line.venue_id = command.venue_id;
    line.price_ticks = command.price_ticks;
    line.size_lots = command.size_lots;
    line.sl_ticks = command.sl_ticks;
    line.tp_ticks = command.tp_ticks;
    line
}

/// A request for a list or a lookup at `now`.
pub(super) fn fetch(list: ListKind, lane: Lane, token: u32, now: Wall) -> FetchRequest {
    let mut request = FetchRequest::zeroed();
    request.list = list as u8;
    request.lane = lane as u8;
    request.token = token;
    // The venue's pages hold 20 rows unless asked; 100 is its most.
    request.limit = 100;
    request.header.time_ns = now.0;
    request
}

/// Counters of the gate.
#[derive(Clone, Debug)]
pub struct Counters {
    /// By position in `Reason::ALL`.
    pub refusals: [u64; Reason::ALL.len()],
    pub entries_sent: u64,
    pub trades_closed: u64,
    pub naked_closes: u64,
    /// Positions found with less than the smallest margin.
    pub margins_low: u64,
    /// Longest time without a stop while one was replaced at a venue that takes one at a time.
    pub replace_gap_ns_max: u64,
    pub illegal_transitions: u64,
    /// Events with impossible codes or numbers, dropped.
    pub events_invalid: u64,
    /// Rows of the account that could not be believed.
    pub rows_untrusted: u64,
    /// Rows that found a table full.
    pub tables_full: u64,
    pub adopted: u64,
    pub orphans_cancelled: u64,
    /// Live orders with the mark of another instance on the same account.
    pub foreign_instance_orders: u64,
    /// Exits that `risk::gate::check_exit` refused: bugs, kept from the wire.
    pub exits_refused: u64,
    /// Replies and list ends that nobody waited for.
    pub answers_unexpected: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Counters {
            refusals: [0; Reason::ALL.len()],
            entries_sent: 0,
            trades_closed: 0,
            naked_closes: 0,
            margins_low: 0,
            replace_gap_ns_max: 0,
            illegal_transitions: 0,
            events_invalid: 0,
            rows_untrusted: 0,
            tables_full: 0,
            adopted: 0,
            orphans_cancelled: 0,
            foreign_instance_orders: 0,
            exits_refused: 0,
            answers_unexpected: 0,
        }
    }
}
