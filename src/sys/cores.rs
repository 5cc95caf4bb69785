//! Which cores this process may use: the affinity mask, the cgroup's quota, and SMT siblings counted once.
//!
//! Two spinning threads on one core stop each other for whole time slices, so the driver lays out its
//! threads by `usable()`, never by the number that the machine shows.

use std::path::Path;

/// What this process may run on.
#[derive(Clone, Debug, PartialEq)]
pub struct Cores {
    /// Logical processors in the affinity mask, ascending.
    pub allowed: Vec<usize>,
    /// The first allowed logical processor of each physical core, ascending.
    pub physical: Vec<usize>,
    /// Processors' worth of time that the cgroup grants; none when unlimited.
    pub quota: Option<f64>,
}

impl Cores {
    /// Reads the machine as it is now.
    pub fn read() -> Self {
        let allowed = affinity();
        let physical = physical_of(&allowed, Path::new("/sys"));
        let quota = std::fs::read_to_string("/proc/self/cgroup")
            .ok()
            .and_then(|groups| quota_of(&groups, Path::new("/sys/fs/cgroup")));
        Self {
            allowed,
            physical,
            quota,
        }
    }

    /// Cores that may spin at the same time: physical cores, at most the whole part of the quota, at least 1.
    pub fn usable(&self) -> usize {
        let physical = self.physical.len().max(1);
        match self.quota {
            Some(quota) => physical.min(quota as usize).max(1),
            None => physical,
        }
    }
}

/// Pins the calling thread to one logical processor; false when the machine does not allow it, or has none
/// of that number.
pub fn pin_current_thread(core: usize) -> bool {
    core < rustix::thread::CpuSet::MAX_CPU
        && core_affinity::set_for_current(core_affinity::CoreId { id: core })
}

/// Whether a thread of this process may stand on `core`, tried on a thread that ends at once.
pub fn can_pin(core: usize) -> bool {
    std::thread::spawn(move || pin_current_thread(core))
        .join()
        .unwrap_or(false)
}

fn affinity() -> Vec<usize> {
    match rustix::thread::sched_getaffinity(None) {
        Ok(set) => (0..rustix::thread::CpuSet::MAX_CPU)
            .filter(|core| set.is_set(*core))
            .collect(),
        Err(_) => vec![0],
    }
}

fn physical_of(allowed: &[usize], sys: &Path) -> Vec<usize> {
    let mut seen: Vec<Vec<usize>> = vec![];
    let mut physical = vec![];
    for &core in allowed {
        let path = sys.join(format!(
            "devices/system/cpu/cpu{core}/topology/thread_siblings_list"
        ));
        let siblings = std::fs::read_to_string(path)
            .map(|text| parse_list(&text))
            .unwrap_or_else(|_| vec![core]);
        if !seen.contains(&siblings) {
            seen.push(siblings);
            physical.push(core);
        }
    }
    physical
}

/// Reads the kernel's list form: "0-2,5" is 0, 1, 2, 5. What is not a number is left out.
fn parse_list(text: &str) -> Vec<usize> {
    let mut cores = vec![];
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) {
            cores.extend(first..=last.min(first + 4096));
        }
    }
    cores
}

/// The tightest quota on the way from the process's group to the root, for cgroup v2 and v1. `groups` is
/// the text of /proc/self/cgroup.
fn quota_of(groups: &str, root: &Path) -> Option<f64> {
    let mut quotas = vec![];
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(group)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let names: Vec<&str> = controllers.split(',').collect();
        let mounts: Vec<_> = if controllers.is_empty() {
            vec![root.to_path_buf(), root.join("unified")]
        } else if names.contains(&"cpu") {
            vec![root.join(controllers), root.join("cpu")]
        } else {
            continue;
        };
        for mount in mounts {
            // Inside a container the group's path may be that of the host: walking up ends at the mount.
            for group in Path::new(group.trim_start_matches('/')).ancestors() {
                let directory = mount.join(group);
                quotas.extend(quota_v2(&directory).or_else(|| quota_v1(&directory)));
            }
        }
    }
    quotas.into_iter().min_by(f64::total_cmp)
}

fn quota_v2(directory: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(directory.join("cpu.max")).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    ratio(quota, period)
}

fn quota_v1(directory: &Path) -> Option<f64> {
    let quota = std::fs::read_to_string(directory.join("cpu.cfs_quota_us")).ok()?;
    let period = std::fs::read_to_string(directory.join("cpu.cfs_period_us")).ok()?;
    ratio(quota.trim(), period.trim())
}

/// "max" and -1 mean unlimited.
fn ratio(quota: &str, period: &str) -> Option<f64> {
    let quota: f64 = quota.parse().ok()?;
    let period: f64 = period.parse().ok()?;
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        directory
    }

    #[test]
    fn smt_siblings_count_once() {
        let sys = tree(&[
            ("devices/system/cpu/cpu0/topology/thread_siblings_list", "0,2\n"),
            ("devices/system/cpu/cpu1/topology/thread_siblings_list", "1,3\n"),
            ("devices/system/cpu/cpu2/topology/thread_siblings_list", "0,2\n"),
            ("devices/system/cpu/cpu3/topology/thread_siblings_list", "1,3\n"),
        ]);
        assert_eq!(physical_of(&[0, 1, 2, 3], sys.path()), [0, 1]);
        assert_eq!(physical_of(&[2, 3], sys.path()), [2, 3]);
        assert_eq!(physical_of(&[5], sys.path()), [5]);
        assert_eq!(parse_list("0-2,5\n"), [0, 1, 2, 5]);
    }

    #[test]
    fn the_tightest_quota_wins_in_both_cgroup_versions() {
        let root = tree(&[
            ("cpu.max", "max 100000\n"),
            ("machine/cpu.max", "150000 100000\n"),
            ("machine/daemon/cpu.max", "300000 100000\n"),
        ]);
        assert_eq!(quota_of("0::/machine/daemon\n", root.path()), Some(1.5));
        let root = tree(&[
            ("cpu,cpuacct/pod/cpu.cfs_quota_us", "250000\n"),
            ("cpu,cpuacct/pod/cpu.cfs_period_us", "100000\n"),
            ("cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
            ("cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ]);
        assert_eq!(
            quota_of("4:memory:/pod\n3:cpu,cpuacct:/pod\n0::/\n", root.path()),
            Some(2.5)
        );
        assert_eq!(quota_of("3:cpu:/none\n0::/\n", root.path()), None);
    }

    #[test]
    fn a_core_of_this_process_can_be_pinned_and_one_that_is_not_there_cannot() {
        let here = affinity();
        assert!(can_pin(here[0]));
        for nowhere in [1_000, 1_000_000] {
            assert!(!here.contains(&nowhere));
            assert!(!can_pin(nowhere));
        }
        assert_eq!(affinity(), here, "this thread stays where it was");
    }

    #[test]
    fn usable_is_at_least_one_and_never_more_than_cores_or_quota() {
        let cores = |physical: usize, quota| Cores {
            allowed: (0..physical).collect(),
            physical: (0..physical).collect(),
            quota,
        };
        assert_eq!(cores(4, None).usable(), 4);
        assert_eq!(cores(4, Some(1.5)).usable(), 1);
        assert_eq!(cores(4, Some(0.5)).usable(), 1);
        assert_eq!(cores(2, Some(8.0)).usable(), 2);
        let here = Cores::read();
        assert!(here.usable() >= 1 && here.usable() <= here.allowed.len());
    }
}
