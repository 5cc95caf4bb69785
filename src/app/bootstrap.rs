//! What a run needs before its first tick: the universe, the bus, the run number, credentials.

use super::exit::Failure;
use super::held::Held;
use super::{daemon, follow, graph, halt, ws_tickers};
use crate::bus::{self, Bus, BusError};
use crate::model::{InstrumentId, Instruments, Symbol};
use crate::settings::{Scan, Settings, Venue};
use crate::sys;
use crate::sys::clock::Stamp;
use crate::sys::lock::{InstanceLock, LockError};
use crate::universe::live::Version;
use crate::universe::{self, Origin, Patience, Patterns, Rules, Selection, Source, Universe};
use crate::venue::blofin::bans::Bans;
use crate::venue::blofin::sign;
use crate::venue::blofin::target::Target;
use std::path::{Path, PathBuf};

/// Instruments of the run and the order in which their history is read.
pub struct Followed {
    pub instruments: Instruments,
    pub ranking: Vec<InstrumentId>,
    /// Contract terms come from the cache: nothing may be entered on them.
    pub is_stale: bool,
    /// Symbols of everything the venue lists, followed or not.
    pub listed: Vec<String>,
    /// What the rules chose, for comparing with what they choose later.
    pub selection: Selection,
    /// What the account held before the universe was opened.
    pub held: Held,
}

/// Where the venue's lists are read.
pub fn source(venue: &Venue) -> Source<'_> {
    Source {
        base_url: &venue.blofin_base_url,
        ca_file: venue.blofin_ca_file.as_deref(),
    }
}

/// Why there is no universe to begin with.
#[derive(Debug)]
pub enum Unopened {
    /// The venue serves nobody from this address, and there is no cache: it will do later.
    InBan(Failure),
    /// Waiting changes nothing.
    Faulty(Failure),
}

impl From<Failure> for Unopened {
    fn from(failure: Failure) -> Unopened {
        Unopened::Faulty(failure)
    }
}

impl From<Unopened> for Failure {
    fn from(unopened: Unopened) -> Failure {
        match unopened {
            Unopened::InBan(failure) | Unopened::Faulty(failure) => failure,
        }
    }
}

/// Reads the venue's lists and chooses by the rules of `[scan]`, for a run that holds nothing.
pub fn universe(settings: &Settings, bans: &dyn Bans) -> Result<Followed, Failure> {
    Ok(universe_with(settings, Held::default(), bans)?)
}

/// As `universe`; what is held is followed whatever the rules say. In a ban it comes out of the cache.
pub fn universe_with(settings: &Settings, held: Held, bans: &dyn Bans) -> Result<Followed, Unopened> {
    let is_held = |symbol: &Symbol| held.has(symbol);
    let scan = &settings.scan;
    let rules = rules(scan)?;
    let now_ms = sys::clock::wall_ms();
    let cache = &scan.universe_cache_path;
    let source = source(&settings.venue);
    let patience = Patience::default();
    let mut opened =
        universe::open(&source, &patience, bans, &rules, cache, now_ms, is_held).map_err(|fault| {
            let is_by_ban = fault.is_by_ban();
            let failure = Failure::venue(fault);
            match is_by_ban {
                true => Unopened::InBan(failure),
                false => Unopened::Faulty(failure),
            }
        })?;
    if scan.universe_from_ws && matches!(opened.origin, Origin::Venue) {
        let listing = ws_tickers::prefer(&settings.venue, scan, opened.listing.clone());
        let selection = universe::select(&listing, &rules, is_held);
        if !selection.ranking.is_empty() {
            (opened.listing, opened.selection) = (listing, selection);
        }
    }
    Ok(followed(settings, held, opened, &rules))
}

/// What follows from `opened`, and what the operator should know of it.
fn followed(settings: &Settings, held: Held, opened: Universe, rules: &Rules) -> Followed {
    let scan = &settings.scan;
    eprintln!("{}", opened.origin_line(sys::clock::wall_ms()));
    if let Some(fault) = &opened.unsaved {
        eprintln!("warning: {fault}");
    }
    for line in held.warnings.iter().chain(&unfollowed(&held, &opened.selection)) {
        eprintln!("warning: {line}");
    }
    if scan.print_liquidity_debug {
        for line in universe::explain::dropped_lines(&opened.selection, rules) {
            eprintln!("{line}");
        }
    }
    if scan.print_diagnostics {
        eprintln!("{}", universe::explain::funnel(&opened.selection));
    }
    let is_stale = matches!(opened.origin, Origin::Cache { .. });
    let rows = opened.listing.instruments.iter();
    let listed = rows.map(|row| row.instrument.symbol.to_string()).collect();
    let selection = opened.selection;
    let Version {
        instruments,
        followed,
    } = follow::version(&selection, &[]);
    Followed {
        instruments,
        ranking: followed,
        is_stale,
        listed,
        selection,
        held,
    }
}

/// A line for each instrument that is held and cannot be followed.
fn unfollowed(held: &Held, selection: &Selection) -> Vec<String> {
    let is_followed = |symbol: &&Symbol| selection.instruments.id_of(symbol.as_bytes()).is_some();
    let left = held.symbols.iter().filter(|symbol| !is_followed(symbol));
    left.map(|symbol| {
        format!(
            "the account holds something in {symbol}, which the venue does not list as a linear contract: \
             it is not watched, and nothing is entered until it is gone; close it at the venue"
        )
    })
    .collect()
}

