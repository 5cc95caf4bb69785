//! The promise: every link of the topology carries its record from a stub of its producer to a stub
//! of its consumer, in order, and does what its policy says when it is full; and a built graph has taken
//! both its ends.

#[allow(dead_code)]
mod whole_graph;

use smart_scanner::app::graph;
use smart_scanner::app::taping::{Recording, Taping};
use smart_scanner::bus::{Bus, BusBuilder, BusError, Record};
use smart_scanner::driver::{DecisionClock, Inlet, Outlet, Progress, Seat, Stage, Stepper};
use smart_scanner::model::message::{
    AccountEvent, Alert, AlertAnswer, FetchRequest, GateEvent, Holding, IndicatorUpdate, JournalEntry,
    OrderCommand, SendReply, Signal, SignalLabel, Tick, TradeOutcome,
};
use smart_scanner::model::{FeatureRow, Wall};
use smart_scanner::stage::housekeep::SeenHandle;
use smart_scanner::sys::clock::Stamp;
use smart_scanner::topology::{self, LINKS, Link, LinkId, Policy};
use std::sync::{Arc, Mutex};
use whole_graph::Scene;

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
    for link in &LINKS {
        let (_, carry, _) = row_of(link.id);
        carry(&bus, link.id);
    }
}

type Carry = fn(&Bus, LinkId);
/// The ends of a link that nobody has taken.
type Free = fn(&Bus, LinkId) -> Vec<&'static str>;

fn row_of(id: LinkId) -> (LinkId, Carry, Free) {
    let table: [(LinkId, Carry, Free); 28] = [
        (LinkId::DecodeIndicate, carry::<Tick>, free::<Tick>),
        (LinkId::IndicateScore, carry::<FeatureRow>, free::<FeatureRow>),
        (LinkId::ScoreGate, carry::<Signal>, free::<Signal>),
        (LinkId::GateSend, carry::<OrderCommand>, free::<OrderCommand>),
        (LinkId::SendGate, carry::<SendReply>, free::<SendReply>),
        (LinkId::DecodeGate, carry::<Tick>, free::<Tick>),
        (LinkId::FetchDecode, carry::<Tick>, free::<Tick>),
        (LinkId::DecodeFetch, carry::<FetchRequest>, free::<FetchRequest>),
        (LinkId::FetchGate, carry::<AccountEvent>, free::<AccountEvent>),
        (LinkId::GateFetch, carry::<FetchRequest>, free::<FetchRequest>),
        (LinkId::AccountGate, carry::<AccountEvent>, free::<AccountEvent>),
        (LinkId::WebhookGate, carry::<Alert>, free::<Alert>),
        (LinkId::GateWebhook, carry::<AlertAnswer>, free::<AlertAnswer>),
        (LinkId::GateScore, carry::<TradeOutcome>, free::<TradeOutcome>),
        (LinkId::GateDecode, carry::<Holding>, free::<Holding>),
        (LinkId::DecodePaper, carry::<Tick>, free::<Tick>),
        (LinkId::GateHousekeep, carry::<GateEvent>, free::<GateEvent>),
        (LinkId::ScoreHousekeep, carry::<Signal>, free::<Signal>),
        (
            LinkId::IndicateGate,
            carry::<IndicatorUpdate>,
            free::<IndicatorUpdate>,
        ),
        (LinkId::DecodeJournal, carry::<JournalEntry>, free::<JournalEntry>),
        (LinkId::GateJournal, carry::<JournalEntry>, free::<JournalEntry>),
        (LinkId::ScoreJournal, carry::<JournalEntry>, free::<JournalEntry>),
        (LinkId::SendJournal, carry::<JournalEntry>, free::<JournalEntry>),
        (LinkId::FetchJournal, carry::<JournalEntry>, free::<JournalEntry>),
        (
            LinkId::AccountJournal,
            carry::<JournalEntry>,
            free::<JournalEntry>,
        ),
        (LinkId::DecodeHousekeep, carry::<Tick>, free::<Tick>),
        (LinkId::ScoreLabels, carry::<SignalLabel>, free::<SignalLabel>),
        (LinkId::ScoreRefusals, carry::<Signal>, free::<Signal>),
    ];
    let row = table.into_iter().find(|(other, ..)| *other == id);
    row.expect("the table has every link")
}

fn free<T: Record>(bus: &Bus, id: LinkId) -> Vec<&'static str> {
    let name = id.link().name;
    let is_taken = |error: Option<BusError>| {
        let is_taken = matches!(error, Some(BusError::Claimed { .. }));
        assert!(is_taken || error.is_none(), "{name}: {error:?}");
        is_taken
    };
    let ends = [
        ("producer", is_taken(bus.producer::<T>(name).err())),
        ("consumer", is_taken(bus.consumer::<T>(name).err())),
    ];
    ends.into_iter()
        .filter(|(_, taken)| !taken)
        .map(|(end, _)| end)
        .collect()
}

#[test]
fn every_link_has_both_ends_taken_in_a_built_graph() {
    let out = tempfile::tempdir().expect("a folder");
    let scene = Scene::generated(1, 8, Wall::from_ms(1_767_225_600_000), out.path());
    let bus = graph::plan_bus("ends", Stamp::process()).heap().expect("room");
    let (recording, ends) = Recording::new();
    let (_lines, alerts) = crossbeam::channel::unbounded();
    let mut plan = scene.plan(SeenHandle::default());
    // Everything that a run may have: a scan, a venue on paper, a gateway and a capture.
    plan.paper = Some(scene.shared.clone());
    plan.alerts = Some(alerts);
    plan.taping = Taping::Record(recording);
    let _seats = graph::build(&bus, plan, scene.ports()).expect("a graph");
    let _journals = ends.sources(&bus).expect("the ends of the journals");
    // The gateway is no stage of the graph: `app::gateway` takes these two for its thread.
    let _alerts = bus
        .producer::<Alert>(LinkId::WebhookGate.link().name)
        .expect("free");
    let _answers = bus
        .consumer::<AlertAnswer>(LinkId::GateWebhook.link().name)
        .expect("free");
    let dead: Vec<(&str, Vec<&str>)> = LINKS
        .iter()
        .map(|link| (link.name, (row_of(link.id).2)(&bus, link.id)))
        .filter(|(_, free)| !free.is_empty())
        .collect();
    assert!(dead.is_empty(), "declared, and nobody's: {dead:?}");
}
