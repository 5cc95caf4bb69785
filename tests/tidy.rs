//! The promise: the source keeps to its own rules. Layers point one way, `unsafe` stays in the
//! machine, decisions read no clock, files stay readable.

use std::fs;
use std::path::{Path, PathBuf};

/// The layers, lowest first. A module may use what stands before it, and itself.
/// Pure decisions (`indicators`, `strategy`, `risk`, `orders`, `exchange`) use only `model`.
const LAYERS: [&str; 20] = [
    "model",
    "sys",
    "bus",
    "metrics",
    "store",
    "settings",
    "indicators",
    "strategy",
    "risk",
    "orders",
    "exchange",
    "venue",
    "capture",
    "gateway",
    "research",
    "universe",
    "driver",
    "stage",
    "topology",
    "app",
];
const PURE: [&str; 5] = ["indicators", "strategy", "risk", "orders", "exchange"];
/// Edges against the list, each with its reason.
const EXCEPTIONS: [(&str, &str, &str); 4] = [
    (
        "model",
        "bus",
        "the records of the model implement the ring's trait in one file",
    ),
    (
        "driver",
        "topology",
        "the journal and the layout name stages and links",
    ),
    ("stage", "topology", "each stage lists its inputs by link"),
    ("topology", "bus", "the table plans the rings"),
];
const UNSAFE_ALLOWED: [&str; 4] = ["sys", "bus", "metrics", "store"];
const LINES_MAX: usize = 600;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn source_files() -> Vec<(String, String)> {
    let mut found = Vec::new();
    rust_files(&root().join("src"), &mut found);
    found.sort();
    assert!(found.len() > 40, "only {} source files found", found.len());
    let read = |path: PathBuf| {
        let name = path
            .strip_prefix(root())
            .expect("below the root")
            .display()
            .to_string();
        (name, fs::read_to_string(&path).expect("readable source"))
    };
    found.into_iter().map(read).collect()
}

/// The file without its tests.
fn product(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod ").next().unwrap_or(text)
}

fn module_of(name: &str) -> &str {
    let inside = name.strip_prefix("src/").expect("a source file");
    inside.split(['/', '.']).next().expect("a first part")
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

#[test]
fn modules_point_one_way() {
    let rank = |module: &str| LAYERS.iter().position(|layer| *layer == module);
    let mut faults = Vec::new();
    for (name, text) in source_files() {
        let from = module_of(&name);
        if matches!(from, "lib" | "main") {
            continue;
        }
        let Some(from_rank) = rank(from) else {
            panic!("{name}: module {from} is in no layer")
        };
        for (number, line) in product(&text)
            .lines()
            .enumerate()
            .filter(|(_, line)| !is_comment(line))
        {
            for part in line.split("crate::").skip(1) {
                let to = part
                    .split(|c: char| !c.is_ascii_lowercase() && c != '_')
                    .next()
                    .unwrap_or("");
                let Some(to_rank) = rank(to) else { continue };
                let pure = PURE.contains(&from) && to != from && to != "model";
                let excused = EXCEPTIONS.iter().any(|(a, b, _)| *a == from && *b == to);
                if (to_rank > from_rank || pure) && !excused {
                    faults.push(format!("{name}:{}: {from} uses {to}", number + 1));
                }
            }
        }
    }
    assert!(
        faults.is_empty(),
        "edges against the layers:\n{}",
        faults.join("\n")
    );
}

#[test]
fn unsafe_stays_in_the_machine_and_says_why() {
    let mut faults = Vec::new();
    for (name, text) in source_files() {
        let lines: Vec<&str> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            let opens =
                code.contains("unsafe {") || code.contains("unsafe impl") || code.contains("unsafe fn");
            if !opens {
                continue;
            }
            if !UNSAFE_ALLOWED.contains(&module_of(&name)) {
                faults.push(format!("{name}:{}: unsafe outside the machine layer", index + 1));
            }
            let above = &lines[index.saturating_sub(8)..index];
            if !above
                .iter()
                .any(|line| line.contains("SAFETY:") || line.contains("# Safety"))
            {
                faults.push(format!("{name}:{}: unsafe without its SAFETY fact", index + 1));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn decisions_read_no_clock_and_draw_no_lots() {
    let banned = [
        "Instant::now",
        "SystemTime::now",
        "rand::rng()",
        "thread_rng",
        "std::env::",
        "println!",
    ];
    let mut faults = Vec::new();
    for (name, text) in source_files() {
        let decides = PURE.contains(&module_of(&name)) || name.starts_with("src/stage/");
        for (index, line) in product(&text).lines().enumerate() {
            for word in banned {
                if decides && !is_comment(line) && line.contains(word) {
                    faults.push(format!("{name}:{}: {word}", index + 1));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn files_are_short_and_open_with_what_they_are_for() {
    let mut faults = Vec::new();
    for (name, text) in source_files() {
        let lines = text.lines().count();
        if lines > LINES_MAX {
            faults.push(format!("{name}: {lines} lines, at most {LINES_MAX}"));
        }
        if !text.starts_with("//!") {
            faults.push(format!("{name}: no //! header"));
        }
        for word in ["util", "helper", "manager", "misc", "common"] {
            if name.rsplit('/').next().is_some_and(|file| file.contains(word)) {
                faults.push(format!("{name}: {word} says nothing"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn nothing_is_left_half_said() {
    let mut faults = Vec::new();
    for (name, text) in source_files() {
        for (index, line) in product(&text).lines().enumerate() {
            let unwraps = !is_comment(line) && (line.contains(".unwrap()") || line.contains("panic!("));
            let unfinished = ["TODO", "FIXME", "XXX", "todo!(", "unimplemented!("]
                .iter()
                .any(|word| line.contains(word));
            if unwraps || unfinished {
                faults.push(format!("{name}:{}: {}", index + 1, line.trim()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("a manifest");
    let mut in_dependencies = false;
    let mut faults = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_dependencies = line.contains("dependencies");
        } else if in_dependencies && line.contains('=') && !line.contains('#') {
            faults.push(line.to_string());
        }
    }
    assert!(faults.is_empty(), "no reason beside:\n{}", faults.join("\n"));
}
