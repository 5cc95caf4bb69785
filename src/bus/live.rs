//! Which buses there are: what a tool does when it is told no path.

use std::path::{Path, PathBuf};

use super::layout::{BusError, Staleness};
use super::map::Bus;

/// A bus found in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusFound {
    pub path: PathBuf,
    pub instance: String,
    pub pid: u32,
    pub heartbeat_age_ns: u64,
    /// None while its daemon lives.
    pub stale: Option<Staleness>,
}

/// Extension of a bus file.
pub const BUS_EXTENSION: &str = "bus";

/// Every readable `*.bus` in `directory`, by path; live ones and stale ones. A missing directory holds
/// none. Files that are no bus of this version are left out.
pub fn find_buses(directory: &Path) -> Result<Vec<BusFound>, BusError> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        Err(source) => {
            let error = crate::sys::region::RegionError::io(directory, "list", source);
            return Err(error.into());
        }
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == BUS_EXTENSION)
    });
    paths.sort();
    let found = paths.into_iter().filter_map(|path| {
        let bus = Bus::attach_any(&path).ok()?;
        Some(BusFound {
            instance: bus.instance(),
            pid: bus.pid(),
            heartbeat_age_ns: bus.heartbeat_age_ns(),
            stale: bus.staleness(),
            path,
        })
    });
    Ok(found.collect())
}
