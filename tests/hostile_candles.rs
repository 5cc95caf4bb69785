//! Promise: candle rows that cannot be are dropped over the wire, each counted by its reason, and change
//! nothing; nor do rows that come twice, nor confirmations that do not come at all but are read: the rows
//! that leave `indicate` are those of the clean market, on every timeframe.

#[allow(dead_code)]
mod whole_graph;

use smart_scanner::app::graph;
use smart_scanner::bus::Bus;
use smart_scanner::driver::{DecisionClock, Inlet, Stepper};
use smart_scanner::model::feature::row_flag;
use smart_scanner::model::message::{Tick, TickKind};
use smart_scanner::model::time::NS_PER_SEC;
use smart_scanner::model::{FeatureRow, Timeframe, Wall};
use smart_scanner::stage::housekeep::SeenHandle;
use smart_scanner::sys::clock::Stamp;
use smart_scanner::topology::LinkId;
use smart_scanner::venue::seam::{Endpoint, FrameEvent, FramePort};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use whole_graph::Scene;

/// 2025-06-01T12:00:30Z.
const START: Wall = Wall(1_748_779_230 * NS_PER_SEC);
/// The candle that is forming when the bad rows come.
const FORMING_MS: i64 = 1_748_779_320_000;

/// What a feed does to the market's frames.
#[derive(Clone, Default)]
struct Mischief {
    /// Frames that come between the market's own, in the third minute.
    frames: Vec<String>,
    /// Every confirmed candle comes this many times more.
    repeats: usize,
    /// The confirmation of the candle that opens then is lost, of every instrument.
    lost_ms: Option<i64>,
}

/// The market's port, and frames that come between the market's own.
struct Poisoned {
    inner: Box<dyn FramePort>,
    frames: Arc<Mutex<VecDeque<String>>>,
    mischief: Mischief,
    lost: Arc<Mutex<usize>>,
    current: String,
    connection: Option<u16>,
}

impl Poisoned {
    fn is_confirmed_candle(text: &str) -> bool {
        text.contains(r#""channel":"candle"#) && text.ends_with(r#""1"]]}"#)
    }
}

impl FramePort for Poisoned {
    fn open(&mut self, connection: u16, endpoint: Endpoint) {
        self.inner.open(connection, endpoint);
    }

    fn send(&mut self, connection: u16, text: &[u8]) -> bool {
        self.inner.send(connection, text)
    }

    fn close(&mut self, connection: u16) {
        self.inner.close(connection);
    }

