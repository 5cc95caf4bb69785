//! One run: the exchange, the process that lives and dies on it, and the time that both share.
//!
//! The process is the whole graph on the stepper over the in-process ports. It may be killed between
//! any two polls; what it wrote to its snapshot and to its connections stays.

use super::check::{Alive, Checker, Promised};
use super::draw::{Act, Draw, KillPoint, SETTLE_NS_MIN, Window, kind_of};
use super::life::{Birth, Life};
use super::plant::Plant;
use super::sender::Sender;
use super::story::Story;
use super::watch::{Breach, Counts, Watch};
use super::wire::{WatchHandle, look};
use crate::app::agreement;
use crate::app::graph::GraphError;
use crate::driver::DecisionClock;
use crate::exchange::amount::Amount;
use crate::exchange::{AccountId, Exchange, Generated, GeneratedOptions, Market, TwoStops};
use crate::model::client_id::instance_tag;
use crate::model::time::{NS_PER_MS, NS_PER_SEC};
use crate::model::{Instruments, Wall};
use crate::settings::{PositionMode, Settings};
use crate::stage::gate::core_status::Status;
use crate::stage::gate::{ControlWord, control};
use crate::sys::clock;
use crate::venue::loopback::{Credential, Fault, FaultRule, LoopbackOptions, LoopbackVenue, SharedVenue};
use crate::venue::seam::Endpoint;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

pub(super) const KEY: &str = "simulated-key";
pub(super) const SECRET: &str = "simulated-secret";
pub(super) const PASSPHRASE: &str = "simulated-passphrase";
pub(super) const HOST: &str = "exchange";
const BALANCE: i64 = 10_000;
/// Two steps are at least this far apart.
const STEP_NS: u64 = NS_PER_MS;
/// At rest for so long the run is over.
const QUIET_NS: u64 = 5 * NS_PER_SEC;

/// Why a run could not be made; never what it found.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    #[error("the settings of the run: {0}")]
    Settings(String),
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error("the directory of the run: {0}")]
    Directory(std::io::Error),
}

/// How a run ended.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub seed: u64,
    /// The same in every run of this seed on this program.
    pub hash: String,
    pub calm: bool,
    pub counts: Counts,
    pub virtual_seconds: f64,
    /// The longest time that a position stood without a stop, as the exchange saw it, in ms.
    pub unprotected_ms_max: i64,
    pub open_at_end: u64,
    /// Most trading calls of the account in 10 s, counted where they arrive.
    pub venue_trade_calls_10s_max: u64,
    pub breach: Option<Breach>,
    /// The step and the virtual second of the breach.
    pub breach_step: u64,
    pub breach_second: f64,
}

/// One run.
pub struct World {
    draw: Draw,
    plant: Option<Plant>,
    settings: Settings,
    shared: SharedVenue,
    account: AccountId,
    instruments: Arc<Instruments>,
    clock: DecisionClock,
    watch: WatchHandle,
    checker: Checker,
    sender: Sender,
    life: Option<Life>,
    epoch: u32,
    next_act: usize,
    armed: Option<(KillPoint, u64)>,
    /// When a dead process is started again.
    rise_at: Option<Wall>,
    windows: Vec<Window>,
    settling: bool,
    /// At rest since then.
    quiet_since: Option<Wall>,
    unquiet: Vec<String>,
    intents: PathBuf,
    status: Box<Status>,
}

