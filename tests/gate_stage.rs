//! The stage `gate` over its rings: what it writes down, and what its links bring it.

mod scene;
#[allow(dead_code)]
mod whole_graph;

use bytemuck::Zeroable;
use scene::{BTC, START_MS, Scene};
use smart_scanner::app::graph;
use smart_scanner::driver::{Inlet, Outlet, Progress, Stage};
use smart_scanner::model::message::*;
use smart_scanner::model::*;
use smart_scanner::settings::Settings;
use smart_scanner::stage::gate::core_status::Status;
use smart_scanner::stage::gate::{ControlWord, GateStage, control};
use smart_scanner::stage::housekeep::SeenHandle;
use smart_scanner::sys::clock::Stamp;
use smart_scanner::topology::LinkId;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const ETH: InstrumentId = InstrumentId(1);

/// One process: the stage, the far ends of its rings, and a venue that answers every list.
struct Run {
    gate: GateStage,
    /// The words for what the venue says; its own gate is asked nothing.
    words: Scene,
    control: ControlWord,
    ticks: Outlet<Tick>,
    tapes: Outlet<IndicatorUpdate>,
    signals: Outlet<Signal>,
    alerts: Outlet<Alert>,
    pushes: Outlet<AccountEvent>,
    pages: Outlet<AccountEvent>,
    replies: Outlet<SendReply>,
    commands_in: Inlet<OrderCommand>,
    fetches_in: Inlet<FetchRequest>,
    events_in: Inlet<GateEvent>,
    outcomes_in: Inlet<TradeOutcome>,
    answers_in: Inlet<AlertAnswer>,
    commands: Vec<OrderCommand>,
    events: Vec<GateEvent>,
    outcomes: Vec<TradeOutcome>,
    listed: Vec<AccountEvent>,
}

fn settings(folder: &Path, set: &[&str]) -> Settings {
    let base = [
        "TPSL_MODE=bps",
        "SL_BPS=50",
        "TP_BPS=80",
        "ENABLE_TRAILING=0",
        "TRADE_COOLDOWN_SEC=0",
        "TRADE_NOTIONAL_USD=50",
        "EV_MIN_R=-1",
        "COST_R_MAX=1",
        "TRADING_LEVERAGE=3",
        "MIN_INITIAL_MARGIN_USD=0",
    ];
    let set: Vec<String> = base.iter().chain(set).map(|line| line.to_string()).collect();
    Settings::research(None, &set, folder).expect("settings")
}

impl Run {
    /// The process number `epoch` at `now`, over what the one before left in `folder`.
    fn start(folder: &Path, set: &[&str], epoch: u32, now: Wall) -> Run {
        let mut base = whole_graph::Scene::generated(1, 1, Wall::from_ms(START_MS), folder);
        base.settings = settings(folder, set);
        let mut instruments = Instruments::new();
        for symbol in ["BTC-USDT", "ETH-USDT"] {
            instruments.insert(scene::instrument(symbol));
        }
        let control = ControlWord::default();
        let mut plan = base.plan(SeenHandle::default());
        plan.instruments = Arc::new(instruments);
        plan.ranking = vec![BTC, ETH];
        plan.epoch = epoch;
        plan.intents = Some(folder.join("gate.snapshot"));
        plan.start = now;
        plan.control = Arc::clone(&control);
        plan.alerts = Some(crossbeam::channel::unbounded().1);
        let bus = graph::plan_bus("gate-stage", Stamp::process())
            .heap()
            .expect("a bus");
        let gate = graph::build_gate(&bus, &plan).expect("a gate");
        let stamp = bus.stamp();
        let name = |link: LinkId| link.link().name;
        let mut words = Scene::unsynced(scene::params());
        words.now = now;
        let mut run = Run {
            gate,
            words,
            control,
            ticks: Outlet::new(bus.producer(name(LinkId::DecodeGate)).expect("free"), stamp),
            tapes: Outlet::new(bus.producer(name(LinkId::IndicateGate)).expect("free"), stamp),
            signals: Outlet::new(bus.producer(name(LinkId::ScoreGate)).expect("free"), stamp),
            alerts: Outlet::new(bus.producer(name(LinkId::WebhookGate)).expect("free"), stamp),
            pushes: Outlet::new(bus.producer(name(LinkId::AccountGate)).expect("free"), stamp),
            pages: Outlet::new(bus.producer(name(LinkId::FetchGate)).expect("free"), stamp),
            replies: Outlet::new(bus.producer(name(LinkId::SendGate)).expect("free"), stamp),
            commands_in: Inlet::new(bus.consumer(name(LinkId::GateSend)).expect("free")),
            fetches_in: Inlet::new(bus.consumer(name(LinkId::GateFetch)).expect("free")),
            events_in: Inlet::new(bus.consumer(name(LinkId::GateHousekeep)).expect("free")),
            outcomes_in: Inlet::new(bus.consumer(name(LinkId::GateScore)).expect("free")),
            answers_in: Inlet::new(bus.consumer(name(LinkId::GateWebhook)).expect("free")),
            commands: Vec::new(),
            events: Vec::new(),
            outcomes: Vec::new(),
            listed: Vec::new(),
        };
        run.sync();
        run
    }

