//! A day of trading over the wire, scene by scene: after each, what the gate wrote down, the position it
//! shows, and the exchange's own ledger agree.
//!
//! The graph runs on the stepper against the embedded exchange behind BloFin's bytes. The market is what
//! the script says; entries come as alerts, so that each begins when the script wants it.

use bytemuck::Zeroable;
use smart_scanner::app::graph::{self, Plan, Ports};
use smart_scanner::bus::Bus;
use smart_scanner::driver::{DecisionClock, Inlet, Outlet, Stepper};
use smart_scanner::exchange::amount::{Amount, to_f64};
use smart_scanner::exchange::market::{MarketEvent, MarketKind};
use smart_scanner::exchange::{AccountId, Exchange, ExchangeConfig, Market};
use smart_scanner::model::message::{Alert, AlertAnswer, GateEvent, GateEventKind, Tick};
use smart_scanner::model::status::{POSITION_ROWS, PositionRow, StatusRow};
use smart_scanner::model::*;
use smart_scanner::settings::Settings;
use smart_scanner::stage::housekeep::SeenHandle;
use smart_scanner::sys::clock::Stamp;
use smart_scanner::topology::LinkId;
use smart_scanner::venue::blofin::sign;
use smart_scanner::venue::loopback::{
    Credential, Fault, FaultRule, InProcessCalls, InProcessFrames, Latency, LoopbackOptions, LoopbackVenue,
    SharedVenue,
};
use std::sync::Arc;

const BTC: InstrumentId = InstrumentId(0);
/// 2027-01-15 07:55 UTC: five minutes before funding.
const START_MS: i64 = 1_800_000_000_000 - 1_800_000_000_000 % 86_400_000 + 7 * 3_600_000 + 55 * 60_000;
/// The ask that the day begins at, in ticks of 0.1.
const ASK: i64 = 600_001;

fn btc() -> Instrument {
    let decimal = |text: &str| Decimal::parse(text.as_bytes()).expect("a decimal");
    Instrument {
        symbol: Symbol::parse("BTC-USDT").expect("a symbol"),
        tick_size: decimal("0.1"),
        lot_size: decimal("0.1"),
        contract_value: decimal("0.001"),
        min_lots: Lots(1),
        max_limit_lots: Lots(1_000_000),
        max_market_lots: Lots(100_000),
        max_leverage: 150,
        live: true,
        list_ms: 0,
    }
}

fn monotonic_ns() -> u64 {
    Stamp::process().now_ns()
}

struct Day {
    stepper: Stepper,
    clock: DecisionClock,
    shared: SharedVenue,
    account: AccountId,
    ticks: Outlet<Tick>,
    alerts: Outlet<Alert>,
    answers: Inlet<AlertAnswer>,
    bus: Bus,
    seen: SeenHandle,
    _directory: tempfile::TempDir,
    trades: u64,
    requests: u64,
}

