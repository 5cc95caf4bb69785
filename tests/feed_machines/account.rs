//! The account feed.

use super::{SEC, STEP_NS, Temper, Venue};
use smart_scanner::model::{Mono, Wall};
use smart_scanner::venue::blofin::account_ws::{AccountFeed, AccountFeedEvent};
use smart_scanner::venue::blofin::request::RequestWriter;
use smart_scanner::venue::blofin::sign::{Credentials, NonceSource};
use smart_scanner::venue::seam::Endpoint;

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
    assert!((10..60).contains(&venue.opens.len()), "{}", venue.opens.len());
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
