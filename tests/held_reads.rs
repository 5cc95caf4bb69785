//! The promise: what a run asks about its account beside the stages, at its start and every five minutes, is
//! paid for out of the budget of `fetch`, and a ban holds for all of them: whoever is refused tells the others.

#[allow(dead_code)]
mod whole_graph;

use smart_scanner::app::bans::SharedBans;
use smart_scanner::app::graph;
use smart_scanner::app::held::{Leave, of_venue};
use smart_scanner::bus::{Bus, Observed, Observer};
use smart_scanner::driver::{DecisionClock, Stepper};
use smart_scanner::exchange::amount::Amount;
use smart_scanner::exchange::{Exchange, ExchangeConfig, Generated, GeneratedOptions, Market};
use smart_scanner::model::Wall;
use smart_scanner::model::message::{AccountEvent, AccountKind};
use smart_scanner::model::time::{NS_PER_MS, NS_PER_SEC};
use smart_scanner::settings::Settings;
use smart_scanner::stage::housekeep::SeenHandle;
use smart_scanner::sys::clock::Stamp;
use smart_scanner::venue::blofin::bans::{Bans, Refusal};
use smart_scanner::venue::blofin::budget::{BudgetLimits, CallBudget};
use smart_scanner::venue::blofin::sign::Credentials;
use smart_scanner::venue::loopback::server::clock_from_now;
use smart_scanner::venue::loopback::{
    Credential, Fault, FaultRule, LoopbackOptions, LoopbackServer, LoopbackVenue, ServerOptions,
};
use std::sync::Arc;
use whole_graph::Scene;

struct Venue {
    server: LoopbackServer,
    settings: Settings,
    credentials: Credentials,
    clock: DecisionClock,
}

fn venue(speed: f64) -> Venue {
    let clock = clock_from_now(speed).expect("a possible speed");
    let market = Generated::new(GeneratedOptions {
        instruments: 4,
        start: clock.anchor(),
        ..GeneratedOptions::default()
    });
    let exchange = Exchange::new(ExchangeConfig::default(), Market::Generated(Box::new(market)));
    let options = LoopbackOptions {
        clock,
        ..LoopbackOptions::default()
    };
    let mut venue = LoopbackVenue::new(exchange, options);
    venue.add_account(Credential::new("key", "secret", "pass"), Amount::from(10_000));
    let options = ServerOptions {
        listen: "127.0.0.1:0".parse().expect("an address"),
        ca_file: None,
    };
    let server = LoopbackServer::start(venue, options).expect("it listens");
    let out = tempfile::tempdir().expect("a directory");
    let mut settings = Settings::research(None, &[], out.path()).expect("settings");
    settings.venue.point_at(&server.rest_url());
    let word = |text: &str| text.to_owned();
    Venue {
        clock: DecisionClock::scaled(Stamp::process(), clock.anchor(), clock.speed()),
        server,
        settings,
        credentials: Credentials {
            key: word("key"),
            secret: word("secret"),
            passphrase: word("pass"),
        },
    }
}

/// Before the stages run.
fn own() -> Leave {
    Leave::Own {
        budget: CallBudget::new(BudgetLimits::READS),
        calls: Arc::default(),
    }
}

/// The last suspension that the gate was told of: until when, in ms, and whether it is a ban.
fn last_told(told: &mut Observer<AccountEvent>) -> Option<(i64, u8)> {
    let mut last = None;
    loop {
        match told.next() {
            Observed::Record(event) if event.kind == AccountKind::Suspended as u8 => {
                last = Some((event.update_ms, event.detail));
            }
            Observed::Record(_) | Observed::Missed(_) => {}
            Observed::Empty => return last,
        }
    }
}

impl Venue {
    fn read(&self, leave: &mut Leave) -> Result<usize, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let read = of_venue(&self.settings.venue, &self.credentials, &self.clock, leave);
        runtime.block_on(read).map(|symbols| symbols.len())
    }

    fn calls(&self) -> u64 {
        self.server.with(|venue| venue.traffic().calls)
    }

    fn fail(&self, fault: Fault) {
        self.server
            .with(|venue| venue.add_fault(FaultRule::once(fault, "/trade/orders-pending")));
    }
}

#[test]
fn reads_at_a_start_wait_for_their_budget() {
    // Ten seconds of the venue are a fifth of a second.
    let venue = venue(50.0);
    let mut leave = own();
    let began = venue.clock.now();
    for _ in 0..5 {
        assert_eq!(venue.read(&mut leave), Ok(0), "an empty account");
    }
    // 20 calls at 8 in ten seconds.
    let took_s = venue.clock.now().since(began) / NS_PER_SEC;
    assert!(took_s >= 20, "{took_s} s");
    let most = venue.server.with(|venue| venue.traffic().trade_calls_10s_max);
    assert!((1..=8).contains(&most), "{most} trading calls in ten seconds");
}

