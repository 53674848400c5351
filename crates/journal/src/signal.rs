//! The signal that says that a file has come to the process's limit: an error is what is wanted.
#![expect(unsafe_code, reason = "setting a signal's action; each block states its invariant")]

use std::ptr;
use std::sync::Once;

/// From here on a file that would grow beyond the limit of the process (`RLIMIT_FSIZE`) is an error and not the end,
/// unless the application has said already what is to happen.
pub(crate) fn survive_file_size_limit() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: all zeros is a `sigaction` of the default action, which the call overwrites.
        let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: the second pointer says that nothing is to change, the third is to a `sigaction` of ours.
        let asked = unsafe { libc::sigaction(libc::SIGXFSZ, ptr::null(), &raw mut now) };
        if asked != 0 || now.sa_sigaction != libc::SIG_DFL {
            return;
        }
        // Not ignored: that would be passed on to programs that this process starts.
        now.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
        now.sa_flags = libc::SA_RESTART;
        // SAFETY: the handler does nothing, so it may interrupt anything; the other fields are those of the default.
        // If it is refused, the signal kills as before.
        let _ = unsafe { libc::sigaction(libc::SIGXFSZ, &raw const now, ptr::null_mut()) };
    });
}

const extern "C" fn nothing(_signal: libc::c_int) {}
