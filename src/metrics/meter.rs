//! Where a stage's time goes: how long a record waited on its ring, and how long the stage worked on it.
//!
//! One clock reading closes the wait and opens the work; the reading that closes the work is also the
//! `publish_ns` of what the stage publishes, so a hop costs two readings.

use super::histogram::Histogram;
use crate::bus::{Bus, BusBuilder, BusError};
use crate::sys::clock::Stamp;

impl BusBuilder {
    /// The two histograms of a stage, `<stage>_wait_ns` and `<stage>_work_ns`.
    pub fn stage_meter(&mut self, stage: &str) -> &mut Self {
        self.histogram(&wait_name(stage)).histogram(&work_name(stage))
    }
}

impl Bus {
    /// The meter of a stage; owner only, once.
    pub fn stage_meter(&self, stage: &str) -> Result<StageMeter, BusError> {
        let (wait, work) = (
            self.histogram(&wait_name(stage))?,
            self.histogram(&work_name(stage))?,
        );
        Ok(StageMeter {
            wait,
            work,
            stamp: self.stamp(),
        })
    }
}

/// Name of the histogram of a stage's waiting times.
pub fn wait_name(stage: &str) -> String {
    format!("{stage}_wait_ns")
}

/// Name of the histogram of a stage's working times.
pub fn work_name(stage: &str) -> String {
    format!("{stage}_work_ns")
}

/// Measures one stage; see the module text.
#[derive(Debug)]
pub struct StageMeter {
    wait: Histogram,
    work: Histogram,
    stamp: Stamp,
}

impl StageMeter {
    /// A meter of its own, outside any bus.
    pub fn heap(stamp: Stamp) -> Self {
        Self {
            wait: Histogram::heap(),
            work: Histogram::heap(),
            stamp,
        }
    }

    /// To be called on taking a record: counts how long it waited since `publish_ns`, and returns the
    /// present time in monotonic ns, which `done` wants back.
    #[inline]
    pub fn taken(&mut self, publish_ns: u64) -> u64 {
        let now_ns = self.stamp.now_ns();
        // The other core's counter may be a few ns ahead.
        self.wait.record(now_ns.saturating_sub(publish_ns));
        now_ns
    }

    /// To be called when the record's work is done: counts how long it took since `taken_ns`, and returns
    /// the present time in monotonic ns, fit to be the `publish_ns` of what comes of it.
    #[inline]
    pub fn done(&mut self, taken_ns: u64) -> u64 {
        let now_ns = self.stamp.now_ns();
        self.work.record(now_ns.saturating_sub(taken_ns));
        now_ns
    }

    /// The clock.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_counts_one_wait_and_one_work_for_each_record() {
        let mut builder = BusBuilder::new("meter");
        builder.stage_meter("gate");
        let bus = builder.heap().unwrap();
        let mut meter = bus.stage_meter("gate").unwrap();
        let published_ns = meter.stamp().now_ns();
        let taken_ns = meter.taken(published_ns);
        let done_ns = meter.done(taken_ns);
        assert!(published_ns <= taken_ns && taken_ns <= done_ns);
        // A stamp of a core that is ahead counts as no wait at all.
        meter.taken(u64::MAX);
        let counts: Vec<(String, u64)> = bus
            .histogram_snapshots()
            .unwrap()
            .into_iter()
            .map(|one| (one.name.clone(), one.count()))
            .collect();
        assert_eq!(
            counts,
            [("gate_wait_ns".to_string(), 2), ("gate_work_ns".to_string(), 1)]
        );
    }
}
