//! Promise: whatever a websocket does, what is wanted gets subscribed, what is not served is found
//! and named, silence is noticed, and nobody storms the venue.
//!
//! The feeds run against a scripted venue inside this file, on a clock that the test turns.

use smart_scanner::model::time::NS_PER_SEC;
use smart_scanner::model::{InstrumentId, Mono, Symbol, Timeframe, Wall};
use smart_scanner::venue::blofin::account_ws::{AccountFeed, AccountFeedEvent};
use smart_scanner::venue::blofin::codec::control::Channel;
use smart_scanner::venue::blofin::market_ws::{FeedEvent, MarketFeed, Notice};
use smart_scanner::venue::blofin::pace::Jitter;
use smart_scanner::venue::blofin::request::RequestWriter;
use smart_scanner::venue::blofin::sign::{Credentials, NonceSource};
use smart_scanner::venue::blofin::subscriptions::Subscription;
use smart_scanner::venue::seam::{Endpoint, FrameEvent, FramePort, Gone};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const SEC: u64 = NS_PER_SEC;
/// How far the test's clock goes in one step.
const STEP_NS: u64 = 50_000_000;

/// How the scripted venue answers a request that holds a bad argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Temper {
    /// One error, and nothing of the message is subscribed.
    AllOrNothing,
    /// The good ones are confirmed, then one error for each bad one.
    ConfirmsThenErrors,
    /// The error comes first, confirmations a little later.
    ErrorThenConfirms,
    /// Bad arguments are never answered at all.
    Mute,
}

/// A venue with nothing behind it.
struct Venue {
    temper: Temper,
    bad: BTreeSet<String>,
    now_ns: u64,
    /// Open connections, and what they are subscribed to.
    open: BTreeMap<u16, BTreeSet<String>>,
    opens: Vec<(u64, u16, Endpoint)>,
    /// (due, connection, text), texts of one connection in order.
    outbox: VecDeque<(u64, u16, String)>,
    events: VecDeque<(u16, Option<Gone>)>,
    requests: Vec<(u64, u16, String)>,
    pings: Vec<u64>,
    /// Opening fails, requests are ignored, pings are ignored.
    refuses: bool,
    is_deaf: bool,
    is_dead: bool,
    login_code: &'static str,
    current: String,
}

impl Venue {
    fn new(temper: Temper, bad: &[&str]) -> Self {
        Venue {
            temper,
            bad: bad.iter().map(|text| text.to_string()).collect(),
            now_ns: 0,
            open: BTreeMap::new(),
            opens: Vec::new(),
            outbox: VecDeque::new(),
            events: VecDeque::new(),
            requests: Vec::new(),
            pings: Vec::new(),
            refuses: false,
            is_deaf: false,
            is_dead: false,
            login_code: "0",
            current: String::new(),
        }
    }

    fn say(&mut self, delay_ns: u64, connection: u16, text: String) {
        self.outbox.push_back((self.now_ns + delay_ns, connection, text));
    }