impl Day {
    fn begin() -> Day {
        let directory = tempfile::tempdir().expect("a directory");
        let set: Vec<String> = [
            "TPSL_MODE=bps",
            "SL_BPS=50",
            "TP_BPS=80",
            "TRAIL_MODE=bps",
            "ENABLE_TRAILING=1",
            "TRADE_COOLDOWN_SEC=0",
            "TRADE_NOTIONAL_USD=50",
            "TRADE_MIN_SCORE=1",
            "TRADE_MIN_PROB=0.5",
            "EV_MIN_R=-1",
            "COST_R_MAX=1",
            "MAX_ENTRIES_PER_HOUR=100",
            "TRADING_LEVERAGE=3",
            "MIN_INITIAL_MARGIN_USD=0",
        ]
        .map(str::to_string)
        .to_vec();
        let settings = Settings::research(None, &set, directory.path()).expect("settings");
        let start = Wall::from_ms(START_MS);
        let mut instruments = Instruments::new();
        instruments.insert(btc());
        let market = Market::External {
            instruments: instruments.clone(),
            start,
        };
        let exchange = Exchange::new(ExchangeConfig::default(), market);
        let mut venue = LoopbackVenue::new(exchange, LoopbackOptions::default());
        let account = venue.add_account(Credential::new("key", "secret", "pass"), Amount::from(10_000));
        let latency = Latency {
            min_ns: 10_000_000,
            max_ns: 10_000_000,
        };
        let shared = SharedVenue::new(venue, latency, 1);
        let frames = || Box::new(InProcessFrames::new(shared.clone(), monotonic_ns));
        let calls = || Box::new(InProcessCalls::new(shared.clone(), monotonic_ns));
        let ports = Ports {
            market: None,
            account: frames(),
            orders: calls(),
            reads: calls(),
        };
        let seen = SeenHandle::default();
        seen.lock().expect("not poisoned").events = Some(Vec::new());
        let (_lines, lines) = crossbeam::channel::unbounded();
        let plan = Plan {
            settings: &settings,
            instruments: Arc::new(instruments),
            ranking: vec![BTC],
            credentials: sign::Credentials {
                key: "key".to_string(),
                secret: "secret".to_string(),
                passphrase: "pass".to_string(),
            },
            host: "exchange".to_string(),
            epoch: 1,
            seed: 1,
            taping: Default::default(),
            metrics_path: None,
            seen: seen.clone(),
            control: Arc::default(),
            tick_digest: None,
            table: None,
            paper: None,
            intents: Some(directory.path().join("gate.snapshot")),
            start,
            source: smart_scanner::stage::decode::CandleSource::Socket,
            scan: true,
            alerts: Some(lines),
            learned: Default::default(),
            outside: Default::default(),
        };
        let bus = graph::plan_bus("day", Stamp::process())
            .heap()
            .expect("memory for a bus");
        let seats = graph::build(&bus, plan, ports).expect("a graph");
        let clock = DecisionClock::stepped(start);
        let outlet = |link: LinkId| link.link().name;
        let mut day = Day {
            stepper: Stepper::new(seats, clock.clone()),
            clock,
            shared,
            account,
            ticks: Outlet::new(
                bus.producer(outlet(LinkId::DecodeGate)).expect("free"),
                bus.stamp(),
            ),
            alerts: Outlet::new(
                bus.producer(outlet(LinkId::WebhookGate)).expect("free"),
                bus.stamp(),
            ),
            answers: Inlet::new(bus.consumer(outlet(LinkId::GateWebhook)).expect("free")),
            bus,
            seen,
            _directory: directory,
            trades: 0,
            requests: 0,
        };
        day.quote(ASK, 1_000);
        day.run_ms(2_000);
        day.quote(ASK, 1_000);
        day
    }

    /// Lets time pass; whatever is due happens in its order.
    fn run_ms(&mut self, ms: i64) {
        let until = Wall::from_ms(self.clock.now().ms() + ms);
        self.stepper.settle().expect("it comes to rest");
        loop {
            let now = self.clock.now();
            let venue = self.shared.next_event().map(|time| time.max(Wall(now.0 + 1)));
            let next = [venue, self.stepper.next_timer()].into_iter().flatten().min();
            let Some(next) = next.filter(|time| *time <= until) else {
                break;
            };
            self.clock.advance_to(next);
            self.shared.advance(next);
            self.stepper.settle().expect("it comes to rest");
        }
        self.clock.advance_to(until);
        self.shared.advance(until);
        self.stepper.settle().expect("it comes to rest");
    }

    fn market(&mut self, kind: MarketKind) {
        let now = self.clock.now();
        let event = MarketEvent {
            instrument: BTC,
            kind,
        };
        self.shared
            .with(|venue| venue.exchange_mut().on_market(now, &event));
        if let Some(tick) = event.to_tick(now, &btc())
            && !matches!(kind, MarketKind::Trade { .. })
        {
            self.ticks.publish_or_drop(tick);
        }
    }

    /// The book, `lots` at the ask, with the mark and the last price in the middle.
    fn quote(&mut self, ask: i64, lots: i64) {
        self.market(MarketKind::Quote {
            bid: Price(ask - 1),
            bid_lots: Lots(1_000),
            ask: Price(ask),
            ask_lots: Lots(lots),
        });
        self.mark(ask);
        self.trades += 1;
        self.market(MarketKind::Trade {
            price: Price(ask - 1),
            lots: Lots(1_000),
            side: Side::Sell,
            id: self.trades,
        });
        self.run_ms(200);
    }

    fn mark(&mut self, ticks: i64) {
        let mark = ticks as f64 / 10.0;
        self.market(MarketKind::Mark {
            mark,
            index: mark,
            funding_rate: Some(0.0005),
        });
    }

