//! How stages share threads, and what a thread without work does, as words of the settings.
//!
//! The words are checked here so that a bad layout is refused before anything starts; what a
//! layout means for threads is the drivers' business.

use std::fmt;
use std::str::FromStr;

/// Every stage, in the order of the pipeline. The first five are the decision path.
pub const STAGES: [&str; 9] = [
    "decode",
    "indicate",
    "score",
    "gate",
    "send",
    "fetch",
    "account",
    "webhook",
    "housekeep",
];

const DECISION_STAGE_COUNT: usize = 5;

/// Which stages share a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Chosen by the number of cores the process may use.
    #[default]
    Auto,
    /// The decision path on one thread.
    Fused,
    /// A thread for each stage of the decision path.
    Staged,
    /// These groups, each a thread, in this order.
    Groups(Vec<Vec<&'static str>>),
}

impl FromStr for Layout {
    type Err = String;

    /// Reads `auto`, `fused`, `staged`, or groups with `,` between threads and `+` between the
    /// stages of one. Groups name each stage of the decision path exactly once; other stages at
    /// most once.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => return Ok(Layout::Auto),
            "fused" => return Ok(Layout::Fused),
            "staged" => return Ok(Layout::Staged),
            _ => {}
        }
        let mut seen: Vec<&'static str> = Vec::new();
        let mut groups = Vec::new();
        for group_text in text.split(',') {
            let mut group = Vec::new();
            for name in group_text.split('+').map(str::trim) {
                let stage = STAGES.iter().find(|stage| **stage == name).ok_or_else(|| {
                    format!(
                        "no stage {:?}; stages are {}",
                        name.chars().take(40).collect::<String>(),
                        STAGES.join(" ")
                    )
                })?;
                if seen.contains(stage) {
                    return Err(format!("stage {stage} is named twice"));
                }
                seen.push(stage);
                group.push(*stage);
            }
            groups.push(group);
        }
        match STAGES[..DECISION_STAGE_COUNT]
            .iter()
            .find(|stage| !seen.contains(stage))
        {
            Some(missing) => Err(format!("stage {missing} of the decision path is missing")),
            None => Ok(Layout::Groups(groups)),
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Layout::Auto => f.write_str("auto"),
            Layout::Fused => f.write_str("fused"),
            Layout::Staged => f.write_str("staged"),
            Layout::Groups(groups) => {
                let threads: Vec<String> = groups.iter().map(|group| group.join("+")).collect();
                f.write_str(&threads.join(","))
            }
        }
    }
}

/// What a thread does when it finds no work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Idle {
    /// Chosen by the number of cores the process may use.
    #[default]
    Auto,
    /// Look again at once; needs a core of its own.
    Spin,
    /// Let others run, then look again.
    Yield,
    /// Sleep until woken.
    Park,
}

impl FromStr for Idle {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Idle::Auto),
            "spin" => Ok(Idle::Spin),
            "yield" => Ok(Idle::Yield),
            "park" => Ok(Idle::Park),
            _ => Err("allowed is auto | spin | yield | park".to_owned()),
        }
    }
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Idle::Auto => "auto",
            Idle::Spin => "spin",
            Idle::Yield => "yield",
            Idle::Park => "park",
        })
    }
}

/// Core numbers from text such as `0,2-3`: sorted, none twice. Empty text is an empty list.
pub(super) fn parse_cores(text: &str) -> Result<Vec<u32>, String> {
    /// More than any machine this runs on has; a typing error must not make a long list.
    const CORE_MAX: u32 = 4095;
    let number = |word: &str| -> Result<u32, String> {
        let core: u32 = word.trim().parse().map_err(|_| "cores are numbers".to_owned())?;
        if core <= CORE_MAX {
            Ok(core)
        } else {
            Err(format!("the last possible core is {CORE_MAX}"))
        }
    };
    let mut cores = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if first > last {
            return Err(format!("range {first}-{last} runs backwards"));
        }
        cores.extend(first..=last);
    }
    cores.sort_unstable();
    cores.dedup();
    Ok(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_read_and_print_the_same() {
        for text in [
            "auto",
            "fused",
            "staged",
            "decode,indicate+score+gate,send",
            "send+decode+indicate+score+gate,fetch",
        ] {
            assert_eq!(
                text.parse::<Layout>().map(|layout| layout.to_string()),
                Ok(text.to_owned())
            );
        }
        for (text, words) in [
            (
                "decode,indicate+score+gate",
                "send of the decision path is missing",
            ),
            ("decode,decode,indicate,score,gate,send", "decode is named twice"),
            ("decode,indicat", "no stage \"indicat\""),
            ("", "no stage \"\""),
        ] {
            let refusal = text.parse::<Layout>().unwrap_err();
            assert!(refusal.contains(words), "{text}: {refusal}");
        }
    }

    #[test]
    fn cores_are_sorted_and_unique() {
        assert_eq!(parse_cores("3,0-1,1"), Ok(vec![0, 1, 3]));
        assert_eq!(parse_cores(""), Ok(vec![]));
        for bad in ["a", "3-1", "-1", "0-99999", "1-"] {
            assert!(parse_cores(bad).is_err(), "{bad}");
        }
    }
}
