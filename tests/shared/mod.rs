//! Recordings and notes that are not part of the project: read where they are, and said either way where
//! everybody sees it.
//!
//! libtest keeps back what a passing test prints with `println!`; a test that did not run would look like one
//! that did. What is written to standard error itself is shown.
#![allow(dead_code, reason = "each test target uses a part")]

use std::io::Write;
use std::path::{Path, PathBuf};

/// Where they would be: the folder beside the project, or SMART_SCANNER_SHARED.
pub fn path_of(part: &str) -> PathBuf {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    std::env::var_os("SMART_SCANNER_SHARED")
        .map_or_else(beside, PathBuf::from)
        .join(part)
}

/// The file or folder `part`, when it is there; says `ran on` or `not run`.
pub fn find(part: &str) -> Option<PathBuf> {
    let path = path_of(part);
    if path.exists() {
        say(&format!("ran on {}", path.display()));
        return Some(path);
    }
    not_run(&path);
    None
}

/// Says that this test, or a part of it, did not run because `path` is not there.
pub fn not_run(path: &Path) {
    say(&format!(
        "not run: {} is not there (SMART_SCANNER_SHARED names another folder)",
        path.display()
    ));
}

/// One line on standard error, with the name of the test.
pub fn say(text: &str) {
    let thread = std::thread::current();
    let line = format!("{}: {text}\n", thread.name().unwrap_or("a test"));
    // Nobody listens any more: then nobody misses it.
    let _ = std::io::stderr().write_all(line.as_bytes());
}