    fn say_data(&mut self, connection: u16, topic: &str) {
        self.say(
            0,
            connection,
            format!(r#"{{"arg":{{"channel":"{topic}"}},"data":[1]}}"#),
        );
    }

    fn break_off(&mut self, connection: u16) {
        self.open.remove(&connection);
        self.outbox.retain(|(_, other, _)| *other != connection);
        self.events.push_back((connection, Some(Gone::Closed)));
    }

    fn subscribed(&self) -> BTreeSet<String> {
        self.open.values().flatten().cloned().collect()
    }

    fn on_request(&mut self, connection: u16, text: &str) {
        assert!(text.len() <= 4096, "{} bytes in one request", text.len());
        self.requests.push((self.now_ns, connection, text.to_owned()));
        if self.is_deaf {
            return;
        }
        let value: serde_json::Value = serde_json::from_str(text).expect("requests are JSON");
        let error = r#"{"event":"error","code":"60012","msg":"Invalid request: {}"}"#.to_owned();
        let op = value["op"].as_str().expect("an op").to_owned();
        if op == "login" {
            let code = self.login_code;
            let event = if code == "0" { "login" } else { "error" };
            self.say(
                0,
                connection,
                format!(r#"{{"event":"{event}","code":"{code}","msg":""}}"#),
            );
            return;
        }
        let args: Vec<(String, String)> = value["args"]
            .as_array()
            .expect("args")
            .iter()
            .map(|arg| (key_of(arg), arg.to_string()))
            .collect();
        let (bad, good): (Vec<_>, Vec<_>) = args.into_iter().partition(|(key, _)| self.bad.contains(key));
        let (error_delay, ack_delay) = match self.temper {
            Temper::ErrorThenConfirms => (0, 200_000_000),
            _ => (0, 0),
        };
        let acks = |venue: &mut Venue| {
            for (key, arg) in &good {
                let topics = venue.open.get_mut(&connection).expect("it is open");
                if op == "subscribe" {
                    topics.insert(key.clone())
                } else {
                    topics.remove(key)
                };
                venue.say(
                    ack_delay,
                    connection,
                    format!(r#"{{"event":"{op}","arg":{arg}}}"#),
                );
            }
        };
        match self.temper {
            _ if bad.is_empty() => acks(self),
            Temper::AllOrNothing => self.say(error_delay, connection, error),
            Temper::ConfirmsThenErrors => {
                acks(self);
                bad.iter()
                    .for_each(|_| self.say(error_delay, connection, error.clone()));
            }
            Temper::ErrorThenConfirms => {
                self.say(error_delay, connection, error);
                acks(self);
            }
            Temper::Mute => acks(self),
        }
    }
}

fn key_of(arg: &serde_json::Value) -> String {
    let text = |name: &str| arg[name].as_str().unwrap_or("").to_owned();
    format!("{}:{}", text("channel"), text("instId"))
}

impl FramePort for Venue {
    fn open(&mut self, connection: u16, endpoint: Endpoint) {
        self.opens.push((self.now_ns, connection, endpoint));
        let why = self.refuses.then_some(Gone::NotOpened);
        self.events.push_back((connection, why));
    }

    fn send(&mut self, connection: u16, text: &[u8]) -> bool {
        if !self.open.contains_key(&connection) {
            return false;
        }
        let text = std::str::from_utf8(text).expect("requests are text");
        if text != "ping" {
            self.on_request(connection, text);
            return true;
        }
        self.pings.push(self.now_ns);
        if !self.is_dead {
            self.say(0, connection, "pong".to_owned());
        }
        true
    }

    fn close(&mut self, connection: u16) {
        self.open.remove(&connection);
        self.outbox.retain(|(_, other, _)| *other != connection);
    }

    fn poll(&mut self, _now: Wall) -> FrameEvent<'_> {
        if let Some((connection, why)) = self.events.pop_front() {
            return match why {
                Some(why) => FrameEvent::Gone { connection, why },
                None => {
                    self.open.insert(connection, BTreeSet::new());
                    FrameEvent::Opened { connection }
                }
            };
        }
        let Some(at) = self.outbox.iter().position(|(due, _, _)| *due <= self.now_ns) else {
            return FrameEvent::Idle;
        };
        let (_, connection, text) = self.outbox.remove(at).expect("it was just found");
        self.current = text;
        FrameEvent::Text {
            connection,
            receive_ns: self.now_ns,
            bytes: self.current.as_bytes(),
        }
    }
}

fn subscription(instrument: u16, channel: Channel) -> Subscription {
    Subscription {
        channel,
        instrument: InstrumentId(instrument),
        symbol: Symbol::parse(&format!("COIN{instrument}-USDT")).expect("a symbol"),
    }
}

fn candles(count: u16) -> Vec<Subscription> {
    (0..count)
        .map(|instrument| subscription(instrument, Channel::Candle(Timeframe::M1)))
        .collect()
}

fn keys(wanted: &[Subscription]) -> BTreeSet<String> {
    wanted
        .iter()
        .map(|subscription| subscription.to_string())
        .collect()
}

/// Runs for `seconds`, calling `each` at the start of every step; returns what was told.
fn run(
    feed: &mut MarketFeed,
    venue: &mut Venue,
    seconds: u64,
    mut each: impl FnMut(&mut MarketFeed, &mut Venue),
) -> Vec<Notice> {
    let mut notices = Vec::new();
    let until = venue.now_ns + seconds * SEC;
    while venue.now_ns < until {
        venue.now_ns += STEP_NS;
        each(feed, venue);
        loop {
            let mono = Mono(venue.now_ns);
            match feed.poll(venue, Wall(0), mono) {
                FeedEvent::Idle => break,
                FeedEvent::Working | FeedEvent::Frame { .. } => {}
                FeedEvent::Notice(notice) => notices.push(notice),
            }
        }
    }
    notices
}

/// Data of every wanted subscription, on a connection that carries it, each second.
fn feed_all(wanted: &[Subscription]) -> impl FnMut(&mut MarketFeed, &mut Venue) + '_ {
    move |feed, venue| {
        if venue.now_ns % SEC != 0 {
            return;
        }
        let connections: Vec<u16> = venue.open.keys().copied().collect();
        connections
            .iter()
            .for_each(|connection| venue.say_data(*connection, "x"));
        let served = venue.subscribed();
        for subscription in wanted
            .iter()
            .filter(|subscription| served.contains(&subscription.to_string()))
        {
            feed.on_data(subscription.instrument, subscription.channel, Mono(venue.now_ns));
        }
    }
}

#[test]
fn everything_wanted_is_subscribed_over_enough_connections() {
    let wanted = candles(450);
    let mut feed = MarketFeed::new(100, 32, 1);
    let mut venue = Venue::new(Temper::AllOrNothing, &[]);
    assert_eq!(feed.set_wanted(&wanted), 0);
    let notices = run(&mut feed, &mut venue, 10, feed_all(&wanted));
    assert_eq!(venue.subscribed(), keys(&wanted));
    assert!(feed.is_settled());
    assert_eq!(venue.open.len(), 5);
    assert!(venue.open.values().all(|topics| topics.len() <= 100));
    assert!(
        venue.requests.len() <= 10,
        "two requests carry a hundred: {}",
        venue.requests.len()
    );
    let fresh = notices
        .iter()
        .filter(|notice| matches!(notice, Notice::Fresh(_)))
        .count();
    assert_eq!((fresh, notices.len()), (450, 450), "and each becomes fresh, once");
}

#[test]
fn what_finds_no_connection_is_counted() {
    let mut feed = MarketFeed::new(10, 2, 1);
    assert_eq!(feed.set_wanted(&candles(25)), 5);
}

#[test]
fn exactly_the_bad_argument_is_found() {
    let all = [
        Temper::AllOrNothing,
        Temper::ConfirmsThenErrors,
        Temper::ErrorThenConfirms,
        Temper::Mute,
    ];
    for temper in all {
        for bad in [0, 1, 37, 78, 99] {
            let wanted = candles(100);
            let bad = wanted[bad];
            let mut feed = MarketFeed::new(100, 4, 1);
            let mut venue = Venue::new(temper, &[&bad.to_string()]);
            feed.set_wanted(&wanted);
            let notices = run(&mut feed, &mut venue, 60, feed_all(&wanted));
            let refused: Vec<_> = feed.refused().collect();
            assert_eq!(refused, [bad], "{temper:?}");
            assert_eq!(
                notices
                    .iter()
                    .filter(|notice| matches!(notice, Notice::Refused(_)))
                    .count(),
                1
            );
            let mut served = keys(&wanted);
            served.remove(&bad.to_string());
            assert_eq!(venue.subscribed(), served, "{temper:?}: the others are served");
            assert!(
                venue.requests.len() <= 20,
                "{temper:?}: {} requests",
                venue.requests.len()
            );
            assert_eq!(venue.opens.len(), 1, "{temper:?}: without a new connection");
        }
    }
}

#[test]
fn several_bad_arguments_are_all_found_and_asked_for_again_much_later() {
    let seed = 5;
    println!("seed {seed}");
    let mut jitter = Jitter::new(seed);
    let wanted = candles(100);
    let bad: BTreeSet<String> = (0..7)
        .map(|_| wanted[jitter.below(100) as usize].to_string())
        .collect();
    for temper in [
        Temper::AllOrNothing,
        Temper::ConfirmsThenErrors,
        Temper::ErrorThenConfirms,
    ] {
        let mut feed = MarketFeed::new(100, 4, 1);
        let mut venue = Venue::new(temper, &bad.iter().map(String::as_str).collect::<Vec<_>>());
        feed.set_wanted(&wanted);
        run(&mut feed, &mut venue, 120, feed_all(&wanted));
        assert_eq!(
            feed.refused()
                .map(|subscription| subscription.to_string())
                .collect::<BTreeSet<_>>(),
            bad
        );
        venue.bad.clear();
        run(&mut feed, &mut venue, 1_800, feed_all(&wanted));
        assert_eq!(
            feed.refused().count(),
            0,
            "{temper:?}: they were listed meanwhile"
        );
        assert_eq!(venue.subscribed(), keys(&wanted));
    }
}

#[test]
fn a_change_of_what_is_wanted_sends_only_the_difference() {
    let mut wanted = candles(50);
    let mut feed = MarketFeed::new(100, 4, 1);
    let mut venue = Venue::new(Temper::AllOrNothing, &[]);
    feed.set_wanted(&wanted);
    run(&mut feed, &mut venue, 5, feed_all(&wanted));
    let before = venue.requests.len();
    let book = subscription(7, Channel::Books);
    wanted.push(book);
    feed.set_wanted(&wanted);
    run(&mut feed, &mut venue, 2, feed_all(&wanted));
    wanted.pop();
    feed.set_wanted(&wanted);
    run(&mut feed, &mut venue, 2, feed_all(&wanted));
    let texts: Vec<&str> = venue.requests[before..]
        .iter()
        .map(|(_, _, text)| text.as_str())
        .collect();
    assert_eq!(
        texts,
        [
            r#"{"op":"subscribe","args":[{"channel":"books","instId":"COIN7-USDT"}]}"#,
            r#"{"op":"unsubscribe","args":[{"channel":"books","instId":"COIN7-USDT"}]}"#
        ]
    );
    assert_eq!(venue.subscribed(), keys(&wanted));
}

#[test]
fn a_book_is_renewed_on_request_and_stale_until_it_is_back() {
    let book = subscription(3, Channel::Books);
    let mut feed = MarketFeed::new(100, 4, 1);
    let mut venue = Venue::new(Temper::AllOrNothing, &[]);
    feed.set_wanted(&[book]);
    run(&mut feed, &mut venue, 3, feed_all(&[book]));
    let before = venue.requests.len();
    feed.renew(book.instrument, book.channel);
    let notices = run(&mut feed, &mut venue, 3, feed_all(&[book]));
    assert_eq!(notices, [Notice::Stale(book), Notice::Fresh(book)]);
    let ops: Vec<bool> = venue.requests[before..]
        .iter()
        .map(|(_, _, text)| text.contains("unsubscribe"))
        .collect();
    assert_eq!(ops, [true, false], "left first, then asked for");
}

#[test]
fn a_lost_connection_is_told_and_everything_on_it_comes_back() {
    let wanted = candles(150);
    let mut feed = MarketFeed::new(100, 4, 1);
    let mut venue = Venue::new(Temper::AllOrNothing, &[]);
    feed.set_wanted(&wanted);
    run(&mut feed, &mut venue, 5, feed_all(&wanted));
    venue.break_off(0);
    let notices = run(&mut feed, &mut venue, 10, feed_all(&wanted));
    let count = |wanted: fn(&Notice) -> bool| notices.iter().filter(|notice| wanted(notice)).count();
    assert_eq!(count(|notice| matches!(notice, Notice::Stale(_))), 100);
    assert_eq!(count(|notice| matches!(notice, Notice::Fresh(_))), 100);
    assert_eq!(
        count(|notice| matches!(notice, Notice::Reconnected { connection: 0 })),
        1
    );
    assert_eq!(venue.subscribed(), keys(&wanted));
}

#[test]
fn pongs_do_not_count_as_data() {
    // A zombie: pings are answered, requests are confirmed, and nothing else ever comes.
    let wanted = candles(20);
    let mut feed = MarketFeed::new(100, 4, 1);
    let mut venue = Venue::new(Temper::AllOrNothing, &[]);
    feed.set_wanted(&wanted);
    run(&mut feed, &mut venue, 25, |_, _| {});
    assert_eq!(
        (feed.counts().renewals, venue.opens.len()),
        (0, 1),
        "patience at first"
    );
    run(&mut feed, &mut venue, 20, |_, _| {});
    assert_eq!(
        (feed.counts().renewals, venue.opens.len()),
        (20, 1),
        "then everything is renewed"
    );
    run(&mut feed, &mut venue, 40, |_, _| {});
    assert_eq!(venue.opens.len(), 2, "then the connection is");
    run(&mut feed, &mut venue, 3_600, |_, _| {});
    assert!(
        venue.opens.len() <= 10,
        "ever more rarely: {} connections in an hour",
        venue.opens.len()
    );
}

#[test]
fn one_silent_instrument_is_renewed_and_the_others_are_left_alone() {
    let wanted = candles(20);
    let mut feed = MarketFeed::new(100, 4, 1);
    let mut venue = Venue::new(Temper::AllOrNothing, &[]);
    feed.set_wanted(&wanted);
    run(&mut feed, &mut venue, 5, feed_all(&wanted));
    let notices = run(&mut feed, &mut venue, 200, feed_all(&wanted[1..]));
    assert_eq!(notices, [Notice::Stale(wanted[0])]);
    assert_eq!((feed.counts().renewals, venue.opens.len()), (1, 1));
    run(&mut feed, &mut venue, 3_600, feed_all(&wanted[1..]));
    assert!(
        feed.counts().renewals <= 6,
        "a quiet market is not stormed: {}",
        feed.counts().renewals
    );
    let notices = run(&mut feed, &mut venue, 5, feed_all(&wanted));
    assert_eq!(notices, [Notice::Fresh(wanted[0])]);
}

#[test]
fn a_silent_tape_is_believed() {
    let tape = [subscription(0, Channel::Trades)];
    let mut feed = MarketFeed::new(100, 4, 1);
    let mut venue = Venue::new(Temper::AllOrNothing, &[]);
    feed.set_wanted(&tape);
    run(&mut feed, &mut venue, 600, |_, _| {});
    assert_eq!((feed.counts().renewals, venue.opens.len()), (0, 1));
    assert!(
        venue.pings.windows(2).all(|pair| pair[1] - pair[0] <= 20 * SEC),
        "and kept alive"
    );
    assert!(venue.pings.len() >= 30);
}

#[test]
fn a_dead_connection_is_replaced() {
    let tape = [subscription(0, Channel::Trades)];
    let mut feed = MarketFeed::new(100, 4, 1);
    let mut venue = Venue::new(Temper::AllOrNothing, &[]);
    feed.set_wanted(&tape);
    run(&mut feed, &mut venue, 5, |_, _| {});
    venue.is_dead = true;
    run(&mut feed, &mut venue, 40, |_, _| {});
    assert_eq!(venue.opens.len(), 2);
}

#[test]
fn an_unreachable_venue_is_not_stormed() {
    let wanted = candles(300);
    let mut feed = MarketFeed::new(100, 4, 1);
    let mut venue = Venue::new(Temper::AllOrNothing, &[]);
    venue.refuses = true;
    feed.set_wanted(&wanted);
    run(&mut feed, &mut venue, 600, |_, _| {});
    let attempts = venue.opens.len();
    assert!(
        (3 * 20..3 * 60).contains(&attempts),
        "{attempts} attempts of three connections in ten minutes"
    );
    venue.refuses = false;
    run(&mut feed, &mut venue, 40, feed_all(&wanted));
    assert_eq!(venue.subscribed(), keys(&wanted));
}

#[test]
fn a_venue_that_answers_no_request_gets_a_new_connection() {
    let wanted = candles(20);
    let mut feed = MarketFeed::new(100, 4, 1);
    let mut venue = Venue::new(Temper::AllOrNothing, &[]);
    venue.is_deaf = true;
    feed.set_wanted(&wanted);
    run(&mut feed, &mut venue, 25, |_, _| {});
    assert_eq!((venue.requests.len(), venue.opens.len()), (3, 2));
    venue.is_deaf = false;
    run(&mut feed, &mut venue, 30, feed_all(&wanted));
    assert_eq!(venue.subscribed(), keys(&wanted));
    assert_eq!(feed.refused().count(), 0, "nobody is blamed for it");
}

#[test]
fn no_connection_sends_more_than_480_requests_in_an_hour() {
    let book = subscription(3, Channel::Books);
    let mut feed = MarketFeed::new(100, 4, 1);
    let mut venue = Venue::new(Temper::AllOrNothing, &[]);
    feed.set_wanted(&[book]);
    run(&mut feed, &mut venue, 3_600, |feed, venue| {
        feed_all(&[book])(feed, venue);
        feed.renew(book.instrument, book.channel);
    });
    assert!(
        (400..=480).contains(&venue.requests.len()),
        "{} requests",
        venue.requests.len()
    );
    assert!(feed.counts().held_back > 0);
}

#[test]
fn random_faults_never_leave_the_feed_wrong() {
    for seed in 1..=20 {
        println!("seed {seed}");
        let mut jitter = Jitter::new(seed);
        let mut feed = MarketFeed::new(30, 16, seed);
        let mut venue = Venue::new(
            [
                Temper::AllOrNothing,
                Temper::ConfirmsThenErrors,
                Temper::ErrorThenConfirms,
            ][jitter.below(3) as usize],
            &[],
        );
        let all = candles(120);
        let mut wanted = all.clone();
        let mut was_deaf = false;
        for _ in 0..30 {
            match jitter.below(5) {
                0 => venue.break_off(jitter.below(4) as u16),
                1 => venue.refuses = !venue.refuses,
                // Every other seed: a venue that ignored a request may go on sending.
                2 if seed % 2 == 1 => {
                    venue.is_deaf = !venue.is_deaf;
                    was_deaf = true;
                }
                3 => feed.renew(
                    InstrumentId(jitter.below(120) as u16),
                    Channel::Candle(Timeframe::M1),
                ),
                _ => {
                    wanted = all.iter().filter(|_| jitter.below(3) > 0).copied().collect();
                    assert_eq!(feed.set_wanted(&wanted), 0);
                }
            }
            run(&mut feed, &mut venue, jitter.below(20), feed_all(&wanted));
        }
        (venue.refuses, venue.is_deaf) = (false, false);
        run(&mut feed, &mut venue, 4_000, feed_all(&wanted));
        assert!(venue.subscribed().is_superset(&keys(&wanted)), "seed {seed}");
        // A venue that ignored requests may still send what was left; nothing else may.
        assert!(was_deaf || venue.subscribed() == keys(&wanted), "seed {seed}");
        assert!(feed.is_settled() && feed.refused().count() == 0);
    }
}

/// What the account feed told, in an owned form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Up,
    Down,
    FatalAuth(u32),
    Frame,
}

