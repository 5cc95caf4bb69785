//! The capture of a run: everything that came in from outside, in the order in which stages took it,
//! and what was decided, so that the same program can be asked again.
//!
//! Stages write into memory (`Tape`, wait-free); one thread (`CaptureWriter`) compresses and writes
//! files. When it is too slow, records are lost and counted, never time; a lost record leaves a gap
//! in its numbers, which `CaptureReader` reports as a hole. Nothing that is sent is captured, so no
//! key, signature or login ever is. Drawn in docs/capture.md.

pub mod calls;
pub mod event;
pub mod feeds;
pub mod line;
pub mod manifest;
pub mod play;
pub mod reader;
pub mod sum;
pub mod tape;
pub mod writer;

pub use calls::{PlayedCalls, RecordedCalls};
pub use event::{Event, EventKind, Stream};
pub use feeds::{AccountTape, MarketTape};
pub use manifest::{Manifest, ManifestFault};
pub use play::{EventQueue, JournalQueue};
pub use reader::{CaptureReader, Hole, ReadFault};
pub use sum::{LinkSum, SumHandle};
pub use tape::{Tape, TapeEnd};
pub use writer::{CaptureLimits, CaptureStatus, CaptureWriter};
