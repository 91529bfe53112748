//! Which processor this thread is on, and for how long it was on one.
//!
//! Through the C library, not through rustix as elsewhere: rustix enters the page that the kernel maps into each process by itself, and under valgrind,
//! where the gate counts instructions, there is no such page.

/// The processor that this thread runs on.
#[cfg(target_os = "linux")]
pub fn current() -> usize {
    // SAFETY: it takes nothing and touches no memory of ours.
    let number = unsafe { libc::sched_getcpu() };
    // No kernel that runs this lacks the call.
    usize::try_from(number).unwrap_or(0)
}

#[cfg(not(target_os = "linux"))]
pub fn current() -> usize {
    0
}

/// Nanoseconds that this thread was on a processor.
pub fn time_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours, which the call fills. It cannot fail: every system with the clock lets a thread read its own.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_grows_with_work_and_not_with_sleep() {
        let begun = time_ns();
        std::thread::sleep(std::time::Duration::from_millis(50));
        let slept = time_ns() - begun;
        let clock = std::time::Instant::now();
        while clock.elapsed() < std::time::Duration::from_millis(50) {}
        // Others may take the processor away meanwhile; the sleep took none of it.
        assert!(time_ns() - begun > slept && slept < 10_000_000, "{slept} ns asleep, {} ns in all", time_ns() - begun);
        assert!(current() < 1 << 16);
    }
}
