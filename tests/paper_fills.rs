//! The promise: paper is never better than the book. An order reaches the paper venue after the latency of a
//! real call and takes the touch that was shown at that moment: no better price, and no size that nobody showed.
//!
//! The market is a random walk with thin touches; orders are the bytes that BloFin would get.

use bytemuck::Zeroable;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use smart_scanner::exchange::amount::to_f64;
use smart_scanner::exchange::{AccountId, Fill};
use smart_scanner::model::client_id::{ClientOrderId, Role};
use smart_scanner::model::message::{CommandKind, Lane, OrderCommand, Tick, TickKind};
use smart_scanner::model::time::NS_PER_MS;
use smart_scanner::model::*;
use smart_scanner::venue::blofin::request::RequestWriter;
use smart_scanner::venue::blofin::sign::NonceSource;
use smart_scanner::venue::loopback::{InProcessCalls, SharedVenue};
use smart_scanner::venue::paper::{self, PaperMarket};
use smart_scanner::venue::seam::{CallEvent, CallPort};

const BTC: InstrumentId = InstrumentId(0);
const START: Wall = Wall(1_748_779_230_000_000_000);
const SEED: u64 = 23;

/// What the market showed from `ms` on, in ticks and lots.
#[derive(Clone, Copy, Debug)]
struct Shown {
    ms: i64,
    bid: i64,
    bid_lots: i64,
    ask: i64,
    ask_lots: i64,
}

struct Desk {
    instruments: Instruments,
    venue: SharedVenue,
    market: PaperMarket,
    calls: InProcessCalls,
    writer: RequestWriter,
    sent: u64,
}

impl Desk {
    fn new() -> Desk {
        let one = Decimal::parse(b"1").expect("a decimal");
        let mut instruments = Instruments::new();
        let row = Instrument {
            symbol: Symbol::parse("BTC-USDT").expect("a symbol"),
            tick_size: one,
            lot_size: one,
            contract_value: Decimal::parse(b"0.001").expect("a decimal"),
            min_lots: Lots(1),
            max_limit_lots: Lots(1_000),
            max_market_lots: Lots(1_000),
            max_leverage: 100,
            live: true,
            list_ms: 0,
        };
        instruments.insert(row).expect("room");
        let venue = paper::open(&instruments, START, SEED);
        Desk {
            calls: InProcessCalls::new(venue.clone(), || 0),
            writer: RequestWriter::new(&paper::credentials(), "paper", NonceSource::new(1, 1)),
            market: PaperMarket::new(1),
            instruments,
            venue,
            sent: 0,
        }
    }

    /// The ticks that were published since the last time, all at once, as a busy thread takes them.
    fn take(&mut self, shown: &[Shown], now: Wall) {
        for quote in shown {
            let mut tick = Tick::new(TickKind::Quote, BTC, quote.ms);
            tick.header.time_ns = Wall::from_ms(quote.ms).0;
            let last = quote.bid as f64;
            tick.v[..6].copy_from_slice(&[
                quote.bid as f64,
                quote.ask as f64,
                quote.bid_lots as f64,
                quote.ask_lots as f64,
                last,
                1.0,
            ]);
            self.market.take(&tick, now, &self.instruments, &self.venue);
        }
        self.venue.advance(now);
        while !matches!(self.calls.poll(now), CallEvent::Idle) {}
    }

    /// Sends an order: at market, or at a limit with the rest cancelled.
    fn order(&mut self, side: Side, lots: i64, limit: Option<i64>, now: Wall) {
        self.sent += 1;
        let mut command = OrderCommand::zeroed();
        command.kind = CommandKind::Place as u8;
        command.side = side as u8;
        command.position_side = PositionSide::Net as u8;
        command.margin_mode = MarginMode::Cross as u8;
        command.order_type = limit.map_or(OrderType::Market, |_| OrderType::Ioc) as u8;
        command.price_ticks = limit.unwrap_or(0);
        command.size_lots = lots;
        command.client_id = ClientOrderId::new(1, 1, Role::Entry, self.sent);
        let row = self.instruments.get(BTC).expect("listed");
        let request = self.writer.write_command(&command, row, now).expect("a request");
        let deadline = Wall(now.0 + 1_000 * NS_PER_MS);
        let taken = self.calls.submit(Lane::Entry, self.sent, request, deadline);
        assert_eq!(taken, Ok(()), "the last call is answered");
    }

