//! The promise: when the venue refuses to serve (429) while a position stands without a stop, nothing leaves as
//! long as it refuses, protection leaves within one window of its end and before any entry, and no limit of the
//! venue is passed: whoever was refused, and however often.
//!
//! Each refusal is placed: the exchange takes the stop away and refuses the call that the scene names, and then
//! everything for some seconds. Meanwhile somebody wants in fifty times a second.

#[allow(dead_code)]
mod whole_graph;

use bytemuck::Zeroable;
use smart_scanner::app::graph::{self, Ports};
use smart_scanner::bus::Bus;
use smart_scanner::driver::{DecisionClock, Inlet, Outlet, Stepper};
use smart_scanner::exchange::AccountId;
use smart_scanner::model::message::{Alert, AlertAnswer, Lane};
use smart_scanner::model::time::{NS_PER_MS, NS_PER_SEC};
use smart_scanner::model::{Side, Wall};
use smart_scanner::settings::Settings;
use smart_scanner::stage::housekeep::SeenHandle;
use smart_scanner::sys::clock::{self, Stamp};
use smart_scanner::topology::LinkId;
use smart_scanner::venue::loopback::{
    Fault, FaultRule, InProcessCalls, InProcessFrames, LoopbackVenue, SharedVenue,
};
use smart_scanner::venue::seam::{Busy, CallEvent, CallPort};
use std::sync::{Arc, Mutex};
use whole_graph::Scene;

const SEED: u64 = 7;
const START: Wall = Wall(1_767_225_600 * NS_PER_SEC);
const INSTRUMENTS: u16 = 8;
/// The first account of the exchange.
const ACCOUNT: AccountId = AccountId(0);
/// The venue's limits: calls under /trade in ten seconds, calls in one minute and in five.
const LIMITS: [(&str, u64, usize); 3] = [
    ("/trade/", 10 * NS_PER_SEC, 30),
    ("/api/", 60 * NS_PER_SEC, 500),
    ("/api/", 300 * NS_PER_SEC, 1_500),
];
/// The venue's window of trading calls.
const WINDOW_NS: u64 = 10 * NS_PER_SEC;
/// How long the venue refuses everything after the call that the scene names.
const REFUSING_NS: u64 = 4 * NS_PER_SEC;
const ALERT_EVERY_NS: u64 = 20 * NS_PER_MS;

/// A call that left.
#[derive(Clone, Debug)]
struct Sent {
    at: Wall,
    lane: Lane,
    path: String,
}

impl Sent {
    fn is_protective(&self) -> bool {
        matches!(self.lane, Lane::Protect | Lane::Close)
    }
}

/// What passed the ports, in the order of time.
#[derive(Default)]
struct Log {
    sent: Vec<Sent>,
    /// When each refusal was heard.
    refused: Vec<Wall>,
}

/// A port that writes down what leaves through it and what is refused.
struct Logged {
    inner: InProcessCalls,
    log: Arc<Mutex<Log>>,
    clock: DecisionClock,
}

impl CallPort for Logged {
    fn is_ready(&self, lane: Lane) -> bool {
        self.inner.is_ready(lane)
    }

    fn submit(&mut self, lane: Lane, call: u64, request: &[u8], deadline: Wall) -> Result<(), Busy> {
        self.inner.submit(lane, call, request, deadline)?;
        let text = String::from_utf8_lossy(request);
        let path = text.split(' ').nth(1).expect("a request line").to_owned();
        let at = self.clock.now();
        self.log
            .lock()
            .expect("one thread")
            .sent
            .push(Sent { at, lane, path });
        Ok(())
    }

    fn poll(&mut self, now: Wall) -> CallEvent<'_> {
        let event = self.inner.poll(now);
        if let CallEvent::Reply { status: 429, .. } = event {
            self.log.lock().expect("one thread").refused.push(now);
        }
        event
    }
}

/// The program on the stepper over the embedded exchange, and somebody who wants in.
struct Run {
    shared: SharedVenue,
    stepper: Stepper,
    clock: DecisionClock,
    log: Arc<Mutex<Log>>,
    alerts: Outlet<Alert>,
    answers: Inlet<AlertAnswer>,
    requests: u64,
    /// The instruments that are wanted, in turn, and when next; nobody wants any while it is empty.
    wanted: std::ops::Range<u16>,
    next_alert: Wall,
    _bus: Bus,
    _folder: tempfile::TempDir,
}

