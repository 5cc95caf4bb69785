//! The whole graph over the embedded exchange in process, for tests that drive it themselves: one
//! generated market, one account, the lively research settings.

use smart_scanner::app::graph::{Plan, Ports};
use smart_scanner::app::taping::Taping;
use smart_scanner::exchange::amount::Amount;
use smart_scanner::exchange::{Exchange, ExchangeConfig, Generated, GeneratedOptions, Market};
use smart_scanner::model::{Instruments, Wall};
use smart_scanner::settings::Settings;
use smart_scanner::stage::decode::CandleSource;
use smart_scanner::stage::housekeep::SeenHandle;
use smart_scanner::sys::clock::Stamp;
use smart_scanner::venue::blofin::sign;
use smart_scanner::venue::loopback::{
    Credential, InProcessCalls, InProcessFrames, Latency, LoopbackOptions, LoopbackVenue, SharedVenue,
};
use std::path::Path;
use std::sync::Arc;

const KEY: &str = "key";
const SECRET: &str = "secret";
const PASSPHRASE: &str = "pass";

/// An exchange with its market and account, and what a graph over it is made from.
pub struct Scene {
    pub shared: SharedVenue,
    pub instruments: Arc<Instruments>,
    pub settings: Settings,
    pub start: Wall,
    pub seed: u64,
}

impl Scene {
    /// A generated market of `instruments` that begins at `start`.
    pub fn generated(seed: u64, instruments: usize, start: Wall, out: &Path) -> Scene {
        println!("seed {seed}");
        let options = GeneratedOptions {
            seed,
            instruments,
            start,
            ..GeneratedOptions::default()
        };
        let market = Market::Generated(Box::new(Generated::new(options)));
        let exchange = Exchange::new(ExchangeConfig::default(), market);
        let start = exchange.start();
        let instruments = Arc::new(exchange.instruments().clone());
        let options = LoopbackOptions {
            seed,
            ..LoopbackOptions::default()
        };
        let mut venue = LoopbackVenue::new(exchange, options);
        venue.add_account(Credential::new(KEY, SECRET, PASSPHRASE), Amount::from(10_000));
        let latency = Latency {
            min_ns: 5_000_000,
            max_ns: 20_000_000,
        };
        Scene {
            shared: SharedVenue::new(venue, latency, seed),
            instruments,
            settings: Settings::research(None, &[], out).expect("the research settings are valid"),
            start,
            seed,
        }
    }

    /// Ports onto the exchange.
    pub fn ports(&self) -> Ports {
        let frames = || Box::new(InProcessFrames::new(self.shared.clone(), monotonic_ns));
        let calls = || Box::new(InProcessCalls::new(self.shared.clone(), monotonic_ns));
        Ports {
            market: Some(frames()),
            account: frames(),
            orders: calls(),
            reads: calls(),
        }
    }

    /// The plan of a graph that nobody records.
    pub fn plan(&self, seen: SeenHandle) -> Plan<'_> {
        Plan {
            settings: &self.settings,
            instruments: Arc::clone(&self.instruments),
            ranking: self.instruments.iter().map(|(id, _)| id).collect(),
            credentials: sign::Credentials {
                key: KEY.to_string(),
                secret: SECRET.to_string(),
                passphrase: PASSPHRASE.to_string(),
            },
            host: "exchange".to_string(),
            epoch: 1,
            seed: self.seed,
            taping: Taping::Off,
            metrics_path: None,
            seen,
            control: Arc::default(),
            tick_digest: None,
            table: None,
            source: CandleSource::Socket,
            paper: None,
            intents: None,
            start: smart_scanner::model::Wall(0),
            scan: true,
            alerts: None,
            learned: Default::default(),
            outside: Default::default(),
        }
    }
}

fn monotonic_ns() -> u64 {
    Stamp::process().now_ns()
}
