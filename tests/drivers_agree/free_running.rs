//! Free running: the graph on parked threads over a scaled clock, in whatever order the machine
//! brings about; then `gate`, the stage that decides on orders, alone on the stepper with its
//! journal and copies of the records it took. What it sends must be the same, byte for byte.
//!
//! The repeat is at the level of `gate`. Decode, account, send and fetch are not repeated here:
//! their feeds read the monotonic clock for keep-alive, which the journal does not hold.

use super::whole_graph::Scene;
use smart_scanner::app::graph;
use smart_scanner::bus::{Bus, Record};
use smart_scanner::driver::layout::Group;
use smart_scanner::driver::{
    DecisionClock, Idle, Inlet, Layout, Outlet, Progress, Seat, Stage, Stepper, threads,
};
use smart_scanner::model::message::{
    AccountEvent, CommandKind, FetchRequest, GateEvent, JournalEntry, OrderCommand, SendReply, Signal, Tick,
    TradeOutcome, Volatility,
};
use smart_scanner::model::{Header, Wall};
use smart_scanner::stage::gate::GateStage;
use smart_scanner::sys::clock::Stamp;
use smart_scanner::topology::{LinkId, StageId};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SEED: u64 = 5;
const INSTRUMENTS: usize = 12;
const SPEED: f64 = 240.0;
const RUN: Duration = Duration::from_secs(5);

fn bus() -> Bus {
    graph::plan_bus("agree", Stamp::process())
        .heap()
        .expect("memory for a bus")
}

fn inlet<T: Record>(bus: &Bus, link: LinkId) -> Inlet<T> {
    Inlet::new(bus.consumer(link.link().name).expect("a free end"))
}

fn outlet<T: Record>(bus: &Bus, link: LinkId) -> Outlet<T> {
    Outlet::new(bus.producer(link.link().name).expect("a free end"), bus.stamp())
}

/// One link carried from one bus to another, with a copy of all that passed.
struct Carry<T: Record> {
    from: Inlet<T>,
    to: Outlet<T>,
    kept: VecDeque<T>,
}

impl<T: Record> Carry<T> {
    fn new(from: &Bus, to: &Bus, link: LinkId) -> Self {
        Carry {
            from: inlet(from, link),
            to: outlet(to, link),
            kept: VecDeque::new(),
        }
    }

    fn carry(&mut self) -> Progress {
        let mut progress = Progress::Idle;
        while self.to.room() > 0
            && let Some(record) = self.from.take()
        {
            self.kept.push_back(record);
            self.to.publish_or_drop(record);
            progress = Progress::Busy;
        }
        progress
    }
}

/// Everything that went into the gate and came out of it.
struct Passed {
    ticks: Carry<Tick>,
    signals: Carry<Signal>,
    volatility: Carry<Volatility>,
    replies: Carry<SendReply>,
    pushes: Carry<AccountEvent>,
    pages: Carry<AccountEvent>,
    commands: Carry<OrderCommand>,
    fetches: Carry<FetchRequest>,
    outcomes: Carry<TradeOutcome>,
    events: Carry<GateEvent>,
    journal: Carry<JournalEntry>,
}

impl Passed {
    /// Between the graph on `outer` and its gate, alone on `inner`.
    fn new(outer: &Bus, inner: &Bus) -> Self {
        Passed {
            ticks: Carry::new(outer, inner, LinkId::DecodeGate),
            signals: Carry::new(outer, inner, LinkId::ScoreGate),
            volatility: Carry::new(outer, inner, LinkId::IndicateGate),
            replies: Carry::new(outer, inner, LinkId::SendGate),
            pushes: Carry::new(outer, inner, LinkId::AccountGate),
            pages: Carry::new(outer, inner, LinkId::FetchGate),
            commands: Carry::new(inner, outer, LinkId::GateSend),
            fetches: Carry::new(inner, outer, LinkId::GateFetch),
            outcomes: Carry::new(inner, outer, LinkId::GateScore),
            events: Carry::new(inner, outer, LinkId::GateHousekeep),
            journal: Carry::new(inner, outer, LinkId::GateJournal),
        }
    }

