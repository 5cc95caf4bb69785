//! Is the account behind the key fit for a run? The key itself, the modes, the money, the leverage and
//! the contract sizes of the universe, and the calls that a start takes.
//!
//! It reads, signed with the user's key, and changes nothing: the one request that is no read asks for a
//! transfer without saying of what, and is refused either way; how it is refused says what the key may.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Finding;
use super::signed::{Api, advice_of, number};
use crate::app::{bootstrap, graph, params};
use crate::driver::DecisionClock;
use crate::model::{Instrument, PositionMode, Reason, Timeframe};
use crate::risk::sizing::{self, SizeRequest};
use crate::settings::Settings;
use crate::stage::fetch::history_plan;
use crate::universe::read;
use crate::universe::{Patience, Selection, Source, select};
use crate::venue::blofin::bans::Alone;
use crate::venue::blofin::request::LEVERAGE_PER_PAGE;

const DAY_MS: i64 = 86_400_000;
/// A key that dies sooner than this is warned of.
const EXPIRY_WARN_DAYS: i64 = 15;
/// Reads a minute that the program allows itself.
const READS_PER_MINUTE: usize = 240;

/// Everything about the account; without credentials only what paper can know.
pub(super) fn examine(settings: &Settings, clock: &DecisionClock) -> Vec<Finding> {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(fault) => {
            return vec![Finding::fail(
                "account",
                fault.to_string(),
                "raise the limit on open files",
            )];
        }
    };
    runtime.block_on(examine_in_turn(settings, clock))
}

async fn examine_in_turn(settings: &Settings, clock: &DecisionClock) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (selection, prices) = match universe(settings).await {
        Ok(read) => read,
        Err(finding) => return vec![finding],
    };
    findings.push(judge_sizes(settings, &selection, &prices));
    findings.push(judge_budget(settings, selection.ranking.len()));
    let Some(credentials) = bootstrap::credentials(settings) else {
        let advice =
            "set BLOFIN_API_KEY, BLOFIN_API_SECRET and BLOFIN_API_PASSPHRASE to have the account looked at";
        findings.push(Finding::warn(
            "account",
            "no credentials: enough for paper",
            advice,
        ));
        return findings;
    };
    let mut api = match Api::new(&settings.venue, &credentials, clock.clone()) {
        Ok(api) => api,
        Err(finding) => {
            findings.push(finding);
            return findings;
        }
    };
    match api.get("key", "/api/v1/user/query-apikey").await {
        Ok(key) => findings.extend(judge_key(&key, clock.now().ms(), settings.is_live())),
        Err(finding) => {
            // Every other read would fail in the same way.
            findings.push(finding);
            return findings;
        }
    }
    findings.push(transfer(&mut api, settings.is_live()).await);
    findings.extend(modes(&mut api, settings).await);
    findings.push(balance(&mut api, settings).await);
    findings.push(leverage(&mut api, settings, &selection).await);
    findings
}

/// What a run would follow, and the last price of each.
async fn universe(settings: &Settings) -> Result<(Selection, BTreeMap<String, f64>), Finding> {
    let fail = |fault: String| Finding::fail("universe", fault, "correct [scan], or try again");
    let rules = bootstrap::rules(&settings.scan).map_err(|failure| fail(failure.text))?;
    let source = Source {
        base_url: &settings.venue.blofin_base_url,
        ca_file: settings.venue.blofin_ca_file.as_deref(),
    };
    let listing = read::read(&source, &Patience::default(), &Alone)
        .await
        .map_err(|fault| fail(fault.to_string()))?;
    let selection = select::select(&listing, &rules, |_| false);
    let prices = listing.tickers.iter();
    let prices = prices.map(|ticker| (ticker.symbol.as_str().to_owned(), ticker.last));
    Ok((selection, prices.collect()))
}

fn decimal(value: &Value) -> Option<f64> {
    let number = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
    number.is_finite().then_some(number)
}

