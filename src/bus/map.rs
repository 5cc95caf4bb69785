//! A bus in memory: creating it, attaching to it, its heartbeat, and the handles it gives out.
//!
//! The owner writes and gives out every writing end and every consumer once; an attached process reads
//! only. Creating holds the lock of the file until the last handle is gone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use super::file::{OldBus, beat, check, fill, hold_old, open_checked, pid_in};
use super::layout::{BusError, STATE_CLOSED, Section, SectionKind, Staleness, TEXT_BYTES, text_of, word};
use super::plan::Plan;
use super::record::{Record, Row, words_of};
use super::ring::{Consumer, Observer, Producer, Ring, ring_words};
use super::table::{Table, TableWriter, table_words};
use super::words::Words;
use crate::sys::clock::{Stamp, monotonic_ns};
use crate::sys::file::PendingFile;
use crate::sys::lock::try_lock;
use crate::sys::process;
use crate::sys::region::{Region, RegionError};

/// A heartbeat older than this means that nobody writes the bus; the daemon beats every second.
pub const STALE_AFTER_NS: u64 = 5_000_000_000;

/// Tries to take a path that another daemon keeps changing at the same moment.
const CREATE_ATTEMPTS: u32 = 16;

/// A bus, owned or attached. Clones are the same bus.
#[derive(Clone, Debug)]
pub struct Bus {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    region: Arc<Region>,
    sections: Vec<Section>,
    path: Option<PathBuf>,
    owned: bool,
    claimed: Mutex<BTreeSet<(String, &'static str)>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.owned {
            self.region.words()[word::STATE].store(STATE_CLOSED, Ordering::Release);
            if let Some(file) = self.region.file() {
                // Closing would do, but not while a child process just forked still has the descriptor.
                let _ = file.unlock();
            }
        }
    }
}

impl Bus {
    pub(super) fn heap(plan: &Plan) -> Result<Self, BusError> {
        let region = Region::heap(plan.length_bytes);
        fill(&region, plan);
        Ok(Self::over(region, plan.builder.sections.clone(), None, true))
    }