impl Run {
    fn begin() -> Run {
        clock::set_stepped_ns(START.0);
        let folder = tempfile::tempdir().expect("a directory");
        let mut scene = Scene::generated(SEED, usize::from(INSTRUMENTS), START, folder.path());
        let set = [
            "TRADE_MAX_POSITIONS=8",
            "TRADE_MAX_EXPOSURE_USD=10000",
            "MAX_ENTRIES_PER_HOUR=0",
            "TRADE_COOLDOWN_SEC=0",
            "TRADE_MIN_SCORE=1",
            "TRADE_MIN_PROB=0.5",
            "EV_MIN_R=-1",
            "COST_R_MAX=1",
            "MIN_INITIAL_MARGIN_USD=0",
            "TPSL_MODE=bps",
            "SL_BPS=400",
            "TP_BPS=800",
            "ENABLE_TRAILING=0",
        ];
        scene.settings = Settings::research(None, &set.map(str::to_owned), folder.path()).expect("settings");
        let bus = graph::plan_bus("refused-while-bare", Stamp::stepped())
            .heap()
            .expect("a bus");
        let clock = DecisionClock::stepped(START);
        let log = Arc::new(Mutex::new(Log::default()));
        let frames = || Box::new(InProcessFrames::new(scene.shared.clone(), clock::stepped_ns));
        let calls = || {
            Box::new(Logged {
                inner: InProcessCalls::new(scene.shared.clone(), clock::stepped_ns),
                log: Arc::clone(&log),
                clock: clock.clone(),
            })
        };
        let ports = Ports {
            market: Some(frames()),
            account: frames(),
            orders: calls(),
            reads: calls(),
        };
        let mut plan = scene.plan(SeenHandle::default());
        // Nothing is entered but what is wanted.
        plan.scan = false;
        plan.alerts = Some(crossbeam::channel::never());
        plan.start = START;
        let seats = graph::build(&bus, plan, ports).expect("a graph");
        let name = |link: LinkId| link.link().name;
        Run {
            alerts: Outlet::new(
                bus.producer(name(LinkId::WebhookGate)).expect("free"),
                bus.stamp(),
            ),
            answers: Inlet::new(bus.consumer(name(LinkId::GateWebhook)).expect("free")),
            shared: scene.shared.clone(),
            stepper: Stepper::new(seats, clock.clone()),
            clock,
            log,
            requests: 0,
            wanted: 0..0,
            next_alert: START,
            _bus: bus,
            _folder: folder,
        }
    }

    /// Plays on to the next instant at which something happens.
    fn step(&mut self) {
        let soonest = Wall(self.clock.now().0 + NS_PER_MS);
        let alert = (!self.wanted.is_empty()).then_some(self.next_alert);
        let times = [self.shared.next_event(), self.stepper.next_timer(), alert];
        let next = times.into_iter().flatten().min().expect("a market never ends");
        self.clock.advance_to(next.max(soonest));
        let now = self.clock.now();
        clock::set_stepped_ns(now.0);
        self.shared.advance(now);
        if alert.is_some_and(|at| now >= at) {
            self.next_alert = Wall(now.0 + ALERT_EVERY_NS);
            self.requests += 1;
            let mut alert = Alert::zeroed();
            let count = self.wanted.len() as u64;
            alert.instrument = self.wanted.start + (self.requests % count) as u16;
            alert.side = Side::Buy as u8;
            alert.timeframe = 255;
            alert.score = 9.0;
            alert.probability = 0.9;
            alert.id_hash = [self.requests, 1];
            alert.request = self.requests;
            self.alerts.publish_or_drop(alert);
        }
        self.stepper.settle().expect("it comes to rest");
        while self.answers.take().is_some() {}
    }

    /// Plays on until `is_so`, for `seconds` at most.
    #[track_caller]
    fn until(&mut self, what: &str, seconds: u64, is_so: impl Fn(&Run) -> bool) {
        let last = Wall(self.clock.now().0 + seconds * NS_PER_SEC);
        while !is_so(self) {
            let sent = self.log.lock().expect("one thread").sent.clone();
            assert!(self.clock.now() < last, "{what} never came: {sent:#?}");
            self.step();
        }
    }

    fn for_ns(&mut self, ns: u64) {
        let last = Wall(self.clock.now().0 + ns);
        while self.clock.now() < last {
            self.step();
        }
    }

    fn stops(&self) -> Vec<u64> {
        let ids = |venue: &mut LoopbackVenue| {
            let open = venue.exchange().brackets_open(ACCOUNT);
            open.map(|row| row.id).collect()
        };
        self.shared.with(ids)
    }

    fn positions(&self) -> usize {
        self.shared
            .with(|venue| venue.exchange().positions(ACCOUNT).len())
    }

    fn refuse(&self, rule: FaultRule) {
        self.shared.with(|venue| venue.add_fault(rule));
    }

    fn refusals(&self) -> usize {
        self.log.lock().expect("one thread").refused.len()
    }

    /// One position and its stop, at a program that has read all that it reads at a start.
    fn holding() -> Run {
        let mut run = Run::begin();
        run.for_ns(30 * NS_PER_SEC);
        run.wanted = 0..1;
        run.until("a position with a stop", 60, |run| {
            run.positions() == 1 && run.stops().len() == 1
        });
        run.wanted = 0..0;
        // The stop is older than any lag.
        run.for_ns(20 * NS_PER_SEC);
        assert_eq!(run.refusals(), 0, "of itself the venue refuses nothing");
        run
    }

    fn take_the_stop(&mut self) {
        let now = self.clock.now();
        for id in self.stops() {
            let cancel =
                |venue: &mut LoopbackVenue| venue.exchange_mut().system_cancel_bracket(ACCOUNT, now, id);
            assert!(self.shared.with(cancel), "it stood");
        }
    }

