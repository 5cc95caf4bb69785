//! The rows of the order books of an account: orders, brackets (TP/SL), trigger orders and fills,
//! and the requests that make them.

use super::amount::Amount;
use crate::model::{
    ClientOrderId, InstrumentId, Lots, MarginMode, OrderState, OrderType, PositionSide, Price, Side,
    TriggerType,
};

/// What an account is called inside one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub u16);

impl AccountId {
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// One leg of a bracket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leg {
    pub trigger: Price,
    pub trigger_type: TriggerType,
    /// Limit price of the order it sends; `None` = market (`"-1"` on the wire).
    pub order_price: Option<Price>,
}

impl Leg {
    /// A leg that fires on the last price and closes at market.
    pub fn market(trigger: Price) -> Leg {
        Leg {
            trigger,
            trigger_type: TriggerType::Last,
            order_price: None,
        }
    }
}

/// Which leg of a bracket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LegKind {
    TakeProfit,
    StopLoss,
}

/// Where an order came from (`orderCategory`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    Normal,
    /// Sent by the take-profit leg of a bracket.
    TakeProfit,
    StopLoss,
    /// An entry that still carries its TP/SL.
    CarriesBracket,
    FullLiquidation,
}

impl Category {
    /// The venue's text.
    pub fn text(self) -> &'static str {
        match self {
            Category::Normal => "normal",
            Category::TakeProfit => "tp",
            Category::StopLoss => "sl",
            Category::CarriesBracket => "pre_tp_sl",
            Category::FullLiquidation => "full_liquidation",
        }
    }
}

/// Who ended an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelSource {
    NotCanceled,
    User,
    System,
}

impl CancelSource {
    /// The venue's text.
    pub fn text(self) -> &'static str {
        match self {
            CancelSource::NotCanceled => "not_canceled",
            CancelSource::User => "user_canceled",
            CancelSource::System => "system_canceled",
        }
    }
}

/// An order as it is asked for. The wire has already turned decimals into ticks and lots; what is
/// not a whole number of them never gets here (152002).
#[derive(Clone, Copy, Debug)]
pub struct NewOrder {
    pub instrument: InstrumentId,
    pub margin_mode: MarginMode,
    pub position_side: PositionSide,
    pub side: Side,
    pub order_type: OrderType,
    /// `None` for market orders only.
    pub price: Option<Price>,
    pub lots: Lots,
    pub reduce_only: bool,
    /// Empty = none.
    pub client_id: ClientOrderId,
    pub take_profit: Option<Leg>,
    pub stop_loss: Option<Leg>,
}

/// A bracket of its own (`order-tpsl`).
#[derive(Clone, Copy, Debug)]
pub struct NewBracket {
    pub instrument: InstrumentId,
    pub margin_mode: MarginMode,
    pub position_side: PositionSide,
    pub side: Side,
    /// `None` = the whole position (`"-1"`).
    pub lots: Option<Lots>,
    pub reduce_only: bool,
    pub client_id: ClientOrderId,
    pub take_profit: Option<Leg>,
    pub stop_loss: Option<Leg>,
}

/// A trigger order (`order-algo`, `orderType: trigger`).
#[derive(Clone, Copy, Debug)]
pub struct NewTrigger {
    pub instrument: InstrumentId,
    pub margin_mode: MarginMode,
    pub position_side: PositionSide,
    pub side: Side,
    /// `None` = the whole position (`"-1"`); needs `reduce_only`.
    pub lots: Option<Lots>,
    pub trigger: Price,
    pub trigger_type: TriggerType,
    /// `None` = market.
    pub order_price: Option<Price>,
    pub reduce_only: bool,
    pub client_id: ClientOrderId,
    pub take_profit: Option<Leg>,
    pub stop_loss: Option<Leg>,
}

/// What an accepted request is answered with: the id it was given and the id it came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// orderId, or tpslId / algoId.
    pub id: u64,
    pub client_id: ClientOrderId,
}

/// Changes to a bracket; `None` leaves the field as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Amend {
    pub lots: Option<Lots>,
    pub take_profit: Option<Leg>,
    pub stop_loss: Option<Leg>,
}

