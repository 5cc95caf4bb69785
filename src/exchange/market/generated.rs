//! The made-up market: 8 to 500 instruments that move with a common factor and on their own, one
//! step a second each, at times spread over the second.

use super::catalog::{Coin, coins};
use super::path::{Motion, Stream, pull};
use super::{MarketEvent, MarketKind, MarketSource, Opening, history};
use crate::model::{Candle, InstrumentId, Instruments, Lots, Price, Side, Timeframe, Wall};
use std::collections::VecDeque;

/// A normal minute's standard deviation of the common factor.
pub const FACTOR_SIGMA_MINUTE: f64 = 0.0010;
/// Part of a coin's variance that is its own; the rest comes with the factor.
const OWN_PART: f64 = 0.75;
/// Fewest and most instruments of a generated market.
pub const INSTRUMENTS_MIN: usize = 8;
pub const INSTRUMENTS_MAX: usize = 500;

/// Names of the random streams of one seed.
pub mod stream_name {
    pub const FACTOR: u64 = 1;
    pub const PAST_FACTOR: u64 = 2;
    /// Plus the index of the instrument.
    pub const LIVE: u64 = 1_000;
    pub const PAST: u64 = 10_000;
}

/// What a generated market is made from.
#[derive(Clone, Copy, Debug)]
pub struct GeneratedOptions {
    pub seed: u64,
    /// 8 to 500; beyond is cut.
    pub instruments: usize,
    /// When it starts; its past lies before.
    pub start: Wall,
    /// Time between two steps of an instrument, 100 to 5,000 ms.
    pub step_ms: u32,
}

impl Default for GeneratedOptions {
    /// Twenty instruments, a step a second, seed 1, starting 2026-01-01 00:00 UTC.
    fn default() -> Self {
        GeneratedOptions {
            seed: 1,
            instruments: 20,
            start: Wall::from_ms(1_767_225_600_000),
            step_ms: 1_000,
        }
    }
}

/// One instrument in motion.
#[derive(Clone, Debug)]
struct Live {
    stream: Stream,
    motion: Motion,
    /// In ticks.
    price: f64,
    mark: f64,
    funding_rate: f64,
    trades: u64,
    /// Loudness of the recent past: volume follows it for a while.
    heat: f64,
    /// Who took in the last minute: +1 only buyers, −1 only sellers.
    pressure: f64,
    /// How the book leans; it follows the pressure in jumps, so that most levels stay as they are.
    lean: f64,
}

/// One step of one instrument: all that its market becomes.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub time: Wall,
    pub instrument: InstrumentId,
    pub bid: Price,
    pub ask: Price,
    /// Mean lots of a level of its book, and the part by which its bids are thicker and asks thinner.
    pub level_lots: f64,
    pub lean: f64,
    pub trade_price: Price,
    pub trade_lots: Lots,
    pub trade_side: Side,
    pub trade_id: u64,
    pub mark: f64,
    pub index: f64,
    pub funding_rate: f64,
}

/// The generator; endless, and the same for the same options.
#[derive(Clone, Debug)]
pub struct Generated {
    options: GeneratedOptions,
    coins: Vec<Coin>,
    instruments: Instruments,
    lives: Vec<Live>,
    /// Instruments in the order of their place inside a step interval.
    order: Vec<(u64, usize)>,
    past_factor: history::PastFactor,
    factor: Motion,
    factor_stream: Stream,
    factor_change: f64,
    /// Number of the interval, and the next place in `order`.
    interval: u64,
    next: usize,
}

/// Seconds over which takers are remembered.
const PRESSURE_SEC: f64 = 45.0;
/// A book leans this many times the pressure of its takers, at most so far, in jumps of at least so much.
const LEAN_PER_PRESSURE: f64 = 3.0;
const LEAN_MAX: f64 = 0.5;
const LEAN_JUMP: f64 = 0.15;

impl Live {
    /// A taker bought or sold: makers crowd behind him.
    fn take_side(&mut self, bought: bool, seconds: f64) {
        let side = if bought { 1.0 } else { -1.0 };
        self.pressure += (side - self.pressure) * (seconds / (PRESSURE_SEC + seconds));
        let wanted = (LEAN_PER_PRESSURE * self.pressure).clamp(-LEAN_MAX, LEAN_MAX);
        if (wanted - self.lean).abs() >= LEAN_JUMP {
            self.lean = wanted;
        }
    }
}

