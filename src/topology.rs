//! READ FIRST: every stage, every link, its depth, its policy and why.
//!
//! ```text
//!                  market frames                                                      orders (REST)
//!  BloFin ──ws──▶ decode ──▶ indicate ──▶ score ──▶ gate ──▶ send ───────────────────────────▶ BloFin
//!                  ▲ │  decode_indicate  indicate_score  score_gate  gate_send    │
//!                  │ └── decode_gate (quotes, marks) ───────▶ gate ◀── send_gate (replies)
//!     fetch_decode │ ▼ decode_fetch (gaps)                   ▲ │ ▲
//!  BloFin ◀─REST─▶ fetch ── fetch_gate (lookups, pages) ─────┘ │ └── account_gate ◀── account ◀── private ws
//!                        ◀── gate_fetch ───────────────────────┤
//!  alert  ──http──▶ webhook ── webhook_gate ──▶ gate ── gate_webhook (the answer)
//!                                               gate ── gate_score (outcomes teach the bandit) ──▶ score
//!                        decode ◀── gate_decode (what is held, to be watched closely) ── gate
//!                        indicate ── indicate_gate (the ATR that open stops trail by, the pace of the tape) ──▶ gate
//!          * ── *_housekeep, score_labels, score_refusals, *_journal ──▶ housekeep
//! ```
//!
//! On paper the venue is a stage of this process (`paper`), fed by `decode_paper`.
//! `app::graph` reads this table and builds the graph; nothing else makes a ring.

use crate::bus::BusBuilder;
use crate::model::FeatureRow;
use crate::model::message::{
    AccountEvent, Alert, AlertAnswer, FetchRequest, GateEvent, Holding, IndicatorUpdate, JournalEntry,
    OrderCommand, SendReply, Signal, SignalLabel, Tick, TradeOutcome,
};

/// A stage; the code stands in journals (append only).
#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StageId {
    Decode = 1,
    Indicate = 2,
    Score = 3,
    Gate = 4,
    Send = 5,
    Fetch = 6,
    Account = 7,
    Webhook = 8,
    Housekeep = 9,
    Paper = 10,
}

impl StageId {
    pub const ALL: [StageId; 10] = [
        StageId::Decode,
        StageId::Indicate,
        StageId::Score,
        StageId::Gate,
        StageId::Send,
        StageId::Fetch,
        StageId::Account,
        StageId::Webhook,
        StageId::Housekeep,
        StageId::Paper,
    ];

    /// Name of the stage, its file in `stage` (`webhook`'s is the folder `gateway`), its thread and its
    /// metrics.
    pub fn text(self) -> &'static str {
        match self {
            StageId::Decode => "decode",
            StageId::Indicate => "indicate",
            StageId::Score => "score",
            StageId::Gate => "gate",
            StageId::Send => "send",
            StageId::Fetch => "fetch",
            StageId::Account => "account",
            StageId::Webhook => "webhook",
            StageId::Housekeep => "housekeep",
            StageId::Paper => "paper",
        }
    }

    pub fn parse(text: &str) -> Option<StageId> {
        Self::ALL.into_iter().find(|stage| stage.text() == text)
    }
}

/// An input of a stage: a link, or one of the inputs that are no ring. Codes stand in journals.
#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LinkId {
    DecodeIndicate = 1,
    IndicateScore = 2,
    ScoreGate = 3,
    GateSend = 4,
    SendGate = 5,
    DecodeGate = 6,
    FetchDecode = 7,
    DecodeFetch = 8,
    FetchGate = 9,
    GateFetch = 10,
    AccountGate = 11,
    WebhookGate = 12,
    GateWebhook = 13,
    GateScore = 14,
    DecodePaper = 15,
    GateHousekeep = 16,
    ScoreHousekeep = 17,
    DecodeJournal = 19,
    GateJournal = 20,
    ScoreJournal = 21,
    SendJournal = 22,
    FetchJournal = 23,
    AccountJournal = 24,
    DecodeHousekeep = 25,
    IndicateGate = 26,
    ScoreLabels = 27,
    ScoreRefusals = 28,
    GateDecode = 29,
    /// Events of the stage's port: frames, replies. Not a ring.
    Port = 0xfe00,
    /// What a stage does of itself, so that the journal must say when and how much: conflated records
    /// going out, the candidates of a close released by `score`, calls submitted by `send`, what `fetch` was
    /// asked or told by readers beside the stages (`stage::outside`). Not a ring.
    Flush = 0xfe01,
    /// A model came from outside. Not a ring.
    Model = 0xfe02,
    /// A new version of the instruments was taken over. Not a ring.
    Universe = 0xfe03,
    /// The stage's timer fired. Not a ring.
    Timer = 0xff00,
}

