//! The small enumerations that orders, positions and account events share.
//!
//! Each has a stable code for rings and files (append only) and the venue's text.

/// Direction of an order or a fill; of a trade, the side of the taker.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    Buy = 1,
    Sell = 2,
}

impl Side {
    /// +1 for buy, −1 for sell.
    pub fn sign(self) -> i64 {
        match self {
            Side::Buy => 1,
            Side::Sell => -1,
        }
    }

    pub fn opposite(self) -> Side {
        match self {
            Side::Buy => Side::Sell,
            Side::Sell => Side::Buy,
        }
    }

    pub fn text(self) -> &'static str {
        match self {
            Side::Buy => "buy",
            Side::Sell => "sell",
        }
    }

    pub fn parse(text: &str) -> Option<Side> {
        [Side::Buy, Side::Sell]
            .into_iter()
            .find(|side| side.text() == text)
    }

    pub fn from_code(code: u8) -> Option<Side> {
        [Side::Buy, Side::Sell]
            .into_iter()
            .find(|side| *side as u8 == code)
    }
}

#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderType {
    Market = 1,
    Limit = 2,
    PostOnly = 3,
    Fok = 4,
    Ioc = 5,
}

impl OrderType {
    pub const ALL: [OrderType; 5] = [
        OrderType::Market,
        OrderType::Limit,
        OrderType::PostOnly,
        OrderType::Fok,
        OrderType::Ioc,
    ];

    pub fn text(self) -> &'static str {
        match self {
            OrderType::Market => "market",
            OrderType::Limit => "limit",
            OrderType::PostOnly => "post_only",
            OrderType::Fok => "fok",
            OrderType::Ioc => "ioc",
        }
    }

    pub fn parse(text: &str) -> Option<OrderType> {
        Self::ALL.into_iter().find(|order_type| order_type.text() == text)
    }

    pub fn from_code(code: u8) -> Option<OrderType> {
        Self::ALL.into_iter().find(|order_type| *order_type as u8 == code)
    }
}

/// State of an order or of a TP/SL (algo) order at the venue.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderState {
    Live = 1,
    PartiallyFilled = 2,
    Filled = 3,
    Canceled = 4,
    PartiallyCanceled = 5,
    /// Algo orders: triggered, an ordinary order was sent.
    Effective = 6,
    /// Algo orders: triggered, but the order was refused.
    OrderFailed = 7,
}

impl OrderState {
    pub const ALL: [OrderState; 7] = [
        OrderState::Live,
        OrderState::PartiallyFilled,
        OrderState::Filled,
        OrderState::Canceled,
        OrderState::PartiallyCanceled,
        OrderState::Effective,
        OrderState::OrderFailed,
    ];

    pub fn text(self) -> &'static str {
        match self {
            OrderState::Live => "live",
            OrderState::PartiallyFilled => "partially_filled",
            OrderState::Filled => "filled",
            OrderState::Canceled => "canceled",
            OrderState::PartiallyCanceled => "partially_canceled",
            OrderState::Effective => "effective",
            OrderState::OrderFailed => "order_failed",
        }
    }

    pub fn parse(text: &str) -> Option<OrderState> {
        Self::ALL.into_iter().find(|state| state.text() == text)
    }

    pub fn from_code(code: u8) -> Option<OrderState> {
        Self::ALL.into_iter().find(|state| *state as u8 == code)
    }

    /// Whether the venue will never change it again.
    pub fn is_final(self) -> bool {
        !matches!(self, OrderState::Live | OrderState::PartiallyFilled)
    }
}

#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MarginMode {
    Cross = 1,
    Isolated = 2,
}

impl MarginMode {
    pub fn text(self) -> &'static str {
        match self {
            MarginMode::Cross => "cross",
            MarginMode::Isolated => "isolated",
        }
    }

    pub fn parse(text: &str) -> Option<MarginMode> {
        [MarginMode::Cross, MarginMode::Isolated]
            .into_iter()
            .find(|mode| mode.text() == text)
    }

    pub fn from_code(code: u8) -> Option<MarginMode> {
        [MarginMode::Cross, MarginMode::Isolated]
            .into_iter()
            .find(|mode| *mode as u8 == code)
    }
}

/// Account-wide: one net position an instrument, or a long and a short side by side.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PositionMode {
    Net = 1,
    LongShort = 2,
}

impl PositionMode {
    /// The venue's text in REST (`net_mode`, `long_short_mode`).
    pub fn text(self) -> &'static str {
        match self {
            PositionMode::Net => "net_mode",
            PositionMode::LongShort => "long_short_mode",
        }
    }

    pub fn parse(text: &str) -> Option<PositionMode> {
        [PositionMode::Net, PositionMode::LongShort]
            .into_iter()
            .find(|mode| mode.text() == text)
    }
}

#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PositionSide {
    Net = 1,
    Long = 2,
    Short = 3,
}

impl PositionSide {
    pub const ALL: [PositionSide; 3] = [PositionSide::Net, PositionSide::Long, PositionSide::Short];

    pub fn text(self) -> &'static str {
        match self {
            PositionSide::Net => "net",
            PositionSide::Long => "long",
            PositionSide::Short => "short",
        }
    }

    pub fn parse(text: &str) -> Option<PositionSide> {
        Self::ALL.into_iter().find(|side| side.text() == text)
    }

    pub fn from_code(code: u8) -> Option<PositionSide> {
        Self::ALL.into_iter().find(|side| *side as u8 == code)
    }
}

/// Which price fires a TP, an SL or a trigger order.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TriggerType {
    Last = 1,
    Mark = 2,
    Index = 3,
}

impl TriggerType {
    pub const ALL: [TriggerType; 3] = [TriggerType::Last, TriggerType::Mark, TriggerType::Index];

    pub fn text(self) -> &'static str {
        match self {
            TriggerType::Last => "last",
            TriggerType::Mark => "mark",
            TriggerType::Index => "index",
        }
    }

    pub fn parse(text: &str) -> Option<TriggerType> {
        Self::ALL.into_iter().find(|trigger| trigger.text() == text)
    }

    pub fn from_code(code: u8) -> Option<TriggerType> {
        Self::ALL.into_iter().find(|trigger| *trigger as u8 == code)
    }
}