fn judge_key(key: &Value, now_ms: i64, is_live: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    match number(&key["readOnly"]) {
        Some(0) => findings.push(Finding::ok("key", "reads and trades")),
        Some(_) if is_live => {
            findings.push(Finding::fail(
                "key",
                "only reads",
                "give the key the TRADE permission",
            ));
        }
        Some(_) => findings.push(Finding::ok("key", "only reads: enough for paper")),
        None => findings.push(Finding::fail(
            "key",
            "the venue did not say what it may",
            "try again",
        )),
    }
    let bound = key["ips"].as_array().map_or(0, Vec::len);
    let advice =
        "bind the key to this machine's address: a stolen one is worthless then, and it does not expire";
    findings.push(match (bound, is_live) {
        (0, true) => Finding::fail("key", "bound to no address", advice),
        (0, false) => Finding::warn("key", "bound to no address", advice),
        (count, _) => Finding::ok("key", format!("bound to {count} addresses")),
    });
    if let Some(expires_ms) = number(&key["expireTime"]).filter(|ms| *ms > 0 && bound == 0) {
        let days = (expires_ms - now_ms).div_euclid(DAY_MS);
        let fact = format!("expires in {days} days");
        findings.push(if days < 0 {
            Finding::fail("key", "has expired", advice_of(152_402))
        } else if days < EXPIRY_WARN_DAYS {
            Finding::warn("key", fact, advice)
        } else {
            Finding::ok("key", fact)
        });
    }
    findings
}

/// Whether the key may move money away: a transfer of nothing is refused for what it lacks, or for the
/// permission that it lacks.
async fn transfer(api: &mut Api, is_live: bool) -> Finding {
    match api.call("transfer", "/api/v1/asset/transfer", Some("{}")).await {
        Ok((code, _)) => judge_transfer(code, is_live),
        Err(finding) => finding,
    }
}

fn judge_transfer(code: i64, is_live: bool) -> Finding {
    let advice = "take the TRANSFER permission from the key: this program never needs it";
    match code {
        152_404 | 404 | 405 => Finding::ok("transfer", "the key cannot move money"),
        0 | 80_001 | 150_003 | 150_004 | 152_001..=152_009 if is_live => {
            Finding::fail("transfer", "the key can move money", advice)
        }
        0 | 80_001 | 150_003 | 150_004 | 152_001..=152_009 => {
            Finding::warn("transfer", "the key can move money", advice)
        }
        code => Finding::warn(
            "transfer",
            format!("not known: the venue answered {code}"),
            advice,
        ),
    }
}

async fn modes(api: &mut Api, settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    let idle = match busy(api).await {
        Ok((positions, orders)) => {
            findings.push(Finding::ok(
                "positions",
                format!("{positions} open, {orders} orders"),
            ));
            positions + orders == 0
        }
        Err(finding) => return vec![finding],
    };
    let wanted = params::gate(settings);
    let position = match wanted.position_mode {
        PositionMode::Net => "net_mode",
        PositionMode::LongShort => "long_short_mode",
    };
    for (name, path, field, wanted) in [
        (
            "position_mode",
            "/api/v1/account/position-mode",
            "positionMode",
            position,
        ),
        (
            "margin_mode",
            "/api/v1/account/margin-mode",
            "marginMode",
            wanted.margin_mode.text(),
        ),
    ] {
        findings.push(match api.get(name, path).await {
            Ok(data) => judge_mode(name, data[field].as_str().unwrap_or("nothing"), wanted, idle),
            Err(finding) => finding,
        });
    }
    findings
}

/// How many positions and pending orders there are, up to a page of each.
async fn busy(api: &mut Api) -> Result<(usize, usize), Finding> {
    let positions = api.get("positions", "/api/v1/account/positions").await?;
    let orders = api.get("positions", "/api/v1/trade/orders-pending").await?;
    let count = |list: &Value| list.as_array().map_or(0, Vec::len);
    Ok((count(&positions), count(&orders)))
}

fn judge_mode(name: &'static str, found: &str, wanted: &str, idle: bool) -> Finding {
    match (found == wanted, idle) {
        (true, _) => Finding::ok(name, found),
        (false, true) => Finding::warn(
            name,
            format!("{found}, and the settings want {wanted}"),
            "a run sets it at its start",
        ),
        (false, false) => Finding::fail(
            name,
            format!("{found}, and the settings want {wanted}"),
            "close positions and orders first, or change the setting: entries stay off",
        ),
    }
}

async fn balance(api: &mut Api, settings: &Settings) -> Finding {
    let data = match api.get("balance", "/api/v1/account/balance").await {
        Ok(data) => data,
        Err(finding) => return finding,
    };
    let rows = data["details"].as_array().cloned().unwrap_or_default();
    let usdt = rows.iter().find(|row| row["currency"] == "USDT");
    match usdt.and_then(|row| decimal(&row["available"])) {
        Some(available) => judge_balance(available, settings),
        None => Finding::fail("balance", "no USDT in the futures account", "transfer some to it"),
    }
}