    /// The venue has just refused, and the position is bare or will be in a moment: it refuses everything for
    /// some seconds, while everything else is wanted. What leaves then, and when.
    fn judge(mut self, name: &str, entries_wait_s: u64) {
        let heard = self.clock.now();
        self.refuse(FaultRule::chance(Fault::TooMany, "/api", 1_000_000));
        self.wanted = 1..INSTRUMENTS;
        self.next_alert = heard;
        self.for_ns(REFUSING_NS);
        self.shared.with(|venue| venue.clear_faults());
        let over = self.clock.now();
        let alerts_in_silence = self.requests;
        self.for_ns(2 * WINDOW_NS);
        let is_entry = |call: &Sent| call.at > heard && call.lane == Lane::Entry;
        self.until("an entry", entries_wait_s, |run| {
            run.log.lock().expect("one thread").sent.iter().any(is_entry)
        });
        self.for_ns(WINDOW_NS);

        let log = self.log.lock().expect("one thread");
        let after = || log.sent.iter().filter(|call| call.at > heard);
        let since_ms = |at: Wall| at.since(heard) / NS_PER_MS;
        let entry = after().find(|call| is_entry(call)).expect("an entry");
        let protective = after().find(|call| call.is_protective());
        println!(
            "{name}: refused until {} ms, protection after {:?} ms ({:?}), first call {:?}, first entry after {} ms",
            since_ms(over),
            protective.map(|call| since_ms(call.at)),
            protective.map(|call| &call.path),
            after().next().map(|call| (since_ms(call.at), &call.path)),
            since_ms(entry.at),
        );
        assert!(alerts_in_silence > 100, "somebody wanted in all the time");
        let early: Vec<&Sent> = after().filter(|call| call.at <= over).collect();
        assert!(early.is_empty(), "{name}: left while refused: {early:#?}");
        let protective = protective.unwrap_or_else(|| panic!("{name}: nothing protects"));
        assert!(
            protective.at.0 <= over.0 + WINDOW_NS,
            "{name}: protection {} ms after the refusals ended",
            protective.at.since(over) / NS_PER_MS
        );
        assert!(
            protective.at < entry.at,
            "{name}: an entry left {} ms before protection",
            protective.at.since(entry.at) / NS_PER_MS
        );
        for (part, window_ns, most) in LIMITS {
            let times: Vec<Wall> = log
                .sent
                .iter()
                .filter(|call| call.path.contains(part))
                .map(|call| call.at)
                .collect();
            let worst = times
                .iter()
                .enumerate()
                .map(|(at, last)| {
                    times[..=at]
                        .iter()
                        .filter(|time| last.since(**time) < window_ns)
                        .count()
                })
                .max()
                .unwrap_or(0);
            assert!(
                worst <= most,
                "{name}: {worst} calls {part} in {} s",
                window_ns / NS_PER_SEC
            );
        }
        let traffic = self.shared.with(|venue| venue.traffic());
        assert_eq!(traffic.limited, 0, "{name}: the venue's own limits");
        drop(log);
        // As many stops as positions: the one that was bare is protected again, or closed.
        assert_eq!(self.stops().len(), self.positions(), "{name}");
    }
}

#[test]
fn a_stop_that_is_refused_leaves_again_as_soon_as_the_venue_serves() {
    let mut run = Run::holding();
    run.refuse(FaultRule::once(Fault::TooMany, "/trade/order-tpsl$"));
    run.take_the_stop();
    run.until("the refusal", 10, |run| run.refusals() > 0);
    assert_eq!((run.positions(), run.stops().len()), (1, 0), "it stands bare");
    run.judge("stop", 60);
}

#[test]
fn a_read_that_is_refused_holds_a_stop_for_a_window_only() {
    let mut run = Run::holding();
    run.refuse(FaultRule::once(Fault::TooMany, "/account/positions"));
    run.until("the refusal", 120, |run| run.refusals() > 0);
    run.take_the_stop();
    assert_eq!((run.positions(), run.stops().len()), (1, 0), "it stands bare");
    // Reads rest for a minute, and entries with them.
    run.judge("read", 60);
}

#[test]
fn reads_that_are_refused_again_and_again_hold_a_stop_for_no_longer() {
    let mut run = Run::holding();
    run.refuse(FaultRule::chance(Fault::TooMany, "/api", 1_000_000));
    // Their pauses are 60, 120, 240 and now 480 s: longer than a ban, and none.
    let mut last = run.clock.now();
    for pause_s in [0, 60, 120, 240] {
        let refusals = run.refusals();
        run.until("the refusal", pause_s + 60, |run| run.refusals() > refusals);
        let rest_s = run.clock.now().since(last) / NS_PER_SEC;
        last = run.clock.now();
        assert!(rest_s >= pause_s, "{rest_s} of {pause_s} s");
        // What was out with it is answered.
        run.for_ns(NS_PER_SEC);
    }
    run.shared.with(|venue| venue.clear_faults());
    run.take_the_stop();
    assert_eq!((run.positions(), run.stops().len()), (1, 0), "it stands bare");
    run.judge("reads", 600);
}
