//! From bytes to published frame no system call is made once warm, but the wake of a reader that sleeps: fused, over the
//! messages that allocations are counted with, into segments that other processes may open.
//!
//! A seccomp filter halts each system call of the thread until another thread has noted it; then it happens as ever. What
//! a live run has before this, sockets and their poll, is not in it.
#![allow(clippy::unwrap_used, reason = "test code")]
#![allow(unsafe_code, reason = "seccomp has no safe wrapper")]
#![allow(clippy::print_stdout, reason = "a kernel that cannot do it is said to be one")]

mod fold_support;

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;
use std::time::Duration;

use cobring_frame::{EngineDir, Reader, Segment};
use cobring_market::SymbolConfig;
use cobring_pipeline::config::Config;
use cobring_pipeline::fold::SymbolFold;
use cobring_pipeline::replay::segment_spec;
use cobring_pipeline::stages::Layout;
use fold_support::{COUNTED, Engine, WARM_UP, stream};
use rustix::event::{PollFd, PollFlags, poll};

/// A system call: its number and its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Call {
    number: i64,
    args: [u64; 6],
}

/// Where a thread that is watched leaves the descriptor of its notices.
struct Watch(AtomicI32);

impl Watch {
    const NOT_YET: i32 = -1;

    /// From here to its end this thread waits at each system call until that is noted.
    fn begin(&self) {
        rustix::thread::set_no_new_privs(true).unwrap();
        let code = u16::try_from(libc::BPF_RET | libc::BPF_K).unwrap();
        let mut every_call =
            libc::sock_filter { code, jt: 0, jf: 0, k: libc::SECCOMP_RET_USER_NOTIF };
        let program = libc::sock_fprog { len: 1, filter: &raw mut every_call };
        let (mode, flags) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
        // SAFETY: the program is one whole instruction, which the kernel copies before the call returns.
        let listener = unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) };
        assert!(listener >= 0, "no filter: {}", io::Error::last_os_error());
        // Not by a channel: waking its reader would wait for that reader. Gives the descriptor to `calls_of`'s Acquire.
        self.0.store(i32::try_from(listener).unwrap(), Ordering::Release);
    }

    /// A call that nothing here makes: where counting begins and ends, and the proof that calls are seen.
    fn mark() {
        let _ = rustix::process::getppid();
    }
}

/// Whether this kernel lets one process be told of the calls of a thread (Linux 5.0, seccomp not taken away).
fn can_watch() -> bool {
    let action = libc::SECCOMP_RET_USER_NOTIF;
    let ask = libc::SECCOMP_GET_ACTION_AVAIL;
    // SAFETY: the kernel reads the action, and changes nothing.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, ask, 0, &raw const action) };
    if result != 0 {
        println!("skipped: no notices of system calls here: {}", io::Error::last_os_error());
    }
    result == 0
}

/// What a thread calls between its two marks.
fn calls_of(work: impl FnOnce(&Watch) + Send) -> Vec<Call> {
    let watch = Watch(AtomicI32::new(Watch::NOT_YET));
    let calls = thread::scope(|scope| {
        let watched = scope.spawn(|| work(&watch));
        let mut calls = Vec::new();
        loop {
            match watch.0.load(Ordering::Acquire) {
                Watch::NOT_YET if watched.is_finished() => break,
                Watch::NOT_YET => thread::yield_now(),
                listener => {
                    // SAFETY: the kernel has just made it, for us alone.
                    let listener = unsafe { OwnedFd::from_raw_fd(listener) };
                    while let Some(call) = next_call(&listener) {
                        calls.push(call);
                    }
                    break;
                }
            }
        }
        watched.join().unwrap();
        calls
    });
    let marks: Vec<usize> =
        (0..calls.len()).filter(|&at| calls[at].number == libc::SYS_getppid).collect();
    assert_eq!(marks.len(), 2, "the marks were not seen: {calls:?}");
    calls[marks[0] + 1..marks[1]].to_vec()
}

