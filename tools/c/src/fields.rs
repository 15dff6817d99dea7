//! Fields of frames and rows: where C finds what.

use std::ffi::c_char;

use cobring_frame::Field;

use crate::status::fail;
use crate::{CobringReader, CobringStatus, mut_of, status, str_of};

/// Where a field lies and what it is. The texts live until the reader follows a new engine or is closed.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct CobringField {
    /// Dotted name, as "top.bid_px".
    pub name: *const c_char,
    /// "quote", "base", "ns", "enum:NAME", "bits:NAME", "bitset:LENGTH", "levels", …
    pub unit: *const c_char,
    /// Bytes from the start of the frame or row.
    pub offset: usize,
    /// Bytes of an element.
    pub element_size: usize,
    /// Elements in all.
    pub count: usize,
    /// Dimensions: 0 for a scalar. Rows of a matrix lie one after the other.
    pub dimensions: u32,
    /// 'f' float, 'i' signed, 'u' unsigned.
    pub kind: c_char,
}

impl CobringField {
    pub(crate) fn of(field: &Field, name: *const c_char, unit: *const c_char) -> Self {
        let kind = field.dtype.as_bytes().get(1).copied().unwrap_or(b'u');
        Self {
            name,
            unit,
            offset: field.offset,
            element_size: field.element_bytes(),
            count: field.element_count(),
            dimensions: u32::try_from(field.shape.len()).unwrap_or(u32::MAX),
            kind: kind.cast_signed(),
        }
    }
}

/// Fields of a frame. 0 for null.
///
/// # Safety
/// `reader` is null or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cobring_field_count(reader: *const CobringReader) -> usize {
    // SAFETY: the caller's.
    unsafe { reader.as_ref() }.map_or(0, |reader| reader.schema.frame.fields.len())
}

/// # Safety
/// `reader` is open; `out` is valid for a write.
unsafe fn give(
    reader: *mut CobringReader,
    out: *mut CobringField,
    find: impl FnOnce(&CobringReader) -> Result<Field, CobringStatus>,
) -> Result<CobringStatus, CobringStatus> {
    // SAFETY: the caller's.
    let (reader, out) = unsafe { (mut_of(reader, "reader")?, mut_of(out, "out")?) };
    let field = find(reader)?;
    *out = reader.describe(&field);
    Ok(CobringStatus::Ok)
}

/// Field number `index` of a frame, in order of offsets.
///
/// # Safety
/// `reader` is open; `out` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cobring_field_at(
    reader: *mut CobringReader,
    index: usize,
    out: *mut CobringField,
) -> CobringStatus {
    let find = |reader: &CobringReader| {
        let fields = &reader.schema.frame.fields;
        fields.get(index).cloned().ok_or_else(|| {
            fail(CobringStatus::BadArgument, format!("field {index} of {}", fields.len()))
        })
    };
    // SAFETY: the caller's.
    status(unsafe { give(reader, out, find) })
}

/// A field of a frame by its dotted name. SCHEMA_MISMATCH where this engine's frames have none.
///
/// # Safety
/// `reader` is open; `name` is a string that ends in zero; `out` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cobring_field(
    reader: *mut CobringReader,
    name: *const c_char,
    out: *mut CobringField,
) -> CobringStatus {
    let find = |reader: &CobringReader| {
        // SAFETY: the caller's.
        let name = unsafe { str_of(name, "name")? };
        reader.schema.frame.field(name).cloned().ok_or_else(|| {
            let message = format!("this engine's frames have no field {name}");
            fail(CobringStatus::SchemaMismatch, message)
        })
    };
    // SAFETY: the caller's.
    status(unsafe { give(reader, out, find) })
}

/// A field of a window's rows by name.
///
/// # Safety
/// `reader` is open; `window` and `name` are strings that end in zero; `out` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cobring_row_field(
    reader: *mut CobringReader,
    window: *const c_char,
    name: *const c_char,
    out: *mut CobringField,
) -> CobringStatus {
    let find = |reader: &CobringReader| {
        // SAFETY: the caller's.
        let (window, name) = unsafe { (str_of(window, "window")?, str_of(name, "name")?) };
        let row = reader.schema.window(window).map(|window| &window.row);
        row.and_then(|row| row.field(name)).cloned().ok_or_else(|| {
            let message = format!("this engine has no window {window} with a field {name}");
            fail(CobringStatus::SchemaMismatch, message)
        })
    };
    // SAFETY: the caller's.
    status(unsafe { give(reader, out, find) })
}

/// Name of value `number` of an enumeration, or of bit `number` of a bit set ("trigger", "candle_flags", …); null where
/// there is none.
///
/// # Safety
/// `reader` is open; `names` is a string that ends in zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cobring_name(
    reader: *mut CobringReader,
    names: *const c_char,
    number: u64,
) -> *const c_char {
    let find = || {
        // SAFETY: the caller's.
        let (reader, names) = unsafe { (mut_of(reader, "reader")?, str_of(names, "names")?) };
        let values = reader.schema.names(names).unwrap_or_default();
        let name = usize::try_from(number).ok().and_then(|at| values.get(at)).cloned();
        Ok::<_, CobringStatus>(name.map(|name| reader.text(&name)))
    };
    find().ok().flatten().unwrap_or(std::ptr::null())
}