    fn carry(&mut self) -> Progress {
        let all = [
            self.ticks.carry(),
            self.signals.carry(),
            self.volatility.carry(),
            self.replies.carry(),
            self.pushes.carry(),
            self.pages.carry(),
            self.commands.carry(),
            self.fetches.carry(),
            self.outcomes.carry(),
            self.events.carry(),
            self.journal.carry(),
        ];
        if all.contains(&Progress::Busy) {
            Progress::Busy
        } else {
            Progress::Idle
        }
    }
}

/// The passage as a stage; it stands at a place of the table that this graph leaves free.
struct Passage(Arc<Mutex<Passed>>);

impl Stage for Passage {
    fn name(&self) -> &'static str {
        "passage"
    }

    fn poll(&mut self, _now: Wall) -> Progress {
        self.0.lock().expect("not poisoned").carry()
    }

    fn next_timer(&self) -> Option<Wall> {
        None
    }
}

/// A gate that can be asked afterwards.
struct Watched(Arc<Mutex<GateStage>>);

impl Stage for Watched {
    fn name(&self) -> &'static str {
        "gate"
    }

    fn poll(&mut self, now: Wall) -> Progress {
        self.0.lock().expect("not poisoned").poll(now)
    }

    fn next_timer(&self) -> Option<Wall> {
        self.0.lock().expect("not poisoned").next_timer()
    }
}

fn layout() -> Layout {
    let group = |stages: &[StageId]| Group {
        stages: stages.to_vec(),
        idle: Idle::Park,
        core: None,
    };
    Layout {
        groups: vec![
            group(&[StageId::Decode]),
            group(&[StageId::Indicate]),
            group(&[StageId::Score]),
            group(&[StageId::Gate]),
            group(&[StageId::Paper]),
            group(&[StageId::Send, StageId::Account, StageId::Fetch]),
            group(&[StageId::Housekeep]),
        ],
    }
}

/// Runs the graph on threads for a while and returns what passed its gate.
fn run(scene: &Scene, anchor: Wall) -> Passed {
    let (outer, inner) = (bus(), bus());
    let mut seats = graph::build_around_gate(
        &outer,
        &scene.plan(true, Vec::new(), Default::default()),
        scene.ports(),
    )
    .expect("a graph");
    let gate = graph::build_gate(&inner, &scene.plan(true, Vec::new(), Default::default())).expect("a gate");
    let passed = Arc::new(Mutex::new(Passed::new(&outer, &inner)));
    seats.push(Seat {
        id: StageId::Gate,
        stage: Box::new(gate),
    });
    seats.push(Seat {
        id: StageId::Paper,
        stage: Box::new(Passage(Arc::clone(&passed))),
    });
    let clock = DecisionClock::scaled(Stamp::process(), anchor, SPEED);
    let running = threads::start(&layout(), seats, &clock).expect("threads");
    std::thread::sleep(RUN);
    drop(running.stop());
    let passed = Arc::into_inner(passed).expect("the threads are gone");
    let mut passed = passed.into_inner().expect("not poisoned");
    // What was still in the rings when the threads stopped.
    passed.carry();
    passed
}

/// What a repeat sent and told.
#[derive(Default)]
struct Repeated {
    commands: Vec<OrderCommand>,
    events: Vec<GateEvent>,
    left: Option<Wall>,
    mismatches: u64,
}

fn refill<T: Record>(waiting: &mut VecDeque<T>, ring: &mut Outlet<T>) {
    while ring.room() > 0
        && let Some(record) = waiting.pop_front()
    {
        ring.publish_or_drop(record);
    }
}

