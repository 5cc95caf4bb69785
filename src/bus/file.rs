//! The bytes of a bus file, written once at creation and checked at every attach.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::layout::{
    BusError, ENTRY_BYTES, HEADER_BYTES, MAGIC, SECTIONS_MAX, STATE_RUNNING, Section, SectionKind,
    TEXT_BYTES, VERSION, checksum, put_text, word,
};
use super::plan::{COUNTER_WORDS, COUNTERS, Plan};
use crate::sys::clock::{Stamp, monotonic_ns, wall_ns};
use crate::sys::lock::try_lock;
use crate::sys::process;
use crate::sys::region::{Region, RegionError};

/// What stands at the path of a bus to be created.
pub(super) enum OldBus {
    /// Nothing.
    None,
    /// A bus that nobody holds; we hold its lock as long as this lives.
    Dead(#[allow(dead_code, reason = "kept for its lock")] File),
}

/// Takes the lock of the bus at `path`, if there is one. `Held` when its daemon lives, `Foreign` when the
/// file is something else, which is then left alone; none when the file changed meanwhile: look again.
pub(super) fn hold_old(path: &Path) -> Result<Option<OldBus>, BusError> {
    let mut file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(OldBus::None)),
        Err(source) => return Err(RegionError::io(path, "open", source).into()),
    };
    if !begins_like_a_bus(&mut file) {
        return Err(BusError::Foreign {
            path: path.to_path_buf(),
        });
    }
    if !try_lock(&file, path)? {
        return Err(BusError::Held {
            path: path.to_path_buf(),
            pid: pid_in(path),
        });
    }
    let held = file
        .metadata()
        .map_err(|source| RegionError::io(path, "look at", source))?;
    let same =
        std::fs::metadata(path).is_ok_and(|named| (named.dev(), named.ino()) == (held.dev(), held.ino()));
    Ok(same.then_some(OldBus::Dead(file)))
}

/// Removes the bus at `path` when its daemon is dead; false when it lives, or when there is none. The lock
/// says which: the kernel drops it with its holder, while a pid may have been given away again.
pub fn remove_dead(path: &Path) -> Result<bool, BusError> {
    match hold_old(path) {
        Ok(Some(OldBus::Dead(_held))) => {
            std::fs::remove_file(path).map_err(|source| RegionError::io(path, "remove", source))?;
            Ok(true)
        }
        Ok(Some(OldBus::None) | None) | Err(BusError::Held { .. }) => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// The pid in the header of the bus at `path`; 0 when it cannot be read.
pub(super) fn pid_in(path: &Path) -> u32 {
    let mut bytes = [0; (word::PID + 1) * 8];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut bytes));
    match (read, bytes.last_chunk::<8>()) {
        (Ok(()), Some(pid)) => u64::from_le_bytes(*pid) as u32,
        _ => 0,
    }
}

fn begins_like_a_bus(file: &mut File) -> bool {
    let mut magic = [0; 8];
    file.read_exact(&mut magic).is_ok() && u64::from_le_bytes(magic) == MAGIC
}

/// Writes header, directory, the heads of the sections, and the first heartbeat.
pub(super) fn fill(region: &Region, plan: &Plan) {
    let builder = &plan.builder;
    let mut head = vec![0; HEADER_BYTES + builder.sections.len() * ENTRY_BYTES];
    let pid = std::process::id();
    let boot_id = process::boot_id();
    let clock = builder.stamp.to_words();
    let words = [
        (word::MAGIC, MAGIC),
        (word::VERSION, VERSION),
        (word::LENGTH, plan.length_bytes as u64),
        (word::SECTION_COUNT, builder.sections.len() as u64),
        (word::PID, u64::from(pid)),
        (word::PID_NAMESPACE, process::pid_namespace()),
        (word::PROCESS_START, process::start_ticks(pid).unwrap_or(0)),
        (word::BOOT_ID, boot_id[0]),
        (word::BOOT_ID + 1, boot_id[1]),
        (word::START_WALL_NS, wall_ns()),
        (word::START_NS, monotonic_ns()),
        (word::CLOCK, clock[0]),
        (word::CLOCK + 1, clock[1]),
        (word::CLOCK + 2, clock[2]),
        (word::CLOCK + 3, clock[3]),
        (word::STATE, STATE_RUNNING),
    ];
    for (index, value) in words {
        head[index * 8..][..8].copy_from_slice(&value.to_le_bytes());
    }
    let texts = [
        (word::INSTANCE, &builder.instance),
        (word::BUILD_ID, &builder.build_id),
        (word::CONFIG_HASH, &builder.config_hash),
    ];
    for (first, text) in texts {
        put_text(&mut head[first * 8..][..TEXT_BYTES], text);
    }
    let (header, directory) = head.split_at_mut(HEADER_BYTES);
    for (entry, section) in directory
        .as_chunks_mut::<ENTRY_BYTES>()
        .0
        .iter_mut()
        .zip(&builder.sections)
    {
        *entry = section.encode();
    }
    let crc = checksum(header, directory);
    header[word::CRC * 8..][..8].copy_from_slice(&crc.to_le_bytes());
    fill_counters(region, plan);
    region.write(0, &head);
    beat(region, &builder.stamp);
}

