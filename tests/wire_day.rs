//! A day of trading over the loopback wire, scene by scene: the daemon on its threads with its own sockets, the
//! exchange behind its server. After each scene the lines that were written, the position that the gate shows
//! and the exchange's own ledger agree.
//!
//! `scripted_day` plays the same scenes on the stepper, in virtual time. Here the time is real, ten times as
//! fast: the test waits for what must come, never for a time. The market is what the script says, and entries
//! come as alerts, so that each begins when the script wants it.

use bytemuck::Zeroable;
use serde_json::Value;
use smart_scanner::app::daemon::{self, Daemon};
use smart_scanner::app::graph::{self, Plan};
use smart_scanner::app::{agreement, bootstrap};
use smart_scanner::bus::{Observed, Observer, Table};
use smart_scanner::driver::{DecisionClock, Inlet, Outlet};
use smart_scanner::exchange::amount::{Amount, to_f64};
use smart_scanner::exchange::market::{MarketEvent, MarketKind};
use smart_scanner::exchange::{AccountId, Exchange, ExchangeConfig, Market};
use smart_scanner::model::message::{Alert, AlertAnswer, Tick, TickKind};
use smart_scanner::model::status::{POSITION_ROWS, PositionRow, StatusRow};
use smart_scanner::model::*;
use smart_scanner::settings::{Idle, Settings};
use smart_scanner::stage::decode::CandleSource;
use smart_scanner::sys::clock::Stamp;
use smart_scanner::topology::LinkId;
use smart_scanner::venue::blofin::sign;
use smart_scanner::venue::loopback::clock::ScaledClock;
use smart_scanner::venue::loopback::server::wall_now;
use smart_scanner::venue::loopback::{
    Credential, Fault, FaultRule, LoopbackOptions, LoopbackServer, LoopbackVenue, ServerOptions,
};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const BTC: InstrumentId = InstrumentId(0);
/// The ask that the day begins at, in ticks of 0.1.
const ASK: i64 = 600_001;
/// What an entry buys: 50 USD in lots of 0.0001 BTC.
const ENTRY_LOTS: i64 = 8;
const SPEED: f64 = 10.0;
/// The day begins so long before funding, on the exchange's clock.
const BEFORE_FUNDING_NS: u64 = 150_000_000_000;
const FUNDING_EVERY_NS: u64 = 8 * 3_600_000_000_000;
/// Real time between two quotes: nothing gets stale.
const QUOTE_EVERY: Duration = Duration::from_millis(20);
/// Real time that anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const SET: [&str; 16] = [
    "TPSL_MODE=bps",
    "SL_BPS=50",
    "TP_BPS=80",
    "TRAIL_MODE=bps",
    // So far behind that break-even comes first, and is overtaken before the target.
    "TRAIL_BPS=57",
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
    "METRICS_ENABLED=1",
];

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

/// A clock that shows now a time shortly before funding.
fn clock_before_funding() -> ScaledClock {
    let wall = wall_now();
    let funding = (wall.0 + BEFORE_FUNDING_NS).next_multiple_of(FUNDING_EVERY_NS);
    let ahead = funding - BEFORE_FUNDING_NS - wall.0;
    let anchor = Wall(wall.0 - (ahead as f64 / (SPEED - 1.0)) as u64);
    ScaledClock::new(anchor, SPEED).expect("a possible speed")
}

/// What the market shows until the script says otherwise.
#[derive(Clone, Copy)]
struct Script {
    ask: i64,
    lots: i64,
    /// In ticks; elsewhere than the price for a liquidation.
    mark: i64,
}

fn play(server: &LoopbackServer, script: Script, trade: u64) {
    let mark = script.mark as f64 / 10.0;
    server.with(|venue| {
        let now = venue.options().clock.venue_at(wall_now());
        for kind in [
            MarketKind::Quote {
                bid: Price(script.ask - 1),
                bid_lots: Lots(1_000),
                ask: Price(script.ask),
                ask_lots: Lots(script.lots),
            },
            MarketKind::Mark {
                mark,
                index: mark,
                funding_rate: Some(0.0005),
            },
            MarketKind::Trade {
                price: Price(script.ask - 1),
                lots: Lots(1_000),
                side: Side::Sell,
                id: trade,
            },
        ] {
            let instrument = BTC;
            venue
                .exchange_mut()
                .on_market(now, &MarketEvent { instrument, kind });
        }
    });
}

