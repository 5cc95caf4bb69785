//! The grammar of the command line: commands, their options and the help that users read.
//!
//! It turns words into checked values and nothing more: no settings are read, no file is opened.
//! Wrong usage prints what is allowed and ends with code 2.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use clap::Parser;
use clap::Subcommand;
use clap::ValueEnum;

use super::calibrate::CalibrateArgs;
use super::exchange::AfterArg;
use super::features::FeaturesArgs;
use super::gateway::GatewayArgs;
use super::halt::HaltArgs;
use super::halt::ResumeArgs;
use super::instant::{Instant, parse_instant};
use super::migrate::MigrateArgs;
use super::parity::ParityArgs;
use crate::settings::Idle;
use crate::settings::Layout;
use crate::settings::LoadOptions;

/// Low-latency scanner and auto-trader for BloFin's perpetuals.
///
/// Paper by default: real orders need PAPER_TRADING=0, a second opt-in (LIVE_TRADING=1 or --live)
/// and all three credentials. Exit codes: 0 done, 1 a check failed, 2 usage, settings or input,
/// 3 venue, 4 state.
#[derive(Debug, Parser)]
#[command(name = "smart-scanner", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// See the whole program at work in a minute, against an embedded exchange: no account, no network
    Demo(DemoArgs),
    /// Scan the market and, when asked to, trade
    Run(RunArgs),
    /// Trade on alerts from outside, such as TradingView's, without scanning
    Gateway(GatewayArgs),
    /// Stop entering: a latched switch that survives restarts; closes and stops go on
    Halt(HaltArgs),
    /// Take the halt back
    Resume(ResumeArgs),
    /// Serve the embedded exchange behind BloFin's wire, for this program or any other client
    Exchange(ExchangeArgs),
    /// Run recorded market data through the same stages and print what they decide
    Replay(ReplayArgs),
    /// Say what a directory of the Python scanner means here, and what its thresholds let through
    Migrate(MigrateArgs),
    /// Record the market, and the account when there are credentials, without trading
    Record(super::record::RecordArgs),
    /// Repeat a captured day and list every decision that comes out differently
    Parity(ParityArgs),
    /// Fit the probability of a signal to what became of earlier ones
    Calibrate(CalibrateArgs),
    /// Write every indicator of a file of candles, one CSV row a candle
    Features(FeaturesArgs),
    /// What the signals of a metrics file would have earned on candles: figures, controls, tables, plots
    Backtest(super::backtest::BacktestArgs),
    /// Explain one decision of a metrics file, taken or not: votes, probability, margins, what followed
    Why(super::why::WhyArgs),
    /// Fetch candle history for backtest and replay; stopped, it goes on where it was
    Download(super::download::DownloadArgs),
    /// Say whether this machine, these settings and the venue are fit for a run
    Doctor(DoctorArgs),
    /// Try the whole program in virtual time against seeded faults, and check every promise after each step
    Simulate(super::simulate::SimulateArgs),
}

/// `demo`: nothing of the user's is read, everything is written under `--out`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How long to run, such as 60s, 2m or 1h
    #[arg(long, default_value = "60s", value_parser = parse_duration)]
    pub duration: Duration,
    /// Print the result as one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub market: MarketArgs,
    #[command(flatten)]
    pub venue: VenueRuleArgs,
    /// Which stages share a thread: auto, fused, staged, or groups such as decode,indicate+score+gate,send
    #[arg(long, default_value_t = Layout::Auto)]
    pub layout: Layout,
    /// What a thread without work does: auto, spin, yield or park
    #[arg(long, default_value_t = Idle::Auto)]
    pub idle: Idle,
    #[command(flatten)]
    pub research: ResearchArgs,
}

/// `run`: the daemon, or one scan.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Candles from the websocket, acted on as they close: the default
    #[arg(long, group = "mode")]
    pub event: bool,
    /// Candles by REST instead, asked for again and again as they close (USE_WS_CANDLES=0 does the same)
    #[arg(long = "loop", group = "mode")]
    pub polls: bool,
    /// Scan once over REST, print what was found and end; nothing is ordered
    #[arg(long, group = "mode")]
    pub once: bool,
    /// Second opt-in for real orders, the same as LIVE_TRADING=1; PAPER_TRADING=0 is the first
    #[arg(long)]
    pub live: bool,
    #[command(flatten)]
    pub settings: SettingsArgs,
}

