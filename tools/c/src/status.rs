//! What a call says, and the sentence behind it.

use std::cell::RefCell;
use std::ffi::{CString, c_char};

use cobring_frame::FrameError;

/// What a call says: what the caller can do.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CobringStatus {
    /// Done.
    Ok = 0,
    /// Nothing there, yet.
    Empty = 1,
    /// No engine has published that symbol there.
    NoWriter = 2,
    /// The engine has ended or hangs; a new one will be followed.
    WriterGone = 3,
    /// A new engine has begun and is followed: ask for sizes, fields and rows anew.
    EpochChanged = 4,
    /// The segment lacks what was asked for, or is none.
    SchemaMismatch = 5,
    /// The frame is not good enough.
    LowQuality = 6,
    /// Overwritten before it was read: take a newer frame.
    Lapped = 7,
    /// Fewer rows than asked for.
    NotEnough = 8,
    /// Rows were corrected since the frame: take the next one.
    Repaired = 9,
    /// An argument that cannot be.
    BadArgument = 10,
    /// The system refused something.
    System = 11,
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// Keeps the sentence for this thread.
pub(crate) fn fail(status: CobringStatus, message: impl Into<String>) -> CobringStatus {
    let message = message.into().replace('\0', " ");
    LAST.with_borrow_mut(|last| *last = CString::new(message).unwrap_or_default());
    status
}

pub(crate) fn last() -> *const c_char {
    LAST.with_borrow(|last| last.as_ptr())
}

pub(crate) fn of_frame(error: &FrameError) -> CobringStatus {
    let status = match error {
        FrameError::NoDirectory { .. }
        | FrameError::NoSuchSymbol { .. }
        | FrameError::Removed { .. } => CobringStatus::NoWriter,
        FrameError::WriterGone { .. } | FrameError::Retired { .. } => CobringStatus::WriterGone,
        FrameError::EpochChanged { .. } => CobringStatus::EpochChanged,
        FrameError::Foreign { .. }
        | FrameError::Version { .. }
        | FrameError::Damaged { .. }
        | FrameError::Truncated { .. }
        | FrameError::NoSuchWindow { .. } => CobringStatus::SchemaMismatch,
        FrameError::NotEnough { .. } => CobringStatus::NotEnough,
        FrameError::Lapped { .. } => CobringStatus::Lapped,
        FrameError::Repaired { .. } => CobringStatus::Repaired,
        FrameError::BadName { .. } | FrameError::BufferSize { .. } => CobringStatus::BadArgument,
        _ => CobringStatus::System,
    };
    fail(status, error.to_string())
}
