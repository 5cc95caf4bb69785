//! The differences of a repeat in words: one for each decision, with what hangs on it below.

use super::compare::{Body, Pair, time_of};
use super::repeat::{Outcome, Stuck};
use crate::app::graph;
use crate::bus::Record;
use crate::model::message::{CommandKind, GateEvent, OrderCommand, Signal};
use crate::model::{InstrumentId, Instruments, Side};
use crate::stage::housekeep::{gate_lines, lines};
use crate::topology::LinkId;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Fields of a difference that its line shows.
const FIELDS_SHOWN: usize = 8;

/// One decision that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Decision time, UTC.
    pub time: String,
    pub time_ns: u64,
    pub symbol: String,
    /// What differs: a signal, a command, something told.
    pub what: String,
    /// Field, the daemon's value, the repeat's.
    pub fields: Vec<(String, Value, Value)>,
    /// Later records of the same order or signal that differ as well.
    pub consequences: u64,
    #[serde(skip)]
    keys: Vec<String>,
}

/// A whole repeat.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub capture: String,
    pub inputs: u64,
    pub signals: u64,
    pub commands: u64,
    pub events: u64,
    pub differences: Vec<Difference>,
    /// Links whose records are not the same in both runs.
    pub links_that_differ: Vec<String>,
    pub links_compared: usize,
    pub holes: Vec<String>,
    /// Decisions behind a hole, which nobody can judge.
    pub not_compared: u64,
    /// Inputs that are not what the journal says.
    pub strays: u64,
    pub stuck: Vec<String>,
    pub from: String,
    pub to: String,
}

impl Report {
    /// Whether everything was compared and every decision is the same.
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty() && self.is_whole()
    }

    /// Whether everything was compared.
    pub fn is_whole(&self) -> bool {
        self.holes.is_empty() && self.stuck.is_empty()
    }

    /// The report of `outcome`.
    pub fn of(capture: String, outcome: &Outcome) -> Report {
        let mut found: Vec<Difference> = Vec::new();
        let mut equal = [0; 3];
        for (place, (link, lists)) in outcome.lists.iter().enumerate() {
            equal[place] = lists.equal_count;
            for pair in &lists.pairs {
                found.push(difference(*link, pair, &outcome.instruments));
            }
        }
        found.sort_by_key(|difference| difference.time_ns);
        let found = without_renumbered(found);
        let is_equal_link = |link: &&super::repeat::LinkResult| !link.is_equal;
        Report {
            capture,
            inputs: outcome.input_count,
            signals: equal[0],
            commands: equal[1],
            events: equal[2],
            differences: folded(found),
            links_that_differ: outcome
                .links
                .iter()
                .filter(is_equal_link)
                .map(|link| {
                    let name = link.link.link().name;
                    format!("{name} ({} and {} records)", link.daemon_count, link.repeat_count)
                })
                .collect(),
            links_compared: outcome.links.len(),
            holes: outcome.holes.iter().map(hole_text).collect(),
            not_compared: outcome.not_compared,
            strays: outcome.strays,
            stuck: outcome.stuck.iter().map(stuck_text).collect(),
            from: time_text(outcome.span_ns.0),
            to: time_text(outcome.span_ns.1),
        }
    }
}

fn stuck_text(stuck: &Stuck) -> String {
    let what = match stuck.link {
        Some(LinkId::Port) => "event of its port",
        Some(LinkId::Flush) => "flush",
        Some(LinkId::Model) => "model",
        Some(LinkId::Universe) => "version of the instruments",
        Some(LinkId::Timer) => "timer",
        Some(link) => link.link().name,
        None => "input of an unknown link",
    };
    format!(
        "{} at {}: {what} {} never came; {} inputs left",
        stuck.stage.text(),
        time_text(stuck.time_ns),
        stuck.sequence,
        stuck.left
    )
}

fn hole_text(hole: &crate::capture::Hole) -> String {
    let missing = match hole.missing {
        Some(1) => "1 record of ".to_string(),
        Some(count) => format!("{count} records of "),
        None => String::new(),
    };
    let what = hole.what.trim_start_matches("records of ");
    let before = if hole.before_ns > 0 {
        format!(", before {}", time_text(hole.before_ns))
    } else {
        String::new()
    };
    format!("{missing}{what}{before}")
}

