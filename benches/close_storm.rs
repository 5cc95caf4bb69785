//! A close of the whole market: every instrument's candle closes at one instant, and every timeframe with
//! it. Measured is the time from the arrival of all 1m candles to the last score, on one core, through the
//! stages `indicate` and `score` as the graph builds them; each candle becomes a row on four timeframes.
//!
//! `cargo bench --bench close_storm` measures 490 instruments; `-- --test` plays 24 once and checks that
//! every row was judged.

#[path = "../tests/judges/mod.rs"]
mod judges;

use judges::candles::{World, market};
use judges::{Court, Judges, Said, settings};
use smart_scanner::model::Wall;
use smart_scanner::model::message::Tick;
use std::time::{Duration, Instant};

/// Minutes between two closes of every timeframe.
const PERIOD: usize = 15;
/// Every average has begun on 15m by then: 56 candles.
const WARM: usize = 60 * PERIOD;
/// Markets that are told apart; more instruments than that share their candles.
const MARKETS: usize = 49;

/// The ticks of each minute, instrument by instrument, and the minute that comes next.
struct Storm {
    minutes: Vec<Vec<Tick>>,
    next: usize,
    court: Court,
    said: Said,
}

impl Storm {
    /// A market that is warm, one minute before everything closes.
    fn new(instruments: usize, storms: usize) -> Storm {
        let symbols: Vec<String> = (0..instruments)
            .map(|number| format!("C{number:03}-USDT"))
            .collect();
        let symbols: Vec<&str> = symbols.iter().map(String::as_str).collect();
        let settings = settings(&["WARMUP_BARS=56", "SCORE_MIN=2"]);
        let judges = Judges::new(&settings, &symbols);
        let world = World {
            price: 10.0,
            sigma: 0.001,
            drift: 0.5,
        };
        let count = WARM + (storms + 1) * PERIOD;
        let markets: Vec<_> = (0..MARKETS.min(instruments))
            .map(|seed| market(seed as u64, count, world))
            .collect();
        let minutes: Vec<Vec<Tick>> = (0..count)
            .map(|minute| {
                let tick = |instrument: usize| {
                    let candle = &markets[instrument % markets.len()][minute];
                    judges::candle_tick(instrument, smart_scanner::model::Timeframe::M1, candle)
                };
                (0..instruments).map(tick).collect()
            })
            .collect();
        let court = Court::open(&judges, minutes[0].first());
        let mut storm = Storm {
            minutes,
            next: 0,
            court,
            said: Said::default(),
        };
        storm.play_to(WARM + PERIOD - 1);
        storm
    }

    fn play_to(&mut self, minute: usize) {
        while self.next < minute {
            self.court.take_all(&self.minutes[self.next]);
            self.court.drain(&mut self.said);
            self.next += 1;
        }
    }

    /// The next close of everything, after the quiet minutes before it.
    fn strike(&mut self) -> Duration {
        let minute = self.next.next_multiple_of(PERIOD) + PERIOD - 1;
        let minute = if self.next % PERIOD == PERIOD - 1 {
            self.next
        } else {
            minute
        };
        self.play_to(minute);
        // The quiet of the minute before, in which the scorer learns from the last close.
        let arrives = Wall(self.minutes[minute][0].header.time_ns);
        self.court.wait(arrives);
        let began = Instant::now();
        self.court.take_all(&self.minutes[minute]);
        let took = began.elapsed();
        self.next += 1;
        self.court.drain(&mut self.said);
        took
    }
}

fn main() {
    let has = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    // `cargo bench` says `--bench`; `cargo test` says nothing.
    let is_test = has("--test") || !has("--bench");
    let (instruments, storms) = if is_test { (24, 2) } else { (490, 120) };
    let mut storm = Storm::new(instruments, storms);
    if is_test {
        let rows_before = storm.court.counter("score_row");
        storm.strike();
        let rows = storm.court.counter("score_row") - rows_before;
        assert_eq!(
            rows as usize,
            4 * instruments,
            "a row for each instrument and timeframe"
        );
        assert!(!storm.said.signals.is_empty(), "nobody signalled");
        println!(
            "close_storm: {rows} rows, {} signals so far: ok",
            storm.said.signals.len()
        );
        return;
    }
    let mut times: Vec<Duration> = (0..storms).map(|_| storm.strike()).collect();
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    println!(
        "close of {instruments} instruments x 4 timeframes, {storms} storms: p50 {:?}, p90 {:?}, max {:?}; {} signals",
        at(0.5),
        at(0.9),
        at(1.0),
        storm.said.signals.len()
    );
}
