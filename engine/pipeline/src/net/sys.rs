//! The system calls that have no safe wrapper: kernel receive times and receiving with them, and when TCP acknowledges.
#![allow(
    unsafe_code,
    reason = "SO_TIMESTAMPNS, its control messages and TCP_QUICKACK's values need libc"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use cobring_types::Nanos;
use rustix::event::{PollFd, PollFlags, poll};

/// CLOCK_MONOTONIC: for deadlines, never for stamps.
#[must_use]
pub fn monotonic() -> Nanos {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Nanos(now.tv_sec * Nanos::SECOND.0 + now.tv_nsec)
}

fn set_option(
    socket: &impl AsFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of_val(&value))
        .expect("invariant: the size of an int fits a socklen_t");
    // SAFETY: the descriptor is open for as long as `socket` is borrowed; `value` is a c_int of `length`
    // bytes that outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Asks the kernel to give its receive time with every receive.
pub(super) fn enable_timestamps(socket: &impl AsFd) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)
}

/// Acknowledges what came, if that is due, and has the next receive not do it: a receive that empties the socket sends the
/// acknowledgement before it returns, which takes two thirds of its time. To be called behind each receive, or
/// it is sent when the kernel's timer is over (40 ms and more).
///
/// TCP_QUICKACK, tcp(7); an even value that is not 0 acknowledges now and delays from then on, and 0 delays what comes
/// next even where nothing was to be acknowledged (`__tcp_sock_set_quickack` in Linux's net/ipv4/tcp.c).
pub(super) fn acknowledge_now_not_at_receive(socket: &impl AsFd) -> io::Result<()> {
    set_option(socket, libc::IPPROTO_TCP, libc::TCP_QUICKACK, 2)?;
    set_option(socket, libc::IPPROTO_TCP, libc::TCP_QUICKACK, 0)
}

/// Room for the control messages of one receive; a timespec needs 32 bytes.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// Receives what is there, at most `buffer`, with the kernel's receive time (CLOCK_REALTIME; TCP gives
/// that of the last packet taken) or [`Nanos::UNDEF`].
pub(super) fn receive(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Nanos)> {
    let mut control = Control([0; 64]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: msghdr is plain data for which all bits zero is a valid value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len();
    let received = loop {
        // SAFETY: `header` names one buffer and one control area, both exclusively borrowed for the
        // call and with their true lengths; the descriptor is open while `socket` is borrowed.
        let result = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut header, 0) };
        match usize::try_from(result) {
            Ok(received) => break received,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    };
    Ok((received, timestamp(&header)))
}

/// The receive time among the control messages that recvmsg wrote for `header`.
fn timestamp(header: &libc::msghdr) -> Nanos {
    // SAFETY: `header` is as recvmsg left it, so its control area holds `msg_controllen` valid bytes.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: a pointer that CMSG_FIRSTHDR or CMSG_NXTHDR returned is null or a whole header within
    // the control area, which is aligned for it.
    while let Some(found) = unsafe { message.as_ref() } {
        if found.cmsg_level == libc::SOL_SOCKET && found.cmsg_type == libc::SO_TIMESTAMPNS {
            // SAFETY: the kernel sends a timespec with this type; its alignment is not promised.
            let time = unsafe { libc::CMSG_DATA(found).cast::<libc::timespec>().read_unaligned() };
            return Nanos(time.tv_sec * Nanos::SECOND.0 + time.tv_nsec);
        }
        // SAFETY: `message` is within the control area of `header`.
        message = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
    Nanos::UNDEF
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ready {
    Read,
    Write,
}

/// Waits until the socket is ready (or has failed) or `limit` has passed; whether it is ready.
pub(super) fn wait_ready(socket: &impl AsFd, ready: Ready, limit: Nanos) -> io::Result<bool> {
    let flags = match ready {
        Ready::Read => PollFlags::IN,
        Ready::Write => PollFlags::OUT,
    };
    let mut polled = [PollFd::new(socket, flags)];
    let limit = rustix::time::Timespec {
        tv_sec: limit.0.max(0) / Nanos::SECOND.0,
        tv_nsec: limit.0.max(0) % Nanos::SECOND.0,
    };
    match poll(&mut polled, Some(&limit)) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
