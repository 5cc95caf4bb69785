//! The laws of the embedded exchange: order types, positions, brackets, money, and that no flow of
//! orders breaks its books. Worked numbers are the venue reference's (§8).

use proptest::prelude::*;
use smart_scanner::exchange::amount::{Amount, cut};
use smart_scanner::exchange::*;
use smart_scanner::model::{
    Candle, ClientOrderId, Decimal, Instrument, InstrumentId, Instruments, Lots, MarginMode, OrderState,
    OrderType, PositionMode, PositionSide, Price, Side, Symbol, Timeframe, TriggerType, Wall,
};
use std::str::FromStr;

const START_MS: i64 = 1_767_225_600_000;
/// One lot is a contract of one coin; a tick is 0.01.
const LTC: InstrumentId = InstrumentId(0);
/// 1 contract = 0.001 coin, lots of 0.1 contract, ticks of 0.1.
const BTC: InstrumentId = InstrumentId(1);
const ETH: InstrumentId = InstrumentId(2);

fn amount(text: &str) -> Amount {
    Amount::from_str(text).expect("a decimal")
}

fn instrument(symbol: &str, tick: &str, lot: &str, value: &str) -> Instrument {
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
struct Bench {
    exchange: Exchange,
    account: AccountId,
    ms: i64,
}

impl Bench {
    fn new(balance: &str) -> Bench {
        Bench::with(ExchangeConfig::default(), balance)
    }

    fn with(config: ExchangeConfig, balance: &str) -> Bench {
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

    fn now(&self) -> Wall {
        Wall::from_ms(self.ms)
    }

    fn market(&mut self, instrument: InstrumentId, kind: MarketKind) {
        self.exchange
            .on_market(Wall::from_ms(self.ms), &MarketEvent { instrument, kind });
    }

    /// Best prices with `lots` on each, and a last trade of one lot at the bid.
    fn quote(&mut self, instrument: InstrumentId, bid: i64, ask: i64, lots: i64) {
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

    fn print(&mut self, instrument: InstrumentId, price: i64, lots: i64, side: Side) {
        let kind = MarketKind::Trade {
            price: Price(price),
            lots: Lots(lots),
            side,
            id: 1,
        };
        self.market(instrument, kind);
    }

    fn depth(&mut self, instrument: InstrumentId, levels: &[(Side, i64, i64)]) {
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

    fn place(&mut self, order: NewOrder) -> Result<u64, Code> {
        self.exchange
            .place(self.account, self.now(), &order)
            .map(|ack| ack.id)
    }

    fn row(&self, id: u64) -> Order {
        *self.exchange.order(self.account, id).expect("an order")
    }

    fn state(&self, id: u64) -> (OrderState, i64) {
        let row = self.row(id);
        (row.state, row.filled.0)
    }

    /// Signed lots held on an instrument's net position.
    fn held(&self, instrument: InstrumentId) -> i64 {
        let rows = self.exchange.positions(self.account);
        rows.iter()
            .filter(|row| row.instrument == instrument)
            .map(|row| row.lots.0)
            .sum()
    }

    fn brackets(&self) -> Vec<Bracket> {
        self.exchange.brackets_open(self.account).copied().collect()
    }

    fn sound(&self) {
        self.exchange.check_invariants().expect("the books agree");
    }
}

fn market(instrument: InstrumentId, side: Side, lots: i64) -> NewOrder {
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

fn limit(instrument: InstrumentId, side: Side, lots: i64, price: i64) -> NewOrder {
    NewOrder {
        order_type: OrderType::Limit,
        price: Some(Price(price)),
        ..market(instrument, side, lots)
    }
}

fn bracket(
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

#[test]
fn the_recorded_ltc_trade_costs_what_the_venue_charged() {
    let mut bench = Bench::new("61.338743775651804468");
    bench.quote(LTC, 6784, 6785, 1_000);
    bench
        .exchange
        .set_leverage(
            bench.account,
            bench.now(),
            LTC,
            MarginMode::Cross,
            PositionSide::Net,
            3,
        )
        .unwrap();
    let id = bench.place(market(LTC, Side::Buy, 1)).unwrap();
    let row = bench.row(id);
    assert_eq!((row.average_price, row.fee), (amount("67.85"), amount("0.04071")));
    assert_eq!(
        bench.exchange.balance(bench.account).balance,
        amount("61.298033775651804468")
    );
    let mark = MarketKind::Mark {
        mark: 67.83143340000001,
        index: 67.83,
        funding_rate: None,
    };
    bench.market(LTC, mark);
    let position = bench.exchange.positions(bench.account)[0];
    assert_eq!(position.initial_margin, amount("22.610477800000003333"));
    assert_eq!(position.maintenance_margin, amount("0.33915716700000005"));
    assert_eq!(position.unrealized_pnl, amount("-0.01856659999999"));
    assert_eq!(position.unrealized_pnl_ratio, amount("-0.000820925571112306"));
    assert_eq!(position.margin_ratio, amount("161.322877125756096924"));
    assert_eq!(position.liquidation_price, Some(amount("6.588863861975256971")));
    bench.sound();
}

#[test]
fn the_documented_isolated_eth_position_has_the_venues_figures() {
    let mut bench = Bench::new("1000");
    bench
        .exchange
        .set_margin_mode(bench.account, MarginMode::Isolated)
        .unwrap();
    bench.quote(ETH, 159_179, 159_180, 10_000);
    bench
        .exchange
        .set_leverage(
            bench.account,
            bench.now(),
            ETH,
            MarginMode::Isolated,
            PositionSide::Net,
            3,
        )
        .unwrap();
    // 100 lots of 0.1 contract of 0.01 coin = 0.1 ETH.
    let order = NewOrder {
        margin_mode: MarginMode::Isolated,
        ..market(ETH, Side::Buy, 100)
    };
    bench.place(order).unwrap();
    let mark = MarketKind::Mark {
        mark: 1591.69,
        index: 1591.69,
        funding_rate: None,
    };
    bench.market(ETH, mark);
    let position = bench.exchange.positions(bench.account)[0];
    assert_eq!(position.margin, amount("53.06"));
    assert_eq!(position.unrealized_pnl, amount("-0.011"));
    assert_eq!(position.unrealized_pnl_ratio, amount("-0.000207312476441764"));
    assert_eq!(position.maintenance_margin, amount("0.636676"));
    assert_eq!(position.margin_ratio, amount("72.453752328329172684"));
    assert_eq!(
        position.liquidation_price,
        Some(amount("1066.104078762306610407"))
    );
    let balance = bench.exchange.balance(bench.account);
    assert_eq!(balance.frozen, amount("53.06"));
    assert_eq!(balance.isolated_equity, amount("53.049"));
    assert_eq!(balance.available, balance.equity - amount("53.049"));
    bench.sound();
}

#[test]
fn the_recorded_btc_round_trip_gives_the_venues_history_row() {
    let mut bench = Bench::new("100");
    bench
        .exchange
        .set_leverage(
            bench.account,
            bench.now(),
            BTC,
            MarginMode::Cross,
            PositionSide::Net,
            50,
        )
        .unwrap();
    bench.quote(BTC, 815_500, 815_501, 1_000);
    bench.place(market(BTC, Side::Buy, 6)).unwrap();
    let closing = NewOrder {
        reduce_only: true,
        ..market(BTC, Side::Sell, 6)
    };
    bench.place(closing).unwrap();
    let row = *bench
        .exchange
        .position_history(bench.account)
        .next()
        .expect("a row");
    assert_eq!(
        (row.close_base, row.max_base),
        (amount("0.0006"), amount("0.0006"))
    );
    assert_eq!(
        (row.open_average_price, row.close_average_price),
        (amount("81550.1"), amount("81550"))
    );
    assert_eq!(row.realized_pnl, amount("-0.058776036"));
    assert_eq!(row.realized_pnl_ratio, amount("-0.060061275216094155"));
    assert_eq!(row.fee, amount("-0.058716036"));
    assert_eq!(row.end, PositionEnd::Closed);
    bench.sound();
}

#[test]
fn each_order_type_meets_the_book_as_the_venue_says() {
    use OrderState::*;
    use OrderType::*;
    // Asks: 3 lots at 100.00, 4 at 100.01, 5 at 100.05.
    let book = [
        (Side::Buy, 9_990, 9),
        (Side::Sell, 10_000, 3),
        (Side::Sell, 10_001, 4),
        (Side::Sell, 10_005, 5),
    ];
    let table: [(OrderType, i64, i64, (OrderState, i64)); 12] = [
        (Market, 5, 0, (Filled, 5)),
        (Market, 20, 0, (PartiallyCanceled, 12)),
        (Limit, 5, 10_000, (PartiallyFilled, 3)),
        (Limit, 5, 9_999, (Live, 0)),
        (Limit, 7, 10_001, (Filled, 7)),
        (PostOnly, 5, 10_000, (Canceled, 0)),
        (PostOnly, 5, 9_999, (Live, 0)),
        (Fok, 8, 10_001, (Canceled, 0)),
        (Fok, 7, 10_001, (Filled, 7)),
        (Ioc, 8, 10_001, (PartiallyCanceled, 7)),
        (Ioc, 8, 9_999, (Canceled, 0)),
        (Ioc, 2, 10_000, (Filled, 2)),
    ];
    for (order_type, lots, price, expected) in table {
        let mut bench = Bench::new("100000");
        bench.print(LTC, 9_995, 1, Side::Buy);
        bench.depth(LTC, &book);
        let order = NewOrder {
            order_type,
            price: (price > 0).then_some(Price(price)),
            ..market(LTC, Side::Buy, lots)
        };
        let id = bench.place(order).unwrap();
        assert_eq!(bench.state(id), expected, "{order_type:?} {lots} @ {price}");
        assert_eq!(bench.held(LTC), expected.1);
        bench.sound();
    }
}

#[test]
fn a_market_order_pays_for_the_depth_it_takes_and_the_depth_stays_taken() {
    let mut bench = Bench::new("100000");
    bench.print(LTC, 9_995, 1, Side::Buy);
    bench.depth(
        LTC,
        &[
            (Side::Buy, 9_990, 9),
            (Side::Sell, 10_000, 3),
            (Side::Sell, 10_100, 10),
        ],
    );
    let first = bench.place(market(LTC, Side::Buy, 5)).unwrap();
    let fills: Vec<(Amount, i64)> = bench
        .exchange
        .fills(bench.account)
        .map(|fill| (fill.price, fill.lots.0))
        .collect();
    assert_eq!(
        fills,
        vec![(amount("101"), 2), (amount("100"), 3)],
        "newest first"
    );
    assert_eq!(bench.row(first).average_price, amount("100.4"));
    assert_eq!(bench.row(first).filled_amount, amount("502"));
    let second = bench.place(market(LTC, Side::Buy, 9)).unwrap();
    assert_eq!(
        bench.state(second),
        (OrderState::PartiallyCanceled, 8),
        "8 lots were left at 101"
    );
}

#[test]
fn a_resting_order_waits_its_turn_and_fills_in_parts_as_maker() {
    let mut bench = Bench::new("100000");
    bench.quote(LTC, 9_990, 10_000, 10);
    let id = bench.place(limit(LTC, Side::Buy, 8, 9_990)).unwrap();
    bench.print(LTC, 9_990, 6, Side::Sell);
    assert_eq!(bench.state(id), (OrderState::Live, 0), "ten lots stand before it");
    bench.print(LTC, 9_990, 7, Side::Sell);
    assert_eq!(bench.state(id), (OrderState::PartiallyFilled, 3));
    bench.print(LTC, 9_990, 9, Side::Buy);
    assert_eq!(
        bench.state(id),
        (OrderState::PartiallyFilled, 3),
        "a buyer's trade fills no bid"
    );
    bench.print(LTC, 9_989, 1, Side::Sell);
    assert_eq!(
        bench.state(id),
        (OrderState::Filled, 8),
        "the market went through it"
    );
    let row = bench.row(id);
    assert_eq!(row.average_price, amount("99.9"));
    assert_eq!(row.fee, amount("799.2") * amount("0.0002"));
    bench.sound();
}

#[test]
fn cancelling_ends_what_lives_and_nothing_else() {
    let mut bench = Bench::new("100000");
    bench.quote(LTC, 9_990, 10_000, 10);
    let id = bench.place(limit(LTC, Side::Buy, 8, 9_980)).unwrap();
    let frozen = bench.exchange.balance(bench.account).order_frozen;
    assert_eq!(
        frozen,
        cut(amount("798.4") / amount("3") + amount("798.4") * amount("0.0006"))
    );
    let now = bench.now();
    assert!(bench.exchange.cancel(bench.account, now, id).is_ok());
    assert_eq!(
        bench.exchange.cancel(bench.account, now, id),
        Err(Code::CancelFailed)
    );
    assert_eq!(
        bench.exchange.cancel(bench.account, now, 77),
        Err(Code::CancelFailed)
    );
    assert_eq!(bench.row(id).cancel_source, CancelSource::User);
    assert_eq!(bench.exchange.balance(bench.account).order_frozen, Amount::ZERO);
}

#[test]
fn refusals_carry_the_venues_codes() {
    let mut bench = Bench::new("1000");
    let long = |tp: Option<i64>, sl: Option<i64>, order: NewOrder| NewOrder {
        take_profit: tp.map(|price| Leg::market(Price(price))),
        stop_loss: sl.map(|price| Leg::market(Price(price))),
        ..order
    };
    assert_eq!(
        bench.place(market(LTC, Side::Buy, 1)),
        Err(Code::Internal),
        "no price yet"
    );
    bench.quote(LTC, 9_990, 10_000, 10);
    let id = ClientOrderId::parse(b"mine1").expect("an id");
    let named = NewOrder {
        client_id: id,
        ..limit(LTC, Side::Buy, 1, 9_000)
    };
    bench.place(named).unwrap();
    let buy = || limit(LTC, Side::Buy, 1, 9_900);
    let sell = || limit(LTC, Side::Sell, 1, 10_100);
    let table = [
        (named, Code::DuplicateClientId),
        (market(InstrumentId(9), Side::Buy, 1), Code::InstrumentUnknown),
        (market(LTC, Side::Buy, 0), Code::ParameterError),
        (market(LTC, Side::Buy, 500_001), Code::MarketSizeHigh),
        (limit(LTC, Side::Buy, 1_000_001, 9_900), Code::LimitSizeHigh),
        (limit(LTC, Side::Buy, 1, 20_000), Code::BuyPriceOutOfBand),
        (limit(LTC, Side::Sell, 1, 3_000), Code::SellPriceOutOfBand),
        (market(LTC, Side::Buy, 40), Code::MarginLow),
        (NewOrder { price: None, ..buy() }, Code::ParameterEmpty),
        (
            NewOrder {
                reduce_only: true,
                ..buy()
            },
            Code::ReduceOnlyNoPosition,
        ),
        (
            NewOrder {
                position_side: PositionSide::Long,
                ..buy()
            },
            Code::PositionModeMismatch,
        ),
        (
            NewOrder {
                margin_mode: MarginMode::Isolated,
                ..buy()
            },
            Code::ParameterError,
        ),
        (long(None, Some(9_900), buy()), Code::LongSlAboveOrder),
        (long(Some(9_900), None, buy()), Code::LongTpBelowOrder),
        (long(None, Some(10_100), sell()), Code::ShortSlBelowOrder),
        (long(Some(10_100), None, sell()), Code::ShortTpAboveOrder),
        (
            long(None, Some(10_000), market(LTC, Side::Buy, 1)),
            Code::LongSlAboveAsk,
        ),
        (
            long(Some(10_000), None, market(LTC, Side::Buy, 1)),
            Code::LongTpBelowAsk,
        ),
        (
            long(None, Some(9_990), market(LTC, Side::Sell, 1)),
            Code::ShortSlBelowBid,
        ),
        (
            long(Some(9_990), None, market(LTC, Side::Sell, 1)),
            Code::ShortTpAboveBid,
        ),
    ];
    for (order, code) in table {
        assert_eq!(bench.place(order), Err(code), "{order:?}");
    }
    let (account, now) = (bench.account, bench.now());
    let set = |exchange: &mut Exchange, leverage| {
        exchange.set_leverage(account, now, LTC, MarginMode::Cross, PositionSide::Net, leverage)
    };
    assert_eq!(set(&mut bench.exchange, 101), Err(Code::ParameterError));
    assert_eq!(set(&mut bench.exchange, 5), Err(Code::PendingCrossOrders));
    assert_eq!(
        bench.exchange.set_margin_mode(account, MarginMode::Isolated),
        Err(Code::SettingBusy)
    );
    assert_eq!(
        bench.exchange.set_position_mode(account, PositionMode::LongShort),
        Err(Code::SettingBusy)
    );
    let nothing = bench
        .exchange
        .close_position(account, now, LTC, MarginMode::Cross, PositionSide::Net, id);
    assert_eq!(nothing, Err(Code::PositionClosed));
    assert_eq!(Code::MarginLow.number(), 103_003);
}

#[test]
fn a_reduce_only_order_never_flips_and_a_plain_one_does() {
    let mut bench = Bench::new("100000");
    bench.quote(LTC, 9_990, 10_000, 100);
    bench.place(market(LTC, Side::Buy, 5)).unwrap();
    let closing = NewOrder {
        reduce_only: true,
        ..market(LTC, Side::Sell, 9)
    };
    let id = bench.place(closing).unwrap();
    assert_eq!(bench.state(id), (OrderState::PartiallyCanceled, 5));
    assert_eq!(bench.held(LTC), 0);
    bench.place(market(LTC, Side::Buy, 5)).unwrap();
    let flip = bench.place(market(LTC, Side::Sell, 9)).unwrap();
    assert_eq!(bench.state(flip), (OrderState::Filled, 9));
    assert_eq!(bench.held(LTC), -4);
    assert_eq!(bench.row(flip).pnl, amount("-0.5"));
    bench.sound();
}

#[test]
fn a_resting_reduce_only_order_shrinks_with_its_position() {
    let mut bench = Bench::with(
        ExchangeConfig {
            leftovers: Leftovers::Keep,
            ..ExchangeConfig::default()
        },
        "100000",
    );
    bench.quote(LTC, 9_990, 10_000, 100);
    bench.place(market(LTC, Side::Buy, 5)).unwrap();
    let resting = NewOrder {
        reduce_only: true,
        ..limit(LTC, Side::Sell, 5, 10_050)
    };
    let id = bench.place(resting).unwrap();
    assert_eq!(bench.exchange.positions(bench.account)[0].available_lots, Lots(0));
    bench.place(market(LTC, Side::Sell, 3)).unwrap();
    bench.quote(LTC, 10_060, 10_070, 100);
    assert_eq!(bench.state(id), (OrderState::PartiallyCanceled, 2));
    assert_eq!(bench.held(LTC), 0);
    bench.sound();
}

#[test]
fn hedge_mode_keeps_a_long_and_a_short_side_by_side() {
    let mut bench = Bench::new("100000");
    bench
        .exchange
        .set_position_mode(bench.account, PositionMode::LongShort)
        .unwrap();
    bench.quote(LTC, 9_990, 10_000, 100);
    let side = |position_side, order| NewOrder {
        position_side,
        ..order
    };
    bench
        .place(side(PositionSide::Long, market(LTC, Side::Buy, 5)))
        .unwrap();
    bench
        .place(side(PositionSide::Short, market(LTC, Side::Sell, 3)))
        .unwrap();
    let rows = bench.exchange.positions(bench.account);
    let held: Vec<(PositionSide, i64)> = rows.iter().map(|row| (row.position_side, row.lots.0)).collect();
    assert_eq!(held, vec![(PositionSide::Long, 5), (PositionSide::Short, -3)]);
    assert_eq!(
        bench.place(market(LTC, Side::Buy, 1)),
        Err(Code::PositionModeMismatch)
    );
    let too_much = bench
        .place(side(PositionSide::Long, market(LTC, Side::Sell, 9)))
        .unwrap();
    assert_eq!(
        bench.state(too_much),
        (OrderState::PartiallyCanceled, 5),
        "a close never opens the other way"
    );
    let nothing = bench.place(side(PositionSide::Long, market(LTC, Side::Sell, 1)));
    assert_eq!(nothing, Err(Code::ReduceOnlyNoPosition));
    bench.sound();
}

fn entry_with_stop(lots: i64) -> NewOrder {
    NewOrder {
        take_profit: Some(Leg::market(Price(10_300))),
        stop_loss: Some(Leg::market(Price(9_700))),
        ..limit(LTC, Side::Buy, lots, 9_990)
    }
}

/// A limit entry of 8 lots that fills 3, then the rest a second later.
fn partly_filled(attach: AttachPolicy) -> (Bench, u64) {
    let config = ExchangeConfig {
        attach,
        ..ExchangeConfig::default()
    };
    let mut bench = Bench::with(config, "100000");
    bench.quote(LTC, 9_991, 10_000, 10);
    let id = bench.place(entry_with_stop(8)).unwrap();
    bench.print(LTC, 9_990, 3, Side::Sell);
    assert_eq!(bench.state(id), (OrderState::PartiallyFilled, 3));
    (bench, id)
}

#[test]
fn first_fill_attaches_a_bracket_that_grows_with_the_entry() {
    let (mut bench, id) = partly_filled(AttachPolicy::FirstFill);
    let live = bench.brackets();
    assert_eq!(
        (live.len(), live[0].lots, live[0].parent_id),
        (1, Some(Lots(3)), id)
    );
    bench.ms += 1_000;
    bench.print(LTC, 9_989, 5, Side::Sell);
    let live = bench.brackets();
    assert_eq!((live.len(), live[0].lots), (1, Some(Lots(8))));
    bench.ms += 5_000;
    assert_eq!(bench.exchange.report().unprotected_ms_max, 0);
    bench.sound();
}

#[test]
fn full_fill_leaves_the_filled_part_naked_until_the_entry_is_final() {
    let (mut bench, _) = partly_filled(AttachPolicy::FullFill);
    assert!(bench.brackets().is_empty());
    bench.ms += 1_234;
    bench.print(LTC, 9_989, 5, Side::Sell);
    assert_eq!(bench.brackets()[0].lots, Some(Lots(8)));
    let report = bench.exchange.report();
    assert_eq!(
        (report.unprotected_ms_max, report.unprotected_ms_p50),
        (1_234, 1_234)
    );

    let (mut bench, id) = partly_filled(AttachPolicy::FullFill);
    bench.ms += 500;
    let now = bench.now();
    bench.exchange.cancel(bench.account, now, id).unwrap();
    assert_eq!(bench.row(id).state, OrderState::PartiallyCanceled);
    assert_eq!(
        bench.brackets()[0].lots,
        Some(Lots(3)),
        "what was filled is protected at the end"
    );
}

#[test]
fn an_unfilled_entry_takes_its_bracket_with_it() {
    let mut bench = Bench::new("100000");
    bench.quote(LTC, 9_991, 10_000, 10);
    let id = bench.place(entry_with_stop(8)).unwrap();
    assert_eq!(bench.row(id).category, Category::CarriesBracket);
    let now = bench.now();
    bench.exchange.cancel(bench.account, now, id).unwrap();
    assert!(bench.brackets().is_empty());
}

#[test]
fn one_leg_of_a_bracket_ends_the_other_and_the_order_names_it() {
    let mut bench = Bench::new("100000");
    bench.quote(LTC, 9_990, 10_000, 100);
    bench.place(market(LTC, Side::Buy, 5)).unwrap();
    let both = bracket(LTC, Side::Sell, None, Some(10_300), Some(9_700));
    let now = bench.now();
    let ack = bench.exchange.place_bracket(bench.account, now, &both).unwrap();
    bench.quote(LTC, 10_310, 10_320, 100);
    let row = *bench.exchange.bracket(bench.account, ack.id).unwrap();
    assert_eq!(
        (row.state, row.fired, row.actual_lots.0),
        (OrderState::Effective, Some(LegKind::TakeProfit), 5)
    );
    let order = bench.row(row.order_id);
    assert_eq!(
        (order.category, order.state, order.algo_id),
        (Category::TakeProfit, OrderState::Filled, ack.id)
    );
    assert_eq!((bench.held(LTC), bench.brackets().len()), (0, 0));
    bench.quote(LTC, 9_600, 9_610, 100);
    assert_eq!(bench.held(LTC), 0, "the stop died with its row");
    assert_eq!(bench.exchange.report().closed_tp, 1);
    bench.sound();
}

#[test]
fn bracket_triggers_must_lie_on_their_side_of_the_price() {
    let mut bench = Bench::new("100000");
    bench.quote(LTC, 9_990, 10_000, 100);
    let now = bench.now();
    let account = bench.account;
    let place =
        |bench: &mut Bench, row: NewBracket| bench.exchange.place_bracket(account, now, &row).map(|_| ());
    let naked = bracket(LTC, Side::Sell, None, None, Some(9_700));
    assert_eq!(place(&mut bench, naked), Err(Code::ReduceOnlyNoPosition));
    bench.place(market(LTC, Side::Buy, 5)).unwrap();
    assert_eq!(
        place(&mut bench, bracket(LTC, Side::Sell, None, None, None)),
        Err(Code::EitherRequired)
    );
    let table = [
        (
            bracket(LTC, Side::Sell, None, Some(9_990), None),
            Code::LongTpBelowLast,
        ),
        (
            bracket(LTC, Side::Sell, None, None, Some(9_990)),
            Code::LongSlAboveLast,
        ),
        (
            bracket(LTC, Side::Buy, None, Some(9_995), None),
            Code::ShortTpAboveLast,
        ),
        (
            bracket(LTC, Side::Buy, None, None, Some(9_900)),
            Code::ShortSlBelowLast,
        ),
        (
            bracket(LTC, Side::Buy, None, None, Some(10_100)),
            Code::ReduceOnlyNoPosition,
        ),
    ];
    for (row, code) in table {
        assert_eq!(place(&mut bench, row), Err(code), "{row:?}");
    }
}

#[test]
fn a_second_full_size_stop_coexists_or_is_refused_as_configured() {
    for (two_stops, second_full, half) in [
        (TwoStops::Allow, Ok(()), Ok(())),
        (TwoStops::Refuse, Err(Code::SizeAboveLimit), Ok(())),
    ] {
        let config = ExchangeConfig {
            two_stops,
            ..ExchangeConfig::default()
        };
        let mut bench = Bench::with(config, "100000");
        bench.quote(LTC, 9_990, 10_000, 100);
        bench.place(market(LTC, Side::Buy, 4)).unwrap();
        let (account, now) = (bench.account, bench.now());
        let mut place = |lots, tp, sl| {
            let row = bracket(LTC, Side::Sell, lots, tp, sl);
            bench.exchange.place_bracket(account, now, &row).map(|_| ())
        };
        assert_eq!(place(None, None, Some(9_700)), Ok(()));
        assert_eq!(place(Some(4), None, Some(9_750)), second_full, "{two_stops:?}");
        assert_eq!(place(Some(2), None, Some(9_800)), half, "{two_stops:?}");
        assert_eq!(
            place(None, Some(10_300), None),
            Ok(()),
            "a target is no second stop"
        );
    }
}

#[test]
fn a_position_that_closes_otherwise_leaves_what_the_policy_says() {
    for (leftovers, live, later) in [
        (Leftovers::CancelWhole, 1, OrderState::OrderFailed),
        (Leftovers::CancelAll, 0, OrderState::Canceled),
    ] {
        let config = ExchangeConfig {
            leftovers,
            ..ExchangeConfig::default()
        };
        let mut bench = Bench::with(config, "100000");
        bench.quote(LTC, 9_990, 10_000, 100);
        bench.place(market(LTC, Side::Buy, 4)).unwrap();
        let (account, now) = (bench.account, bench.now());
        let whole = bracket(LTC, Side::Sell, None, None, Some(9_700));
        let sized = bracket(LTC, Side::Sell, Some(4), None, Some(9_750));
        let whole = bench.exchange.place_bracket(account, now, &whole).unwrap().id;
        let sized = bench.exchange.place_bracket(account, now, &sized).unwrap().id;
        let none = ClientOrderId::default();
        bench
            .exchange
            .close_position(account, now, LTC, MarginMode::Cross, PositionSide::Net, none)
            .unwrap();
        let row = bench.exchange.bracket(account, whole).unwrap();
        assert_eq!(
            (row.state, row.cancel_source),
            (OrderState::Canceled, CancelSource::System)
        );
        assert_eq!(bench.brackets().len(), live, "{leftovers:?}");
        assert_eq!(bench.exchange.report().orphan_orders, live as u64);
        bench.ms += 10_001;
        bench.quote(LTC, 9_600, 9_610, 100);
        assert_eq!(
            bench.exchange.bracket(account, sized).unwrap().state,
            later,
            "{leftovers:?}"
        );
        assert_eq!(bench.held(LTC), 0);
        let mut events = Vec::new();
        bench.exchange.advance(Wall::from_ms(bench.ms), &mut events);
        bench.sound();
    }
}

#[test]
fn rows_left_on_a_flat_symbol_count_as_orphans_after_ten_seconds_and_once() {
    let mut bench = Bench::new("100000");
    bench.quote(LTC, 9_990, 10_000, 100);
    let resting = bench.place(limit(LTC, Side::Buy, 1, 9_000)).unwrap();
    bench.place(market(LTC, Side::Buy, 4)).unwrap();
    let (account, now) = (bench.account, bench.now());
    let sized = bracket(LTC, Side::Sell, Some(4), None, Some(9_750));
    bench.exchange.place_bracket(account, now, &sized).unwrap();
    bench.place(market(LTC, Side::Sell, 4)).unwrap();
    let mut events = Vec::new();
    bench
        .exchange
        .advance(Wall::from_ms(bench.ms + 10_000), &mut events);
    assert_eq!(
        bench.exchange.report().orphan_orders,
        2,
        "the stop and the old entry"
    );
    bench
        .exchange
        .cancel(account, Wall::from_ms(bench.ms + 11_000), resting)
        .unwrap();
    bench
        .exchange
        .advance(Wall::from_ms(bench.ms + 60_000), &mut events);
    assert_eq!(
        bench.exchange.report().orphan_orders,
        2,
        "a late cancel does not undo it"
    );
}

#[test]
fn a_trigger_order_fires_from_the_side_it_was_placed_on() {
    for (trigger, fires_at, idle_at) in [(10_100, 10_100, 10_050), (9_900, 9_890, 9_950)] {
        let mut bench = Bench::new("100000");
        bench.quote(LTC, 9_990, 10_000, 100);
        let (account, now) = (bench.account, bench.now());
        let request = NewTrigger {
            instrument: LTC,
            margin_mode: MarginMode::Cross,
            position_side: PositionSide::Net,
            side: Side::Buy,
            lots: Some(Lots(2)),
            trigger: Price(trigger),
            trigger_type: TriggerType::Last,
            order_price: None,
            reduce_only: false,
            client_id: ClientOrderId::default(),
            take_profit: None,
            stop_loss: Some(Leg::market(Price(9_500))),
        };
        let id = bench.exchange.place_trigger(account, now, &request).unwrap().id;
        bench.quote(LTC, idle_at, idle_at + 10, 100);
        assert_eq!(bench.held(LTC), 0);
        bench.quote(LTC, fires_at, fires_at + 10, 100);
        assert_eq!(bench.held(LTC), 2, "trigger at {trigger}");
        let row = bench.exchange.trigger(account, id).unwrap();
        assert_eq!(
            (row.state, bench.row(row.order_id).algo_id),
            (OrderState::Effective, id)
        );
        assert_eq!(bench.brackets().len(), 1, "its stop is alive");
        bench.sound();
    }
}

fn candle(open_ms: i64, [open, high, low, close]: [f64; 4]) -> MarketKind {
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

#[test]
fn when_both_triggers_lie_in_one_candle_the_stop_fills_at_its_price() {
    for (side, stop, target, price) in [
        (Side::Buy, 9_900, 10_100, "99"),
        (Side::Sell, 10_100, 9_900, "101"),
    ] {
        let mut bench = Bench::new("100000");
        bench.market(LTC, candle(START_MS, [100.0, 100.2, 99.8, 100.0]));
        bench.ms += 60_000;
        let entry = NewOrder {
            take_profit: Some(Leg::market(Price(target))),
            stop_loss: Some(Leg::market(Price(stop))),
            ..market(LTC, side, 5)
        };
        bench.place(entry).unwrap();
        bench.market(LTC, candle(START_MS + 60_000, [100.0, 103.0, 97.0, 102.0]));
        assert_eq!(bench.held(LTC), 0);
        let report = bench.exchange.report();
        assert_eq!((report.closed_sl, report.closed_tp), (1, 0), "{side:?}");
        assert_eq!(
            bench.exchange.fills(bench.account).next().unwrap().price,
            amount(price),
            "{side:?}"
        );
        bench.sound();
    }
}

#[test]
fn a_gap_over_the_stop_fills_at_the_open() {
    let mut bench = Bench::new("100000");
    bench.market(LTC, candle(START_MS, [100.0, 100.2, 99.8, 100.0]));
    let entry = NewOrder {
        stop_loss: Some(Leg::market(Price(9_900))),
        ..market(LTC, Side::Buy, 5)
    };
    bench.place(entry).unwrap();
    bench.market(LTC, candle(START_MS + 60_000, [98.0, 98.5, 97.0, 98.2]));
    assert_eq!(
        bench.exchange.fills(bench.account).next().unwrap().price,
        amount("98")
    );
}

#[test]
fn longs_pay_shorts_when_the_funding_rate_is_positive() {
    for (side, rate, expected) in [
        (Side::Buy, 0.0001, "-0.05"),
        (Side::Sell, 0.0001, "0.05"),
        (Side::Buy, -0.0002, "0.1"),
    ] {
        let mut bench = Bench::new("100000");
        bench.quote(LTC, 9_999, 10_000, 100);
        bench.place(market(LTC, side, 5)).unwrap();
        let mark = MarketKind::Mark {
            mark: 100.0,
            index: 100.0,
            funding_rate: Some(rate),
        };
        bench.market(LTC, mark);
        let before = bench.exchange.balance(bench.account).balance;
        let mut events = Vec::new();
        bench
            .exchange
            .advance(Wall::from_ms(START_MS + 8 * 3_600_000), &mut events);
        let paid = bench.exchange.balance(bench.account).balance - before;
        assert_eq!(paid, amount(expected), "{side:?} at {rate}");
        assert_eq!(bench.exchange.funding_payments(bench.account).count(), 1);
        assert_eq!(
            bench.exchange.funding_history(LTC).next().map(|row| row.rate),
            Some(rate)
        );
        bench.sound();
    }
}

#[test]
fn liquidation_comes_at_the_liquidation_price_and_costs_the_margin() {
    for (mode, side) in [
        (MarginMode::Isolated, Side::Buy),
        (MarginMode::Isolated, Side::Sell),
        (MarginMode::Cross, Side::Buy),
        (MarginMode::Cross, Side::Sell),
    ] {
        let mut bench = Bench::new("100");
        bench.exchange.set_margin_mode(bench.account, mode).unwrap();
        let now = bench.now();
        bench
            .exchange
            .set_leverage(bench.account, now, LTC, mode, PositionSide::Net, 10)
            .unwrap();
        bench.quote(LTC, 9_999, 10_000, 100);
        let order = NewOrder {
            margin_mode: mode,
            ..market(LTC, side, 5)
        };
        bench.place(order).unwrap();
        let resting = NewOrder {
            margin_mode: mode,
            ..limit(LTC, Side::Buy, 1, 9_000)
        };
        let resting = bench.place(resting).unwrap();
        let position = bench.exchange.positions(bench.account)[0];
        let balance = bench.exchange.balance(bench.account).balance;
        let trigger = position.liquidation_price.expect("a liquidation price");
        let step = |factor: &str| {
            let price = trigger * amount(factor);
            smart_scanner::exchange::amount::to_f64(price)
        };
        let (safe, gone) = if side == Side::Buy {
            ("1.0001", "0.9999")
        } else {
            ("0.9999", "1.0001")
        };
        let mark = |value: f64| MarketKind::Mark {
            mark: value,
            index: value,
            funding_rate: None,
        };
        bench.market(LTC, mark(step(safe)));
        assert_eq!(bench.held(LTC), 5 * side.sign(), "{mode:?} {side:?}: not yet");
        bench.market(LTC, mark(step(gone)));
        assert_eq!(bench.held(LTC), 0, "{mode:?} {side:?}");
        assert_eq!(bench.row(resting).state, OrderState::Canceled);
        let lost = balance - bench.exchange.balance(bench.account).balance;
        let expected = if mode == MarginMode::Cross {
            balance
        } else {
            position.margin
        };
        assert!(
            (lost - expected).abs() < amount("0.000000001"),
            "{mode:?} {side:?}: lost {lost}, margin {expected}"
        );
        assert_eq!(bench.exchange.report().closed_liquidation, 1);
        let row = bench.exchange.position_history(bench.account).next().unwrap();
        assert_eq!(
            (row.end, row.liquidation_base),
            (PositionEnd::Liquidated, amount("5"))
        );
        bench.sound();
    }
}

#[test]
fn unprotected_time_is_measured_by_the_longest_stretch_of_each_position() {
    let mut bench = Bench::new("100000");
    bench.quote(LTC, 9_990, 10_000, 100);
    bench.place(market(LTC, Side::Buy, 4)).unwrap();
    bench.ms += 700;
    let (account, now) = (bench.account, bench.now());
    let half = bracket(LTC, Side::Sell, Some(2), None, Some(9_700));
    bench.exchange.place_bracket(account, now, &half).unwrap();
    bench.ms += 300;
    let now = bench.now();
    bench.exchange.place_bracket(account, now, &half).unwrap();
    assert_eq!(
        bench.exchange.report().unprotected_ms_max,
        1_000,
        "two halves make a whole"
    );
    bench.ms += 5_000;
    let now = bench.now();
    let newest = bench.brackets()[0].id;
    assert!(bench.exchange.system_cancel_bracket(account, now, newest));
    bench.ms += 400;
    let now = bench.now();
    bench
        .exchange
        .place_bracket(account, now, &bracket(LTC, Side::Sell, None, None, Some(9_700)))
        .unwrap();
    bench.ms += 9_000;
    bench.place(market(LTC, Side::Sell, 4)).unwrap();
    let report = bench.exchange.report();
    let gaps: Vec<i64> = report.unprotected.iter().map(|gap| gap.unprotected_ms).collect();
    assert_eq!((report.unprotected_ms_max, gaps), (1_000, vec![1_000]));
}

#[test]
fn amending_is_off_by_default_and_never_leaves_a_moment_without_a_stop() {
    for amend in [false, true] {
        let config = ExchangeConfig {
            amend,
            ..ExchangeConfig::default()
        };
        let mut bench = Bench::with(config, "100000");
        bench.quote(LTC, 9_990, 10_000, 100);
        bench.place(market(LTC, Side::Buy, 4)).unwrap();
        let (account, now) = (bench.account, bench.now());
        let stop = bracket(LTC, Side::Sell, None, None, Some(9_700));
        let id = bench.exchange.place_bracket(account, now, &stop).unwrap().id;
        bench.ms += 2_000;
        let change = Amend {
            stop_loss: Some(Leg::market(Price(9_900))),
            ..Amend::default()
        };
        let now = bench.now();
        let answer = bench
            .exchange
            .amend_bracket(account, now, id, &change)
            .map(|_| ());
        assert_eq!(answer, if amend { Ok(()) } else { Err(Code::NotFound) });
        let trigger = bench.brackets()[0].stop_loss.map(|leg| leg.trigger);
        assert_eq!(trigger, Some(Price(if amend { 9_900 } else { 9_700 })));
        assert_eq!(bench.exchange.report().unprotected_ms_max, 0);
    }
}

#[test]
fn each_change_is_pushed_as_orders_then_positions_then_balance() {
    let mut bench = Bench::new("100000");
    bench.quote(LTC, 9_990, 10_000, 100);
    let mut events = Vec::new();
    bench.exchange.drain(&mut events);
    events.clear();
    bench
        .place(NewOrder {
            stop_loss: Some(Leg::market(Price(9_700))),
            ..market(LTC, Side::Buy, 4)
        })
        .unwrap();
    bench.exchange.drain(&mut events);
    let names: Vec<&str> = events
        .iter()
        .map(|event| match event {
            Event::Order { order, .. } => order.state.text(),
            Event::Bracket { .. } => "bracket",
            Event::Positions { .. } => "positions",
            Event::Balance { .. } => "balance",
            _ => "market",
        })
        .collect();
    assert_eq!(names, vec!["live", "filled", "bracket", "positions", "balance"]);
}

/// One random request or move of the market.
#[derive(Clone, Debug)]
enum Act {
    Move {
        instrument: u16,
        change: i64,
        lots: i64,
    },
    Order {
        instrument: u16,
        buy: bool,
        kind: u8,
        lots: i64,
        offset: i64,
        reduce: bool,
        legs: u8,
    },
    Bracket {
        instrument: u16,
        buy: bool,
        lots: Option<i64>,
        tp: i64,
        sl: i64,
    },
    Trigger {
        instrument: u16,
        buy: bool,
        lots: i64,
        offset: i64,
        reduce: bool,
    },
    CancelOldest,
    Close {
        instrument: u16,
    },
    Wait {
        ms: i64,
    },
    Leverage {
        instrument: u16,
        leverage: u16,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let instrument = 0u16..3;
    prop_oneof![
        6 => (instrument.clone(), -150i64..150, 1i64..60)
            .prop_map(|(instrument, change, lots)| Act::Move { instrument, change, lots }),
        6 => (instrument.clone(), any::<bool>(), 0u8..5, 1i64..80, -30i64..30, any::<bool>(), 0u8..4)
            .prop_map(|(instrument, buy, kind, lots, offset, reduce, legs)| Act::Order {
                instrument, buy, kind, lots, offset, reduce, legs
            }),
        2 => (instrument.clone(), any::<bool>(), proptest::option::of(1i64..80), 1i64..200, 1i64..200)
            .prop_map(|(instrument, buy, lots, tp, sl)| Act::Bracket { instrument, buy, lots, tp, sl }),
        1 => (instrument.clone(), any::<bool>(), 1i64..50, -100i64..100, any::<bool>())
            .prop_map(|(instrument, buy, lots, offset, reduce)| Act::Trigger { instrument, buy, lots, offset, reduce }),
        1 => Just(Act::CancelOldest),
        1 => instrument.clone().prop_map(|instrument| Act::Close { instrument }),
        1 => (1i64..8_000_000).prop_map(|ms| Act::Wait { ms }),
        1 => (instrument, 1u16..100).prop_map(|(instrument, leverage)| Act::Leverage { instrument, leverage }),
    ]
}

fn perform(bench: &mut Bench, mode: MarginMode, hedged: bool, prices: &mut [i64; 3], act: &Act) {
    let account = bench.account;
    let now = bench.now();
    let side_of = |buy: bool| if buy { Side::Buy } else { Side::Sell };
    match *act {
        Act::Move {
            instrument,
            change,
            lots,
        } => {
            let price = &mut prices[usize::from(instrument)];
            *price = (*price + change).max(500);
            let price = *price;
            bench.quote(InstrumentId(instrument), price, price + 2, lots);
        }
        Act::Order {
            instrument,
            buy,
            kind,
            lots,
            offset,
            reduce,
            legs,
        } => {
            let price = prices[usize::from(instrument)] + offset;
            let sign = side_of(buy).sign();
            let leg = |bit: u8, price: i64| (legs & bit != 0).then(|| Leg::market(Price(price)));
            let order = NewOrder {
                margin_mode: mode,
                position_side: match (hedged, buy != reduce) {
                    (false, _) => PositionSide::Net,
                    (true, true) => PositionSide::Long,
                    (true, false) => PositionSide::Short,
                },
                order_type: OrderType::ALL[usize::from(kind)],
                reduce_only: reduce,
                take_profit: leg(1, price + sign * 80),
                stop_loss: leg(2, price - sign * 80),
                ..limit(InstrumentId(instrument), side_of(buy), lots, price)
            };
            let _ = bench.place(order);
        }
        Act::Bracket {
            instrument,
            buy,
            lots,
            tp,
            sl,
        } => {
            let price = prices[usize::from(instrument)];
            let sign = side_of(buy).sign();
            let row = NewBracket {
                margin_mode: mode,
                position_side: match (hedged, buy) {
                    (false, _) => PositionSide::Net,
                    (true, true) => PositionSide::Short,
                    (true, false) => PositionSide::Long,
                },
                ..bracket(
                    InstrumentId(instrument),
                    side_of(buy),
                    lots,
                    Some(price - sign * tp),
                    Some(price + sign * sl),
                )
            };
            let _ = bench.exchange.place_bracket(account, now, &row);
        }
        Act::Trigger {
            instrument,
            buy,
            lots,
            offset,
            reduce,
        } => {
            let row = NewTrigger {
                instrument: InstrumentId(instrument),
                margin_mode: mode,
                position_side: if hedged {
                    PositionSide::Long
                } else {
                    PositionSide::Net
                },
                side: side_of(buy),
                lots: Some(Lots(lots)),
                trigger: Price(prices[usize::from(instrument)] + offset),
                trigger_type: TriggerType::Last,
                order_price: None,
                reduce_only: reduce,
                client_id: ClientOrderId::default(),
                take_profit: None,
                stop_loss: None,
            };
            let _ = bench.exchange.place_trigger(account, now, &row);
        }
        Act::CancelOldest => {
            let oldest = bench.exchange.orders_open(account).last().map(|order| order.id);
            if let Some(id) = oldest {
                bench.exchange.cancel(account, now, id).expect("it is alive");
            }
        }
        Act::Close { instrument } => {
            for side in PositionSide::ALL {
                let none = ClientOrderId::default();
                let _ =
                    bench
                        .exchange
                        .close_position(account, now, InstrumentId(instrument), mode, side, none);
            }
        }
        Act::Wait { ms } => {
            bench.ms += ms;
            let mut events = Vec::new();
            bench.exchange.advance(Wall::from_ms(bench.ms), &mut events);
        }
        Act::Leverage { instrument, leverage } => {
            for side in PositionSide::ALL {
                let _ =
                    bench
                        .exchange
                        .set_leverage(account, now, InstrumentId(instrument), mode, side, leverage);
            }
        }
    }
}

/// What a run did, as text: two runs of the same acts must give the same.
fn run(acts: &[Act], hedged: bool, isolated: bool, config: ExchangeConfig) -> Result<String, String> {
    let mut bench = Bench::with(config, "2000");
    let mode = if isolated {
        MarginMode::Isolated
    } else {
        MarginMode::Cross
    };
    bench
        .exchange
        .set_margin_mode(bench.account, mode)
        .expect("nothing is open");
    if hedged {
        bench
            .exchange
            .set_position_mode(bench.account, PositionMode::LongShort)
            .expect("nothing is open");
    }
    let mut prices = [10_000, 100_000, 20_000];
    for (index, price) in prices.iter().enumerate() {
        bench.quote(InstrumentId(index as u16), *price, price + 2, 50);
    }
    let mut trace = String::new();
    for act in acts {
        bench.ms += 250;
        perform(&mut bench, mode, hedged, &mut prices, act);
        bench
            .exchange
            .check_invariants()
            .map_err(|broken| format!("after {act:?}: {broken}"))?;
        let mut events = Vec::new();
        bench.exchange.drain(&mut events);
        trace.push_str(&format!("{events:?}"));
    }
    trace.push_str(&format!("{:?}", bench.exchange.report()));
    Ok(trace)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn no_flow_of_orders_breaks_the_books_and_every_run_repeats(
        acts in proptest::collection::vec(act(), 1..120),
        hedged: bool,
        isolated: bool,
        full_fill: bool,
        keep: bool,
    ) {
        let config = ExchangeConfig {
            attach: if full_fill { AttachPolicy::FullFill } else { AttachPolicy::FirstFill },
            leftovers: if keep { Leftovers::Keep } else { Leftovers::CancelWhole },
            ..ExchangeConfig::default()
        };
        let first = run(&acts, hedged, isolated, config);
        prop_assert!(first.is_ok(), "{}", first.unwrap_err());
        prop_assert_eq!(first, run(&acts, hedged, isolated, config));
    }
}

#[test]
fn the_random_flow_reaches_every_way_a_position_can_end() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut total = [0u64; 6];
    for round in 0..300 {
        let acts = proptest::collection::vec(act(), 120)
            .new_tree(&mut runner)
            .expect("a value")
            .current();
        let mut bench = Bench::new("2000");
        let isolated = round % 2 == 1;
        let mode = if isolated {
            MarginMode::Isolated
        } else {
            MarginMode::Cross
        };
        bench
            .exchange
            .set_margin_mode(bench.account, mode)
            .expect("nothing is open");
        let mut prices = [10_000, 100_000, 20_000];
        for act in &acts {
            bench.ms += 250;
            perform(&mut bench, mode, false, &mut prices, act);
        }
        bench.sound();
        let report = bench.exchange.report();
        let counts = [
            report.entries_filled,
            report.closed_tp,
            report.closed_sl,
            report.closed_liquidation,
            report.closed_other,
            bench.exchange.funding_payments(bench.account).count() as u64,
        ];
        for (sum, count) in total.iter_mut().zip(counts) {
            *sum += count;
        }
    }
    println!("entries, tp, sl, liquidations, other, funding payments: {total:?}");
    assert!(total.iter().all(|count| *count > 20), "{total:?}");
}
