//! From sources to `Settings`: layers in order of precedence, then ranges, then cross checks.
//!
//! The only file of `settings` that touches the outside: it reads the environment and at most
//! two files. Research commands take another door that reads neither environment nor `.env`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::path::PathBuf;

use super::Changed;
use super::Settings;
use super::checks;
use super::fault::Origin;
use super::fault::SettingsError;
use super::fault::SettingsFault;
use super::fault::shown;
use super::keys;
use super::keys::Key;
use super::keys::Kind;
use super::secret::Credentials;
use super::secret::Secret;
use super::secret::Secrets;
use super::sections;
use super::source;
use super::source::Layer;
use super::source::Raw;
use super::value;
use super::value::Value;
use super::value::Values;

/// `config/default.toml`, the lowest layer.
pub const DEFAULT_TOML: &str = include_str!("../../config/default.toml");
/// `config/demo.toml`, the overlay of research commands unless they name another.
pub const DEMO_TOML: &str = include_str!("../../config/demo.toml");

/// The REST root of research settings: a name that can never be resolved, until the command puts
/// the address of the embedded exchange in its place.
pub const RESEARCH_BASE_URL: &str = "http://embedded.invalid";

/// What the command line says about settings.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// `--config`: a TOML overlay.
    pub config: Option<PathBuf>,
    /// `--env-file`; without it `./.env`, else `./smart_scanner/.env`, else none.
    pub env_file: Option<PathBuf>,
    /// `--set KEY=VALUE`, in order.
    pub set: Vec<String>,
    /// `--live`: the second opt-in for real orders.
    pub live: bool,
    /// For a command that reads the user's history and never trades: secrets are dropped unread, and what
    /// only a daemon needs is not asked for.
    pub is_history: bool,
}

impl Settings {
    /// The settings of this process: command line, environment, `.env`, overlay, defaults. Every
    /// fault is reported at once; the program then exits with code 2.
    pub fn load(options: &LoadOptions) -> Result<Settings, SettingsError> {
        Settings::from_sources(options, std::env::vars_os(), Path::new("."))
    }

    /// As `load`, with the environment and the directory of `.env` as arguments.
    pub fn from_sources(
        options: &LoadOptions,
        environment: impl Iterator<Item = (OsString, OsString)>,
        directory: &Path,
    ) -> Result<Settings, SettingsError> {
        let mut resolver = Resolver::new();
        resolver.drops_secrets = options.is_history;
        if let Some(path) = &options.config {
            resolver.apply_file(path, "name an overlay that exists with --config", |text| {
                source::toml_file(&path.display().to_string(), text)
            });
        }
        if let Some(path) = env_file_path(options, directory) {
            resolver.apply_file(&path, "name a file that exists with --env-file", |text| {
                source::env_file(&path, text)
            });
        }
        resolver.apply(source::environment(environment));
        resolver.apply(source::command_line(&options.set));
        if options.live {
            resolver.fix("LIVE_TRADING", Value::Flag(true), Origin::CommandLine);
        }
        resolver.finish(options.is_history)
    }

    /// The settings of a research command: defaults, an overlay (the embedded demo overlay unless
    /// `config` names another) and `--set`. It never looks at the environment or `.env`, holds no
    /// credentials, names no venue, and keeps every file under `out`.
    pub fn research(config: Option<&Path>, set: &[String], out: &Path) -> Result<Settings, SettingsError> {
        Settings::research_listening(config, set, out, std::iter::empty())
    }

    /// As `research`, for a command that listens for alerts and can be captured: of `environment` it
    /// takes the keys of `[gateway]`, which open a port on this machine and nothing else, and CAPTURE and
    /// CAPTURE_MAX_MB, which write below `out`.
    pub fn research_listening(
        config: Option<&Path>,
        set: &[String],
        out: &Path,
        environment: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Settings, SettingsError> {
        let mut resolver = Resolver::new();
        match config {
            Some(path) => resolver.apply_research_file(path),
            None => resolver.apply(source::toml_file("config/demo.toml", DEMO_TOML)),
        }
        let mut layer = source::environment(environment.filter(|(name, _)| is_of_demo(name)));
        layer.entries.retain(|entry| entry.key.kind != Kind::Host);
        resolver.apply(layer);
        let mut arguments = source::command_line(set);
        let (fixed, free): (Vec<_>, Vec<_>) = arguments
            .entries
            .into_iter()
            .partition(|entry| fixed_by_research(entry.key).is_some());
        for entry in fixed {
            let why = fixed_by_research(entry.key).expect("partitioned by this");
            resolver.faults.push(SettingsFault::FixedByResearch {
                key: entry.key.name,
                why,
                origin: entry.origin,
            });
        }
        arguments.entries = free;
        resolver.apply(arguments);
        for (name, place) in RESEARCH_PLACES {
            resolver.fix(
                name,
                Value::Text(out.join(place).display().to_string()),
                Origin::Research,
            );
        }
        resolver.fix(
            "BLOFIN_BASE_URL",
            Value::Text(RESEARCH_BASE_URL.to_owned()),
            Origin::Research,
        );
        resolver.finish(true)
    }
}

/// Where research keeps what a daemon would keep in the user's files.
const RESEARCH_PLACES: [(&str, &str); 7] = [
    ("BUS_PATH", "smart-scanner.bus"),
    ("STATE_DIR", "state"),
    ("UNIVERSE_CACHE_PATH", ".universe_cache.json"),
    ("BANDIT_STATE_PATH", "bandit_state.json"),
    ("CALIBRATION_PATH", "calibration.json"),
    ("METRICS_PATH", "scanner_metrics.jsonl"),
    ("CAPTURE_DIR", "capture"),
];

/// Why a research command decides this key itself, or `None` when it does not.
fn fixed_by_research(key: &Key) -> Option<&'static str> {
    match key.kind {
        Kind::Path => Some("keeps every file under --out"),
        Kind::Secret => Some("uses no credentials"),
        Kind::HttpUrl | Kind::SocketUrl => Some("never leaves this machine"),
        Kind::Host => Some("listens on this machine only"),
        _ => None,
    }
}

