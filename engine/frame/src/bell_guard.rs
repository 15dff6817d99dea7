//! Bells that somebody cut. Guarantees: a bell whose file is truncated under its mapping ends no process, here or
//! in a reader: whoever touches it first gives the file its page back, and marks the bell, so that those who
//! sleep on it are woken by the next publication. Needs: the registered mapping to live as long as its
//! [`BellGuard`]. Does not: cost anything until then, or touch any other fault.
//!
//! A reader may write the bell, so it may truncate it; the writer's next look at it is then a SIGBUS. Nothing
//! in the kernel keeps a file of a file system from being cut while it is mapped (seals are for memfd alone,
//! which has no name), so the signal is handled: with system calls only, which is what a handler may do.
#![allow(unsafe_code, reason = "a signal handler, and the page that it maps")]

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use libc::{c_int, c_void, sigaction, siginfo_t};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

use crate::segment::BELL_SIZE_BYTES;

/// One guarded page. Nodes are never freed: the handler may be looking at them.
struct Node {
    taken: AtomicBool,
    /// Of the page; 0 while there is none.
    base: AtomicUsize,
    fd: AtomicI32,
    mended: AtomicU64,
    next: *const Node,
}

/// All nodes, newest first; grows to the most bells that a process had open at once.
static NODES: AtomicPtr<Node> = AtomicPtr::new(ptr::null_mut());
/// What was to be done about a SIGBUS before.
static PREVIOUS: OnceLock<sigaction> = OnceLock::new();

/// Keeps one mapped bell from ending the process.
#[derive(Debug)]
pub(crate) struct BellGuard {
    node: &'static Node,
    /// What the page is mapped from.
    _file: File,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("mended", &self.mended).finish_non_exhaustive()
    }
}

// SAFETY: all fields but `next` are atomic, and `next` is written before the node is published.
unsafe impl Sync for Node {}

impl BellGuard {
    /// Guards the bell that is mapped from `file` at `base`.
    pub(crate) fn new(base: *mut u8, file: &File) -> io::Result<Self> {
        handle_sigbus()?;
        let file = file.try_clone()?;
        let node = Node::take();
        node.mended.store(0, Ordering::Relaxed);
        node.fd.store(file.as_raw_fd(), Ordering::Relaxed);
        node.base.store(base as usize, Ordering::Release); // to the handler's Acquire
        Ok(Self { node, _file: file })
    }

    /// How often the bell was cut, as far as this process met it.
    pub(crate) fn mended(&self) -> u64 {
        self.node.mended.load(Ordering::Relaxed)
    }
}

impl Drop for BellGuard {
    fn drop(&mut self) {
        self.node.base.store(0, Ordering::Relaxed);
        self.node.taken.store(false, Ordering::Release); // to the next taker's Acquire
    }
}

impl Node {
    /// One that nobody uses.
    fn take() -> &'static Self {
        let free = nodes().find(|node| {
            let taken = node.taken.compare_exchange(
                false,
                true,
                Ordering::Acquire, // to Drop's Release
                Ordering::Relaxed,
            );
            taken.is_ok()
        });
        free.unwrap_or_else(|| {
            let mut head = NODES.load(Ordering::Relaxed);
            let node = Box::leak(Box::new(Self {
                taken: AtomicBool::new(true),
                base: AtomicUsize::new(0),
                fd: AtomicI32::new(-1),
                mended: AtomicU64::new(0),
                next: head,
            }));
            loop {
                let (release, relaxed) = (Ordering::Release, Ordering::Relaxed);
                // Release: publishes `next` to the Acquire of `nodes`.
                match NODES.compare_exchange_weak(head, node, release, relaxed) {
                    Ok(_) => break node,
                    Err(newer) => {
                        head = newer;
                        node.next = newer;
                    }
                }
            }
        })
    }

    /// Gives the bell its page back, marked; where the file system has none, a page of this process alone:
    /// then sleepers of other processes wake by their time-outs. Whether there is a page.
    fn mend(&self, base: usize) -> bool {
        let fd = self.fd.load(Ordering::Relaxed);
        // SAFETY: the guard keeps the descriptor open for as long as the mapping is used, and we come from
        // such a use.
        let file = unsafe { BorrowedFd::borrow_raw(fd) };
        let marked = rustix::io::pwrite(file, &1_u64.to_le_bytes(), 0) == Ok(8)
            && rustix::fs::ftruncate(file, BELL_SIZE_BYTES as u64).is_ok();
        self.mended.fetch_add(1, Ordering::Relaxed);
        marked || {
            let (access, flags) =
                (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::FIXED);
            // SAFETY: the page is ours, mapped whole by the guard's owner, and holds no Rust object.
            let page = unsafe {
                mmap_anonymous(
                    ptr::with_exposed_provenance_mut(base),
                    BELL_SIZE_BYTES,
                    access,
                    flags,
                )
            };
            page.is_ok()
        }
    }
}

