//! What is seen from outside of one run: the order wire, the gate's own words, the counts.
//!
//! The ports of every life of the process report here, and so does the world after each step. The
//! first broken invariant is kept; what follows it is its consequence.

use super::delay::Delays;
use super::story::Story;
use crate::app::graph;
use crate::bus::{Bus, BusError, Observed, Observer};
use crate::model::message::{
    Alert, AlertAnswer, CommandKind, GateEvent, GateEventKind, Lane, OrderCommand, PROTECTIVE_CALLS,
    SendReply,
};
use crate::model::{ClientOrderId, InstrumentId, Reason, Wall};
use crate::orders::State;
use crate::stage::gate::intents::Intents;
use crate::venue::blofin::budget::SUSPENSION_NS;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

/// A broken promise.
#[derive(Clone, Debug, Serialize)]
pub struct Breach {
    /// `I1` to `I10` of the invariants, `end` for the state at the end, `bug` for a livelock.
    pub invariant: &'static str,
    pub text: String,
}

/// What one run came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counts {
    pub candles: u64,
    pub signals: u64,
    pub alerts: u64,
    pub entries: u64,
    pub entries_accepted: u64,
    pub calls: u64,
    pub reads: u64,
    pub ambiguous: u64,
    pub fills: u64,
    pub closed: u64,
    pub refused: u64,
    pub naked_closes: u64,
    pub lives: u64,
    pub steps: u64,
    /// Most trading calls of one life in 10 s, and most calls in a minute and in five.
    pub trade_calls_10s_max: u64,
    pub calls_minute_max: u64,
    pub calls_five_minutes_max: u64,
    /// Protective calls that left, and the longest wait from decision to wire.
    pub protective_calls: u64,
    pub protective_wait_ms_max: u64,
    /// Refusals by reason, for whoever wonders why nothing is traded.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Faults and acts by name.
    pub faults: BTreeMap<String, u64>,
}

impl Counts {
    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Counts) {
        for (mine, theirs) in [
            (&mut self.candles, other.candles),
            (&mut self.signals, other.signals),
            (&mut self.alerts, other.alerts),
            (&mut self.entries, other.entries),
            (&mut self.entries_accepted, other.entries_accepted),
            (&mut self.calls, other.calls),
            (&mut self.reads, other.reads),
            (&mut self.ambiguous, other.ambiguous),
            (&mut self.fills, other.fills),
            (&mut self.closed, other.closed),
            (&mut self.refused, other.refused),
            (&mut self.naked_closes, other.naked_closes),
            (&mut self.lives, other.lives),
            (&mut self.steps, other.steps),
            (&mut self.protective_calls, other.protective_calls),
        ] {
            *mine += theirs;
        }
        for (mine, theirs) in [
            (&mut self.trade_calls_10s_max, other.trade_calls_10s_max),
            (&mut self.protective_wait_ms_max, other.protective_wait_ms_max),
            (&mut self.calls_minute_max, other.calls_minute_max),
            (&mut self.calls_five_minutes_max, other.calls_five_minutes_max),
        ] {
            *mine = theirs.max(*mine);
        }
        for (reason, count) in &other.refusals {
            *self.refusals.entry(reason).or_default() += count;
        }
        for (name, count) in &other.faults {
            *self.faults.entry(name.clone()).or_default() += count;
        }
    }
}

/// Lists that must have been read in this life before an entry may leave.
const MUST_READ: [&str; 4] = [
    "/api/v1/account/positions",
    "/api/v1/trade/orders-pending",
    "/api/v1/trade/orders-tpsl-pending",
    "/api/v1/account/balance",
];

/// The venue's windows, and what we allow ourselves of its 30 trading calls.
const TRADE_WINDOW_NS: u64 = 10_000_000_000;
/// The same with the time that calls are on their way, as we keep it.
const OUR_WINDOW_NS: u64 = 10_500_000_000;
const FIVE_MINUTES_NS: u64 = 300_000_000_000;
const OUR_TRADE_CALLS: u64 = 24;
/// `AlertAnswer::decision` of an alert that became an entry.
const ACCEPTED: u8 = 1;
/// How long reads rest after the first refusal, and at most.
const PAUSE_NS_MIN: u64 = 60_000_000_000;
const PAUSE_NS_MAX: u64 = 3_600_000_000_000;
const CANDLES: &str = "/api/v1/market/candles";
/// What every row of an account list has once.
const ROW_ID: &[u8] = b"\"instId\":";