/// Whether a demo takes this key from the environment. CAPTURE_DIR is not one: everything stays under `out`.
fn is_of_demo(name: &std::ffi::OsStr) -> bool {
    let key = name.to_str().and_then(keys::find);
    key.is_some_and(|key| {
        key.section == keys::Section::Gateway || matches!(key.name, "CAPTURE" | "CAPTURE_MAX_MB")
    })
}

fn env_file_path(options: &LoadOptions, directory: &Path) -> Option<PathBuf> {
    if options.env_file.is_some() {
        return options.env_file.clone();
    }
    let places = [
        directory.join(".env"),
        directory.join("smart_scanner").join(".env"),
    ];
    // symlink_metadata: a dangling link is somebody's .env and must not be passed over silently.
    places.into_iter().find(|path| path.symlink_metadata().is_ok())
}

/// Layers on their way to settings.
struct Resolver {
    values: Values,
    origins: BTreeMap<&'static str, Origin>,
    /// By the name as written, older names included.
    secrets: BTreeMap<&'static str, (Secret, Origin)>,
    exposed_files: Vec<(PathBuf, u32)>,
    drops_secrets: bool,
    faults: Vec<SettingsFault>,
    warnings: Vec<String>,
}

impl Resolver {
    fn new() -> Self {
        let mut resolver = Resolver {
            values: Values::defaults(),
            origins: BTreeMap::new(),
            secrets: BTreeMap::new(),
            exposed_files: Vec::new(),
            drops_secrets: false,
            faults: Vec::new(),
            warnings: Vec::new(),
        };
        resolver.apply(source::toml_file("", DEFAULT_TOML));
        resolver
    }

    fn apply_file(&mut self, path: &Path, advice: &'static str, read: impl FnOnce(&str) -> Layer) {
        match source::read_file(path, advice) {
            Ok((text, mode)) => {
                let mut layer = read(&text);
                layer.file = Some((path.to_owned(), mode));
                self.apply(layer);
            }
            Err(fault) => self.faults.push(*fault),
        }
    }

    fn apply_research_file(&mut self, path: &Path) {
        let mut ignored = Vec::new();
        self.apply_file(path, "name an overlay that exists with --config", |text| {
            let mut layer = source::toml_file(&path.display().to_string(), text);
            layer.entries.retain(|entry| match fixed_by_research(entry.key) {
                Some(why) => {
                    ignored.push(format!(
                        "{}: {} is not used: this command {why}",
                        entry.origin, entry.key
                    ));
                    false
                }
                None => true,
            });
            layer
        });
        self.warnings.append(&mut ignored);
    }

    fn fix(&mut self, name: &'static str, value: Value, origin: Origin) {
        self.values.set(name, value);
        self.origins.insert(name, origin);
    }

    fn apply(&mut self, mut layer: Layer) {
        self.faults.append(&mut layer.faults);
        self.warnings.append(&mut layer.warnings);
        for entry in layer.entries {
            match entry.raw {
                Raw::Secret(_) if self.drops_secrets => {}
                Raw::Secret(secret) => {
                    self.apply_secret(
                        entry.key,
                        entry.written,
                        secret,
                        entry.origin,
                        layer.file.as_ref(),
                    );
                }
                Raw::Text(text) => self.apply_text(entry.key, text.trim(), entry.origin),
            }
        }
    }

    fn apply_text(&mut self, key: &'static Key, text: &str, origin: Origin) {
        if text.is_empty() {
            // `KEY=` says nothing; the layer below holds.
            return;
        }
        match value::parse(key, text) {
            Ok(value) => {
                self.values.set(key.name, value);
                self.origins.insert(key.name, origin);
            }
            Err(detail) => self
                .faults
                .push(source::refused(key, &shown(text), &shown(&detail), origin)),
        }
    }

