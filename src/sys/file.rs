//! Files made whole or not at all: private directories, and new files that appear under their name only
//! when they are complete.
//!
//! A new file is a new inode: it is written beside its name and renamed, so a reader that has the old one
//! mapped keeps it, and nothing is ever truncated under anybody's feet.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::limits::free_bytes;
use super::region::{Region, RegionError};

/// Creates `path` and its missing parents, readable by this user only (mode 0700). Existing ones stay.
pub fn create_private_dir(path: &Path) -> Result<(), RegionError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| RegionError::io(path, "create directory", source))
}

/// A complete, mapped file that does not have its name yet; dropped unpublished, it disappears.
#[derive(Debug)]
pub struct PendingFile {
    region: Option<Region>,
    temporary: PathBuf,
    target: PathBuf,
}

static PENDING_COUNT: AtomicU64 = AtomicU64::new(0);

impl PendingFile {
    /// Creates a file of `len_bytes`, mode 0600, every block allocated and zero, beside `target`, and maps
    /// it for writing. Missing directories are created. `NoRoom` says how much was needed and is free.
    pub fn create(target: &Path, len_bytes: usize) -> Result<Self, RegionError> {
        let directory = parent(target);
        create_private_dir(directory)?;
        let temporary = temporary_name(target);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(|source| RegionError::io(&temporary, "create", source))?;
        let mut pending = Self {
            region: None,
            temporary,
            target: target.to_path_buf(),
        };
        allocate(&file, target, len_bytes as u64)?;
        pending.region = Some(Region::map_write(file, target)?);
        Ok(pending)
    }

    /// The content, to be filled before publishing.
    pub fn region(&self) -> &Region {
        self.region
            .as_ref()
            .expect("a pending file is mapped until it is published")
    }

    /// Gives the file its name, replacing whatever bears it.
    pub fn publish_over(mut self) -> Result<Region, RegionError> {
        std::fs::rename(&self.temporary, &self.target)
            .map_err(|source| RegionError::io(&self.target, "rename to", source))?;
        self.temporary = PathBuf::new();
        Ok(self
            .region
            .take()
            .expect("a pending file is mapped until it is published"))
    }

    /// Gives the file its name, or gives the file back when somebody else has taken it meanwhile.
    pub fn publish_new(mut self) -> Result<Region, RegionError> {
        std::fs::hard_link(&self.temporary, &self.target)
            .map_err(|source| RegionError::io(&self.target, "link to", source))?;
        Ok(self
            .region
            .take()
            .expect("a pending file is mapped until it is published"))
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        if !self.temporary.as_os_str().is_empty() {
            // A leftover costs space, not correctness: there is nobody to tell while dropping.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Replaces `path` with `bytes` so that a reader, or a power cut, sees the old file or the new one.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), RegionError> {
    use std::io::Write;
    let directory = parent(path);
    create_private_dir(directory)?;
    let temporary = temporary_name(path);
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        File::open(directory)?.sync_all()
    })();
    written.map_err(|source| {
        let _ = std::fs::remove_file(&temporary);
        RegionError::io(path, "replace", source)
    })
}

/// Makes the names in `path`'s directory durable; a new file is not safe from a power cut before this.
pub fn sync_dir_of(path: &Path) -> Result<(), RegionError> {
    let directory = parent(path);
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| RegionError::io(directory, "sync directory", source))
}

fn parent(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn temporary_name(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let number = PENDING_COUNT.fetch_add(1, Ordering::Relaxed);
    target.with_file_name(format!(".{name}.{}.{number}.new", std::process::id()))
}

/// Reserves every block now: a mapping over a hole would die of SIGBUS when the disk is full.
fn allocate(file: &File, path: &Path, len_bytes: u64) -> Result<(), RegionError> {
    let no_room = || RegionError::NoRoom {
        path: path.to_path_buf(),
        needed_bytes: len_bytes,
        free_bytes: free_bytes(parent(path)).unwrap_or(0),
    };
    let Ok(length) = libc::off_t::try_from(len_bytes) else {
        return Err(no_room());
    };
    // SAFETY: the descriptor is open for writing and the call touches no memory of ours.
    let code = unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, length) };
    match code {
        0 => Ok(()),
        libc::ENOSPC | libc::EFBIG | libc::EDQUOT => Err(no_room()),
        code => Err(RegionError::io(
            path,
            "allocate",
            std::io::Error::from_raw_os_error(code),
        )),
    }
}