impl World {
    /// The run of `draw` with its files under `directory`; told while it happens when `is_told`.
    pub fn new(
        draw: Draw,
        plant: Option<Plant>,
        directory: &Path,
        is_told: bool,
    ) -> Result<Self, WorldError> {
        clock::set_stepped_ns(draw.start.0);
        let settings = Settings::research(None, &draw.set, directory)
            .map_err(|error| WorldError::Settings(error.to_string()))?;
        let market = Generated::new(GeneratedOptions {
            seed: draw.seed,
            instruments: draw.instruments,
            start: draw.start,
            step_ms: draw.step_ms,
        });
        let market = market.louder(draw.loudness);
        let exchange = Exchange::new(draw.exchange, Market::Generated(Box::new(market)));
        // The exchange lists more than the process follows.
        let mut instruments = Instruments::new();
        for (_, row) in exchange.instruments().iter().take(draw.instruments) {
            instruments.insert(*row);
        }
        let options = LoopbackOptions {
            seed: draw.seed,
            rejects_as_rows: draw.rejects_as_rows,
            ..LoopbackOptions::default()
        };
        let mut venue = LoopbackVenue::new(exchange, options);
        let account = venue.add_account(Credential::new(KEY, SECRET, PASSPHRASE), Amount::from(BALANCE));
        let intents = directory.join("gate.snapshot");
        let story = Story::new(draw.start, is_told);
        let promised = Promised {
            positions_max: settings.trade.trade_max_positions as usize,
            exposure_usd_max: settings.trade.trade_max_exposure_usd,
            no_gap: draw.exchange.two_stops == TwoStops::Allow,
        };
        let tag = instance_tag(&settings.daemon.instance);
        let latency = draw.latency;
        let count = u16::try_from(instruments.len()).unwrap_or(u16::MAX);
        let mut world = World {
            plant,
            shared: SharedVenue::new(venue, latency, draw.seed),
            account,
            instruments: Arc::new(instruments),
            clock: DecisionClock::stepped(draw.start),
            watch: Arc::new(Mutex::new(Watch::new(story, intents.clone(), KEY, HOST))),
            checker: Checker::new(account, tag, promised, draw.start),
            sender: Sender::new(draw.seed, draw.alert_every_ms, count, draw.start),
            life: None,
            epoch: 0,
            next_act: 0,
            armed: None,
            rise_at: None,
            windows: Vec::new(),
            settling: false,
            quiet_since: None,
            unquiet: Vec::new(),
            intents,
            status: Box::default(),
            settings,
            draw,
        };
        let mode = world.settings.trade.trading_position_mode;
        if mode == PositionMode::LongShort {
            let set = |venue: &mut LoopbackVenue| {
                venue
                    .exchange_mut()
                    .set_position_mode(account, crate::model::PositionMode::LongShort)
            };
            // An account without positions takes any mode.
            let _ = world.shared.with(set);
        }
        world.rules();
        world.rise()?;
        Ok(world)
    }

    /// Plays the run to its end, or to its first breach.
    pub fn run(mut self) -> Result<Outcome, WorldError> {
        while look(&self.watch).breach.is_none() && !self.is_at_rest() {
            let now = self.clock.now();
            let Some(next) = self.next_time(now).filter(|next| *next <= self.draw.end) else {
                break;
            };
            self.clock.advance_to(next);
            clock::set_stepped_ns(next.0);
            {
                let mut watch = look(&self.watch);
                watch.now = next;
                watch.story.at(next);
                watch.counts.steps += 1;
            }
            self.shared.advance(next);
            self.act(next)?;
            self.alert(next);
            self.poll(next);
            self.check(next);
        }
        Ok(self.end())
    }

    fn is_at_rest(&self) -> bool {
        let now = self.clock.now();
        let played = now.0 >= self.draw.settle.0 + SETTLE_NS_MIN;
        played && self.quiet_since.is_some_and(|since| now.since(since) >= QUIET_NS)
    }

    fn next_time(&mut self, now: Wall) -> Option<Wall> {
        let soonest = Wall(now.0 + STEP_NS);
        let act = self.draw.schedule.get(self.next_act).map(|(time, _)| *time);
        let settle = (!self.settling).then_some(self.draw.settle);
        let timer = self.life.as_ref().and_then(|life| life.stepper.next_timer());
        let venue = self.shared.next_event();
        let alert = (!self.settling).then_some(self.sender.next_at());
        [act, settle, timer, venue, alert, self.rise_at]
            .into_iter()
            .flatten()
            .map(|time| time.max(soonest))
            .min()
    }

    fn act(&mut self, now: Wall) -> Result<(), WorldError> {
        while let Some((_, act)) = self
            .draw
            .schedule
            .get(self.next_act)
            .copied()
            .filter(|(time, _)| *time <= now)
        {
            self.next_act += 1;
            self.do_act(act, now);
        }
        if !self.settling && now >= self.draw.settle {
            self.settle(now);
        }
        if self.rise_at.is_some_and(|at| now >= at) {
            self.rise_at = None;
            self.rise()?;
        }
        Ok(())
    }

    fn do_act(&mut self, act: Act, now: Wall) {
        {
            let mut watch = look(&self.watch);
            watch.story.note("world", format_args!("{act:?}"));
            if !matches!(act, Act::End(_)) {
                watch.count_fault(act.name());
            }
        }
        match act {
            Act::Kill { when, down_ns } => self.armed = Some((when, down_ns)),
            Act::CutPublic => self.cut(Endpoint::Public),
            Act::CutPrivate => self.cut(Endpoint::Private),
            Act::Begin(window) => {
                self.windows.push(window);
                if window == Window::Outage {
                    self.cut(Endpoint::Public);
                    self.cut(Endpoint::Private);
                }
                self.rules();
            }
            Act::End(window) => {
                self.windows.retain(|other| *other != window);
                self.rules();
            }
            Act::CancelStop { pick } => self.cancel_stop(pick, now),
            Act::CloseByHand { pick } => self.close_by_hand(pick, now),
        }
    }