/// The names of the counters, each beside its value.
fn fill_counters(region: &Region, plan: &Plan) {
    let Some(section) = plan
        .builder
        .sections
        .iter()
        .find(|section| section.name == COUNTERS)
    else {
        return;
    };
    if section.kind != SectionKind::Counters {
        return;
    }
    for (index, (name, kind)) in plan.builder.counters.iter().enumerate() {
        let mut row = [0; COUNTER_WORDS * 8];
        row[8..16].copy_from_slice(&(*kind as u64).to_le_bytes());
        put_text(&mut row[16..], name);
        region.write(section.offset_bytes + index * row.len(), &row);
    }
}

/// One sign of life.
pub(super) fn beat(region: &Region, stamp: &Stamp) {
    let words = region.words();
    let count = words[word::HEARTBEAT_COUNT].load(Ordering::Relaxed);
    words[word::HEARTBEAT_STAMP_NS].store(stamp.now_ns(), Ordering::Relaxed);
    words[word::HEARTBEAT_NS].store(monotonic_ns(), Ordering::Release);
    words[word::HEARTBEAT_COUNT].store(count.wrapping_add(1), Ordering::Release);
}

/// Maps the bus at `path` for reading, after looking whether it is one and all there.
pub(super) fn open_checked(path: &Path) -> Result<Region, BusError> {
    let io = |action| move |source| BusError::Region(RegionError::io(path, action, source));
    let mut file = File::open(path).map_err(io("open"))?;
    let found_bytes = file.metadata().map_err(io("look at"))?.len();
    if !begins_like_a_bus(&mut file) {
        return Err(BusError::Foreign {
            path: path.to_path_buf(),
        });
    }
    if found_bytes < HEADER_BYTES as u64 {
        return Err(BusError::Truncated {
            path: path.to_path_buf(),
            found_bytes,
            wanted_bytes: HEADER_BYTES as u64,
        });
    }
    Ok(Region::open_read(path)?)
}

/// Checks header and directory of a mapped bus, and returns its sections.
pub(super) fn check(region: &Region, path: &Path) -> Result<Vec<Section>, BusError> {
    let corrupt = |what: String| BusError::Corrupt {
        path: path.to_path_buf(),
        what,
    };
    let number = |index: usize| region.load(index, Ordering::Acquire);
    if region.len_bytes() < HEADER_BYTES || number(word::MAGIC) != MAGIC {
        return Err(BusError::Foreign {
            path: path.to_path_buf(),
        });
    }
    if number(word::VERSION) != VERSION {
        return Err(BusError::Version {
            path: path.to_path_buf(),
            found: number(word::VERSION),
        });
    }
    let mut header = [0; HEADER_BYTES];
    region.read(0, &mut header);
    let count = number(word::SECTION_COUNT);
    if count > SECTIONS_MAX as u64 {
        return Err(corrupt(format!("it claims {count} sections")));
    }
    let directory_bytes = count as usize * ENTRY_BYTES;
    let found_bytes = region.len_bytes() as u64;
    let least_bytes = (HEADER_BYTES + directory_bytes) as u64;
    let wanted_bytes = number(word::LENGTH).max(least_bytes);
    if found_bytes < least_bytes {
        return Err(BusError::Truncated {
            path: path.to_path_buf(),
            found_bytes,
            wanted_bytes,
        });
    }
    let mut directory = vec![0; directory_bytes];
    region.read(HEADER_BYTES, &mut directory);
    if checksum(&header, &directory) != number(word::CRC) {
        return Err(corrupt("the header does not match its checksum".to_string()));
    }
    // The length can be believed only now.
    if found_bytes < wanted_bytes {
        return Err(BusError::Truncated {
            path: path.to_path_buf(),
            found_bytes,
            wanted_bytes,
        });
    }
    let entries = directory.as_chunks::<ENTRY_BYTES>().0;
    entries
        .iter()
        .map(|entry| Section::decode(entry, region.len_bytes()).map_err(corrupt))
        .collect()
}
