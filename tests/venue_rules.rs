//! The promise: `--attach` and `--two-stops` of `demo` and `exchange` make the venue answer as they say, from the
//! words of the command line to the exchange that is served.

use clap::Parser;
use smart_scanner::app::cli::{Cli, Command};
use smart_scanner::app::demo;
use smart_scanner::app::exchange::{ExchangeOptions, serve};
use smart_scanner::exchange::{AccountId, Code, Exchange, Leg, NewBracket, NewOrder};
use smart_scanner::model::{
    ClientOrderId, InstrumentId, Lots, MarginMode, OrderType, PositionSide, Price, Side, Wall,
};
use std::path::Path;

/// What the exchange of a command line is served with.
fn options_of(line: &str) -> ExchangeOptions {
    let cli = Cli::try_parse_from(line.split_whitespace()).expect("a command line");
    let options = match cli.command {
        Command::Exchange(args) => ExchangeOptions::of(&args),
        Command::Demo(args) => demo::exchange_options(&args, Path::new("unused")),
        other => panic!("{other:?}"),
    };
    ExchangeOptions {
        listen: "127.0.0.1:0".parse().expect("an address"),
        // Whatever the touch offers can be bought.
        balance: 1e9,
        ..options
    }
}

/// What `act` sees of the exchange of a command line, with its account and its first instrument.
fn at_exchange<T>(line: &str, act: impl FnOnce(&mut Exchange, AccountId, Wall) -> T) -> T {
    let mut server = serve(&options_of(line)).expect("it serves");
    let seen = server.with(|venue| {
        let now = venue.now();
        act(venue.exchange_mut(), AccountId(0), now)
    });
    server.stop();
    seen
}

const FIRST: InstrumentId = InstrumentId(0);

fn buy(order_type: OrderType, price: Option<Price>, lots: Lots, stop: Option<Leg>) -> NewOrder {
    NewOrder {
        instrument: FIRST,
        margin_mode: MarginMode::Cross,
        position_side: PositionSide::Net,
        side: Side::Buy,
        order_type,
        price,
        lots,
        reduce_only: false,
        client_id: ClientOrderId::default(),
        take_profit: None,
        stop_loss: stop,
    }
}

fn stop_below(exchange: &Exchange) -> Leg {
    let bid = exchange.book(FIRST, 1).expect("a book").bids[0].0;
    Leg::market(Price(bid.0 * 9 / 10))
}

/// Brackets that stand while an entry with a stop is filled in part.
fn attached(line: &str) -> usize {
    at_exchange(line, |exchange, account, now| {
        let (ask, lots) = exchange.book(FIRST, 1).expect("a book").asks[0];
        let stop = stop_below(exchange);
        let order = buy(OrderType::Limit, Some(ask), Lots(lots.0 + 1), Some(stop));
        let placed = exchange.place(account, now, &order).expect("an order");
        let row = exchange.order(account, placed.id).expect("it is known");
        assert_eq!(
            (row.filled, row.state.is_final()),
            (lots, false),
            "filled in part"
        );
        exchange.brackets_open(account).count()
    })
}

/// What the venue says to a second stop for the whole of a position.
fn second_stop(line: &str) -> Result<(), Code> {
    at_exchange(line, |exchange, account, now| {
        let order = buy(OrderType::Market, None, Lots(1), None);
        exchange.place(account, now, &order).expect("an order");
        let stop = NewBracket {
            instrument: FIRST,
            margin_mode: MarginMode::Cross,
            position_side: PositionSide::Net,
            side: Side::Sell,
            lots: None,
            reduce_only: true,
            client_id: ClientOrderId::default(),
            take_profit: None,
            stop_loss: Some(stop_below(exchange)),
        };
        exchange.place_bracket(account, now, &stop).expect("the first");
        exchange.place_bracket(account, now, &stop).map(|_| ())
    })
}

const EXCHANGE: &str = "smart-scanner exchange --account key:secret:pass --instruments 2";
const DEMO: &str = "smart-scanner demo --instruments 2";

#[test]
fn attach_says_when_a_stop_becomes_an_order_of_its_own() {
    for command in [EXCHANGE, DEMO] {
        assert_eq!(attached(command), 1, "{command}");
        assert_eq!(
            attached(&format!("{command} --attach first-fill")),
            1,
            "{command}"
        );
        assert_eq!(attached(&format!("{command} --attach full-fill")), 0, "{command}");
    }
}

#[test]
fn two_stops_says_whether_a_position_may_have_a_second_one() {
    for command in [EXCHANGE, DEMO] {
        assert_eq!(second_stop(command), Ok(()), "{command}");
        assert_eq!(
            second_stop(&format!("{command} --two-stops allow")),
            Ok(()),
            "{command}"
        );
        let refused = second_stop(&format!("{command} --two-stops refuse"));
        assert_eq!(refused, Err(Code::SizeAboveLimit), "{command}");
    }
}