    /// The private socket comes up, the lists are read, and every leverage is as it should be.
    fn sync(&mut self) {
        let up = self.words.fact(AccountKind::SocketUp);
        self.push(up);
        let mut balance = self.words.fact(AccountKind::Balance);
        (balance.equity, balance.available) = (1_000.0, 1_000.0);
        self.push(balance);
        self.run_ms(10);
        let mut config = self.words.fact(AccountKind::Config);
        let gate = self.gate.core();
        assert!(gate.entries_enabled(), "{:?}", gate.entries_off_reason());
        config.margin_mode = MarginMode::Cross as u8;
        config.leverage = 3;
        for instrument in [BTC, ETH] {
            config.instrument = instrument.0;
            self.push(config);
        }
    }

    fn push(&mut self, fact: AccountEvent) {
        self.pushes.publish_or_drop(fact);
        self.settle();
    }

    /// Polls until the stage has nothing to do and every list that it asked for is answered.
    fn settle(&mut self) {
        loop {
            while self.gate.poll(self.words.now) == Progress::Busy {}
            self.commands
                .extend(std::iter::from_fn(|| self.commands_in.take()));
            self.events.extend(std::iter::from_fn(|| self.events_in.take()));
            self.outcomes
                .extend(std::iter::from_fn(|| self.outcomes_in.take()));
            let Some(request) = self.fetches_in.take() else {
                return;
            };
            for mut row in self.listed.clone() {
                if row.list == request.list {
                    row.token = request.token;
                    self.pages.publish_or_drop(row);
                }
            }
            let mut end = self.words.fact(AccountKind::ListComplete);
            (end.token, end.list) = (request.token, request.list);
            self.pages.publish_or_drop(end);
        }
    }

    fn run_ms(&mut self, ms: i64) {
        let target = Wall::from_ms(self.words.now.ms() + ms);
        while let Some(at) = self.gate.next_timer().filter(|at| *at <= target) {
            self.words.now = self.words.now.max(at);
            self.settle();
        }
        self.words.now = target;
    }

    fn quote(&mut self, instrument: InstrumentId) {
        let mut tick = Tick::new(TickKind::Quote, instrument, self.words.now.ms());
        (tick.v[0], tick.v[1], tick.v[4]) = (60_000.0, 60_000.1, 60_000.0);
        self.ticks.publish_or_drop(tick);
        self.settle();
    }

    /// A signal to buy at a fresh quote.
    fn signal(&mut self, instrument: InstrumentId) {
        self.quote(instrument);
        let signal = self.words.make_signal(instrument, Side::Buy);
        self.signals.publish_or_drop(signal);
        self.settle();
    }

