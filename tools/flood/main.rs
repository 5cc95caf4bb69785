//! flood: what a flood of alerts does to the trading path, side by side with no flood.
//!
//! It starts `smart-scanner demo` three times, each with a gateway: once left alone, once flooded with
//! posts that the rate limit refuses early, once with authenticated `?dry=1` posts that go through the
//! gate. Posts come on a fixed schedule over kept-alive connections, one at a time on each. It prints what
//! the demo measured of itself, the replies, and how much memory the demo took. With `--url` it only floods.
//!
//! Exit codes: 0 done, 2 wrong usage, 3 the demo or a connection failed.

mod load;

use clap::Parser;
use load::{Load, Plan};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

/// A flood of alerts, and what it does to the time from tick to order.
#[derive(Parser)]
#[command(name = "flood", version, max_term_width = 100)]
struct Arguments {
    /// Flood this address instead of demos of our own, such as http://127.0.0.1:8080/signal?dry=1
    #[arg(long)]
    url: Option<String>,
    /// Token for --url
    #[arg(long, default_value = "")]
    token: String,
    /// The program to try; without it, the one beside this tool
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Posts a second
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// Kept-alive connections
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=512))]
    connections: u32,
    /// How long each flood takes; a demo runs 15 s longer
    #[arg(long, default_value_t = 45, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
}

/// Token of the demos; it guards nothing beyond this machine and ends with them.
const TOKEN: &str = "flood-of-thirty-two-letters-or-more";
/// Time for a demo to read its history before it is flooded, and to end after it.
const WARM_UP: Duration = Duration::from_secs(10);
const MARGIN_S: u32 = 15;

/// One of the three runs.
struct Case {
    name: &'static str,
    /// `None` floods nothing.
    path: Option<&'static str>,
    settings: &'static [(&'static str, &'static str)],
}

const CASES: [Case; 3] = [
    Case {
        name: "no flood",
        path: None,
        settings: &[],
    },
    Case {
        name: "refused early",
        path: Some("/signal"),
        settings: &[],
    },
    Case {
        name: "authenticated dry=1",
        path: Some("/signal?dry=1"),
        settings: &[("WEBHOOK_RATE", "1000000"), ("WEBHOOK_BURST", "1000000")],
    },
];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("flood: {text}");
            ExitCode::from(3)
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    // The load must not take the processor from what it measures; elsewhere it would be another machine.
    let _ = smart_scanner::sys::process::lower_thread_priority(19);
    let plan = |url: &str, token: &str| -> Result<Plan, String> {
        Plan::new(
            url,
            token,
            arguments.connections,
            arguments.rate,
            arguments.seconds,
        )
    };
    if let Some(url) = &arguments.url {
        println!("{}", load::run(&plan(url, &arguments.token)?)?);
        return Ok(());
    }
    let program = match &arguments.program {
        Some(path) => path.clone(),
        None => beside_this_tool()?,
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "{} posts a second on {} connections for {} s, {cores} cores shared with the load\n",
        arguments.rate, arguments.connections, arguments.seconds
    );
    println!(
        "| run | tick to order p50 | p99 | orders | decode wait p99 | gate wait p99 | gate work p99 | memory |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    let mut loads = Vec::new();
    for case in &CASES {
        let (summary, load, memory) = run_case(case, &program, arguments.seconds, &plan)?;
        println!("{}", row(case.name, &summary, &memory));
        loads.extend(load.map(|load| format!("{}: {load}", case.name)));
    }
    println!();
    for load in loads {
        println!("{load}");
    }
    Ok(())
}

fn beside_this_tool() -> Result<PathBuf, String> {
    let tool = std::env::current_exe().map_err(|error| error.to_string())?;
    let program = tool.with_file_name("smart-scanner");
    if program.exists() {
        Ok(program)
    } else {
        Err(format!(
            "{} does not exist; name it with --program",
            program.display()
        ))
    }
}

/// Resident memory of a demo in KiB: before the flood, and the most that was seen during it.
struct Memory {
    before: u64,
    most: u64,
}