/// One order, in full. A changed order is pushed as the whole row.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    pub id: u64,
    pub client_id: ClientOrderId,
    pub instrument: InstrumentId,
    pub margin_mode: MarginMode,
    pub position_side: PositionSide,
    pub side: Side,
    pub order_type: OrderType,
    pub price: Option<Price>,
    pub lots: Lots,
    pub reduce_only: bool,
    pub leverage: u16,
    pub state: OrderState,
    pub filled: Lots,
    /// Σ base × price of the fills, quote.
    pub filled_amount: Amount,
    /// Average price of the fills; 0 when there are none.
    pub average_price: Amount,
    /// Positive = paid.
    pub fee: Amount,
    /// Gross realised profit of the closing part.
    pub pnl: Amount,
    pub category: Category,
    pub cancel_source: CancelSource,
    pub take_profit: Option<Leg>,
    pub stop_loss: Option<Leg>,
    /// The bracket or trigger order that sent it; 0 = none.
    pub algo_id: u64,
    pub algo_client_id: ClientOrderId,
    pub create_ms: i64,
    pub update_ms: i64,
    /// Lots that stood before it at its price when it came to rest.
    pub(super) queue_ahead: Lots,
    /// Bracket made from its attached legs; 0 = none yet.
    pub(super) bracket: u64,
    /// Lots of it that opened or enlarged a position.
    pub(super) opened: Lots,
    /// Already counted as an orphan.
    pub(super) orphaned: bool,
}

impl Order {
    /// Lots still to be filled.
    pub fn open_lots(&self) -> Lots {
        Lots(self.lots.0 - self.filled.0)
    }
}

/// One bracket (TP/SL row), in full.
#[derive(Clone, Copy, Debug)]
pub struct Bracket {
    /// tpslId and algoId.
    pub id: u64,
    pub client_id: ClientOrderId,
    pub instrument: InstrumentId,
    pub margin_mode: MarginMode,
    pub position_side: PositionSide,
    pub side: Side,
    /// `None` = the whole position.
    pub lots: Option<Lots>,
    pub reduce_only: bool,
    pub leverage: u16,
    pub state: OrderState,
    pub take_profit: Option<Leg>,
    pub stop_loss: Option<Leg>,
    /// The leg that fired.
    pub fired: Option<LegKind>,
    /// Lots of the order it sent; 0 = none.
    pub actual_lots: Lots,
    /// The order it sent; 0 = none.
    pub order_id: u64,
    /// The entry whose attached legs these are; 0 = placed on its own.
    pub parent_id: u64,
    pub cancel_source: CancelSource,
    pub create_ms: i64,
    pub update_ms: i64,
    /// Already counted as an orphan.
    pub(super) orphaned: bool,
}

/// One trigger order, in full.
#[derive(Clone, Copy, Debug)]
pub struct Trigger {
    /// algoId.
    pub id: u64,
    pub client_id: ClientOrderId,
    pub instrument: InstrumentId,
    pub margin_mode: MarginMode,
    pub position_side: PositionSide,
    pub side: Side,
    pub lots: Option<Lots>,
    pub trigger: Price,
    pub trigger_type: TriggerType,
    pub order_price: Option<Price>,
    pub reduce_only: bool,
    pub leverage: u16,
    pub state: OrderState,
    pub take_profit: Option<Leg>,
    pub stop_loss: Option<Leg>,
    pub actual_lots: Lots,
    /// The order it sent; 0 = none.
    pub order_id: u64,
    pub cancel_source: CancelSource,
    pub create_ms: i64,
    pub update_ms: i64,
    /// It fires when the price rises to `trigger` (else: falls to it).
    pub fires_above: bool,
    pub(super) orphaned: bool,
}

/// One execution of an order.
#[derive(Clone, Copy, Debug)]
pub struct Fill {
    pub trade_id: u64,
    pub order_id: u64,
    pub instrument: InstrumentId,
    /// Off the tick grid for liquidations only.
    pub price: Amount,
    pub lots: Lots,
    pub side: Side,
    pub position_side: PositionSide,
    /// Positive = paid.
    pub fee: Amount,
    /// Gross realised profit.
    pub pnl: Amount,
    pub maker: bool,
    pub time_ms: i64,
}
