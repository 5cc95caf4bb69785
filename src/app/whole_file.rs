//! Files of results that appear under their name only when they are whole.

use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Like any file that a user makes; results hold no secrets.
const MODE: u32 = 0o644;

/// Writes beside `path`, makes it durable and renames it, so that the name is never that of half a file.
/// Returns what `write` returns; after an error the name is what it was.
pub fn write_whole<T>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut tempfile::NamedTempFile>) -> std::io::Result<T>,
) -> std::io::Result<T> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    let mut out = BufWriter::new(&mut file);
    let result = write(&mut out)?;
    out.flush()?;
    drop(out);
    file.as_file()
        .set_permissions(std::fs::Permissions::from_mode(MODE))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(result)
}
