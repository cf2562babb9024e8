//! Linux tells: a timer that is cancelled when the clock is set or the machine
//! wakes, and a socket on which the kernel reports addresses and routes.

pub(super) mod addresses;
pub(super) mod clocks;