fn writer() -> RequestWriter {
    let credentials = Credentials {
        key: "key".to_owned(),
        secret: "secret".to_owned(),
        passphrase: "phrase".to_owned(),
    };
    RequestWriter::new(&credentials, "127.0.0.1", NonceSource::new(1, 1))
}

fn run_account(
    feed: &mut AccountFeed,
    venue: &mut Venue,
    seconds: u64,
    each: impl Fn(&mut Venue),
) -> Vec<Told> {
    let mut told = Vec::new();
    let mut writer = writer();
    let until = venue.now_ns + seconds * SEC;
    while venue.now_ns < until {
        venue.now_ns += STEP_NS;
        each(venue);
        loop {
            let now = venue.now_ns;
            match feed.poll(venue, &mut writer, Wall(now), Mono(now)) {
                AccountFeedEvent::Idle => break,
                AccountFeedEvent::Working => {}
                AccountFeedEvent::SocketUp => told.push(Told::Up),
                AccountFeedEvent::SocketDown => told.push(Told::Down),
                AccountFeedEvent::FatalAuth { code } => told.push(Told::FatalAuth(code)),
                AccountFeedEvent::Frame { .. } => told.push(Told::Frame),
            }
        }
    }
    told
}

#[test]
fn the_account_feed_is_up_only_when_all_four_channels_are() {
    let mut feed = AccountFeed::new(0, 1);
    let mut venue = Venue::new(Temper::AllOrNothing, &[]);
    assert_eq!(run_account(&mut feed, &mut venue, 2, |_| {}), [Told::Up]);
    assert!(feed.is_up());
    assert_eq!(venue.opens[0].2, Endpoint::Private);
    let texts: Vec<&str> = venue.requests.iter().map(|(_, _, text)| text.as_str()).collect();
    assert!(texts[0].starts_with(r#"{"op":"login","args":[{"apiKey":"key""#));
    assert_eq!(
        texts[1..],
        [
            r#"{"op":"subscribe","args":[{"channel":"orders"},{"channel":"orders-algo"},{"channel":"positions"},{"channel":"account"}]}"#
        ]
    );
    venue.say_data(0, "positions");
    assert_eq!(run_account(&mut feed, &mut venue, 1, |_| {}), [Told::Frame]);
    venue.break_off(0);
    assert_eq!(
        run_account(&mut feed, &mut venue, 5, |_| {}),
        [Told::Down, Told::Up]
    );

    let mut feed = AccountFeed::new(0, 1);
    let mut venue = Venue::new(Temper::Mute, &["orders-algo:"]);
    assert_eq!(
        run_account(&mut feed, &mut venue, 300, |_| {}),
        [],
        "three of four are not enough"
    );
    assert!(
        !feed.is_up() && (10..60).contains(&venue.opens.len()),
        "{}",
        venue.opens.len()
    );
}

#[test]
fn a_refused_login_is_told_and_not_repeated_in_a_storm() {
    let mut feed = AccountFeed::new(0, 1);
    let mut venue = Venue::new(Temper::AllOrNothing, &[]);
    venue.login_code = "60009";
    let told = run_account(&mut feed, &mut venue, 900, |_| {});
    assert_eq!(told, [Told::FatalAuth(60009); 3]);
    assert_eq!(venue.requests.len(), 3, "one attempt in five minutes");
    assert!(venue.open.is_empty(), "and no idle connection meanwhile");
    venue.login_code = "0";
    let told = run_account(&mut feed, &mut venue, 290, |_| {});
    assert_eq!(told[..1], [Told::Up], "until the key is right");
}

#[test]
fn a_silent_account_feed_is_opened_anew_ever_more_rarely() {
    let mut feed = AccountFeed::new(0, 1);
    let mut venue = Venue::new(Temper::AllOrNothing, &[]);
    let told = run_account(&mut feed, &mut venue, 295, |_| {});
    assert_eq!(told, [Told::Up]);
    let told = run_account(&mut feed, &mut venue, 20, |_| {});
    assert_eq!(told, [Told::Down, Told::Up]);
    let told = run_account(&mut feed, &mut venue, 7_200, |_| {});
    assert!(told.len() <= 8, "{}", told.len());
    let mut feed = AccountFeed::new(0, 1);
    let mut venue = Venue::new(Temper::AllOrNothing, &[]);
    let told = run_account(&mut feed, &mut venue, 3_600, |venue| {
        if venue.now_ns % (60 * SEC) == 0 && !venue.open.is_empty() {
            venue.say_data(0, "account");
        }
    });
    assert!(!told.contains(&Told::Down), "a push a minute is enough");
}

#[test]
fn a_dead_account_socket_is_noticed_within_a_minute() {
    let mut feed = AccountFeed::new(0, 1);
    let mut venue = Venue::new(Temper::AllOrNothing, &[]);
    run_account(&mut feed, &mut venue, 2, |_| {});
    venue.is_dead = true;
    assert_eq!(run_account(&mut feed, &mut venue, 45, |_| {})[0], Told::Down);
}