    fn cut(&mut self, endpoint: Endpoint) {
        self.shared.with(|venue| venue.cut_sessions(endpoint));
    }

    fn cancel_stop(&mut self, pick: u32, now: Wall) {
        let account = self.account;
        let gone = self.shared.with(|venue| {
            let exchange = venue.exchange();
            let rows: Vec<_> = exchange
                .brackets_open(account)
                .map(|row| (row.id, row.instrument))
                .collect();
            let (id, instrument) = rows.get(pick as usize % rows.len().max(1)).copied()?;
            venue.exchange_mut().system_cancel_bracket(account, now, id);
            Some(instrument)
        });
        if let Some(instrument) = gone {
            self.checker.on_stop_taken(instrument);
        }
    }

    fn close_by_hand(&mut self, pick: u32, now: Wall) {
        let account = self.account;
        self.shared.with(|venue| {
            let rows = venue.exchange().positions(account);
            if let Some(row) = rows.get(pick as usize % rows.len().max(1)) {
                let (instrument, mode, side) = (row.instrument, row.margin_mode, row.position_side);
                // Refused when nothing is left to close; then nothing is done.
                let _ = venue.exchange_mut().close_position(
                    account,
                    now,
                    instrument,
                    mode,
                    side,
                    Default::default(),
                );
            }
        });
    }

    /// Puts the rules in force that belong to the open windows.
    fn rules(&mut self) {
        let mut rules: Vec<FaultRule> = Vec::new();
        let mut lag_ns = 0;
        for window in &self.windows {
            match window {
                Window::Outage => {
                    rules.push(FaultRule::chance(Fault::Unreachable, "", 1_000_000));
                }
                Window::Suspended => rules.push(FaultRule::chance(Fault::TooMany, "/api", 1_000_000)),
                Window::Forbidden => rules.push(FaultRule::chance(Fault::Forbidden, "/api", 1_000_000)),
                Window::Lag { ns } => lag_ns = lag_ns.max(*ns),
            }
        }
        if !self.settings.trade.enable_private_ws {
            self.checker.unheard_ns = self.checker.unheard_ns.max(lag_ns);
        }
        if !self.settling {
            rules.extend(self.draw.rules.iter().cloned());
        }
        self.shared.with(|venue| {
            venue.clear_faults();
            for rule in rules {
                venue.add_fault(rule);
            }
            venue.set_query_lag(lag_ns);
        });
    }

    /// Nothing goes wrong from now on, and no entry leaves.
    fn settle(&mut self, now: Wall) {
        self.settling = true;
        self.windows.clear();
        self.armed = None;
        self.rules();
        if self.life.is_none() {
            self.rise_at = Some(now);
        }
        if let Some(life) = &self.life {
            life.control.fetch_or(control::HALT, Ordering::AcqRel);
        }
        look(&self.watch)
            .story
            .note("world", format_args!("no more faults; entries off"));
    }

    /// Starts a process.
    fn rise(&mut self) -> Result<(), WorldError> {
        self.epoch += 1;
        let control = ControlWord::default();
        if self.settling {
            control.store(control::HALT, Ordering::Release);
        }
        let life = Life::begin(Birth {
            draw: &self.draw,
            plant: self.plant,
            settings: &self.settings,
            shared: &self.shared,
            instruments: &self.instruments,
            clock: &self.clock,
            watch: &self.watch,
            intents: &self.intents,
            epoch: self.epoch,
            control,
        })?;
        {
            let mut watch = look(&self.watch);
            watch.begin_life(&life.bus).map_err(GraphError::Bus)?;
            let epoch = self.epoch;
            watch.story.note("world", format_args!("process {epoch} begins"));
        }
        self.checker.reachable_since = self.clock.now();
        self.life = Some(life);
        Ok(())
    }

    /// Somebody outside wants in.
    fn alert(&mut self, now: Wall) {
        if self.settling {
            return;
        }
        let to = self.life.as_mut().map(|life| &mut life.alerts);
        if let Some(alert) = self.sender.send(to, now) {
            look(&self.watch).on_alert(&alert);
        }
    }

