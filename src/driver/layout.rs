//! Which stages share a thread, how that thread idles, and on which core it stands.
//!
//! Five spinning threads on two cores are four orders of magnitude slower than one thread doing the
//! five steps in turn, so the layout follows the cores, and more spinners than cores − 1 are refused.

use crate::settings;
use crate::topology::StageId;

/// What a thread does when none of its stages found work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Polls again at once. Only for a core of its own.
    Spin,
    /// Gives the core to whoever wants it, then polls again.
    Yield,
    /// Sleeps in the kernel until a socket is readable, a bell rings, or a timer is due.
    Park,
}

impl Idle {
    pub fn text(self) -> &'static str {
        match self {
            Idle::Spin => "spin",
            Idle::Yield => "yield",
            Idle::Park => "park",
        }
    }
}

/// Stages that one thread polls in turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub stages: Vec<StageId>,
    pub idle: Idle,
    /// Core to pin to; `None` = wherever the scheduler likes.
    pub core: Option<usize>,
}

/// Every group of a run; together they hold each stage exactly once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    pub groups: Vec<Group>,
}

/// Why a layout cannot be used; each text names the setting, the value and what is allowed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LayoutError {
    #[error(
        "LAYOUT={layout} with IDLE=spin wants {spinners} spinning threads on {cores} usable cores; at most {allowed} \
         may spin (set IDLE=yield or IDLE=park, or use fewer groups)"
    )]
    TooManySpinners {
        layout: String,
        spinners: usize,
        cores: usize,
        allowed: usize,
    },
    #[error(
        "CORES lists {listed} cores but {wanted} threads are to be pinned; list as many or leave CORES empty"
    )]
    CoresFew { listed: usize, wanted: usize },
    #[error(
        "CORES lists core {core}, which this process may not use; it may use {allowed} (change CORES, taskset, the \
         container's cpuset or CPUAffinity= of the unit)"
    )]
    CoreForbidden { core: u32, allowed: String },
}

/// The five stages of the decision path, in order.
pub const DECISION_PATH: [StageId; 5] = [
    StageId::Decode,
    StageId::Indicate,
    StageId::Score,
    StageId::Gate,
    StageId::Send,
];

/// The threads for the words `layout` and `idle` of the settings on this machine.
///
/// `present` are the stages of this graph; those that `layout` does not name get a thread each,
/// floating and parked. `pin` lists the cores for the decision path's threads; empty = not pinned.
pub fn plan(
    layout: &settings::Layout,
    idle: settings::Idle,
    pin: &[u32],
    usable: usize,
    present: &[StageId],
) -> Result<Layout, LayoutError> {
    let mut decision = decision_groups(layout, usable);
    for group in &mut decision {
        group.retain(|stage| present.contains(stage));
    }
    decision.retain(|group| !group.is_empty());
    let idle = match idle {
        settings::Idle::Spin => Idle::Spin,
        settings::Idle::Yield => Idle::Yield,
        settings::Idle::Park => Idle::Park,
        // A yielding thread needs a core that nobody else wants all the time.
        settings::Idle::Auto if decision.len() < usable => Idle::Yield,
        settings::Idle::Auto => Idle::Park,
    };
    let allowed = usable.saturating_sub(1);
    if idle == Idle::Spin && decision.len() > allowed {
        return Err(LayoutError::TooManySpinners {
            layout: layout.to_string(),
            spinners: decision.len(),
            cores: usable,
            allowed,
        });
    }
    if !pin.is_empty() && pin.len() < decision.len() {
        return Err(LayoutError::CoresFew {
            listed: pin.len(),
            wanted: decision.len(),
        });
    }
    let named: Vec<StageId> = decision.iter().flatten().copied().collect();
    let core_of = |index: usize| pin.get(index).map(|core| *core as usize);
    let mut groups: Vec<Group> = decision
        .into_iter()
        .enumerate()
        .map(|(index, stages)| Group {
            stages,
            idle,
            core: core_of(index),
        })
        .collect();
    for &stage in present.iter().filter(|stage| !named.contains(stage)) {
        groups.push(Group {
            stages: vec![stage],
            idle: Idle::Park,
            core: None,
        });
    }
    Ok(Layout { groups })
}

/// Whether every core of `pin` is in `allowed`, the affinity mask of this process: a thread that cannot be
/// pinned would run somewhere else and say nothing.
pub fn check_pins(pin: &[u32], allowed: &[usize]) -> Result<(), LayoutError> {
    match pin.iter().find(|core| !allowed.contains(&(**core as usize))) {
        Some(core) => Err(LayoutError::CoreForbidden {
            core: *core,
            allowed: ranges(allowed),
        }),
        None => Ok(()),
    }
}

