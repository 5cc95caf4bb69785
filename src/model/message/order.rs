//! Orders on rings: what `gate` wants done at the venue and what became of it.

use crate::model::client_id::ClientOrderId;
use crate::model::header::Header;
use bytemuck::{Pod, Zeroable};

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

    /// Whether it counts as an order: it places, moves or takes away something for a position. Setting the
    /// account up does not, nor does taking back what has not been filled.
    pub fn is_order(self) -> bool {
        use CommandKind::*;
        match self {
            Place | PlaceBracket | CancelBracket | ClosePosition | AmendBracket => true,
            Cancel | SetLeverage | SetMarginMode | SetPositionMode => false,
        }
    }
}

/// Protective calls that may be out at once, each on a connection that nothing else uses: one that hangs
/// must not hold up the next position's.
pub const PROTECTIVE_CALLS: usize = 3;

/// Which budget a call spends, most urgent first. Protective calls have connections of their own.
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