struct Day {
    daemon: Daemon,
    server: Arc<LoopbackServer>,
    account: AccountId,
    script: Arc<Mutex<Script>>,
    is_over: Arc<AtomicBool>,
    market: Option<std::thread::JoinHandle<()>>,
    alerts: Outlet<Alert>,
    answers: Inlet<AlertAnswer>,
    /// What the gate is told of the market.
    ticks: Observer<Tick>,
    positions: Table<PositionRow>,
    status: Table<StatusRow>,
    metrics: PathBuf,
    /// The latched file of the kill switch.
    halt: PathBuf,
    requests: u64,
    _directory: tempfile::TempDir,
}

impl Day {
    fn begin() -> Day {
        let clock = clock_before_funding();
        let start = clock.venue_at(wall_now());
        let mut instruments = Instruments::new();
        instruments.insert(btc());
        let market = Market::External {
            instruments: instruments.clone(),
            start,
        };
        let options = LoopbackOptions {
            clock,
            ..LoopbackOptions::default()
        };
        let mut venue = LoopbackVenue::new(Exchange::new(ExchangeConfig::default(), market), options);
        let account = venue.add_account(Credential::new("key", "secret", "pass"), Amount::from(10_000));
        let options = ServerOptions {
            listen: "127.0.0.1:0".parse().expect("an address"),
            ca_file: None,
        };
        let server = Arc::new(LoopbackServer::start(venue, options).expect("it listens"));
        let script = Arc::new(Mutex::new(Script {
            ask: ASK,
            lots: 1_000,
            mark: ASK,
        }));
        let is_over = Arc::new(AtomicBool::new(false));
        let market = {
            let (server, script, is_over) = (Arc::clone(&server), Arc::clone(&script), Arc::clone(&is_over));
            std::thread::spawn(move || {
                for trade in 1.. {
                    if is_over.load(Ordering::Acquire) {
                        return;
                    }
                    // Held while it is played: whoever changes the script sees it played from then on.
                    let script = script.lock().expect("not poisoned");
                    play(&server, *script, trade);
                    drop(script);
                    std::thread::sleep(QUOTE_EVERY);
                }
            })
        };

        let directory = tempfile::tempdir().expect("a directory");
        let set = SET.map(str::to_string);
        let mut settings = Settings::research(None, &set, directory.path()).expect("settings");
        settings.venue.point_at(&server.rest_url());
        settings.daemon.bus_path = directory.path().join("bus");
        settings.daemon.idle = Idle::Park;
        let metrics = directory.path().join("day.jsonl");
        std::fs::create_dir_all(&settings.daemon.state_dir).expect("a state directory");
        let (ports, connector) = daemon::socket_ports(&settings, 1).expect("ports");
        let (_lines, lines) = crossbeam::channel::unbounded();
        let clock = DecisionClock::scaled(Stamp::process(), clock.anchor(), clock.speed());
        let plan = Plan {
            settings: &settings,
            instruments: Arc::new(instruments),
            ranking: vec![BTC],
            credentials: sign::Credentials {
                key: "key".to_string(),
                secret: "secret".to_string(),
                passphrase: "pass".to_string(),
            },
            host: bootstrap::host(&settings).expect("a host"),
            epoch: 1,
            seed: 1,
            taping: Default::default(),
            metrics_path: Some(metrics.clone()),
            seen: Default::default(),
            control: Arc::default(),
            tick_digest: None,
            table: None,
            paper: None,
            intents: Some(settings.daemon.state_dir.join("gate.snapshot")),
            start: clock.now(),
            source: CandleSource::Socket,
            // Nothing is entered but what the script wants.
            scan: false,
            alerts: Some(lines),
            learned: Default::default(),
            outside: Default::default(),
        };
        let bus = graph::plan_bus("wire-day", Stamp::process())
            .heap()
            .expect("memory for a bus");
        let name = |link: LinkId| link.link().name;
        let mut day = Day {
            alerts: Outlet::new(
                bus.producer(name(LinkId::WebhookGate)).expect("free"),
                bus.stamp(),
            ),
            answers: Inlet::new(bus.consumer(name(LinkId::GateWebhook)).expect("free")),
            ticks: bus.observer(name(LinkId::DecodeGate)).expect("a ring"),
            positions: bus.table("positions").expect("a table"),
            status: bus.table("status").expect("a table"),
            daemon: Daemon::start(bus, plan, ports, Some(connector), clock, "").expect("a daemon"),
            server,
            account,
            script,
            is_over,
            market: Some(market),
            metrics,
            halt: settings.daemon.state_dir.join("halt"),
            requests: 0,
            _directory: directory,
        };
        day.wait("entries are on", |day| {
            day.status.read(0).is_some_and(|row| row.entries_on == 1)
        });
        day.quote(ASK, 1_000);
        day
    }

