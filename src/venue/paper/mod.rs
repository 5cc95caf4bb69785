//! Paper trading: the embedded exchange as a venue of this process, moved by the real market.
//!
//! Quotes, trades, marks and funding that `decode` read are handed to it, so a fill is never better
//! than the touch that the venue showed, nor larger, pays the taker fee and comes after the latency of
//! a real call. Orders reach it as the same signed bytes that BloFin would get; nothing ever leaves the
//! process but market reads.

use crate::exchange::amount::Amount;
use crate::exchange::market::{MarketEvent, MarketKind};
use crate::exchange::{Exchange, ExchangeConfig, Market};
use crate::model::message::{Lane, Tick, TickKind, tick_flag};
use crate::model::{Instrument, InstrumentId, Instruments, Lots, Side, Wall};
use crate::venue::blofin::sign::Credentials;
use crate::venue::loopback::{Credential, Latency, LoopbackOptions, LoopbackVenue, SharedVenue};
use crate::venue::seam::{Busy, CallEvent, CallPort};
use std::os::fd::RawFd;

/// USDT that a paper account starts with, at every start: it lives and dies with the process.
pub const BALANCE: i64 = 10_000;
/// One way to the venue, drawn evenly: a VPS in the same city on an ordinary day.
const LATENCY: Latency = Latency {
    min_ns: 10_000_000,
    max_ns: 40_000_000,
};

/// The paper account's made-up credentials; they open nothing but this process.
pub fn credentials() -> Credentials {
    Credentials {
        key: "paper".into(),
        secret: "paper".into(),
        passphrase: "paper".into(),
    }
}

/// A paper venue for `instruments` that begins at `start`.
pub fn open(instruments: &Instruments, start: Wall, seed: u64) -> SharedVenue {
    let market = Market::External {
        instruments: instruments.clone(),
        start,
    };
    let exchange = Exchange::new(ExchangeConfig::default(), market);
    let options = LoopbackOptions {
        seed,
        ..LoopbackOptions::default()
    };
    let mut venue = LoopbackVenue::new(exchange, options);
    let account = credentials();
    venue.add_account(
        Credential::new(&account.key, &account.secret, &account.passphrase),
        Amount::from(BALANCE),
    );
    SharedVenue::new(venue, LATENCY, seed)
}

/// What a paper market remembers of an instrument between ticks.
#[derive(Clone, Copy, Default)]
struct Last {
    price: f64,
}

/// Turns live ticks into events of the paper market.
pub struct PaperMarket {
    last: Vec<Last>,
    /// Numbers of trades that only the ticker told of.
    trade_id: u64,
}

impl PaperMarket {
    pub fn new(instruments: usize) -> Self {
        PaperMarket {
            last: vec![Last::default(); instruments],
            trade_id: 0,
        }
    }

    /// Hands `tick` to the venue; ticks that say nothing about prices are passed over.
    pub fn take(&mut self, tick: &Tick, now: Wall, instruments: &Instruments, venue: &SharedVenue) {
        let id = tick.instrument();
        // An order that arrived before this tick was published must not see it: ticks are taken by the batch.
        let now = match tick.header.time_ns {
            0 => now,
            time_ns => now.min(Wall(time_ns)),
        };
        venue.advance(now);
        let (Some(row), Some(last)) = (instruments.get(id), self.last.get_mut(id.index())) else {
            return;
        };
        let mut events: [Option<MarketKind>; 2] = [None, None];
        match TickKind::from_code(tick.kind) {
            Some(TickKind::Quote) => {
                events[0] = quote(tick, row);
                // The last price fires stops and targets, also where the tape is not subscribed.
                if tick.v[4] != last.price {
                    last.price = tick.v[4];
                    self.trade_id += 1;
                    events[1] = trade(row, tick.v[4], tick.v[5], tick.v[4] >= tick.v[1], self.trade_id);
                }
            }
            Some(TickKind::Trade) => {
                last.price = tick.v[0];
                events[0] = trade(
                    row,
                    tick.v[0],
                    tick.v[1],
                    tick.has_flag(tick_flag::BUY),
                    tick.v[2] as u64,
                );
            }
            // The mark stands for the index too: the public feed has no index.
            Some(TickKind::Mark) => {
                events[0] = Some(MarketKind::Mark {
                    mark: tick.v[0],
                    index: tick.v[0],
                    funding_rate: None,
                });
            }
            // It holds whether or not anybody tells marks.
            Some(TickKind::Funding) => {
                venue.with(|venue| venue.exchange_mut().set_funding_rate(id, tick.v[0]));
                return;
            }
            Some(TickKind::Candle | TickKind::Depth | TickKind::Stale | TickKind::Fresh) | None => return,
        }
        self.hand_over(id, events, now, venue);
    }

    fn hand_over(&self, id: InstrumentId, events: [Option<MarketKind>; 2], now: Wall, venue: &SharedVenue) {
        venue.with(|venue| {
            for kind in events.into_iter().flatten() {
                venue
                    .exchange_mut()
                    .on_market(now, &MarketEvent { instrument: id, kind });
            }
        });
    }
}

