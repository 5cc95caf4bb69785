//! Which account lists must be read before the account may be believed.
//!
//! A round asks for every list under a fresh token and is complete when each has ended well. A list
//! that failed or timed out is asked again; it is never taken for an empty one. Reading the lists'
//! rows is the caller's work; this keeps the tokens and the times.

use crate::model::Wall;
use crate::model::message::ListKind;
use crate::model::time::{NS_PER_MS, NS_PER_SEC};

/// The lists of a round, in the order in which they are asked for: orders before positions, so that
/// an order filled in between shows up as a position rather than as nothing.
pub const LISTS: [ListKind; 6] = [
    ListKind::Config,
    ListKind::OrdersPending,
    ListKind::BracketsPending,
    ListKind::AlgosPending,
    ListKind::Positions,
    ListKind::Balance,
];

/// Whether `list` is needed to know what the account holds. Trigger orders that others have placed only
/// tell another daemon's hand: entries wait for them, protection does not.
fn is_needed(list: ListKind) -> bool {
    list != ListKind::AlgosPending
}

const ANSWER_NS: u64 = 30 * NS_PER_SEC;
const RETRY_NS: u64 = 500 * NS_PER_MS;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    Idle,
    /// To be asked, not before then.
    Wanted(Wall),
    Asked {
        token: u32,
        at: Wall,
    },
    Complete,
}

/// The state of one round after the other.
#[derive(Clone, Debug)]
pub struct Reconcile {
    stands: [Stand; LISTS.len()],
    /// When every needed list of a round was complete; 0 = never.
    completed: Wall,
    /// As `completed`, the others included.
    whole: Wall,
    started: Wall,
    /// Tokens of everything asked, also outside rounds.
    next_token: u32,
    every_ns: u64,
    failures: u64,
}

/// The end of a list that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListEnd {
    pub list: ListKind,
    /// When it was asked for: rows that changed later are newer than the list.
    pub asked: Wall,
    /// Every needed list of the round is complete with it.
    pub round_complete: bool,
}

impl Reconcile {
    /// Rounds start at least every `every_ms`.
    pub fn new(every_ms: u32) -> Self {
        Reconcile {
            stands: [Stand::Idle; LISTS.len()],
            completed: Wall(0),
            whole: Wall(0),
            started: Wall(0),
            next_token: 1,
            every_ns: u64::from(every_ms) * NS_PER_MS,
            failures: 0,
        }
    }

    /// Starts a round at once; what an older round has asked is dropped.
    pub fn start(&mut self, now: Wall) {
        self.stands = [Stand::Wanted(now); LISTS.len()];
        self.started = now;
    }

    /// Forgets that the account was ever believed, and starts a round.
    pub fn restart(&mut self, now: Wall) {
        self.completed = Wall(0);
        self.whole = Wall(0);
        self.start(now);
    }

    /// Wants one list of its own, without a round.
    pub fn want(&mut self, list: ListKind, now: Wall) {
        if let Some(index) = LISTS.iter().position(|known| *known == list)
            && matches!(self.stands[index], Stand::Idle | Stand::Complete)
        {
            self.stands[index] = Stand::Wanted(now);
        }
    }

    /// A token that no other request has.
    pub fn token(&mut self) -> u32 {
        let token = self.next_token;
        self.next_token = self.next_token.wrapping_add(1).max(1);
        token
    }

    /// Whether the needed lists have been complete since the last `restart`: what the account holds is
    /// known and can be protected.
    pub fn is_complete(&self) -> bool {
        self.completed > Wall(0)
    }

    /// Whether every list has been complete since the last `restart`.
    pub fn is_whole(&self) -> bool {
        self.whole > Wall(0)
    }

    pub fn completed(&self) -> Wall {
        self.completed
    }

    pub fn failures(&self) -> u64 {
        self.failures
    }

    /// The next list to ask for, with its token; `None` when nothing is due.
    pub fn next_request(&mut self, now: Wall) -> Option<(ListKind, u32)> {
        if self.is_round_over() && now.since(self.started) >= self.every_ns {
            self.start(now);
        }
        for (list, stand) in LISTS.into_iter().zip(&mut self.stands) {
            if let Stand::Asked { at, .. } = *stand
                && now.since(at) >= ANSWER_NS
            {
                self.failures += 1;
                *stand = Stand::Wanted(now);
            }
            if let Stand::Wanted(at) = *stand
                && now >= at
            {
                let token = self.next_token;
                self.next_token = token.wrapping_add(1).max(1);
                *stand = Stand::Asked { token, at: now };
                return Some((list, token));
            }
        }
        None
    }

    /// Whether no needed list is being waited for.
    fn is_round_over(&self) -> bool {
        let is_still = |stand: &Stand| matches!(stand, Stand::Complete | Stand::Idle);
        self.needed().all(is_still)
    }

    fn needed(&self) -> impl Iterator<Item = &Stand> {
        let lists = LISTS.into_iter().zip(&self.stands);
        lists.filter_map(|(list, stand)| is_needed(list).then_some(stand))
    }

