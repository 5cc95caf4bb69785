//! Promise: under `spin` the decision thread never enters the kernel to wait for another thread: it makes
//! no futex call while it takes frames and sends orders over real sockets.
//!
//! A running demo is traced with `strace`, from outside. Where that is not possible the test says so.

mod running;
mod shared;

use running::{Running, program, start_until};
use smart_scanner::sys::cores::Cores;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The demo is warm after this: the universe is read and candles come.
const WARM: Duration = Duration::from_secs(4);
const TRACED: Duration = Duration::from_secs(3);

/// System calls of one thread until a moment: all that are traced, and the futex calls among them.
#[derive(Clone, Copy, Debug, Default)]
struct Calls {
    all: u64,
    futex: u64,
}

fn unix_seconds() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_secs_f64()
}

/// Threads of a process by number.
fn threads(pid: u32) -> BTreeMap<u32, String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let named = tasks.filter_map(|task| {
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        Some((task.file_name().to_str()?.parse().ok()?, name.trim().to_owned()))
    });
    named.collect()
}

/// Calls by thread in lines of `thread seconds call(...`, of those before `until`.
fn count(trace: &str, until: f64) -> BTreeMap<u32, Calls> {
    let mut counts: BTreeMap<u32, Calls> = BTreeMap::new();
    for line in trace.lines() {
        let mut words = line.split_whitespace();
        let (Some(Ok(thread)), Some(Ok(at))) =
            (words.next().map(str::parse), words.next().map(str::parse::<f64>))
        else {
            continue;
        };
        if at < until {
            let calls = counts.entry(thread).or_default();
            calls.all += 1;
            calls.futex += u64::from(line.contains("futex("));
        }
    }
    counts
}

/// Follows every thread of `pid` until it ends, `None` when this machine does not let us.
fn trace(pid: u32, into: &Path) -> Option<Running> {
    let strace = Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-ttt",
            "-e",
            "trace=futex,read,write,recvfrom,sendto",
            "-p",
        ])
        .arg(pid.to_string())
        .arg("-o")
        .arg(into)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut strace = Running(strace.ok()?);
    std::thread::sleep(TRACED);
    let has_ended = strace.0.try_wait().expect("a child");
    has_ended.is_none().then_some(strace)
}

#[test]
fn the_spinning_decision_thread_makes_no_futex_call() {
    let usable = Cores::read().usable();
    if usable < 2 {
        shared::say(&format!(
            "not run: {usable} core may be used, and nothing spins on a core that is shared"
        ));
        return;
    }
    let folder = tempfile::tempdir().expect("a directory");
    let mut demo = program(folder.path());
    demo.args(["demo", "--duration", "5m", "--json", "--idle", "spin"]);
    demo.args(["--layout", "decode+indicate+score+gate+send", "--out", "out"]);
    let (mut demo, said) = start_until(&mut demo, "bus:");
    assert!(said.contains("decode+indicate+score+gate+send (spin)"), "{said}");
    std::thread::sleep(WARM);
    let pid = demo.0.id();
    let threads = threads(pid);
    let path = folder.path().join("trace");
    let Some(mut strace) = trace(pid, &path) else {
        shared::say("not run: strace is not installed, or may not look at another process here");
        return;
    };
    let stopped_at = unix_seconds();
    let pid = rustix::process::Pid::from_child(&demo.0);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    assert!(demo.0.wait().expect("a child").success());
    strace.0.wait().expect("a child");
    let text = std::fs::read_to_string(&path).expect("a trace");

    let decision = threads.iter().find(|(_, name)| *name == "decode");
    let (decision, _) = decision.unwrap_or_else(|| panic!("no thread is called decode: {threads:?}"));
    let running = count(&text, stopped_at);
    for (thread, calls) in &running {
        println!("{}: {calls:?}", threads.get(thread).map_or("?", String::as_str));
    }
    let calls = running.get(decision).copied().unwrap_or_default();
    assert!(calls.all > 1_000, "it was not traced at work: {calls:?}");
    assert_eq!(calls.futex, 0, "{calls:?}");
    // The trace does see futex calls: those with which the threads are waited for at the end.
    let futex: u64 = count(&text, f64::INFINITY)
        .values()
        .map(|calls| calls.futex)
        .sum();
    assert!(futex > 0, "nobody in the whole process made a futex call");
}

#[test]
fn a_futex_call_is_counted_before_the_stop_and_not_after() {
    let trace = "7 10.5 recvfrom(3, 0x7f, 64, 0, NULL, NULL) = -1 EAGAIN\n\
                 7 10.6 futex(0x55, FUTEX_WAKE_PRIVATE, 1) = 1\n\
                 8 10.7 write(4, \"\", 8) = 8\n\
                 7 11.0 futex(0x55, FUTEX_WAIT_PRIVATE, 1, NULL <unfinished ...>\n\
                 7 11.1 +++ exited with 0 +++\n";
    let counts = count(trace, 11.0);
    assert_eq!((counts[&7].all, counts[&7].futex, counts[&8].futex), (2, 1, 0));
}