    fn poll(&mut self, now: Wall) -> FrameEvent<'_> {
        if let Some(connection) = self.connection
            && let Some(frame) = self.frames.lock().expect("not poisoned").pop_front()
        {
            self.current = frame;
            return FrameEvent::Text {
                connection,
                receive_ns: 1,
                bytes: self.current.as_bytes(),
            };
        }
        let event = self.inner.poll(now);
        let FrameEvent::Text {
            connection,
            receive_ns,
            bytes,
        } = event
        else {
            return event;
        };
        self.connection = Some(connection);
        let text = std::str::from_utf8(bytes).expect("the venue sends text");
        self.current = text.to_owned();
        if Self::is_confirmed_candle(text) {
            let is_lost = |open_ms: i64| text.contains(&format!(r#"[["{open_ms}""#));
            if self.mischief.lost_ms.is_some_and(is_lost) {
                *self.lost.lock().expect("not poisoned") += 1;
                // As if nothing but a beat had come.
                self.current = "pong".to_owned();
            }
            let again = std::iter::repeat_n(self.current.clone(), self.mischief.repeats);
            self.frames.lock().expect("not poisoned").extend(again);
        }
        FrameEvent::Text {
            connection,
            receive_ns,
            bytes: self.current.as_bytes(),
        }
    }
}

/// What a market played to.
struct Played {
    /// The rows of `minutes`, as they came.
    rows: Vec<String>,
    /// What `decode` dropped, by reason.
    drops: BTreeMap<String, u64>,
    late: u64,
    lost: usize,
    /// What the gate was told of what can be believed: instrument and kind of tick, in order.
    health: Vec<(u16, TickKind)>,
}

/// Plays the market until `minutes` after `FORMING_MS`.
fn play(mischief: Mischief, minutes: i64) -> Played {
    let frames = mischief.frames.clone();
    let folder = tempfile::tempdir().expect("a folder");
    let mut scene = Scene::generated(9, 8, START, folder.path());
    scene.settings.scan.candles_inter_chunk_sleep = 0.0;
    let bus = graph::plan_bus("bad", Stamp::process()).heap().expect("a bus");
    let mut plan = scene.plan(SeenHandle::default());
    plan.start = START;
    let ports = scene.ports();
    let waiting = Arc::new(Mutex::new(VecDeque::new()));
    let lost = Arc::new(Mutex::new(0));
    let market = Box::new(Poisoned {
        inner: ports.market.expect("a market"),
        frames: Arc::clone(&waiting),
        mischief,
        lost: Arc::clone(&lost),
        current: String::new(),
        connection: None,
    });
    let seats = graph::build_rows(&bus, &plan, market, ports.reads).expect("a graph");
    let mut leaving =
        Inlet::<FeatureRow>::new(bus.consumer(LinkId::IndicateScore.link().name).expect("an end"));
    let mut told = Inlet::<Tick>::new(bus.consumer(LinkId::DecodeGate.link().name).expect("an end"));
    let mut health = Vec::new();
    let clock = DecisionClock::stepped(START);
    let mut stepper = Stepper::new(seats, clock.clone());
    let (mut rows, mut is_poisoned) = (Vec::new(), false);
    while clock.now().ms() < FORMING_MS + 10_000 + minutes * 60_000 {
        if !is_poisoned && clock.now().ms() > FORMING_MS + 30_000 {
            is_poisoned = true;
            waiting
                .lock()
                .expect("not poisoned")
                .extend(frames.iter().cloned());
        }
        scene.shared.advance(clock.now());
        stepper.settle().expect("it comes to rest");
        while let Some(tick) = told.take() {
            let kind = TickKind::from_code(tick.kind).expect("a kind");
            if matches!(kind, TickKind::Stale | TickKind::Fresh) {
                health.push((tick.instrument, kind));
            }
        }
        while let Some(row) = leaving.take() {
            rows.push(format!(
                "{} {} {} {:?}",
                row.instrument, row.timeframe, row.flags, row.candle
            ));
        }
        let soonest = Wall(clock.now().0 + 1_000_000);
        let market = scene.shared.next_event().map(|time| time.max(soonest));
        let next = [market, stepper.next_timer()].into_iter().flatten().min();
        clock.advance_to(next.expect("a generated market never ends"));
    }
    let counters = bus.counters().expect("counters");
    let late = counters.iter().find(|value| value.name == "indicate_late");
    let lost = *lost.lock().expect("not poisoned");
    Played {
        rows,
        drops: drops(&bus),
        late: late.expect("planned").value,
        lost,
        health,
    }
}

/// Whether a row says of itself that it is history.
fn is_backfill(row: &str) -> bool {
    let flags: u16 = row.split(' ').nth(2).expect("flags").parse().expect("a number");
    flags & row_flag::BACKFILL != 0
}

fn drops(bus: &Bus) -> BTreeMap<String, u64> {
    let values = bus.counters().expect("counters").into_iter();
    let dropped = values.filter(|value| {
        let word = value.name.strip_prefix("decode_");
        word.is_some_and(|word| {
            smart_scanner::model::Reason::ALL
                .iter()
                .any(|reason| reason.text() == word)
        })
    });
    dropped
        .filter(|value| value.value > 0)
        .map(|value| (value.name, value.value))
        .collect()
}

fn frame(instrument: &str, row: &str) -> String {
    format!(r#"{{"arg":{{"channel":"candle1m","instId":"{instrument}"}},"data":[{row}]}}"#)
}

#[test]
fn rows_that_cannot_be_change_nothing_and_are_counted_by_reason() {
    let row = |open_ms: i64, prices: [&str; 4], volume: &str, confirm: &str| {
        let [open, high, low, close] = prices;
        format!(
            r#"["{open_ms}","{open}","{high}","{low}","{close}","{volume}","{volume}","{volume}","{confirm}"]"#
        )
    };
    let good = ["64000.0", "64100.0", "63900.0", "64050.0"];
    let bad = [
        // Wrong types and shapes.
        "7".to_owned(),
        "{}".to_owned(),
        "[]".to_owned(),
        r#"["x","1","1","1","1","1","1","1","1"]"#.to_owned(),
        row(FORMING_MS, good, "1", "7"),
        // Numbers that are none, or none of a market.
        row(FORMING_MS, ["NaN", "64100.0", "63900.0", "64050.0"], "1", "1"),
        row(
            FORMING_MS,
            ["64000.0", "Infinity", "63900.0", "64050.0"],
            "1",
            "1",
        ),
        row(
            FORMING_MS,
            ["64000.0", "64100.0", "-63900.0", "64050.0"],
            "1",
            "1",
        ),
        row(FORMING_MS, ["0", "0", "0", "0"], "1", "1"),
        row(FORMING_MS, ["64000.0", "63900.0", "64100.0", "64050.0"], "1", "1"),
        row(FORMING_MS, good, "-1", "1"),
        row(FORMING_MS, good, "NaN", "1"),
        // Times off the grid, from the future, and from before the history.
        row(FORMING_MS + 1, good, "1", "1"),
        row(FORMING_MS + 3_600_000, good, "1", "1"),
        row(-60_000, good, "1", "1"),
    ];
    let mut frames: Vec<String> = bad.iter().map(|row| frame("BTC-USDT", row)).collect();
    frames.push(frame("NONE-USDT", &row(FORMING_MS, good, "1", "1")));
    let count_of_frames = frames.len() as u64;
    let clean = play(Mischief::default(), 2);
    let mischief = Mischief {
        frames,
        ..Mischief::default()
    };
    let poisoned = play(mischief, 2);
    let (before, after) = (clean.drops, poisoned.drops);
    let stale_count =
        |health: &[(u16, TickKind)]| health.iter().filter(|(_, kind)| *kind == TickKind::Stale).count();
    assert_eq!(stale_count(&clean.health), 0);
    let (btc, others): (Vec<_>, Vec<_>) = poisoned
        .health
        .iter()
        .partition(|(instrument, _)| *instrument == 0);
    assert!(
        stale_count(&btc) > 0,
        "the instrument that the frames name goes stale"
    );
    assert_eq!(
        btc.last(),
        Some(&(0, TickKind::Fresh)),
        "and is whole again with the next good row"
    );
    assert_eq!(stale_count(&others), 0, "no other instrument is silenced");
    println!("{} rows; dropped {after:?}", clean.rows.len());
    assert!(clean.rows.len() > 1_000, "history and four minutes");
    assert_eq!(clean.rows, poisoned.rows);
    let count = |drops: &BTreeMap<String, u64>| drops.values().sum::<u64>();
    assert_eq!(
        count(&after) - count(&before),
        count_of_frames,
        "each is counted once: {before:?} {after:?}"
    );
    assert!(after.len() >= before.len() + 4, "by reason: {after:?}");
}

#[test]
fn a_confirmed_row_that_comes_again_changes_no_timeframe() {
    let clean = play(Mischief::default(), 17);
    let mischief = Mischief {
        repeats: 2,
        ..Mischief::default()
    };
    let repeated = play(mischief, 17);
    assert!(
        repeated.late > clean.late + 200,
        "8 instruments x 18 minutes x 2: {}",
        repeated.late
    );
    for timeframe in [Timeframe::M1, Timeframe::M3, Timeframe::M5, Timeframe::M15] {
        let code = format!(" {} ", timeframe as u8);
        let live = |row: &&String| row.contains(&code) && !is_backfill(row);
        assert!(
            clean.rows.iter().filter(live).count() >= 8,
            "{}",
            timeframe.text()
        );
    }
    assert_eq!(clean.rows, repeated.rows);
}

#[test]
fn a_candle_whose_confirmation_was_lost_is_read_and_still_news() {
    // 12:14 closes a candle of every built timeframe.
    let lost_ms = FORMING_MS + 12 * 60_000;
    let clean = play(Mischief::default(), 17);
    let mischief = Mischief {
        lost_ms: Some(lost_ms),
        ..Mischief::default()
    };
    let read = play(mischief, 17);
    assert_eq!(read.lost, 8, "one an instrument");
    let sorted = |mut rows: Vec<String>| {
        rows.sort();
        rows
    };
    // Flags and all: what was read carries no mark that would keep it from signalling.
    assert_eq!(sorted(clean.rows), sorted(read.rows));
}
