//! The system calls of a thread and of all that it starts, processes among them: a seccomp filter halts each of them until
//! another thread has noted it; then it happens as ever.
#![allow(unsafe_code, reason = "seccomp has no safe wrapper")]

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};

/// A system call: who makes it, its number and its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// By the kernel's number; that of a process is its first thread's.
    pub thread: u32,
    pub number: i64,
    pub args: [u64; 6],
}

/// Where a thread that is watched leaves the descriptor of its notices.
#[derive(Debug)]
pub struct Watch(AtomicI32);

impl Watch {
    const NOT_YET: i32 = -1;

    /// From here to its end this thread, and what it starts, waits at each system call until that is noted.
    pub fn begin(&self) {
        rustix::thread::set_no_new_privs(true).expect("a thread may give up privileges");
        let code = u16::try_from(libc::BPF_RET | libc::BPF_K).expect("a code has 16 bits");
        let mut every_call =
            libc::sock_filter { code, jt: 0, jf: 0, k: libc::SECCOMP_RET_USER_NOTIF };
        let program = libc::sock_fprog { len: 1, filter: &raw mut every_call };
        let (mode, flags) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
        // SAFETY: the program is one whole instruction, which the kernel copies before the call returns.
        let listener = unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) };
        assert!(listener >= 0, "no filter: {}", io::Error::last_os_error());
        let listener = i32::try_from(listener).expect("a descriptor has 32 bits");
        // Not by a channel: waking its reader would wait for that reader. Gives the descriptor to `watched`'s Acquire.
        self.0.store(listener, Ordering::Release);
    }
}

/// Whether this kernel lets one process be told of the calls of a thread (Linux 5.0, seccomp not taken away); says so where
/// it does not.
#[must_use]
pub fn can_watch() -> bool {
    let action = libc::SECCOMP_RET_USER_NOTIF;
    let ask = libc::SECCOMP_GET_ACTION_AVAIL;
    // SAFETY: the kernel reads the action, and changes nothing.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, ask, 0, &raw const action) };
    if result != 0 {
        eprintln!("skipped: no notices of system calls here: {}", io::Error::last_os_error());
    }
    result == 0
}

/// Does the work on a thread of its own, and tells of all calls from [`Watch::begin`] on, until nobody is left to make any.
pub fn watched<R: Send>(
    work: impl FnOnce(&Watch) -> R + Send,
    mut on_call: impl FnMut(&Call),
) -> R {
    let watch = Watch(AtomicI32::new(Watch::NOT_YET));
    thread::scope(|scope| {
        let watched = scope.spawn(|| work(&watch));
        loop {
            match watch.0.load(Ordering::Acquire) {
                Watch::NOT_YET if watched.is_finished() => break,
                Watch::NOT_YET => thread::yield_now(),
                listener => {
                    // SAFETY: the kernel has just made it, for us alone.
                    let listener = unsafe { OwnedFd::from_raw_fd(listener) };
                    while is_used(&listener) {
                        if let Some(call) = next_call(&listener) {
                            on_call(&call);
                        }
                    }
                    break;
                }
            }
        }
        watched.join().expect("the watched thread ends")
    })
}

/// Waits for a call; false where nobody is left to make one.
fn is_used(listener: &OwnedFd) -> bool {
    let mut listeners = [PollFd::new(listener, PollFlags::IN)];
    poll(&mut listeners, None).expect("a listener can be waited for");
    listeners[0].revents().contains(PollFlags::IN)
}

/// The next call, which is let go on; none where who made it is gone.
fn next_call(listener: &OwnedFd) -> Option<Call> {
    // SAFETY: integers, for which zero, as the kernel wants it, is a value.
    let (mut notice, mut answer): (libc::seccomp_notif, libc::seccomp_notif_resp) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: the kernel writes one notice, of which this is the layout.
    let received = unsafe {
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut notice)
    };
    if received != 0 {
        return None;
    }
    answer.id = notice.id;
    answer.flags =
        u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).expect("a flag has 32 bits");
    // SAFETY: the kernel reads one answer, of which this is the layout.
    let sent = unsafe {
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer)
    };
    if sent != 0 {
        let error = io::Error::last_os_error();
        // A signal took the call back, or a kill who made it.
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT), "{error}");
        return None;
    }
    Some(Call { thread: notice.pid, number: notice.data.nr.into(), args: notice.data.args })
}
