//! The promise: a parked thread of the trading path is woken by whoever feeds it. The longest sleep
//! is set to an hour here, so that one lost bell hangs the test instead of slowing it.

use smart_scanner::bus::BusBuilder;
use smart_scanner::driver::layout::Group;
use smart_scanner::driver::threads::{Running, start_with};
use smart_scanner::driver::{DecisionClock, Idle, Inlet, Layout, Outlet, Progress, Seat, Stage};
use smart_scanner::model::Wall;
use smart_scanner::model::message::{OrderCommand, SendReply};
use smart_scanner::sys::clock::Stamp;
use smart_scanner::topology::{self, LINKS, StageId};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const TRIPS: u64 = 2_000;

/// Sends a command for every reply; the first by itself.
struct Gate {
    commands: Outlet<OrderCommand>,
    replies: Inlet<SendReply>,
    done: Arc<AtomicU64>,
    is_started: bool,
}

impl Stage for Gate {
    fn name(&self) -> &'static str {
        "gate"
    }

    fn poll(&mut self, _now: Wall) -> Progress {
        let replied = self.replies.take().is_some();
        if replied {
            self.done.fetch_add(1, Ordering::AcqRel);
        }
        if !replied && self.is_started {
            return Progress::Idle;
        }
        self.is_started = true;
        self.commands.publish_or_drop(bytemuck::Zeroable::zeroed());
        Progress::Busy
    }

    fn next_timer(&self) -> Option<Wall> {
        None
    }
}

/// Answers every command.
struct Send {
    commands: Inlet<OrderCommand>,
    replies: Outlet<SendReply>,
}

impl Stage for Send {
    fn name(&self) -> &'static str {
        "send"
    }

    fn poll(&mut self, _now: Wall) -> Progress {
        if self.commands.take().is_none() {
            return Progress::Idle;
        }
        self.replies.publish_or_drop(bytemuck::Zeroable::zeroed());
        Progress::Busy
    }

    fn next_timer(&self) -> Option<Wall> {
        None
    }
}

fn run(idle: [Idle; 2]) -> (Running, Arc<AtomicU64>) {
    let stamp = Stamp::monotonic();
    let mut builder = BusBuilder::new("bells");
    builder.stamp(stamp);
    for link in &LINKS {
        if ["gate_send", "send_gate"].contains(&link.name) {
            topology::plan(link, &mut builder);
        }
    }
    let bus = builder.heap().expect("a bus of two rings");
    let done = Arc::new(AtomicU64::new(0));
    let gate = Gate {
        commands: Outlet::new(bus.producer("gate_send").expect("a ring"), stamp),
        replies: Inlet::new(bus.consumer("send_gate").expect("a ring")),
        done: Arc::clone(&done),
        is_started: false,
    };
    let send = Send {
        commands: Inlet::new(bus.consumer("gate_send").expect("a ring")),
        replies: Outlet::new(bus.producer("send_gate").expect("a ring"), stamp),
    };
    let group = |stage, idle| Group {
        stages: vec![stage],
        idle,
        core: None,
    };
    let layout = Layout {
        groups: vec![group(StageId::Gate, idle[0]), group(StageId::Send, idle[1])],
    };
    let seats = vec![
        Seat {
            id: StageId::Gate,
            stage: Box::new(gate),
        },
        Seat {
            id: StageId::Send,
            stage: Box::new(send),
        },
    ];
    let clock = DecisionClock::scaled(stamp, Wall::from_ms(1), 1.0);
    let running = start_with(&layout, seats, &clock, Duration::from_secs(3_600)).expect("two threads");
    (running, done)
}

/// Two parked threads, and one parked beside one that yields.
#[test]
fn a_parked_thread_wakes_for_what_it_is_fed_and_for_the_stop() {
    for idle in [[Idle::Park, Idle::Park], [Idle::Yield, Idle::Park]] {
        let (running, done) = run(idle);
        while done.load(Ordering::Acquire) < TRIPS {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(running.stop().len(), 2);
    }
}
