//! Monotonic time in ns since boot, from the processor's own counter where that can be trusted.
//!
//! `Stamp` is for latency only: no decision reads it. Its calibration is four words, stored in the bus, so
//! that another process of the same boot reads the same time. Where the counter is not constant it falls
//! back to CLOCK_MONOTONIC, which costs about twice as much.

use std::cell::Cell;
use std::sync::OnceLock;

thread_local! {
    /// What `Stamp::stepped` reads on this thread.
    static STEPPED_NS: Cell<u64> = const { Cell::new(0) };
}

/// Where a stamp comes from; the numbers are those of the bus header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockSource {
    /// CLOCK_MONOTONIC, through the vDSO.
    Monotonic = 0,
    /// The time stamp counter, scaled.
    Tsc = 1,
    /// Set by the thread that reads it: a simulation, whose keep-alive must run on its own time.
    Stepped = 2,
}

/// `now_ns = base_ns + ((counter - base_counter) * multiplier >> 32)`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    source: ClockSource,
    base_counter: u64,
    base_ns: u64,
    multiplier: u64,
}

/// Fraction bits of the multiplier.
pub const MULTIPLIER_SHIFT: u32 = 32;

/// Time over which the counter is compared with the kernel's clock: an error of 40 ns at either end is
/// then below one part in a million.
const CALIBRATION_NS: u64 = 50_000_000;

impl Stamp {
    /// The stamp of this process; the first call calibrates and takes about 50 ms, so it belongs to start-up.
    pub fn process() -> Self {
        static STAMP: OnceLock<Stamp> = OnceLock::new();
        *STAMP.get_or_init(Self::calibrate)
    }

    /// A stamp that reads CLOCK_MONOTONIC.
    pub fn monotonic() -> Self {
        Self {
            source: ClockSource::Monotonic,
            base_counter: 0,
            base_ns: 0,
            multiplier: 1 << MULTIPLIER_SHIFT,
        }
    }

    /// A stamp that stands where this thread's last `set_stepped_ns` put it. It means nothing to another
    /// thread or process.
    pub fn stepped() -> Self {
        Self {
            source: ClockSource::Stepped,
            ..Self::monotonic()
        }
    }

    fn calibrate() -> Self {
        if !counter_is_constant() {
            return Self::monotonic();
        }
        let (first_counter, first_ns) = paired_reading();
        let (mut last_counter, mut last_ns) = (first_counter, first_ns);
        while last_ns < first_ns + CALIBRATION_NS {
            std::thread::sleep(std::time::Duration::from_nanos(
                first_ns + CALIBRATION_NS - last_ns,
            ));
            (last_counter, last_ns) = paired_reading();
        }
        let elapsed = u128::from(last_counter.saturating_sub(first_counter));
        if elapsed == 0 {
            return Self::monotonic();
        }
        let multiplier = (u128::from(last_ns - first_ns) << MULTIPLIER_SHIFT) / elapsed;
        match u64::try_from(multiplier) {
            Ok(multiplier) if multiplier > 0 => Self {
                source: ClockSource::Tsc,
                base_counter: last_counter,
                base_ns: last_ns,
                multiplier,
            },
            _ => Self::monotonic(),
        }
    }

    /// The four words of the calibration, for the bus header: source, base counter, base ns, multiplier.
    pub fn to_words(self) -> [u64; 4] {
        [
            self.source as u64,
            self.base_counter,
            self.base_ns,
            self.multiplier,
        ]
    }

    /// The stamp of another process of this boot; none when the words are not a calibration, or name a
    /// counter that this machine does not have.
    pub fn from_words(words: [u64; 4]) -> Option<Self> {
        let [source, base_counter, base_ns, multiplier] = words;
        let source = match source {
            0 => ClockSource::Monotonic,
            1 if cfg!(target_arch = "x86_64") => ClockSource::Tsc,
            2 => ClockSource::Stepped,
            _ => return None,
        };
        (multiplier > 0).then_some(Self {
            source,
            base_counter,
            base_ns,
            multiplier,
        })
    }

    /// Ns since boot. It never goes back on one core; between cores it may by some tens of ns, so subtract
    /// with saturation.
    #[inline]
    pub fn now_ns(&self) -> u64 {
        match self.source {
            ClockSource::Tsc => self.scale(read_counter()),
            ClockSource::Monotonic => monotonic_ns(),
            ClockSource::Stepped => STEPPED_NS.get(),
        }
    }