    /// An alert to buy at a fresh quote: the decision and the reason for a refusal.
    fn alert(&mut self, request: u64) -> (u8, Option<Reason>) {
        self.quote(BTC);
        let mut alert = Alert::zeroed();
        (alert.request, alert.instrument, alert.side) = (request, BTC.0, Side::Buy as u8);
        (alert.score, alert.probability, alert.timeframe) = (5.0, 0.9, 255);
        alert.id_hash = [request, 1];
        self.alerts.publish_or_drop(alert);
        self.settle();
        let answer = self.answers_in.take().expect("an answer");
        (answer.decision, Reason::from_code(answer.reason))
    }

    /// Enters BTC; the order is filled whole and its bracket stands. Returns the entry and the bracket.
    fn enter(&mut self) -> (OrderCommand, AccountEvent) {
        self.signal(BTC);
        let entry = *self.commands.last().expect("an entry");
        assert_eq!(entry.kind, CommandKind::Place as u8);
        let mut reply = SendReply::zeroed();
        (reply.call, reply.kind, reply.outcome) = (entry.call, entry.kind, Outcome::Accepted as u8);
        (reply.venue_id, reply.client_id) = (77, entry.client_id);
        reply.signed_ns = self.words.now.0;
        self.replies.publish_or_drop(reply);
        self.settle();
        let lots = entry.size_lots;
        let filled = self.words.order(&entry, 77, OrderState::Filled, lots, 60_000.1);
        self.push(filled);
        let (sl, tp) = (entry.sl_ticks, entry.tp_ticks);
        let mut bracket = self
            .words
            .bracket(900, Side::Sell, lots, sl, tp, OrderState::Live);
        self.push(bracket);
        let mut held = self.words.fact(AccountKind::Position);
        (held.size_lots, held.average_price, held.mark_price) = (lots, 60_000.1, 60_000.0);
        self.position(Some(held));
        held.list = ListKind::Positions as u8;
        bracket.list = ListKind::BracketsPending as u8;
        self.listed = vec![held, bracket];
        (entry, bracket)
    }

    fn position(&mut self, held: Option<AccountEvent>) {
        if let Some(held) = held {
            self.push(held);
        }
        let end = self.words.fact(AccountKind::PositionsComplete);
        self.push(end);
    }

    /// The stop fires: 24 cents and two fees are lost.
    fn stop_out(&mut self, entry: &OrderCommand, bracket: &AccountEvent) {
        let mut gone = *bracket;
        (gone.state, gone.detail) = (OrderState::Effective as u8, 2);
        gone.update_ms = self.words.now.ms();
        self.push(gone);
        let fill = self.words.foreign_order(Side::Sell, entry.size_lots, 59_700.1, 2);
        self.push(fill);
        let mut told = fill;
        told.list = ListKind::OrdersHistory as u8;
        self.listed = vec![told];
        self.position(None);
        self.run_ms(5_000);
    }

    fn closed(&self) -> Vec<GateEvent> {
        let is_close = |event: &&GateEvent| event.kind == GateEventKind::TradeClosed as u8;
        self.events.iter().filter(is_close).copied().collect()
    }

    fn status(&mut self) -> Status {
        let mut status = Status::default();
        self.gate.status(self.words.now, &mut status);
        status
    }

    fn refusals(&self, reason: Reason) -> u64 {
        self.gate.core().counters().refusals[reason.index()]
    }
}

/// Nothing but the close itself came between it and the kill.
#[test]
fn a_trade_that_is_accounted_for_is_not_accounted_for_again_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let set = ["DAILY_LOSS_LIMIT_USD=0.25"];
    let mut run = Run::start(folder.path(), &set, 1, Wall::from_ms(START_MS));
    let (entry, bracket) = run.enter();
    run.stop_out(&entry, &bracket);
    let closed = run.closed();
    assert_eq!((closed.len(), run.outcomes.len()), (1, 1));
    let lost = run.status().realised_today_usd;
    assert!((lost - closed[0].pnl).abs() < 1e-9 && lost < -0.25, "{lost}");
    run.signal(ETH);
    assert_eq!(run.refusals(Reason::DailyLoss), 1);
    let (now, listed) = (run.words.now, std::mem::take(&mut run.listed));
    drop(run);
    let mut run = Run::start(folder.path(), &set, 2, now);
    run.listed = listed;
    run.run_ms(200_000);
    assert_eq!((run.closed().len(), run.outcomes.len()), (0, 0), "told once");
    assert_eq!(run.status().realised_today_usd, lost, "booked once");
    run.signal(ETH);
    assert_eq!(run.refusals(Reason::DailyLoss), 1, "and not forgotten");
    assert!(run.commands.is_empty());
}

