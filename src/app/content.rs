//! What a file or a folder holds, as a hash: the ledger of trials tells data apart by it, wherever the
//! data lie and whatever they are called.

use super::exit::Failure;
use std::io;
use std::path::{Path, PathBuf};

/// Digits that are enough to tell contents apart.
const DIGITS: usize = 16;

/// The hash of a file's bytes, or of the names and the bytes of the files in a folder; folders below it are
/// left out. `option` names what gave the path.
pub fn of(option: &str, path: &Path) -> Result<String, Failure> {
    hash(path).map_err(|error| Failure::usage(format!("{option} {}: {error}", path.display())))
}

/// The same for an option that may be absent; `null` in the ledger.
pub fn of_option(option: &str, path: Option<&PathBuf>) -> Result<Option<String>, Failure> {
    path.map(|path| of(option, path)).transpose()
}

fn hash(path: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    if path.is_dir() {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let file = entry?.path();
            if file.is_file() {
                files.push(file);
            }
        }
        files.sort();
        for file in files {
            let name = file.file_name().unwrap_or_default();
            hasher.update(name.as_encoded_bytes());
            // A name cannot hold a zero byte, so that none runs into what follows.
            hasher.update(&[0]);
            hasher.update(of_file(&file)?.as_bytes());
        }
    } else {
        hasher.update(of_file(path)?.as_bytes());
    }
    Ok(hasher.finalize().to_hex()[..DIGITS].to_owned())
}

fn of_file(path: &Path) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut std::fs::File::open(path)?, &mut hasher)?;
    Ok(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_count_and_places_do_not() {
        let (one, two) = (
            tempfile::tempdir().expect("one"),
            tempfile::tempdir().expect("two"),
        );
        for folder in [&one, &two] {
            std::fs::write(folder.path().join("a"), "1").expect("written");
            std::fs::write(folder.path().join("b"), "2").expect("written");
        }
        let of = |folder: &tempfile::TempDir| of("--market", folder.path()).expect("readable");
        let before = of(&one);
        assert_eq!(before, of(&two));
        std::fs::write(two.path().join("b"), "3").expect("written");
        assert_ne!(before, of(&two), "a byte of one file");
        std::fs::write(two.path().join("b"), "2").expect("written");
        std::fs::rename(two.path().join("b"), two.path().join("c")).expect("renamed");
        assert_ne!(before, of(&two), "a name is the symbol of a recording");
    }

    #[test]
    fn what_is_not_there_is_named() {
        let failure = of("--calibration", Path::new("nowhere.json")).expect_err("no file");
        assert!(
            failure.text.contains("--calibration nowhere.json"),
            "{}",
            failure.text
        );
        assert_eq!(of_option("--calibration", None).expect("absent"), None);
    }
}
