//! Order types, refusals, reduce-only, position modes, and what is pushed.

use super::bench::*;
use smart_scanner::exchange::amount::{Amount, cut};
use smart_scanner::exchange::*;
use smart_scanner::model::{
    ClientOrderId, InstrumentId, Lots, MarginMode, OrderState, OrderType, PositionMode, PositionSide, Price,
    Side, Timeframe,
};

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
}

#[test]
fn settings_do_not_change_under_live_orders_or_beyond_their_range() {
    let mut bench = Bench::new("1000");
    bench.quote(LTC, 9_990, 10_000, 10);
    bench.place(limit(LTC, Side::Buy, 1, 9_000)).unwrap();
    let id = ClientOrderId::default();
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

#[test]
fn a_market_played_from_outside_closes_its_candles_by_time() {
    let mut bench = Bench::new("1000");
    for (second, price) in [(1, 10_000), (59, 10_100), (60, 10_300), (200, 10_200)] {
        bench.ms = START_MS + second * 1_000;
        bench.print(LTC, price, 2, Side::Buy);
    }
    let rows = bench.exchange.candles(LTC, Timeframe::M1, None, None, 10);
    let closes: Vec<(f64, f64, bool)> = rows
        .iter()
        .map(|row| (row.0.close, row.0.volume, row.1))
        .collect();
    assert_eq!(
        closes,
        vec![
            (102.0, 2.0, false),
            (103.0, 0.0, true),
            (103.0, 2.0, true),
            (101.0, 4.0, true)
        ]
    );
}
