//! At the end of `demo` and of every simulated run, the gate and the exchange are compared: what one of them
//! has and the other has not is named, and nothing else.

mod scene;

use scene::{Scene, decimal, instrument, params};
use smart_scanner::app::agreement::differences;
use smart_scanner::exchange::amount::Amount;
use smart_scanner::exchange::market::{MarketEvent, MarketKind};
use smart_scanner::exchange::{AccountId, Exchange, ExchangeConfig, Leg, Market, NewOrder};
use smart_scanner::model::message::AccountKind;
use smart_scanner::model::*;

/// The exchange numbers its instruments otherwise than the gate, which has BTC first.
const LTC_THERE: InstrumentId = InstrumentId(0);
const BTC_THERE: InstrumentId = InstrumentId(1);

/// An account that holds eight lots of BTC with their stop, and one order that rests.
fn exchange() -> (Exchange, AccountId, u64, u64) {
    let mut instruments = Instruments::new();
    let ltc = Instrument {
        contract_value: decimal("1"),
        ..instrument("LTC-USDT")
    };
    instruments.insert(ltc).expect("room");
    instruments.insert(instrument("BTC-USDT")).expect("room");
    let start = Wall::from_ms(scene::START_MS);
    let market = Market::External { instruments, start };
    let mut exchange = Exchange::new(ExchangeConfig::default(), market);
    let account = exchange.add_account("key", Amount::from(10_000));
    for (instrument, bid) in [(LTC_THERE, 800), (BTC_THERE, 600_000)] {
        let kind = MarketKind::Quote {
            bid: Price(bid),
            bid_lots: Lots(1_000),
            ask: Price(bid + 1),
            ask_lots: Lots(1_000),
        };
        exchange.on_market(start, &MarketEvent { instrument, kind });
    }
    let held = NewOrder {
        instrument: BTC_THERE,
        margin_mode: MarginMode::Cross,
        position_side: PositionSide::Net,
        side: Side::Buy,
        order_type: OrderType::Market,
        price: None,
        lots: Lots(8),
        reduce_only: false,
        client_id: ClientOrderId::default(),
        take_profit: None,
        stop_loss: Some(Leg::market(Price(597_000))),
    };
    exchange.place(account, start, &held).expect("it fills");
    let resting = NewOrder {
        instrument: LTC_THERE,
        order_type: OrderType::Limit,
        price: Some(Price(700)),
        client_id: ClientOrderId::parse(b"byhand").expect("an id"),
        stop_loss: None,
        ..held
    };
    let order = exchange.place(account, start, &resting).expect("it rests").id;
    let bracket = exchange.brackets_open(account).next().expect("a stop").id;
    (exchange, account, order, bracket)
}

/// A gate that was told of the position and of its stop.
fn gate_that_knows(bracket: u64, lots: i64) -> Scene {
    let mut scene = Scene::new(params());
    let row = scene.bracket(bracket, Side::Sell, 8, 597_000, 0, OrderState::Live);
    scene.account(row);
    scene.position(lots, 60_000.1);
    scene
}

#[test]
fn whoever_was_told_everything_agrees_and_what_was_not_told_is_named() {
    let (mut exchange, account, order, bracket) = exchange();
    let scene = gate_that_knows(bracket, 8);
    let missing = format!("open order {order} (LTC-USDT, byhand) is only at the exchange");
    assert_eq!(differences(&exchange, account, &scene.gate), [missing]);
    exchange
        .cancel(account, exchange.now(), order)
        .expect("it is taken back");
    assert_eq!(differences(&exchange, account, &scene.gate), [""; 0]);

    let scene = Scene::new(params());
    assert_eq!(
        differences(&exchange, account, &scene.gate),
        [
            "position BTC-USDT, net or long: 8 lots at the exchange, 0 in the gate".to_owned(),
            format!("bracket {bracket} (BTC-USDT) is only at the exchange"),
        ]
    );
}

#[test]
fn lots_that_differ_and_a_stop_that_is_gone_are_named() {
    let (mut exchange, account, order, bracket) = exchange();
    let now = exchange.now();
    exchange.cancel(account, now, order).expect("it is taken back");
    let scene = gate_that_knows(bracket, -8);
    assert!(exchange.system_cancel_bracket(account, now, bracket));
    assert_eq!(
        differences(&exchange, account, &scene.gate),
        [
            "position BTC-USDT, net or long: 8 lots at the exchange, -8 in the gate".to_owned(),
            format!("bracket {bracket} (BTC-USDT) is only in the gate"),
            "the position on BTC-USDT has no full stop".to_owned(),
        ]
    );
}

#[test]
fn an_order_in_doubt_is_no_agreement() {
    let (mut exchange, account, order, bracket) = exchange();
    exchange
        .cancel(account, exchange.now(), order)
        .expect("it is taken back");
    let mut scene = Scene::new(params());
    scene.signal(Side::Buy);
    let entry = scene.last(message::CommandKind::Place);
    scene.reply(&entry, message::Outcome::Ambiguous, 0);
    let row = scene.bracket(bracket, Side::Sell, 8, 597_000, 0, OrderState::Live);
    scene.account(row);
    let end = scene.fact(AccountKind::PositionsComplete);
    scene.account(end);
    let found = differences(&exchange, account, &scene.gate);
    let id = entry.client_id.as_str();
    assert!(
        found.contains(&format!("order {id} is still in doubt")),
        "{found:?}"
    );
}

#[test]
fn a_market_that_stands_still_moves_no_more_and_still_answers() {
    let generated = smart_scanner::exchange::Generated::new(smart_scanner::exchange::GeneratedOptions {
        seed: 1,
        instruments: 2,
        start: Wall::from_ms(scene::START_MS),
        step_ms: 250,
    });
    let market = Market::Generated(Box::new(generated));
    let mut exchange = Exchange::new(ExchangeConfig::default(), market);
    let account = exchange.add_account("key", Amount::from(10_000));
    let mut events = Vec::new();
    let at = |seconds: i64| Wall::from_ms(scene::START_MS + 1_000 * seconds);
    exchange.advance(at(5), &mut events);
    assert!(!events.is_empty() || exchange.next_event().is_some(), "it moves");
    exchange.stand_still();
    assert_eq!(exchange.next_event(), None);
    let before = exchange.mark(InstrumentId(0)).map(|row| row.mark.to_bits());
    events.clear();
    exchange.advance(at(600), &mut events);
    assert_eq!(events.len(), 0, "nothing happens by itself");
    assert_eq!(
        exchange.mark(InstrumentId(0)).map(|row| row.mark.to_bits()),
        before
    );
    let order = NewOrder {
        instrument: InstrumentId(0),
        margin_mode: MarginMode::Cross,
        position_side: PositionSide::Net,
        side: Side::Buy,
        order_type: OrderType::Market,
        price: None,
        lots: Lots(10),
        reduce_only: false,
        client_id: ClientOrderId::default(),
        take_profit: None,
        stop_loss: None,
    };
    exchange.place(account, at(601), &order).expect("it fills");
    assert_eq!(exchange.positions(account).len(), 1);
}
