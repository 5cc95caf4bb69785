//! Who a process is: enough to tell a live writer from a dead one whose number was given away again.

use rustix::process::{Pid, test_kill_process};

/// The namespace in which a pid means something, as the kernel's inode number; 0 when it cannot be read.
pub fn pid_namespace() -> u64 {
    std::fs::read_link("/proc/self/ns/pid")
        .ok()
        .and_then(|link| {
            let text = link.to_string_lossy().into_owned();
            text.split(['[', ']']).nth(1)?.parse().ok()
        })
        .unwrap_or(0)
}

/// The kernel's identity of this boot, as two words; zeros when it cannot be read.
pub fn boot_id() -> [u64; 2] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let half = |range: std::ops::Range<usize>| {
        digits
            .get(range)
            .and_then(|part| u64::from_str_radix(part, 16).ok())
            .unwrap_or(0)
    };
    [half(0..16), half(16..32)]
}

/// When a process started, in clock ticks since boot; none when there is no such process.
pub fn start_ticks(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program name in parentheses may hold spaces: fields are counted after the last one.
    let after_name = text.get(text.rfind(')')? + 1..)?;
    after_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Whether `pid` exists and, where that can be told, is still the process that started at `start`.
pub fn is_alive(pid: u32, start: u64) -> bool {
    let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return false;
    };
    match test_kill_process(raw) {
        Err(rustix::io::Errno::SRCH) => false,
        _ => start == 0 || start_ticks(pid).is_none_or(|found| found == start),
    }
}

/// Makes the calling thread less urgent, by `nice` of the usual 0 to 19. On Linux it is the thread, not
/// the process.
pub fn lower_thread_priority(nice: i32) -> std::io::Result<()> {
    rustix::process::setpriority_process(None, nice)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_its_number_with_another_start_is_not() {
        let pid = std::process::id();
        let start = start_ticks(pid).unwrap();
        assert!(is_alive(pid, start));
        assert!(!is_alive(pid, start + 1));
        assert!(!is_alive(u32::MAX, 0));
        assert_ne!(boot_id(), [0, 0]);
    }
}
