//! The C interface: `include/cobring.h` is made of this file. Guarantees: no call panics, allocates behind the caller's
//! back (beyond opening and following), or touches shared memory but for reading; a null or wild argument that can be
//! seen is an error. Needs: pointers that are what they are said to be. Does not: convert; fields are read by the caller
//! at the places that the segment's schema gives.
#![allow(unsafe_code, reason = "a C interface takes raw pointers")]

mod fields;
mod rows;
mod status;

use std::ffi::{CStr, CString, c_char};
use std::path::Path;
use std::ptr;
use std::time::Duration;

use cobring_frame::{Field, FrameError, Liveness, Next, Reader, Require, Schema, Severity};

pub use fields::{
    CobringField, cobring_field, cobring_field_at, cobring_field_count, cobring_name,
    cobring_row_field,
};
pub use rows::{
    CobringHeatmap, CobringRows, cobring_heatmap, cobring_heatmap_release, cobring_rows,
    cobring_rows_check, cobring_rows_release,
};
pub use status::CobringStatus;
use status::{fail, of_frame};

/// A symbol's segment, opened. One thread at a time.
#[derive(Debug)]
pub struct CobringReader {
    reader: Reader,
    schema: Schema,
    /// Strings that C holds pointers to; made anew when another engine is followed.
    texts: Vec<CString>,
}

impl CobringReader {
    fn of(reader: Reader) -> Result<Self, CobringStatus> {
        let schema = Schema::from_json(reader.schema()).map_err(|error| {
            let path = reader.path().display();
            fail(CobringStatus::SchemaMismatch, format!("{path}: the schema is damaged: {error}"))
        })?;
        Ok(Self { reader, schema, texts: Vec::new() })
    }

    /// After the reader has followed another engine.
    fn renew(&mut self) -> Result<(), CobringStatus> {
        *self = Self::of(self.reader.twin())?;
        Ok(())
    }

    /// A text that lives as long as this segment is read. A text with a zero byte ends there.
    fn text(&mut self, text: &str) -> *const c_char {
        let known = self.texts.iter().position(|held| held.as_bytes() == text.as_bytes());
        let at = known.unwrap_or_else(|| {
            let until = text.split('\0').next().unwrap_or("");
            self.texts.push(CString::new(until).unwrap_or_default());
            self.texts.len() - 1
        });
        self.texts[at].as_ptr()
    }

    fn describe(&mut self, field: &Field) -> CobringField {
        let (name, unit) = (self.text(&field.name), self.text(&field.unit));
        CobringField::of(field, name, unit)
    }
}

/// # Safety
/// `text` is null or a string that ends in zero.
unsafe fn str_of<'a>(text: *const c_char, what: &str) -> Result<&'a str, CobringStatus> {
    if text.is_null() {
        return Err(fail(CobringStatus::BadArgument, format!("{what} is null")));
    }
    // SAFETY: the caller's.
    unsafe { CStr::from_ptr(text) }
        .to_str()
        .map_err(|error| fail(CobringStatus::BadArgument, format!("{what} is no UTF-8: {error}")))
}

/// # Safety
/// `pointer` is null or valid for writes, and nobody else uses it during the call.
unsafe fn mut_of<'a, T>(pointer: *mut T, what: &str) -> Result<&'a mut T, CobringStatus> {
    // SAFETY: the caller's.
    unsafe { pointer.as_mut() }
        .ok_or_else(|| fail(CobringStatus::BadArgument, format!("{what} is null")))
}

/// Whether the caller's buffer is a frame of this segment.
fn check_words(
    reader: &CobringReader,
    words: *const u64,
    count: usize,
) -> Result<(), CobringStatus> {
    let wanted = reader.reader.frame_size_bytes() / 8;
    if words.is_null() || count != wanted {
        let found = if words.is_null() { 0 } else { count };
        let message = format!("a frame takes {wanted} words, {found} were given");
        return Err(fail(CobringStatus::BadArgument, message));
    }
    Ok(())
}

/// # Safety
/// `words` is null or a frame of `count` words that was filled before.
unsafe fn words_of<'a>(
    reader: &CobringReader,
    words: *const u64,
    count: usize,
) -> Result<&'a [u64], CobringStatus> {
    check_words(reader, words, count)?;
    // SAFETY: the caller's; the memory is the caller's own, not shared.
    Ok(unsafe { std::slice::from_raw_parts(words, count) })
}

fn status(result: Result<CobringStatus, CobringStatus>) -> CobringStatus {
    result.unwrap_or_else(|error| error)
}

/// Opens a symbol's segment in an engine's directory (usually "/dev/shm/cobring"); to be closed with cobring_close.
///
/// # Safety
/// `dir` and `symbol` are strings that end in zero; `out` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cobring_open(
    dir: *const c_char,
    symbol: *const c_char,
    out: *mut *mut CobringReader,
) -> CobringStatus {
    let open = || {
        // SAFETY: the caller's.
        let (dir, symbol, out) =
            unsafe { (str_of(dir, "dir")?, str_of(symbol, "symbol")?, mut_of(out, "out")?) };
        *out = ptr::null_mut();
        let reader = Reader::open(Path::new(dir), symbol).map_err(|error| of_frame(&error))?;
        *out = Box::into_raw(Box::new(CobringReader::of(reader)?));
        Ok(CobringStatus::Ok)
    };
    status(open())
}

/// Closes a reader; rows and heatmaps taken through it stay until they are released. Null is allowed.
///
/// # Safety
/// `reader` is null or came from cobring_open, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cobring_close(reader: *mut CobringReader) {
    if !reader.is_null() {
        // SAFETY: the caller's; it was made by Box::into_raw.
        drop(unsafe { Box::from_raw(reader) });
    }
}

