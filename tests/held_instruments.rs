//! Promise: what the gate holds is watched closely, and only that: the mark and the book of an instrument
//! are subscribed while a position is open or an entry works, over the wire, and left afterwards.

#[allow(dead_code)]
mod whole_graph;

use smart_scanner::app::graph;
use smart_scanner::bus::Bus;
use smart_scanner::driver::{DecisionClock, Stepper};
use smart_scanner::model::status::PositionRow;
use smart_scanner::model::{InstrumentId, Wall};
use smart_scanner::stage::housekeep::SeenHandle;
use smart_scanner::sys::clock::Stamp;
use smart_scanner::venue::seam::{Endpoint, FrameEvent, FramePort};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use whole_graph::Scene;

/// What went over the market's sockets.
#[derive(Default)]
struct Wire {
    /// Symbols by channel, as subscribed now.
    subscribed: BTreeMap<String, BTreeSet<String>>,
    unsubscribed: BTreeMap<String, usize>,
    mark_frames: usize,
}

impl Wire {
    fn on_sent(&mut self, text: &[u8]) {
        let Ok(request) = serde_json::from_slice::<serde_json::Value>(text) else {
            return; // A ping.
        };
        for arg in request["args"].as_array().expect("arguments") {
            let [channel, symbol] =
                ["channel", "instId"].map(|key| arg[key].as_str().expect("text").to_owned());
            if request["op"] == "subscribe" {
                self.subscribed.entry(channel).or_default().insert(symbol);
            } else {
                self.subscribed
                    .entry(channel.clone())
                    .or_default()
                    .remove(&symbol);
                *self.unsubscribed.entry(channel).or_default() += 1;
            }
        }
    }

    fn of(&self, channel: &str) -> BTreeSet<String> {
        self.subscribed.get(channel).cloned().unwrap_or_default()
    }
}

struct Tapped {
    inner: Box<dyn FramePort>,
    wire: Arc<Mutex<Wire>>,
}

impl FramePort for Tapped {
    fn open(&mut self, connection: u16, endpoint: Endpoint) {
        self.inner.open(connection, endpoint);
    }

    fn send(&mut self, connection: u16, text: &[u8]) -> bool {
        let is_sent = self.inner.send(connection, text);
        if is_sent {
            self.wire.lock().expect("not poisoned").on_sent(text);
        }
        is_sent
    }

    fn close(&mut self, connection: u16) {
        self.inner.close(connection);
    }

    fn poll(&mut self, now: Wall) -> FrameEvent<'_> {
        let event = self.inner.poll(now);
        if let FrameEvent::Text { bytes, .. } = &event {
            let is_mark = bytes.windows(10).any(|window| window == b"mark-price");
            self.wire.lock().expect("not poisoned").mark_frames += usize::from(is_mark);
        }
        event
    }
}

fn positions(bus: &Bus, scene: &Scene) -> BTreeSet<String> {
    let table = bus.table::<PositionRow>("positions").expect("a table");
    let rows = (0..64)
        .filter_map(|index| table.read(index))
        .filter(|row| row.lots != 0);
    let symbol = |row: PositionRow| {
        scene
            .instruments
            .get(InstrumentId(row.instrument))
            .expect("known")
            .symbol
    };
    rows.map(|row| symbol(row).to_string()).collect()
}

#[test]
fn marks_and_books_come_with_a_position_and_go_with_it() {
    let out = tempfile::tempdir().expect("a folder");
    let mut scene = Scene::generated(7, 8, Wall::from_ms(1_767_225_600_000), out.path());
    scene.settings.order_flow.use_ws_orderflow = false;
    let bus = graph::plan_bus("held", Stamp::process()).heap().expect("a bus");
    let wire: Arc<Mutex<Wire>> = Arc::default();
    let mut ports = scene.ports();
    ports.market = ports.market.map(|inner| {
        let wire = Arc::clone(&wire);
        Box::new(Tapped { inner, wire }) as Box<dyn FramePort>
    });
    let seen = SeenHandle::default();
    let seats = graph::build(&bus, scene.plan(seen.clone()), ports).expect("a graph");
    let clock = DecisionClock::stepped(scene.start);
    let mut stepper = Stepper::new(seats, clock.clone());
    let (mut watched_looks, mut looks) = (0, 0);
    let until = scene.start.ms() + 40 * 60_000;
    let mut look_ms = scene.start.ms();
    while clock.now().ms() < until {
        let soonest = Wall(clock.now().0 + 1_000_000);
        let market = scene.shared.next_event().map(|time| time.max(soonest));
        let next = [market, stepper.next_timer()].into_iter().flatten().min();
        clock.advance_to(next.expect("a generated market never ends"));
        stepper.settle().expect("it comes to rest");
        if clock.now().ms() >= look_ms {
            look_ms += 5_000;
            let open = positions(&bus, &scene);
            let wire = wire.lock().expect("not poisoned");
            looks += open.len();
            watched_looks += open
                .iter()
                .filter(|symbol| {
                    ["mark-price-candle1m", "books"]
                        .iter()
                        .all(|channel| wire.of(channel).contains(*symbol))
                })
                .count();
        }
    }
    let closed = seen.lock().expect("not poisoned").orders.order_count;
    let wire = wire.lock().expect("not poisoned");
    let open = positions(&bus, &scene);
    let marks = wire.of("mark-price-candle1m");
    println!(
        "{closed} orders; watched {watched_looks} of {looks}; open {open:?}; marks {marks:?}, left {:?}, {} mark frames",
        wire.unsubscribed, wire.mark_frames
    );
    assert!(looks > 20, "positions were open");
    // A request is a matter of tenths of a second; a look may fall into it.
    assert!(watched_looks * 20 >= looks * 19, "{watched_looks} of {looks}");
    assert!(wire.mark_frames > 10, "and their marks come");
    assert!(
        wire.unsubscribed["mark-price-candle1m"] > 0,
        "positions went, and their marks with them"
    );
    assert_eq!(wire.of("books"), marks, "book and mark go together");
    assert!(marks.is_superset(&open), "{open:?} in {marks:?}");
}
