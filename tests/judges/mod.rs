//! `indicate` and `score` as the graph builds them, on the stepper, fed with ticks that a test makes:
//! generated candles, recorded ones, books and trades. Nothing in it is a copy of a decision.

#![allow(dead_code)] // Each test file uses its part.

pub mod candles;

use smart_scanner::app::graph::{self, GraphError, Learned, Plan};
use smart_scanner::app::taping::Taping;
use smart_scanner::bus::{Bus, Record};
use smart_scanner::driver::{DecisionClock, Inlet, Outlet, Seat, Stepper};
use smart_scanner::model::message::{Signal, SignalLabel, Tick, tick_flag};
use smart_scanner::model::*;
use smart_scanner::settings::{LoadOptions, Settings};
use smart_scanner::stage::decode::CandleSource;
use smart_scanner::stage::housekeep::SeenHandle;
use smart_scanner::sys::clock::Stamp;
use smart_scanner::topology::LinkId;
use smart_scanner::venue::blofin::sign;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;

pub const MINUTE_MS: i64 = 60_000;
/// How long after its close a candle reaches us.
const LATE_MS: i64 = 250;

/// Settings as a user has them, with `set` on top.
pub fn settings(set: &[&str]) -> Settings {
    let directory = tempfile::tempdir().expect("a folder");
    let options = LoadOptions {
        set: set.iter().map(|text| text.to_string()).collect(),
        ..LoadOptions::default()
    };
    let nothing: Vec<(OsString, OsString)> = Vec::new();
    Settings::from_sources(&options, nothing.into_iter(), directory.path())
        .unwrap_or_else(|error| panic!("{set:?}: {error}"))
}

/// Instruments of one contract value, in the order of their symbols here.
pub fn instruments(symbols: &[&str], contract_value: &str) -> Arc<Instruments> {
    let decimal = |text: &str| Decimal::parse(text.as_bytes()).expect("a decimal");
    let mut all = Instruments::new();
    for symbol in symbols {
        let instrument = Instrument {
            symbol: Symbol::parse(symbol).expect("a symbol"),
            tick_size: decimal("0.000001"),
            lot_size: decimal("0.1"),
            contract_value: decimal(contract_value),
            min_lots: Lots(1),
            max_limit_lots: Lots(1_000_000),
            max_market_lots: Lots(100_000),
            max_leverage: 100,
            live: true,
            list_ms: 0,
        };
        all.insert(instrument).expect("room for an instrument");
    }
    Arc::new(all)
}

/// A closed candle as it comes from the venue.
pub fn candle_tick(instrument: usize, timeframe: Timeframe, candle: &Candle) -> Tick {
    let id = InstrumentId(instrument as u16);
    let mut tick = Tick::of_candle(id, timeframe, candle, tick_flag::CONFIRMED);
    tick.header.time_ns = Wall::from_ms(candle.open_ms + timeframe.ms() + LATE_MS).0;
    tick
}

/// The 1m candles of several instruments as one stream: minute by minute, instrument by instrument.
pub fn stream(series: &[Vec<Candle>]) -> Vec<Tick> {
    let mut ticks: Vec<Tick> = series
        .iter()
        .enumerate()
        .flat_map(|(instrument, candles)| {
            candles
                .iter()
                .map(move |candle| candle_tick(instrument, Timeframe::M1, candle))
        })
        .collect();
    ticks.sort_by_key(|tick| tick.header.time_ns);
    ticks
}

/// What the stages said.
#[derive(Default)]
pub struct Said {
    pub signals: Vec<Signal>,
    pub labels: Vec<SignalLabel>,
    /// Near misses, with their reasons.
    pub refusals: Vec<Signal>,
    /// How many candidates were refused, by reason.
    pub reasons: BTreeMap<&'static str, u64>,
}

/// The run that a test describes.
pub struct Judges<'a> {
    pub settings: &'a Settings,
    pub instruments: Arc<Instruments>,
    pub learned: Learned,
}

impl<'a> Judges<'a> {
    pub fn new(settings: &'a Settings, symbols: &[&str]) -> Self {
        Judges {
            settings,
            instruments: instruments(symbols, "0.01"),
            learned: Learned::default(),
        }
    }

    /// Lets the stages judge `ticks`, each at its own time.
    pub fn judge(&self, ticks: &[Tick]) -> Said {
        let mut said = Said::default();
        let mut court = Court::open(self, ticks.first());
        for tick in ticks {
            court.take(tick);
            court.drain(&mut said);
        }
        said.reasons = court.reasons();
        said
    }

    /// The feature rows that the ticks cause.
    pub fn rows(&self, ticks: &[Tick]) -> Vec<FeatureRow> {
        let mut desk = Desk::open(self, ticks.first(), graph::build_indicators);
        let mut rows = inlet::<FeatureRow>(&desk.bus, LinkId::IndicateScore);
        let mut found = Vec::new();
        for tick in ticks {
            desk.take(std::slice::from_ref(tick));
            found.extend(std::iter::from_fn(|| rows.take()));
        }
        found
    }