/// The observers of one life.
struct Ears {
    commands: Observer<OrderCommand>,
    replies: Observer<SendReply>,
    events: Observer<GateEvent>,
}

/// Everything that is remembered of a run.
pub struct Watch {
    pub story: Story,
    pub counts: Counts,
    pub breach: Option<Breach>,
    pub now: Wall,
    /// Signal of every entry that the gate ever asked for.
    pub signal_of: BTreeMap<ClientOrderId, u64>,
    /// Entries that the gate called over without effect: rejected, or dead.
    pub ended: BTreeMap<ClientOrderId, State>,
    /// When something protective was last sent for an instrument.
    pub protected_at: BTreeMap<u16, Wall>,
    /// When the cancel of a bracket was last sent, by the venue's number.
    pub swept_at: BTreeMap<u64, Wall>,
    /// The lane of each order call on its way and when it left, by number of the call.
    under_way: BTreeMap<u64, (u8, Wall)>,
    /// Until when reads may rest after a 429 or 403, when the last of these came, and how long reads may
    /// rest after another 429.
    pub reads_rest_until: Wall,
    reads_refused: Wall,
    reads_pause_ns: u64,
    /// When an order call was last refused, and how often in a row; 0 = served since.
    orders_refused: (Wall, u32),
    /// An order call has been written since this was last cleared.
    pub call_left: bool,
    /// An entry has been put on record and handed to `send`.
    pub intent_made: bool,
    ears: Option<Ears>,
    /// Alert of each request, and the request for which each alert was entered.
    asked: BTreeMap<u64, u64>,
    entered: BTreeMap<u64, u64>,
    lists_read: [bool; MUST_READ.len()],
    delays: Delays,
    /// Times of this life's calls under /trade, and of all its calls.
    trade_calls: VecDeque<Wall>,
    all_calls: VecDeque<Wall>,
    intents: PathBuf,
    account_hash: u64,
}

impl Watch {
    pub fn new(story: Story, intents: PathBuf, key: &str, host: &str) -> Self {
        Watch {
            story,
            counts: Counts::default(),
            breach: None,
            now: Wall(0),
            signal_of: BTreeMap::new(),
            ended: BTreeMap::new(),
            protected_at: BTreeMap::new(),
            swept_at: BTreeMap::new(),
            under_way: BTreeMap::new(),
            reads_rest_until: Wall(0),
            reads_refused: Wall(0),
            reads_pause_ns: PAUSE_NS_MIN,
            orders_refused: (Wall(0), 0),
            call_left: false,
            intent_made: false,
            ears: None,
            asked: BTreeMap::new(),
            entered: BTreeMap::new(),
            lists_read: [false; MUST_READ.len()],
            delays: Delays::default(),
            trade_calls: VecDeque::new(),
            all_calls: VecDeque::new(),
            intents,
            account_hash: graph::account_hash(key, host),
        }
    }

    /// Keeps the first breach.
    pub fn broken(&mut self, invariant: &'static str, text: String) {
        if self.breach.is_none() {
            self.story.note("BROKEN", format_args!("{invariant}: {text}"));
            self.breach = Some(Breach { invariant, text });
        }
    }

    pub fn count_fault(&mut self, name: &str) {
        *self.counts.faults.entry(name.to_owned()).or_default() += 1;
    }

    /// A process begins over `bus`.
    pub fn begin_life(&mut self, bus: &Bus) -> Result<(), BusError> {
        self.ears = Some(Ears {
            commands: bus.observer("gate_send")?,
            replies: bus.observer("send_gate")?,
            events: bus.observer("gate_housekeep")?,
        });
        self.lists_read = [false; MUST_READ.len()];
        self.trade_calls.clear();
        self.all_calls.clear();
        self.under_way.clear();
        self.delays.forget();
        (self.reads_rest_until, self.reads_refused) = (Wall(0), Wall(0));
        self.reads_pause_ns = PAUSE_NS_MIN;
        self.orders_refused = (Wall(0), 0);
        self.counts.lives += 1;
        Ok(())
    }