/// The rules of `[scan]`.
pub fn rules(scan: &Scan) -> Result<Rules, Failure> {
    Ok(Rules {
        top_symbols: scan.top_symbols as usize,
        swap_only: scan.swap_only,
        exclude: Patterns::parse(&scan.exclude_patterns).map_err(Failure::usage)?,
        bluechip_only: scan.bluechip_only,
        bluechip_bases: scan.bluechip_bases.clone(),
        min_quote_volume_usdt: scan.min_quote_vol_usdt,
        min_last_price: scan.min_last_price,
    })
}

/// What the instance of a demo begins with; its pid follows.
pub const DEMO_PREFIX: &str = "demo-";

/// Removes the buses in `directory` of demos that are dead, with the notes beside them, and says which. A
/// demo that is killed cannot, and nobody would ever take its name again. The bus of any other instance is
/// left to its next run: until then it is what a crash left to look at.
fn remove_dead_demos(directory: &Path) -> Vec<PathBuf> {
    let is_of_demo = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        let pid = name
            .strip_prefix(DEMO_PREFIX)
            .and_then(|rest| rest.strip_suffix(".bus"));
        pid.is_some_and(|pid| pid.parse::<u32>().is_ok())
    };
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut removed: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_of_demo).collect();
    // A file that is no bus, or another user's, is not this run's business.
    removed.retain(|path| bus::remove_dead(path).unwrap_or(false));
    for path in &removed {
        let _ = std::fs::remove_file(halt::note_of(path));
    }
    removed.sort();
    removed
}

/// The bus of this instance, in shared memory; refused when another daemon has it.
pub fn bus(settings: &Settings) -> Result<Bus, Failure> {
    let path = &settings.daemon.bus_path;
    let refused = |fault: String| {
        Failure::state(format!(
            "BUS_PATH={}: {fault}; set BUS_PATH to a file in a directory that this user can write, in memory if \
             possible",
            path.display()
        ))
    };
    if let Some(directory) = path.parent() {
        sys::file::create_private_dir(directory).map_err(|fault| refused(fault.to_string()))?;
    }
    for removed in path.parent().map(remove_dead_demos).unwrap_or_default() {
        eprintln!(
            "bus: removed {}, left by a demo that was killed",
            removed.display()
        );
    }
    let mut builder = graph::plan_bus(&settings.daemon.instance, Stamp::process());
    builder.config_hash(settings.config_hash());
    builder.create(path).map_err(|fault| match fault {
        BusError::Region(fault) => refused(fault.to_string()),
        other => Failure::state(other),
    })
}

/// The next run number, durable before anything is sent.
pub fn epoch(state_dir: &Path) -> Result<u32, Failure> {
    sys::file::create_private_dir(state_dir).map_err(|fault| unwritable(state_dir, &fault))?;
    daemon::next_epoch(state_dir).map_err(|fault| unwritable(state_dir, &fault))
}

/// STATE_DIR for this process alone: two that write one snapshot of the gate would lose each other's orders.
pub fn hold_state(state_dir: &Path) -> Result<InstanceLock, Failure> {
    InstanceLock::acquire(&state_dir.join("lock")).map_err(|fault| match fault {
        LockError::Held { .. } => Failure::state(fault),
        LockError::Region(fault) => unwritable(state_dir, &fault),
    })
}

fn unwritable(state_dir: &Path, fault: &dyn std::fmt::Display) -> Failure {
    Failure::state(format!(
        "STATE_DIR={}: {fault}; set STATE_DIR to a directory that this user can write",
        state_dir.display()
    ))
}

/// The credentials for signing, out of the settings.
pub fn credentials(settings: &Settings) -> Option<sign::Credentials> {
    settings
        .secrets
        .credentials
        .as_ref()
        .map(|credentials| sign::Credentials {
            key: credentials.api_key.expose().to_string(),
            secret: credentials.api_secret.expose().to_string(),
            passphrase: credentials.api_passphrase.expose().to_string(),
        })
}

/// The Host header of REST requests.
pub fn host(settings: &Settings) -> Result<String, Failure> {
    let target = Target::parse("BLOFIN_BASE_URL", &settings.venue.blofin_base_url).map_err(Failure::usage)?;
    Ok(target.authority())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::BusBuilder;

    #[test]
    fn what_a_killed_demo_left_is_removed_and_nothing_else() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        let create = |name: &str| BusBuilder::new(name).create(&path(name)).expect("a bus");
        // Not held any more, though their pid is that of a living process: the lock says it.
        for dead in ["demo-1.bus", "demo-77.bus", "default.bus", "demo-x.bus"] {
            drop(create(dead));
        }
        let _living = create("demo-2.bus");
        std::fs::write(path("demo-3.bus"), "no bus at all").expect("written");
        for note in ["demo-1.state", "demo-2.state", "default.state"] {
            std::fs::write(path(note), "/somewhere").expect("written");
        }
        let removed = remove_dead_demos(directory.path());
        assert_eq!(removed, [path("demo-1.bus"), path("demo-77.bus")]);
        let names = std::fs::read_dir(directory.path()).expect("a directory");
        let mut left: Vec<String> = names
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        left.sort();
        let expected = [
            "default.bus",
            "default.state",
            "demo-2.bus",
            "demo-2.state",
            "demo-3.bus",
            "demo-x.bus",
        ];
        assert_eq!(left, expected);
        assert!(remove_dead_demos(&path("nowhere")).is_empty());
    }
}
