//! The records that travel on rings. Plain words: no padding, bool, enum or Option; codes are
//! checked by the reader, after the copy.

use super::candle::Candle;
use super::client_id::ClientOrderId;
use super::header::Header;
use super::instrument::InstrumentId;
use super::time::{Timeframe, Wall};
use bytemuck::{Pod, Zeroable};

/// What a `Tick` carries; code in `Tick::kind`.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TickKind {
    /// `venue_ms` = open time; v = open high low close volume volume_base volume_quote.
    Candle = 1,
    /// v = price, size in contracts, trade id (exact below 2^53); flag BUY when the taker bought.
    Trade = 2,
    /// v = bid, ask, bid size, ask size, last, last size, 24 h volume in base coins, open24h.
    Quote = 3,
    /// v = bid, ask, bid size, ask size, USD depth of the bids, of the asks; sizes in contracts.
    Depth = 4,
    /// v = mark price.
    Mark = 5,
    /// v = rate of the coming interval, its time in Unix ms.
    Funding = 6,
    /// The instrument's market data can no longer be believed; v[0] = reason code.
    Stale = 7,
    /// Market data of the instrument is whole again.
    Fresh = 8,
}

impl TickKind {
    pub fn from_code(code: u8) -> Option<TickKind> {
        use TickKind::*;
        [Candle, Trade, Quote, Depth, Mark, Funding, Stale, Fresh]
            .into_iter()
            .find(|kind| *kind as u8 == code)
    }
}

/// Bits of `Tick::flags`.
pub mod tick_flag {
    /// Candle: the interval is closed.
    pub const CONFIRMED: u16 = 1;
    /// Candle: read from REST history, not from the live socket.
    pub const BACKFILL: u16 = 2;
    /// Candle: made up to fill a hole.
    pub const SYNTHETIC: u16 = 4;
    /// Trade: the taker bought.
    pub const BUY: u16 = 8;
    /// Candle: history was asked for and there is no more of it.
    pub const LAST_OF_BACKFILL: u16 = 16;
    /// Candle: the hole before it was too long, the series starts over with this one.
    pub const RESET: u16 = 32;
}

/// One decoded market-data update. 128 bytes.
///
/// ```text
/// words 0–3   header
/// word  4     kind u8 | timeframe u8 | flags u16 | instrument u16 | connection u16
/// word  5     venue_ms
/// words 6–15  values by kind
/// ```
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct Tick {
    pub header: Header,
    pub kind: u8,
    pub timeframe: u8,
    pub flags: u16,
    pub instrument: u16,
    pub connection: u16,
    pub venue_ms: i64,
    pub v: [f64; 10],
}

const _: () = assert!(size_of::<Tick>() == 128);

impl Tick {
    /// An empty tick of `kind`; the caller fills `v`.
    pub fn new(kind: TickKind, instrument: InstrumentId, venue_ms: i64) -> Self {
        Tick {
            kind: kind as u8,
            instrument: instrument.0,
            venue_ms,
            ..Tick::zeroed()
        }
    }

    pub fn of_candle(instrument: InstrumentId, timeframe: Timeframe, candle: &Candle, flags: u16) -> Self {
        let mut tick = Tick::new(TickKind::Candle, instrument, candle.open_ms);
        tick.timeframe = timeframe as u8;
        tick.flags = flags;
        tick.v[..7].copy_from_slice(&[
            candle.open,
            candle.high,
            candle.low,
            candle.close,
            candle.volume,
            candle.volume_base,
            candle.volume_quote,
        ]);
        tick
    }

    /// The candle inside, `None` when the tick is of another kind.
    pub fn candle(&self) -> Option<Candle> {
        (self.kind == TickKind::Candle as u8).then(|| Candle {
            open_ms: self.venue_ms,
            open: self.v[0],
            high: self.v[1],
            low: self.v[2],
            close: self.v[3],
            volume: self.v[4],
            volume_base: self.v[5],
            volume_quote: self.v[6],
        })
    }

    pub fn instrument(&self) -> InstrumentId {
        InstrumentId(self.instrument)
    }