    /// Waits until `is_so`.
    #[track_caller]
    fn wait(&mut self, what: &str, mut is_so: impl FnMut(&Day) -> bool) {
        let began = Instant::now();
        while !is_so(self) {
            self.daemon.tend();
            assert!(!self.daemon.is_broken(), "{what}: a stage thread ended");
            if began.elapsed() > PATIENCE {
                panic!("{what} never came; the lines:\n{}", self.text());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.metrics).unwrap_or_default()
    }

    /// The lines of `kind` so far.
    fn lines(&self, kind: &str) -> Vec<Value> {
        let text = self.text();
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let lines = whole.map(|line| serde_json::from_str::<Value>(line).expect("one JSON object a line"));
        lines.filter(|line| line["kind"] == kind).collect()
    }

    /// Exits of the trades that were closed.
    fn exits(&self) -> Vec<String> {
        let word = |line: &Value| line["exit"].as_str().expect("an exit").to_owned();
        self.lines("trade_close").iter().map(word).collect()
    }

    /// States that were written down of orders that open a position.
    fn entry_states(&self) -> Vec<String> {
        let lines = self.lines("order_state");
        let entries = lines.iter().filter(|line| line["reduce_only"] == false);
        entries
            .map(|line| line["state"].as_str().expect("a state").to_owned())
            .collect()
    }

    /// The book from now on, `lots` at the ask, with the mark and the last price beside it. Returns when the
    /// gate has been told.
    fn quote(&mut self, ask: i64, lots: i64) {
        while !matches!(self.ticks.next(), Observed::Empty) {}
        {
            let mut script = self.script.lock().expect("not poisoned");
            *script = Script { ask, lots, mark: ask };
            play(&self.server, *script, 0);
        }
        let price = ask as f64 / 10.0;
        let began = Instant::now();
        loop {
            match self.ticks.next() {
                Observed::Record(tick) if tick.kind == TickKind::Quote as u8 && tick.v[1] == price => return,
                Observed::Record(_) | Observed::Missed(_) => {}
                Observed::Empty => std::thread::sleep(Duration::from_millis(2)),
            }
            self.daemon.tend();
            assert!(began.elapsed() < PATIENCE, "the gate never heard of {price}");
        }
    }

    /// A buy alert; why the gate did not let it through.
    fn buy(&mut self) -> Result<(), Reason> {
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
        let began = Instant::now();
        let answer = loop {
            if let Some(answer) = self.answers.take() {
                break answer;
            }
            assert!(began.elapsed() < PATIENCE, "no answer to an alert");
            std::thread::sleep(Duration::from_millis(2));
        };
        let reason = Reason::from_code(answer.reason);
        let text = reason.map_or("", Reason::text);
        println!("alert {}: decision {} {text}", self.requests, answer.decision);
        if answer.decision == 1 {
            return Ok(());
        }
        Err(reason.expect("a reason"))
    }

    /// Enters: asks until the gate lets it through, which on a busy machine may take a fresh quote.
    fn enter(&mut self) {
        let began = Instant::now();
        while self.buy().is_err() {
            assert!(began.elapsed() < PATIENCE, "no alert was let through");
            std::thread::sleep(QUOTE_EVERY);
        }
    }

    fn exchange<T>(&self, look: impl FnOnce(&Exchange, AccountId) -> T) -> T {
        self.server.with(|venue| look(venue.exchange(), self.account))
    }

    /// Lots at the exchange.
    fn held(&self) -> i64 {
        self.exchange(|exchange, account| exchange.positions(account).iter().map(|row| row.lots.0).sum())
    }

    /// The tightest stop at the exchange, in ticks; 0 = none.
    fn stop(&self) -> i64 {
        self.exchange(|exchange, account| {
            let open = exchange.brackets_open(account);
            open.filter_map(|row| row.stop_loss.as_ref().map(|leg| leg.trigger.0))
                .max()
                .unwrap_or(0)
        })
    }

    /// The target at the exchange, in ticks; 0 = none.
    fn target(&self) -> i64 {
        self.exchange(|exchange, account| {
            let mut open = exchange.brackets_open(account);
            open.find_map(|row| row.take_profit.as_ref().map(|leg| leg.trigger.0))
                .unwrap_or(0)
        })
    }

    /// The stop once it is above `floor` and moves no more.
    #[track_caller]
    fn stop_above(&mut self, floor: i64) -> i64 {
        let mut last = (0, Instant::now());
        self.wait("the stop moves up and rests", |day| {
            let stop = day.stop();
            if stop != last.0 {
                last = (stop, Instant::now());
            }
            stop > floor && last.1.elapsed() > Duration::from_millis(500)
        });
        self.stop()
    }

    fn fault(&mut self, fault: Fault) {
        self.server
            .with(|venue| venue.add_fault(FaultRule::once(fault, "/trade/order$")));
    }

    /// From now on nothing is pushed of orders: what became of one must be asked for.
    fn lose_order_pushes(&mut self) {
        let rule = FaultRule::chance(Fault::LosePush, "orders$", 1_000_000);
        self.server.with(|venue| venue.add_fault(rule));
    }

    fn fired(&self) -> u64 {
        self.server.with(|venue| venue.traffic().faults)
    }

    /// What lines, position and ledger do not agree about; `None` = nothing.
    fn disagreement(&self) -> Option<String> {
        let of_line = |line: &Value| {
            let lots = (line["size"].as_f64().expect("a size") / 0.1).round() as i64;
            if line["side"] == "buy" { lots } else { -lots }
        };
        let journal: i64 = self.lines("fill").iter().map(of_line).sum();
        let rows = (0..POSITION_ROWS).filter_map(|row| self.positions.read(row));
        let shown: i64 = rows.map(|row| row.lots).sum();
        let (held, earned, fees, equity, orphans) = self.exchange(|exchange, account| {
            let held: i64 = exchange.positions(account).iter().map(|row| row.lots.0).sum();
            let fees: f64 = exchange.fills(account).map(|fill| to_f64(fill.fee)).sum();
            let gross: f64 = exchange.fills(account).map(|fill| to_f64(fill.pnl)).sum();
            let equity = to_f64(exchange.balance(account).equity);
            (held, gross - fees, fees, equity, exchange.report().orphan_orders)
        });
        if (journal, shown) != (held, held) {
            return Some(format!("{held} lots held, {journal} in the lines, {shown} shown"));
        }
        let closed = self.lines("trade_close");
        if held == 0 {
            if closed.iter().any(|line| line["executions"].as_u64() == Some(0)) {
                return Some("a trade was not closed from exact executions".to_owned());
            }
            for (name, theirs) in [("pnl", earned), ("fee", fees)] {
                let ours: f64 = closed.iter().filter_map(|line| line[name].as_f64()).sum();
                if (ours - theirs).abs() > 1e-4 {
                    return Some(format!("{name}: {ours} booked, {theirs} in the ledger"));
                }
            }
        }
        let status = self.status.read(0)?;
        if (status.equity - equity).abs() > 1e-6 {
            return Some(format!("equity {} shown, {equity} in the ledger", status.equity));
        }
        let doubts = status.orders_in_flight;
        ((doubts, orphans) != (0, 0)).then(|| format!("{doubts} orders in doubt, {orphans} orphans"))
    }

    /// Lines, position and ledger agree, to the last lot and cent.
    #[track_caller]
    fn agree(&mut self, scene: &str, exits: &[&str]) {
        let mut last = None;
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            self.daemon.tend();
            last = self.disagreement();
            if last.is_none() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(last, None, "{scene}; the lines:\n{}", self.text());
        assert_eq!(self.exits(), exits, "{scene}");
        println!("{scene}: {} lots, all three agree", self.held());
    }

    /// Ends the daemon; gate and exchange must then be the same.
    fn end(mut self) {
        self.daemon.stop();
        let gate = self.daemon.gate().expect("its thread gave it back");
        let found = self.exchange(|exchange, account| agreement::differences(exchange, account, gate));
        assert_eq!(found, [""; 0]);
        self.is_over.store(true, Ordering::Release);
        let market = self.market.take().expect("it runs");
        market.join().expect("the market thread");
        self.exchange(|exchange, _| exchange.check_invariants().expect("the books agree"));
    }
}

#[test]
fn a_scripted_day_over_the_wire_leaves_lines_position_and_ledger_agreed() {
    let mut day = Day::begin();

    // Entry, funding, target.
    day.enter();
    day.wait("the entry fills", |day| day.held() == ENTRY_LOTS);
    let paid = |day: &Day| day.exchange(|exchange, account| exchange.funding_payments(account).count());
    assert_eq!(paid(&day), 0, "the entry came before funding");
    day.wait("funding", |day| paid(day) == 1);
    day.agree("funding", &[]);
    day.quote(ASK + 4_900, 1_000);
    day.wait("the target", |day| day.held() == 0);
    day.agree("target", &["tp"]);

    // Three of eight lots are there: the part is protected, goes to break-even, trails, is stopped.
    day.quote(ASK, 3);
    day.enter();
    day.wait("a partial fill", |day| day.held() == 3);
    day.wait("its bracket", |day| {
        (day.stop(), day.target()) == (597_001, 604_801)
    });
    day.agree("partial fill", &["tp"]);
    // One R is 3,000 ticks. Break-even pays both fees, 6 bps above the entry; the trail is still below it.
    day.quote(ASK + 3_100, 1_000);
    let break_even = day.stop_above(ASK);
    assert_eq!(break_even, 600_361);
    // 57 bps behind the best mark.
    day.quote(ASK + 4_500, 1_000);
    let trailed = day.stop_above(break_even);
    assert_eq!(trailed, 601_055);
    day.quote(trailed - 50, 1_000);
    day.wait("the stop", |day| day.held() == 0);
    day.agree("break-even, trail, stop", &["tp", "sl"]);

    // The venue refuses the order: nothing is left of it.
    day.quote(ASK, 1_000);
    let tight = Instrument {
        max_limit_lots: Lots(1),
        ..btc()
    };
    let list = |day: &Day, row| day.server.with(|venue| venue.exchange_mut().set_instrument(row));
    assert!(list(&day, tight));
    let orders = |day: &Day| day.exchange(|exchange, account| exchange.orders_final(account).count());
    let before = orders(&day);
    day.enter();
    day.wait("the refusal", |day| {
        day.entry_states().last().is_some_and(|state| state == "rejected")
    });
    assert!(list(&day, btc()));
    day.agree("reject", &["tp", "sl"]);
    assert_eq!(orders(&day), before, "the exchange has none of it");

    // The answer is lost, and so is every push about orders, and the order lives: in doubt, looked up and
    // found, never sent twice.
    let told = day.entry_states().len();
    day.lose_order_pushes();
    day.fault(Fault::AckLost);
    day.enter();
    day.wait("the entry fills", |day| day.held() == ENTRY_LOTS);
    day.wait("the doubt and its end", |day| {
        let states = &day.entry_states()[told..];
        states.iter().any(|state| state == "unknown") && states.last().is_some_and(|state| state == "filled")
    });
    day.server.with(LoopbackVenue::clear_faults);
    day.agree("ambiguous, then found", &["tp", "sl"]);
    assert_eq!(orders(&day), before + 1, "one order");
    // Closed by hand, in the venue's own app.
    day.server.with(|venue| {
        let now = venue.now();
        let own = ClientOrderId::default();
        venue
            .exchange_mut()
            .close_position(day.account, now, BTC, MarginMode::Cross, PositionSide::Net, own)
            .expect("it closes");
    });
    day.agree("manual close", &["tp", "sl", "manual"]);

    // The answer is lost and so is the order: it holds its slot until it cannot arrive any more.
    let fired = day.fired();
    day.fault(Fault::DropBefore);
    day.enter();
    day.wait("the doubt", |day| {
        day.entry_states().last().is_some_and(|state| state == "unknown")
    });
    // It may still exist. On a busy machine a quote may be too old to say even that.
    let began = Instant::now();
    let answer = loop {
        match day.buy() {
            Err(Reason::DataStale) if began.elapsed() < PATIENCE => std::thread::sleep(QUOTE_EVERY),
            answer => break answer,
        }
    };
    assert_eq!(answer, Err(Reason::OrderInFlight));
    day.wait("its death", |day| {
        day.entry_states().last().is_some_and(|state| state == "dead")
    });
    assert_eq!(day.fired(), fired + 1);
    day.agree("ambiguous, then dead", &["tp", "sl", "manual"]);
    day.enter();
    day.wait("its slot is free again", |day| day.held() == ENTRY_LOTS);
    day.wait("its stop", |day| day.stop() > 0);
    day.agree("entry", &["tp", "sl", "manual"]);

    // All but the margin leaves the account, and the mark falls away while the last price does not:
    // liquidated before the stop can fire.
    let drained = day.exchange(|exchange, account| to_f64(exchange.balance(account).balance));
    let account = day.account;
    let keep = 17.0;
    day.server.with(|venue| {
        let amount = Amount::from(-((drained - keep) as i64));
        venue.exchange_mut().deposit(account, amount);
    });
    {
        let mut script = day.script.lock().expect("not poisoned");
        script.mark = ASK * 62 / 100;
    }
    day.wait("the liquidation", |day| day.held() == 0);
    day.agree("liquidation", &["tp", "sl", "manual", "liquidation"]);
    day.end();
}

#[test]
fn a_halted_daemon_enters_nothing_while_stops_move_and_positions_are_closed() {
    let mut day = Day::begin();
    day.enter();
    day.wait("the entry fills", |day| day.held() == ENTRY_LOTS);
    day.wait("its stop", |day| day.stop() == 597_001);
    std::fs::write(&day.halt, "by hand\n").expect("the state directory");
    let entries_off = |day: &Day| {
        let row = day.status.read(0).filter(|row| row.entries_on == 0)?;
        Reason::from_code(row.entries_off_reason as u16)
    };
    day.wait("the halt", |day| entries_off(day) == Some(Reason::KillSwitch));
    assert_eq!(day.buy(), Err(Reason::KillSwitch));

    // The stop goes to break-even all the same.
    day.quote(ASK + 3_100, 1_000);
    day.stop_above(ASK);
    // Somebody cancels it again and again: it is placed again, until the position is closed instead.
    day.wait("the close", |day| {
        let open: Vec<u64> = day.exchange(|exchange, account| {
            let open = exchange.brackets_open(account);
            open.map(|row| row.id).collect()
        });
        day.server.with(|venue| {
            let now = venue.now();
            for id in open {
                // One that fired or was cancelled meanwhile is as good.
                let _ = venue.exchange_mut().cancel_bracket(day.account, now, id);
            }
        });
        day.held() == 0
    });
    day.agree("stop cancelled four times", &["other"]);
    let sent = |kind: &str| {
        let lines = day.lines("order");
        lines.iter().filter(|line| line["command"] == kind).count()
    };
    assert!(sent("bracket") >= 3, "{}", day.text());
    assert!(sent("close") + sent("close_position") >= 1, "{}", day.text());
    assert_eq!(sent("entry"), 1, "{}", day.text());
    assert_eq!(day.buy(), Err(Reason::KillSwitch));

    std::fs::remove_file(&day.halt).expect("it is there");
    day.wait("the resumption", |day| entries_off(day).is_none());
    day.enter();
    day.wait("the next entry fills", |day| day.held() == ENTRY_LOTS);
    day.wait("its stop", |day| day.stop() > 0);
    day.agree("entry after the halt", &["other"]);
    day.end();
}