    /// The process is gone; what it said last has been heard.
    pub fn end_life(&mut self, bus: &Bus) {
        self.listen();
        for counter in bus.counters().unwrap_or_default() {
            match counter.name.as_str() {
                "indicate_candle" => self.counts.candles += counter.value,
                "score_signal" => self.counts.signals += counter.value,
                _ => {}
            }
        }
        self.ears = None;
        self.under_way.clear();
    }

    /// Hears what the gate has said since the last time.
    pub fn listen(&mut self) {
        let Some(mut ears) = self.ears.take() else {
            return;
        };
        loop {
            match ears.commands.next() {
                Observed::Record(command) => self.on_command(&command),
                Observed::Missed(count) => self.broken("bug", format!("{count} commands went by unseen")),
                Observed::Empty => break,
            }
        }
        loop {
            match ears.replies.next() {
                Observed::Record(reply) => self.delays.on_reply(&reply, self.now),
                Observed::Missed(count) => self.broken("bug", format!("{count} replies went by unseen")),
                Observed::Empty => break,
            }
        }
        self.delays.on_step(self.now);
        self.counts.protective_calls = self.delays.left;
        self.counts.protective_wait_ms_max = self.delays.longest_ms();
        loop {
            match ears.events.next() {
                Observed::Record(event) => self.on_event(&event),
                Observed::Missed(count) => self.broken("bug", format!("{count} events went by unseen")),
                Observed::Empty => break,
            }
        }
        self.ears = Some(ears);
    }

    fn on_command(&mut self, command: &OrderCommand) {
        self.story.mix(bytemuck::bytes_of(command));
        self.delays.on_command(command, self.now);
        if command.kind == CommandKind::Place as u8 && command.reduce_only == 0 {
            self.counts.entries += 1;
            self.intent_made = true;
            self.signal_of.insert(command.client_id, command.signal);
        }
    }

    fn on_event(&mut self, event: &GateEvent) {
        let Some(kind) = GateEventKind::from_code(event.kind) else {
            return;
        };
        let reason = Reason::from_code(event.reason).map_or("", Reason::text);
        let who = event.instrument;
        match kind {
            GateEventKind::OrderState => {
                let state = State::from_code(event.state);
                self.story.note(
                    "gate",
                    format_args!(
                        "order {} is {state:?}, code {}",
                        event.client_id.as_str(),
                        event.venue_code
                    ),
                );
                self.counts.ambiguous += u64::from(state == Some(State::Unknown));
                match state {
                    Some(state @ (State::Rejected | State::Dead)) => {
                        self.ended.insert(event.client_id, state);
                    }
                    _ => {
                        self.ended.remove(&event.client_id);
                    }
                }
            }
            GateEventKind::Fill => {
                self.counts.fills += 1;
                let (lots, price) = (event.size_lots, event.fill_price);
                self.story
                    .note("gate", format_args!("fill on {who}: {lots} lots at {price}"));
            }
            GateEventKind::TradeClosed => {
                self.counts.closed += 1;
                let (exit, pnl) = (event.exit, event.pnl);
                self.story.note(
                    "gate",
                    format_args!("trade on {who} closed, exit {exit}, {pnl:.4} USDT"),
                );
            }
            GateEventKind::Refused | GateEventKind::Skipped => {
                self.counts.refused += 1;
                *self.counts.refusals.entry(reason).or_default() += 1;
                self.story.mix(&event.reason.to_le_bytes());
            }
            GateEventKind::NakedClose => {
                self.counts.naked_closes += 1;
                self.story
                    .note("gate", format_args!("closes {who}, which could not be protected"));
            }
            GateEventKind::OrderSent => {
                let kind = CommandKind::from_code(event.command);
                let (id, sl, tp) = (event.client_id, event.sl_ticks, event.tp_ticks);
                self.story.note(
                    "gate",
                    format_args!("{kind:?} on {who} {} sl {sl} tp {tp}", id.as_str()),
                );
            }
            GateEventKind::BracketState => {
                let (id, state) = (event.venue_id, event.state);
                self.story
                    .note("gate", format_args!("bracket {id} on {who} is in state {state}"));
            }
            GateEventKind::MarginLow => self.story.note("gate", format_args!("margin low on {who}")),
            GateEventKind::Untrusted => self
                .story
                .note("gate", format_args!("a row of {who} is not believed: {reason}")),
            GateEventKind::Trusted => self.story.note("gate", format_args!("the row of {who} is gone")),
            GateEventKind::EntriesOff => self.story.note("gate", format_args!("entries off: {reason}")),
            GateEventKind::EntriesOn => self.story.note("gate", format_args!("entries on")),
        }
    }

