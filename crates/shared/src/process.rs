//! Who holds something in shared memory, as one word; and whether that process still lives.
//!
//! How it works: a token is a process id with the process's start time, so a later process with the same id is not taken
//! for the holder. A child made by `fork` is another process with the same memory: the page that keeps the token is
//! wiped in it (`MADV_WIPEONFORK`), and it makes its own.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::OnceLock;

use memmap2::{MmapOptions, MmapRaw};
use rustix::io::Errno;
use rustix::process::Pid;

/// A process, never 0.
pub(crate) type Token = u64;

/// The kernel's largest process id is below this many bits (`PID_MAX_LIMIT`).
const PID_BITS: u32 = 22;
const PID_MASK: u64 = (1 << PID_BITS) - 1;

/// This process.
pub(crate) fn token() -> Token {
    let Some(page) = own_page() else {
        return make_token();
    };
    match page.load(Relaxed) {
        0 => {
            let token = make_token();
            page.store(token, Relaxed);
            token
        }
        token => token,
    }
}

/// The process id in a token.
pub(crate) fn pid(token: Token) -> u32 {
    u32::try_from(token & PID_MASK).unwrap_or(0)
}

/// Whether the process can still run: not when it is gone, when its id is another's, or when all its threads have ended.
///
/// Costs two or three system calls. What cannot be found out counts as alive.
pub(crate) fn is_alive(token: Token) -> bool {
    let Some(pid) = i32::try_from(token & PID_MASK).ok().and_then(Pid::from_raw) else {
        return false;
    };
    if rustix::process::test_kill_process(pid) == Err(Errno::SRCH) {
        return false;
    }
    let Some(status) = Status::of(&pid.as_raw_nonzero().to_string()) else {
        return true; // hidden from us
    };
    let is_same = token >> PID_BITS == 0 || status.started == token >> PID_BITS;
    // A process that was killed is a zombie until its parent looks; its other threads may run an instant longer.
    is_same && !(status.has_ended && status.threads <= 1)
}

fn make_token() -> Token {
    let started = Status::of("self").map_or(0, |status| status.started);
    (started << PID_BITS) | (u64::from(std::process::id()) & PID_MASK)
}

/// The part of `/proc/PID/stat` that matters here (`proc_pid_stat(5)`).
struct Status {
    has_ended: bool,
    threads: u64,
    /// In clock ticks since the system started.
    started: u64,
}

impl Status {
    fn of(process: &str) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The name before it is in parentheses, and may hold anything.
        let mut fields = text.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?;
        Some(Self {
            has_ended: matches!(state, "Z" | "X"),
            threads: fields.nth(16)?.parse().ok()?,
            started: fields.nth(1)?.parse().ok()?,
        })
    }
}

#[allow(
    unsafe_code,
    clippy::cast_ptr_alignment,
    reason = "a page that fork wipes can only be had from the system"
)]
fn own_page() -> Option<&'static AtomicU64> {
    static PAGE: OnceLock<Option<MmapRaw>> = OnceLock::new();
    let page = PAGE
        .get_or_init(|| {
            let page = MmapRaw::from(MmapOptions::new().len(4096).map_anon().ok()?);
            // SAFETY: the range is one page that was just mapped and is not used yet; the advice changes only what a
            // child made by `fork` finds in it.
            unsafe {
                rustix::mm::madvise(
                    page.as_mut_ptr().cast(),
                    4096,
                    rustix::mm::Advice::LinuxWipeOnFork,
                )
            }
            .ok()?;
            Some(page)
        })
        .as_ref()?;
    // SAFETY: the page is never unmapped (it is in a static), is aligned, and is reached as this atomic only.
    Some(unsafe { &*page.as_ptr().cast::<AtomicU64>() })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn test_this_process_is_alive_and_has_one_token() {
        assert_eq!(token(), token());
        assert_eq!(pid(token()), std::process::id());
        assert!(is_alive(token()));
    }

    #[test]
    fn test_another_process_with_the_same_id_is_not_taken_for_the_holder() {
        assert!(!is_alive(token() ^ (1 << PID_BITS)));
    }

    #[test]
    fn test_a_killed_process_is_dead_before_and_after_its_parent_looks() {
        let mut child = Command::new("sleep")
            .arg("60")
            .stdout(Stdio::null())
            .spawn()
            .expect("there is a `sleep`");
        let started = Status::of(&child.id().to_string()).expect("it runs").started;
        let its_token = (started << PID_BITS) | u64::from(child.id());
        assert!(is_alive(its_token));
        child.kill().expect("it is ours");
        while is_alive(its_token) {
            std::thread::yield_now(); // it becomes a zombie in its own time
        }
        child.wait().expect("it ended");
        assert!(!is_alive(its_token));
    }

    #[test]
    fn test_no_process_is_dead() {
        assert!(!is_alive(0));
    }
}
