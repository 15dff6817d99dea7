//! Tells the engine which models have spoken. Guarantees: a write to a watched file makes the descriptor
//! readable and is reported once or more; what is reported may be nothing. Needs: writes by system call (a
//! store into a mapping is seen by nobody, so files are polled from time to time all the same). Does not:
//! allocate once made, or read the files.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use crate::error::FrameError;
use crate::model_poller::ModelPoller;

/// Events that are read at once; more stay in the kernel, which joins equal ones and bounds their number.
const EVENTS_A_READ: usize = 64;
const EVENT_SIZE_BYTES: usize = 16;

/// Watches the files of models.
#[derive(Debug)]
pub struct ModelWatch {
    fd: OwnedFd,
    /// Watch numbers in order of the pollers: the kernel counts upwards.
    watches: Vec<i32>,
}

/// What was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The file of this poller.
    One(usize),
    /// More than the kernel remembered.
    Any,
}

impl ModelWatch {
    /// Watches the files of these pollers.
    ///
    /// # Errors
    /// What the system refused: its limit of watches or instances.
    pub fn new(pollers: &[ModelPoller]) -> Result<Self, FrameError> {
        let refused = |path: &Path, errno: rustix::io::Errno| {
            FrameError::io(path, "watch the model's file", errno.into())
        };
        let dir = pollers.first().map_or(Path::new(""), ModelPoller::path);
        let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)
            .map_err(|errno| refused(dir, errno))?;
        let watch = |poller: &ModelPoller| {
            inotify::add_watch(&fd, poller.path(), WatchFlags::MODIFY)
                .map_err(|errno| refused(poller.path(), errno))
        };
        let watches = pollers.iter().map(watch).collect::<Result<Vec<_>, _>>()?;
        debug_assert!(watches.is_sorted(), "{watches:?}");
        Ok(Self { fd, watches })
    }

    /// Hands out what was written to since the last call, as far as one read tells; whether there may be
    /// more.
    pub fn take(&mut self, mut written: impl FnMut(Written)) -> bool {
        let mut buffer = [MaybeUninit::uninit(); EVENTS_A_READ * EVENT_SIZE_BYTES];
        let mut events = inotify::Reader::new(&self.fd, &mut buffer);
        for _ in 0..EVENTS_A_READ {
            // Nothing more, or nothing that could be acted on: polling goes on in any case.
            let Ok(event) = events.next() else { return false };
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                written(Written::Any);
            } else if let Ok(at) = self.watches.binary_search(&event.wd()) {
                written(Written::One(at));
            }
        }
        true
    }
}

impl AsFd for ModelWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