    pub fn has_flag(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// Most votes a signal carries; components beyond it would need a new record schema.
pub const VOTES_MAX: usize = 16;
/// Most model features a signal carries (the list is `strategy::probability`'s).
pub const MODEL_FEATURES_MAX: usize = 40;

/// One component's say in a signal.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub struct Vote {
    /// Index of the component in `strategy::COMPONENTS`.
    pub component: u8,
    /// 1 for buy, 2 for sell; 0 = no vote (end of the list).
    pub side: u8,
    pub zero: u16,
    /// Strength in 0.4..=1.
    pub strength: f32,
    /// Points after weight and affinity.
    pub points: f32,
    pub weight: f32,
}

/// An opinion that passed SCORE_MIN, on `score_gate`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Signal {
    pub header: Header,
    /// Unique in a run and over runs: (epoch << 40) | count.
    pub id: u64,
    pub instrument: u16,
    pub timeframe: u8,
    /// `Side` code.
    pub side: u8,
    /// `strategy::regime` code of the series, and of the whole market.
    pub regime: u8,
    pub market_regime: u8,
    pub vote_count: u8,
    /// 1 heuristic, 2 calibrated, 3 external.
    pub probability_source: u8,
    /// Open time of the candle it was read from; the candle closed one interval later.
    pub open_ms: i64,
    pub score: f64,
    pub probability: f64,
    pub ev_r: f64,
    /// Round-trip cost as a part of the stop distance.
    pub cost_r: f64,
    /// Close of the candle.
    pub price: f64,
    /// ATR14 of the series; 0 when absent.
    pub atr: f64,
    /// Level that the leading component would hide the stop behind; 0 when none.
    pub level: f64,
    /// Distances planned from `price`, in price units.
    pub sl_distance: f64,
    pub tp_distance: f64,
    /// Quote volume of the last 24 hours; 0 when unknown.
    pub quote_volume: f64,
    pub er_mix: f64,
    pub features_present: u64,
    pub votes: [Vote; VOTES_MAX],
    pub features: [f64; MODEL_FEATURES_MAX],
}

const _: () = assert!(size_of::<Signal>() == 728);

/// What `gate` wants done at the venue; code in `OrderCommand::kind`.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CommandKind {
    /// An order, with TP and SL attached when their ticks are not 0.
    Place = 1,
    Cancel = 2,
    /// A TP/SL order of its own for a position.
    PlaceBracket = 3,
    CancelBracket = 4,
    ClosePosition = 5,
    SetLeverage = 6,
    SetMarginMode = 7,
    SetPositionMode = 8,
    AmendBracket = 9,
}

impl CommandKind {
    pub fn from_code(code: u8) -> Option<CommandKind> {
        use CommandKind::*;
        [
            Place,
            Cancel,
            PlaceBracket,
            CancelBracket,
            ClosePosition,
            SetLeverage,
            SetMarginMode,
            SetPositionMode,
            AmendBracket,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == code)
    }
}

/// Which budget a call spends, most urgent first. Protective calls have a connection of their own.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    Protect = 1,
    Close = 2,
    Reconcile = 3,
    Entry = 4,
    Market = 5,
}

impl Lane {
    pub fn from_code(code: u8) -> Option<Lane> {
        use Lane::*;
        [Protect, Close, Reconcile, Entry, Market]
            .into_iter()
            .find(|lane| *lane as u8 == code)
    }
}

/// One instruction on `gate_send`. 256 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct OrderCommand {
    pub header: Header,
    /// Number of the call; `SendReply::call` answers it.
    pub call: u64,
    pub signal: u64,
    pub kind: u8,
    pub lane: u8,
    /// `Side`, `OrderType`, `PositionSide`, `MarginMode` codes.
    pub side: u8,
    pub order_type: u8,
    pub position_side: u8,
    pub margin_mode: u8,
    pub reduce_only: u8,
    /// `TriggerType` code; 0 = leave it to the venue.
    pub trigger_type: u8,
    pub instrument: u16,
    pub leverage: u16,
    pub zero: u32,
    /// Ticks of the limit; 0 for market orders.
    pub price_ticks: i64,
    /// Lots; −1 = the whole position (brackets only).
    pub size_lots: i64,
    /// Trigger ticks of take profit and stop loss; 0 = none.
    pub tp_ticks: i64,
    pub sl_ticks: i64,
    /// The venue's id of the order or bracket to cancel or amend; 0 = by client id.
    pub venue_id: u64,
    pub client_id: ClientOrderId,
    /// Not to be sent after this decision time.
    pub expires_ns: u64,
    pub zero_2: [u64; 14],
}

