//! What a graph is watched or fed by: nothing, a capture that records it, or one that it repeats.

use crate::bus::{Bus, BusError};
use crate::capture::event::{EventHead, EventKind};
use crate::capture::manifest::UniverseText;
use crate::capture::writer::{Journal, Sources};
use crate::capture::{EventQueue, JournalQueue, LinkSum, Stream, SumHandle, Tape, TapeEnd, tape};
use crate::driver::link::Tap;
use crate::gateway::Capture;
use crate::topology::{LINKS, LinkId, StageId};
use crate::universe::live::Table;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

/// Stages with a journal, and its link.
pub const JOURNALS: [(StageId, LinkId); 6] = [
    (StageId::Decode, LinkId::DecodeJournal),
    (StageId::Score, LinkId::ScoreJournal),
    (StageId::Gate, LinkId::GateJournal),
    (StageId::Send, LinkId::SendJournal),
    (StageId::Fetch, LinkId::FetchJournal),
    (StageId::Account, LinkId::AccountJournal),
];

/// Links whose records a repeat is given as they were in the run, and compared with what it makes
/// itself: a decision that differs is one difference, not the first of many.
pub const DECISIONS: [LinkId; 3] = [LinkId::ScoreGate, LinkId::GateSend, LinkId::WebhookGate];

/// The place of a graph in a capture.
#[derive(Default)]
pub enum Taping {
    /// Nobody watches.
    #[default]
    Off,
    /// A capture records it.
    Record(Recording),
    /// It repeats a capture.
    Repeat(Repeating),
}

/// Tapes for the stages of a graph that is recorded.
pub struct Recording {
    tapes: Mutex<BTreeMap<Stream, Tape>>,
    sums: Vec<(LinkId, SumHandle)>,
    issued: BTreeMap<StageId, Arc<AtomicU64>>,
}

/// The ends of a recording, for the writer's thread.
pub struct RecordingEnds {
    ends: Vec<TapeEnd>,
    sums: Vec<(&'static str, SumHandle)>,
    issued: BTreeMap<StageId, Arc<AtomicU64>>,
}

/// Links that are summed: all between stages that decide.
fn is_summed(link: LinkId) -> bool {
    let row = link.link();
    link == LinkId::GateHousekeep
        || !(row.to == StageId::Housekeep || matches!(link, LinkId::DecodePaper | LinkId::GateWebhook))
}

fn sums(make: fn() -> SumHandle) -> Vec<(LinkId, SumHandle)> {
    LINKS
        .iter()
        .filter(|link| is_summed(link.id))
        .map(|link| (link.id, make()))
        .collect()
}

impl Recording {
    /// Tapes of the usual size.
    pub fn new() -> (Recording, RecordingEnds) {
        let (mut tapes, mut ends) = (BTreeMap::new(), Vec::new());
        for stream in Stream::ALL {
            let (tape, end) = tape::tape(stream, stream.tape_bytes());
            tapes.insert(stream, tape);
            ends.push(end);
        }
        let sums = sums(LinkSum::new);
        let named = sums
            .iter()
            .map(|(link, sum)| (link.link().name, SumHandle::clone(sum)))
            .collect();
        let issued: BTreeMap<StageId, Arc<AtomicU64>> = JOURNALS
            .iter()
            .map(|(stage, _)| (*stage, Arc::default()))
            .collect();
        let recording = Recording {
            tapes: Mutex::new(tapes),
            sums,
            issued: issued.clone(),
        };
        let ends = RecordingEnds {
            ends,
            sums: named,
            issued,
        };
        (recording, ends)
    }

    /// Where the journal of `stage` tells its last number.
    pub fn issued(&self, stage: StageId) -> Arc<AtomicU64> {
        self.issued.get(&stage).cloned().unwrap_or_default()
    }

    /// The tape of `stream`, once.
    pub fn take_tape(&self, stream: Stream) -> Option<Tape> {
        self.tapes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&stream)
    }
}