/// Repeats the journal in a gate of its own on the stepper.
fn repeat(scene: &Scene, passed: &Passed) -> Repeated {
    let bus = bus();
    let journal: Vec<JournalEntry> = passed.journal.kept.iter().copied().collect();
    let begin = Wall(journal.first().expect("the gate took something").header.time_ns - 1);
    let gate = graph::build_gate(&bus, &scene.plan(false, journal, Default::default())).expect("a gate");
    let gate = Arc::new(Mutex::new(gate));
    let seat = Seat {
        id: StageId::Gate,
        stage: Box::new(Watched(Arc::clone(&gate))),
    };
    let clock = DecisionClock::stepped(begin);
    let mut stepper = Stepper::new(vec![seat], clock.clone());
    let (mut ticks, mut to_ticks) = (passed.ticks.kept.clone(), outlet(&bus, LinkId::DecodeGate));
    let (mut signals, mut to_signals) = (passed.signals.kept.clone(), outlet(&bus, LinkId::ScoreGate));
    let (mut volatility, mut to_volatility) =
        (passed.volatility.kept.clone(), outlet(&bus, LinkId::IndicateGate));
    let (mut replies, mut to_replies) = (passed.replies.kept.clone(), outlet(&bus, LinkId::SendGate));
    let (mut pushes, mut to_pushes) = (passed.pushes.kept.clone(), outlet(&bus, LinkId::AccountGate));
    let (mut pages, mut to_pages) = (passed.pages.kept.clone(), outlet(&bus, LinkId::FetchGate));
    let mut commands = inlet::<OrderCommand>(&bus, LinkId::GateSend);
    let mut fetches = inlet::<FetchRequest>(&bus, LinkId::GateFetch);
    let mut outcomes = inlet::<TradeOutcome>(&bus, LinkId::GateScore);
    let mut events = inlet::<GateEvent>(&bus, LinkId::GateHousekeep);
    let mut repeated = Repeated::default();
    loop {
        refill(&mut ticks, &mut to_ticks);
        refill(&mut signals, &mut to_signals);
        refill(&mut volatility, &mut to_volatility);
        refill(&mut replies, &mut to_replies);
        refill(&mut pushes, &mut to_pushes);
        refill(&mut pages, &mut to_pages);
        stepper.settle().expect("it comes to rest");
        repeated.commands.extend(std::iter::from_fn(|| commands.take()));
        repeated.events.extend(std::iter::from_fn(|| events.take()));
        while fetches.take().is_some() || outcomes.take().is_some() {}
        let Some(next) = stepper.next_timer() else { break };
        clock.advance_to(next);
    }
    let gate = gate.lock().expect("not poisoned");
    repeated.left = gate.next_timer();
    repeated.mismatches = gate.input_order().mismatch_count;
    repeated
}

/// A record without its header, whose latency stamps are of one machine at one moment.
fn body<T: Record>(record: &T) -> &[u8] {
    &bytemuck::bytes_of(record)[size_of::<Header>()..]
}

fn assert_same<T: Record>(what: &str, run: &VecDeque<T>, repeated: &[T]) {
    for (index, (one, two)) in run.iter().zip(repeated).enumerate() {
        assert_eq!(body(one), body(two), "{what} {index}");
        assert_eq!(
            one.header().time_ns,
            two.header().time_ns,
            "time of {what} {index}"
        );
    }
    assert_eq!(run.len(), repeated.len(), "number of {what}s");
}

#[test]
fn the_journal_of_a_free_run_repeats_on_the_stepper() {
    let out = tempfile::tempdir().expect("a directory");
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let scene = Scene::generated(SEED, INSTRUMENTS, Wall(since_epoch.as_nanos() as u64), out.path());
    let passed = run(&scene, scene.start);
    let places = passed
        .commands
        .kept
        .iter()
        .filter(|command| command.kind == CommandKind::Place as u8)
        .count();
    println!(
        "{} journal entries, {} signals, {} commands, {places} orders, {} events",
        passed.journal.kept.len(),
        passed.signals.kept.len(),
        passed.commands.kept.len(),
        passed.events.kept.len()
    );
    assert!(places > 0, "the run sent no order");
    let repeated = repeat(&scene, &passed);
    assert_eq!(
        repeated.mismatches, 0,
        "inputs that were not what the journal says"
    );
    assert_eq!(
        repeated.left, None,
        "entries of the journal that could not be repeated"
    );
    assert_same("command", &passed.commands.kept, &repeated.commands);
    assert_same("event", &passed.events.kept, &repeated.events);
}

#[test]
fn a_journal_in_another_order_is_no_repeat() {
    // The comparison must be able to fail: without one signal the orders differ.
    let out = tempfile::tempdir().expect("a directory");
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let scene = Scene::generated(SEED, INSTRUMENTS, Wall(since_epoch.as_nanos() as u64), out.path());
    let mut passed = run(&scene, scene.start);
    assert!(passed.signals.kept.pop_front().is_some(), "the run had no signal");
    let repeated = repeat(&scene, &passed);
    assert!(repeated.mismatches > 0 || repeated.left.is_some());
}
