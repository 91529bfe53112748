//! Threads that wait for work, and the one way of sending them all to it.
//!
//! The caller is one of those who work: it starts at once, and the others join it as they wake. So a call costs the caller no way there and
//! back, and what waking takes is lost by half where there are two. A pool that takes the work over from its caller (as rayon's does) waits
//! for one thread to wake, for that one to wake the next, and for the caller to wake at the end: 100 microseconds of a virtual machine,
//! where the rows of a layer take 300.
//!
//! Who has finished looks for the next call for [`PATIENCE`], since operations of a model follow each other closely, and then sleeps: a
//! waiting engine takes no processor from others. Wakings go down a tree, so that many threads do not wait for one that wakes them in turn.
//! Nothing here allocates after the threads have been started.

use std::any::Any;
use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{Builder, JoinHandle, Thread};
use std::time::{Duration, Instant};

/// How long a thread looks for what it waits for before it sleeps: a few times what waking takes.
const PATIENCE: Duration = Duration::from_micros(50);
/// Looks between two at the clock.
const LOOKS: usize = 64;

/// What is done: it gets the number of the participant.
type Work<'a> = dyn Fn(usize) + Sync + 'a;

/// Threads beside the caller's.
pub(crate) struct Crew {
    board: Arc<Board>,
    threads: Vec<JoinHandle<()>>,
    /// Calls so far; held during a call, so that another caller's waits.
    calls: Mutex<usize>,
}

/// What all of them see.
struct Board {
    /// Only changed while nobody works: before the orders of a call are given, and after all have finished.
    call: UnsafeCell<Option<Call>>,
    /// Participants that have not finished, without the caller.
    open: AtomicUsize,
    /// One for each participant; the caller's is not used.
    seats: Vec<Seat>,
    /// Of the participants 1, 2, ..; there before the first call.
    handles: OnceLock<Vec<Thread>>,
    closing: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

struct Call {
    /// Lives on in the caller until all have finished.
    work: &'static Work<'static>,
    participants: usize,
    caller: Thread,
}

/// The number of the last call to which this participant was sent; on a line of its own, since its thread looks at it all the time.
#[repr(align(128))]
struct Seat(AtomicUsize);

// SAFETY: the call is written by the caller alone, before it gives orders (release) that participants read (acquire), and again only after
// all of them have counted themselves off (release, acquire).
unsafe impl Sync for Board {}
// SAFETY: likewise; everything in it may be sent.
unsafe impl Send for Board {}

impl Crew {
    /// `others` threads beside the caller's.
    pub(crate) fn new(others: usize, name: &str) -> std::io::Result<Self> {
        let board = Arc::new(Board {
            call: UnsafeCell::new(None),
            open: AtomicUsize::new(0),
            seats: (0..=others).map(|_| Seat(AtomicUsize::new(0))).collect(),
            handles: OnceLock::new(),
            closing: AtomicBool::new(false),
            panic: Mutex::new(None),
        });
        // Dropped where a thread cannot be had, and the earlier ones with it.
        let mut crew = Self { board, threads: Vec::with_capacity(others), calls: Mutex::new(0) };
        for participant in 1..=others {
            let board = Arc::clone(&crew.board);
            crew.threads.push(Builder::new().name(format!("{name}-{participant}")).spawn(move || board.serve(participant))?);
        }
        let handles = crew.threads.iter().map(|thread| thread.thread().clone()).collect();
        crew.board.handles.get_or_init(|| handles);
        Ok(crew)
    }

