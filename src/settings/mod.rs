//! Settings: read once at start, checked as a whole, then passed down as plain values.
//!
//! Precedence: command line, environment, `.env`, the overlay of `--config`, `config/default.toml`.
//! It owns the table of keys and every rule about them. It never watches files, never logs, and
//! nothing below `app` reads it: each module gets the few values it needs as arguments.

mod checks;
mod fault;
pub mod keys;
mod layout;
mod legacy;
mod load;
pub mod migration;
mod secret;
mod sections;
mod source;
mod value;

pub use fault::Origin;
pub use fault::SettingsError;
pub use fault::SettingsFault;
pub use layout::Idle;
pub use layout::Layout;
pub use layout::STAGES;
pub use legacy::LEGACY;
pub use load::DEFAULT_TOML;
pub use load::DEMO_TOML;
pub use load::LoadOptions;
pub use load::RESEARCH_BASE_URL;
pub use secret::Credentials;
pub use secret::Secret;
pub use secret::Secrets;
pub use sections::*;

/// Every setting, typed and checked.
#[derive(Debug)]
pub struct Settings {
    /// One daemon's name, files and threads.
    pub daemon: Daemon,
    /// Where the venue is and what it charges.
    pub venue: Venue,
    /// The universe and its candles.
    pub scan: Scan,
    /// From features to a signal.
    pub score: Score,
    /// Order books and the public tape.
    pub order_flow: OrderFlow,
    /// From a signal to an order.
    pub trade: Trade,
    /// Take profit and stop loss.
    pub bracket: Bracket,
    /// The HTTP listener.
    pub gateway: Gateway,
    /// What is written to disk.
    pub record: Record,
    /// Credentials; formatting shows `[redacted]`.
    pub secrets: Secrets,
    /// What the user should know, one line each, in the order found. Print them at start.
    pub warnings: Vec<String>,
    changed: Vec<Changed>,
    config_hash: String,
}

/// A key whose value is not the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The key.
    pub key: &'static str,
    /// Its effective value; `[redacted]` for credentials.
    pub value: String,
    /// Where the value came from.
    pub origin: Origin,
}

impl Settings {
    /// True when orders are real. Loading has then made sure of the second opt-in and of all three
    /// credentials; research settings never send anything to a real venue either way.
    pub fn is_live(&self) -> bool {
        !self.trade.paper_trading
    }

    /// The keys that differ from their defaults, in the order of `config/default.toml`.
    pub fn report(&self) -> &[Changed] {
        &self.changed
    }

    /// 64 hex digits of blake3 over every effective value as loaded, credentials left out: equal
    /// hashes mean equal behaviour of two runs.
    pub fn config_hash(&self) -> &str {
        &self.config_hash
    }
}

impl Venue {
    /// Points REST and both websockets at another root, such as the embedded exchange.
    pub fn point_at(&mut self, base_url: &str) {
        let base_url = base_url.trim_end_matches('/');
        self.blofin_ws_public = socket_url(base_url, "/ws/public");
        self.blofin_ws_private = socket_url(base_url, "/ws/private");
        self.blofin_base_url = base_url.to_owned();
    }
}
