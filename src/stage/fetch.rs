//! `fetch`: every REST read, market and account, inside the venue's limits.
//!
//! It owns the read connections (through a port) and the read budget. A page goes out whole when
//! its link has room; a list that could not be read to its end is reported as failed, never as
//! empty.

use super::outside::{OutsideEnd, Word};
use super::reasons::ReasonCounters;
use crate::bus::{Bus, BusError};
use crate::driver::{Inlet, InputOrder, Inputs, Outlet, Progress, Stage, run_inputs};
use crate::metrics::{Counter, Gauge, StageMeter};
use crate::model::message::{
    AccountEvent, AccountKind, FetchRequest, Lane, ListKind, Tick, TickKind, tick_flag,
};
use crate::model::{InstrumentId, Reason, Timeframe, Wall};
use crate::topology::LinkId;
use crate::universe::live::InstrumentView;
use crate::venue::blofin::bans::Refusal;
use crate::venue::blofin::rest_reader::{ReadEvent, ReadPage, RestReader};
use crate::venue::seam::CallPort;
use std::os::fd::RawFd;

/// Requests that may wait inside the reader, all lanes together, before links are left alone.
const WAITING_MAX: usize = 1024;
/// Name of the gauge that says how many reads may leave now.
pub const READS_LEFT_GAUGE: &str = "fetch_reads_left";

/// What the stage is made of.
pub struct Parts {
    pub from_decode: Inlet<FetchRequest>,
    pub from_gate: Inlet<FetchRequest>,
    pub to_decode: Outlet<Tick>,
    pub to_gate: Outlet<AccountEvent>,
    pub reader: RestReader,
    pub port: Box<dyn CallPort>,
    pub instruments: InstrumentView,
    /// Calls of another thread, out of the same budget.
    pub outside: OutsideEnd,
    pub order: InputOrder,
}

/// The stage.
pub struct Fetch {
    parts: Parts,
    waiting: usize,
    /// The suspension that `gate` knows of.
    told_until: Wall,
    port_sequence: u64,
    meter: StageMeter,
    page_count: Counter,
    reads_left: Gauge,
    reasons: ReasonCounters,
}

impl Fetch {
    /// The stage over `bus`, which holds its meter and counters.
    pub fn new(parts: Parts, bus: &Bus) -> Result<Self, BusError> {
        Ok(Fetch {
            parts,
            waiting: 0,
            told_until: Wall(0),
            port_sequence: 0,
            meter: bus.stage_meter("fetch")?,
            page_count: bus.counter("fetch_page")?,
            reads_left: bus.gauge(READS_LEFT_GAUGE)?,
            reasons: ReasonCounters::new(bus, "fetch")?,
        })
    }

    fn on_request(&mut self, request: FetchRequest, now: Wall) {
        let taken_ns = self.meter.taken(request.header.publish_ns);
        if request.list == ListKind::Suspend as u8 {
            let budget = self.parts.reader.budget_mut();
            budget.suspend(Wall::from_ms(request.to_ms), now);
            self.told_until = budget.suspended_until();
            self.meter.done(taken_ns);
            return;
        }
        if self.parts.reader.push(request).is_ok() {
            self.waiting += 1;
        } else {
            self.fail(&request, Reason::SendBusy, now);
        }
        self.meter.done(taken_ns);
    }

    fn on_port(&mut self, now: Wall) -> Option<u64> {
        // A page that waits for room was read at a time of its own, so giving it out is an input too.
        if self.parts.reader.page().is_some() {
            if !self.publish_page(now) {
                return None;
            }
            self.port_sequence += 1;
            return Some(self.port_sequence);
        }
        self.parts.port.expect_input(self.port_sequence + 1);
        match self
            .parts
            .reader
            .poll(self.parts.port.as_mut(), &self.parts.instruments, now)
        {
            ReadEvent::Idle => return None,
            ReadEvent::Working | ReadEvent::Page => {}
            ReadEvent::Failed { request, reason } => {
                self.waiting = self.waiting.saturating_sub(1);
                self.fail(&request, reason, now);
            }
        }
        self.tell_own_refusal(now);
        self.port_sequence += 1;
        Some(self.port_sequence)
    }

    /// A call that another thread wants to make, or was refused.
    fn on_outside(&mut self, now: Wall, demanded: Option<u64>) -> Option<u64> {
        let word = demanded.map(Word::of).or_else(|| self.parts.outside.next())?;
        let budget = self.parts.reader.budget_mut();
        match word {
            Word::Call(number) => {
                // All of them count as trading calls: most are, and none too many may leave.
                let is_granted = budget.take(Lane::Reconcile, true, now).is_ok();
                if !is_granted && demanded.is_none() {
                    return None;
                }
                self.parts.outside.grant(number);
            }
            Word::Refused(refused) => {
                self.parts.outside.note_refused(refused);
                budget.suspend(Wall::from_ms(refused.until_ms as i64), now);
                let until = budget.suspended_until();
                self.tell_refusal(refused.refusal, until, now);
            }
        }
        Some(word.number())
    }

