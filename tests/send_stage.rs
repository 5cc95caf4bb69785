//! `send` alone: a protective call that hangs holds up neither the next one nor itself for long, and what
//! was superseded while it waited does not leave.

mod whole_graph;

use bytemuck::Zeroable;
use smart_scanner::app::graph;
use smart_scanner::bus::{Consumer, Producer};
use smart_scanner::driver::Stage;
use smart_scanner::model::client_id::{ClientOrderId, Role};
use smart_scanner::model::message::{CommandKind, Lane, OrderCommand, Outcome, PROTECTIVE_CALLS, SendReply};
use smart_scanner::model::time::NS_PER_SEC;
use smart_scanner::model::{InstrumentId, MarginMode, PositionSide, Side, Wall};
use smart_scanner::stage::housekeep::SeenHandle;
use smart_scanner::sys::clock::Stamp;
use smart_scanner::topology::{LinkId, StageId};
use smart_scanner::venue::blofin::call_port::LaneGroup;
use smart_scanner::venue::seam::{Busy, CallEvent, CallPort, Fault};
use std::sync::{Arc, Mutex};
use whole_graph::Scene;

const SEED: u64 = 5;

/// What was written, and on which lane; nothing is ever answered before its deadline.
type Wire = Arc<Mutex<Vec<(Lane, u64, Wall)>>>;

/// Connections on which every call hangs.
struct Hung {
    wire: Wire,
    out: Vec<(Lane, u64, Wall)>,
}

impl CallPort for Hung {
    fn is_ready(&self, lane: Lane) -> bool {
        let group = LaneGroup::of(lane);
        let most = match group {
            LaneGroup::Protective => PROTECTIVE_CALLS,
            LaneGroup::Ordinary | LaneGroup::Market => 1,
        };
        let is_same = |call: &&(Lane, u64, Wall)| LaneGroup::of(call.0) == group;
        self.out.iter().filter(is_same).count() < most
    }

    fn submit(&mut self, lane: Lane, call: u64, _request: &[u8], deadline: Wall) -> Result<(), Busy> {
        if !self.is_ready(lane) {
            return Err(Busy);
        }
        self.out.push((lane, call, deadline));
        self.wire.lock().expect("a wire").push((lane, call, deadline));
        Ok(())
    }

    fn poll(&mut self, now: Wall) -> CallEvent<'_> {
        let Some(at) = self.out.iter().position(|call| now > call.2) else {
            return CallEvent::Idle;
        };
        let (lane, call, _) = self.out.remove(at);
        CallEvent::Fault {
            lane,
            call,
            fault: Fault::MaybeSent,
        }
    }
}

struct Bench {
    stage: Box<dyn Stage>,
    commands: Producer<OrderCommand>,
    replies: Consumer<SendReply>,
    wire: Wire,
    now: Wall,
}

impl Bench {
    fn new(folder: &std::path::Path) -> Bench {
        let scene = Scene::generated(SEED, 4, Wall::from_ms(1_767_225_600_000), folder);
        let bus = graph::plan_bus("send-stage", Stamp::process())
            .heap()
            .expect("a bus");
        let wire = Wire::default();
        let mut ports = scene.ports();
        ports.orders = Box::new(Hung {
            wire: wire.clone(),
            out: Vec::new(),
        });
        let plan = scene.plan(SeenHandle::default());
        let seats = graph::build_around_gate(&bus, &plan, ports).expect("a graph");
        let send = seats.into_iter().find(|seat| seat.id == StageId::Send);
        Bench {
            stage: send.expect("send has a seat").stage,
            commands: bus.producer(LinkId::GateSend.link().name).expect("an end"),
            replies: bus.consumer(LinkId::SendGate.link().name).expect("an end"),
            wire,
            now: scene.start,
        }
    }

    fn command(&mut self, call: u64, lane: Lane, expires_after_ns: u64) {
        let mut command = OrderCommand::zeroed();
        command.call = call;
        command.kind = CommandKind::PlaceBracket as u8;
        command.lane = lane as u8;
        command.side = Side::Sell as u8;
        command.position_side = PositionSide::Net as u8;
        command.margin_mode = MarginMode::Cross as u8;
        command.reduce_only = 1;
        command.instrument = InstrumentId(0).0;
        command.size_lots = -1;
        command.sl_ticks = 1_000;
        command.client_id = ClientOrderId::new(1, 1, Role::Bracket, call);
        command.expires_ns = self.now.0 + expires_after_ns;
        self.commands.publish(&command).expect("room");
    }

    fn run_to(&mut self, now: Wall) {
        self.now = now;
        for _ in 0..200 {
            self.stage.poll(now);
        }
    }

    fn written(&self) -> Vec<u64> {
        self.wire
            .lock()
            .expect("a wire")
            .iter()
            .map(|call| call.1)
            .collect()
    }
}

#[test]
fn protective_calls_that_hang_neither_queue_up_nor_leave_late() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::new(folder.path());
    let start = bench.now;
    let after = |seconds: u64| Wall(start.0 + seconds * NS_PER_SEC + 1);
    for call in 1..=5 {
        bench.command(call, Lane::Protect, 2 * NS_PER_SEC);
    }
    bench.command(6, Lane::Close, 30 * NS_PER_SEC);
    bench.run_to(start);
    assert_eq!(
        bench.written(),
        [1, 2, 3],
        "one hanging does not hold up the next"
    );
    assert_eq!(
        bench.stage.next_timer(),
        Some(after(2)),
        "what waits is looked at in time"
    );
    bench.run_to(after(2));
    assert_eq!(bench.written(), [1, 2, 3]);
    let mut sent_back = Vec::new();
    while let Some(reply) = bench.replies.take() {
        sent_back.push((reply.call, reply.outcome, reply.signed_ns));
    }
    let not_sent = Outcome::NotSent as u8;
    assert_eq!(
        sent_back,
        [(4, not_sent, 0), (5, not_sent, 0)],
        "superseded by then"
    );
    bench.run_to(after(3));
    let mut answers = Vec::new();
    while let Some(reply) = bench.replies.take() {
        answers.push((reply.call, reply.outcome, reply.signed_ns));
    }
    let maybe = Outcome::Ambiguous as u8;
    assert_eq!(
        answers,
        [(1, maybe, start.0), (2, maybe, start.0), (3, maybe, start.0)],
        "after three seconds it may have arrived, or not"
    );
    assert_eq!(bench.written(), [1, 2, 3, 6], "the close has its connection");
}
