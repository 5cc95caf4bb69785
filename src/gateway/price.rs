//! The last price of an instrument, asked over REST when an alert brought none and the gate has none.
//!
//! It serves the record of the alert only: an entry always needs a live quote. One call at a time,
//! each with a short limit, so a flood of alerts is no flood at the venue. In a ban none is made, and one that
//! is refused silences the stages.

use crate::venue::blofin::bans::{Bans, Refusal};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Longest wait for the venue.
const TIMEOUT: Duration = Duration::from_millis(1_000);
/// Longest answer that is read.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Where prices are asked.
pub struct Prices {
    client: reqwest::Client,
    base_url: String,
    bans: Arc<dyn Bans>,
    one: Semaphore,
}

impl Prices {
    /// Asks at `base_url` with `client`, unless `bans` forbids it.
    pub fn new(client: reqwest::Client, base_url: &str, bans: Arc<dyn Bans>) -> Self {
        Prices {
            client,
            base_url: base_url.trim_end_matches('/').to_owned(),
            bans,
            one: Semaphore::new(1),
        }
    }

    /// The last price of `symbol`; `None` when another call is under way, the venue serves nobody or gives none.
    pub async fn last(&self, symbol: &str) -> Option<f64> {
        let _permit = self.one.try_acquire().ok()?;
        if self.bans.seconds_left().is_some() {
            return None;
        }
        tokio::time::timeout(TIMEOUT, self.ask(symbol))
            .await
            .ok()
            .flatten()
    }

    async fn ask(&self, symbol: &str) -> Option<f64> {
        let url = format!("{}/api/v1/market/tickers?instId={symbol}", self.base_url);
        let mut response = self.client.get(url).send().await.ok()?;
        let status = response.status().as_u16();
        if let Some(refusal) = Refusal::of(status, None) {
            // Before the body: a firewall's page may be long, or never end.
            self.bans.tell(refusal);
            return None;
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.ok()? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > BODY_BYTES_MAX {
                return None;
            }
        }
        let answer: Value = serde_json::from_slice(&bytes).ok()?;
        let code = &answer["code"];
        let code = code
            .as_i64()
            .or_else(|| code.as_str().and_then(|code| code.parse().ok()));
        if let Some(refusal) = Refusal::of(status, code) {
            self.bans.tell(refusal);
            return None;
        }
        let last = answer["data"][0]["last"].as_str()?.parse().ok()?;
        (f64::is_finite(last) && last > 0.0).then_some(last)
    }
}