    pub(super) fn create(plan: &Plan, path: &Path) -> Result<Self, BusError> {
        for _ in 0..CREATE_ATTEMPTS {
            // The old file's lock is held until the new file stands in its place.
            let Some(old) = hold_old(path)? else { continue };
            let pending = PendingFile::create(path, plan.length_bytes)?;
            let file = pending
                .region()
                .file()
                .expect("a pending file is a file mapped for writing");
            if !try_lock(file, path)? {
                continue;
            }
            fill(pending.region(), plan);
            let published = match &old {
                OldBus::None => pending.publish_new(),
                OldBus::Dead(_held) => pending.publish_over(),
            };
            match published {
                Ok(region) => {
                    let sections = plan.builder.sections.clone();
                    return Ok(Self::over(region, sections, Some(path.to_path_buf()), true));
                }
                // Another daemon was quicker: look at what it left.
                Err(RegionError::Io { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => {
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(BusError::Held {
            path: path.to_path_buf(),
            pid: pid_in(path),
        })
    }

    fn over(region: Region, sections: Vec<Section>, path: Option<PathBuf>, owned: bool) -> Self {
        let claimed = Mutex::new(BTreeSet::new());
        Self {
            shared: Arc::new(Shared {
                region: Arc::new(region),
                sections,
                path,
                owned,
                claimed,
            }),
        }
    }

    /// Attaches to the bus of a running daemon, for reading. A bus that nobody writes any more is `Stale`.
    pub fn attach(path: &Path) -> Result<Self, BusError> {
        let bus = Self::attach_any(path)?;
        match bus.staleness() {
            Some(why) => Err(BusError::Stale {
                path: path.to_path_buf(),
                why,
            }),
            None => Ok(bus),
        }
    }

    /// Attaches for reading whether or not anybody still writes: to look at what a dead daemon left.
    pub fn attach_any(path: &Path) -> Result<Self, BusError> {
        let region = open_checked(path)?;
        let sections = check(&region, path)?;
        Ok(Self::over(region, sections, Some(path.to_path_buf()), false))
    }

    /// Why nobody writes this bus any more; none while its daemon lives.
    pub fn staleness(&self) -> Option<Staleness> {
        let pid = self.pid();
        let boot = process::boot_id();
        if self.word(word::STATE) == STATE_CLOSED {
            return Some(Staleness::Closed);
        }
        if [self.word(word::BOOT_ID), self.word(word::BOOT_ID + 1)] != boot {
            return Some(Staleness::OtherBoot);
        }
        // A pid means nothing outside its namespace: there only the heartbeat can tell.
        let comparable = self.word(word::PID_NAMESPACE) == process::pid_namespace();
        if comparable && !process::is_alive(pid, self.word(word::PROCESS_START)) {
            return Some(Staleness::DeadProcess { pid });
        }
        let age_ns = self.heartbeat_age_ns();
        (age_ns > STALE_AFTER_NS).then_some(Staleness::OldHeartbeat { pid, age_ns })
    }

    /// Says that the daemon lives; housekeep calls it every second. Also pairs the stamp clock with
    /// CLOCK_MONOTONIC, so that a reader can tell how far the two have drifted apart.
    pub fn beat(&self) {
        if self.shared.owned {
            beat(&self.shared.region, &self.stamp());
        }
    }

    /// Ns since the last heartbeat.
    pub fn heartbeat_age_ns(&self) -> u64 {
        monotonic_ns().saturating_sub(self.word(word::HEARTBEAT_NS))
    }

    /// The clock of every stamp on this bus, in the calibration of its owner.
    pub fn stamp(&self) -> Stamp {
        let words = [0, 1, 2, 3].map(|index| self.word(word::CLOCK + index));
        Stamp::from_words(words).unwrap_or_else(Stamp::monotonic)
    }

    /// Process that owns it.
    pub fn pid(&self) -> u32 {
        self.word(word::PID) as u32
    }

    /// When it was created, in ns since 1970.
    pub fn started_wall_ns(&self) -> u64 {
        self.word(word::START_WALL_NS)
    }

    /// Name of the daemon.
    pub fn instance(&self) -> String {
        self.text(word::INSTANCE)
    }

    /// Identity of the daemon's program.
    pub fn build_id(&self) -> String {
        self.text(word::BUILD_ID)
    }

    /// Identity of the daemon's settings.
    pub fn config_hash(&self) -> String {
        self.text(word::CONFIG_HASH)
    }

    /// Where it is; none on the heap.
    pub fn path(&self) -> Option<&Path> {
        self.shared.path.as_deref()
    }

    /// Everything in it, in the order of the file.
    pub fn sections(&self) -> &[Section] {
        &self.shared.sections
    }

    /// Bytes it takes.
    pub fn length_bytes(&self) -> usize {
        self.shared.region.len_bytes()
    }

    /// The writing end of a ring; owner only, once.
    pub fn producer<T: Record>(&self, name: &str) -> Result<Producer<T>, BusError> {
        let ring = self.ring_of::<T>(name)?;
        self.claim(name, "producer")?;
        Ok(ring.producer())
    }

    /// The reliable reading end of a ring; owner only, once.
    pub fn consumer<T: Record>(&self, name: &str) -> Result<Consumer<T>, BusError> {
        let ring = self.ring_of::<T>(name)?;
        self.claim(name, "consumer")?;
        Ok(ring.consumer())
    }

    /// A lossy reading end of a ring, which starts after the newest record; any number, in any process.
    pub fn observer<T: Record>(&self, name: &str) -> Result<Observer<T>, BusError> {
        Ok(self.ring_of::<T>(name)?.observer())
    }

    /// The reading side of a table; any number, in any process.
    pub fn table<T: Row>(&self, name: &str) -> Result<Table<T>, BusError> {
        let section = self.typed::<T>(name, SectionKind::Table)?;
        let words = self.words_of_section(section);
        if words.count() != table_words::<T>(section.capacity) {
            return Err(self.corrupt(name));
        }
        Ok(Table::new(words, section.capacity))
    }

    /// The writing side of a table; owner only, once.
    pub fn table_writer<T: Row>(&self, name: &str) -> Result<TableWriter<T>, BusError> {
        let table = self.table::<T>(name)?;
        self.claim(name, "writer")?;
        Ok(table.writer())
    }

    /// The words of a section of the kind, for whoever knows what they mean.
    pub(crate) fn words(&self, name: &str, kind: SectionKind) -> Result<Words, BusError> {
        Ok(self.words_of_section(self.section(name, kind)?))
    }

    /// Gives out one end of something, once, and only to the owner.
    pub(crate) fn claim(&self, name: &str, end: &'static str) -> Result<(), BusError> {
        if !self.shared.owned {
            return Err(BusError::ReadOnly {
                name: name.to_string(),
            });
        }
        let mut claimed = self
            .shared
            .claimed
            .lock()
            .expect("nothing panics while it holds this lock");
        if claimed.insert((name.to_string(), end)) {
            Ok(())
        } else {
            Err(BusError::Claimed {
                name: name.to_string(),
                end,
            })
        }
    }

    pub(crate) fn corrupt(&self, name: &str) -> BusError {
        let path = self.shared.path.clone().unwrap_or_default();
        BusError::Corrupt {
            path,
            what: format!("section {name} has the wrong size"),
        }
    }

    fn ring_of<T: Record>(&self, name: &str) -> Result<Ring<T>, BusError> {
        let section = self.typed::<T>(name, SectionKind::Ring)?;
        let words = self.words_of_section(section);
        if !section.capacity.is_power_of_two() || words.count() != ring_words::<T>(section.capacity) {
            return Err(self.corrupt(name));
        }
        Ok(Ring::new(words, section.capacity))
    }

    fn typed<T: Row>(&self, name: &str, kind: SectionKind) -> Result<&Section, BusError> {
        let section = self.section(name, kind)?;
        let same = section.schema == T::SCHEMA && section.record_name == T::NAME;
        if same && section.record_words == words_of::<T>() {
            return Ok(section);
        }
        Err(BusError::WrongSchema {
            name: name.to_string(),
            found: section.record_name.clone(),
            found_schema: section.schema,
            wanted: T::NAME,
            wanted_schema: T::SCHEMA,
        })
    }

    fn section(&self, name: &str, wanted: SectionKind) -> Result<&Section, BusError> {
        let sections = &self.shared.sections;
        let Some(section) = sections.iter().find(|section| section.name == name) else {
            let known: Vec<&str> = sections.iter().map(|section| section.name.as_str()).collect();
            return Err(BusError::NoSection {
                name: name.to_string(),
                known: known.join(", "),
            });
        };
        if section.kind == wanted {
            Ok(section)
        } else {
            Err(BusError::WrongKind {
                name: name.to_string(),
                found: section.kind,
                wanted,
            })
        }
    }

    fn words_of_section(&self, section: &Section) -> Words {
        let (first, count) = (section.offset_bytes / 8, section.length_bytes / 8);
        let base = NonNull::from(&self.shared.region.words()[first..first + count]).cast();
        let owner: Arc<Shared> = Arc::clone(&self.shared);
        // SAFETY: the range was cut from the region's words with a bounds check, the region lives as long
        // as `owner`, and ends that store are given out by `claim`, which refuses an attached bus.
        unsafe { Words::new(base, count, owner) }
    }

    fn word(&self, index: usize) -> u64 {
        self.shared.region.load(index, Ordering::Acquire)
    }

    fn text(&self, first_word: usize) -> String {
        let mut field = [0; TEXT_BYTES];
        self.shared.region.read(first_word * 8, &mut field);
        text_of(&field).unwrap_or_default()
    }
}