    /// Tells `gate` when a read has just been refused.
    fn tell_own_refusal(&mut self, now: Wall) {
        let budget = self.parts.reader.budget_mut();
        if let Some(refusal) = budget.take_refusal() {
            let until = budget.suspended_until();
            self.tell_refusal(refusal, until, now);
        }
    }

    /// Tells `gate` that the venue refuses to serve reads: orders come from the same address. A ban that ends
    /// before what `gate` knows of is news as well: it holds protection longer.
    fn tell_refusal(&mut self, refusal: Refusal, until: Wall, now: Wall) {
        if until <= self.told_until && !refusal.is_ban() {
            return;
        }
        self.told_until = until;
        let mut event: AccountEvent = bytemuck::Zeroable::zeroed();
        event.kind = AccountKind::Suspended as u8;
        event.update_ms = until.ms();
        event.detail = u8::from(refusal.is_ban());
        event.header.time_ns = now.0;
        self.parts.to_gate.publish_or_drop(event);
    }

    /// Copies the page to its link; false when the link has no room for all of it yet.
    fn publish_page(&mut self, now: Wall) -> bool {
        let Parts {
            reader,
            to_decode,
            to_gate,
            ..
        } = &mut self.parts;
        let Some(page) = reader.page() else { return true };
        if page.request.list == ListKind::Candles as u8 {
            if page.ticks.len() >= LinkId::FetchDecode.link().depth {
                // Nobody asks for so much; it would wait for room for ever.
                let request = *page.request;
                self.waiting = self.waiting.saturating_sub(1);
                reader.release_page();
                self.fail(&request, Reason::FrameTooLarge, now);
                return true;
            }
            if to_decode.room() < page.ticks.len() + 1 {
                return false;
            }
            publish_candles(&page, to_decode, now);
        } else {
            if to_gate.room() < page.events.len() + 2 {
                return false;
            }
            publish_account(&page, to_gate, now);
        }
        self.page_count.add(1);
        if page.is_last {
            self.waiting = self.waiting.saturating_sub(1);
        }
        for _ in 0..page.invalid_count {
            self.reasons.count(Reason::CandleInvalid);
        }
        reader.release_page();
        true
    }

    fn fail(&mut self, request: &FetchRequest, reason: Reason, now: Wall) {
        self.reasons.count(reason);
        if request.list == ListKind::Candles as u8 {
            let instrument = InstrumentId(request.instrument);
            let mut tick = Tick::new(TickKind::Stale, instrument, now.ms());
            tick.timeframe = request.timeframe;
            tick.v[0] = f64::from(reason as u16);
            self.parts.to_decode.publish_or_drop(tick);
        } else {
            let mut event: AccountEvent = bytemuck::Zeroable::zeroed();
            event.kind = AccountKind::ListFailed as u8;
            event.list = request.list;
            event.token = request.token;
            event.instrument = request.instrument;
            event.client_id = request.client_id;
            event.venue_id = request.venue_id;
            event.header.time_ns = now.0;
            self.parts.to_gate.publish_or_drop(event);
        }
    }
}

/// Closed candles of the range that was asked for, oldest first, and a mark at the end.
fn publish_candles(page: &ReadPage<'_>, to_decode: &mut Outlet<Tick>, now: Wall) {
    let request = page.request;
    for tick in page.ticks {
        let mut tick = *tick;
        // The running candle is the socket's business.
        let inside = tick.venue_ms >= request.from_ms && tick.venue_ms <= request.to_ms;
        if !tick.has_flag(tick_flag::CONFIRMED) || !inside {
            continue;
        }
        tick.flags |= tick_flag::BACKFILL;
        tick.header.receive_ns = page.receive_ns;
        tick.header.time_ns = now.0;
        to_decode.publish_or_drop(tick);
    }
    if page.is_last {
        let mut end = Tick::new(TickKind::Candle, InstrumentId(request.instrument), request.to_ms);
        end.timeframe = request.timeframe;
        end.flags = tick_flag::BACKFILL | tick_flag::LAST_OF_BACKFILL;
        end.header.time_ns = now.0;
        to_decode.publish_or_drop(end);
    }
}

fn publish_account(page: &ReadPage<'_>, to_gate: &mut Outlet<AccountEvent>, now: Wall) {
    let request = page.request;
    for event in page.events {
        let mut event = *event;
        event.list = request.list;
        event.token = request.token;
        event.header.receive_ns = page.receive_ns;
        event.header.time_ns = now.0;
        to_gate.publish_or_drop(event);
    }
    if page.is_last {
        let mut end: AccountEvent = bytemuck::Zeroable::zeroed();
        end.kind = AccountKind::ListComplete as u8;
        end.list = request.list;
        end.token = request.token;
        end.instrument = request.instrument;
        end.client_id = request.client_id;
        end.venue_id = request.venue_id;
        end.header.time_ns = now.0;
        to_gate.publish_or_drop(end);
    }
}

