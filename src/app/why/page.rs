//! One decision in words: votes, probability, checks with their margins, and what followed.
//!
//! Everything comes from the metrics lines; the gate's limits come from the settings that are in force
//! where the command runs, and say so.

use super::find::Decision;
use crate::model::{Side, Timeframe};
use crate::settings::Settings;
use crate::strategy::aggregate::OPPOSITION;
use crate::strategy::plan::Plan;
use crate::strategy::probability::{Candidate, heuristic, heuristic_terms};
use crate::strategy::{MODEL_FEATURES, Relative};
use serde_json::{Value, json};
use std::fmt::Write;

/// A number against its limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    pub name: &'static str,
    pub value: f64,
    pub limit: f64,
    /// How far on the good side; negative where it fails.
    pub margin: f64,
    /// The limit is of the settings now, not on record.
    pub by_settings: bool,
}

/// What a decision's numbers say of the checks that have one, in the order in which they are made: those
/// of `score`, then those of the gate.
pub fn checks(decision: &Decision, settings: &Settings) -> Vec<Check> {
    let line = &decision.line;
    let number = |field: &str| line[field].as_f64();
    let meta = |field: &str| line["meta"][field].as_f64();
    let mut list = Checks::default();
    list.add(
        "MIN_COMPONENTS",
        meta("n_comp"),
        meta("n_comp_min"),
        Bound::Record,
    );
    list.add("SCORE_MIN", number("score"), meta("score_min"), Bound::Record);
    list.add(
        "BANDIT_MIN_ER",
        meta("er_mix"),
        settings.score.bandit_min_er,
        Bound::Floor,
    );
    let since = |before_ms: Option<i64>| Some((line["open_ms"].as_i64()? - before_ms?) as f64 / 1e3);
    let score = &settings.score;
    list.above_zero(
        "SIGNAL_COOLDOWN_SEC",
        since(decision.last_ms),
        score.signal_cooldown_sec,
    );
    list.above_zero("DEDUPE_TTL_SEC", since(decision.same_ms), score.dedupe_ttl_sec);
    list.above_zero(
        "SIGNAL_MIN_QVOL_USDT",
        meta("quote_volume"),
        settings.scan.signal_min_qvol_usdt,
    );
    flow_checks(&mut list, line, settings);
    let trade = &settings.trade;
    list.add(
        "TRADE_MIN_SCORE",
        number("score"),
        Some(trade.trade_min_score),
        Bound::Floor,
    );
    list.add(
        "TRADE_MIN_PROB",
        number("prob"),
        Some(trade.trade_min_prob),
        Bound::Floor,
    );
    list.add("EV_MIN_R", number("ev_r"), Some(trade.ev_min_r), Bound::Floor);
    list.add(
        "COST_R_MAX",
        meta("cost_r"),
        Some(trade.cost_r_max),
        Bound::Ceiling,
    );
    list.0
}

/// The gates of `[order_flow]`, where it is switched on.
fn flow_checks(list: &mut Checks, line: &Value, settings: &Settings) {
    let flow = &settings.order_flow;
    if !flow.use_ws_orderflow {
        return;
    }
    let feature = |name: &str| line["features"][name].as_f64();
    let trades = feature("ln_trades_per_min").map(f64::exp_m1);
    let strict = f64::from(u8::from(flow.orderflow_strict));
    let ready = f64::from(u8::from(trades.is_some()));
    list.add("ORDERFLOW_STRICT", Some(ready), Some(strict), Bound::Floor);
    if trades.is_none() {
        return;
    }
    // A spread or a depth of 0 has no logarithm, and is left out of the features.
    let or_zero = |name: &str| Some(feature(name).map_or(0.0, f64::exp));
    let spread_max = (flow.max_spread_bps > 0.0).then_some(flow.max_spread_bps);
    list.add(
        "MAX_SPREAD_BPS",
        or_zero("ln_spread_bps"),
        spread_max,
        Bound::Ceiling,
    );
    list.above_zero("MIN_TRADES_PER_MIN", trades, flow.min_trades_per_min);
    list.above_zero(
        "MIN_NOTIONAL_PER_MIN_USD",
        line["meta"]["notional_per_min"].as_f64(),
        flow.min_notional_per_min_usd,
    );
    list.above_zero(
        "MIN_DEPTH_NOTIONAL_USD",
        or_zero("ln_depth"),
        flow.min_depth_notional_usd,
    );
}

/// Where a limit comes from, and on which side of it is good.
#[derive(Clone, Copy, PartialEq)]
enum Bound {
    /// At least what is on record.
    Record,
    /// At least, at most what the settings say now.
    Floor,
    Ceiling,
}

#[derive(Default)]
struct Checks(Vec<Check>);

impl Checks {
    /// Adds a check, unless its value or its limit is absent.
    fn add(&mut self, name: &'static str, value: Option<f64>, limit: Option<f64>, bound: Bound) {
        let Some((value, limit)) = value.zip(limit) else {
            return;
        };
        self.0.push(Check {
            name,
            value,
            limit,
            margin: if bound == Bound::Ceiling {
                limit - value
            } else {
                value - limit
            },
            by_settings: bound != Bound::Record,
        });
    }