    /// A buy alert; true when the gate let it through.
    fn buy(&mut self) -> bool {
        self.requests += 1;
        let mut alert = Alert::zeroed();
        alert.request = self.requests;
        alert.instrument = BTC.0;
        alert.side = Side::Buy as u8;
        alert.timeframe = 255;
        alert.score = 5.0;
        alert.probability = 0.9;
        alert.id_hash = [self.requests, 7];
        self.alerts.publish_or_drop(alert);
        self.run_ms(100);
        let answer = self.answers.take().expect("an answer");
        let reason = Reason::from_code(answer.reason).map_or("", Reason::text);
        println!("alert {}: decision {} {reason}", self.requests, answer.decision);
        answer.decision == 1
    }

    fn events(&self, kind: GateEventKind) -> Vec<GateEvent> {
        let seen = self.seen.lock().expect("not poisoned");
        let events = seen.events.as_ref().expect("kept").iter();
        events.filter(|event| event.kind == kind as u8).copied().collect()
    }

    fn last_exit(&self) -> u8 {
        self.events(GateEventKind::TradeClosed)
            .last()
            .map_or(0, |event| event.exit)
    }

    fn closed(&self) -> usize {
        self.events(GateEventKind::TradeClosed).len()
    }

    /// Lots at the exchange.
    fn held(&self) -> i64 {
        let account = self.account;
        let rows = self.shared.with(|venue| venue.exchange().positions(account));
        rows.iter().map(|row| row.lots.0).sum()
    }

    /// The tightest stop at the exchange, in ticks; 0 = none.
    fn stop(&self) -> i64 {
        let account = self.account;
        self.shared.with(|venue| {
            let open = venue.exchange().brackets_open(account);
            open.filter_map(|row| row.stop_loss.as_ref().map(|leg| leg.trigger.0))
                .max()
                .unwrap_or(0)
        })
    }

    fn fault(&mut self, fault: Fault, path: &str) {
        self.shared
            .with(|venue| venue.add_fault(FaultRule::once(fault, path)));
    }

    /// Journal, position and ledger agree, to the last lot and cent.
    fn agree(&mut self, scene: &str) {
        self.run_ms(8_000);
        let account = self.account;
        let journal: i64 = self
            .events(GateEventKind::Fill)
            .iter()
            .map(|fill| fill.size_lots * if fill.side == Side::Buy as u8 { 1 } else { -1 })
            .sum();
        let table = self.bus.table::<PositionRow>("positions").expect("a table");
        let shown: i64 = (0..POSITION_ROWS)
            .filter_map(|row| table.read(row))
            .map(|row| row.lots)
            .sum();
        let held = self.held();
        assert_eq!(
            (journal, shown),
            (held, held),
            "{scene}: journal and table against the exchange"
        );
        let (earned, equity, report) = self.shared.with(|venue| {
            let exchange = venue.exchange();
            let earned: f64 = exchange
                .fills(account)
                .map(|fill| to_f64(fill.pnl) - to_f64(fill.fee))
                .sum();
            (
                earned,
                to_f64(exchange.balance(account).equity),
                exchange.report(),
            )
        });
        if held == 0 {
            let closed = self.events(GateEventKind::TradeClosed);
            let booked: f64 = closed.iter().map(|event| event.pnl).sum();
            assert!(
                (booked - earned).abs() < 1e-6,
                "{scene}: {booked} booked, {earned} in the ledger"
            );
            assert!(
                closed.iter().all(|event| event.executions > 0),
                "{scene}: from exact executions"
            );
        }
        let status = self
            .bus
            .table::<StatusRow>("status")
            .expect("a table")
            .read(0)
            .expect("a row");
        assert!(
            (status.equity - equity).abs() < 1e-6,
            "{scene}: equity {} and {equity}",
            status.equity
        );
        assert_eq!(status.orders_in_flight, 0, "{scene}: nothing is in doubt");
        assert_eq!(report.orphan_orders, 0, "{scene}: orphans");
        println!("{scene}: {held} lots, {earned:.4} USDT earned, equity {equity:.4}: all three agree");
    }
}

