//! What the venue can do, learned by doing and kept over restarts.
//!
//! Where a no leaves the old stop in place, the better way is tried first; one clear answer settles
//! it. What was learned is in the gate's snapshot, which belongs to one account at one venue.

use super::core::Gate;
use crate::orders::bracket::{Ability, Capabilities};

impl Gate {
    /// The venue has shown that it can, or cannot.
    pub(super) fn learn(&mut self, ability: Ability, can: bool) {
        let known = self.abilities_known & ability.bit() != 0;
        if known && self.params.capabilities.can(ability) == can {
            return;
        }
        self.params.capabilities.set(ability, can);
        self.abilities_known |= ability.bit();
        self.has_learned = true;
    }

    pub(super) fn is_known(&self, ability: Ability) -> bool {
        self.abilities_known & ability.bit() != 0
    }

    /// Whether something was learned since this was last asked: it belongs on disk.
    pub fn take_learned(&mut self) -> bool {
        std::mem::take(&mut self.has_learned)
    }

    /// What is asked of the venue, and the bits of what it has shown or denied.
    pub fn capabilities(&self) -> (Capabilities, u32) {
        (self.params.capabilities, self.abilities_known)
    }

    /// Both as words of a snapshot: the bits that are known, and those of them that it can.
    pub(super) fn ability_words(&self) -> (u32, u32) {
        let can = Ability::ALL
            .into_iter()
            .filter(|ability| self.is_known(*ability) && self.params.capabilities.can(*ability))
            .fold(0, |bits, ability| bits | ability.bit());
        (self.abilities_known, can)
    }

    /// Takes over what an earlier run learned; bits that mean nothing are passed over.
    pub(super) fn restore_abilities(&mut self, known: u32, can: u32) {
        for ability in Ability::ALL {
            if known & ability.bit() != 0 {
                self.params.capabilities.set(ability, can & ability.bit() != 0);
                self.abilities_known |= ability.bit();
            }
        }
    }
}
