//! What the research commands (`demo`, `replay`) share: a directory of their own, settings that
//! never touch the user's, and first lines that say what differs from the defaults.

use super::exit::Failure;
use super::learned::SNAPSHOT;
use crate::settings::Settings;
use std::path::{Path, PathBuf};

/// Where a research command writes; a temporary one is kept, because its path was printed.
pub struct OutDirectory {
    path: PathBuf,
}

impl OutDirectory {
    /// The directory `wanted`, made when missing, or a new temporary one.
    pub fn prepare(wanted: Option<&Path>) -> Result<Self, Failure> {
        let path = match wanted {
            Some(path) => {
                std::fs::create_dir_all(path)
                    .map_err(|error| Failure::usage(format!("--out {}: {error}", path.display())))?;
                path.to_path_buf()
            }
            None => tempfile::Builder::new()
                .prefix("smart-scanner-")
                .tempdir()
                .map_err(|error| {
                    Failure::venue(format!("no temporary directory: {error}; name one with --out"))
                })?
                .keep(),
        };
        Ok(OutDirectory { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Prints where output goes and every setting that differs from its default, to standard error.
pub fn announce(settings: &Settings, out: &Path) {
    eprintln!("output: {}", out.display());
    eprintln!("settings that differ from the defaults, to see every part at work:");
    list_changes(settings, out);
}

/// Prints every setting that differs from its default, but for paths below `out`, and the warnings.
pub fn list_changes(settings: &Settings, out: &Path) {
    let changed: Vec<String> = settings
        .report()
        .iter()
        .filter(|changed| !changed.value.contains(&*out.to_string_lossy()))
        .map(|changed| format!("{}={}", changed.key, changed.value))
        .collect();
    for line in changed.chunks(5) {
        eprintln!("  {}", line.join("  "));
    }
    for warning in &settings.warnings {
        eprintln!("warning: {warning}");
    }
}

/// Copies the state files of a capture to where research settings under `out` look for them.
pub fn copy_state(capture: &Path, out: &Path) -> std::io::Result<()> {
    let state = capture.join(crate::capture::manifest::STATE_DIR);
    let places = out.join("state");
    std::fs::create_dir_all(&places)?;
    for name in crate::app::capturing::STATE_FILES {
        // STATE_DIR of research settings is `state`; the other files stand beside it.
        let to = if name == SNAPSHOT { &places } else { out };
        match std::fs::copy(state.join(name), to.join(name)) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