    /// An empty credential is a missing one, also when a lower layer has it.
    fn apply_secret(
        &mut self,
        key: &'static Key,
        written: &'static str,
        secret: Secret,
        origin: Origin,
        file: Option<&(PathBuf, u32)>,
    ) {
        let text = secret.expose();
        if text.is_empty() {
            self.secrets.remove(written);
            return;
        }
        let is_printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if !is_printable || text.trim() != text {
            let detail = "it has spaces around it, or characters that no header carries";
            self.faults
                .push(source::refused(key, "[redacted]", detail, origin));
            return;
        }
        if let Some((path, mode)) = file
            && mode & 0o077 != 0
            && !self.exposed_files.iter().any(|(seen, _)| seen == path)
        {
            self.exposed_files.push((path.clone(), *mode));
        }
        self.secrets.insert(written, (secret, origin));
    }

    fn finish(mut self, is_research: bool) -> Result<Settings, SettingsError> {
        // Older names are used only where no source gives the key's own name: other programs have
        // a SECRET_KEY in the environment too.
        for (alias, canonical) in keys::ALIASES {
            if let Some(secret) = self.secrets.remove(alias) {
                self.secrets.entry(canonical).or_insert(secret);
            }
        }
        let changed = self.changed();
        let config_hash = config_hash(&self.values);
        let mut take = |name: &str| self.secrets.remove(name).map(|(secret, _)| secret);
        let parts = [
            take("BLOFIN_API_KEY"),
            take("BLOFIN_API_SECRET"),
            take("BLOFIN_API_PASSPHRASE"),
        ];
        let names = ["BLOFIN_API_KEY", "BLOFIN_API_SECRET", "BLOFIN_API_PASSPHRASE"];
        let missing: Vec<&'static str> = names
            .into_iter()
            .zip(&parts)
            .filter(|(_, part)| part.is_none())
            .map(|(name, _)| name)
            .collect();
        let credentials = match parts {
            [Some(api_key), Some(api_secret), Some(api_passphrase)] => Some(Credentials {
                api_key,
                api_secret,
                api_passphrase,
            }),
            _ => None,
        };
        let secrets = Secrets {
            credentials,
            webhook_secret: take("WEBHOOK_SECRET"),
            webhook_secret_next: take("WEBHOOK_SECRET_NEXT"),
        };
        let mut settings = Settings {
            daemon: sections::daemon(&self.values),
            venue: sections::venue(&self.values),
            scan: sections::scan(&self.values),
            score: sections::score(&self.values),
            order_flow: sections::order_flow(&self.values),
            trade: sections::trade(&self.values),
            bracket: sections::bracket(&self.values),
            gateway: sections::gateway(&self.values, secrets.webhook_secret.is_some()),
            record: sections::record(&self.values),
            secrets,
            warnings: Vec::new(),
            changed,
            config_hash,
        };
        let mut findings = vec![checks::numbers(&settings), checks::gateway(&settings)];
        if !is_research {
            findings.push(checks::outside(&settings, &missing));
            findings.push(self.exposed(!settings.trade.paper_trading));
        }
        for mut found in findings {
            self.faults.append(&mut found.faults);
            self.warnings.append(&mut found.warnings);
        }
        settings.warnings = self.warnings;
        if self.faults.is_empty() {
            Ok(settings)
        } else {
            Err(SettingsError { faults: self.faults })
        }
    }

    /// Files with credentials that other users of the machine may read.
    fn exposed(&self, is_live: bool) -> checks::Findings {
        let mut found = checks::Findings::default();
        for (path, mode) in &self.exposed_files {
            let path = path.display();
            let text = format!(
                "{path} holds credentials and others may read it (mode {mode:04o}): chmod 600 {path}"
            );
            match is_live {
                true => found.faults.push(SettingsFault::Conflict(text)),
                false => found.warnings.push(text),
            }
        }
        found
    }

    fn changed(&self) -> Vec<Changed> {
        let defaults = Values::defaults();
        let mut changed = Vec::new();
        for key in keys::KEYS {
            if let Some((_, origin)) = self.secrets.get(key.name) {
                changed.push(Changed {
                    key: key.name,
                    value: "[redacted]".to_owned(),
                    origin: origin.clone(),
                });
            } else if !key.is_secret() && self.values.get(key.name) != defaults.get(key.name) {
                let origin = self.origins.get(key.name).cloned().unwrap_or(Origin::Default);
                changed.push(Changed {
                    key: key.name,
                    value: self.values.get(key.name).to_string(),
                    origin,
                });
            }
        }
        changed
    }
}

/// blake3 over `KEY=value` lines of every effective value, in the order of their names.
fn config_hash(values: &Values) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, value) in values.iter() {
        hasher.update(format!("{name}={value}\n").as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}
