//! From requests to the gate and back: one alert out, one answer in, over two rings.
//!
//! It owns the producing end of `webhook_gate` and the consuming end of `gate_webhook`. The gate
//! never waits for it: at most `IN_FLIGHT_MAX` alerts are unanswered, and the answer ring has room
//! for four times as many, so a gateway that stands still cannot stop the gate.

use crate::bus::{Consumer, Producer};
use crate::capture::Tape;
use crate::model::message::{Alert, AlertAnswer};
use crate::sys::clock::Stamp;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// Alerts that may be unanswered at a time; more are told to come again.
pub const IN_FLIGHT_MAX: usize = 128;
/// Looks at the answers that give way to other requests before the first sleep.
const LOOKS_BEFORE_SLEEP: u32 = 4;
/// Sleep between two looks while answers are awaited; the runtime's timer has no shorter one.
const SLEEP: Duration = Duration::from_millis(1);

/// No alert can be taken now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// The two ends.
#[derive(Clone)]
pub struct Handover {
    ends: Arc<Mutex<Ends>>,
    waiting: Arc<Notify>,
}

struct Ends {
    alerts: Producer<Alert>,
    answers: Consumer<AlertAnswer>,
    stamp: Stamp,
    /// Where alerts are recorded.
    tape: Option<Tape>,
    pending: HashMap<u64, oneshot::Sender<AlertAnswer>>,
    /// Alerts handed over whose answer was not taken yet; their senders may have left.
    unanswered: usize,
    next_request: u64,
}

impl Handover {
    /// Over the ends of `webhook_gate` and `gate_webhook`; a run that is captured has a tape.
    pub fn new(
        alerts: Producer<Alert>,
        answers: Consumer<AlertAnswer>,
        stamp: Stamp,
        tape: Option<Tape>,
    ) -> Self {
        let ends = Ends {
            alerts,
            answers,
            stamp,
            tape,
            pending: HashMap::new(),
            unanswered: 0,
            next_request: 1,
        };
        Handover {
            ends: Arc::new(Mutex::new(ends)),
            waiting: Arc::new(Notify::new()),
        }
    }

    /// Hands `alert` to the gate. The answer comes on the receiver; dropping it changes nothing.
    pub(super) fn submit(&self, mut alert: Alert) -> Result<oneshot::Receiver<AlertAnswer>, Busy> {
        let mut ends = self.lock();
        if ends.unanswered >= IN_FLIGHT_MAX {
            return Err(Busy);
        }
        alert.request = ends.next_request;
        alert.header.publish_ns = ends.stamp.now_ns();
        let sequence = ends.alerts.publish(&alert).map_err(|_| Busy)?;
        if let Some(tape) = ends.tape.as_mut() {
            tape.push_record(sequence, alert.header.time_ns, bytemuck::bytes_of(&alert));
        }
        ends.next_request += 1;
        ends.unanswered += 1;
        let (sender, receiver) = oneshot::channel();
        ends.pending.insert(alert.request, sender);
        drop(ends);
        self.waiting.notify_one();
        Ok(receiver)
    }

    /// Brings answers to those who wait, for as long as the runtime lives.
    pub(super) async fn deliver(&self) {
        let mut looks = 0;
        loop {
            let (taken, unanswered) = self.take_answers();
            if unanswered == 0 {
                looks = 0;
                self.waiting.notified().await;
            } else if taken > 0 || looks < LOOKS_BEFORE_SLEEP {
                looks = if taken > 0 { 0 } else { looks + 1 };
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(SLEEP).await;
            }
        }
    }

    fn take_answers(&self) -> (usize, usize) {
        let mut ends = self.lock();
        let mut taken = 0;
        while let Some(answer) = ends.answers.take() {
            taken += 1;
            ends.unanswered = ends.unanswered.saturating_sub(1);
            if let Some(sender) = ends.pending.remove(&answer.request) {
                // Whoever asked may have left; the gate's own lines tell what was done.
                let _ = sender.send(answer);
            }
        }
        (taken, ends.unanswered)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