/// Signals are numbered as they leave: after one that only one side has, the same signals have other
/// numbers. That hangs on the one that differs, and is no decision of its own.
fn without_renumbered(found: Vec<Difference>) -> Vec<Difference> {
    let is_renumbered = |difference: &Difference| {
        difference.what == "signal" && difference.fields.iter().all(|(name, ..)| name == "id")
    };
    let (renumbered, mut kept): (Vec<Difference>, Vec<Difference>) =
        found.into_iter().partition(is_renumbered);
    let root = kept.iter_mut().find(|other| other.what.starts_with("signal, "));
    match root {
        Some(root) => root.consequences += renumbered.len() as u64,
        None => kept.extend(renumbered),
    }
    kept
}

/// Joins what belongs to one decision: an order is a command and an event, and comes back in others.
fn folded(found: Vec<Difference>) -> Vec<Difference> {
    let mut folded: Vec<Difference> = Vec::new();
    for difference in found {
        let is_same = |other: &&mut Difference| other.keys.iter().any(|key| difference.keys.contains(key));
        match folded.iter_mut().find(is_same) {
            Some(root) => {
                root.consequences += 1;
                for key in difference.keys {
                    if !root.keys.contains(&key) {
                        root.keys.push(key);
                    }
                }
            }
            None => folded.push(difference),
        }
    }
    folded
}

fn difference(link: LinkId, pair: &Pair, instruments: &Instruments) -> Difference {
    let daemon = pair
        .daemon
        .as_ref()
        .map(|body| fields_of(link, body, instruments));
    let repeat = pair
        .repeat
        .as_ref()
        .map(|body| fields_of(link, body, instruments));
    let body = pair.daemon.as_ref().or(pair.repeat.as_ref());
    let either = daemon.as_ref().or(repeat.as_ref());
    let text = |name: &str| {
        either
            .and_then(|fields| fields.get(name))
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_string()
    };
    let whose = match (&daemon, &repeat) {
        (Some(_), None) => ", the daemon only",
        (None, Some(_)) => ", the repeat only",
        _ => "",
    };
    let time_ns = body.map_or(0, |body| time_of(body));
    let keys = ["client_id", "id", "signal_id"]
        .iter()
        .map(|name| text(name))
        .filter(|key| !key.trim_start_matches('0').is_empty())
        .collect();
    Difference {
        time: time_text(time_ns),
        time_ns,
        symbol: text("symbol"),
        what: format!("{}{whose}", text("kind")),
        fields: match (daemon, repeat) {
            (Some(daemon), Some(repeat)) => changed(&daemon, &repeat),
            (daemon, repeat) => told(daemon.or(repeat)),
        },
        consequences: 0,
        keys,
    }
}

/// Every field that is not the same.
fn changed(daemon: &Map<String, Value>, repeat: &Map<String, Value>) -> Vec<(String, Value, Value)> {
    let mut fields = Vec::new();
    for name in daemon
        .keys()
        .chain(repeat.keys().filter(|name| !daemon.contains_key(*name)))
    {
        let value = |map: &Map<String, Value>| map.get(name).cloned().unwrap_or(Value::Null);
        let (one, two) = (value(daemon), value(repeat));
        // Shown in another form already.
        if one == two || name == "ts_ms" {
            continue;
        }
        match (&one, &two) {
            (Value::Object(one), Value::Object(two)) => {
                let inner = changed(one, two).into_iter();
                fields.extend(inner.map(|(part, one, two)| (format!("{name}.{part}"), one, two)));
            }
            _ => fields.push((name.clone(), one, two)),
        }
    }
    fields
}

/// What a decision that only one of them made was about.
fn told(fields: Option<Map<String, Value>>) -> Vec<(String, Value, Value)> {
    let told = [
        "side",
        "reason",
        "score",
        "price",
        "price_ticks",
        "size",
        "size_lots",
        "filled",
        "exit",
        "state",
    ];
    let fields = fields.unwrap_or_default();
    told.iter()
        .filter_map(|name| {
            let value = fields.get(*name)?;
            let is_empty = value.is_null() || value == "" || value == "0" || value == &json!(0.0);
            (!is_empty).then(|| ((*name).to_string(), value.clone(), value.clone()))
        })
        .collect()
}

