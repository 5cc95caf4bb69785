//! Promise: after warm-up nothing on the way from a market frame to the bytes of an order in a socket
//! allocates: 1,000,000 frames through decode, indicate, score, gate and send, orders included, and
//! not one allocation, reallocation or zeroed allocation.
//!
//! The whole graph runs on the stepper over the embedded exchange in process. Every call of `send` goes
//! through the real `SocketCalls` to a server on loopback, whose answer is what the exchange says to the
//! same call. Counted is what the five stages do within `poll`, the socket port of `send` included; what
//! the exchange and the server do is not, and neither are account, fetch (cold reads) and housekeep
//! (files). Sockets of market frames and TLS are counted in tests/socket_allocations.rs.

mod answering;
mod whole_graph;

use answering::{Answering, Arrival};
use smart_scanner::app::graph;
use smart_scanner::driver::{DecisionClock, Progress, Seat, Stage, Stepper};
use smart_scanner::model::Wall;
use smart_scanner::model::message::Lane;
use smart_scanner::stage::housekeep::SeenHandle;
use smart_scanner::sys::clock::Stamp;
use smart_scanner::topology::StageId;
use smart_scanner::venue::blofin::call_port::{LaneGroup, SocketCalls};
use smart_scanner::venue::seam::{Busy, CallEvent, CallPort, Endpoint, FrameEvent, FramePort};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use whole_graph::Scene;

thread_local! {
    /// Place of the stage that is being polled, 0 = nobody whose allocations count.
    static ARMED: Cell<usize> = const { Cell::new(0) };
    static ALLOCATIONS: [Cell<u64>; 6] = const { [const { Cell::new(0) }; 6] };
    /// Backtraces still to print.
    static TRACES: Cell<u32> = const { Cell::new(0) };
}

const COUNTED: [StageId; 5] = [
    StageId::Decode,
    StageId::Indicate,
    StageId::Score,
    StageId::Gate,
    StageId::Send,
];

/// The system's allocator, counting for the stage that is being polled on the asking thread.
struct Counting;

impl Counting {
    fn count(layout: &Layout) {
        let place = ARMED.get();
        if place == 0 {
            return;
        }
        ALLOCATIONS.with(|counts| counts[place].set(counts[place].get() + 1));
        if TRACES.get() > 0 {
            TRACES.set(TRACES.get() - 1);
            ARMED.set(0);
            let trace = std::backtrace::Backtrace::force_capture().to_string();
            let ours = trace
                .lines()
                .filter(|line| line.contains("src/") && !line.contains("rustc"));
            let ours: Vec<&str> = ours.take(12).collect();
            println!(
                "{}: {} bytes\n{}",
                COUNTED[place - 1].text(),
                layout.size(),
                ours.join("\n")
            );
            ARMED.set(place);
        }
    }
}

// SAFETY: every call is passed on unchanged to the system's allocator; counting touches only
// constant-initialised thread locals without destructors, and prints only while it does not count.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count(&layout);
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `alloc` above with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Runs `work` without counting: it belongs to the exchange behind a port.
fn unarmed<T>(work: impl FnOnce() -> T) -> T {
    let place = ARMED.replace(0);
    let result = work();
    ARMED.set(place);
    result
}

/// A stage whose allocations count once `on` is set.
struct Watched {
    stage: Box<dyn Stage>,
    place: usize,
    on: Arc<AtomicBool>,
}

impl Stage for Watched {
    fn name(&self) -> &'static str {
        self.stage.name()
    }

    fn poll(&mut self, now: Wall) -> Progress {
        ARMED.set(if self.on.load(Ordering::Relaxed) {
            self.place
        } else {
            0
        });
        let progress = self.stage.poll(now);
        ARMED.set(0);
        progress
    }

    fn next_timer(&self) -> Option<Wall> {
        self.stage.next_timer()
    }
}

/// The market port, counting frames.
struct Frames {
    port: Box<dyn FramePort>,
    frame_count: Arc<AtomicU64>,
}

impl FramePort for Frames {
    fn open(&mut self, connection: u16, endpoint: Endpoint) {
        unarmed(|| self.port.open(connection, endpoint));
    }

    fn send(&mut self, connection: u16, text: &[u8]) -> bool {
        unarmed(|| self.port.send(connection, text))
    }

    fn close(&mut self, connection: u16) {
        unarmed(|| self.port.close(connection));
    }

