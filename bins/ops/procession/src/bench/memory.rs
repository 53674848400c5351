//! Memory that the machine has at hand.
//!
//! A virtual machine that hands free memory back to its host (free page reporting, a balloon) pays for it when it needs
//! the memory again: several microseconds for each page of 4 KiB, whoever touches it first. That is a
//! property of the machine, and many times what the page is needed for; touching memory beforehand leaves it out.

/// Touches so much memory and gives it back to the kernel, which hands it out first then.
pub(super) fn warm(mib: u32) {
    let bytes = usize::try_from(mib).unwrap_or_default() << 20;
    drop(std::hint::black_box(vec![1_u8; bytes]));
}
