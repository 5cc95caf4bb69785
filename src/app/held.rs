//! What the account holds, by symbol, before anything is followed: an instrument with a position, an order
//! or a bracket is followed whatever the rules of `[scan]` say, so that it is protected and counted.
//!
//! Two sources: what the last run of this instance left in its snapshot, and, live, what the venue says.
//! Should the venue not say it, the gate still sees every row later: one about an instrument that is not
//! followed turns entries off.

use super::doctor::signed::Api;
use super::{bootstrap, graph};
use crate::driver::DecisionClock;
use crate::model::message::Lane;
use crate::model::time::NS_PER_SEC;
use crate::model::{Symbol, Wall};
use crate::settings::{Settings, Venue};
use crate::stage::gate::core_snapshot;
use crate::stage::gate::intents::Intents;
use crate::stage::outside::{Outside, OutsideCalls};
use crate::venue::blofin::bans::Refusal;
use crate::venue::blofin::budget::{BudgetLimits, CallBudget};
use crate::venue::blofin::sign::Credentials;
use crate::venue::paper;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rows of one page, the venue's most.
const PAGE_ROWS: usize = 100;
/// Pages of one list that are read; a list that goes on is one that does not end.
const PAGES_MAX: usize = 100;
/// Tries of the whole read at a start, and the pause between them.
const TRIES: usize = 3;
const PAUSE: Duration = Duration::from_secs(1);

/// How long a read while running waits until `fetch` can spare a call; the next reading comes anyway.
const LEAVE_MAX: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The lists that say what is held, and the id by which their pages are walked.
const LISTS: [(&str, &str); 4] = [
    ("/api/v1/account/positions", ""),
    ("/api/v1/trade/orders-pending", "orderId"),
    ("/api/v1/trade/orders-tpsl-pending", "tpslId"),
    ("/api/v1/trade/orders-algo-pending", "algoId"),
];

/// What is held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub symbols: BTreeSet<Symbol>,
    /// What could not be found out, for the operator.
    pub warnings: Vec<String>,
}

impl Held {
    pub fn has(&self, symbol: &Symbol) -> bool {
        self.symbols.contains(symbol)
    }
}

/// The file of the gate's snapshots.
pub fn snapshot_path(settings: &Settings) -> PathBuf {
    settings.daemon.state_dir.join("gate.snapshot")
}

/// Whose budget pays for a call. Every read counts as a trading call: all but one are.
pub enum Leave {
    /// Before the stages run: the budget that `fetch` begins with. Refusals are in `calls`.
    Own {
        budget: CallBudget,
        calls: Arc<OutsideCalls>,
    },
    /// Beside them: what `fetch` grants.
    Shared(Arc<OutsideCalls>),
}

impl Leave {
    /// Waits until one more call may leave; says why when it may not.
    async fn wait(&mut self, clock: &DecisionClock) -> Result<(), String> {
        match self {
            Leave::Own { budget, calls } => loop {
                let now = clock.now();
                refuse_in_ban(calls.suspended_until(), now)?;
                let Err(over) = budget.take(Lane::Reconcile, true, now) else {
                    return Ok(());
                };
                let pause = clock.real_until(over.retry_at).unwrap_or(LOOK_AGAIN);
                tokio::time::sleep(pause.max(LOOK_AGAIN)).await;
            },
            Leave::Shared(calls) => {
                // Before it asks: what `fetch` grants is spent. And after: it may have granted just before.
                refuse_in_ban(calls.suspended_until(), clock.now())?;
                let (number, asked) = (calls.ask(), Instant::now());
                loop {
                    refuse_in_ban(calls.suspended_until(), clock.now())?;
                    if calls.is_granted(number) {
                        return Ok(());
                    }
                    if asked.elapsed() > LEAVE_MAX {
                        return Err(format!(
                            "the other reads left no call for {} s",
                            LEAVE_MAX.as_secs()
                        ));
                    }
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            }
        }
    }

    fn calls(&self) -> &OutsideCalls {
        match self {
            Leave::Own { calls, .. } | Leave::Shared(calls) => calls,
        }
    }

    /// The venue refused: nobody calls for as long as after a read of `fetch` that is refused.
    fn refused(&self, refusal: Refusal, now: Wall) {
        self.calls().refuse(refusal, refusal.until(now));
    }

    fn is_in_ban(&self, now: Wall) -> bool {
        self.calls().suspended_until() > now
    }
}

fn refuse_in_ban(until: Wall, now: Wall) -> Result<(), String> {
    if until <= now {
        return Ok(());
    }
    Err(format!(
        "the venue serves nobody from this address for another {} s (429 or 403)",
        until.since(now).div_ceil(NS_PER_SEC)
    ))
}

/// What the snapshot and, live, the venue say. The calls are paid for out of `outside`, where a refusal is
/// entered too. Blocks for as long as the reads take.
pub fn at_start(settings: &Settings, clock: &DecisionClock, outside: &mut Outside) -> Held {
    let mut held = Held::default();
    match of_snapshot(settings, &snapshot_path(settings)) {
        Ok(symbols) => held.symbols = symbols,
        // The run itself refuses such a file, with the same words.
        Err(fault) => held
            .warnings
            .push(format!("what the last run held is not known: {fault}")),
    }
    if settings.is_live() {
        let spent = outside.spent.take();
        let mut leave = Leave::Own {
            budget: spent.unwrap_or_else(|| CallBudget::new(BudgetLimits::READS)),
            calls: Arc::clone(&outside.calls),
        };
        match of_venue_patiently(settings, clock, &mut leave) {
            Ok(symbols) => held.symbols.extend(symbols),
            Err(fault) => held.warnings.push(format!(
                "what the account holds could not be read before the universe: {fault}; entries stay off \
                 while it holds something outside of it"
            )),
        }
        if let Leave::Own { budget, .. } = leave {
            outside.spent = Some(budget);
        }
    }
    held
}

/// The instruments in the snapshot of the last run.
fn of_snapshot(settings: &Settings, path: &Path) -> Result<BTreeSet<Symbol>, String> {
    let text = |fault: &dyn std::fmt::Display| fault.to_string();
    let credentials = bootstrap::credentials(settings).filter(|_| settings.is_live());
    let credentials = credentials.unwrap_or_else(paper::credentials);
    let host = bootstrap::host(settings).map_err(|failure| failure.text)?;
    let account = graph::account_hash(&credentials.key, &host);
    match Intents::read(path, account).map_err(|fault| text(&fault))? {
        None => Ok(BTreeSet::new()),
        Some(image) => core_snapshot::symbols(&image).map_err(|fault| text(&fault)),
    }
}

fn of_venue_patiently(
    settings: &Settings,
    clock: &DecisionClock,
    leave: &mut Leave,
) -> Result<BTreeSet<Symbol>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|fault| fault.to_string())?;
    let credentials = bootstrap::credentials(settings).ok_or("no credentials")?;
    let mut tries = 1;
    loop {
        match runtime.block_on(of_venue(&settings.venue, &credentials, clock, leave)) {
            // A call in a ban makes it longer.
            Err(_) if tries < TRIES && !leave.is_in_ban(clock.now()) => {
                tries += 1;
                std::thread::sleep(PAUSE);
            }
            result => return result,
        }
    }
}

