//! The day's tickers of every candidate from the websocket: UNIVERSE_FROM_WS=1.
//!
//! Before and beside the engine, on connections of its own, for as long as it takes until every
//! candidate has spoken once. What the websocket does not give in time stays as REST gave it.

use super::bootstrap;
use super::daemon::monotonic_ns;
use crate::model::{Instruments, Mono, Symbol, Wall};
use crate::settings::{Scan, Venue};
use crate::sys;
use crate::universe::{self, DayTicker, Listing};
use crate::venue::blofin::codec::{Channel, Decoded, Decoder, Window};
use crate::venue::blofin::connector::{Connector, ConnectorConfig, DialTimeouts};
use crate::venue::blofin::frame_port::SocketFrames;
use crate::venue::blofin::market_ws::{FeedEvent, MarketFeed};
use crate::venue::blofin::subscriptions::Subscription;
use crate::venue::blofin::target::Targets;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Connections that may be opened for it; the venue allows one new one a second.
const CONNECTIONS_MAX: usize = 12;
/// How long it may take in all, and how long nothing new may come.
const WAIT_MAX: Duration = Duration::from_secs(20);
const SILENCE_MAX: Duration = Duration::from_secs(6);

/// `listing` with the tickers of the websocket where UNIVERSE_FROM_WS wants them and they came.
pub fn prefer(venue: &Venue, scan: &Scan, mut listing: Listing) -> Listing {
    if !scan.universe_from_ws {
        return listing;
    }
    let Ok(rules) = bootstrap::rules(scan) else {
        return listing;
    };
    let candidates = universe::candidates(&listing, &rules);
    let pushed = read(venue, scan, &candidates).unwrap_or_default();
    if pushed.len() < candidates.len() {
        eprintln!(
            "universe: {} of {} tickers came over the websocket, the others over REST",
            pushed.len(),
            candidates.len()
        );
    }
    listing
        .tickers
        .retain(|ticker| !pushed.contains_key(&ticker.symbol));
    listing.tickers.extend(pushed.into_values());
    listing
}

/// The newest ticker of each of `candidates` that came in time; `None` without a connector.
fn read(venue: &Venue, scan: &Scan, candidates: &Instruments) -> Option<BTreeMap<Symbol, DayTicker>> {
    let targets = Targets::from_urls(
        &venue.blofin_base_url,
        Some(&venue.blofin_ws_public),
        Some(&venue.blofin_ws_private),
    );
    let connector = Connector::start(ConnectorConfig {
        targets: targets.ok()?,
        ca_file: venue.blofin_ca_file.clone(),
        timeouts: DialTimeouts::default(),
    });
    let connector = connector.ok()?;
    let mut port = SocketFrames::new(connector.dialer(None), monotonic_ns, 7);
    let mut feed = MarketFeed::new(scan.ws_args_per_connection as usize, CONNECTIONS_MAX, 7);
    let wanted: Vec<Subscription> = candidates
        .iter()
        .map(|(instrument, row)| Subscription {
            channel: Channel::Tickers,
            instrument,
            symbol: row.symbol,
        })
        .collect();
    feed.set_wanted(&wanted);
    let mut decoder = Decoder::new();
    let mut tickers = BTreeMap::new();
    let (began, mut moved_at) = (Instant::now(), Instant::now());
    while tickers.len() < candidates.len() && began.elapsed() < WAIT_MAX && moved_at.elapsed() < SILENCE_MAX {
        let (now, mono) = (Wall(sys::clock::wall_ns()), Mono(monotonic_ns()));
        match feed.poll(&mut port, now, mono) {
            FeedEvent::Idle => std::thread::sleep(Duration::from_millis(1)),
            FeedEvent::Working | FeedEvent::Notice(_) => {}
            FeedEvent::Frame { bytes, .. } => {
                // A ticker's own time is not judged here: the newest of each counts.
                let window = Window::history(i64::MAX / 2);
                let Ok(Decoded::Ticks(ticks)) = decoder.decode_market(bytes, candidates, &window) else {
                    continue;
                };
                for tick in ticks {
                    feed.on_data(tick.instrument(), Channel::Tickers, mono);
                    let row = candidates.get(tick.instrument());
                    let ticker = row.and_then(|row| DayTicker::of_quote(row.symbol, tick));
                    if let Some(ticker) = ticker
                        && tickers.insert(ticker.symbol, ticker).is_none()
                    {
                        moved_at = Instant::now();
                    }
                }
            }
        }
    }
    Some(tickers)
}