#[test]
fn a_scripted_day_leaves_journal_position_and_ledger_agreed() {
    let mut day = Day::begin();

    // Three of eight lots are there: the part is protected, goes to break-even, trails, is stopped.
    day.quote(ASK, 3);
    assert!(day.buy());
    assert_eq!(day.held(), 3);
    day.agree("partial fill");
    assert_eq!(day.stop(), 597_001);
    day.quote(ASK + 3_100, 1_000);
    day.run_ms(1_500);
    let break_even = day.stop();
    assert!(break_even > ASK, "at break-even or better: {break_even}");
    day.quote(ASK + 4_500, 1_000);
    day.run_ms(1_500);
    let trailed = day.stop();
    assert!(trailed > break_even, "{trailed} trails {break_even}");
    day.quote(trailed - 50, 1_000);
    day.agree("break-even, trail, stop");
    assert_eq!((day.held(), day.closed(), day.last_exit()), (0, 1, 2));

    // Entry, funding, target.
    day.quote(ASK, 1_000);
    assert!(day.buy());
    for _ in 0..40 {
        day.run_ms(9_000);
        day.quote(ASK, 1_000);
    }
    let account = day.account;
    let paid = day
        .shared
        .with(|venue| venue.exchange().funding_payments(account).count());
    assert_eq!(paid, 1, "08:00 has passed");
    day.agree("funding");
    day.quote(ASK + 4_900, 1_000);
    day.agree("target");
    assert_eq!((day.held(), day.closed(), day.last_exit()), (0, 2, 1));

    // The venue refuses the order: nothing is left of it.
    day.quote(ASK, 1_000);
    let tight = Instrument {
        max_limit_lots: Lots(1),
        ..btc()
    };
    assert!(
        day.shared
            .with(|venue| venue.exchange_mut().set_instrument(tight))
    );
    assert!(day.buy());
    assert!(
        day.shared
            .with(|venue| venue.exchange_mut().set_instrument(btc()))
    );
    day.agree("reject");
    assert_eq!((day.held(), day.closed()), (0, 2));

    // The answer is lost and the order lives: found, adopted, never sent twice.
    day.quote(ASK, 1_000);
    let before = day
        .shared
        .with(|venue| venue.exchange().orders_final(account).count());
    day.fault(Fault::AckLost, "/trade/order");
    assert!(day.buy());
    day.run_ms(2_000);
    assert_eq!(day.held(), 8);
    day.agree("ambiguous, then found");
    let after = day
        .shared
        .with(|venue| venue.exchange().orders_final(account).count());
    assert_eq!(after, before + 1, "one order");
    // Closed by hand, in the venue's own app.
    let now = day.clock.now();
    day.shared.with(|venue| {
        let exchange = venue.exchange_mut();
        let own = ClientOrderId::default();
        exchange
            .close_position(account, now, BTC, MarginMode::Cross, PositionSide::Net, own)
            .expect("it closes");
    });
    day.run_ms(500);
    day.agree("manual close");
    assert_eq!((day.held(), day.closed(), day.last_exit()), (0, 3, 6));

    // The answer is lost and so is the order: it holds its slot until it cannot arrive any more.
    day.quote(ASK, 1_000);
    day.fault(Fault::DropBefore, "/trade/order");
    assert!(day.buy());
    day.run_ms(5_000);
    day.quote(ASK, 1_000);
    assert!(!day.buy(), "it may still exist");
    for _ in 0..24 {
        day.run_ms(9_000);
        day.quote(ASK, 1_000);
    }
    day.agree("ambiguous, then dead");
    assert_eq!((day.held(), day.closed()), (0, 3));
    assert!(day.buy(), "its slot is free again");
    day.run_ms(500);
    assert_eq!(day.held(), 8);

    // The mark falls away while the last price does not: liquidated before the stop can fire.
    let lots = day.held();
    assert!(lots > 0);
    let drained = day
        .shared
        .with(|venue| to_f64(venue.exchange().balance(account).balance));
    // All but the margin leaves the account, so that the position is alone with its loss.
    day.shared.with(|venue| {
        let keep = 17.0;
        let amount = Amount::from(-((drained - keep) as i64));
        venue.exchange_mut().deposit(account, amount);
    });
    day.mark(ASK * 62 / 100);
    day.run_ms(1_000);
    day.agree("liquidation");
    assert_eq!((day.held(), day.closed(), day.last_exit()), (0, 4, 5));
}
