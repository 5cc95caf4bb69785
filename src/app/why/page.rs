//! One decision in words: votes, probability, checks with their margins, and what followed.
//!
//! Everything comes from the metrics lines; the gate's limits come from the settings that are in force
//! where the command runs, and say so.

use super::find::Decision;
use crate::model::{Side, Timeframe};
use crate::settings::Settings;
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

/// What a decision's numbers say of the checks that have one.
pub fn checks(line: &Value, settings: &Settings) -> Vec<Check> {
    let number = |field: &str| line[field].as_f64();
    let meta = |field: &str| line["meta"][field].as_f64();
    let mut found = Vec::new();
    let mut add = |name, value: Option<f64>, limit: Option<f64>, is_floor: bool, by_settings| {
        if let (Some(value), Some(limit)) = (value, limit) {
            let margin = if is_floor { value - limit } else { limit - value };
            found.push(Check {
                name,
                value,
                limit,
                margin,
                by_settings,
            });
        }
    };
    let trade = &settings.trade;
    add("SCORE_MIN", number("score"), meta("score_min"), true, false);
    add("MIN_COMPONENTS", meta("n_comp"), meta("n_comp_min"), true, false);
    add(
        "TRADE_MIN_SCORE",
        number("score"),
        Some(trade.trade_min_score),
        true,
        true,
    );
    add(
        "TRADE_MIN_PROB",
        number("prob"),
        Some(trade.trade_min_prob),
        true,
        true,
    );
    add("EV_MIN_R", number("ev_r"), Some(trade.ev_min_r), true, true);
    add("COST_R_MAX", meta("cost_r"), Some(trade.cost_r_max), false, true);
    let volume_min = settings.scan.signal_min_qvol_usdt;
    let volume_min = (volume_min > 0.0).then_some(volume_min);
    add(
        "SIGNAL_MIN_QVOL_USDT",
        meta("quote_volume"),
        volume_min,
        true,
        true,
    );
    found
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
    let checks: Vec<Value> = checks(&decision.line, settings)
        .into_iter()
        .map(|check| {
            json!({
                "name": check.name, "value": check.value, "limit": check.limit, "margin": check.margin,
                "passed": check.margin >= 0.0, "limit_of": if check.by_settings { "settings" } else { "record" },
            })
        })
        .collect();
    let terms: serde_json::Map<String, Value> = terms(&decision.line)
        .into_iter()
        .map(|(name, term)| (name.to_owned(), json!(term)))
        .collect();
    json!({
        "decision": decision.line,
        "probability_terms": terms,
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
        .and_then(|()| probability(&mut page, &decision.line))
        .and_then(|()| margins(&mut page, &decision.line, settings))
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

fn margins(page: &mut String, line: &Value, settings: &Settings) -> std::fmt::Result {
    writeln!(page, "checks                     value      limit     margin")?;
    for check in checks(line, settings) {
        writeln!(
            page,
            "  {:<20}  {:>9.3}  {:>9.3}  {:>+9.3}  {}{}",
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
