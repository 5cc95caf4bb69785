//! Brackets and trigger orders: birth, firing, coexistence, leftovers, and the time without a stop.

use super::bench::*;
use smart_scanner::exchange::*;
use smart_scanner::model::{
    ClientOrderId, Lots, MarginMode, OrderState, PositionSide, Price, Side, TriggerType, Wall,
};

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
