//! A counter for every reason a stage may refuse or drop for, on the bus.

use crate::bus::{Bus, BusBuilder, BusError};
use crate::metrics::Counter;
use crate::model::Reason;

/// Counters named `<stage>_<reason>`.
pub struct ReasonCounters {
    counters: Vec<Counter>,
}

impl ReasonCounters {
    /// Reserves the counters of `stage` on a bus under construction.
    pub fn plan(builder: &mut BusBuilder, stage: &str) {
        for reason in Reason::ALL {
            builder.counter(&name(stage, *reason));
        }
    }

    /// The counters of `stage` on `bus`.
    pub fn new(bus: &Bus, stage: &str) -> Result<Self, BusError> {
        let counters: Result<_, _> = Reason::ALL
            .iter()
            .map(|reason| bus.counter(&name(stage, *reason)))
            .collect();
        Ok(ReasonCounters { counters: counters? })
    }

    /// Counts one refusal or drop.
    pub fn count(&mut self, reason: Reason) {
        self.counters[reason.index()].add(1);
    }
}

fn name(stage: &str, reason: Reason) -> String {
    format!("{stage}_{}", reason.text())
}