const _: () = assert!(size_of::<OrderCommand>() == 256);

/// What became of a call; code in `SendReply::outcome`. The classes of reliability §2.6.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    Accepted = 1,
    /// The venue said no, and meant it.
    Rejected = 2,
    /// The id is taken: an earlier copy exists.
    Duplicate = 3,
    /// It may have happened. Never treated as a rejection.
    Ambiguous = 4,
    /// Not one byte left: it did not happen.
    NotSent = 5,
    /// The credentials or account settings do not fit; no retry helps.
    FatalAuth = 6,
    /// HTTP 429: refused before execution, and the budget is gone.
    RateLimited = 7,
}

impl Outcome {
    pub fn from_code(code: u8) -> Option<Outcome> {
        use Outcome::*;
        [
            Accepted,
            Rejected,
            Duplicate,
            Ambiguous,
            NotSent,
            FatalAuth,
            RateLimited,
        ]
        .into_iter()
        .find(|outcome| *outcome as u8 == code)
    }
}

/// The answer to one `OrderCommand`, on `send_gate`. 128 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct SendReply {
    pub header: Header,
    pub call: u64,
    /// Repeats the command, so that the reply can be read alone.
    pub kind: u8,
    pub outcome: u8,
    pub instrument: u16,
    /// The venue's code (inner before outer); 0 when none was read.
    pub venue_code: u32,
    pub http_status: u16,
    pub lane: u16,
    pub zero: u32,
    /// Id the venue gave the order or bracket.
    pub venue_id: u64,
    /// Decision time at which it was signed: an unanswered call cannot run later than 60 s after.
    pub signed_ns: u64,
    pub client_id: ClientOrderId,
    pub zero_2: [u64; 3],
}

const _: () = assert!(size_of::<SendReply>() == 128);

/// What an `AccountEvent` reports; code in `AccountEvent::kind`.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccountKind {
    /// Full state of an order.
    Order = 1,
    /// Full state of a TP/SL or trigger order.
    Bracket = 2,
    /// One open position.
    Position = 3,
    /// A complete list of positions has been sent: what was not in it is flat.
    PositionsComplete = 4,
    Balance = 5,
    /// The private socket is logged in and subscribed; state before it is unknown.
    SocketUp = 6,
    SocketDown = 7,
    /// One execution, exact, from fills-history.
    Fill = 8,
    /// A list read by `fetch` is complete; `list` says which, `token` which request.
    ListComplete = 9,
    /// A read failed; `list`, `token` as above. Never to be taken for an empty list.
    ListFailed = 10,
    /// A lookup by id found nothing.
    NotFound = 11,
    /// Account-wide modes and one instrument's leverage.
    Config = 12,
}

impl AccountKind {
    pub fn from_code(code: u8) -> Option<AccountKind> {
        use AccountKind::*;
        [
            Order,
            Bracket,
            Position,
            PositionsComplete,
            Balance,
            SocketUp,
            SocketDown,
            Fill,
            ListComplete,
            ListFailed,
            NotFound,
            Config,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == code)
    }
}