/// What went wrong in this thread's last call that failed: one sentence, valid until the next call that fails.
#[unsafe(no_mangle)]
pub extern "C" fn cobring_error() -> *const c_char {
    status::last()
}

/// 64-bit words of a frame: the size of the buffer that cobring_latest and cobring_next fill. 0 for null.
///
/// # Safety
/// `reader` is null or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cobring_frame_words(reader: *const CobringReader) -> usize {
    // SAFETY: the caller's.
    unsafe { reader.as_ref() }.map_or(0, |reader| reader.reader.frame_size_bytes() / 8)
}

/// # Safety
/// `reader` is open; `frame` is valid for `words` words, `seq` null or valid for a write.
unsafe fn read(
    reader: *mut CobringReader,
    frame: *mut u64,
    words: usize,
    seq: *mut u64,
    lost: *mut u64,
    take: impl FnOnce(&mut Reader, &mut [u64]) -> Result<Next, FrameError>,
) -> Result<CobringStatus, CobringStatus> {
    // SAFETY: the caller's.
    let reader = unsafe { mut_of(reader, "reader")? };
    check_words(reader, frame, words)?;
    // SAFETY: the caller's, with the size checked. Zeroed first: C's memory need not have been written before.
    let room = unsafe {
        frame.write_bytes(0, words);
        std::slice::from_raw_parts_mut(frame, words)
    };
    let (number, missed, answer) = match take(&mut reader.reader, room) {
        Ok(Next::Frame { seq }) => (seq, 0, CobringStatus::Ok),
        Ok(Next::Empty) => (0, 0, CobringStatus::Empty),
        Ok(Next::Lapped { lost }) => {
            let symbol = reader.reader.symbol();
            let message = format!("{symbol}: {lost} frames were overwritten before they were read");
            (0, lost, fail(CobringStatus::Lapped, message))
        }
        Err(error) => {
            if error.is_epoch_change() {
                reader.renew()?;
            }
            return Err(of_frame(&error));
        }
    };
    // SAFETY: the caller's.
    unsafe {
        if let Some(seq) = seq.as_mut() {
            *seq = number;
        }
        if let Some(lost) = lost.as_mut() {
            *lost = missed;
        }
    }
    Ok(answer)
}

/// Copies the newest frame and its number (`seq` may be null). EMPTY before the first; EPOCH_CHANGED once for each new
/// engine: ask for sizes and fields anew, and call again. The frame may be of any quality and of a dead engine: see
/// cobring_check.
///
/// # Safety
/// `reader` is open; `frame` is valid for `words` words, `seq` null or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cobring_latest(
    reader: *mut CobringReader,
    frame: *mut u64,
    words: usize,
    seq: *mut u64,
) -> CobringStatus {
    let latest = |reader: &mut Reader, room: &mut [u64]| {
        Ok(reader.latest(room)?.map_or(Next::Empty, |seq| Next::Frame { seq }))
    };
    // SAFETY: the caller's.
    status(unsafe { read(reader, frame, words, seq, ptr::null_mut(), latest) })
}

/// Copies the next frame in order. EMPTY where there is none; LAPPED, with the number of frames missed in `lost`, where
/// the engine was faster: call again. `seq` and `lost` may be null.
///
/// # Safety
/// As cobring_latest; `lost` is null or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cobring_next(
    reader: *mut CobringReader,
    frame: *mut u64,
    words: usize,
    seq: *mut u64,
    lost: *mut u64,
) -> CobringStatus {
    // SAFETY: the caller's.
    status(unsafe { read(reader, frame, words, seq, lost, Reader::next) })
}

/// Sleeps until there is a frame that has not been taken: OK, or EMPTY when `timeout_ms` are over. WRITER_GONE where
/// the engine has ended, EPOCH_CHANGED after its restart.
///
/// # Safety
/// `reader` is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cobring_wait(
    reader: *mut CobringReader,
    timeout_ms: u64,
) -> CobringStatus {
    let wait = || {
        // SAFETY: the caller's.
        let reader = unsafe { mut_of(reader, "reader")? };
        match reader.reader.wait(Duration::from_millis(timeout_ms)) {
            Ok(true) => Ok(CobringStatus::Ok),
            Ok(false) => Ok(CobringStatus::Empty),
            Err(error) => {
                if error.is_epoch_change() {
                    reader.renew()?;
                }
                Err(of_frame(&error))
            }
        }
    };
    status(wait())
}

/// Whether a frame may be used: its engine lives (else WRITER_GONE) and its quality is at least `min_quality` (else
/// LOW_QUALITY; cobring_error then names each block, what was found and what was wanted). 0.8 is the usual threshold.
///
/// # Safety
/// `reader` is open; `frame` is valid for `words` words.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cobring_check(
    reader: *mut CobringReader,
    frame: *const u64,
    words: usize,
    min_quality: f64,
) -> CobringStatus {
    let check = || {
        // SAFETY: the caller's.
        let (reader, frame) = unsafe {
            let reader = mut_of(reader, "reader")?;
            (&*reader, words_of(reader, frame, words)?)
        };
        let path = reader.reader.path().display();
        match reader.reader.liveness() {
            Liveness::Alive => {}
            other => {
                let pid = reader.reader.writer_pid();
                let message = format!("{path}: the engine (process {pid}) is not alive: {other:?}");
                return Err(fail(CobringStatus::WriterGone, message));
            }
        }
        let require = Require { min_quality, ..Require::default() };
        let findings = reader.schema.validate(frame, &require);
        let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
        let text: Vec<String> = errors.map(ToString::to_string).collect();
        if text.is_empty() {
            return Ok(CobringStatus::Ok);
        }
        Err(fail(CobringStatus::LowQuality, format!("{path}: {}", text.join("; "))))
    };
    status(check())
}
