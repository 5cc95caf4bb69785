//! Programs that run beside a test: the built binary in a directory of its own, killed with the test.
#![allow(dead_code, reason = "each test target uses a part")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A process that ends with the test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program, with nothing of the surroundings.
pub fn program(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smart-scanner"));
    command.current_dir(directory).env_clear();
    command
}

/// The embedded exchange at real time with one account (`key:secret:words`), and the address that it
/// says it listens at.
pub fn exchange(directory: &Path, instruments: u32) -> (Running, String) {
    let mut child = program(directory)
        .args(["exchange", "--listen", "127.0.0.1:0", "--instruments"])
        .arg(instruments.to_string())
        .args(["--speed", "1", "--account", "key:secret:words"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the exchange starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("a ready line");
    let ready: serde_json::Value = serde_json::from_str(&line).expect("one JSON line");
    let url = ready["rest"].as_str().expect("its address").to_owned();
    (Running(child), url)
}

/// How long a word may be waited for on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program that speaks on standard error, and what was heard of it so far.
pub struct Speaking {
    pub running: Running,
    lines: Receiver<String>,
    pub said: String,
}

impl Speaking {
    pub fn start(command: &mut Command) -> Speaking {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let (sender, lines) = channel();
        // Reads on when nobody listens any more, or the program would wait for room.
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Speaking {
            running: Running(child),
            lines,
            said: String::new(),
        }
    }

    /// Returns once it has said `word`.
    #[track_caller]
    pub fn until(&mut self, word: &str) {
        let last = Instant::now() + PATIENCE;
        while !self.said.contains(word) {
            let left = last.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("{word:?} was never said: {}", self.said);
            };
            self.said += &line;
            self.said.push('\n');
        }
    }
}

/// Starts `command` and returns once it has said `word`, with what it said until then.
pub fn start_until(command: &mut Command, word: &str) -> (Running, String) {
    let mut speaking = Speaking::start(command);
    speaking.until(word);
    (speaking.running, speaking.said)
}