    /// An alert has been sent to the process.
    pub fn on_alert(&mut self, alert: &Alert) {
        self.counts.alerts += 1;
        let (request, id, who, side) = (alert.request, alert.id_hash[0], alert.instrument, alert.side);
        self.asked.insert(request, id);
        self.story.note(
            "alert",
            format_args!("request {request}: alert {id} on {who}, side {side}"),
        );
    }

    /// The process has answered an alert. I1: an alert is entered once, over all lives.
    pub fn on_answer(&mut self, answer: &AlertAnswer) {
        let (request, decision) = (answer.request, answer.decision);
        let reason = Reason::from_code(answer.reason).map_or("", Reason::text);
        self.story.note(
            "gate",
            format_args!("answers request {request}: {decision} {reason}"),
        );
        let Some(id) = self.asked.get(&request).copied().filter(|_| decision == ACCEPTED) else {
            return;
        };
        if let Some(first) = self.entered.insert(id, request) {
            self.broken(
                "I1",
                format!("alert {id} was entered for request {first} and again for {request}"),
            );
        }
    }

    /// An order call has been written.
    pub fn on_order_call(&mut self, (lane, call): (u8, u64), path: &str, body: &str) {
        self.listen();
        self.counts.calls += 1;
        self.delays.on_left(call, self.now);
        self.call_left = true;
        self.under_way.insert(call, (lane, self.now));
        self.story.note("wire >", format_args!("{path} {body}"));
        if path == "/api/v1/trade/cancel-tpsl"
            && let Some(id) = text_of(body, "tpslId").and_then(|text| text.parse().ok())
        {
            self.swept_at.insert(id, self.now);
        }
        let is_reducing = body.contains("\"reduceOnly\":\"true\"");
        let is_entry = path == "/api/v1/trade/order" && !is_reducing;
        if is_entry {
            self.check_entry(body);
        }
    }

    /// A call of any kind leaves: I10 counts it where the venue does.
    pub fn on_any_call(&mut self, path: &str) {
        let now = self.now;
        let within =
            |calls: &VecDeque<Wall>, ns: u64| calls.len() - calls.partition_point(|at| now.since(*at) >= ns);
        self.all_calls.push_back(now);
        while self
            .all_calls
            .front()
            .is_some_and(|at| now.since(*at) >= FIVE_MINUTES_NS)
        {
            self.all_calls.pop_front();
        }
        if path.starts_with("/api/v1/trade/") {
            self.trade_calls.push_back(now);
            while self
                .trade_calls
                .front()
                .is_some_and(|at| now.since(*at) >= TRADE_WINDOW_NS)
            {
                self.trade_calls.pop_front();
            }
        }
        let trade = self.trade_calls.len() as u64;
        let minute = within(&self.all_calls, FIVE_MINUTES_NS / 5) as u64;
        let five = self.all_calls.len() as u64;
        let counts = &mut self.counts;
        counts.trade_calls_10s_max = counts.trade_calls_10s_max.max(trade);
        counts.calls_minute_max = counts.calls_minute_max.max(minute);
        counts.calls_five_minutes_max = counts.calls_five_minutes_max.max(five);
        if trade > OUR_TRADE_CALLS {
            self.broken(
                "I10",
                format!("{trade} trading calls in 10 s, {OUR_TRADE_CALLS} are ours"),
            );
        }
    }

    /// Whether a connection for protective calls is free.
    pub fn can_protect(&self) -> bool {
        self.under_way
            .values()
            .filter(|(lane, _)| is_protective(*lane))
            .count()
            < PROTECTIVE_CALLS
    }

    /// Whether the connection of sweeps, which they share with entries, is taken.
    pub fn is_sweeping(&self) -> bool {
        self.under_way.values().any(|(lane, _)| !is_protective(*lane))
    }

    /// Something for `instrument` was sent that protects or closes.
    pub fn on_protection(&mut self, instrument: InstrumentId) {
        self.protected_at.insert(instrument.0, self.now);
    }

