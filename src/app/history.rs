//! The daemon's own candle history: every closed 1m candle, kept in one file below STATE_DIR.
//!
//! A thread of its own observes the ring between `decode` and `indicate` and never slows it: what it
//! misses is counted and is a hole in the history. `backtest` reads the file, also while it is written.

use crate::bus::{Bus, BusError, Observed, Observer};
use crate::model::message::{Tick, tick_flag};
use crate::model::{Candle, Instruments, Symbol, Timeframe};
use crate::research::candles::{CandleBook, Series};
use crate::store::{CandleError, CandleRing};
use crate::topology::LinkId;
use crate::universe::live::InstrumentView;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Rows of a series: two days of minutes.
const ROWS: usize = 2_880;
/// The number of series is a multiple of this, so that a listing more or less fits the old file.
const SERIES_STEP: usize = 64;
/// Pause when there is nothing to take; the ring holds far more than comes in it.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Rows after which their pages are given back: each may have touched a page of its own, so 2 MiB.
const RELEASE_ROWS: u32 = 512;
/// Label of a series: the symbol, then this.
const SUFFIX: &str = " 1m";

/// Where the history of a daemon stands.
pub fn path_of(state_dir: &Path) -> PathBuf {
    state_dir.join("candles.ring")
}

/// Why no history is kept.
#[derive(Debug, thiserror::Error)]
pub enum HistoryFault {
    #[error(transparent)]
    Candles(#[from] CandleError),
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error("candle history: no thread can be had: {0}")]
    Thread(std::io::Error),
}

/// What a history has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryCounts {
    pub candles: u64,
    /// Candles not later than the newest of their series: known already.
    pub old: u64,
    /// Records that the observer lost.
    pub missed: u64,
}

/// The writer of the file.
pub struct HistoryFile {
    ring: CandleRing<Candle>,
    /// By instrument; `None` for one that came when every series of the file was taken.
    series: Vec<Option<usize>>,
    /// Open time of the newest row of each series, so that nothing is read to know it.
    newest_ms: Vec<i64>,
    /// Rows written since the pages were last given back.
    unreleased: u32,
    pub counts: HistoryCounts,
}

impl HistoryFile {
    /// Opens the file, or makes a new one in the place of one that does not fit.
    pub fn open(path: &Path, instruments: &Instruments) -> Result<Self, CandleError> {
        let count = instruments.len().div_ceil(SERIES_STEP).max(1) * SERIES_STEP;
        let mut ring = match CandleRing::open(path, count, ROWS) {
            Err(
                CandleError::OtherShape { .. } | CandleError::Corrupt { .. } | CandleError::Foreign { .. },
            ) => {
                let aside = path.with_extension("ring.old");
                std::fs::rename(path, &aside)
                    .map_err(|source| crate::sys::region::RegionError::io(path, "move away", source))?;
                CandleRing::open(path, count, ROWS)?
            }
            opened => opened?,
        };
        let labels: Vec<String> = instruments
            .iter()
            .map(|(_, instrument)| format!("{}{SUFFIX}", instrument.symbol))
            .collect();
        let gone: Vec<String> = ring
            .labels()
            .map(|(label, _)| label.to_owned())
            .filter(|label| !labels.contains(label))
            .collect();
        let free = count - ring.labels().count();
        let new = labels
            .iter()
            .filter(|label| !ring.labels().any(|(known, _)| known == *label))
            .count();
        // Those no longer followed make room, as many as are needed.
        for label in gone.iter().take(new.saturating_sub(free)) {
            ring.forget(label);
        }
        let series: Result<Vec<Option<usize>>, CandleError> =
            labels.iter().map(|label| ring.claim(label).map(Some)).collect();
        let newest = |index| {
            ring.newest(index)
                .map_or(i64::MIN, |candle: Candle| candle.open_ms)
        };
        let newest_ms = (0..count).map(newest).collect();
        ring.release();
        Ok(HistoryFile {
            series: series?,
            ring,
            newest_ms,
            unreleased: 0,
            counts: HistoryCounts::default(),
        })
    }

    /// Gives instruments that were listed since a series each, as long as the file has one to give.
    pub fn follow(&mut self, instruments: &Instruments) {
        let ring = &mut self.ring;
        let new = instruments.iter().skip(self.series.len());
        let claimed = new.map(|(_, row)| ring.claim(&format!("{}{SUFFIX}", row.symbol)).ok());
        self.series.extend(claimed);
    }

    /// Keeps a closed 1m candle; everything else is ignored.
    pub fn take(&mut self, tick: &Tick) {
        let is_minute = tick.timeframe == Timeframe::M1 as u8;
        let Some(candle) = tick
            .candle()
            .filter(|_| is_minute && tick.has_flag(tick_flag::CONFIRMED))
        else {
            return;
        };
        let Some(Some(series)) = self.series.get(tick.instrument().index()) else {
            return;
        };
        if tick.has_flag(tick_flag::SYNTHETIC) || !candle.is_valid() {
            return;
        }
        if self.newest_ms[*series] >= candle.open_ms {
            self.counts.old += 1;
            return;
        }
        self.ring.push(*series, &candle);
        self.newest_ms[*series] = candle.open_ms;
        self.counts.candles += 1;
        self.unreleased += 1;
        if self.unreleased >= RELEASE_ROWS {
            self.unreleased = 0;
            self.ring.release();
        }
    }
}

