//! The last words of the process: a handler for SIGBUS, and no core file that could hold a secret.

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// Exit status after SIGBUS.
pub const SIGBUS_EXIT_CODE: i32 = 3;

const SIGBUS_LINE: &[u8] =
    b"fatal: a mapped file lost its disk or was cut short (SIGBUS); check free space and restart\n";

extern "C" fn on_sigbus(_signal: libc::c_int) {
    // SAFETY: write is async-signal-safe, and the line is a constant that lives for ever.
    unsafe {
        libc::write(
            libc::STDERR_FILENO,
            SIGBUS_LINE.as_ptr().cast(),
            SIGBUS_LINE.len(),
        )
    };
    // SAFETY: _exit is async-signal-safe and does not return.
    unsafe { libc::_exit(SIGBUS_EXIT_CODE) };
}

/// From now on SIGBUS writes one fixed line to stderr and ends the process with status 3: what a mapping
/// held cannot be trusted after it, so nothing may run on.
pub fn install_sigbus_handler() -> std::io::Result<()> {
    // SAFETY: sigaction is plain data for which all zeroes is a valid value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    let handler: extern "C" fn(libc::c_int) = on_sigbus;
    action.sa_sigaction = handler as *const () as libc::sighandler_t;
    // SAFETY: the handler calls only async-signal-safe functions, and `action` outlives the call.
    let code = unsafe { libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut()) };
    if code == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}

/// Forbids core files and attaching by other processes of this user: memory holds API secrets.
pub fn forbid_core_files() -> std::io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}