    fn check_entry(&mut self, body: &str) {
        let Some(id) = text_of(body, "clientOrderId").and_then(|text| ClientOrderId::parse(text.as_bytes()))
        else {
            self.broken("I2", format!("an entry without an id of ours left: {body}"));
            return;
        };
        let image = Intents::read(&self.intents, self.account_hash);
        let is_on_record = match &image {
            Ok(Some(image)) => image.windows(id.0.len()).any(|window| window == id.0),
            Ok(None) | Err(_) => false,
        };
        if !is_on_record {
            self.broken(
                "I2",
                format!("entry {} left before its intent was on record", id.as_str()),
            );
        }
        if let Some(missing) = self.lists_read.iter().position(|read| !read) {
            let list = MUST_READ.get(missing).copied().unwrap_or("");
            self.broken(
                "I9",
                format!(
                    "entry {} left before {list} had been read in this life",
                    id.as_str()
                ),
            );
        }
    }

    /// An order call ended; `status` of its answer, 0 without one. Reads come from the same address: an
    /// order call that is refused rests them for a window, or, banned or refused again, for five minutes.
    pub fn on_order_end(&mut self, call: u64, status: u16, how: std::fmt::Arguments<'_>) {
        let sent = self.under_way.remove(&call).map_or(Wall(0), |(_, sent)| sent);
        self.story.note("wire <", how);
        let (refused, count) = &mut self.orders_refused;
        // What was out at a refusal is no second one when it is refused, nor does it end the first when it is
        // served.
        let is_new = sent > *refused;
        match status {
            403 | 429 => {
                if is_new {
                    (*refused, *count) = (self.now, *count + 1);
                }
                let is_suspended = status == 403 || *count > 1;
                let rest_ns = if is_suspended {
                    SUSPENSION_NS
                } else {
                    OUR_WINDOW_NS
                };
                self.reads_rest_until = self.reads_rest_until.max(Wall(self.now.0 + rest_ns));
            }
            200 if is_new => (*refused, *count) = (Wall(0), 0),
            _ => {}
        }
    }

    /// The venue refused to serve a read sent at `sent`. Reads then rest a minute, and twice as long after
    /// each further refusal without an answer in between; a ban takes five minutes. Reads that were out
    /// together are refused once.
    fn on_read_refused(&mut self, is_ban: bool, sent: Wall) {
        let mut rest_ns = if is_ban { SUSPENSION_NS } else { 0 };
        if sent > self.reads_refused {
            rest_ns = rest_ns.max(self.reads_pause_ns);
            self.reads_pause_ns = (2 * self.reads_pause_ns).min(PAUSE_NS_MAX);
            self.reads_refused = self.now;
        }
        self.reads_rest_until = self.reads_rest_until.max(Wall(self.now.0 + rest_ns));
    }

    /// A read sent at `sent` ended; `path` without its query.
    pub fn on_read(&mut self, path: &str, sent: Wall, status: u16, body: &[u8]) {
        self.counts.reads += 1;
        match status {
            403 | 429 => self.on_read_refused(status == 403, sent),
            200 => self.reads_pause_ns = PAUSE_NS_MIN,
            _ => {}
        }
        self.story.mix(&body.len().to_le_bytes());
        if path != CANDLES {
            let count = body.windows(ROW_ID.len()).filter(|part| *part == ROW_ID).count();
            self.story
                .note("read <", format_args!("{status} {path}, {count} rows"));
        }
        let is_good = status == 200 && body.starts_with(b"{\"code\":\"0\"");
        for (name, read) in MUST_READ.iter().zip(&mut self.lists_read) {
            *read |= is_good && *name == path;
        }
    }
}

/// Whether calls of `lane` have connections of their own.
fn is_protective(lane: u8) -> bool {
    lane == Lane::Protect as u8 || lane == Lane::Close as u8
}

/// The text of a member of a flat JSON object of ours.
pub fn text_of<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    let start = body.find(&format!("\"{name}\":\""))? + name.len() + 4;
    let rest = body.get(start..)?;
    rest.get(..rest.find('"')?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_by_name() {
        let body = r#"{"instId":"BTC-USDT","clientOrderId":"ssc01","x":1}"#;
        assert_eq!(text_of(body, "clientOrderId"), Some("ssc01"));
        assert_eq!(text_of(body, "instId"), Some("BTC-USDT"));
        assert_eq!(text_of(body, "size"), None);
    }
}
