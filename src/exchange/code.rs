//! What the exchange says no with: the venue's own codes and texts.

/// Declares the codes once: variant, number and text on the wire.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// A refusal, as the venue numbers it.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $($(#[$doc])* $name = $code,)* }

        impl Code {
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The text that goes with the number.
            pub fn text(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// The call is not offered (amend while it is switched off).
    NotFound = 404, "not found";
    /// A second full-size TP/SL where only one may live.
    SizeAboveLimit = 542, "Exceeded the maximum order size limit";
    DuplicateClientId = 102002, "Duplicate customized order ID";
    PositionClosed = 102005, "Position had been closed";
    LimitSizeHigh = 102014, "Limit order exceeds maximum order size limit";
    MarketSizeHigh = 102015, "Market order exceeds maximum order size limit";
    ReduceOnlyNoPosition = 102022, "Failed to place order. You don't have any positions of this contract. Turn off Reduce-only to continue.";
    LongTpBelowLast = 102037, "TP trigger price should be higher than the latest trading price";
    LongSlAboveLast = 102038, "SL trigger price should be lower than the latest trading price";
    ShortTpAboveLast = 102039, "TP trigger price should be lower than the latest trading price";
    ShortSlBelowLast = 102040, "SL trigger price should be higher than the latest trading price";
    ShortSlBelowOrder = 102047, "Stop loss trigger price should be higher than the order price";
    ShortSlBelowBid = 102048, "stop loss trigger price must be higher than the best bid price";
    ShortTpAboveOrder = 102049, "Take profit trigger price should be lower than the order price";
    LongSlAboveAsk = 102050, "stop loss trigger price must be lower than the best ask price";
    LongSlAboveOrder = 102051, "stop loss trigger price should be lower than the order price";
    LongTpBelowOrder = 102052, "take profit trigger price should be higher than the order price";
    ShortTpAboveBid = 102053, "take profit trigger price should be lower than the best bid price";
    LongTpBelowAsk = 102054, "take profit trigger price should be higher than the best ask price";
    BuyPriceOutOfBand = 102064, "Buy price is not within the price limit";
    SellPriceOutOfBand = 102065, "Sell price is not within the price limit";
    AmendFailed = 102067, "Order modification failed as the order has been filled, triggered, canceled or does not exist.";
    CancelFailed = 102068, "Cancel failed as the order has been filled, triggered, canceled or does not exist.";
    PositionModeMismatch = 102089, "Position mode mismatch";
    MarginLow = 103003, "Order failed. Insufficient USDT margin in account";
    /// No price exists yet, or the other side of the book is empty.
    Internal = 103013, "Internal error; unable to process your request. Please try again.";
    PendingCrossOrders = 110006, "You have pending cross orders. Please cancel them before adjusting your leverage.";
    SettingBusy = 110019, "Setting failed. Cancel any open orders, and close positions first.";
    ParameterEmpty = 152001, "Parameter {} cannot be empty.";
    ParameterError = 152002, "Parameter {} error.";
    EitherRequired = 152003, "Either parameter {} or {} is required.";
    ClientIdInvalid = 152009, "clientOrderId must be a combination of numbers, letters, or underscores, and the maximum length of characters is 32.";
    InstrumentUnknown = 152014, "Instrument ID does not exist";
}

impl Code {
    /// The number on the wire.
    pub fn number(self) -> u32 {
        self as u32
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.number(), self.text())
    }
}
