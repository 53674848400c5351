//! The signal that comes when a mapped file gives no bytes: it was cut by somebody, or the disk cannot read it.
//!
//! That nobody cuts a file that is in use is an assumption, and the process ends if it does not hold. It says over which
//! file before.
#![expect(unsafe_code, reason = "a signal handler; each block states its invariant")]

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Once;

/// Bytes of `/proc/self/maps` that are looked at at once: more than a line of it commonly has, and little of the 8 KiB that a
/// handler's stack may have.
const BUFFER_BYTES: usize = 2048;

/// The action that was there before, which gets the signal afterwards.
struct Before(UnsafeCell<MaybeUninit<libc::sigaction>>);

// SAFETY: it is written once, before the handler is there that reads it, and never again.
unsafe impl Sync for Before {}

static BEFORE: Before = Before(UnsafeCell::new(MaybeUninit::uninit()));

/// From here on the process says over which file it ends.
pub(crate) fn name_file() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: asked for without a change, into memory of ours that nobody else uses by now.
        if unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), BEFORE.0.get().cast()) } != 0 {
            return;
        }
        // SAFETY: all zeros is a `sigaction`; its fields are set below.
        let mut own: libc::sigaction = unsafe { std::mem::zeroed() };
        own.sa_sigaction =
            tell as extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) as usize;
        own.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: the handler makes system calls only. If it is refused, the signal kills without a word.
        let _ = unsafe { libc::sigaction(libc::SIGBUS, &raw const own, ptr::null_mut()) };
    });
}

extern "C" fn tell(_signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel gives a valid one to a handler with SA_SIGINFO, and SIGBUS has an address.
    let address = unsafe { (*info).si_addr() } as usize;
    let mut buffer = [0_u8; BUFFER_BYTES];
    say(b"journal: a mapped file gives no bytes: it was cut while it was in use, or the disk cannot read it: ");
    // SAFETY: a path that ends with a zero byte.
    let maps = unsafe { libc::open(c"/proc/self/maps".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    let mut held = 0;
    loop {
        let free = &mut buffer[held..];
        // SAFETY: the memory is ours, and as long as is said.
        let count = unsafe { libc::read(maps, free.as_mut_ptr().cast(), free.len()) };
        let Some(count) = usize::try_from(count).ok().filter(|count| *count > 0) else { break };
        held += count;
        let mut from = 0;
        while let Some(length) = buffer[from..held].iter().position(|byte| *byte == b'\n') {
            let line = &buffer[from..from + length];
            if holds(line, address) {
                say(line.iter().position(|byte| *byte == b'/').map_or(line, |path| &line[path..]));
            }
            from += length + 1;
        }
        // A line that is longer than all of the buffer is not a file's.
        let from = if from == 0 { held } else { from };
        buffer.copy_within(from..held, 0);
        held -= from;
    }
    say(b"\n");
    // SAFETY: it was stored before this handler was there. The access is repeated, and whoever was there before ends it.
    unsafe { libc::sigaction(libc::SIGBUS, BEFORE.0.get().cast(), ptr::null_mut()) };
}

/// Whether a line of the maps, `START-END …` in hexadecimal, holds an address.
fn holds(line: &[u8], address: usize) -> bool {
    let mut bounds = [0_usize; 2];
    let mut which = 0;
    for byte in line {
        match (char::from(*byte).to_digit(16), byte) {
            (Some(digit), _) => bounds[which] = bounds[which] << 4 | digit as usize,
            (None, b'-') if which == 0 => which = 1,
            (None, _) => break,
        }
    }
    which == 1 && (bounds[0]..bounds[1]).contains(&address)
}

fn say(bytes: &[u8]) {
    // SAFETY: the memory is borrowed and as long as is said.
    let _ = unsafe { libc::write(libc::STDERR_FILENO, bytes.as_ptr().cast(), bytes.len()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_maps_holds_its_addresses() {
        let line = b"7f01a000-7f01c000 r--s 00000000 00:2a 17 /state/a/journal/marks";
        assert!(holds(line, 0x7f01_a000) && holds(line, 0x7f01_bfff));
        assert!(!holds(line, 0x7f01_c000) && !holds(line, 0x7f01_9fff));
        assert!(!holds(b"", 0) && !holds(b"nonsense", 0));
    }
}