impl Coin {
    /// Standard deviation of one second's own return.
    pub fn own_sigma_second(&self) -> f64 {
        self.sigma_minute * OWN_PART / 60f64.sqrt()
    }
}

impl Generated {
    /// The market of these options, standing at its start.
    pub fn new(options: GeneratedOptions) -> Generated {
        let count = options.instruments.clamp(INSTRUMENTS_MIN, INSTRUMENTS_MAX);
        let options = GeneratedOptions {
            instruments: count,
            step_ms: options.step_ms.clamp(100, 5_000),
            ..options
        };
        let coins = coins(count);
        let mut instruments = Instruments::new();
        for coin in &coins {
            instruments.insert(coin.instrument);
        }
        let lives = coins.iter().enumerate().map(|(index, coin)| Live {
            stream: Stream::new(options.seed, stream_name::LIVE + index as u64, 0),
            motion: Motion::new(coin.own_sigma_second(), true),
            price: coin.price / coin.instrument.tick_f64(),
            mark: coin.price / coin.instrument.tick_f64(),
            funding_rate: coin.funding_rate,
            trades: 100_000_000,
            heat: 1.0,
            pressure: 0.0,
            lean: 0.0,
        });
        let lives = lives.collect();
        // 7,919 is prime to every interval: neighbours in the list are far apart in time.
        let place = |index: usize| (index as u64 * 7_919) % u64::from(options.step_ms);
        let mut order: Vec<(u64, usize)> = (0..coins.len()).map(|index| (place(index), index)).collect();
        order.sort_unstable();
        let mut generated = Generated {
            options,
            coins,
            instruments,
            lives,
            order,
            past_factor: history::PastFactor::new(options.seed, options.start.ms()),
            factor: Motion::new(FACTOR_SIGMA_MINUTE / 60f64.sqrt(), true),
            factor_stream: Stream::new(options.seed, stream_name::FACTOR, 0),
            factor_change: 0.0,
            interval: 0,
            next: 0,
        };
        generated.step_factor();
        generated
    }

    /// The same market, its prices moving `times` as far from here on; its past stays as it is.
    pub fn louder(mut self, times: f64) -> Generated {
        self.factor = self.factor.louder(times);
        for live in &mut self.lives {
            live.motion = live.motion.clone().louder(times);
        }
        self
    }

    pub fn options(&self) -> &GeneratedOptions {
        &self.options
    }

    pub fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    pub fn start(&self) -> Wall {
        self.options.start
    }

    fn seconds(&self) -> f64 {
        f64::from(self.options.step_ms) / 1_000.0
    }

    fn step_factor(&mut self) {
        let seconds = self.seconds();
        self.factor_change = self.factor.step(seconds, &mut self.factor_stream).change;
    }

    /// Time of the next step.
    pub fn next_time(&self) -> Wall {
        let place = self.order.get(self.next).map_or(0, |entry| entry.0);
        let offset_ms = self.interval * u64::from(self.options.step_ms) + place + 1;
        Wall::from_ms(self.options.start.ms() + offset_ms as i64)
    }

    /// Makes the next step.
    pub fn next_step(&mut self) -> Step {
        let time = self.next_time();
        let index = self.order.get(self.next).map_or(0, |entry| entry.1);
        let step = self.move_one(time, index);
        self.next += 1;
        if self.next >= self.order.len() {
            self.next = 0;
            self.interval += 1;
            self.step_factor();
        }
        step
    }