    /// Which of the orders sent `fill` belongs to, from 1.
    fn number_of(&self, fill: &Fill) -> usize {
        let id = self.venue.with(|venue| {
            let order = venue.exchange().order(AccountId(0), fill.order_id);
            order.expect("it is known").client_id
        });
        let is_it = |number: &u64| ClientOrderId::new(1, 1, Role::Entry, *number) == id;
        (1..=self.sent).find(is_it).expect("one of ours") as usize
    }

    fn fills(&self) -> Vec<Fill> {
        self.venue
            .with(|venue| venue.exchange().fills(AccountId(0)).copied().collect())
    }
}

/// What the market showed when `fill` happened.
fn shown_at<'a>(shown: &'a [Shown], fill: &Fill) -> (usize, &'a Shown) {
    let after = shown.partition_point(|quote| quote.ms <= fill.time_ms);
    (after - 1, &shown[after - 1])
}

#[test]
fn a_fill_takes_the_touch_of_its_moment_and_no_more() {
    println!("seed {SEED}");
    let mut dice = ChaCha8Rng::seed_from_u64(SEED);
    let mut desk = Desk::new();
    let mut shown: Vec<Shown> = Vec::new();
    let (mut ms, mut bid) = (START.ms(), 60_000);
    let mut sent_ms: Vec<i64> = Vec::new();
    let mut next_ms = 0;
    while sent_ms.len() < 300 {
        let from = shown.len();
        // Up to 60 ms of quotes, some at an instant apart; an order takes 10 to 40 ms.
        for _ in 0..dice.random_range(1..=6) {
            ms += dice.random_range(1..=10);
            bid += dice.random_range(-20..=20);
            shown.push(Shown {
                ms,
                bid,
                bid_lots: dice.random_range(1..=4),
                ask: bid + dice.random_range(1..=15),
                ask_lots: dice.random_range(1..=4),
            });
        }
        let now = Wall(Wall::from_ms(ms).0 + NS_PER_MS / 2);
        desk.take(&shown[from..], now);
        // Fewer than the 30 calls that the venue allows in 10 s.
        if ms >= next_ms {
            let quote = shown[shown.len() - 1];
            let side = if dice.random_bool(0.5) {
                Side::Buy
            } else {
                Side::Sell
            };
            let lots = dice.random_range(1..=8);
            // Wide enough that most limits still reach the touch when they arrive.
            let limit = match side {
                Side::Buy => quote.ask + 60,
                Side::Sell => quote.bid - 60,
            };
            desk.order(side, lots, dice.random_bool(0.5).then_some(limit), now);
            sent_ms.push(ms);
            next_ms = ms + 400;
        }
    }
    let end = Wall(Wall::from_ms(ms).0 + 1_000 * NS_PER_MS);
    desk.take(&[], end);

    let fills = desk.fills();
    assert!(fills.len() > 200, "{} fills", fills.len());
    // Lots that each quote gave, by side of the order.
    let mut given = vec![[0, 0]; shown.len()];
    let mut emptied = 0;
    for fill in &fills {
        let number = desk.number_of(fill);
        let under_way_ms = fill.time_ms - sent_ms[number - 1];
        assert!(
            (10..=40).contains(&under_way_ms),
            "order {number} took {under_way_ms} ms to arrive"
        );
        let (index, quote) = shown_at(&shown, fill);
        let price = to_f64(fill.price);
        let (best, side, is_worse) = match fill.side {
            Side::Buy => (quote.ask, 0, price >= quote.ask as f64),
            Side::Sell => (quote.bid, 1, price <= quote.bid as f64),
        };
        assert!(
            is_worse,
            "{:?} at {price}, the touch was {best}: {fill:?}",
            fill.side
        );
        assert!(
            !fill.maker && to_f64(fill.fee) > 0.0,
            "it takes, and pays for it: {fill:?}"
        );
        given[index][side] += fill.lots.0;
    }
    for (quote, [bought, sold]) in shown.iter().zip(&given) {
        assert!(*bought <= quote.ask_lots, "{bought} lots bought of {quote:?}");
        assert!(*sold <= quote.bid_lots, "{sold} lots sold to {quote:?}");
        emptied += usize::from(*bought == quote.ask_lots) + usize::from(*sold == quote.bid_lots);
    }
    assert!(emptied > 50, "only {emptied} orders took all that was shown");
}
