//! Rows of windows in place, and the heatmap.

use std::ffi::{c_char, c_void};
use std::ptr;

use cobring_frame::{Heatmap, HeatmapError, Metric, WindowView};

use crate::status::{fail, of_frame};
use crate::{CobringReader, CobringStatus, mut_of, status, str_of, words_of};

/// Rows in the engine's memory, oldest first. Read them through volatile or plain loads; what was read counts if
/// cobring_rows_check says OK afterwards. They keep the memory mapped until cobring_rows_release.
#[repr(C)]
#[derive(Debug)]
pub struct CobringRows {
    /// First row.
    pub data: *const c_void,
    /// Rows.
    pub count: u64,
    /// Bytes from a row to the next.
    pub row_size: usize,
    /// Number of the first row since the engine's start.
    pub from: u64,
    /// The library's.
    pub held: *mut c_void,
}

/// The last `count` rows of a window before a frame's cursor. NOT_ENOUGH where there are fewer, LAPPED and REPAIRED
/// where a newer frame is needed.
///
/// # Safety
/// `reader` is open; `window` is a string that ends in zero; `frame` is valid for `words` words, `out` for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cobring_rows(
    reader: *mut CobringReader,
    window: *const c_char,
    frame: *const u64,
    words: usize,
    count: u64,
    out: *mut CobringRows,
) -> CobringStatus {
    let rows = || {
        // SAFETY: the caller's.
        let (reader, name, frame, out) = unsafe {
            let reader = mut_of(reader, "reader")?;
            let frame = words_of(reader, frame, words)?;
            (reader, str_of(window, "window")?, frame, mut_of(out, "out")?)
        };
        let window = reader.reader.window_named(name).map_err(|error| of_frame(&error))?;
        let cursor = reader.schema.cursor(frame, name).ok_or_else(|| {
            let message = format!("this engine's frames have no cursor of window {name}");
            fail(CobringStatus::SchemaMismatch, message)
        })?;
        let view = window.last(cursor, count).map_err(|error| of_frame(&error))?;
        *out = CobringRows {
            data: view.as_ptr().cast(),
            count,
            row_size: window.row_size_bytes(),
            from: view.from(),
            held: Box::into_raw(Box::new(view)).cast(),
        };
        Ok(CobringStatus::Ok)
    };
    status(rows())
}

/// After use: OK if all that was read from the rows so far was what the engine wrote, else LAPPED or REPAIRED.
///
/// # Safety
/// `rows` came from cobring_rows and is not released.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cobring_rows_check(rows: *const CobringRows) -> CobringStatus {
    // SAFETY: the caller's; `held` was made by cobring_rows.
    let view = unsafe { rows.as_ref().and_then(|rows| rows.held.cast::<WindowView>().as_ref()) };
    match view.map(WindowView::check) {
        Some(Ok(())) => CobringStatus::Ok,
        Some(Err(error)) => of_frame(&error),
        None => fail(CobringStatus::BadArgument, "rows are null or released"),
    }
}

/// Lets go of rows. Null and released ones are allowed.
///
/// # Safety
/// `rows` is null or came from cobring_rows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cobring_rows_release(rows: *mut CobringRows) {
    // SAFETY: the caller's; `held` was made by Box::into_raw in cobring_rows.
    unsafe {
        if let Some(rows) = rows.as_mut().filter(|rows| !rows.held.is_null()) {
            drop(Box::from_raw(rows.held.cast::<WindowView>()));
            (rows.held, rows.data, rows.count) = (ptr::null_mut(), ptr::null(), 0);
        }
    }
}

/// The history of buckets as a matrix fixed in price: rows by time, columns by price, both ascending. To be released
/// with cobring_heatmap_release.
#[repr(C)]
#[derive(Debug)]
pub struct CobringHeatmap {
    /// Venue second of each row.
    pub times: *const i64,
    /// Lower edge of each column's bucket.
    pub prices: *const f64,
    /// rows · columns cells; NaN where not valid.
    pub values: *const f32,
    /// rows · columns.
    pub valid: *const bool,
    /// T.
    pub rows: usize,
    /// W = 2 · radius + 1.
    pub columns: usize,
    /// The library's.
    pub held: *mut c_void,
}

/// The heatmap of the last `seconds` before a frame (or as many as there are), `radius` buckets on each side of the
/// last centre. `metric` is one of bid_qty, ask_qty, qty, net_qty, bid_quote, ask_quote, quote, net_quote, imbalance,
/// buy_volume, sell_volume.
///
/// # Safety
/// `reader` is open; `metric` is a string that ends in zero; `frame` is valid for `words` words, `out` for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cobring_heatmap(
    reader: *mut CobringReader,
    frame: *const u64,
    words: usize,
    seconds: u64,
    radius: usize,
    metric: *const c_char,
    out: *mut CobringHeatmap,
) -> CobringStatus {
    let heatmap = || {
        // SAFETY: the caller's.
        let (reader, frame, metric, out) = unsafe {
            let reader = mut_of(reader, "reader")?;
            let frame = words_of(reader, frame, words)?;
            (reader, frame, str_of(metric, "metric")?, mut_of(out, "out")?)
        };
        let refused = |error: HeatmapError| match &error {
            HeatmapError::Frame(error) => of_frame(error),
            HeatmapError::Missing { .. } => fail(CobringStatus::SchemaMismatch, error.to_string()),
            _ => fail(CobringStatus::BadArgument, error.to_string()),
        };
        let metric = Metric::from_name(metric)
            .ok_or_else(|| refused(HeatmapError::UnknownMetric { found: metric.to_owned() }))?;
        let window = reader
            .reader
            .window_named(cobring_frame::COB_ROWS)
            .map_err(|error| of_frame(&error))?;
        let map = Heatmap::of_frame(&reader.schema, &window, frame, seconds, radius, metric);
        let map = Box::new(map.map_err(refused)?);
        *out = CobringHeatmap {
            times: map.times.as_ptr(),
            prices: map.prices.as_ptr(),
            values: map.values.as_ptr(),
            valid: map.valid.as_ptr(),
            rows: map.times.len(),
            columns: map.prices.len(),
            held: Box::into_raw(map).cast(),
        };
        Ok(CobringStatus::Ok)
    };
    status(heatmap())
}

/// Lets go of a heatmap. Null and released ones are allowed.
///
/// # Safety
/// `map` is null or came from cobring_heatmap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cobring_heatmap_release(map: *mut CobringHeatmap) {
    // SAFETY: the caller's; `held` was made by Box::into_raw in cobring_heatmap.
    unsafe {
        if let Some(map) = map.as_mut().filter(|map| !map.held.is_null()) {
            drop(Box::from_raw(map.held.cast::<Heatmap>()));
            (map.held, map.rows, map.columns) = (ptr::null_mut(), 0, 0);
        }
    }
}
