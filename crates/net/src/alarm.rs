//! A timer of the kernel's that rings again and again.
//!
//! # How it works
//! tokio's own timers are looked at, and the clock is read, each time the loop goes to sleep while one is set: twice a request,
//! for a sweep ten times a second. A descriptor of timerfd(2) costs nothing until it rings.

use std::io;
use std::time::Duration;

use rustix::time::{
    timerfd_create, timerfd_settime, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec,
};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

/// See the module.
pub struct Alarm {
    /// The one safe type of tokio that reads a descriptor of any kind.
    timer: Receiver,
    interval: Duration,
}

impl Alarm {
    /// One that rings every `interval`, from now on.
    ///
    /// # Errors
    /// The process has no descriptor left.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn every(interval: Duration) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let alarm = Self {
            timer: Receiver::from_owned_fd_unchecked(timer)?,
            interval,
        };
        alarm.start();
        Ok(alarm)
    }

    /// Waits until it rings.
    pub async fn rung(&mut self) {
        // how often it has rung since; a timer that is set can always be read
        let _ = self.timer.read(&mut [0; 8]).await;
    }

    /// Begins anew, an interval before it rings.
    pub fn start(&self) {
        self.set(self.interval);
    }

    /// Rings no more.
    pub fn stop(&self) {
        self.set(Duration::ZERO);
    }

    fn set(&self, interval: Duration) {
        let interval = Timespec {
            tv_sec: i64::try_from(interval.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: interval.subsec_nanos().into(),
        };
        let times = Itimerspec {
            it_interval: interval,
            it_value: interval,
        };
        // of the errors there are none is possible here
        let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &times);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn it_rings_again_and_again_until_it_is_stopped() {
        let mut alarm = Alarm::every(Duration::from_millis(1)).expect("there are descriptors");
        for _ in 0..3 {
            alarm.rung().await;
        }
        alarm.stop();
        let rung = tokio::time::timeout(Duration::from_millis(20), alarm.rung()).await;
        assert!(rung.is_err());
        alarm.start();
        alarm.rung().await;
    }
}