/// A demo that ends with this.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run_case(
    case: &Case,
    program: &PathBuf,
    seconds: u32,
    plan: &dyn Fn(&str, &str) -> Result<Plan, String>,
) -> Result<(Value, Option<Load>, Memory), String> {
    let failed = |error: std::io::Error| error.to_string();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(failed)?
        .port();
    let mut command = Command::new(program);
    command
        .args([
            "demo",
            "--json",
            "--seed",
            "1",
            "--duration",
            &format!("{}s", seconds + MARGIN_S),
        ])
        .env("WEBHOOK_SECRET", TOKEN)
        .env("WEBHOOK_PORT", port.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (key, value) in case.settings {
        command.env(key, value);
    }
    let mut demo = Demo(
        command
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?,
    );
    let mut said = BufReader::new(demo.0.stderr.take().ok_or("no standard error")?);
    wait_until_it_listens(&mut said)?;
    // Read on, or the demo stops at a full pipe.
    std::thread::spawn(move || {
        let mut rest = String::new();
        let _ = said.read_to_string(&mut rest);
    });
    std::thread::sleep(WARM_UP);
    let status = format!("/proc/{}/status", demo.0.id());
    let before = resident_kib(&status)?;
    let watch = std::thread::spawn({
        let end = std::time::Instant::now() + Duration::from_secs(u64::from(seconds));
        move || {
            let mut most = before;
            while std::time::Instant::now() < end {
                std::thread::sleep(Duration::from_millis(250));
                most = most.max(resident_kib(&status).unwrap_or(0));
            }
            most
        }
    });
    let load = match case.path {
        Some(path) => Some(load::run(&plan(
            &format!("http://127.0.0.1:{port}{path}"),
            TOKEN,
        )?)?),
        None => None,
    };
    let most = watch.join().map_err(|_| "the memory was not watched")?;
    let mut out = String::new();
    let stdout = demo.0.stdout.as_mut().ok_or("no standard output")?;
    stdout.read_to_string(&mut out).map_err(failed)?;
    let summary =
        serde_json::from_str(&out).map_err(|error| format!("the demo printed no summary: {error}"))?;
    Ok((summary, load, Memory { before, most }))
}

fn wait_until_it_listens(said: &mut impl BufRead) -> Result<(), String> {
    let mut heard = String::new();
    loop {
        let mut line = String::new();
        let count = said.read_line(&mut line).map_err(|error| error.to_string())?;
        if count == 0 {
            return Err(format!("the demo ended before it listened: {heard}"));
        }
        if line.starts_with("gateway: POST") {
            return Ok(());
        }
        heard.push_str(&line);
    }
}

fn resident_kib(status: &str) -> Result<u64, String> {
    let text = std::fs::read_to_string(status).map_err(|error| format!("{status}: {error}"))?;
    let line = text.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_ascii_whitespace().nth(1)?.parse().ok())
        .ok_or_else(|| format!("{status} has no VmRSS"))
}

fn row(name: &str, summary: &Value, memory: &Memory) -> String {
    let order = &summary["tick_to_order_ns"];
    let time = |value: &Value| match value.as_u64() {
        Some(ns) if ns >= 1_000_000 => format!("{:.2} ms", ns as f64 / 1e6),
        Some(ns) => format!("{:.1} µs", ns as f64 / 1e3),
        None => "-".to_owned(),
    };
    let stage = |stage: &str, field: &str| time(&summary["stages"][stage][field]);
    format!(
        "| {name} | {} | {} | {} | {} | {} | {} | {:.1} → {:.1} MiB ({:+.1}) |",
        time(&order["p50"]),
        time(&order["p99"]),
        order["count"],
        stage("decode", "wait_p99_ns"),
        stage("gate", "wait_p99_ns"),
        stage("gate", "work_p99_ns"),
        memory.before as f64 / 1024.0,
        memory.most as f64 / 1024.0,
        (memory.most as f64 - memory.before as f64) / 1024.0,
    )
}