    #[inline]
    fn scale(&self, counter: u64) -> u64 {
        // Signed, because another core's counter may be a little behind the base.
        let elapsed = i128::from(counter.wrapping_sub(self.base_counter) as i64);
        let elapsed_ns = (elapsed * i128::from(self.multiplier)) >> MULTIPLIER_SHIFT;
        self.base_ns.wrapping_add(elapsed_ns as u64)
    }

    /// "tsc", "monotonic" or "stepped", for the start-up report.
    pub fn source_name(&self) -> &'static str {
        match self.source {
            ClockSource::Tsc => "tsc",
            ClockSource::Monotonic => "monotonic",
            ClockSource::Stepped => "stepped",
        }
    }
}

/// Puts the stepped stamps of this thread at `now_ns`.
pub fn set_stepped_ns(now_ns: u64) {
    STEPPED_NS.set(now_ns);
}

/// Where the stepped stamps of this thread stand.
pub fn stepped_ns() -> u64 {
    STEPPED_NS.get()
}

/// CLOCK_MONOTONIC in ns since boot: the same for every process of one boot.
pub fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// Ns since 1970 by the system's wall clock.
pub fn wall_ns() -> u64 {
    clock_ns(libc::CLOCK_REALTIME)
}

/// Ms since 1970 by the system's wall clock: for names, ages and lines, never for a decision.
pub fn wall_ms() -> i64 {
    (wall_ns() / 1_000_000) as i64
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec that outlives the call.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The counter and the kernel's clock at the same moment: of several tries, the one whose two counter
/// readings enclose the kernel's most tightly.
fn paired_reading() -> (u64, u64) {
    let mut best = (u64::MAX, 0, 0);
    for _ in 0..32 {
        let before = read_counter();
        let now_ns = monotonic_ns();
        let width = read_counter().saturating_sub(before);
        if width < best.0 {
            best = (width, before + width / 2, now_ns);
        }
    }
    (best.1, best.2)
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn read_counter() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and Linux leaves it open to user programs.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn read_counter() -> u64 {
    monotonic_ns()
}

/// Whether the counter runs at one rate on all cores, by quanta's reading of the processor and by the
/// kernel's own: the kernel leaves "tsc" for a slow source as soon as it sees it run unsteadily.
fn counter_is_constant() -> bool {
    if cfg!(not(target_arch = "x86_64")) {
        return false;
    }
    let kernel = std::fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource")
        .unwrap_or_default();
    if matches!(kernel.trim(), "hpet" | "acpi_pm" | "jiffies" | "refined-jiffies") {
        return false;
    }
    let clock = quanta::Clock::new();
    // quanta reads the same counter only when it found it constant; otherwise its raw value is ns.
    let before = read_counter();
    let raw = clock.raw();
    let after = read_counter();
    before <= raw && raw <= after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_the_time_since_boot_also_after_a_trip_through_four_words() {
        let stamp = Stamp::process();
        let copy = Stamp::from_words(stamp.to_words()).unwrap();
        assert_eq!(copy, stamp);
        let before = monotonic_ns();
        let now = copy.now_ns();
        let after = monotonic_ns();
        // Ten milliseconds of allowance: the promise is the same clock, not a measurement of it.
        assert!(
            now + 10_000_000 > before && now < after + 10_000_000,
            "{before} {now} {after}"
        );
        assert!(["tsc", "monotonic"].contains(&stamp.source_name()));
    }

    #[test]
    fn scaling_is_exact_for_a_century_and_for_a_counter_slightly_behind() {
        let stamp = Stamp {
            source: ClockSource::Tsc,
            base_counter: 1_000,
            base_ns: 5_000,
            multiplier: 1 << (MULTIPLIER_SHIFT - 1),
        };
        assert_eq!(stamp.scale(1_000), 5_000);
        assert_eq!(stamp.scale(1_010), 5_005);
        assert_eq!(stamp.scale(990), 4_995);
        let century_ns = 100 * 365 * 86_400 * 1_000_000_000u64;
        assert_eq!(stamp.scale(1_000 + 2 * century_ns), 5_000 + century_ns);
    }

    #[test]
    fn words_that_are_no_calibration_are_refused() {
        assert!(Stamp::from_words([7, 0, 0, 1]).is_none());
        assert!(Stamp::from_words([0, 0, 0, 0]).is_none());
    }
}
