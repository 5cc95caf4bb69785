//! The user's `bandit_state.json`: text to state and back. Reading, the `.bak` and renaming are the
//! caller's.
//!
//! A file that cannot be believed is refused as a whole; a node that cannot is dropped and counted; a
//! node of an unknown arm is kept and written back.

use super::bandit::{Bandit, Level, Node};
use super::components::COMPONENTS;
use super::params::BanditParams;
use serde_json::{Map, Value, json};

const VERSION: u64 = 1;
const ALGORITHM: &str = "dbeta-pool";
/// More nodes than any version of this program writes: a wrong file.
const NODES_MAX: usize = 20_000;

/// Why the file was not used at all.
#[derive(Debug, thiserror::Error)]
pub enum BanditFileError {
    #[error("bandit state is not JSON: {0}; restore the .bak beside it or remove both to start over")]
    NotJson(#[from] serde_json::Error),
    #[error(
        "bandit state key `{key}` is {found}, this program reads {allowed}; remove the file to start over"
    )]
    Unreadable {
        key: &'static str,
        found: String,
        allowed: String,
    },
}

/// What a file held.
#[derive(Debug)]
pub struct Loaded {
    pub bandit: Bandit,
    /// Nodes of components that this version does not know, in file order.
    pub unknown: Vec<(String, Node)>,
    /// Nodes that were dropped because a number in them was negative or not finite.
    pub dropped_count: usize,
    /// What the user should be told, if anything.
    pub warning: Option<String>,
}

/// Reads the text of a state file. A file of the Python scanner (`{"tau":…,"weights":…}`) and a file
/// learned with another reward range give a bandit that knows nothing, and a warning.
///
/// # Errors
/// When the text is not JSON, or of another version or algorithm.
pub fn load(text: &str, params: BanditParams) -> Result<Loaded, BanditFileError> {
    let root: Value = serde_json::from_str(text)?;
    let mut loaded = Loaded {
        bandit: Bandit::new(params),
        unknown: Vec::new(),
        dropped_count: 0,
        warning: None,
    };
    if root.get("tau").is_some() && root.get("weights").is_some() {
        loaded.warning = Some(
            "bandit state was written by the Python scanner; its weights mean something else and are not used"
                .to_owned(),
        );
        return Ok(loaded);
    }
    expect(&root, "version", &json!(VERSION))?;
    expect(&root, "algo", &json!(ALGORITHM))?;
    let reward = |key: &str| root.pointer(&format!("/reward/{key}")).and_then(Value::as_f64);
    if reward("lo") != Some(params.reward_low) || reward("hi") != Some(params.reward_high) {
        loaded.warning = Some(format!(
            "bandit state was learned with another reward range than {}..{}; starting over",
            params.reward_low, params.reward_high
        ));
        return Ok(loaded);
    }
    let nodes = root
        .get("nodes")
        .and_then(Value::as_object)
        .filter(|nodes| nodes.len() <= NODES_MAX)
        .ok_or_else(|| unreadable(&root, "nodes", format!("an object of at most {NODES_MAX} nodes")))?;
    for (key, value) in nodes {
        match (node_of(value), place_of(key)) {
            (None, _) => loaded.dropped_count += 1,
            (Some(node), Some((arm, level))) => loaded.bandit.set_node(arm, level, node),
            (Some(node), None) => loaded.unknown.push((key.clone(), node)),
        }
    }
    Ok(loaded)
}

/// The text of the state file: nodes that have seen a label, in table order, then `unknown`.
pub fn save(bandit: &Bandit, unknown: &[(String, Node)], saved_ms: i64) -> String {
    let params = bandit.params();
    let mut nodes = Map::new();
    for (arm, component) in COMPONENTS.iter().enumerate() {
        for level in Level::all() {
            let node = bandit.node(arm, level);
            if node.count > 0 {
                nodes.insert(key_of(component.name, level), value_of(node));
            }
        }
    }
    for (key, node) in unknown {
        nodes.insert(key.clone(), value_of(node));
    }
    let root = json!({
        "version": VERSION,
        "algo": ALGORITHM,
        "saved_ms": saved_ms,
        "half_life_h": params.half_life_h,
        "n_max": params.mass_max,
        "n0": params.prior_mass,
        "reward": {"lo": params.reward_low, "hi": params.reward_high},
        "map": {
            "kappa": params.kappa,
            "w_min": params.weight_min,
            "w_max": params.weight_max,
            "sd_penalty": params.deviation_penalty,
        },
        "seed": params.seed,
        "nodes": nodes,
    });
    format!("{root:#}\n")
}

fn expect(root: &Value, key: &'static str, allowed: &Value) -> Result<(), BanditFileError> {
    if root.get(key) == Some(allowed) {
        return Ok(());
    }
    Err(unreadable(root, key, allowed.to_string()))
}

fn unreadable(root: &Value, key: &'static str, allowed: String) -> BanditFileError {
    let mut found = root.get(key).map_or("missing".to_owned(), Value::to_string);
    let cut = found.char_indices().nth(40).map_or(found.len(), |(at, _)| at);
    found.truncate(cut);
    BanditFileError::Unreadable { key, found, allowed }
}

fn key_of(name: &str, level: Level) -> String {
    match level {
        Level::Arm => name.to_owned(),
        Level::Regime(relative) => format!("{name}|{}", relative.text()),
        Level::Timeframe(relative, timeframe) => format!("{name}|{}|{}", relative.text(), timeframe.text()),
    }
}

fn place_of(key: &str) -> Option<(usize, Level)> {
    let name = key.split('|').next()?;
    let arm = COMPONENTS.iter().position(|component| component.name == name)?;
    let level = Level::all().find(|level| key_of(name, *level) == key)?;
    Some((arm, level))
}

fn node_of(value: &Value) -> Option<Node> {
    let mass = |key: &str| {
        value
            .get(key)?
            .as_f64()
            .filter(|mass| mass.is_finite() && *mass >= 0.0)
    };
    Some(Node {
        success: mass("s")?,
        failure: mass("f")?,
        count: value.get("n")?.as_u64()?,
        updated_ms: value.get("ts_ms")?.as_i64()?,
    })
}

fn value_of(node: &Node) -> Value {
    json!({"s": node.success, "f": node.failure, "n": node.count, "ts_ms": node.updated_ms})
}