impl Inputs for Fetch {
    const LINKS: &'static [LinkId] = &[
        LinkId::Universe,
        // The outside, before a call of our own: it may have been refused, at the start already.
        LinkId::Flush,
        LinkId::GateFetch,
        LinkId::Port,
        LinkId::DecodeFetch,
    ];

    fn order(&mut self) -> &mut InputOrder {
        &mut self.parts.order
    }

    /// Every read that waits can be reported as failed.
    fn has_room(&mut self) -> bool {
        self.parts.to_gate.room() >= 64 && self.parts.to_decode.room() >= 64
    }

    fn take(&mut self, link: LinkId, now: Wall, demanded: Option<u64>) -> Option<u64> {
        match link {
            LinkId::Universe => self.parts.instruments.take(demanded),
            LinkId::GateFetch => {
                let request = self.parts.from_gate.take()?;
                let sequence = request.header.seq;
                self.on_request(request, now);
                Some(sequence)
            }
            LinkId::DecodeFetch if self.waiting < WAITING_MAX => {
                let request = self.parts.from_decode.take()?;
                let sequence = request.header.seq;
                self.on_request(request, now);
                Some(sequence)
            }
            LinkId::Port => self.on_port(now),
            LinkId::Flush => self.on_outside(now, demanded),
            _ => None,
        }
    }
}

impl Stage for Fetch {
    fn name(&self) -> &'static str {
        "fetch"
    }

    fn poll(&mut self, now: Wall) -> Progress {
        let progress = run_inputs(self, now);
        let budget = self.parts.reader.budget_mut();
        self.reads_left.set(budget.left(now) as u64);
        let suspended_until = budget.suspended_until();
        self.parts.outside.show(suspended_until);
        progress
    }

    fn wait_on(&self, descriptors: &mut Vec<RawFd>) {
        self.parts.port.wait_on(descriptors);
    }

    fn has_input(&self) -> bool {
        let parts = &self.parts;
        !parts.from_gate.is_empty()
            || !parts.from_decode.is_empty()
            || parts.order.must_look_again()
            || parts.reader.page().is_some()
            || parts.outside.next().is_some()
    }

    fn next_timer(&self) -> Option<Wall> {
        if self.parts.order.is_repeating() {
            return self.parts.order.next_repeat();
        }
        self.parts.reader.next_timer()
    }
}

/// The timeframes whose history is read by REST, longest first, with the rows that each needs. Those
/// of `live` come from the venue and are read as such, and so is 15m and longer; 3m and 5m are built
/// from the 1m rows unless they are live.
pub fn history_plan(planned: &[Timeframe], live: &[Timeframe], warmup: u32) -> Vec<(Timeframe, u32)> {
    let is_read = |timeframe: &Timeframe| timeframe.minutes() >= 15 || live.contains(timeframe);
    let built = planned.iter().filter(|timeframe| !is_read(timeframe));
    let longest_built = built.map(|timeframe| timeframe.minutes()).max();
    let rows = (warmup + SPARE_ROWS).clamp(ROWS_MIN, 1440);
    let mut plan: Vec<(Timeframe, u32)> = planned
        .iter()
        .filter(|timeframe| is_read(timeframe) && **timeframe != Timeframe::M1)
        .map(|timeframe| (*timeframe, rows))
        .collect();
    if longest_built.is_some() || live.contains(&Timeframe::M1) {
        let minutes = (warmup + SPARE_ROWS) * longest_built.unwrap_or(1);
        plan.push((Timeframe::M1, minutes.clamp(ROWS_MIN, 1440)));
    }
    plan.sort_by_key(|(timeframe, _)| std::cmp::Reverse(timeframe.minutes()));
    plan
}

/// The venue's page when nothing is said. The regime looks back 214 candles before it begins, so twice
/// that lets it settle, for the same one call.
const ROWS_MIN: u32 = 500;
/// Rows beyond the warm-up: what closes while histories are read, and an interval joined half way.
const SPARE_ROWS: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_subscribed_is_read_and_the_rest_is_built() {
        use Timeframe::{H1, H4, M1, M3, M5, M15};
        let planned = [M1, M3, M5, M15, H1, H4];
        // CANDLES_BUILD_FROM_1M=1: four reads an instrument.
        assert_eq!(
            history_plan(&planned, &[M1], 240),
            [(H4, 500), (H1, 500), (M15, 500), (M1, 1280)]
        );
        // CANDLES_BUILD_FROM_1M=0: each as the venue has it.
        let live = [M1, M3, M5, M15];
        let rows = [H4, H1, M15, M5, M3, M1].map(|timeframe| (timeframe, 500));
        assert_eq!(history_plan(&planned, &live, 240), rows);
        // One scan of 5m needs no 1m rows.
        assert_eq!(
            history_plan(&[M5, M15, H1], &[M5], 64),
            [(H1, 500), (M15, 500), (M5, 500)]
        );
    }
}
