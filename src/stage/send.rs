//! `send`: an approved order in, signed bytes on the wire out, and what became of it back to `gate`.
//!
//! It owns the order connections (through a port), signing, and the calls that wait for a lane. A lane
//! has as many calls outstanding as the port has connections for it; protective calls have some of
//! their own, and go first. A call that ends without a clear answer is reported as it is: never as a
//! rejection. One that waited longer than the gate meant it to is not sent.

use super::reasons::ReasonCounters;
use crate::bus::{Bus, BusError};
use crate::driver::{Inlet, InputOrder, Inputs, Outlet, Progress, Stage, run_inputs};
use crate::metrics::{Counter, Histogram, StageMeter};
use crate::model::message::{CommandKind, Lane, OrderCommand, Outcome, SendReply};
use crate::model::time::NS_PER_SEC;
use crate::model::{InstrumentId, Reason, Wall};
use crate::topology::LinkId;
use crate::universe::live::InstrumentView;
use crate::venue::blofin::reply::{OrderReply, ReplyReader};
use crate::venue::blofin::request::RequestWriter;
use crate::venue::seam::{CallEvent, CallPort, Fault};
use arrayvec::ArrayVec;
use std::collections::VecDeque;
use std::os::fd::RawFd;

/// Calls held per lane: `gate_send` is drained into these, so that an entry that waits for its lane
/// never stands before a stop.
const WAITING_MAX: usize = 64;
const LANES: [Lane; 5] = [
    Lane::Protect,
    Lane::Close,
    Lane::Reconcile,
    Lane::Entry,
    Lane::Market,
];
/// A reply that has not come after this is no reply. The venue refuses a request that is 60 s old.
const CALL_TIMEOUT_NS: u64 = 20 * NS_PER_SEC;
/// The same for a call that protects or closes: its connection is needed for the next one.
const PROTECTIVE_TIMEOUT_NS: u64 = 3 * NS_PER_SEC;
/// Calls on the wire at a time; more connections are not opened for orders.
const OUTSTANDING_MAX: usize = 16;

/// What the stage is made of.
pub struct Parts {
    pub commands: Inlet<OrderCommand>,
    pub replies: Outlet<SendReply>,
    pub port: Box<dyn CallPort>,
    pub writer: RequestWriter,
    pub instruments: InstrumentView,
    pub order: InputOrder,
}

/// A call that is on the wire.
#[derive(Clone, Copy)]
struct Outstanding {
    command: OrderCommand,
    signed: Wall,
}

/// The stage.
pub struct Send {
    commands: Inlet<OrderCommand>,
    replies: Outlet<SendReply>,
    port: Box<dyn CallPort>,
    writer: RequestWriter,
    reader: ReplyReader,
    instruments: InstrumentView,
    order: InputOrder,
    waiting: [VecDeque<OrderCommand>; LANES.len()],
    outstanding: ArrayVec<Outstanding, OUTSTANDING_MAX>,
    port_sequence: u64,
    meter: StageMeter,
    tick_to_order: Histogram,
    call_count: Counter,
    reasons: ReasonCounters,
}

impl Send {
    /// The stage over `bus`, which holds its meter, its counters and the tick-to-order histogram.
    pub fn new(parts: Parts, bus: &Bus) -> Result<Self, BusError> {
        Ok(Send {
            commands: parts.commands,
            replies: parts.replies,
            port: parts.port,
            writer: parts.writer,
            reader: ReplyReader::new(),
            instruments: parts.instruments,
            order: parts.order,
            waiting: std::array::from_fn(|_| VecDeque::with_capacity(WAITING_MAX)),
            outstanding: ArrayVec::new(),
            port_sequence: 0,
            meter: bus.stage_meter("send")?,
            tick_to_order: bus.histogram("tick_to_order_ns")?,
            call_count: bus.counter("send_call")?,
            reasons: ReasonCounters::new(bus, "send")?,
        })
    }

    fn on_command(&mut self, command: OrderCommand, now: Wall) {
        let lane = Lane::from_code(command.lane).unwrap_or(Lane::Entry);
        let place = place_of(lane);
        if self.waiting[place].len() >= WAITING_MAX {
            self.not_sent(&command, now, Reason::SendBusy);
            return;
        }
        self.waiting[place].push_back(command);
    }

    /// Submits the most urgent call whose lane is free, or sends back one that is too old; returns its
    /// number.
    fn submit_next(&mut self, now: Wall, demanded: Option<u64>) -> Option<u64> {
        let has_place = !self.outstanding.is_full();
        let place = (0..LANES.len()).find(|place| {
            let Some(front) = self.waiting[*place].front() else {
                return false;
            };
            match demanded {
                Some(call) => front.call == call,
                None => is_expired(front, now) || (has_place && self.port.is_ready(LANES[*place])),
            }
        })?;
        let command = self.waiting[place].pop_front()?;
        let taken_ns = self.meter.taken(command.header.publish_ns);
        self.submit(place, command, now, taken_ns);
        Some(command.call)
    }

