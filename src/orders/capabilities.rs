//! What the venue can do with brackets, as far as it is known: learned by doing, kept in snapshots.
//!
//! Plain flags; who asks and who learns is the gate's business.

/// What may be asked of the venue. The default assumes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// A bracket can be amended in place.
    pub amend: bool,
    /// Two full-size brackets may stand side by side for a moment.
    pub two_brackets: bool,
    /// A bracket may name the price that triggers it.
    pub trigger_types: bool,
    /// An attached bracket stands from the first fill on, not only when the entry is whole.
    pub attach_partial: bool,
    /// The venue cancels what is left of a position's brackets itself.
    pub leftovers_cancelled: bool,
}

/// One thing that a venue can do or not. The codes stand in snapshots.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    Amend = 0,
    TwoBrackets = 1,
    TriggerTypes = 2,
    AttachPartial = 3,
    LeftoversCancelled = 4,
}

impl Ability {
    pub const ALL: [Ability; 5] = [
        Ability::Amend,
        Ability::TwoBrackets,
        Ability::TriggerTypes,
        Ability::AttachPartial,
        Ability::LeftoversCancelled,
    ];

    /// Its bit in a word of abilities.
    pub fn bit(self) -> u32 {
        1 << self as u8
    }
}

impl Capabilities {
    /// What is asked by doing: each thing is tried where a no costs one call and no protection, and
    /// what the venue answers is kept.
    pub fn to_probe() -> Self {
        Capabilities {
            amend: true,
            two_brackets: true,
            trigger_types: true,
            attach_partial: true,
            leftovers_cancelled: true,
        }
    }

    pub fn set(&mut self, ability: Ability, can: bool) {
        match ability {
            Ability::Amend => self.amend = can,
            Ability::TwoBrackets => self.two_brackets = can,
            Ability::TriggerTypes => self.trigger_types = can,
            Ability::AttachPartial => self.attach_partial = can,
            Ability::LeftoversCancelled => self.leftovers_cancelled = can,
        }
    }

    pub fn can(&self, ability: Ability) -> bool {
        match ability {
            Ability::Amend => self.amend,
            Ability::TwoBrackets => self.two_brackets,
            Ability::TriggerTypes => self.trigger_types,
            Ability::AttachPartial => self.attach_partial,
            Ability::LeftoversCancelled => self.leftovers_cancelled,
        }
    }
}