fn quote(tick: &Tick, row: &Instrument) -> Option<MarketKind> {
    Some(MarketKind::Quote {
        bid: row.nearest_price(tick.v[0])?,
        bid_lots: lots(row, tick.v[2]),
        ask: row.nearest_price(tick.v[1])?,
        ask_lots: lots(row, tick.v[3]),
    })
}

fn trade(row: &Instrument, price: f64, contracts: f64, is_buy: bool, id: u64) -> Option<MarketKind> {
    let side = if is_buy { Side::Buy } else { Side::Sell };
    Some(MarketKind::Trade {
        price: row.nearest_price(price)?,
        lots: lots(row, contracts),
        side,
        id,
    })
}

/// Whole lots in `contracts`, at least one: the venue shows no smaller size.
fn lots(row: &Instrument, contracts: f64) -> Lots {
    let count = (contracts / row.lot_size.to_f64()).floor();
    Lots(if (1.0..1e15).contains(&count) {
        count as i64
    } else {
        1
    })
}

/// Market reads to the real venue, everything about the account to the paper one.
pub struct SplitCalls {
    pub market: Box<dyn CallPort>,
    pub account: Box<dyn CallPort>,
    market_next: bool,
}

impl SplitCalls {
    pub fn new(market: Box<dyn CallPort>, account: Box<dyn CallPort>) -> Self {
        SplitCalls {
            market,
            account,
            market_next: false,
        }
    }
}

impl CallPort for SplitCalls {
    fn is_ready(&self, lane: Lane) -> bool {
        match lane {
            Lane::Market => self.market.is_ready(lane),
            Lane::Protect | Lane::Close | Lane::Reconcile | Lane::Entry => self.account.is_ready(lane),
        }
    }

    fn submit(&mut self, lane: Lane, call: u64, request: &[u8], deadline: Wall) -> Result<(), Busy> {
        match lane {
            Lane::Market => self.market.submit(lane, call, request, deadline),
            Lane::Protect | Lane::Close | Lane::Reconcile | Lane::Entry => {
                self.account.submit(lane, call, request, deadline)
            }
        }
    }

    fn wait_on(&self, descriptors: &mut Vec<RawFd>) {
        self.market.wait_on(descriptors);
    }

    fn poll(&mut self, now: Wall) -> CallEvent<'_> {
        self.market_next = !self.market_next;
        if self.market_next {
            // Asked twice, because a borrowed reply cannot be looked at and then passed over.
            match self.market.poll(now) {
                CallEvent::Idle => self.account.poll(now),
                event => event,
            }
        } else {
            match self.account.poll(now) {
                CallEvent::Idle => self.market.poll(now),
                event => event,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Decimal, Symbol};

    const BTC: InstrumentId = InstrumentId(0);
    const START: Wall = Wall(1_748_779_230_000_000_000);

    struct Desk {
        instruments: Instruments,
        venue: SharedVenue,
        market: PaperMarket,
    }

    impl Desk {
        fn new() -> Desk {
            let one = Decimal::parse(b"1").expect("a decimal");
            let mut instruments = Instruments::new();
            let row = Instrument {
                symbol: Symbol::parse("BTC-USDT").expect("a symbol"),
                tick_size: one,
                lot_size: one,
                contract_value: one,
                min_lots: Lots(1),
                max_limit_lots: Lots(1_000),
                max_market_lots: Lots(1_000),
                max_leverage: 10,
                live: true,
                list_ms: 0,
            };
            instruments.insert(row).expect("room");
            let mut desk = Desk {
                venue: open(&instruments, START, 1),
                instruments,
                market: PaperMarket::new(1),
            };
            desk.take(TickKind::Quote, &[99.0, 101.0, 5.0, 5.0, 100.0, 1.0]);
            desk
        }

        fn take(&mut self, kind: TickKind, values: &[f64]) {
            let mut tick = Tick::new(kind, BTC, START.ms());
            tick.v[..values.len()].copy_from_slice(values);
            self.market.take(&tick, START, &self.instruments, &self.venue);
        }

        fn rate(&self) -> f64 {
            self.venue
                .with(|venue| venue.exchange().funding(BTC).expect("a rate").rate)
        }

        fn mark(&self) -> f64 {
            self.venue
                .with(|venue| venue.exchange().mark(BTC).expect("a mark").mark)
        }
    }

    #[test]
    fn the_venues_funding_rate_holds_without_any_mark() {
        let mut desk = Desk::new();
        desk.take(TickKind::Funding, &[0.0007]);
        assert_eq!(desk.rate(), 0.0007);
        desk.take(TickKind::Mark, &[100.5]);
        assert_eq!(
            (desk.rate(), desk.mark()),
            (0.0007, 100.5),
            "a mark says nothing about it"
        );
    }

    #[test]
    fn a_mark_that_nobody_tells_any_more_is_the_last_price_again() {
        let mut desk = Desk::new();
        assert_eq!(desk.mark(), 100.0);
        desk.take(TickKind::Mark, &[120.0]);
        assert_eq!(desk.mark(), 120.0);
        desk.take(TickKind::Mark, &[0.0]);
        assert_eq!(desk.mark(), 100.0);
        desk.take(TickKind::Quote, &[89.0, 91.0, 5.0, 5.0, 90.0, 1.0]);
        assert_eq!(desk.mark(), 90.0, "and follows it");
    }
}