    /// Calls `work` with 0 (on this thread) and with 1, 2, .. below `participants`, and returns when all have returned. Must not be called
    /// from within such work. A panic of any of them goes on here.
    pub(crate) fn run(&self, participants: usize, work: &Work<'_>) {
        let participants = participants.min(self.threads.len() + 1);
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        *calls += 1;
        // SAFETY: nothing but the lifetime changes; this function returns (or unwinds) only after `wait`, and then nobody uses it any more.
        let work_of_call = unsafe { std::mem::transmute::<&Work<'_>, &'static Work<'static>>(work) };
        let call = Call { work: work_of_call, participants, caller: std::thread::current() };
        // SAFETY: nobody works, since the last call has waited for all, and the lock keeps other callers out.
        unsafe { *self.board.call.get() = Some(call) };
        self.board.open.store(participants.saturating_sub(1), Ordering::Relaxed);
        self.board.order(0, participants, *calls);
        let own = catch_unwind(AssertUnwindSafe(|| work(0)));
        wait_until(|| self.board.open.load(Ordering::Acquire) == 0);
        drop(calls);
        let others = self.board.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = own.err().or(others) {
            resume_unwind(panic);
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.board.closing.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            // A thread catches the panics of its work, and has none of its own.
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Crew {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Crew").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

impl Board {
    /// Sends those to work whom this participant wakes, who send the next.
    fn order(&self, participant: usize, participants: usize, call: usize) {
        let Some(handles) = self.handles.get() else { return };
        for next in [2 * participant + 1, 2 * participant + 2] {
            if next < participants {
                self.seats[next].0.store(call, Ordering::Release);
                handles[next - 1].unpark();
            }
        }
    }

    /// The life of a thread.
    fn serve(&self, participant: usize) {
        let mut done = 0;
        loop {
            let order = || self.seats[participant].0.load(Ordering::Acquire);
            wait_until(|| order() != done || self.closing.load(Ordering::Acquire));
            let number = order();
            if number == done {
                return;
            }
            done = number;
            // SAFETY: this participant has been sent to a call, which lasts until it has counted itself off below.
            let Some(call) = (unsafe { &*self.call.get() }) else { return };
            self.order(participant, call.participants, number);
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (call.work)(participant))) {
                *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
            }
            // Its own handle: after the last has counted itself off, the call may be gone.
            let caller = call.caller.clone();
            if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
                caller.unpark();
            }
        }
    }
}

/// Looks for a while, then sleeps until someone wakes this thread, and looks again.
fn wait_until(reached: impl Fn() -> bool) {
    let mut begun = None;
    loop {
        for _ in 0..LOOKS {
            if reached() {
                return;
            }
            spin_loop();
        }
        if begun.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
            break;
        }
    }
    while !reached() {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls after each other, some of them after everyone has gone to sleep.
    #[test]
    fn everyone_asked_for_works_once_a_call() {
        for others in [1, 2, 6] {
            let crew = Crew::new(others, "test").unwrap();
            for (call, participants) in (1..=others + 3).cycle().take(200).enumerate() {
                let times: Vec<AtomicUsize> = (0..others + 4).map(|_| AtomicUsize::new(0)).collect();
                crew.run(participants, &|participant| {
                    times[participant].fetch_add(1, Ordering::Relaxed);
                });
                let expected = |at: usize| usize::from(at < participants.min(others + 1));
                assert!(times.iter().enumerate().all(|(at, times)| times.load(Ordering::Relaxed) == expected(at)));
                if call % 50 == 0 {
                    std::thread::sleep(4 * PATIENCE);
                }
            }
        }
    }

    #[test]
    fn a_panic_comes_out_after_all_have_finished_and_the_crew_goes_on() {
        let crew = Crew::new(2, "test").unwrap();
        for panics in 0..3 {
            let finished = AtomicUsize::new(0);
            let work = |participant: usize| {
                assert_ne!(participant, panics, "as planned");
                finished.fetch_add(1, Ordering::Relaxed);
            };
            assert!(catch_unwind(AssertUnwindSafe(|| crew.run(3, &work))).is_err());
            assert_eq!(finished.load(Ordering::Relaxed), 2);
        }
        let counted = AtomicUsize::new(0);
        crew.run(3, &|_| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(counted.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn callers_from_several_threads_take_turns() {
        let (crew, inside) = (Crew::new(2, "test").unwrap(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        crew.run(3, &|_| {
                            assert!(inside.fetch_add(1, Ordering::Relaxed) < 3);
                            inside.fetch_sub(1, Ordering::Relaxed);
                        });
                    }
                });
            }
        });
    }
}