    fn poll(&mut self, now: Wall) -> FrameEvent<'_> {
        let event = unarmed(|| self.port.poll(now));
        if matches!(event, FrameEvent::Text { .. }) {
            self.frame_count.fetch_add(1, Ordering::Relaxed);
        }
        event
    }
}

/// The order port: real sockets, with the exchange's word behind them.
struct Calls {
    sockets: SocketCalls,
    server: Answering,
    /// The exchange in process. It gets what arrived at the server, and the server answers what it says.
    exchange: Box<dyn CallPort>,
    /// Requests at the server that the exchange has not answered yet, by call.
    arrived: BTreeMap<u64, Arrival>,
    /// The body of the reply that is being taken.
    body: Vec<u8>,
    call_count: Arc<AtomicU64>,
}

/// Connections for orders, as a run has them.
const GROUPS: [LaneGroup; 3] = [LaneGroup::Protective, LaneGroup::Protective, LaneGroup::Ordinary];
const LONGEST_BODY: usize = 1 << 20;

impl Calls {
    fn new(exchange: Box<dyn CallPort>, call_count: Arc<AtomicU64>) -> Calls {
        let server = Answering::start(false);
        let clock = || Stamp::process().now_ns();
        let mut sockets = SocketCalls::new(server.connector.dialer(None), &GROUPS, clock, SEED);
        for lane in [Lane::Protect, Lane::Entry] {
            while !sockets.is_ready(lane) {
                assert_eq!(sockets.poll(Wall(0)), CallEvent::Idle);
                std::thread::yield_now();
            }
        }
        Calls {
            sockets,
            server,
            exchange,
            arrived: BTreeMap::new(),
            body: Vec::with_capacity(LONGEST_BODY),
            call_count,
        }
    }

    /// Has the server answer one call, if the exchange has: its number.
    fn let_answer(&mut self, now: Wall) -> Option<u64> {
        match self.exchange.poll(now) {
            CallEvent::Idle => None,
            CallEvent::Reply {
                call, status, body, ..
            } => {
                let arrival = self.arrived.remove(&call).expect("it arrived");
                arrival.answer(status, body, call.is_multiple_of(2));
                Some(call)
            }
            CallEvent::Fault { call, .. } => panic!("call {call}: the exchange in process has no faults"),
        }
    }
}

impl CallPort for Calls {
    fn is_ready(&self, lane: Lane) -> bool {
        self.sockets.is_ready(lane) && unarmed(|| self.exchange.is_ready(lane))
    }

    fn submit(&mut self, lane: Lane, call: u64, request: &[u8], deadline: Wall) -> Result<(), Busy> {
        self.sockets.submit(lane, call, request, deadline)?;
        unarmed(|| {
            let arrival = self.server.arrival();
            assert_eq!(arrival.request, request, "another request arrived");
            let taken = self.exchange.submit(lane, call, &arrival.request, deadline);
            assert_eq!(taken, Ok(()), "the exchange has a connection for each of ours");
            self.arrived.insert(call, arrival);
        });
        self.call_count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn poll(&mut self, now: Wall) -> CallEvent<'_> {
        let Some(answered) = unarmed(|| self.let_answer(now)) else {
            // Nobody has answered anything: the sockets are looked at and have nothing to say.
            assert_eq!(self.sockets.poll(now), CallEvent::Idle);
            return CallEvent::Idle;
        };
        loop {
            match self.sockets.poll(now) {
                CallEvent::Idle => std::thread::yield_now(),
                CallEvent::Reply {
                    lane,
                    call,
                    status,
                    receive_ns,
                    body,
                } => {
                    assert_eq!(call, answered);
                    self.body.clear();
                    self.body.extend_from_slice(body);
                    return CallEvent::Reply {
                        lane,
                        call,
                        status,
                        receive_ns,
                        body: &self.body,
                    };
                }
                CallEvent::Fault { call, fault, .. } => panic!("call {call}: {fault:?}"),
            }
        }
    }
}

const SEED: u64 = 7;
const INSTRUMENTS: usize = 8;
const WARM: u64 = 50_000;
const MEASURED: u64 = 1_000_000;

/// A graph on the stepper and what it is watched by.
struct Rig {
    scene: Scene,
    stepper: Stepper,
    clock: DecisionClock,
    on: Arc<AtomicBool>,
    frame_count: Arc<AtomicU64>,
    call_count: Arc<AtomicU64>,
    seen: SeenHandle,
}