#[test]
fn a_refusal_at_a_start_ends_the_reads() {
    // As long as `fetch` rests after either.
    for (fault, ban_s) in [(Fault::TooMany, 60), (Fault::Forbidden, 300)] {
        let venue = venue(1.0);
        venue.fail(fault);
        let mut leave = own();
        let refused = venue.read(&mut leave).expect_err("refused");
        assert!(
            refused.contains("orders-pending: the venue answered 4"),
            "{refused}"
        );
        let Leave::Own { calls: refusals, .. } = &leave else {
            panic!("it was our own")
        };
        let left = refusals.suspended_until().since(venue.clock.now());
        assert!(left > 0 && left <= ban_s * NS_PER_SEC + NS_PER_MS, "{left}");
        assert!(left > (ban_s - 40) * NS_PER_SEC, "{left}");
        let calls = venue.calls();
        let silent = venue.read(&mut leave).expect_err("in the ban");
        assert!(silent.contains("serves nobody"), "{silent}");
        assert_eq!(venue.calls(), calls, "not one call left in the ban");
    }
}

/// A venue with four instruments, and an observer of what `fetch` tells the gate; the directory is the run's.
fn ground() -> (tempfile::TempDir, Scene, Bus, Observer<AccountEvent>) {
    let out = tempfile::tempdir().expect("a directory");
    let scene = Scene::generated(5, 4, Wall::from_ms(1_767_225_600_000), out.path());
    let bus = graph::plan_bus("held-reads", Stamp::process())
        .heap()
        .expect("a bus");
    let told = bus.observer("fetch_gate").expect("a ring");
    (out, scene, bus, told)
}

#[test]
fn while_running_fetch_grants_each_read_and_shares_its_bans() {
    let (_out, scene, bus, mut told) = ground();
    let plan = scene.plan(SeenHandle::default());
    let calls = Arc::clone(&plan.outside.calls);
    let seats = graph::build(&bus, plan, scene.ports()).expect("a graph");
    let clock = DecisionClock::stepped(scene.start);
    let mut stepper = Stepper::new(seats, clock.clone());
    let mut run_ms = |ms: i64| {
        let until = Wall::from_ms(clock.now().ms() + ms);
        while clock.now() < until {
            clock.advance_to(Wall(clock.now().0 + 20_000_000));
            scene.shared.advance(clock.now());
            stepper.settle().expect("it comes to rest");
        }
    };
    // The stages' own reads of a start are over.
    run_ms(20_000);
    let numbers: Vec<u64> = (0..20).map(|_| calls.ask()).collect();
    let granted = || numbers.iter().filter(|number| calls.is_granted(**number)).count();
    run_ms(1_000);
    let at_once = granted();
    assert!((1..=8).contains(&at_once), "{at_once} of 20 calls at once");
    run_ms(60_000);
    assert_eq!(granted(), 20, "all in their turn");

    // Refused outside: `fetch` is silent, and the gate is told, so that orders are.
    let until = Wall(clock.now().0 + 300 * NS_PER_SEC);
    assert_eq!(last_told(&mut told), None);
    calls.refuse(Refusal::Forbidden, until);
    let number = calls.ask();
    run_ms(1_000);
    assert!(calls.suspended_until() >= until);
    assert!(!calls.is_granted(number), "nobody calls in a ban");
    // Though less than a whole ban is left by then.
    assert_eq!(last_told(&mut told), Some((until.ms(), 1)));
    let mut leave = Leave::Shared(Arc::clone(&calls));
    let venue = venue(1.0);
    let before = venue.calls();
    // The scene's clock is not this venue's; a ban that lies ahead of both is one.
    let until = Wall(venue.clock.now().0 + 300 * NS_PER_SEC);
    calls.refuse(Refusal::Forbidden, until);
    run_ms(1_000);
    let silent = venue.read(&mut leave).expect_err("in the ban");
    assert!(silent.contains("serves nobody"), "{silent}");
    assert_eq!(venue.calls(), before);
}