    /// Lets the process do what there is to do now, and kills it where that was planned.
    fn poll(&mut self, now: Wall) {
        let Some(life) = self.life.as_mut() else {
            return;
        };
        let watch = &self.watch;
        {
            let mut watch = look(watch);
            (watch.call_left, watch.intent_made) = (false, false);
        }
        let mut polls = 0;
        let armed = self.armed;
        let ended = life.stepper.settle_until(|| {
            polls += 1;
            match armed {
                None => false,
                Some((KillPoint::Polls(count), _)) => polls > count,
                Some((KillPoint::Call, _)) => look(watch).call_left,
                Some((KillPoint::Intent, _)) => {
                    let mut watch = look(watch);
                    watch.listen();
                    watch.intent_made
                }
            }
        });
        match (ended, armed) {
            (Ok(true), Some((_, down_ns))) => {
                let mut watch = look(&self.watch);
                watch
                    .story
                    .note("world", format_args!("the process is killed after {polls} polls"));
                watch.end_life(&life.bus);
                drop(watch);
                self.armed = None;
                self.life = None;
                self.rise_at = Some(Wall(now.0 + down_ns));
            }
            (Ok(_), Some((KillPoint::Polls(count), down_ns))) => {
                // This instant had fewer: the rest are taken from the next.
                let left = count.saturating_sub(polls);
                self.armed = Some((KillPoint::Polls(left), down_ns));
            }
            (Ok(_), _) => {}
            (Err(livelock), _) => look(&self.watch).broken("bug", livelock.to_string()),
        }
        if let Some(life) = self.life.as_mut() {
            while let Some(answer) = life.answers.take() {
                look(&self.watch).on_answer(&answer);
            }
        }
    }

    fn check(&mut self, now: Wall) {
        let mut watch = look(&self.watch);
        watch.listen();
        for (fault, name) in self.shared.with(|venue| venue.take_fault_log()) {
            let kind = kind_of(fault);
            watch.count_fault(kind);
            watch.story.note("fault", format_args!("{fault:?} {name}"));
        }
        let is_cut_off = self
            .windows
            .iter()
            .any(|window| !matches!(window, Window::Lag { .. }));
        if is_cut_off {
            self.checker.reachable_since = now;
        }
        let (checker, status) = (&mut self.checker, self.status.as_mut());
        let settling = self.settling;
        let account = self.account;
        let (mut quiet, mut unquiet) = (false, Vec::new());
        match &self.life {
            None => {
                checker.reachable_since = now;
                self.shared.with(|venue| checker.step(venue, None, &mut watch));
            }
            Some(life) => {
                let mut stage = life.gate.lock();
                stage.status(now, status);
                let gate = stage.core();
                let alive = Alive { gate, status };
                self.shared.with(|venue| {
                    checker.step(venue, Some(&alive), &mut watch);
                    if settling {
                        unquiet = agreement::differences(venue.exchange(), account, gate);
                        quiet = unquiet.is_empty();
                    }
                });
            }
        }
        if quiet {
            self.quiet_since.get_or_insert(now);
        } else if settling {
            self.quiet_since = None;
            self.unquiet = unquiet;
        }
    }

    fn end(self) -> Outcome {
        let mut watch = look(&self.watch);
        if let Some(life) = &self.life {
            watch.end_life(&life.bus);
        }
        let now = self.clock.now();
        let report = self.shared.with(|venue| venue.exchange().report());
        let is_quiet = self.quiet_since.is_some();
        if !is_quiet {
            let text = match &self.life {
                None => "the process is not running at the end".to_owned(),
                Some(_) => self.unquiet.join("; "),
            };
            watch.broken("end", text);
        }
        if self.draw.is_calm() && report.unprotected_ms_max > 1_500 {
            let text = format!(
                "{} ms without a stop on a sound network",
                report.unprotected_ms_max
            );
            watch.broken("I4", text);
        }
        let since = |at: Wall| at.since(self.draw.start) as f64 / 1e9;
        Outcome {
            seed: self.draw.seed,
            hash: watch.story.hash(),
            calm: self.draw.is_calm(),
            counts: watch.counts.clone(),
            virtual_seconds: since(now),
            unprotected_ms_max: report.unprotected_ms_max,
            open_at_end: report.open_positions,
            venue_trade_calls_10s_max: self.shared.with(|venue| venue.traffic().trade_calls_10s_max),
            breach: watch.breach.clone(),
            breach_step: watch.counts.steps,
            breach_second: since(now),
        }
    }
}