    /// Adds a floor that 0 switches off.
    fn above_zero(&mut self, name: &'static str, value: Option<f64>, limit: f64) {
        self.add(name, value, (limit > 0.0).then_some(limit), Bound::Floor);
    }
}

/// What the score is made of: the points of its side, what the other side takes, and what regimes and
/// the bounds of a score add and take. Empty where the line does not have it.
pub fn score_terms(line: &Value) -> Vec<(&'static str, f64)> {
    let meta = |field: &str| line["meta"][field].as_f64();
    let sides = meta("points_long").zip(meta("points_short"));
    let Some(((long, short), score)) = sides.zip(line["score"].as_f64()) else {
        return Vec::new();
    };
    let (own, against) = match line["side"].as_str() {
        Some("sell") => (short, long),
        _ => (long, short),
    };
    let taken = -OPPOSITION * against;
    vec![
        ("points", own),
        ("opposition", taken),
        ("regimes", score - own - taken),
    ]
}

/// The terms of a heuristic probability's log-odds; empty for other sources, and when this build's terms
/// do not give the number on record.
pub fn terms(line: &Value) -> Vec<(&'static str, f64)> {
    if line["prob_src"].as_str() != Some("heuristic") {
        return Vec::new();
    }
    [false, true]
        .into_iter()
        .filter_map(|follows_trend| candidate(line, follows_trend))
        .find(|candidate| {
            line["prob"]
                .as_f64()
                .is_some_and(|prob| (heuristic(candidate) - prob).abs() < 1e-9)
        })
        .map_or(Vec::new(), |candidate| heuristic_terms(&candidate).to_vec())
}

fn candidate(line: &Value, follows_trend: bool) -> Option<Candidate> {
    let meta = |field: &str| line["meta"][field].as_f64();
    let feature = |name: &str| line["features"][name].as_f64();
    let is = |name: &str| feature(name).is_some_and(|flag| flag > 0.5);
    let relative = [
        ("regime_aligned", Relative::Aligned),
        ("regime_against", Relative::Against),
        ("regime_chop", Relative::Chop),
        ("regime_panic", Relative::Panic),
    ];
    let relative = relative.into_iter().find(|(name, _)| is(name));
    Some(Candidate {
        side: if line["side"].as_str()? == "sell" {
            Side::Sell
        } else {
            Side::Buy
        },
        score: line["score"].as_f64()?,
        component_count: meta("n_comp")? as u32,
        family_count: feature("n_fam")? as u32,
        er_mix: meta("er_mix")?,
        relative: relative.map_or(Relative::Neutral, |(_, relative)| relative),
        follows_trend,
        timeframe: Timeframe::parse(line["timeframe"].as_str()?)?,
        close_ms: 0,
        btc_ret_5: None,
        breadth: None,
        plan: Plan {
            sl_distance: meta("sl_distance")?,
            tp_distance: meta("tp_distance")?,
            cost_r: meta("cost_r")?,
            slip_bps: 0.0,
        },
    })
}

/// The decision as one JSON object.
pub fn object(decision: &Decision, settings: &Settings) -> Value {
    let checks: Vec<Value> = checks(decision, settings)
        .into_iter()
        .map(|check| {
            json!({
                "name": check.name, "value": check.value, "limit": check.limit, "margin": check.margin,
                "passed": check.margin >= 0.0, "limit_of": if check.by_settings { "settings" } else { "record" },
            })
        })
        .collect();
    let named = |terms: Vec<(&'static str, f64)>| -> serde_json::Map<String, Value> {
        let terms = terms.into_iter();
        terms.map(|(name, term)| (name.to_owned(), json!(term))).collect()
    };
    json!({
        "decision": decision.line,
        "score_terms": named(score_terms(&decision.line)),
        "probability_terms": named(terms(&decision.line)),
        "checks": checks,
        "entries_off": decision.entries_off,
        "followed": decision.followed,
    })
}

/// The decision as people read it.
pub fn text(decision: &Decision, settings: &Settings) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = head(&mut page, decision)
        .and_then(|()| votes(&mut page, &decision.line))
        .and_then(|()| score(&mut page, &decision.line))
        .and_then(|()| probability(&mut page, &decision.line))
        .and_then(|()| margins(&mut page, decision, settings))
        .and_then(|()| followed(&mut page, decision));
    page
}

