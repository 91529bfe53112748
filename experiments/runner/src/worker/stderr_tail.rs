//! The last 8 KiB that a worker wrote to stderr, gathered by a thread that only sleeps and reads.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How much is kept.
pub(super) const TAIL_BYTES: usize = 8 << 10;

/// The end of a stream so far.
pub(super) struct StderrTail {
    bytes: Arc<Mutex<VecDeque<u8>>>,
    /// Closed by the reader when the stream ends.
    ended: Receiver<()>,
}

impl StderrTail {
    /// Reads the stream in a thread of its own until it ends.
    pub(super) fn of(mut stream: impl Read + Send + 'static) -> io::Result<Self> {
        let bytes = Arc::new(Mutex::new(VecDeque::with_capacity(TAIL_BYTES)));
        let (ending, ended) = channel::<()>();
        let kept = Arc::clone(&bytes);
        std::thread::Builder::new().name("worker-stderr".into()).stack_size(super::process::THREAD_STACK).spawn(move || {
            let mut chunk = [0u8; 4096];
            loop {
                match stream.read(&mut chunk) {
                    Ok(0) => break,
                    Ok(read) => keep(&mut kept.lock().unwrap_or_else(PoisonError::into_inner), &chunk[..read]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
            drop(ending);
        })?;
        Ok(Self { bytes, ended })
    }

    /// Waits until everything was read, but not longer than `patience`: a process that left the group may hold the pipe open.
    pub(super) fn settle(&self, patience: Duration) {
        let _: Result<(), RecvTimeoutError> = self.ended.recv_timeout(patience);
    }

    /// The text, without the first line where only a part of it is left.
    pub(super) fn text(&self) -> Option<String> {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let full = bytes.len() == TAIL_BYTES;
        let mut rest: &[u8] = bytes.make_contiguous();
        if full && let Some(end) = rest[..rest.len() - 1].iter().position(|&byte| byte == b'\n') {
            rest = &rest[end + 1..];
        }
        let text = String::from_utf8_lossy(rest).trim_end().to_owned();
        (!text.is_empty()).then_some(text)
    }
}

fn keep(kept: &mut VecDeque<u8>, new: &[u8]) {
    kept.extend(new);
    let excess = kept.len().saturating_sub(TAIL_BYTES);
    kept.drain(..excess);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail_of(text: Vec<u8>) -> Option<String> {
        let tail = StderrTail::of(io::Cursor::new(text)).unwrap();
        tail.settle(Duration::from_secs(10));
        tail.text()
    }

    #[test]
    fn short_text_is_kept_whole() {
        assert_eq!(tail_of(b"one\ntwo\n".to_vec()).as_deref(), Some("one\ntwo"));
        assert_eq!(tail_of(Vec::new()), None);
        assert_eq!(tail_of(b" \n\n".to_vec()), None);
    }

    #[test]
    fn of_long_text_the_last_whole_lines_are_kept() {
        let text: String = (0..100_000).map(|n| format!("line {n}\n")).collect();
        let kept = tail_of(text.clone().into_bytes()).unwrap();
        assert!(kept.len() <= TAIL_BYTES && kept.len() > TAIL_BYTES - 20, "{}", kept.len());
        assert!(kept.starts_with("line ") && kept.ends_with("line 99999"));
        assert!(text.contains(&format!("\n{kept}\n")));
    }

    #[test]
    fn text_that_is_not_utf8_does_no_harm() {
        assert_eq!(tail_of(vec![0xff, b'a']).unwrap(), "\u{fffd}a");
        // One endless line: all of the last part is kept.
        assert_eq!(tail_of(vec![b'x'; 3 * TAIL_BYTES]).unwrap().len(), TAIL_BYTES);
    }
}