impl RecordingEnds {
    /// What the writer reads, with the journal rings of `bus`.
    pub fn sources(self, bus: &Bus) -> Result<Sources, BusError> {
        let journal = |(stage, link): &(StageId, LinkId)| {
            Ok(Journal {
                stage: *stage as u16,
                entries: bus.consumer(link.link().name)?,
                issued: self.issued.get(stage).cloned().unwrap_or_default(),
            })
        };
        let journals: Result<Vec<Journal>, BusError> = JOURNALS.iter().map(journal).collect();
        Ok(Sources {
            tapes: self.ends,
            journals: journals?,
            sums: self.sums,
        })
    }
}

/// A capture on its way back into a graph.
pub struct Repeating {
    pub journals: BTreeMap<StageId, JournalQueue>,
    pub events: BTreeMap<Stream, EventQueue>,
    /// Sums of what the repeat published, with their history.
    pub sums: Vec<(LinkId, SumHandle)>,
    /// Rings of the decision links as the run had them.
    pub given: Bus,
    /// The gate's state at the start.
    pub gate_image: Option<Vec<u8>>,
}

impl Repeating {
    /// Empty queues for every stage and stream; `given` carries the decisions of the run.
    pub fn new(given: Bus, gate_image: Option<Vec<u8>>) -> Self {
        Repeating {
            journals: JOURNALS
                .iter()
                .map(|(stage, _)| (*stage, JournalQueue::default()))
                .collect(),
            events: Stream::ALL
                .iter()
                .map(|stream| (*stream, EventQueue::default()))
                .collect(),
            sums: sums(LinkSum::with_history),
            given,
            gate_image,
        }
    }

    /// The queue of `stream`.
    pub fn queue(&self, stream: Stream) -> EventQueue {
        self.events.get(&stream).cloned().unwrap_or_default()
    }
}

impl Taping {
    /// What watches the outlet of `link`.
    pub fn tap(&self, link: LinkId) -> Option<Tap> {
        let find = |sums: &[(LinkId, SumHandle)]| {
            sums.iter()
                .find(|(other, _)| *other == link)
                .map(|(_, sum)| SumHandle::clone(sum))
        };
        match self {
            Taping::Off => None,
            Taping::Record(recording) => Some(Tap {
                sum: find(&recording.sums)?,
                tape: Stream::parse(link.link().name).and_then(|stream| recording.take_tape(stream)),
            }),
            Taping::Repeat(repeating) => Some(Tap {
                sum: find(&repeating.sums)?,
                tape: None,
            }),
        }
    }

    /// The tape of `stream` in a run that is recorded.
    pub fn tape(&self, stream: Stream) -> Option<Tape> {
        match self {
            Taping::Record(recording) => recording.take_tape(stream),
            _ => None,
        }
    }

    /// What keeps the bodies of webhook posts in a run that is recorded.
    pub fn webhook_bodies(&self) -> Option<Capture> {
        let tape = Mutex::new(self.tape(Stream::Webhook)?);
        Some(Arc::new(move |wall_ns, body| {
            let head = EventHead {
                kind: EventKind::Body as u8,
                time_ns: wall_ns,
                ..EventHead::default()
            };
            tape.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(head, body);
        }))
    }

    /// Records every version that `table` gets from now on, in a run that is recorded.
    pub fn follow(&self, table: &Table) {
        let Some(tape) = self.tape(Stream::Universe) else {
            return;
        };
        let tape = Mutex::new(tape);
        table.tell(Box::new(move |number, version| {
            let text = UniverseText::of(&version.instruments, &version.followed);
            let Ok(text) = serde_json::to_vec(&text) else {
                return;
            };
            let head = EventHead {
                kind: EventKind::Version as u8,
                input: number,
                ..EventHead::default()
            };
            tape.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(head, &text);
        }));
    }

    pub fn is_repeat(&self) -> bool {
        matches!(self, Taping::Repeat(_))
    }
}