    fn plan(&self, start: Wall) -> Plan<'_> {
        Plan {
            settings: self.settings,
            instruments: Arc::clone(&self.instruments),
            ranking: self.instruments.iter().map(|(id, _)| id).collect(),
            credentials: sign::Credentials {
                key: "key".to_string(),
                secret: "secret".to_string(),
                passphrase: "pass".to_string(),
            },
            host: "none".to_string(),
            epoch: 1,
            seed: 1,
            table: None,
            taping: Taping::Off,
            metrics_path: None,
            seen: SeenHandle::default(),
            control: Arc::default(),
            tick_digest: None,
            source: CandleSource::Socket,
            paper: None,
            intents: None,
            start,
            scan: true,
            alerts: None,
            learned: self.learned.clone(),
            outside: Default::default(),
        }
    }
}

/// Stages on the stepper, and the end that feeds them.
pub struct Desk {
    pub bus: Bus,
    stepper: Stepper,
    feed: Outlet<Tick>,
    clock: DecisionClock,
}

type Build = fn(&Bus, &Plan<'_>) -> Result<Vec<Seat>, GraphError>;

impl Desk {
    fn open(judges: &Judges<'_>, first: Option<&Tick>, build: Build) -> Desk {
        let stamp = Stamp::process();
        let bus = graph::plan_bus("judges", stamp).heap().expect("a bus");
        let start = first.map_or(Wall(0), |tick| Wall(tick.header.time_ns));
        let seats = build(&bus, &judges.plan(start)).expect("a graph");
        let producer = bus.producer(LinkId::DecodeIndicate.link().name);
        let clock = DecisionClock::stepped(start);
        Desk {
            stepper: Stepper::new(seats, clock.clone()),
            feed: Outlet::new(producer.expect("an end"), stamp),
            clock,
            bus,
        }
    }

    /// Lets time pass up to `until`, with the timers that become due.
    pub fn wait(&mut self, until: Wall) {
        while let Some(due) = self.stepper.next_timer().filter(|due| *due <= until) {
            self.clock.advance_to(due);
            self.stepper.settle().expect("it comes to rest");
        }
        self.clock.advance_to(until);
    }

    /// Ticks of one instant, and everything they cause.
    pub fn take(&mut self, ticks: &[Tick]) {
        for tick in ticks {
            self.clock.advance_to(Wall(tick.header.time_ns));
            self.feed
                .publish(*tick)
                .expect("the ring has room for an instant");
        }
        self.stepper.settle().expect("it comes to rest");
    }
}

/// `indicate` and `score`, and the ends on which they say what they think.
pub struct Court {
    desk: Desk,
    signals: Inlet<Signal>,
    copies: Inlet<Signal>,
    labels: Inlet<SignalLabel>,
    refusals: Inlet<Signal>,
}

impl Court {
    pub fn open(judges: &Judges<'_>, first: Option<&Tick>) -> Court {
        let desk = Desk::open(judges, first, graph::build_judges);
        Court {
            signals: inlet(&desk.bus, LinkId::ScoreGate),
            copies: inlet(&desk.bus, LinkId::ScoreHousekeep),
            labels: inlet(&desk.bus, LinkId::ScoreLabels),
            refusals: inlet(&desk.bus, LinkId::ScoreRefusals),
            desk,
        }
    }

    pub fn take(&mut self, tick: &Tick) {
        self.desk.take(std::slice::from_ref(tick));
    }

    /// Ticks that arrive together.
    pub fn take_all(&mut self, ticks: &[Tick]) {
        self.desk.take(ticks);
    }

    /// Lets time pass, as between two closes.
    pub fn wait(&mut self, until: Wall) {
        self.desk.wait(until);
    }

    /// Adds what was said since the last call.
    pub fn drain(&mut self, said: &mut Said) {
        while self.copies.take().is_some() {}
        said.signals.extend(std::iter::from_fn(|| self.signals.take()));
        said.labels.extend(std::iter::from_fn(|| self.labels.take()));
        said.refusals.extend(std::iter::from_fn(|| self.refusals.take()));
    }

    /// One counter of the stages.
    pub fn counter(&self, name: &str) -> u64 {
        let counters = self.desk.bus.counters().expect("counters");
        let counter = counters.into_iter().find(|counter| counter.name == name);
        counter.expect("planned").value
    }

    /// Refused candidates so far, by reason.
    pub fn reasons(&self) -> BTreeMap<&'static str, u64> {
        let counters = self.desk.bus.counters().expect("counters");
        let count = |reason: &Reason| {
            let name = format!("score_{}", reason.text());
            let counter = counters.iter().find(|counter| counter.name == name);
            (reason.text(), counter.expect("planned").value)
        };
        Reason::ALL
            .iter()
            .map(count)
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

fn inlet<T: Record>(bus: &Bus, link: LinkId) -> Inlet<T> {
    Inlet::new(bus.consumer(link.link().name).expect("an end"))
}

/// When the candle of a signal or row closed, Unix ms.
pub fn close_ms(open_ms: i64, timeframe: u8) -> i64 {
    open_ms + Timeframe::from_code(timeframe).expect("a timeframe").ms()
}
