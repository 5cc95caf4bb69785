//! The file of alert ids: an id is known with the signal it was settled with or not at all, and a file that
//! was opened once is whole afterwards.

use super::NOW_MS;
use smart_scanner::gateway::Ids;
use smart_scanner::gateway::ids::Key;
use std::path::PathBuf;

const NAMES: [&str; 3] = ["a", "b", "c"];

thread_local! {
    static FOLDER: tempfile::TempDir = super::folder();
}

fn path() -> PathBuf {
    FOLDER.with(|folder| folder.path().join("alert-ids"))
}

fn known(ids: &Ids) -> [Option<u64>; NAMES.len()] {
    NAMES.map(|name| ids.known(&Key::of(Some(name), b""), NOW_MS))
}

pub fn check(bytes: &[u8]) {
    let path = path();
    std::fs::write(&path, bytes).expect("written");
    let Ok(ids) = Ids::open(&path, NOW_MS) else {
        assert_eq!(
            std::fs::read(&path).expect("a file"),
            bytes,
            "what is not ours is left alone"
        );
        return;
    };
    let found = known(&ids);
    for (index, signal) in found.iter().enumerate() {
        assert!(
            signal.is_none_or(|signal| signal == index as u64 + 1),
            "{found:?}"
        );
    }
    drop(ids);
    let again = Ids::open(&path, NOW_MS).expect("our own file");
    assert_eq!((known(&again), again.lost_count), (found, 0));
}

pub fn seeds() -> Vec<Vec<u8>> {
    let path = path();
    let _ = std::fs::remove_file(&path);
    let mut ids = Ids::open(&path, NOW_MS).expect("a new file");
    for (index, name) in NAMES.into_iter().enumerate() {
        ids.settle(Key::of(Some(name), b""), index as u64 + 1, NOW_MS);
    }
    vec![std::fs::read(&path).expect("a file")]
}
