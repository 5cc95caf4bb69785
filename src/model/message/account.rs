//! Our account on rings: facts pushed or read, and the reads that are asked for.

use crate::model::client_id::ClientOrderId;
use crate::model::header::Header;
use crate::model::instrument::SYMBOL_MAX;
use bytemuck::{Pod, Zeroable};

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
    /// A row that cannot be believed: of an instrument that this run does not follow (`instrument` is
    /// `NO_INSTRUMENT`, `symbol` says which), or one whose fields cannot be read (`reason`). What it
    /// says of ids and of the list it stood in is set as far as it could be read.
    Untrusted = 13,
    /// The venue refuses to serve reads until `update_ms`: orders must be silent as well. `detail` is
    /// 1 after a 403.
    Suspended = 14,
}

/// `AccountEvent::instrument` of a row about an instrument that this run does not follow.
pub const NO_INSTRUMENT: u16 = u16::MAX;

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
            Untrusted,
            Suspended,
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
    /// `Untrusted`: the `Reason` code.
    pub reason: u16,
    pub zero: [u8; 4],
    /// `Untrusted`: the symbol as the venue wrote it, rest zero; empty when the row has none.
    pub symbol: [u8; SYMBOL_MAX],
    pub zero_2: [u64; 2],
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
    /// The leverage of every instrument in one margin mode.
    Leverage = 13,
    /// No read: the venue refuses to serve orders, and reads must be silent until `to_ms`.
    Suspend = 14,
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
            Leverage,
            Suspend,
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
    /// `MarginMode` code of `Leverage`.
    pub margin_mode: u8,
    pub instrument: u16,
    pub zero: u16,
    /// Comes back in every event of the answer.
    pub token: u32,
    pub limit: u32,
    pub venue_id: u64,
    pub client_id: ClientOrderId,
    pub from_ms: i64,
    pub to_ms: i64,
    pub zero_2: [u64; 3],
}

const _: () = assert!(size_of::<FetchRequest>() == 128);
