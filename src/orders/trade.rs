//! One trade of ours from its entry to its last fill, and what it earned.
//!
//! A trade is a position with a history: why it was opened, what it risked (R, frozen), what it
//! was filled at, and how it ended. Results are in USDT; sizes in lots.

use super::bracket::Guard;
use super::lifecycle::FillDelta;
use crate::model::client_id::ClientOrderId;
use crate::model::{InstrumentId, OrderType, PositionSide, Side, Wall};

/// Trades that may be open at a time.
pub const TRADES_MAX: usize = 64;
/// Trades of ours among them, the most that TRADE_MAX_POSITIONS allows: the rest is for positions that the
/// user opens, which need their desks too.
pub const OWN_TRADES_MAX: usize = 48;

/// How far a trade has come.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The leverage is being set; nothing can execute yet.
    Leverage = 1,
    /// The entry has been handed over and nothing is filled.
    Entering = 2,
    Open = 3,
    /// The position is gone; its last fills are being read.
    Settling = 4,
}

impl Stage {
    pub fn from_code(code: u8) -> Option<Stage> {
        [Stage::Leverage, Stage::Entering, Stage::Open, Stage::Settling]
            .into_iter()
            .find(|stage| *stage as u8 == code)
    }
}

/// How a trade ended; the code of `GateEvent::exit`.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitKind {
    Target = 1,
    Stop = 2,
    Time = 3,
    Other = 4,
    Liquidation = 5,
    Manual = 6,
}

impl ExitKind {
    pub fn from_code(code: u8) -> Option<ExitKind> {
        use ExitKind::*;
        [Target, Stop, Time, Other, Liquidation, Manual]
            .into_iter()
            .find(|exit| *exit as u8 == code)
    }

    /// The exit that an order of this `AccountEvent::category` makes, `None` for normal orders.
    pub fn of_category(category: u8) -> Option<ExitKind> {
        match category {
            1 => Some(ExitKind::Target),
            2 => Some(ExitKind::Stop),
            4..=6 => Some(ExitKind::Liquidation),
            _ => None,
        }
    }
}

/// Lots filled in one direction, with their value and fees.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Filled {
    pub lots: i64,
    /// Σ lots × price.
    pub value: f64,
    pub fee: f64,
}

impl Filled {
    pub fn add(&mut self, fill: &FillDelta) {
        self.lots += fill.lots;
        self.value += fill.lots as f64 * fill.price;
        self.fee += fill.fee;
    }

    /// 0 when nothing is filled.
    pub fn average(&self) -> f64 {
        if self.lots == 0 {
            0.0
        } else {
            self.value / self.lots as f64
        }
    }
}

/// One trade.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trade {
    /// Unique in an instance's life, from 1.
    pub number: u64,
    pub stage: Stage,
    /// It was found at the venue, not opened by us.
    pub adopted: bool,
    pub instrument: InstrumentId,
    pub position_side: PositionSide,
    pub side: Side,
    pub signal: u64,
    pub timeframe: u8,
    pub score: f64,
    pub probability: f64,
    pub atr: f64,
    pub level: f64,
    pub panic: bool,
    pub leverage: u16,
    pub order_type: OrderType,
    pub price_ticks: i64,
    pub planned_lots: i64,
    /// Price the attached bracket was planned from, and its triggers.
    pub reference: f64,
    pub attached_sl_ticks: i64,
    pub attached_tp_ticks: i64,
    /// R in price units, frozen once the position is open.
    pub risk: f64,
    pub entry_id: ClientOrderId,
    pub expires: Wall,
    pub entry: Filled,
    pub exit: Filled,
    pub exit_kind: Option<ExitKind>,
    pub decided: Wall,
    pub first_fill: Wall,
    pub last_fill: Wall,
    /// The venue's list of positions has shown it.
    pub seen_open: bool,
    /// When it was known to be flat; 0 = it is not.
    pub flat_since: Wall,
    pub history_asked: u8,
    /// Size whose margin was judged last, and the size that is waiting to be, since when.
    pub margin_lots: i64,
    pub margin_seen: i64,
    pub margin_since: Wall,
    pub guard: Guard,
}

impl Trade {
    /// A position of `lots` (signed, not 0) at `average` that was found at the venue.
    pub fn adopted(
        number: u64,
        instrument: InstrumentId,
        position_side: PositionSide,
        lots: i64,
        average: f64,
        now: Wall,
    ) -> Self {
        Trade {
            number,
            stage: Stage::Open,
            adopted: true,
            instrument,
            position_side,
            side: if lots > 0 { Side::Buy } else { Side::Sell },
            signal: 0,
            timeframe: 0,
            score: 0.0,
            probability: 0.0,
            atr: 0.0,
            level: 0.0,
            panic: false,
            leverage: 0,
            order_type: OrderType::Market,
            price_ticks: 0,
            planned_lots: lots.abs(),
            reference: average,
            attached_sl_ticks: 0,
            attached_tp_ticks: 0,
            risk: 0.0,
            entry_id: ClientOrderId::default(),
            expires: now,
            entry: Filled {
                lots: lots.abs(),
                value: lots.abs() as f64 * average,
                fee: 0.0,
            },
            exit: Filled::default(),
            exit_kind: None,
            decided: now,
            first_fill: now,
            last_fill: now,
            seen_open: true,
            flat_since: Wall(0),
            history_asked: 0,
            margin_lots: 0,
            margin_seen: 0,
            margin_since: Wall(0),
            guard: Guard::new(0, 0),
        }
    }

    /// Lots that fills say are open.
    pub fn filled_lots(&self) -> i64 {
        (self.entry.lots - self.exit.lots).max(0)
    }

    /// Result net of fees; `lot_base` = base coins in a lot.
    pub fn pnl(&self, lot_base: f64) -> f64 {
        let closed = self.exit.lots.min(self.entry.lots) as f64;
        let gross = (self.exit.average() - self.entry.average()) * closed * lot_base;
        gross * self.side.sign() as f64 - self.entry.fee - self.exit.fee
    }

    /// The same in units of the initial risk; 0 when the risk is unknown.
    pub fn r(&self, lot_base: f64) -> f64 {
        let risk_usd = self.risk * self.entry.lots as f64 * lot_base;
        if risk_usd > 0.0 {
            self.pnl(lot_base) / risk_usd
        } else {
            0.0
        }
    }

    /// How far `price` is from the entry in units of R, before costs.
    pub fn r_at(&self, price: f64) -> f64 {
        if self.risk > 0.0 && self.entry.lots > 0 {
            (price - self.entry.average()) * self.side.sign() as f64 / self.risk
        } else {
            0.0
        }
    }

    /// Whether every lot that was bought has been sold, by fills alone.
    pub fn is_settled(&self) -> bool {
        self.entry.lots > 0 && self.exit.lots >= self.entry.lots
    }
}
