//! What the machine has left: free space of a file system, and how many files may be open.

use std::path::Path;

use rustix::process::{Resource, getrlimit};

/// Bytes free to this user on the file system of `path`, or of its nearest existing parent.
pub fn free_bytes(path: &Path) -> std::io::Result<u64> {
    let existing = path
        .ancestors()
        .find(|ancestor| ancestor.exists())
        .unwrap_or(Path::new("."));
    let status = rustix::fs::statvfs(existing)?;
    Ok(status.f_bavail.saturating_mul(status.f_frsize))
}

/// How many files this process may have open; `u64::MAX` when unlimited.
pub fn open_files_max() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_even_for_a_path_that_does_not_exist_yet() {
        assert!(free_bytes(Path::new("/tmp/not/here/yet")).unwrap() > 0);
        assert!(open_files_max() > 3);
    }
}