fn judge_balance(available: f64, settings: &Settings) -> Finding {
    let limits = params::limits(settings);
    let leverage = f64::from(limits.leverage.max(1));
    let (one, all) = (limits.notional_usd / leverage, limits.exposure_usd_max / leverage);
    let fact = format!("{available:.2} USDT available, {one:.2} a trade, {all:.2} at TRADE_MAX_EXPOSURE_USD");
    if available < one && settings.is_live() {
        Finding::fail("balance", fact, "add USDT, or lower TRADE_NOTIONAL_USD")
    } else if available < all {
        Finding::warn(
            "balance",
            fact,
            "entries will be shrunk or refused when it is used up",
        )
    } else {
        Finding::ok("balance", fact)
    }
}

/// The leverage of the universe: what differs is set before an entry, which costs it a call.
async fn leverage(api: &mut Api, settings: &Settings, selection: &Selection) -> Finding {
    let gate = params::gate(settings);
    let rows: Vec<&Instrument> = selection
        .ranking
        .iter()
        .filter_map(|id| selection.instruments.get(*id))
        .collect();
    let mut found: BTreeMap<String, u16> = BTreeMap::new();
    for page in rows.chunks(LEVERAGE_PER_PAGE) {
        let symbols: Vec<&str> = page.iter().map(|row| row.symbol.as_str()).collect();
        let path = format!(
            "/api/v1/account/batch-leverage-info?instId={}&marginMode={}",
            symbols.join("%2C"),
            gate.margin_mode.text()
        );
        let data = match api.get("leverage", &path).await {
            Ok(data) => data,
            Err(finding) => return finding,
        };
        for row in data.as_array().into_iter().flatten() {
            let leverage = number(&row["leverage"]).and_then(|value| u16::try_from(value).ok());
            if let (Some(symbol), Some(leverage)) = (row["instId"].as_str(), leverage) {
                found.insert(symbol.to_owned(), leverage);
            }
        }
    }
    judge_leverage(&rows, &found, gate.limits.leverage)
}

fn judge_leverage(rows: &[&Instrument], found: &BTreeMap<String, u16>, wanted: u16) -> Finding {
    let mut differing: Vec<&str> = Vec::new();
    let mut capped = 0;
    for row in rows {
        capped += usize::from(row.max_leverage < wanted);
        if found.get(row.symbol.as_str()) != Some(&wanted.min(row.max_leverage)) {
            differing.push(row.symbol.as_str());
        }
    }
    let mut fact = format!(
        "{} of {} instruments at {wanted}",
        rows.len() - differing.len(),
        rows.len()
    );
    if capped > 0 {
        fact.push_str(&format!(", {capped} allow less and get less"));
    }
    if differing.is_empty() {
        return Finding::ok("leverage", fact);
    }
    let first: Vec<&str> = differing.iter().take(3).copied().collect();
    fact.push_str(&format!("; {} differ: {} …", differing.len(), first.join(" ")));
    Finding::ok("leverage", format!("{fact}, set before their first entry"))
}

/// Whether TRADE_NOTIONAL_USD buys what each instrument asks at least.
fn judge_sizes(settings: &Settings, selection: &Selection, prices: &BTreeMap<String, f64>) -> Finding {
    let limits = params::limits(settings);
    let mut refused: BTreeMap<&'static str, Vec<&str>> = BTreeMap::new();
    let mut count = 0;
    for row in selection
        .ranking
        .iter()
        .filter_map(|id| selection.instruments.get(*id))
    {
        count += 1;
        let price = prices.get(row.symbol.as_str()).copied().unwrap_or(0.0);
        let request = SizeRequest {
            price: price * (1.0 + limits.slippage_bps / 1e4),
            leverage: limits.leverage.min(row.max_leverage),
            exposure_room_usd: limits.exposure_usd_max,
            available_usd: None,
            taker_fee_bps: settings.venue.taker_fee_bps,
            sl_fraction: settings.bracket.sl_bps / 1e4,
        };
        if let Err(reason) = sizing::size(row, &limits, &request) {
            refused
                .entry(Reason::text(reason))
                .or_default()
                .push(row.symbol.as_str());
        }
    }
    let refused_count: usize = refused.values().map(Vec::len).sum();
    let notional = limits.notional_usd;
    let advice =
        "raise TRADE_NOTIONAL_USD or UPSIZE_MAX_MULT, or lower MIN_INITIAL_MARGIN_USD or TRADING_LEVERAGE";
    let words: Vec<String> = refused
        .iter()
        .map(|(reason, symbols)| {
            let first: Vec<&str> = symbols.iter().take(3).copied().collect();
            format!("{} {reason} ({} …)", symbols.len(), first.join(" "))
        })
        .collect();
    match (count, refused_count) {
        (0, _) => Finding::fail("sizes", "the rules of [scan] leave no instrument", "relax them"),
        (_, 0) => Finding::ok(
            "sizes",
            format!("{notional} USD buy a size of all {count} instruments"),
        ),
        (count, bad) if bad == count => Finding::fail(
            "sizes",
            format!(
                "{notional} USD buy a size of none of {count} instruments: {}",
                words.join(", ")
            ),
            advice,
        ),
        (count, _) => Finding::warn(
            "sizes",
            format!(
                "{notional} USD buy no size of {refused_count} of {count} instruments: {}",
                words.join(", ")
            ),
            advice,
        ),
    }
}