    fn submit(&mut self, place: usize, command: OrderCommand, now: Wall, taken_ns: u64) {
        if is_expired(&command, now) {
            self.not_sent(&command, now, Reason::Expired);
            return;
        }
        let instrument = match self.instruments.get(InstrumentId(command.instrument)) {
            Some(instrument) => instrument,
            None => {
                self.not_sent(&command, now, Reason::InstrumentUnknown);
                return;
            }
        };
        let Ok(request) = self.writer.write_command(&command, instrument, now) else {
            // The record itself is wrong: nothing left, and nothing will.
            self.not_sent(&command, now, Reason::FieldMissing);
            return;
        };
        let timeout_ns = match LANES[place] {
            Lane::Protect | Lane::Close => PROTECTIVE_TIMEOUT_NS,
            Lane::Reconcile | Lane::Entry | Lane::Market => CALL_TIMEOUT_NS,
        };
        let deadline = Wall(now.0 + timeout_ns);
        if self
            .port
            .submit(LANES[place], command.call, request, deadline)
            .is_err()
        {
            self.waiting[place].push_front(command);
            return;
        }
        let sent_ns = self.meter.done(taken_ns);
        self.call_count.add(1);
        if is_entry(&command) && command.header.receive_ns > 0 {
            self.tick_to_order
                .record(sent_ns.saturating_sub(command.header.receive_ns));
        }
        // Room was looked at before; a repeat has the room that the run had.
        let _ = self.outstanding.try_push(Outstanding { command, signed: now });
    }

    fn on_port(&mut self, now: Wall) -> Option<u64> {
        self.port.expect_input(self.port_sequence + 1);
        let place = |call: u64| {
            let is_it = |other: &Outstanding| other.command.call == call;
            self.outstanding.iter().position(is_it)
        };
        let (place, result) = match self.port.poll(now) {
            CallEvent::Idle => return None,
            CallEvent::Reply {
                call, status, body, ..
            } => {
                let place = place(call);
                let command = place.map(|place| self.outstanding[place].command);
                let reply = command.map(|command| self.reader.classify(status, body, &command));
                (place, Ok((status, reply)))
            }
            CallEvent::Fault { call, fault, .. } => (place(call), Err(fault)),
        };
        self.port_sequence += 1;
        let Some(place) = place else {
            return Some(self.port_sequence);
        };
        let Outstanding { command, signed } = self.outstanding.remove(place);
        let lost = |outcome| OrderReply {
            outcome,
            reason: Some(Reason::ReplyTimeout),
            venue_code: 0,
            venue_id: 0,
        };
        match result {
            Ok((status, Some(reply))) => self.answer(&command, now, signed, status, reply),
            Ok((_, None)) => {}
            // It was tried: whoever counts calls counts it.
            Err(Fault::NotSent) => self.answer(&command, now, signed, 0, lost(Outcome::NotSent)),
            Err(Fault::MaybeSent) => self.answer(&command, now, signed, 0, lost(Outcome::Ambiguous)),
        }
        Some(self.port_sequence)
    }

    /// The call was never tried.
    fn not_sent(&mut self, command: &OrderCommand, now: Wall, reason: Reason) {
        let reply = OrderReply {
            outcome: Outcome::NotSent,
            reason: Some(reason),
            venue_code: 0,
            venue_id: 0,
        };
        self.answer(command, now, Wall(0), 0, reply);
    }

    fn answer(&mut self, command: &OrderCommand, now: Wall, signed: Wall, status: u16, verdict: OrderReply) {
        if let Some(reason) = verdict.reason {
            self.reasons.count(reason);
        }
        let mut reply: SendReply = bytemuck::Zeroable::zeroed();
        reply.header.time_ns = now.0;
        reply.header.receive_ns = command.header.receive_ns;
        reply.call = command.call;
        reply.kind = command.kind;
        reply.outcome = verdict.outcome as u8;
        reply.instrument = command.instrument;
        reply.venue_code = verdict.venue_code;
        reply.http_status = status;
        reply.lane = u16::from(command.lane);
        reply.venue_id = verdict.venue_id;
        reply.signed_ns = signed.0;
        reply.client_id = command.client_id;
        self.replies.publish_or_drop(reply);
    }

    fn held_count(&self) -> usize {
        self.outstanding.len() + self.waiting.iter().map(VecDeque::len).sum::<usize>()
    }
}

/// Whether the gate has decided anew by now.
fn is_expired(command: &OrderCommand, now: Wall) -> bool {
    command.expires_ns != 0 && now.0 > command.expires_ns
}

fn place_of(lane: Lane) -> usize {
    lane as usize - 1
}

fn is_entry(command: &OrderCommand) -> bool {
    command.kind == CommandKind::Place as u8 && command.reduce_only == 0
}

impl Inputs for Send {
    const LINKS: &'static [LinkId] = &[LinkId::Universe, LinkId::Port, LinkId::GateSend, LinkId::Flush];

    fn order(&mut self) -> &mut InputOrder {
        &mut self.order
    }

    /// Every call that is held, and one more, can be answered.
    fn has_room(&mut self) -> bool {
        self.replies.room() > self.held_count()
    }

    fn take(&mut self, link: LinkId, now: Wall, demanded: Option<u64>) -> Option<u64> {
        match link {
            LinkId::Universe => self.instruments.take(demanded),
            LinkId::Port => self.on_port(now),
            LinkId::GateSend => {
                let command = self.commands.take()?;
                let sequence = command.header.seq;
                self.on_command(command, now);
                Some(sequence)
            }
            LinkId::Flush => self.submit_next(now, demanded),
            _ => None,
        }
    }
}

impl Stage for Send {
    fn name(&self) -> &'static str {
        "send"
    }

    fn poll(&mut self, now: Wall) -> Progress {
        run_inputs(self, now)
    }

    fn wait_on(&self, descriptors: &mut Vec<RawFd>) {
        self.port.wait_on(descriptors);
    }

    fn has_input(&self) -> bool {
        !self.commands.is_empty() || self.order.must_look_again()
    }

    /// One that waits for its lane is sent back when it is too old.
    fn next_timer(&self) -> Option<Wall> {
        if self.order.is_repeating() {
            return self.order.next_repeat();
        }
        let fronts = self.waiting.iter().filter_map(VecDeque::front);
        let expiries = fronts.map(|command| command.expires_ns).filter(|at| *at != 0);
        expiries.min().map(|at| Wall(at.saturating_add(1)))
    }
}
