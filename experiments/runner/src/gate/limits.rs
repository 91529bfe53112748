//! How long a process of the gate may take: until a deadline, or until the user stops it.

use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between looks at whether the process has ended.
const PAUSE: Duration = Duration::from_millis(20);

/// When a process is given up.
pub struct Limits<'a> {
    /// How long one may take.
    pub deadline: Duration,
    /// Whether the user wants to stop.
    pub stops: &'a dyn Fn() -> bool,
}

/// Waits for the end of a process, or ends it.
pub fn wait(child: &mut Child, limits: &Limits<'_>) -> Result<ExitStatus> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        let is_late = began.elapsed() > limits.deadline;
        if is_late || (limits.stops)() {
            child.kill()?;
            child.wait()?;
            bail!("{}", if is_late { format!("no end within {} s", limits.deadline.as_secs()) } else { "stopped".to_owned() });
        }
        std::thread::sleep(PAUSE);
    }
}