/// What a start reads, and how long that takes inside the venue's limits.
fn judge_budget(settings: &Settings, instruments: usize) -> Finding {
    let planned: Vec<Timeframe> = graph::series_plans(settings)
        .iter()
        .map(|plan| plan.timeframe)
        .collect();
    let live = graph::live_timeframes(settings);
    let plan = history_plan(&planned, &live, settings.score.warmup_bars);
    let reads = instruments * plan.len() + instruments.div_ceil(LEVERAGE_PER_PAGE);
    let minutes = reads.div_ceil(READS_PER_MINUTE);
    let fact = format!(
        "{reads} reads at start, about {minutes} min at {READS_PER_MINUTE} a minute; 24 of the venue's 30 trading calls in 10 s are used"
    );
    if minutes > 10 {
        let advice = "lower TOP_SYMBOLS, or wait: an instrument signals once its history is read";
        return Finding::warn("budget", fact, advice);
    }
    Finding::ok("budget", fact)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use serde_json::json;

    fn worst(findings: &[Finding]) -> Verdict {
        findings
            .iter()
            .map(|finding| finding.verdict)
            .max()
            .expect("findings")
    }

    #[test]
    fn keys_are_judged_by_what_they_may_where_and_how_long() {
        let now = 1_700_000_000_000i64;
        let key = |read_only: i64, ips: &[&str], days: i64| json!({"readOnly": read_only, "ips": ips, "expireTime": (now + days * DAY_MS).to_string()});
        let judge = |key: Value, is_live: bool| worst(&judge_key(&key, now, is_live));
        assert_eq!(
            judge(key(0, &["1.2.3.4"], -5), true),
            Verdict::Ok,
            "a bound key does not expire"
        );
        assert_eq!(judge(key(1, &["1.2.3.4"], 90), true), Verdict::Fail);
        assert_eq!(judge(key(1, &["1.2.3.4"], 90), false), Verdict::Ok);
        assert_eq!(judge(key(0, &[], 90), true), Verdict::Fail);
        assert_eq!(judge(key(0, &[], 90), false), Verdict::Warn);
        assert_eq!(judge(key(0, &[], -1), false), Verdict::Fail);
        assert_eq!(judge(json!({}), false), Verdict::Fail);
        let soon = judge_key(&key(0, &[], 7), now, false);
        assert!(
            soon.iter()
                .any(|finding| finding.fact == "expires in 7 days" && finding.verdict == Verdict::Warn)
        );
    }

    #[test]
    fn a_key_that_can_move_money_is_told_from_one_that_cannot() {
        assert_eq!(judge_transfer(152_404, true).verdict, Verdict::Ok);
        assert_eq!(judge_transfer(152_001, true).verdict, Verdict::Fail);
        assert_eq!(judge_transfer(152_001, false).verdict, Verdict::Warn);
        assert_eq!(judge_transfer(500, true).verdict, Verdict::Warn);
    }

    #[test]
    fn a_mode_that_cannot_be_changed_fails() {
        assert_eq!(
            judge_mode("margin_mode", "cross", "cross", false).verdict,
            Verdict::Ok
        );
        assert_eq!(
            judge_mode("margin_mode", "isolated", "cross", true).verdict,
            Verdict::Warn
        );
        assert_eq!(
            judge_mode("margin_mode", "isolated", "cross", false).verdict,
            Verdict::Fail
        );
    }
}