fn fields_of(link: LinkId, body: &Body, instruments: &Instruments) -> Map<String, Value> {
    let value = match link {
        LinkId::ScoreGate => {
            record::<Signal>(body).map(|signal| lines::signal(&signal, instruments, &graph::names(false)))
        }
        LinkId::GateSend => record::<OrderCommand>(body).map(|command| command_line(&command, instruments)),
        _ => record::<GateEvent>(body).and_then(|event| gate_lines::gate_event(&event, instruments, false)),
    };
    match value {
        Some(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

/// A record with this body; its stamps are zero.
fn record<T: Record>(body: &[u8]) -> Option<T> {
    let mut bytes = vec![0; size_of::<T>()];
    let stamps = bytes.len().checked_sub(body.len())?;
    bytes[stamps..].copy_from_slice(body);
    bytemuck::try_pod_read_unaligned(&bytes).ok()
}

fn command_line(command: &OrderCommand, instruments: &Instruments) -> Value {
    let kind = match CommandKind::from_code(command.kind) {
        Some(kind) => format!("{kind:?}").to_lowercase(),
        None => "unknown".to_string(),
    };
    let symbol = instruments
        .get(InstrumentId(command.instrument))
        .map_or(String::new(), |row| row.symbol.to_string());
    json!({
        "kind": format!("command {kind}"),
        "symbol": symbol,
        "side": Side::from_code(command.side).map_or("", Side::text),
        "client_id": command.client_id.as_str(),
        "signal_id": lines::id_text(command.signal),
        "call": command.call,
        "lane": command.lane,
        "order_type": command.order_type,
        "reduce_only": command.reduce_only,
        "leverage": command.leverage,
        "price_ticks": command.price_ticks,
        "size_lots": command.size_lots,
        "tp_ticks": command.tp_ticks,
        "sl_ticks": command.sl_ticks,
        "venue_id": command.venue_id,
        "expires_ns": command.expires_ns,
    })
}

/// Decision time in words, to the millisecond.
pub fn time_text(time_ns: u64) -> String {
    let ms = (time_ns / 1_000_000) as i64;
    jiff::Timestamp::from_millisecond(ms).map_or(String::new(), |time| time.strftime("%F %T%.3f").to_string())
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "capture   {}", self.capture)?;
        writeln!(
            f,
            "repeated  {} inputs, {} to {}",
            self.inputs, self.from, self.to
        )?;
        writeln!(
            f,
            "equal     {} signals, {} commands, {} events",
            self.signals, self.commands, self.events
        )?;
        for difference in &self.differences {
            write!(
                f,
                "differs   {} {} {}",
                difference.time, difference.symbol, difference.what
            )?;
            for (name, daemon, repeat) in difference.fields.iter().take(FIELDS_SHOWN) {
                if daemon == repeat {
                    write!(f, "; {name} {daemon}")?;
                } else {
                    write!(f, "; {name} {daemon} → {repeat}")?;
                }
            }
            if difference.fields.len() > FIELDS_SHOWN {
                write!(
                    f,
                    "; and {} more fields (--json)",
                    difference.fields.len() - FIELDS_SHOWN
                )?;
            }
            if difference.consequences > 0 {
                write!(f, "; and {} later records of it", difference.consequences)?;
            }
            writeln!(f)?;
        }
        for hole in &self.holes {
            writeln!(f, "hole      {hole}")?;
        }
        if self.not_compared > 0 {
            writeln!(
                f,
                "hole      {} records at it and behind it were not compared",
                self.not_compared
            )?;
        }
        for stuck in &self.stuck {
            writeln!(f, "stuck     {stuck}")?;
        }
        if self.links_compared > 0 && self.links_that_differ.is_empty() {
            writeln!(
                f,
                "links     all {} carried the same records",
                self.links_compared
            )?;
        }
        for link in &self.links_that_differ {
            writeln!(f, "links     {link} carried other records")?;
        }
        let end = if self.is_whole() {
            ""
        } else {
            ", and not everything could be compared"
        };
        let count = self.differences.len();
        let noun = if count == 1 { "difference" } else { "differences" };
        writeln!(f, "{count} {noun}{end}")
    }
}
