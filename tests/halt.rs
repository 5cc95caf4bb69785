//! The promise: a halt is latched. It reaches a running daemon, outlives restarts, is found from any
//! directory, and names the daemon it could not find.

mod running;

use running::{Running, exchange, program, start_until};
use std::path::Path;
use std::process::Output;

fn say(directory: &Path, words: &[&str]) -> (i32, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = program(directory).args(words).output().expect("the program runs");
    let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    (status.code().expect("a code"), text)
}

/// A daemon on paper; returns once it says where its bus is, with what it said until then.
fn daemon(directory: &Path, url: &str, bus: &str) -> (Running, String) {
    let mut command = program(directory);
    command
        .args(["run", "--set", &format!("BLOFIN_BASE_URL={url}")])
        .args(["--set", "INSTANCE=night", "--set", &format!("BUS_PATH={bus}")]);
    start_until(&mut command, "\nbus: ")
}

#[test]
fn a_halt_reaches_the_daemon_from_anywhere_and_outlives_a_restart() {
    let home = tempfile::tempdir().expect("a directory");
    let elsewhere = tempfile::tempdir().expect("a directory");
    let bus = home.path().join("x.bus").display().to_string();
    let (_exchange, url) = exchange(home.path(), 3);
    let words = ["--set", "INSTANCE=night", "--set", &format!("BUS_PATH={bus}")];
    let halt = |directory: &Path, extra: &[&str]| say(directory, &[&["halt"], extra, &words[..]].concat());
    let resume = |directory: &Path| say(directory, &[&["resume"], &words[..]].concat());
    {
        let (_daemon, said) = daemon(home.path(), &url, &bus);
        assert!(!said.contains("halted"), "{said}");
        // Another working directory: the daemon says where its state is.
        let (code, text) = halt(elsewhere.path(), &["--reason", "news"]);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("halted: night (pid "), "{text}");
        let (code, text) = halt(home.path(), &[]);
        assert!(
            code == 0 && text.contains("already halted") && text.contains("news"),
            "{text}"
        );
    }
    {
        let (_daemon, said) = daemon(home.path(), &url, &bus);
        assert!(said.contains("halted since") && said.contains("news"), "{said}");
        let (code, text) = resume(elsewhere.path());
        assert!(code == 0 && text.contains("resumed"), "{text}");
    }
    // With nobody running, the next start finds it.
    let (code, text) = halt(home.path(), &[]);
    assert!(code == 0 && text.contains("next start"), "{text}");
    let (_, text) = resume(home.path());
    assert!(text.contains("next start may enter"), "{text}");
    let (code, text) = resume(home.path());
    assert!(code == 0 && text.contains("is not halted"), "{text}");
}

#[test]
fn a_wrong_instance_is_named_with_what_to_do() {
    let home = tempfile::tempdir().expect("a directory");
    let bus = home.path().join("none.bus").display().to_string();
    let (code, text) = say(
        home.path(),
        &[
            "halt",
            "--instance",
            "nobody",
            "--set",
            &format!("BUS_PATH={bus}"),
        ],
    );
    assert_eq!(code, 4, "{text}");
    assert!(
        text.contains("\"nobody\"") && text.contains("STATE_DIR=state") && text.contains("--instance"),
        "{text}"
    );
    assert!(!home.path().join("state").exists(), "nothing was latched");
    // The state of another instance.
    std::fs::create_dir(home.path().join("state")).expect("a directory");
    std::fs::write(home.path().join("state/epoch"), "3\n").expect("a file");
    std::fs::write(home.path().join("state/instance"), "other\n").expect("a file");
    let (code, text) = say(home.path(), &["halt", "--set", &format!("BUS_PATH={bus}")]);
    assert!(
        code == 4 && text.contains("\"other\"") && text.contains("\"default\""),
        "{text}"
    );
    assert!(!home.path().join("state/halt").exists(), "nothing was latched");
    let (code, text) = say(home.path(), &["resume", "--set", "TOP_SYMBOLS=0"]);
    assert!(code == 2 && text.contains("TOP_SYMBOLS"), "{text}");
}