/// The next call of who is watched, which is let go on; none when its thread has ended.
fn next_call(listener: &OwnedFd) -> Option<Call> {
    poll(&mut [PollFd::new(listener, PollFlags::IN)], None).unwrap();
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
    answer.flags = u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap();
    // SAFETY: the kernel reads one answer, of which this is the layout.
    let sent = unsafe {
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer)
    };
    assert_eq!(sent, 0, "{}", io::Error::last_os_error());
    Some(Call { number: notice.data.nr.into(), args: notice.data.args })
}

/// Sets it even where an assert fails, so that no thread stays.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A fold into a segment of that directory.
fn fold(dir: &EngineDir, config: &SymbolConfig) -> SymbolFold {
    let (spec, schema) = segment_spec(config, 1);
    let mut segment = Segment::create(dir, &spec).unwrap();
    segment.touch();
    SymbolFold::new(config.clone(), 1, schema.id(), segment, false)
}

/// Folds a warm-up and then what is counted; `half_way` comes in the middle of that.
fn calls_of_a_fold(is_read: bool, half_way: fn()) -> Vec<Call> {
    let symbols = Config::built_in().symbol_configs();
    let messages = stream(&symbols);
    let temp = tempfile::tempdir().unwrap();
    let dir = EngineDir::lock(temp.path()).unwrap();
    let is_over = AtomicBool::new(false);
    calls_of(|watch| {
        let folds = symbols.iter().map(|config| fold(&dir, config)).collect();
        let mut engine = Engine::new(Layout::Fused, &dir, &symbols, folds);
        let (warm_up, counted) = messages.split_at(WARM_UP);
        let (first, second) = counted.split_at(COUNTED / 2);
        engine.feed(warm_up, 0);
        thread::scope(|scope| {
            let _over = SetAtEnd(&is_over);
            if is_read {
                let symbol = symbols[0].instrument.symbol.to_string();
                let (path, is_over) = (temp.path(), &is_over);
                let mut reader = Reader::open(path, &symbol).unwrap();
                scope.spawn(move || read(&mut reader, is_over));
                wait_for_sleep(path, &symbol);
            }
            watch.begin();
            Watch::mark();
            engine.feed(first, WARM_UP as u64);
            half_way();
            engine.feed(second, (WARM_UP + COUNTED / 2) as u64);
            Watch::mark();
        });
        for summary in engine.stages.finish().fold.summary() {
            assert!(summary.frames > 50_000, "{}", summary.frames);
            assert_eq!((summary.counters.gaps, summary.counters.syncs), (1, 2));
        }
    })
}

/// A reader that sleeps whenever it has the newest frame.
fn read(reader: &mut Reader, is_over: &AtomicBool) {
    let mut words = vec![0; reader.frame_size_bytes() / 8];
    while !is_over.load(Ordering::Relaxed) {
        if reader.wait(Duration::from_millis(50)).unwrap() {
            reader.latest(&mut words).unwrap();
        }
    }
}

/// Until a reader has marked the bell: it stays so until the next frame.
fn wait_for_sleep(dir: &Path, symbol: &str) {
    let bell = dir.join(format!("{symbol}.bell"));
    while std::fs::read(&bell).unwrap()[0] == 0 {
        thread::yield_now();
    }
}

#[test]
fn bytes_become_frames_without_a_system_call() {
    if !can_watch() {
        return;
    }
    assert_eq!(calls_of_a_fold(false, || ()), []);
}

#[test]
fn a_reader_that_sleeps_costs_its_wake_alone() {
    if !can_watch() {
        return;
    }
    let calls = calls_of_a_fold(true, || ());
    let wake = u64::try_from(libc::FUTEX_WAKE).unwrap();
    let is_wake = |call: &Call| (call.number, call.args[1]) == (libc::SYS_futex, wake);
    assert_eq!(calls.iter().find(|call| !is_wake(call)), None);
    assert!((1..COUNTED).contains(&calls.len()), "{}", calls.len());
}

#[test]
fn one_system_call_among_all_messages_is_found() {
    if !can_watch() {
        return;
    }
    let calls = calls_of_a_fold(false, || {
        let _ = rustix::process::getuid();
    });
    assert_eq!(calls.iter().map(|call| call.number).collect::<Vec<_>>(), [libc::SYS_getuid]);
}
