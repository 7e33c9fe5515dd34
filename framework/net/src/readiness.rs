//! Waiting for many descriptors, for a precise time, or to be woken; whichever comes first.
//!
//! The time is the monotonic clock's, by a timer of the kernel: no coarser unit and no slack, as a time-out in milliseconds has.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// What stands for the timer and for the waker among the tokens.
const TIMER: u64 = u64::MAX;
const WAKER: u64 = u64::MAX - 1;

/// How many descriptors one wait tells of; the others are told of by the next.
const MOST_AT_ONCE: usize = 64;

/// How much a thread is favoured over others, as `nice` counts it.
const FAVOUR: libc::c_int = -15;

/// What can be waited for. One thread waits; any may watch, unwatch and wake.
#[derive(Debug)]
pub struct Readiness {
    epoll: OwnedFd,
    timer: OwnedFd,
    waker: OwnedFd,
    is_armed: AtomicBool,
}

impl Readiness {
    /// Nothing to wait for but being woken.
    pub fn new() -> io::Result<Self> {
        // SAFETY: the call takes its argument by value, and what it returns is nobody else's.
        let epoll = unsafe { owned(libc::epoll_create1(libc::EPOLL_CLOEXEC)) }?;
        let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
        // SAFETY: as before.
        let timer = unsafe { owned(libc::timerfd_create(libc::CLOCK_MONOTONIC, flags)) }?;
        // SAFETY: as before.
        let waker = unsafe { owned(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK)) }?;
        let readiness = Self { epoll, timer, waker, is_armed: AtomicBool::new(false) };
        readiness.control(libc::EPOLL_CTL_ADD, readiness.timer.as_fd(), TIMER)?;
        readiness.control(libc::EPOLL_CTL_ADD, readiness.waker.as_fd(), WAKER)?;
        Ok(readiness)
    }

    /// Tells of this descriptor by `token`, which is none of the two largest numbers, while it can be read. It is forgotten
    /// when it is closed.
    pub fn watch(&self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token)
    }

    /// Tells no more of this descriptor.
    pub fn unwatch(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, 0)
    }

    /// Ends the present wait, or the next one at once.
    pub fn wake(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight octets are read. It fails only when the counter is full, and then the wait ends anyway.
        unsafe { libc::write(self.waker.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Waits until a descriptor can be read, it is woken, or the time has come; puts the tokens of those that can be read
    /// into `ready`.
    pub fn wait(&self, until: Option<Instant>, ready: &mut Vec<u64>) -> io::Result<()> {
        ready.clear();
        let remaining = until.map(|until| until.saturating_duration_since(Instant::now()));
        if remaining.is_some() || self.is_armed.load(Ordering::Relaxed) {
            let remaining = remaining.unwrap_or_default();
            let at = libc::timespec {
                tv_sec: libc::time_t::try_from(remaining.as_secs()).unwrap_or(libc::time_t::MAX),
                tv_nsec: remaining.subsec_nanos().into(),
            };
            let once = libc::itimerspec { it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 }, it_value: at };
            // Zero disarms it.
            self.is_armed.store(!remaining.is_zero(), Ordering::Relaxed);
            // SAFETY: the value lives through the call; the old one is not asked for.
            if unsafe { libc::timerfd_settime(self.timer.as_raw_fd(), 0, &raw const once, std::ptr::null_mut()) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        let patience = if remaining.is_some_and(|remaining| remaining.is_zero()) { 0 } else { -1 };
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; MOST_AT_ONCE];
        let (epoll, most) = (self.epoll.as_raw_fd(), MOST_AT_ONCE as libc::c_int);
        // SAFETY: the kernel writes at most so many events.
        let count = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), most, patience) };
        let Ok(count) = usize::try_from(count) else {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
        };
        for event in &events[..count] {
            match event.u64 {
                TIMER => {}
                WAKER => self.calm(),
                token => ready.push(token),
            }
        }
        Ok(())
    }

    /// Takes note of having been woken.
    fn calm(&self) {
        let mut count = [0; 8];
        // SAFETY: eight octets are written.
        unsafe { libc::read(self.waker.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }

    fn control(&self, operation: libc::c_int, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token };
        // SAFETY: the event lives through the call, and both descriptors are open.
        match unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd.as_raw_fd(), &raw mut event) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Takes a descriptor that was just made.
///
/// # Safety
/// It is nobody else's.
unsafe fn owned(fd: libc::c_int) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the caller says so.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Has the scheduler favour this thread over others, so that it is late less often. Needs CAP_SYS_NICE.
pub fn favour_this_thread() -> io::Result<()> {
    // SAFETY: the call takes its arguments by value; on Linux it concerns the calling thread alone.
    match unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, FAVOUR) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    #[test]
    fn a_wait_ends_at_its_time_and_not_before() {
        let readiness = Readiness::new().expect("descriptors are left");
        let mut ready = vec![9];
        let until = Instant::now() + Duration::from_millis(20);
        readiness.wait(Some(until), &mut ready).expect("it can wait");
        assert!(Instant::now() >= until && ready.is_empty());
        // What is past is not waited for, and a timer that went off earlier ends no later wait.
        readiness.wait(Some(until), &mut ready).expect("it can wait");
        let until = Instant::now() + Duration::from_millis(20);
        readiness.wait(Some(until), &mut ready).expect("it can wait");
        assert!(Instant::now() >= until);
    }

    #[test]
    fn what_can_be_read_is_told_until_it_is_read_or_forgotten() {
        let readiness = Readiness::new().expect("descriptors are left");
        let (mut near, far) = UnixStream::pair().expect("descriptors are left");
        readiness.watch(far.as_fd(), 7).expect("it can be watched");
        near.write_all(b"x").expect("there is room");
        let mut ready = Vec::new();
        for _ in 0..2 {
            readiness.wait(None, &mut ready).expect("it can wait");
            assert_eq!(ready, [7]);
        }
        readiness.unwatch(far.as_fd()).expect("it is watched");
        readiness.wait(Some(Instant::now()), &mut ready).expect("it can wait");
        assert!(ready.is_empty());
    }

    #[test]
    fn a_waker_ends_one_wait_from_another_thread() {
        let readiness = Readiness::new().expect("descriptors are left");
        let mut ready = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| readiness.wake());
            readiness.wait(None, &mut ready).expect("it can wait");
        });
        let until = Instant::now() + Duration::from_millis(20);
        readiness.wait(Some(until), &mut ready).expect("it can wait");
        assert!(Instant::now() >= until, "it was woken once");
    }
}
