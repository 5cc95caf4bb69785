//! Promise: 490 instruments on six timeframes (1m, 3m, 5m and 15m scanned, 1H and 4H for context, 256
//! candles of each kept) fit into 256 MiB, all of it reserved at start: playing candles allocates nothing.
//!
//! The allocator counts the bytes that are asked for. The board asks for every instrument that may ever be
//! listed, as zeros that cost nothing until they are used; what it costs with 490 is read from the kernel.
//! A daemon's rings are a mapped file, so their bytes are told apart.

mod judges;

use judges::candles::{World, market};
use judges::{Court, Judges, Said, settings, stream};
use smart_scanner::app::{graph, params};
use smart_scanner::indicators::Board;
use smart_scanner::model::{FeatureRow, INSTRUMENTS_MAX, InstrumentId};
use smart_scanner::settings::Settings;
use smart_scanner::sys::clock::Stamp;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, Ordering};

static HELD_BYTES: AtomicI64 = AtomicI64::new(0);

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; beside it only a number is added to.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD_BYTES.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller's promises are the ones that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        HELD_BYTES.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD_BYTES.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const INSTRUMENTS: usize = 490;

/// Bytes that the kernel has backed for this process without a file behind them.
fn anonymous_bytes() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status
        .lines()
        .find(|line| line.starts_with("RssAnon:"))
        .expect("a kernel of this decade");
    let kib: i64 = line
        .split_whitespace()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .expect("a number");
    kib * 1024
}

fn held_by<T>(make: impl FnOnce() -> T) -> (T, i64) {
    let before = HELD_BYTES.load(Ordering::Relaxed);
    let made = make();
    (made, HELD_BYTES.load(Ordering::Relaxed) - before)
}

/// Enough candles for every page of a window (64 candles each) and both checkpoints to be written.
const CANDLES: usize = 200;
const WORLD: World = World {
    price: 10.0,
    sigma: 0.001,
    drift: 0.4,
};

/// Resident bytes of a board of which 490 instruments are in use on every timeframe.
fn resident_board(settings: &Settings) -> i64 {
    let plans = graph::series_plans(settings);
    assert_eq!(plans.len(), 6, "1m, 3m, 5m, 15m, 1H and 4H");
    let candles = market(5, CANDLES, WORLD);
    let before = anonymous_bytes();
    let mut board = Board::new(params::indicators(settings), INSTRUMENTS_MAX, &plans);
    let mut row = FeatureRow::default();
    for plan in &plans {
        for instrument in 0..INSTRUMENTS {
            let id = InstrumentId(instrument as u16);
            let series = board.series(id, plan.timeframe).expect("planned");
            for candle in &candles {
                board.commit(series, candle, 0, &mut row).expect("a good candle");
            }
        }
    }
    anonymous_bytes() - before
}

#[test]
fn the_whole_market_fits_into_256_mib_and_grows_no_more() {
    let symbols: Vec<String> = (0..INSTRUMENTS)
        .map(|number| format!("C{number:03}-USDT"))
        .collect();
    let symbols: Vec<&str> = symbols.iter().map(String::as_str).collect();
    let settings = settings(&["USE_WS_ORDERFLOW=1"]);
    let resident = resident_board(&settings);

    let plans = graph::series_plans(&settings);
    let (_, board) = held_by(|| Board::new(params::indicators(&settings), INSTRUMENTS_MAX, &plans));
    let (_, rings) = held_by(|| graph::plan_bus("memory", Stamp::process()).heap().expect("a bus"));
    let judges = Judges::new(&settings, &symbols);
    let ticks = stream(&vec![market(3, 20, WORLD); INSTRUMENTS]);
    let (mut court, stages) = held_by(|| Court::open(&judges, ticks.first()));
    let (_, more) = held_by(|| ticks.iter().for_each(|tick| court.take(tick)));
    court.drain(&mut Said::default());

    let rest = stages - board - rings;
    let mib = |bytes: i64| bytes as f64 / 1_048_576.0;
    println!(
        "{INSTRUMENTS} instruments x 6 timeframes: anonymous {:.1} MiB resident for indicators and candles and {:.1} MiB \
         for scores, labels and order flow; mapped {:.1} MiB of rings; {more} bytes more after {} candles",
        mib(resident),
        mib(rest),
        mib(rings),
        ticks.len()
    );
    assert!(
        resident > 490 * 6 * 16_384,
        "the windows alone are more than {resident} bytes"
    );
    assert!(mib(resident + rest + rings) <= 256.0);
    assert_eq!(more, 0, "candles are judged in memory that was there");
}