impl RunArgs {
    /// Where the settings of this run come from.
    pub fn load_options(&self) -> LoadOptions {
        LoadOptions {
            live: self.live,
            ..self.settings.load_options()
        }
    }
}

/// `exchange`: a server until it is stopped.
#[derive(Debug, Args)]
pub struct ExchangeArgs {
    /// Address to listen on; port 0 picks a free one and the ready line says which
    #[arg(long, default_value = "127.0.0.1:9700", value_name = "HOST:PORT")]
    pub listen: std::net::SocketAddr,
    /// An account with made-up credentials of this exchange, never real ones; may be repeated
    #[arg(long = "account", value_name = "KEY:SECRET:PASSPHRASE")]
    pub accounts: Vec<AccountArg>,
    /// What each account starts with, in USDT
    #[arg(long, default_value_t = 10_000.0, value_parser = parse_balance, value_name = "USDT")]
    pub balance: f64,
    /// An instrument that is listed only after a while of the exchange's clock; may be repeated
    #[arg(long = "list-after", value_name = "SYMBOL@TIME")]
    pub listed_after: Vec<AfterArg>,
    /// An instrument that is delisted after a while of the exchange's clock; may be repeated
    #[arg(long = "delist-after", value_name = "SYMBOL@TIME")]
    pub delisted_after: Vec<AfterArg>,
    #[command(flatten)]
    pub market: MarketArgs,
    #[command(flatten)]
    pub venue: VenueRuleArgs,
}

/// `replay`: recorded market data through the same stages, as fast as they go.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Directory of recorded market data
    #[arg(long, value_name = "DIR")]
    pub market: PathBuf,
    /// Print the result as one JSON object
    #[arg(long)]
    pub json: bool,
    /// One thread, or a thread for each stage of the decision path; the decisions are the same
    #[arg(long, value_enum, default_value_t = ReplayLayout::Fused)]
    pub layout: ReplayLayout,
    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Begin here: 2025-06-01 or 2025-06-01T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    pub from: Option<Instant>,
    /// End before here
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    pub to: Option<Instant>,
    /// Only these symbols, such as BTC-USDT,ETH-USDT
    #[arg(long, value_delimiter = ',', value_name = "SYMBOLS")]
    pub symbols: Vec<String>,
    /// Begin with the weights of this file (BANDIT_STATE_PATH of a run); they are saved below --out
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Use the calibration of this file instead of the heuristic probability
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
    /// Funding rates to go with recorded candles: symbol, time in ms and rate, as CSV or .csv.gz
    #[arg(long, value_name = "FILE")]
    pub funding: Option<PathBuf>,
    #[command(flatten)]
    pub report: super::replay_report::ReplayReportArgs,
    #[command(flatten)]
    pub research: ResearchArgs,
}

/// Threads of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReplayLayout {
    Fused,
    Staged,
}

/// `doctor`: one line for each thing looked at.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
    /// Judge the settings as `run --live` would; doctor itself never sends an order
    #[arg(long)]
    pub live: bool,
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Where settings of a daemon come from.
#[derive(Clone, Debug, Default, Args)]
pub struct SettingsArgs {
    /// TOML file that overrides defaults; .env, environment and --set override it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// File of KEY=VALUE lines; without it ./.env, else ./smart_scanner/.env, if there is one
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
    /// Set one key, above every other source; may be repeated; no credentials
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl SettingsArgs {
    /// The same for `Settings::load`, without the live opt-in.
    pub fn load_options(&self) -> LoadOptions {
        LoadOptions {
            config: self.config.clone(),
            env_file: self.env_file.clone(),
            set: self.set.clone(),
            ..LoadOptions::default()
        }
    }
}

/// Settings of research commands, which never read credentials, `.env` or the user's files.
#[derive(Clone, Debug, Args)]
pub struct ResearchArgs {
    /// TOML overlay; without it the embedded config/demo.toml. Neither .env nor the environment is read, but
    /// that `demo` takes the gateway's keys, CAPTURE and CAPTURE_MAX_MB from the environment
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set one key, above every other source; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Directory for everything that is written; a temporary one when absent
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// The market of the embedded exchange.
#[derive(Clone, Debug, Args)]
pub struct MarketArgs {
    /// `generated`, or a directory of recorded market data
    #[arg(long, default_value_t = MarketSource::Generated, value_name = "generated|DIR")]
    pub market: MarketSource,
    /// How many instruments are listed
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub instruments: u16,
    /// Seed of everything random: the same seed, the same market
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many times faster than the wall clock the exchange's clock runs
    #[arg(long, default_value_t = 60.0, value_parser = parse_speed)]
    pub speed: f64,
    /// Serve TLS with a certificate made at start
    #[arg(long)]
    pub tls: bool,
}

/// What the venue's documents leave open, so that both answers can be tried.
#[derive(Clone, Copy, Debug, Args)]
pub struct VenueRuleArgs {
    /// When an attached TP/SL becomes an order of its own
    #[arg(long, value_enum, default_value_t = AttachRule::FirstFill)]
    pub attach: AttachRule,
    /// Whether one position may have two stops at a time
    #[arg(long, value_enum, default_value_t = TwoStopsRule::Allow)]
    pub two_stops: TwoStopsRule,
}

/// When an attached TP/SL becomes an order of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AttachRule {
    FirstFill,
    FullFill,
}

/// Whether one position may have two stops at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TwoStopsRule {
    Allow,
    Refuse,
}

