//! Whatever bytes a reader is given, its law holds: seeds, all their truncations, and thousands of seeded
//! changes of them. The laws are those of the fuzz targets (tools/fuzz).

mod laws;
mod scene;

use laws::{Law, Numbers};
use smart_scanner::model::Side;
use smart_scanner::stage::gate::core_snapshot::SNAPSHOT_MAX;

/// Changed inputs a law.
const CHANGED: usize = 4_000;
/// Numbers at the edge of what some width of an integer holds.
const EDGES: [&[u8]; 8] = [
    b"-1",
    b"0",
    b"255",
    b"65536",
    b"4294967296",
    b"9223372036854775807",
    b"18446744073709551615",
    b"1e308",
];

/// Checks `law` on `seeds` and on what becomes of them.
fn check(law: &Law, seeds: &[Vec<u8>], changed: usize) {
    let mut numbers = Numbers(2026);
    let run = |bytes: &[u8], how: &str| {
        let told = || {
            let start = &bytes[..bytes.len().min(300)];
            format!(
                "{} of {}: {} bytes, {}",
                how,
                law.name,
                bytes.len(),
                start.escape_ascii()
            )
        };
        let result = std::panic::catch_unwind(|| (law.check)(bytes));
        assert!(result.is_ok(), "{}", told());
    };
    for seed in seeds {
        run(seed, "a seed");
        let step = seed.len() / 400 + 1;
        for end in (0..seed.len()).step_by(step) {
            run(&seed[..end], "a truncation");
        }
    }
    for _ in 0..changed {
        let mut bytes = seeds[numbers.pick(seeds.len())].clone();
        for _ in 0..=numbers.pick(3) {
            change(&mut bytes, seeds, &mut numbers);
        }
        run(&bytes, "a change");
    }
}

/// One change, of the kinds that a fuzzer makes.
fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], numbers: &mut Numbers) {
    let at = numbers.pick(bytes.len() + 1);
    let most = [2, 9, 60][numbers.pick(3)];
    let length = numbers.pick(most).min(bytes.len() - at);
    match numbers.pick(8) {
        0 | 1 if at < bytes.len() => bytes[at] ^= 1 << numbers.pick(8),
        2 if at < bytes.len() => bytes[at] = numbers.next() as u8,
        3 => bytes.insert(at, numbers.next() as u8),
        4 => drop(bytes.drain(at..at + length)),
        5 => {
            let part = bytes[at..at + length].to_vec();
            bytes.splice(at..at, part);
        }
        6 => {
            let other = &seeds[numbers.pick(seeds.len())];
            let from = numbers.pick(other.len() + 1);
            let until = other.len().min(from + 1 + numbers.pick(100));
            bytes.splice(at..at + length, other[from..until].iter().copied());
        }
        _ => {
            // A number in the text, or the bytes here.
            let is_digit = |byte: &u8| byte.is_ascii_digit();
            let start = at + bytes[at..].iter().position(is_digit).unwrap_or(0);
            let count = bytes[start..].iter().take_while(|byte| is_digit(byte)).count();
            let edge = EDGES[numbers.pick(EDGES.len())];
            bytes.splice(start..start + count, edge.iter().copied());
        }
    }
}

fn law(name: &str) -> &'static Law {
    let found = laws::ALL.iter().find(|law| law.name == name);
    found.unwrap_or_else(|| panic!("{name} is no law"))
}

fn check_named(name: &str) {
    let law = law(name);
    check(law, &(law.seeds)(), CHANGED);
}

macro_rules! laws_hold {
    ($($name:ident)*) => {
        /// The laws that are checked here.
        const CHECKED: &[&str] = &[$(stringify!($name),)* "gate_image"];
        $(
            #[test]
            fn $name() {
                check_named(stringify!($name));
            }
        )*
    };
}

laws_hold! { market private reply book frames http alert snapshot candles capture learned alert_ids }

/// Images of gates in the middle of trades.
fn images() -> Vec<Vec<u8>> {
    let mut scene = scene::Scene::new(scene::params());
    let mut images = (law("gate_image").seeds)();
    let mut keep = |scene: &scene::Scene| {
        let mut bytes = vec![0; SNAPSHOT_MAX];
        let length = scene.gate.snapshot_bytes(&mut bytes).expect("fits");
        bytes.truncate(length);
        images.push(bytes);
    };
    scene.signal(Side::Buy);
    keep(&scene);
    let mut scene = scene::Scene::new(scene::params());
    scene.enter(Side::Buy, 60_000.1);
    keep(&scene);
    // They are of another daemon; take the tag of the law's.
    let tag = images[0][16..20].to_vec();
    for image in &mut images {
        image[16..20].copy_from_slice(&tag);
    }
    images
}

#[test]
fn gate_image() {
    check(law("gate_image"), &images(), CHANGED);
}

#[test]
fn every_law_is_checked_here_and_has_its_fuzz_target() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/fuzz");
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).expect("the targets' manifest");
    for law in &laws::ALL {
        assert!(CHECKED.contains(&law.name), "{} is not checked", law.name);
        let target = std::fs::read_to_string(root.join(format!("targets/{}.rs", law.name)));
        let call = format!("laws::{}::check(bytes)", law.name);
        assert!(
            target.is_ok_and(|text| text.contains(&call)),
            "{} has no target",
            law.name
        );
        assert!(
            manifest.contains(&format!("name = \"{}\"", law.name)),
            "{}",
            law.name
        );
    }
    assert_eq!(CHECKED.len(), laws::ALL.len());
}

/// A law that nothing can break proves nothing.
#[test]
fn a_broken_law_is_found() {
    let broken = Law {
        name: "broken",
        check: |bytes| assert!(!bytes.windows(2).any(|pair| pair == b"55"), "found"),
        seeds: || vec![b"{\"n\":12}".to_vec()],
    };
    let result = std::panic::catch_unwind(|| check(&broken, &(broken.seeds)(), CHANGED));
    assert!(result.is_err());
}

#[test]
#[ignore = "writes the seeds to tools/fuzz/corpus, to begin fuzzing with"]
fn write_corpus() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/fuzz/corpus");
    for law in &laws::ALL {
        let folder = corpus.join(law.name);
        std::fs::create_dir_all(&folder).expect("a directory");
        let seeds = if law.name == "gate_image" {
            images()
        } else {
            (law.seeds)()
        };
        for (index, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{index}")), seed).expect("written");
        }
    }
}