fn nodes() -> impl Iterator<Item = &'static Node> {
    // SAFETY: nodes are leaked, so each pointer is null or good for ever; Acquire sees what the Release of
    // `take` published.
    let head = unsafe { NODES.load(Ordering::Acquire).as_ref() };
    // SAFETY: as above.
    std::iter::successors(head, |node| unsafe { node.next.as_ref() })
}

/// Installs the handler, once in a process.
fn handle_sigbus() -> io::Result<()> {
    if PREVIOUS.get().is_some() {
        return Ok(());
    }
    let mut previous = MaybeUninit::<sigaction>::uninit();
    // SAFETY: asks only; `previous` has room for the answer.
    if unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), previous.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has succeeded, so it is written.
    if PREVIOUS.set(unsafe { previous.assume_init() }).is_err() {
        // Another thread was quicker, and installs it.
        return Ok(());
    }
    // SAFETY: all zeros are a sigaction: no flags, an empty mask.
    let mut ours = unsafe { MaybeUninit::<sigaction>::zeroed().assume_init() };
    ours.sa_sigaction = on_sigbus as *const () as usize;
    // On the alternate stack, as Rust's own handler, which we hand on to, expects.
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: `ours` is whole, and the handler does nothing but atomics and system calls.
    if unsafe { libc::sigaction(libc::SIGBUS, &raw const ours, ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

extern "C" fn on_sigbus(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel hands over a whole siginfo; with a positive code it is a fault, whose address is set.
    let fault = unsafe { ((*info).si_code > 0).then(|| (*info).si_addr() as usize) };
    if let Some(address) = fault {
        for node in nodes() {
            let base = node.base.load(Ordering::Acquire); // to `new`'s Release
            if base != 0 && (base..base + BELL_SIZE_BYTES).contains(&address) && node.mend(base) {
                return;
            }
        }
    }
    hand_on(signal, info, context);
}

/// Does what would have been done without us.
fn hand_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let previous = PREVIOUS.get();
    let handler = previous.map_or(libc::SIG_DFL, |previous| previous.sa_sigaction);
    if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
        // The fault comes again, and ends the process; a signal that was sent is sent again.
        // SAFETY: both calls are for handlers, and `info` is the kernel's.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            if (*info).si_code <= 0 {
                libc::raise(signal);
            }
        }
    } else if previous.is_some_and(|previous| previous.sa_flags & libc::SA_SIGINFO != 0) {
        type Handler = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);
        // SAFETY: with SA_SIGINFO the address is that of such a function.
        let handler = unsafe { std::mem::transmute::<usize, Handler>(handler) };
        handler(signal, info, context);
    } else {
        // SAFETY: without SA_SIGINFO the address is that of such a function.
        let handler = unsafe { std::mem::transmute::<usize, extern "C" fn(c_int)>(handler) };
        handler(signal);
    }
}
