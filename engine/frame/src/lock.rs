//! Locks that tell a living engine from a dead one. Guarantees: one engine a directory, from its lock until
//! its process ends, however it ends; a lock is seen through read-only descriptors and across pid
//! namespaces. Needs: Linux (open-file-description locks). Does not: name the holder; the text of the file
//! and the segment's header do.
#![allow(unsafe_code, reason = "fcntl with F_OFD_*, which rustix does not have")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// What of a file is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    /// One byte, for files that two processes hold for different reasons.
    Byte(u8),
}

fn request(kind: libc::c_int, part: Part) -> libc::flock {
    // SAFETY: a C struct of integers, for which zero is a value: from offset 0 to the end, pid 0 as OFD
    // locks want it.
    let mut request: libc::flock = unsafe { std::mem::zeroed() };
    if let Part::Byte(at) = part {
        (request.l_start, request.l_len) = (libc::off_t::from(at), 1);
    }
    request.l_type =
        libc::c_short::try_from(kind).expect("invariant: F_RDLCK, F_WRLCK are 0 and 1");
    request.l_whence = libc::c_short::try_from(libc::SEEK_SET).expect("invariant: SEEK_SET is 0");
    request
}

/// Locks the whole file for this open description; false where another one has it.
pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    try_lock_part(file, Part::Whole)
}

/// The same for a part of it.
pub(crate) fn try_lock_part(file: &File, part: Part) -> io::Result<bool> {
    let request = request(libc::F_WRLCK, part);
    // SAFETY: an open descriptor, and a flock that outlives the call.
    let answer = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const request) };
    if answer == 0 {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        error if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        error => Err(error),
    }
}

/// Whether another open description has the file locked.
pub(crate) fn is_locked(file: &File) -> io::Result<bool> {
    is_part_locked(file, Part::Whole)
}

/// The same for a part of it.
pub(crate) fn is_part_locked(file: &File, part: Part) -> io::Result<bool> {
    let mut request = request(libc::F_RDLCK, part);
    // SAFETY: an open descriptor, and a flock that outlives the call, which writes it.
    let answer = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut request) };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(libc::c_int::from(request.l_type) != libc::F_UNLCK)
}