    /// When `next_request` may next have something. While a needed list is being waited for no round
    /// can start, so only the lists count.
    pub fn next_at(&self) -> Wall {
        let of = |stand: &Stand| match stand {
            Stand::Idle | Stand::Complete => None,
            Stand::Wanted(at) => Some(*at),
            Stand::Asked { at, .. } => Some(Wall(at.0 + ANSWER_NS)),
        };
        let waited = self.stands.iter().filter_map(of).min();
        let round = Wall(self.started.0 + self.every_ns);
        match waited {
            Some(at) if self.is_round_over() => at.min(round),
            Some(at) => at,
            None => round,
        }
    }

    /// The list under `token` ended well; `None` when nobody waits for it.
    pub fn on_complete(&mut self, token: u32, now: Wall) -> Option<ListEnd> {
        let index = self.index_of(token)?;
        let Stand::Asked { at, .. } = self.stands[index] else {
            return None;
        };
        self.stands[index] = Stand::Complete;
        let round_complete = is_needed(LISTS[index]) && self.needed().all(|stand| *stand == Stand::Complete);
        if round_complete {
            self.completed = now;
        }
        if self.stands.iter().all(|stand| *stand == Stand::Complete) {
            self.whole = now;
        }
        Some(ListEnd {
            list: LISTS[index],
            asked: at,
            round_complete,
        })
    }

    /// The list under `token` failed: it is asked again, and says nothing.
    pub fn on_failed(&mut self, token: u32, now: Wall) -> Option<ListKind> {
        let index = self.index_of(token)?;
        self.failures += 1;
        self.stands[index] = Stand::Wanted(Wall(now.0 + RETRY_NS));
        Some(LISTS[index])
    }

    fn index_of(&self, wanted: u32) -> Option<usize> {
        self.stands
            .iter()
            .position(|stand| matches!(stand, Stand::Asked { token, .. } if *token == wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask_all(reconcile: &mut Reconcile, now: Wall) -> Vec<(ListKind, u32)> {
        std::iter::from_fn(|| reconcile.next_request(now)).collect()
    }

    #[test]
    fn a_round_is_complete_when_every_list_ended_well() {
        let mut reconcile = Reconcile::new(30_000);
        let now = Wall::from_ms(1_000_000);
        reconcile.restart(now);
        let asked = ask_all(&mut reconcile, now);
        assert_eq!(asked.len(), LISTS.len());
        for (_, token) in &asked[..5] {
            assert!(!reconcile.on_complete(*token, now).expect("asked").round_complete);
        }
        assert!(!reconcile.is_complete());
        assert!(reconcile.on_failed(asked[5].1, now).is_some());
        assert!(!reconcile.is_complete(), "a failed list is not an empty one");
        assert_eq!(reconcile.next_request(now), None, "not at once");
        let later = Wall(now.0 + RETRY_NS);
        let (list, token) = reconcile.next_request(later).expect("again");
        assert_eq!(list, ListKind::Balance);
        assert_eq!(
            reconcile.on_complete(asked[5].1, later),
            None,
            "the old token is void"
        );
        assert!(reconcile.on_complete(token, later).expect("asked").round_complete);
        assert!(reconcile.is_complete());
        let next = Wall(now.0 + 30 * NS_PER_SEC);
        assert_eq!(reconcile.next_at(), next);
        assert_eq!(ask_all(&mut reconcile, next).len(), LISTS.len());
        assert!(reconcile.is_complete(), "a later round does not take belief away");
    }

    #[test]
    fn a_list_that_hangs_does_not_make_the_next_round_due() {
        let mut reconcile = Reconcile::new(30_000);
        reconcile.restart(Wall::from_ms(1_000));
        let asked = ask_all(&mut reconcile, Wall::from_ms(1_000));
        for (_, token) in &asked {
            reconcile
                .on_complete(*token, Wall::from_ms(1_100))
                .expect("asked");
        }
        let late = Wall::from_ms(30_000);
        reconcile.want(ListKind::Positions, late);
        assert_eq!(ask_all(&mut reconcile, late).len(), 1);
        let now = Wall::from_ms(40_000);
        assert_eq!(reconcile.next_request(now), None, "it is still being waited for");
        assert!(reconcile.next_at() > now, "and nothing is due until then");
    }

    #[test]
    fn a_list_without_an_answer_is_asked_again() {
        let mut reconcile = Reconcile::new(30_000);
        reconcile.restart(Wall::from_ms(1_000));
        let first = ask_all(&mut reconcile, Wall::from_ms(1_000));
        assert_eq!(ask_all(&mut reconcile, Wall::from_ms(30_999)).len(), 0);
        let second = ask_all(&mut reconcile, Wall::from_ms(31_000));
        assert_eq!(second.len(), LISTS.len());
        assert!(
            first
                .iter()
                .all(|(_, token)| reconcile.on_complete(*token, Wall(1)).is_none())
        );
        assert_eq!(reconcile.failures(), LISTS.len() as u64);
    }
}