    fn move_one(&mut self, time: Wall, index: usize) -> Step {
        let seconds = self.seconds();
        let coin = &self.coins[index];
        let live = &mut self.lives[index];
        let tick = coin.instrument.tick_f64();
        let nominal = coin.price / tick;
        let shock = live.motion.step(seconds, &mut live.stream);
        let change = coin.beta * self.factor_change + shock.change + pull(live.price, nominal, seconds);
        live.price = (live.price * (1.0 + change)).max(20.0);
        let loudness = shock.loudness.min(12.0);
        live.heat += (loudness - live.heat) * (seconds / (20.0 + seconds));
        // Spread of about one basis point, wider when it is loud.
        let spread = (live.price * 0.00006 * (0.6 + 0.4 * live.heat)).round().max(1.0) as i64;
        let bid = ((live.price - spread as f64 / 2.0).round() as i64).max(1);
        let ask = bid + spread;
        let up = live.stream.uniform() < 0.5 + 0.35 * (change / (shock.sigma + 1e-12)).clamp(-1.0, 1.0);
        live.take_side(up, seconds);
        let lot_quote = coin.instrument.lot_base_f64() * live.price * tick;
        let mood = (0.2 + 1.2 * live.stream.uniform()) * (0.4 + 0.4 * loudness + 0.3 * live.heat);
        let lots = (coin.turnover_minute / 60.0 * seconds * mood / lot_quote)
            .round()
            .max(1.0);
        live.trades += 1 + (lots as u64 & 3);
        live.mark += (live.price - live.mark) * (seconds / (3.0 + seconds));
        live.funding_rate += (coin.funding_rate - live.funding_rate) * (seconds / 14_400.0)
            + 0.000_000_4 * seconds.sqrt() * live.stream.bell();
        live.funding_rate = live.funding_rate.clamp(-0.003, 0.003);
        Step {
            time,
            instrument: InstrumentId(index as u16),
            bid: Price(bid),
            ask: Price(ask),
            level_lots: coin.turnover_minute * 0.01 / lot_quote,
            lean: live.lean,
            trade_price: Price(if up { ask } else { bid }),
            trade_lots: Lots(lots as i64),
            trade_side: if up { Side::Buy } else { Side::Sell },
            trade_id: live.trades,
            mark: tenth_of_tick(live.mark, tick),
            index: tenth_of_tick(live.price, tick),
            funding_rate: (live.funding_rate * 1e8).round() / 1e8,
        }
    }

    /// How an instrument stands before its first step.
    pub(in crate::exchange) fn opening(&self, instrument: InstrumentId) -> Option<Opening> {
        let coin = self.coins.get(instrument.index())?;
        let contract_quote = coin.price * coin.instrument.contract_value.to_f64();
        Some(Opening {
            price: coin.price,
            contracts: coin.turnover_minute / contract_quote,
            funding_rate: Some(coin.funding_rate),
        })
    }

    /// Up to `limit` closed rows of before the start, oldest first.
    pub fn past(&self, instrument: InstrumentId, timeframe: Timeframe, limit: usize) -> Vec<Candle> {
        let Some(coin) = self.coins.get(instrument.index()) else {
            return Vec::new();
        };
        let start_ms = self.options.start.ms();
        let random = (self.options.seed, &self.past_factor);
        history::past(random, instrument.index(), coin, start_ms, timeframe, limit)
    }

    /// The market as an endless stream of events: per step quote, mark, trade.
    pub fn into_events(self) -> MarketSource {
        let mut generated = self;
        let mut waiting: VecDeque<(Wall, MarketEvent)> = VecDeque::with_capacity(3);
        Box::new(std::iter::from_fn(move || {
            if waiting.is_empty() {
                let step = generated.next_step();
                waiting.extend(step.events().map(|event| (step.time, event)));
            }
            waiting.pop_front()
        }))
    }
}

impl Step {
    /// The step as events: quote, mark, trade.
    pub fn events(&self) -> [MarketEvent; 3] {
        let lots = |part: f64| Lots(((self.level_lots * part) as i64).max(1));
        let kinds = [
            MarketKind::Quote {
                bid: self.bid,
                bid_lots: lots(1.0 + self.lean),
                ask: self.ask,
                ask_lots: lots(1.0 - self.lean),
            },
            MarketKind::Mark {
                mark: self.mark,
                index: self.index,
                funding_rate: Some(self.funding_rate),
            },
            MarketKind::Trade {
                price: self.trade_price,
                lots: self.trade_lots,
                side: self.trade_side,
                id: self.trade_id,
            },
        ];
        kinds.map(|kind| MarketEvent {
            instrument: self.instrument,
            kind,
        })
    }
}

/// A price in ticks as quote, rounded to a tenth of a tick: marks are finer than orders.
fn tenth_of_tick(ticks: f64, tick: f64) -> f64 {
    let parts = (10.0 / tick).round();
    if parts >= 1.0 && parts.is_finite() {
        (ticks * 10.0).round() / parts
    } else {
        ticks * tick
    }
}
