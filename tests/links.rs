//! The promise: every link of the topology carries its record from a stub of its producer to a stub
//! of its consumer, in order, and does what its policy says when it is full.

use smart_scanner::bus::{Bus, BusBuilder, Record};
use smart_scanner::driver::{DecisionClock, Inlet, Outlet, Progress, Seat, Stage, Stepper};
use smart_scanner::model::message::{
    AccountEvent, Alert, AlertAnswer, FetchRequest, GateEvent, JournalEntry, OrderCommand, SendReply, Signal,
    SignalLabel, Tick, TradeOutcome, Volatility,
};
use smart_scanner::model::{FeatureRow, Wall};
use smart_scanner::sys::clock::Stamp;
use smart_scanner::topology::{self, LINKS, Link, LinkId, Policy};
use std::sync::{Arc, Mutex};

/// Publishes `left` records whose decision time counts up.
struct Source<T: Record> {
    name: &'static str,
    outlet: Outlet<T>,
    left: u64,
    sent: u64,
    policy: Policy,
}

impl<T: Record> Stage for Source<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn poll(&mut self, _now: Wall) -> Progress {
        if self.left == 0 || (self.policy != Policy::DropCount && self.outlet.room() == 0) {
            return Progress::Idle;
        }
        let mut record: T = bytemuck::Zeroable::zeroed();
        self.sent += 1;
        self.left -= 1;
        record.header_mut().time_ns = self.sent;
        self.outlet.publish_or_drop(record);
        Progress::Busy
    }

    fn next_timer(&self) -> Option<Wall> {
        None
    }
}

/// Takes everything and keeps the decision times; takes nothing while `blocked`.
struct Sink<T: Record> {
    name: &'static str,
    inlet: Inlet<T>,
    seen: Arc<Mutex<Vec<(u64, u64)>>>,
    blocked_polls: usize,
}

impl<T: Record> Stage for Sink<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn poll(&mut self, _now: Wall) -> Progress {
        if self.blocked_polls > 0 {
            self.blocked_polls -= 1;
            return Progress::Busy;
        }
        let Some(record) = self.inlet.take() else {
            return Progress::Idle;
        };
        let header = record.header();
        assert!(header.publish_ns > 0, "records are stamped");
        self.seen
            .lock()
            .expect("no panic yet")
            .push((header.seq, header.time_ns));
        Progress::Busy
    }

    fn next_timer(&self) -> Option<Wall> {
        None
    }
}

fn carry<T: Record + Send>(bus: &Bus, id: LinkId) {
    let link: &Link = id.link();
    let stamp = Stamp::process();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let count = link.depth as u64 + 7;
    let source = Source {
        name: link.from.text(),
        outlet: Outlet::new(bus.producer::<T>(link.name).expect("a producer"), stamp),
        left: count,
        sent: 0,
        policy: link.policy,
    };
    let sink = Sink {
        name: link.to.text(),
        inlet: Inlet::new(bus.consumer::<T>(link.name).expect("a consumer")),
        seen: Arc::clone(&seen),
        // Long enough that the source fills the ring.
        blocked_polls: link.depth + 16,
    };
    let seats = vec![
        Seat {
            id: link.from,
            stage: Box::new(source),
        },
        Seat {
            id: link.to,
            stage: Box::new(sink),
        },
    ];
    let mut stepper = Stepper::new(seats, DecisionClock::stepped(Wall(1)));
    stepper.settle().expect("the stubs come to rest");
    let seen = seen.lock().expect("no panic");
    let whole = match link.policy {
        Policy::Credit | Policy::Conflate => count,
        Policy::DropCount => link.depth as u64,
    };
    assert_eq!(seen.len() as u64, whole, "{}", link.name);
    for (index, (sequence, time)) in seen.iter().enumerate() {
        assert_eq!(
            (*sequence, *time),
            (index as u64 + 1, index as u64 + 1),
            "{}",
            link.name
        );
    }
}

#[test]
fn every_link_carries_its_record_in_order() {
    let mut builder = BusBuilder::new("links");
    for link in &LINKS {
        topology::plan(link, &mut builder);
    }
    let bus = builder.heap().expect("room");
    assert!(
        bus.length_bytes() <= 32 << 20,
        "the default bus stays within 32 MiB"
    );
    type Carry = fn(&Bus, LinkId);
    let table: [(LinkId, Carry); 28] = [
        (LinkId::DecodeIndicate, carry::<Tick>),
        (LinkId::IndicateScore, carry::<FeatureRow>),
        (LinkId::ScoreGate, carry::<Signal>),
        (LinkId::GateSend, carry::<OrderCommand>),
        (LinkId::SendGate, carry::<SendReply>),
        (LinkId::DecodeGate, carry::<Tick>),
        (LinkId::FetchDecode, carry::<Tick>),
        (LinkId::DecodeFetch, carry::<FetchRequest>),
        (LinkId::FetchGate, carry::<AccountEvent>),
        (LinkId::GateFetch, carry::<FetchRequest>),
        (LinkId::AccountGate, carry::<AccountEvent>),
        (LinkId::WebhookGate, carry::<Alert>),
        (LinkId::GateWebhook, carry::<AlertAnswer>),
        (LinkId::GateScore, carry::<TradeOutcome>),
        (LinkId::DecodePaper, carry::<Tick>),
        (LinkId::GateHousekeep, carry::<GateEvent>),
        (LinkId::ScoreHousekeep, carry::<Signal>),
        (LinkId::IndicateHousekeep, carry::<Tick>),
        (LinkId::IndicateGate, carry::<Volatility>),
        (LinkId::DecodeJournal, carry::<JournalEntry>),
        (LinkId::GateJournal, carry::<JournalEntry>),
        (LinkId::ScoreJournal, carry::<JournalEntry>),
        (LinkId::SendJournal, carry::<JournalEntry>),
        (LinkId::FetchJournal, carry::<JournalEntry>),
        (LinkId::AccountJournal, carry::<JournalEntry>),
        (LinkId::DecodeHousekeep, carry::<Tick>),
        (LinkId::ScoreLabels, carry::<SignalLabel>),
        (LinkId::ScoreRefusals, carry::<Signal>),
    ];
    for link in &LINKS {
        let (_, carry) = table
            .iter()
            .find(|(id, _)| *id == link.id)
            .expect("the table has every link");
        carry(&bus, link.id);
    }
}