fn head(page: &mut String, decision: &Decision) -> std::fmt::Result {
    let line = &decision.line;
    let verdict = match line["kind"].as_str() {
        Some("candidate") => format!("no signal: {}", word(line, "reason")),
        _ => format!("signal {}", word(line, "id")),
    };
    writeln!(
        page,
        "{} {} {}, {} UTC: {verdict}",
        word(line, "symbol"),
        word(line, "timeframe"),
        word(line, "side"),
        time_text(line)
    )?;
    writeln!(
        page,
        "  price {}  score {}  regime {}, market {}  EV {} R",
        plain(&line["price"]),
        plain(&line["score"]),
        word(line, "regime"),
        word(line, "market_regime"),
        plain(&line["ev_r"]),
    )?;
    let meta = &line["meta"];
    writeln!(
        page,
        "  stop {} and target {} away, cost {} R, points {} long {} short",
        plain(&meta["sl_distance"]),
        plain(&meta["tp_distance"]),
        plain(&meta["cost_r"]),
        plain(&meta["points_long"]),
        plain(&meta["points_short"]),
    )
}

fn votes(page: &mut String, line: &Value) -> std::fmt::Result {
    writeln!(
        page,
        "votes                     side  strength    points    weight"
    )?;
    for vote in line["votes"].as_array().map_or(&[][..], Vec::as_slice) {
        writeln!(
            page,
            "  {:<22}  {:<4}  {:>8}  {:>8}  {:>8}",
            word(vote, "name"),
            word(vote, "side"),
            plain(&vote["strength"]),
            plain(&vote["points"]),
            plain(&vote["weight"]),
        )?;
    }
    Ok(())
}

fn score(page: &mut String, line: &Value) -> std::fmt::Result {
    writeln!(page, "score {}", plain(&line["score"]))?;
    for (name, term) in score_terms(line) {
        writeln!(page, "  {name:<22}  {term:>+8.3}")?;
    }
    Ok(())
}

fn probability(page: &mut String, line: &Value) -> std::fmt::Result {
    writeln!(
        page,
        "probability {} ({})",
        plain(&line["prob"]),
        word(line, "prob_src")
    )?;
    for (name, term) in terms(line) {
        writeln!(page, "  {name:<22}  {term:>+8.3}")?;
    }
    if line["prob_src"].as_str() == Some("calibrated") {
        let features = MODEL_FEATURES
            .iter()
            .filter_map(|name| Some((name, line["features"][*name].as_f64()?)));
        for (name, value) in features {
            writeln!(page, "  {name:<22}  {value:>12.6}")?;
        }
    }
    Ok(())
}

fn margins(page: &mut String, decision: &Decision, settings: &Settings) -> std::fmt::Result {
    writeln!(page, "checks                         value      limit     margin")?;
    for check in checks(decision, settings) {
        writeln!(
            page,
            "  {:<24}  {:>9.3}  {:>9.3}  {:>+9.3}  {}{}",
            check.name,
            check.value,
            check.limit,
            check.margin,
            if check.margin >= 0.0 { "passes" } else { "FAILS" },
            if check.by_settings {
                " by the settings now"
            } else {
                ""
            },
        )?;
    }
    Ok(())
}

fn followed(page: &mut String, decision: &Decision) -> std::fmt::Result {
    writeln!(page, "what followed")?;
    if let Some(reason) = &decision.entries_off {
        writeln!(page, "  entries were off: {reason}")?;
    }
    if decision.followed.is_empty() {
        let why = match decision.line["kind"].as_str() {
            Some("candidate") => "nothing: it never was a signal",
            _ => "nothing is on record: the gate wrote no line with its id",
        };
        writeln!(page, "  {why}")?;
    }
    for line in &decision.followed {
        writeln!(
            page,
            "  {}  {}{}",
            time_text(line),
            word(line, "kind"),
            details(line)
        )?;
    }
    Ok(())
}

/// The fields of a line that say what happened, in a fixed order.
fn details(line: &Value) -> String {
    const FIELDS: [&str; 19] = [
        "command",
        "state",
        "leg",
        "exit",
        "outcome",
        "side",
        "type",
        "size",
        "filled",
        "price",
        "entry_price",
        "exit_price",
        "end_price",
        "tp",
        "sl",
        "fee",
        "pnl",
        "r",
        "reason",
    ];
    let mut words = String::new();
    for field in FIELDS {
        let shown = match &line[field] {
            Value::Null => continue,
            Value::String(text) if text.is_empty() => continue,
            Value::String(text) => text.clone(),
            value => plain(value),
        };
        let _ = match field {
            "command" | "state" | "leg" | "exit" | "outcome" | "side" | "type" => write!(words, " {shown}"),
            field => write!(words, " {field} {shown}"),
        };
    }
    words
}

fn word<'l>(line: &'l Value, field: &str) -> &'l str {
    line[field].as_str().unwrap_or("?")
}

/// A number with at most six digits behind the point.
fn plain(value: &Value) -> String {
    match value.as_f64() {
        None => value.as_str().unwrap_or("?").to_owned(),
        Some(number) => {
            let text = format!("{number:.6}");
            let text = text.trim_end_matches('0').trim_end_matches('.');
            if text == "-0" {
                "0".to_owned()
            } else {
                text.to_owned()
            }
        }
    }
}

fn time_text(line: &Value) -> String {
    let time = line["ts_ms"]
        .as_i64()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or("?".to_owned(), |time| {
        time.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
    })
}