/// One fact about our account, on `account_gate` (pushed) and `fetch_gate` (read). 256 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct AccountEvent {
    pub header: Header,
    pub kind: u8,
    pub side: u8,
    pub order_type: u8,
    /// `OrderState` code.
    pub state: u8,
    pub position_side: u8,
    pub margin_mode: u8,
    pub reduce_only: u8,
    /// `ListKind` code of a read.
    pub list: u8,
    pub instrument: u16,
    pub leverage: u16,
    /// Which request of `gate` this answers; 0 for pushes.
    pub token: u32,
    /// orderId, tpslId / algoId, positionId or tradeId.
    pub venue_id: u64,
    /// The order a fill or a triggered bracket belongs to.
    pub order_id: u64,
    pub client_id: ClientOrderId,
    /// Lots; for positions signed in net mode; −1 = the whole position.
    pub size_lots: i64,
    /// Cumulative lots of an order.
    pub filled_lots: i64,
    pub price_ticks: i64,
    pub tp_ticks: i64,
    pub sl_ticks: i64,
    /// Average fill or entry price; 0 when none.
    pub average_price: f64,
    /// Positive = paid.
    pub fee: f64,
    pub pnl: f64,
    pub mark_price: f64,
    pub liquidation_price: f64,
    /// Balance: equity and what a new order may use, in USDT.
    pub equity: f64,
    pub available: f64,
    /// Venue's update time, Unix ms.
    pub update_ms: i64,
    /// 0 normal, 1 tp, 2 sl, 3 pre_tp_sl, 4 partial_liquidation, 5 full_liquidation, 6 adl, 7 other.
    pub category: u8,
    /// Brackets: which leg fired, 1 tp, 2 sl. Orders: 1 user, 2 system cancelled it.
    pub detail: u8,
    pub zero: [u8; 6],
    pub zero_2: [u64; 6],
}

const _: () = assert!(size_of::<AccountEvent>() == 256);

/// What `fetch` is asked to read; code in `FetchRequest::list` and `AccountEvent::list`.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListKind {
    /// Candles of one series from `from_ms` to `to_ms`; rows return on `fetch_decode`.
    Candles = 1,
    /// One order by client id or venue id.
    OrderDetail = 2,
    OrdersPending = 3,
    BracketsPending = 4,
    AlgosPending = 5,
    Positions = 6,
    Balance = 7,
    Fills = 8,
    BracketDetail = 9,
    Config = 10,
    OrdersHistory = 11,
    BracketsHistory = 12,
}

impl ListKind {
    pub fn from_code(code: u8) -> Option<ListKind> {
        use ListKind::*;
        [
            Candles,
            OrderDetail,
            OrdersPending,
            BracketsPending,
            AlgosPending,
            Positions,
            Balance,
            Fills,
            BracketDetail,
            Config,
            OrdersHistory,
            BracketsHistory,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == code)
    }
}

/// A read asked for on `decode_fetch` or `gate_fetch`. 128 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct FetchRequest {
    pub header: Header,
    pub list: u8,
    pub lane: u8,
    pub timeframe: u8,
    pub zero: u8,
    pub instrument: u16,
    pub zero_2: u16,
    /// Comes back in every event of the answer.
    pub token: u32,
    pub limit: u32,
    pub venue_id: u64,
    pub client_id: ClientOrderId,
    pub from_ms: i64,
    pub to_ms: i64,
    pub zero_3: [u64; 3],
}

const _: () = assert!(size_of::<FetchRequest>() == 128);

/// How a trade of ours ended, on `gate_score`: it teaches the bandit. 64 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct TradeOutcome {
    pub header: Header,
    pub signal: u64,
    /// Realised result in units of the initial risk, net of cost.
    pub r: f64,
    pub instrument: u16,
    pub timeframe: u8,
    /// 1 tp, 2 sl, 3 time, 4 other.
    pub exit: u8,
    pub zero: u32,
    pub closed_ms: i64,
}

const _: () = assert!(size_of::<TradeOutcome>() == 64);

/// A signal from outside, on `webhook_gate`. 192 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Alert {
    pub header: Header,
    /// Number of the request; `AlertAnswer::request` answers it.
    pub request: u64,
    pub instrument: u16,
    pub side: u8,
    /// `Timeframe` code, 255 = `ext`.
    pub timeframe: u8,
    /// 1 = only say what would be done.
    pub dry: u8,
    pub zero: [u8; 3],
    pub price: f64,
    pub score: f64,
    pub probability: f64,
    pub sender_ms: i64,
    /// BLAKE3 of the id or of the body, first 16 bytes.
    pub id_hash: [u64; 2],
    /// The id as text, cut at 64 bytes.
    pub id: [u64; 8],
    pub zero_2: [u64; 4],
}

const _: () = assert!(size_of::<Alert>() == 192);