/// `0-3,6` of 0, 1, 2, 3, 6.
fn ranges(cores: &[usize]) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for core in cores {
        match parts.last_mut() {
            Some((_, last)) if *core == *last + 1 => *last = *core,
            _ => parts.push((*core, *core)),
        }
    }
    let text = |(first, last): &(usize, usize)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    parts.iter().map(text).collect::<Vec<_>>().join(",")
}

fn decision_groups(layout: &settings::Layout, usable: usize) -> Vec<Vec<StageId>> {
    let staged = || DECISION_PATH.iter().map(|stage| vec![*stage]).collect::<Vec<_>>();
    match layout {
        settings::Layout::Fused => vec![DECISION_PATH.to_vec()],
        settings::Layout::Staged => staged(),
        settings::Layout::Auto => match usable {
            0..=3 => vec![DECISION_PATH.to_vec()],
            4 | 5 => vec![
                vec![StageId::Decode],
                vec![StageId::Indicate, StageId::Score, StageId::Gate],
                vec![StageId::Send],
            ],
            _ => staged(),
        },
        settings::Layout::Groups(groups) => groups
            .iter()
            .map(|names| names.iter().filter_map(|name| StageId::parse(name)).collect())
            .collect(),
    }
}

/// `decode+indicate+score+gate+send (yield) | account (park) | …`, for people.
impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, group) in self.groups.iter().enumerate() {
            let names: Vec<&str> = group.stages.iter().map(|stage| stage.text()).collect();
            let separator = if index == 0 { "" } else { " | " };
            write!(f, "{separator}{} ({}", names.join("+"), group.idle.text())?;
            if let Some(core) = group.core {
                write!(f, ", core {core}")?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRESENT: [StageId; 6] = [
        StageId::Decode,
        StageId::Indicate,
        StageId::Score,
        StageId::Gate,
        StageId::Send,
        StageId::Account,
    ];

    fn planned(
        layout: &str,
        idle: settings::Idle,
        pin: &[u32],
        usable: usize,
    ) -> Result<Layout, LayoutError> {
        plan(
            &layout.parse().expect("layout words"),
            idle,
            pin,
            usable,
            &PRESENT,
        )
    }

    fn auto(usable: usize) -> String {
        planned("auto", settings::Idle::Auto, &[], usable)
            .expect("a layout")
            .to_string()
    }

    #[test]
    fn a_core_that_this_process_may_not_use_is_named_with_those_it_may() {
        assert_eq!(check_pins(&[0, 3], &[0, 1, 2, 3, 6]), Ok(()));
        assert_eq!(check_pins(&[], &[0]), Ok(()));
        let fault = check_pins(&[1, 99], &[0, 1, 2, 3, 6]).expect_err("no core 99");
        let text = fault.to_string();
        assert!(
            text.contains("core 99") && text.contains("may use 0-3,6 "),
            "{text}"
        );
    }

    #[test]
    fn auto_follows_the_cores() {
        assert_eq!(auto(1), "decode+indicate+score+gate+send (park) | account (park)");
        assert_eq!(
            auto(2),
            "decode+indicate+score+gate+send (yield) | account (park)"
        );
        assert_eq!(
            auto(4),
            "decode (yield) | indicate+score+gate (yield) | send (yield) | account (park)"
        );
        assert!(auto(6).starts_with("decode (yield) | indicate (yield) | score (yield)"));
    }

    #[test]
    fn too_many_spinners_are_refused() {
        let refused = planned("staged", settings::Idle::Spin, &[], 2);
        assert!(matches!(
            refused,
            Err(LayoutError::TooManySpinners {
                spinners: 5,
                allowed: 1,
                ..
            })
        ));
        assert!(planned("fused", settings::Idle::Spin, &[], 2).is_ok());
        assert!(planned("fused", settings::Idle::Spin, &[], 1).is_err());
    }

    #[test]
    fn groups_and_cores_are_followed() {
        let layout = planned(
            "decode,indicate+score+gate,send",
            settings::Idle::Park,
            &[0, 1, 2],
            4,
        );
        assert_eq!(layout.expect("a layout").groups[1].core, Some(1));
        let few = planned("staged", settings::Idle::Park, &[0], 4);
        assert_eq!(few, Err(LayoutError::CoresFew { listed: 1, wanted: 5 }));
    }
}