/// The instruments in which the venue says that the account has something. No call leaves without `leave`.
pub async fn of_venue(
    venue: &Venue,
    credentials: &Credentials,
    clock: &DecisionClock,
    leave: &mut Leave,
) -> Result<BTreeSet<Symbol>, String> {
    let mut api = Api::new(venue, credentials, clock.clone()).map_err(|finding| finding.to_string())?;
    let mut symbols = BTreeSet::new();
    for (path, id) in LISTS {
        let mut after = String::new();
        for page in 0.. {
            if page == PAGES_MAX {
                return Err(format!("{path} does not end"));
            }
            leave.wait(clock).await?;
            let data = api.read(&query(path, id, &after)).await.map_err(|trouble| {
                if let Some(refusal) = trouble.refusal {
                    leave.refused(refusal, clock.now());
                }
                format!("{path}: {}", trouble.fact)
            })?;
            let rows = data.as_array().ok_or_else(|| format!("{path} gave no list"))?;
            symbols.extend(rows.iter().filter_map(symbol_of));
            let next = rows.last().map(|row| word(&row[id])).unwrap_or_default();
            if id.is_empty() || rows.len() < PAGE_ROWS || next.is_empty() || next == after {
                break;
            }
            after = next;
        }
    }
    Ok(symbols)
}

fn query(path: &str, id: &str, after: &str) -> String {
    let mut query = path.to_owned();
    if !id.is_empty() {
        query += &format!("?limit={PAGE_ROWS}");
    }
    if id == "algoId" {
        query += "&orderType=trigger";
    }
    if !after.is_empty() {
        query += &format!("&after={after}");
    }
    query
}

/// The instrument of a row; a position of nothing is none.
fn symbol_of(row: &Value) -> Option<Symbol> {
    let size = word(&row["positions"]).parse::<f64>();
    let is_flat = size.is_ok_and(|size| size == 0.0);
    Symbol::parse(row["instId"].as_str()?).filter(|_| !is_flat)
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_names_its_instrument_unless_it_is_a_position_of_nothing() {
        let symbol = |row: Value| symbol_of(&row).map(|symbol| symbol.to_string());
        let eth = Some("ETH-USDT".to_owned());
        assert_eq!(symbol(json!({"instId": "ETH-USDT", "positions": "-3"})), eth);
        assert_eq!(symbol(json!({"instId": "ETH-USDT", "size": "1"})), eth);
        assert_eq!(symbol(json!({"instId": "ETH-USDT", "positions": "odd"})), eth);
        assert_eq!(symbol(json!({"instId": "ETH-USDT", "positions": "0.0"})), None);
        assert_eq!(symbol(json!({"instId": 7})), None);
    }

    #[test]
    fn pages_are_asked_for_as_the_venue_wants_it() {
        assert_eq!(query("/p", "", ""), "/p");
        assert_eq!(query("/o", "orderId", ""), "/o?limit=100");
        assert_eq!(
            query("/a", "algoId", "9"),
            "/a?limit=100&orderType=trigger&after=9"
        );
    }
}