/// The decision on an `Alert`, on `gate_webhook`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct AlertAnswer {
    pub header: Header,
    pub request: u64,
    pub signal: u64,
    /// 1 accepted, 2 refused, 3 duplicate, 4 dry.
    pub decision: u8,
    pub side: u8,
    /// `Reason` code when refused.
    pub reason: u16,
    pub instrument: u16,
    pub leverage: u16,
    pub price_ticks: i64,
    pub size_lots: i64,
    pub tp_ticks: i64,
    pub sl_ticks: i64,
    pub client_id: ClientOrderId,
    pub zero: [u64; 5],
}

const _: () = assert!(size_of::<AlertAnswer>() == 160);

/// What a `GateEvent` tells `housekeep`; code in `GateEvent::kind`.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GateEventKind {
    Refused = 1,
    OrderSent = 2,
    OrderState = 3,
    Fill = 4,
    BracketState = 5,
    TradeClosed = 6,
    EntriesOff = 7,
    EntriesOn = 8,
    NakedClose = 9,
    Skipped = 10,
}

impl GateEventKind {
    pub fn from_code(code: u8) -> Option<GateEventKind> {
        use GateEventKind::*;
        [
            Refused,
            OrderSent,
            OrderState,
            Fill,
            BracketState,
            TradeClosed,
            EntriesOff,
            EntriesOn,
            NakedClose,
            Skipped,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == code)
    }
}

/// One line for the metrics file and the digest, on `gate_housekeep`. 256 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct GateEvent {
    pub header: Header,
    pub kind: u8,
    pub side: u8,
    pub order_type: u8,
    pub state: u8,
    pub reduce_only: u8,
    /// For closed trades: 1 tp, 2 sl, 3 time, 4 other, 5 liquidation, 6 manual.
    pub exit: u8,
    /// `Reason` code, 0 when none.
    pub reason: u16,
    pub instrument: u16,
    pub timeframe: u8,
    pub command: u8,
    pub venue_code: u32,
    pub signal: u64,
    pub venue_id: u64,
    pub client_id: ClientOrderId,
    pub price_ticks: i64,
    pub size_lots: i64,
    pub filled_lots: i64,
    pub tp_ticks: i64,
    pub sl_ticks: i64,
    pub fill_price: f64,
    pub fee: f64,
    pub pnl: f64,
    pub r: f64,
    pub score: f64,
    pub probability: f64,
    pub market_ms: i64,
    pub zero: [u64; 8],
}

const _: () = assert!(size_of::<GateEvent>() == 256);

/// One input that a stage took, or a timer that fired, in order. 64 bytes.
///
/// Given these lines the stepper repeats a threaded run exactly: it feeds the stage record
/// `sequence` of link `link` at decision time `header.time_ns`, one after the other.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct JournalEntry {
    pub header: Header,
    /// `topology::LinkId` code, or 0xff00 | timer number.
    pub link: u16,
    /// `topology::StageId` code.
    pub stage: u16,
    pub zero: u32,
    /// Sequence number of the record on its link; for timers their running number.
    pub sequence: u64,
    pub zero_2: [u64; 2],
}

const _: () = assert!(size_of::<JournalEntry>() == 64);

/// Sets the decision time of a record that begins with a header.
pub fn at(header: &mut Header, receive_ns: u64, time: Wall) {
    header.receive_ns = receive_ns;
    header.time_ns = time.0;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candle_survives_the_tick() {
        let candle = Candle {
            high: 3.0,
            volume: 7.0,
            volume_quote: 9.0,
            ..Candle::flat(60_000, 2.0)
        };
        let tick = Tick::of_candle(InstrumentId(7), Timeframe::M5, &candle, tick_flag::CONFIRMED);
        assert_eq!(tick.candle(), Some(candle));
        assert_eq!(tick.instrument(), InstrumentId(7));
        assert_eq!(Tick::new(TickKind::Mark, InstrumentId(0), 0).candle(), None);
    }

    #[test]
    fn unknown_codes_are_refused() {
        assert_eq!(TickKind::from_code(0), None);
        assert_eq!(CommandKind::from_code(99), None);
        assert_eq!(Outcome::from_code(0), None);
        assert_eq!(AccountKind::from_code(13), None);
        assert_eq!(GateEventKind::from_code(0), None);
    }
}