/// Where market data comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarketSource {
    /// Made from the seed.
    Generated,
    /// Recorded, in this directory.
    Directory(PathBuf),
}

impl FromStr for MarketSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("write generated, or a directory".to_owned()),
            "generated" => Ok(MarketSource::Generated),
            path => Ok(MarketSource::Directory(PathBuf::from(path))),
        }
    }
}

impl fmt::Display for MarketSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MarketSource::Generated => f.write_str("generated"),
            MarketSource::Directory(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Made-up credentials of an account at the embedded exchange.
#[derive(Clone, PartialEq, Eq)]
pub struct AccountArg {
    pub key: String,
    pub secret: String,
    pub passphrase: String,
}

impl fmt::Debug for AccountArg {
    /// Somebody will paste real ones one day.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountArg([redacted])")
    }
}

impl FromStr for AccountArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(3, ':').map(str::to_owned);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(key), Some(secret), Some(passphrase))
                if !key.is_empty() && !secret.is_empty() && !passphrase.is_empty() =>
            {
                Ok(AccountArg {
                    key,
                    secret,
                    passphrase,
                })
            }
            _ => Err("write KEY:SECRET:PASSPHRASE, none of them empty".to_owned()),
        }
    }
}

/// Longest time a command may be asked to run.
const DURATION_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// A whole number and its unit, such as 500ms, 60s, 2m or 1h.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const FORM: &str = "write a whole number and its unit: 500ms, 60s, 2m or 1h";
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or(FORM)?;
    let count: u64 = text[..digits].parse().map_err(|_| FORM)?;
    let duration = match &text[digits..] {
        "ms" => Duration::from_millis(count),
        "s" => Duration::from_secs(count),
        "m" => Duration::from_secs(count.saturating_mul(60)),
        "h" => Duration::from_secs(count.saturating_mul(3600)),
        _ => return Err(FORM.to_owned()),
    };
    if duration.is_zero() {
        return Err("the time must be longer than nothing".to_owned());
    }
    if duration > DURATION_MAX {
        Err("at most 720h".to_owned())
    } else {
        Ok(duration)
    }
}

fn parse_within(text: &str, min: f64, max: f64) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number >= min && number <= max => Ok(number),
        _ => Err(format!("allowed is {min} to {max}")),
    }
}

fn parse_speed(text: &str) -> Result<f64, String> {
    parse_within(text, 0.1, 10_000.0)
}