impl LinkId {
    /// The link with this journal code.
    pub fn from_code(code: u16) -> Option<LinkId> {
        let outside = [
            LinkId::Port,
            LinkId::Flush,
            LinkId::Model,
            LinkId::Universe,
            LinkId::Timer,
        ];
        LINKS
            .iter()
            .map(|link| link.id)
            .chain(outside)
            .find(|id| *id as u16 == code)
    }

    /// The row of the table.
    pub fn link(self) -> &'static Link {
        LINKS
            .iter()
            .find(|link| link.id == self)
            .expect("LINKS has a row for every ring")
    }
}

/// What happens when a ring is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The producer waits: it takes no input until there is room.
    Credit,
    /// The producer keeps the latest per instrument and publishes when there is room.
    Conflate,
    /// The record is dropped and counted.
    DropCount,
}

/// One ring.
pub struct Link {
    pub id: LinkId,
    pub name: &'static str,
    pub from: StageId,
    pub to: StageId,
    pub depth: usize,
    pub policy: Policy,
    pub why: &'static str,
    plan: fn(&mut BusBuilder, &'static str, usize),
}

macro_rules! link {
    ($id:ident, $name:literal, $from:ident -> $to:ident, $record:ty, $depth:literal, $policy:ident, $why:literal) => {
        Link {
            id: LinkId::$id,
            name: $name,
            from: StageId::$from,
            to: StageId::$to,
            depth: $depth,
            policy: Policy::$policy,
            why: $why,
            plan: |bus, name, depth| {
                bus.ring::<$record>(name, depth);
            },
        }
    };
}

/// Every ring of the program. Depths are powers of two.
///
/// `gate_decode` closes the cycle decode → gate → decode, which cannot stand still because both conflate.
/// Cycles of credit links are gate → send → gate, gate → fetch → gate, decode → fetch → decode and
/// score → gate → score. Each is bounded by what may be in flight: `send` and `fetch` hold at most
/// 64 calls and take none while their reply ring lacks room for as many, and `gate_score` drops.
pub static LINKS: [Link; 28] = [
    link!(DecodeIndicate, "decode_indicate", Decode -> Indicate, Tick, 8192, Credit,
        "490 instruments x 4 timeframes close together: 1,960 rows, four times over; 1 MiB"),
    link!(IndicateScore, "indicate_score", Indicate -> Score, FeatureRow, 2048, Credit,
        "one whole close of 490 instruments x 4 timeframes; 1.8 MiB"),
    link!(ScoreGate, "score_gate", Score -> Gate, Signal, 256, Credit,
        "MAX_CANDIDATES_PER_LOOP is 24 by default; ten scans"),
    link!(GateSend, "gate_send", Gate -> Send, OrderCommand, 128, Credit,
        "30 trading calls in 10 s is the venue's limit; four windows"),
    link!(SendGate, "send_gate", Send -> Gate, SendReply, 256, Credit,
        "twice gate_send: every command can be answered though gate takes none"),
    link!(DecodeGate, "decode_gate", Decode -> Gate, Tick, 2048, Conflate,
        "one quote and one mark an instrument a poll"),
    link!(FetchDecode, "fetch_decode", Fetch -> Decode, Tick, 4096, Credit,
        "one page is at most 1,440 candles; a page is taken only when it fits"),
    link!(DecodeFetch, "decode_fetch", Decode -> Fetch, FetchRequest, 8192, Credit,
        "history of every series at start: 1,024 instruments x 5"),
    link!(FetchGate, "fetch_gate", Fetch -> Gate, AccountEvent, 1024, Credit,
        "one page is at most 100 rows; reconcile reads six lists"),
    link!(GateFetch, "gate_fetch", Gate -> Fetch, FetchRequest, 256, Credit,
        "lookups of every order in flight, plus a reconcile"),
    link!(AccountGate, "account_gate", Account -> Gate, AccountEvent, 1024, Credit,
        "a reconnect pushes every position and balance at once"),
    link!(WebhookGate, "webhook_gate", Webhook -> Gate, Alert, 256, DropCount,
        "beyond it the sender is told 429"),
    link!(GateWebhook, "gate_webhook", Gate -> Webhook, AlertAnswer, 512, Credit,
        "twice webhook_gate: every alert can be answered"),
    link!(GateScore, "gate_score", Gate -> Score, TradeOutcome, 256, DropCount,
        "outcomes come at the pace of trades; a lost one costs the bandit one lesson"),
    link!(GateDecode, "gate_decode", Gate -> Decode, Holding, 1024, Conflate,
        "one word an instrument; gate tells the rest when there is room, and never waits for it"),
    link!(DecodePaper, "decode_paper", Decode -> Paper, Tick, 4096, Credit,
        "paper fills must see every trade and quote"),
    link!(GateHousekeep, "gate_housekeep", Gate -> Housekeep, GateEvent, 4096, Credit,
        "orders and fills are never lost: entries turn off when full"),
    link!(ScoreHousekeep, "score_housekeep", Score -> Housekeep, Signal, 1024, DropCount,
        "a slow disk loses lines, never time"),
    link!(IndicateGate, "indicate_gate", Indicate -> Gate, IndicatorUpdate, 4096, Credit,
        "one close of 490 instruments x 4 timeframes, and once a second the pace of each tape; gate takes it last"),
    link!(DecodeJournal, "decode_journal", Decode -> Housekeep, JournalEntry, 32768, DropCount,
        "an entry a frame or row of history; a second of a burst; what is lost is a hole in the capture"),
    link!(GateJournal, "gate_journal", Gate -> Housekeep, JournalEntry, 32768, DropCount, "an entry an input"),
    link!(ScoreJournal, "score_journal", Score -> Housekeep, JournalEntry, 32768, DropCount, "an entry an input"),
    link!(SendJournal, "send_journal", Send -> Housekeep, JournalEntry, 1024, DropCount, "an entry a call"),
    link!(FetchJournal, "fetch_journal", Fetch -> Housekeep, JournalEntry, 8192, DropCount, "an entry a call"),
    link!(AccountJournal, "account_journal", Account -> Housekeep, JournalEntry, 4096, DropCount,
        "an entry a frame of the private socket"),
    link!(DecodeHousekeep, "decode_housekeep", Decode -> Housekeep, Tick, 1024, DropCount,
        "bad rows and frames by instrument and reason, to be told in words; a flood of them costs lines only"),
    link!(ScoreLabels, "score_labels", Score -> Housekeep, SignalLabel, 1024, DropCount,
        "how signals ended, for the metrics file; a slow disk loses lines, never time"),
    link!(ScoreRefusals, "score_refusals", Score -> Housekeep, Signal, 1024, DropCount,
        "near misses, for `why`; a close of 490 instruments has some tens of them"),
];

/// Plans the ring of `link` on a bus under construction.
pub fn plan(link: &Link, bus: &mut BusBuilder) {
    (link.plan)(bus, link.name, link.depth);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_producer_consumer_and_codes_unique() {
        let mut codes: Vec<u16> = LINKS.iter().map(|link| link.id as u16).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), LINKS.len());
        for link in &LINKS {
            assert!(link.depth.is_power_of_two(), "{}", link.name);
            assert!(!link.why.is_empty());
            // Rings with the same two ends are told apart by what they carry.
            let end = ["journal", "labels", "refusals"]
                .into_iter()
                .find(|end| link.name.ends_with(end))
                .unwrap_or(link.to.text());
            assert_eq!(link.name, format!("{}_{end}", link.from.text()));
            assert_eq!(LinkId::from_code(link.id as u16), Some(link.id));
        }
    }
}
