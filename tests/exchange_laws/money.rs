//! Margins, fees, funding and liquidation to the last digit of the venue's own figures.

use super::bench::*;
use smart_scanner::exchange::*;
use smart_scanner::model::{MarginMode, OrderState, PositionSide, Side, Wall};

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