#[test]
fn an_orderly_stop_leaves_the_state_as_it_is_and_not_as_it_was_at_the_last_order() {
    for is_end in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut run = Run::start(folder.path(), &[], 1, Wall::from_ms(START_MS));
        run.enter();
        assert_eq!(run.status().positions.len(), 1);
        if is_end {
            assert!(run.gate.save());
        } else {
            run.control.fetch_or(control::SHUT_DOWN, Ordering::AcqRel);
            run.settle();
        }
        let now = run.words.now;
        drop(run);
        let mut core = smart_scanner::stage::gate::core::Gate::new(
            scene::params(),
            scene::Scene::unsynced(scene::params()).gate.instruments().clone(),
            smart_scanner::model::client_id::instance_tag("default"),
            2,
        );
        let account = graph::account_hash("key", "exchange");
        let path = folder.path().join("gate.snapshot");
        smart_scanner::stage::gate::intents::Intents::open(&path, account, &mut core, now).expect("opens");
        let mut status = Status::default();
        core.status(now, &mut status);
        assert_eq!(
            (status.positions.len(), status.entries_in_flight),
            (1, 0),
            "the entry has been filled"
        );
    }
}

/// Book and tape as `decode` and `indicate` tell of them.
fn tell_flow(run: &mut Run, trades_per_min: f32, notional_per_min_usd: f64) {
    let mut depth = Tick::new(TickKind::Depth, BTC, run.words.now.ms());
    depth.v[..6].copy_from_slice(&[60_000.0, 60_000.1, 5.0, 5.0, 50_000.0, 50_000.0]);
    run.ticks.publish_or_drop(depth);
    let mut told = IndicatorUpdate::zeroed();
    (told.instrument, told.tape) = (BTC.0, tape::READY);
    (told.trades_per_min, told.notional_per_min_usd) = (trades_per_min, notional_per_min_usd);
    run.tapes.publish_or_drop(told);
    run.settle();
}

#[test]
fn the_pace_of_the_tape_is_weighed_for_alerts_and_signals_alike() {
    let folder = tempfile::tempdir().expect("a folder");
    let set = [
        "USE_WS_ORDERFLOW=1",
        "MIN_TRADES_PER_MIN=2",
        "MIN_NOTIONAL_PER_MIN_USD=5000",
        "MIN_DEPTH_NOTIONAL_USD=10000",
    ];
    let mut run = Run::start(folder.path(), &set, 1, Wall::from_ms(START_MS));
    assert_eq!(run.alert(1), (2, Some(Reason::OrderFlowNotReady)));
    for (request, trades, notional, reason) in [
        (2, 1.9, 6_000.0, Reason::TradesFew),
        (3, 2.0, 4_999.0, Reason::NotionalLow),
    ] {
        tell_flow(&mut run, trades, notional);
        assert_eq!(run.alert(request), (2, Some(reason)));
        run.signal(BTC);
        assert_eq!(run.refusals(reason), 2, "{reason:?}");
    }
    // A book that goes on alone says nothing of the tape.
    run.run_ms(12_001);
    let mut depth = Tick::new(TickKind::Depth, BTC, run.words.now.ms());
    depth.v[..6].copy_from_slice(&[60_000.0, 60_000.1, 5.0, 5.0, 50_000.0, 50_000.0]);
    run.ticks.publish_or_drop(depth);
    assert_eq!(run.alert(4), (2, Some(Reason::OrderFlowNotReady)));
    tell_flow(&mut run, 2.0, 5_000.0);
    assert_eq!(run.alert(5), (1, None));
}
