//! One account on an exchange whose market the test moves by hand.

use smart_scanner::exchange::amount::Amount;
use smart_scanner::exchange::*;
use smart_scanner::model::{
    Candle, ClientOrderId, Decimal, Instrument, InstrumentId, Instruments, Lots, MarginMode, OrderState,
    OrderType, PositionSide, Price, Side, Symbol, Timeframe, Wall,
};
use std::str::FromStr;

pub const START_MS: i64 = 1_767_225_600_000;
/// One lot is a contract of one coin; a tick is 0.01.
pub const LTC: InstrumentId = InstrumentId(0);
/// 1 contract = 0.001 coin, lots of 0.1 contract, ticks of 0.1.
pub const BTC: InstrumentId = InstrumentId(1);
pub const ETH: InstrumentId = InstrumentId(2);

pub fn amount(text: &str) -> Amount {
    Amount::from_str(text).expect("a decimal")
}

pub fn instrument(symbol: &str, tick: &str, lot: &str, value: &str) -> Instrument {
    let decimal = |text: &str| Decimal::parse(text.as_bytes()).expect("a decimal");
    Instrument {
        symbol: Symbol::parse(symbol).expect("a symbol"),
        tick_size: decimal(tick),
        lot_size: decimal(lot),
        contract_value: decimal(value),
        min_lots: Lots(1),
        max_limit_lots: Lots(1_000_000),
        max_market_lots: Lots(500_000),
        max_leverage: 100,
        live: true,
        list_ms: 0,
    }
}

/// An exchange whose market the test moves by hand, with one account.
pub struct Bench {
    pub exchange: Exchange,
    pub account: AccountId,
    pub ms: i64,
}

impl Bench {
    pub fn new(balance: &str) -> Bench {
        Bench::with(ExchangeConfig::default(), balance)
    }

    pub fn with(config: ExchangeConfig, balance: &str) -> Bench {
        let mut instruments = Instruments::new();
        for row in [
            instrument("LTC-USDT", "0.01", "1", "1"),
            instrument("BTC-USDT", "0.1", "0.1", "0.001"),
            instrument("ETH-USDT", "0.01", "0.1", "0.01"),
        ] {
            instruments.insert(row).expect("room");
        }
        let start = Wall::from_ms(START_MS);
        let mut exchange = Exchange::new(config, Market::External { instruments, start });
        let account = exchange.add_account("key", amount(balance));
        Bench {
            exchange,
            account,
            ms: START_MS,
        }
    }

    pub fn now(&self) -> Wall {
        Wall::from_ms(self.ms)
    }

    pub fn market(&mut self, instrument: InstrumentId, kind: MarketKind) {
        self.exchange
            .on_market(Wall::from_ms(self.ms), &MarketEvent { instrument, kind });
    }

    /// Best prices with `lots` on each, and a last trade of one lot at the bid.
    pub fn quote(&mut self, instrument: InstrumentId, bid: i64, ask: i64, lots: i64) {
        let lots = Lots(lots);
        let kind = MarketKind::Quote {
            bid: Price(bid),
            bid_lots: lots,
            ask: Price(ask),
            ask_lots: lots,
        };
        self.market(instrument, kind);
        self.print(instrument, bid, 1, Side::Sell);
    }

    pub fn print(&mut self, instrument: InstrumentId, price: i64, lots: i64, side: Side) {
        let kind = MarketKind::Trade {
            price: Price(price),
            lots: Lots(lots),
            side,
            id: 1,
        };
        self.market(instrument, kind);
    }

    pub fn depth(&mut self, instrument: InstrumentId, levels: &[(Side, i64, i64)]) {
        for (index, (side, price, lots)) in levels.iter().enumerate() {
            let kind = MarketKind::Depth {
                side: *side,
                price: Price(*price),
                lots: Lots(*lots),
                snapshot: true,
                last: index + 1 == levels.len(),
            };
            self.market(instrument, kind);
        }
    }

    pub fn place(&mut self, order: NewOrder) -> Result<u64, Code> {
        self.exchange
            .place(self.account, self.now(), &order)
            .map(|ack| ack.id)
    }

    pub fn row(&self, id: u64) -> Order {
        *self.exchange.order(self.account, id).expect("an order")
    }

    pub fn state(&self, id: u64) -> (OrderState, i64) {
        let row = self.row(id);
        (row.state, row.filled.0)
    }

    /// Signed lots held on an instrument's net position.
    pub fn held(&self, instrument: InstrumentId) -> i64 {
        let rows = self.exchange.positions(self.account);
        rows.iter()
            .filter(|row| row.instrument == instrument)
            .map(|row| row.lots.0)
            .sum()
    }

    pub fn brackets(&self) -> Vec<Bracket> {
        self.exchange.brackets_open(self.account).copied().collect()
    }

    pub fn sound(&self) {
        self.exchange.check_invariants().expect("the books agree");
    }
}

pub fn market(instrument: InstrumentId, side: Side, lots: i64) -> NewOrder {
    NewOrder {
        instrument,
        margin_mode: MarginMode::Cross,
        position_side: PositionSide::Net,
        side,
        order_type: OrderType::Market,
        price: None,
        lots: Lots(lots),
        reduce_only: false,
        client_id: ClientOrderId::default(),
        take_profit: None,
        stop_loss: None,
    }
}

pub fn limit(instrument: InstrumentId, side: Side, lots: i64, price: i64) -> NewOrder {
    NewOrder {
        order_type: OrderType::Limit,
        price: Some(Price(price)),
        ..market(instrument, side, lots)
    }
}

pub fn bracket(
    instrument: InstrumentId,
    side: Side,
    lots: Option<i64>,
    tp: Option<i64>,
    sl: Option<i64>,
) -> NewBracket {
    NewBracket {
        instrument,
        margin_mode: MarginMode::Cross,
        position_side: PositionSide::Net,
        side,
        lots: lots.map(Lots),
        reduce_only: true,
        client_id: ClientOrderId::default(),
        take_profit: tp.map(|price| Leg::market(Price(price))),
        stop_loss: sl.map(|price| Leg::market(Price(price))),
    }
}

pub fn candle(open_ms: i64, [open, high, low, close]: [f64; 4]) -> MarketKind {
    MarketKind::Candle {
        timeframe: Timeframe::M1,
        candle: Candle {
            open_ms,
            open,
            high,
            low,
            close,
            volume: 100_000.0,
            volume_base: 100_000.0,
            volume_quote: 10_000_000.0,
        },
    }
}