#[test]
fn a_refusal_at_a_start_is_what_fetch_hears_first() {
    for refusal in [Refusal::TooMany, Refusal::Forbidden] {
        let (_out, scene, bus, mut told) = ground();
        let plan = scene.plan(SeenHandle::default());
        let until = Wall(scene.start.0 + 60 * NS_PER_SEC);
        plan.outside.calls.refuse(refusal, until);
        let seats = graph::build(&bus, plan, scene.ports()).expect("a graph");
        let clock = DecisionClock::stepped(scene.start);
        let mut stepper = Stepper::new(seats, clock.clone());
        let mut run_s = |seconds: u64| {
            for _ in 0..seconds * 10 {
                clock.advance_to(Wall(clock.now().0 + 100_000_000));
                scene.shared.advance(clock.now());
                stepper.settle().expect("it comes to rest");
            }
        };
        run_s(50);
        assert_eq!(
            last_told(&mut told),
            Some((until.ms(), u8::from(refusal.is_ban())))
        );
        let calls = || scene.shared.with(|venue| venue.traffic().calls);
        assert_eq!(calls(), 0, "a call in a ban makes it longer");
        run_s(30);
        assert!(calls() > 0, "it is over");
    }
}

/// What the gate was told of suspensions, oldest first: for how many seconds, and whether it is a ban.
fn told_since(told: &mut Observer<AccountEvent>, now: Wall, into: &mut Vec<(i64, u8)>) {
    loop {
        match told.next() {
            Observed::Record(event) if event.kind == AccountKind::Suspended as u8 => {
                into.push(((event.update_ms - now.ms() + 500) / 1_000, event.detail));
            }
            Observed::Record(_) | Observed::Missed(_) => {}
            Observed::Empty => return,
        }
    }
}

#[test]
fn a_429_upon_another_is_no_ban_however_long_the_pause() {
    for (fault, pauses, detail) in [
        // Twice as long each time, and at last longer than a ban.
        (Fault::TooMany, [60, 120, 240, 480], 0),
        // Those of two that were out together, twice.
        (Fault::Forbidden, [300, 300, 300, 300], 1),
    ] {
        let (_out, scene, bus, mut told) = ground();
        let plan = scene.plan(SeenHandle::default());
        let clock = DecisionClock::stepped(scene.start);
        let bans = SharedBans::of(&plan.outside, &clock);
        scene
            .shared
            .with(|venue| venue.add_fault(FaultRule::chance(fault, "/api", 1_000_000)));
        let seats = graph::build(&bus, plan, scene.ports()).expect("a graph");
        let mut stepper = Stepper::new(seats, clock.clone());
        let mut heard = Vec::new();
        while heard.len() < pauses.len() {
            clock.advance_to(Wall(clock.now().0 + 100_000_000));
            scene.shared.advance(clock.now());
            stepper.settle().expect("it comes to rest");
            let before = heard.len();
            told_since(&mut told, clock.now(), &mut heard);
            if heard.len() > before {
                // The public side is told by then: it asks nothing.
                let left = bans.seconds_left().expect("nobody calls") as i64;
                assert!((left - heard[before].0).abs() <= 1, "{left} of {heard:?}");
            }
            let since_s = clock.now().since(scene.start) / NS_PER_SEC;
            assert!(since_s < 3_600, "{heard:?}");
        }
        // Two may have been told at once.
        heard.truncate(pauses.len());
        assert_eq!(heard, pauses.map(|seconds| (seconds, detail)), "{fault:?}");
    }
}

#[test]
fn a_refused_call_of_the_public_side_silences_reads_and_tells_the_gate() {
    for refusal in [Refusal::TooMany, Refusal::Forbidden] {
        let (_out, scene, bus, mut told) = ground();
        let plan = scene.plan(SeenHandle::default());
        let clock = DecisionClock::stepped(scene.start);
        let bans = SharedBans::of(&plan.outside, &clock);
        let seats = graph::build(&bus, plan, scene.ports()).expect("a graph");
        let mut stepper = Stepper::new(seats, clock.clone());
        let mut run_s = |seconds: u64| {
            for _ in 0..seconds * 10 {
                clock.advance_to(Wall(clock.now().0 + 100_000_000));
                scene.shared.advance(clock.now());
                stepper.settle().expect("it comes to rest");
            }
        };
        run_s(20);
        assert_eq!(bans.seconds_left(), None);
        assert_eq!(last_told(&mut told), None);
        bans.tell(refusal);
        let until = refusal.until(clock.now());
        // What was out by then is answered.
        run_s(1);
        let calls = || scene.shared.with(|venue| venue.traffic().calls);
        let before = calls();
        assert_eq!(
            last_told(&mut told),
            Some((until.ms(), u8::from(refusal.is_ban())))
        );
        run_s(until.since(clock.now()) / NS_PER_SEC - 1);
        assert_eq!(calls(), before, "a call in a ban makes it longer");
        run_s(60);
        assert!(calls() > before, "it is over");
    }
}