fn parse_balance(text: &str) -> Result<f64, String> {
    parse_within(text, 0.0, 1e9)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Cli::try_parse_from(line.split_whitespace()).map(|cli| cli.command)
    }

    #[track_caller]
    fn refuses(line: &str, words: &str) {
        let error = parse(line).map(|_| ()).expect_err("it should be refused");
        assert_eq!(error.exit_code(), 2, "usage is code 2");
        let text = error.to_string();
        assert!(text.contains(words), "no {words:?} in: {text}");
    }

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
        let names: Vec<String> = Cli::command()
            .get_subcommands()
            .map(|c| c.get_name().to_owned())
            .collect();
        assert_eq!(
            names,
            [
                "demo",
                "run",
                "gateway",
                "halt",
                "resume",
                "exchange",
                "replay",
                "migrate",
                "record",
                "parity",
                "calibrate",
                "features",
                "backtest",
                "why",
                "download",
                "doctor",
                "simulate"
            ]
        );
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command
                .get_arguments()
                .filter(|argument| argument.get_id() != "help")
            {
                assert!(
                    argument.get_help().is_some(),
                    "{} {}",
                    command.get_name(),
                    argument.get_id()
                );
            }
        }
    }

    #[test]
    fn demo_has_the_documented_defaults() {
        let Ok(Command::Demo(demo)) = parse("smart-scanner demo") else {
            panic!("no demo")
        };
        assert_eq!(demo.duration, Duration::from_secs(60));
        assert_eq!(
            (demo.market.instruments, demo.market.seed, demo.market.speed),
            (32, 1, 60.0)
        );
        assert_eq!((demo.layout, demo.idle), (Layout::Auto, Idle::Auto));
        assert_eq!(demo.market.market, MarketSource::Generated);
        assert!(!demo.json && !demo.market.tls && demo.research.out.is_none());
        let line = "smart-scanner demo --duration 2m --layout decode,indicate+score+gate,send --idle park \
                    --market rec/day --attach full-fill --two-stops refuse --set SCORE_MIN=1 --set SL_BPS=40 --out o";
        let Ok(Command::Demo(demo)) = parse(line) else {
            panic!("no demo")
        };
        assert_eq!(demo.duration, Duration::from_secs(120));
        assert_eq!(demo.market.market, MarketSource::Directory("rec/day".into()));
        assert_eq!(
            (demo.venue.attach, demo.venue.two_stops),
            (AttachRule::FullFill, TwoStopsRule::Refuse)
        );
        assert_eq!(demo.research.set, ["SCORE_MIN=1", "SL_BPS=40"]);
    }

    #[test]
    fn run_takes_the_words_that_users_type() {
        for line in [
            "smart-scanner run",
            "smart-scanner run --event",
            "smart-scanner run --loop",
            "smart-scanner run --once",
            "smart-scanner run --live --env-file e",
        ] {
            let Ok(Command::Run(run)) = parse(line) else {
                panic!("{line}")
            };
            assert_eq!(run.load_options().live, line.contains("--live"));
        }
        refuses("smart-scanner run --once --loop", "cannot be used with");
        refuses("smart-scanner halt now", "unexpected argument");
    }

    #[test]
    fn exchange_accounts_are_never_shown() {
        let line =
            "smart-scanner exchange --account k:canary:p:with:colons --account a:b:c --balance 5 --tls";
        let Ok(Command::Exchange(exchange)) = parse(line) else {
            panic!("no exchange")
        };
        assert_eq!(exchange.listen.to_string(), "127.0.0.1:9700");
        assert_eq!(exchange.accounts.len(), 2);
        assert_eq!(exchange.accounts[0].passphrase, "p:with:colons");
        assert!(!format!("{exchange:?}").contains("canary"));
        refuses("smart-scanner exchange --account k:s", "KEY:SECRET:PASSPHRASE");
        refuses("smart-scanner exchange --listen localhost", "HOST:PORT");
        refuses("smart-scanner exchange --balance=-1", "--balance");
        refuses("smart-scanner exchange --speed 0", "0.1 to 10000");
        refuses("smart-scanner exchange --speed NaN", "0.1 to 10000");
        refuses("smart-scanner exchange --instruments 0", "1..=1000");
    }

    #[test]
    fn replay_reads_times_and_symbols() {
        let line = "smart-scanner replay --market d --from 2025-06-01 --to 2025-06-01T12:00:00Z \
                    --symbols BTC-USDT,ETH-USDT --layout staged";
        let Ok(Command::Replay(replay)) = parse(line) else {
            panic!("no replay")
        };
        assert_eq!(
            replay.from,
            Some(Instant {
                unix_ms: 1_748_736_000_000
            })
        );
        assert_eq!(
            replay.to,
            Some(Instant {
                unix_ms: 1_748_779_200_000
            })
        );
        assert_eq!(replay.symbols, ["BTC-USDT", "ETH-USDT"]);
        assert_eq!(replay.layout, ReplayLayout::Staged);
        refuses("smart-scanner replay", "--market");
        refuses(
            "smart-scanner replay --market d --from yesterday",
            "2025-06-01T12:00:00Z",
        );
    }

    #[test]
    fn durations_need_a_unit() {
        for (text, ms) in [
            ("500ms", 500),
            ("60s", 60_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)));
        }
        for text in [
            "60",
            "s",
            "",
            "1d",
            "-5s",
            "1.5m",
            "0s",
            "9999h",
            "99999999999999999999s",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        refuses("smart-scanner demo --duration 60", "60s, 2m or 1h");
    }
}
