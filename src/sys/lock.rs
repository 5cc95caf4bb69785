//! One daemon an instance: a lock on an open file, which the kernel drops when its holder dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::file::create_private_dir;
use super::region::RegionError;

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error(
        "{path} is held by process {holder_pid}; stop that process, or start this one under another INSTANCE and STATE_DIR"
    )]
    Held { path: PathBuf, holder_pid: u32 },
    /// The file could not be used at all.
    #[error(transparent)]
    Region(#[from] RegionError),
}

/// Holds a lock file for as long as it lives.
#[derive(Debug)]
pub struct InstanceLock {
    file: File,
}

impl Drop for InstanceLock {
    fn drop(&mut self) {
        // Closing would do, but not while a child process just forked still has the descriptor.
        let _ = self.file.unlock();
    }
}

impl InstanceLock {
    /// Takes the lock at `path`, creating the file (mode 0600) and its directories. Never waits: `Held`
    /// names the process that has it. The file stays behind on purpose; only the lock matters.
    pub fn acquire(path: &Path) -> Result<Self, LockError> {
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            create_private_dir(parent)?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(|source| RegionError::io(path, "open", source))?;
        if !try_lock(&file, path)? {
            let mut text = String::new();
            let _ = file.read_to_string(&mut text);
            let holder_pid = text.trim().parse().unwrap_or(0);
            return Err(LockError::Held {
                path: path.to_path_buf(),
                holder_pid,
            });
        }
        write_pid(&mut file).map_err(|source| RegionError::io(path, "write", source))?;
        Ok(Self { file })
    }
}

/// Takes the exclusive lock of an open file without waiting; false when another process has it.
pub fn try_lock(file: &File, path: &Path) -> Result<bool, RegionError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(RegionError::io(path, "lock", source)),
    }
}

fn write_pid(file: &mut File) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    let text = format!("{}\n", std::process::id());
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_holder_is_refused_with_the_pid_of_the_first_and_may_follow_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state/instance.lock");
        let first = InstanceLock::acquire(&path).unwrap();
        match InstanceLock::acquire(&path) {
            Err(LockError::Held { holder_pid, .. }) => assert_eq!(holder_pid, std::process::id()),
            other => panic!("expected Held, got {other:?}"),
        }
        drop(first);
        InstanceLock::acquire(&path).unwrap();
    }
}