/// The running thread.
pub struct History {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<HistoryCounts>,
}

impl History {
    /// Starts to write what `decode` tells `indicate`.
    pub fn start(bus: &Bus, path: &Path, mut instruments: InstrumentView) -> Result<Self, HistoryFault> {
        let mut ticks: Observer<Tick> = bus.observer(LinkId::DecodeIndicate.link().name)?;
        let mut file = HistoryFile::open(path, &instruments)?;
        let stop = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || {
                loop {
                    if instruments.refresh() {
                        file.follow(&instruments);
                    }
                    match ticks.next() {
                        Observed::Record(tick) => file.take(&tick),
                        Observed::Missed(count) => file.counts.missed += count,
                        Observed::Empty if is_over.load(Ordering::Acquire) => return file.counts,
                        Observed::Empty => std::thread::sleep(LOOK_EVERY),
                    }
                }
            })
            .map_err(HistoryFault::Thread)?;
        Ok(History { stop, thread })
    }

    /// Takes what is there still, and ends.
    pub fn stop(self) -> HistoryCounts {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap_or_default()
    }
}

/// The history of a daemon, running or not; empty when it has none.
pub fn read(state_dir: &Path) -> Result<CandleBook, CandleError> {
    let path = path_of(state_dir);
    let mut book = CandleBook::default();
    if !path.is_file() {
        return Ok(book);
    }
    for (label, rows) in CandleRing::<Candle>::read_file(&path)? {
        if let Some(symbol) = label.strip_suffix(SUFFIX).and_then(Symbol::parse) {
            book.insert(symbol, Series::new(Timeframe::M1, rows));
        }
    }
    Ok(book)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{Generated, GeneratedOptions};
    use crate::model::InstrumentId;

    fn instruments(count: usize) -> Instruments {
        let options = GeneratedOptions {
            seed: 1,
            instruments: count,
            start: crate::model::Wall::from_ms(1_767_225_600_000),
            step_ms: 1_000,
        };
        Generated::new(options).instruments().clone()
    }

    fn tick(instrument: u16, minute: i64, flags: u16) -> Tick {
        let candle = Candle::flat(minute * 60_000, 100.0 + minute as f64);
        Tick::of_candle(InstrumentId(instrument), Timeframe::M1, &candle, flags)
    }

    #[test]
    fn closed_minutes_are_kept_once_and_read_beside_the_writer() {
        let folder = tempfile::tempdir().expect("a folder");
        let instruments = instruments(8);
        let mut file = HistoryFile::open(&path_of(folder.path()), &instruments).expect("a file");
        for (minute, flags) in [
            (1, tick_flag::CONFIRMED),
            (2, 0),
            (2, tick_flag::CONFIRMED),
            (1, tick_flag::CONFIRMED),
            (4, tick_flag::CONFIRMED),
        ] {
            file.take(&tick(1, minute, flags));
        }
        assert_eq!((file.counts.candles, file.counts.old), (3, 1));
        let symbol = instruments.get(InstrumentId(1)).expect("listed").symbol;
        let opens = |book: &CandleBook| -> Vec<i64> {
            let series = book.get(&symbol, Timeframe::M1).expect("kept");
            series.candles().iter().map(|row| row.open_ms / 60_000).collect()
        };
        assert_eq!(opens(&read(folder.path()).expect("read")), [1, 2, 4]);
        drop(file);
        // Another run follows fewer instruments, then goes on.
        let mut file = HistoryFile::open(&path_of(folder.path()), &instruments).expect("the same file");
        file.take(&tick(1, 5, tick_flag::CONFIRMED));
        assert_eq!(opens(&read(folder.path()).expect("read")), [1, 2, 4, 5]);
    }

    #[test]
    fn what_is_listed_later_gets_a_series_as_long_as_there_is_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let (before, after) = (instruments(8), instruments(70));
        let mut file = HistoryFile::open(&path_of(folder.path()), &before).expect("a file");
        file.take(&tick(9, 1, tick_flag::CONFIRMED));
        assert_eq!(file.counts.candles, 0, "nobody knows it yet");
        file.follow(&after);
        for id in [9, 63, 64] {
            file.take(&tick(id, 1, tick_flag::CONFIRMED));
        }
        assert_eq!(file.counts.candles, 2, "64 series are all that the file has");
        let symbol = after.get(InstrumentId(9)).expect("listed").symbol;
        let book = read(folder.path()).expect("read");
        assert_eq!(
            book.get(&symbol, Timeframe::M1).map(|kept| kept.candles().len()),
            Some(1)
        );
    }

    #[test]
    fn a_file_that_does_not_fit_is_moved_aside() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = path_of(folder.path());
        std::fs::write(&path, vec![7u8; 10_000]).expect("written");
        assert!(read(folder.path()).is_err(), "it is no history");
        HistoryFile::open(&path, &instruments(8)).expect("a new one");
        assert!(path.with_extension("ring.old").is_file());
        assert_eq!(
            read(folder.path())
                .expect("read")
                .series()
                .map(|(_, one)| one.candles().len())
                .sum::<usize>(),
            0
        );
    }
}
