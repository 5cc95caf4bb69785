//! The instruments of a run as they change: one writer, a reading end a stage.
//!
//! A change is a whole new version; the readers take it over at the start of a poll. Ids never change
//! and are never used again: what was followed once keeps its id until the process ends, so a record on
//! a ring means the same instrument whatever version its reader has. Reading costs one load; the lock is
//! taken once a change.

use crate::model::{InstrumentId, Instruments};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Versions that stay in memory although no reader has them: a stage never frees one in its poll.
const KEPT: usize = 16;

/// One state of the universe.
#[derive(Clone, Debug, Default)]
pub struct Version {
    /// Every instrument that the run has ever followed; `live` only where entries are allowed.
    pub instruments: Instruments,
    /// Those that are followed now, in the order in which their history is read.
    pub followed: Vec<InstrumentId>,
}

/// Is told of every version and its number before a reader can see it.
pub type Told = Box<dyn Fn(u64, &Version) + Send + Sync>;

struct Shared {
    number: AtomicU64,
    /// The newest version last.
    versions: Mutex<Vec<Arc<Version>>>,
    told: OnceLock<Told>,
}

/// The writing end.
#[derive(Clone)]
pub struct Table(Arc<Shared>);

impl Table {
    /// A table that begins with `instruments`, of which `followed` are followed.
    pub fn new(instruments: Instruments, followed: Vec<InstrumentId>) -> Self {
        let first = Arc::new(Version {
            instruments,
            followed,
        });
        Table(Arc::new(Shared {
            number: AtomicU64::new(1),
            versions: Mutex::new(vec![first]),
            told: OnceLock::new(),
        }))
    }

    /// A reading end.
    pub fn view(&self) -> InstrumentView {
        let versions = self.0.versions.lock().unwrap_or_else(PoisonError::into_inner);
        InstrumentView {
            shared: Arc::clone(&self.0),
            number: self.0.number.load(Ordering::Acquire),
            version: Arc::clone(versions.last().expect("a table begins with a version")),
        }
    }

    /// Has `told` hear of every version from now on; only the first that is named does.
    pub fn tell(&self, told: Told) {
        let _ = self.0.told.set(told);
    }

    /// Replaces the version; readers see it with their next poll.
    pub fn publish(&self, version: Version) {
        let mut versions = self.0.versions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = self.0.told.get() {
            told(self.0.number.load(Ordering::Relaxed) + 1, &version);
        }
        versions.push(Arc::new(version));
        if versions.len() > KEPT {
            versions.remove(0);
        }
        self.0.number.fetch_add(1, Ordering::Release);
    }
}

/// A reading end: the instruments of the version that it has taken over.
#[derive(Clone)]
pub struct InstrumentView {
    shared: Arc<Shared>,
    number: u64,
    version: Arc<Version>,
}

impl InstrumentView {
    /// Takes a newer version over; whether there was one.
    #[inline]
    pub fn refresh(&mut self) -> bool {
        let number = self.shared.number.load(Ordering::Acquire);
        number != self.number && self.take_over()
    }

    /// As `refresh`, for a journal: the number of the version that was taken over. With `demanded` it is
    /// that version or none.
    #[inline]
    pub fn take(&mut self, demanded: Option<u64>) -> Option<u64> {
        match demanded {
            None => self.refresh().then_some(self.number),
            Some(number) => self.take_number(number),
        }
    }

    #[cold]
    fn take_number(&mut self, number: u64) -> Option<u64> {
        let versions = self
            .shared
            .versions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let behind = self.shared.number.load(Ordering::Acquire).checked_sub(number)?;
        let at = versions.len().checked_sub(1 + usize::try_from(behind).ok()?)?;
        self.version = Arc::clone(versions.get(at)?);
        self.number = number;
        Some(number)
    }

    #[cold]
    fn take_over(&mut self) -> bool {
        // Held for the time of one push at most; should it be held now, the next poll takes it over.
        let Ok(versions) = self.shared.versions.try_lock() else {
            return false;
        };
        let Some(newest) = versions.last() else {
            return false;
        };
        self.version = Arc::clone(newest);
        // As of the lock: a version may have come since the look.
        self.number = self.shared.number.load(Ordering::Acquire);
        true
    }

    /// What is followed, in the order in which histories are read.
    pub fn followed(&self) -> &[InstrumentId] {
        &self.version.followed
    }
}

impl Deref for InstrumentView {
    type Target = Instruments;

    fn deref(&self) -> &Instruments {
        &self.version.instruments
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Decimal, Instrument, Lots, Symbol};

    fn row(symbol: &str) -> Instrument {
        let one = Decimal {
            mantissa: 1,
            scale: 0,
        };
        Instrument {
            symbol: Symbol::parse(symbol).expect("a symbol"),
            tick_size: one,
            lot_size: one,
            contract_value: one,
            min_lots: Lots(1),
            max_limit_lots: Lots(1),
            max_market_lots: Lots(1),
            max_leverage: 1,
            live: true,
            list_ms: 0,
        }
    }

    #[test]
    fn a_reader_sees_a_change_with_its_next_look_and_ids_stay() {
        let mut instruments = Instruments::new();
        let btc = instruments.insert(row("BTC-USDT")).expect("room");
        let table = Table::new(instruments.clone(), vec![btc]);
        let mut view = table.view();
        assert!(!view.refresh());
        let new = instruments.insert(row("NEW-USDT")).expect("room");
        table.publish(Version {
            instruments,
            followed: vec![new],
        });
        assert_eq!(view.id_of(b"NEW-USDT"), None, "not taken over yet");
        assert!(view.refresh() && !view.refresh());
        assert_eq!(
            (view.id_of(b"BTC-USDT"), view.followed()),
            (Some(btc), [new].as_slice())
        );
        assert_eq!(
            (view.take(Some(1)), view.len(), view.take(Some(3))),
            (Some(1), 1, None),
            "a journal's version, and none that is not there yet"
        );
        assert_eq!((view.take(None), view.take(None)), (Some(2), None));
        for _ in 0..40 {
            table.publish(Version::default());
        }
        assert_eq!(view.len(), 2, "what a reader has stays");
        assert!(view.refresh() && view.is_empty());
    }
}