impl Rig {
    fn new(out: &std::path::Path) -> Rig {
        let scene = Scene::generated(SEED, INSTRUMENTS, Wall::from_ms(1_767_225_600_000), out);
        let (frame_count, call_count): (Arc<AtomicU64>, Arc<AtomicU64>) = Default::default();
        let mut ports = scene.ports();
        ports.market = ports.market.map(|port| {
            let frame_count = Arc::clone(&frame_count);
            Box::new(Frames { port, frame_count }) as Box<dyn FramePort>
        });
        ports.orders = Box::new(Calls::new(ports.orders, Arc::clone(&call_count)));
        let bus = graph::plan_bus("no_alloc", Stamp::process())
            .heap()
            .expect("memory for a bus");
        let seen = SeenHandle::default();
        let on = Arc::new(AtomicBool::new(false));
        let plan = scene.plan(seen.clone());
        let seats = graph::build(&bus, plan, ports).expect("a graph");
        let watch = |seat: Seat| match COUNTED.iter().position(|id| *id == seat.id) {
            Some(index) => Seat {
                id: seat.id,
                stage: Box::new(Watched {
                    stage: seat.stage,
                    place: index + 1,
                    on: Arc::clone(&on),
                }),
            },
            None => seat,
        };
        let clock = DecisionClock::stepped(scene.start);
        let stepper = Stepper::new(seats.into_iter().map(watch).collect(), clock.clone());
        Rig {
            scene,
            stepper,
            clock,
            on,
            frame_count,
            call_count,
            seen,
        }
    }

    /// Plays on until `frames` more market frames came in.
    fn play(&mut self, frames: u64) {
        let until = self.frame_count.load(Ordering::Relaxed) + frames;
        while self.frame_count.load(Ordering::Relaxed) < until {
            let soonest = Wall(self.clock.now().0 + 1);
            let market = self.scene.shared.next_event().map(|time| time.max(soonest));
            let next = [market, self.stepper.next_timer()].into_iter().flatten().min();
            self.clock
                .advance_to(next.expect("a generated market never ends"));
            self.stepper.settle().expect("it comes to rest");
        }
    }

    fn orders(&self) -> u64 {
        self.seen.lock().expect("not poisoned").orders.order_count
    }
}

#[test]
fn nothing_is_allocated_between_a_frame_and_an_order_in_its_socket() {
    let out = tempfile::tempdir().expect("a directory");
    let mut rig = Rig::new(out.path());
    rig.play(WARM);
    let (warm_orders, warm_calls) = (rig.orders(), rig.call_count.load(Ordering::Relaxed));
    println!("warm: {WARM} frames, {warm_orders} orders");
    TRACES.set(8);
    rig.on.store(true, Ordering::Relaxed);
    rig.play(MEASURED);
    rig.on.store(false, Ordering::Relaxed);
    let orders = rig.orders() - warm_orders;
    let calls = rig.call_count.load(Ordering::Relaxed) - warm_calls;
    let counts: Vec<(&str, u64)> = COUNTED
        .iter()
        .enumerate()
        .map(|(index, id)| (id.text(), ALLOCATIONS.with(|counts| counts[index + 1].get())))
        .collect();
    println!("counted: {MEASURED} frames, {orders} orders, {calls} calls, allocations {counts:?}");
    assert!(orders > 0 && calls > 0, "no order was sent while counting");
    assert!(counts.iter().all(|(_, count)| *count == 0), "{counts:?}");
}

/// A stage that allocates once in every poll.
struct Wasteful;

impl Stage for Wasteful {
    fn name(&self) -> &'static str {
        "wasteful"
    }

    fn poll(&mut self, _now: Wall) -> Progress {
        drop(std::hint::black_box(vec![1u8; 100]));
        Progress::Idle
    }

    fn next_timer(&self) -> Option<Wall> {
        None
    }
}

#[test]
fn a_stage_that_allocates_is_caught() {
    let mut watched = Watched {
        stage: Box::new(Wasteful),
        place: 2,
        on: Arc::new(AtomicBool::new(true)),
    };
    let count = || ALLOCATIONS.with(|counts| counts[2].get());
    watched.poll(Wall(1));
    assert_eq!(count(), 1);
    watched.on.store(false, Ordering::Relaxed);
    watched.poll(Wall(2));
    assert_eq!(count(), 1);
}
