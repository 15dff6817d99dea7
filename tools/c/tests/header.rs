//! The header is what the sources say, and holds the layout that this engine ships. `COBRING_BLESS=1 cargo test -p
//! cobring-c --test header` writes it.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::fmt::Write as _;
use std::path::Path;

use cbindgen::{Builder, Config, EnumConfig, Language, RenameRule};
use cobring_frame::{FrameLayout, WindowRows};

/// Radius of buckets of the shipped configuration.
const RADIUS: usize = 20;

const HEAD: &str = "\
/* Frames and windows of the cobring engine for C. Made from tools/c/src by its tests: change those, not this.
 *
 * A frame is a copy in the caller's memory, an array of 64-bit words; cobring_field says where a field lies in it, so
 * that a program reads engines of other versions and settings too. struct cobring_frame (at the end) is the layout of
 * an engine as shipped: it may be laid over a frame where cobring_frame_is_shipped says so.
 *
 * Link with -lcobring_c (and for the static library -lpthread -ldl -lm). */
";

fn header() -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let config = Config {
        language: Language::C,
        header: Some(HEAD.to_owned()),
        include_guard: Some("COBRING_H".to_owned()),
        cpp_compat: true,
        usize_is_size_t: true,
        documentation_length: cbindgen::DocumentationLength::Full,
        enumeration: EnumConfig {
            rename_variants: RenameRule::QualifiedScreamingSnakeCase,
            ..EnumConfig::default()
        },
        trailer: Some(shipped_layout()),
        ..Config::default()
    };
    let mut builder = Builder::new().with_config(config);
    for file in ["lib.rs", "status.rs", "fields.rs", "rows.rs"] {
        builder = builder.with_src(source.join(file));
    }
    let mut text = Vec::new();
    builder.generate().unwrap().write(&mut text);
    String::from_utf8(text).unwrap()
}

/// The frame as a struct, each field pinned.
fn shipped_layout() -> String {
    let schema = FrameLayout::new(RADIUS, 0).unwrap().schema(WindowRows::default(), &[]);
    let mut fields = String::new();
    let mut pins = String::new();
    let mut table = String::new();
    let mut end = 0;
    let mut pads = 0;
    for field in &schema.frame.fields {
        if field.offset > end {
            writeln!(fields, "  uint8_t pad{pads}[{}];", field.offset - end).unwrap();
            pads += 1;
        }
        let kind = match field.dtype.as_str() {
            "<f8" => "double",
            "<i8" => "int64_t",
            "<u8" => "uint64_t",
            "<u4" => "uint32_t",
            "|u1" => "uint8_t",
            other => panic!("a field of dtype {other}"),
        };
        // A name of C: `candles.1s.open.close` is candles_1s_open_close.
        let name = field.name.replace('.', "_");
        let shape: String = field.shape.iter().map(|length| format!("[{length}]")).collect();
        writeln!(fields, "  {kind} {name}{shape}; /* {}: {} */", field.name, field.unit).unwrap();
        let offset = field.offset;
        writeln!(
            pins,
            "COBRING_PIN(offsetof(struct cobring_frame, {name}) == {offset}, \"{name}\");"
        )
        .unwrap();
        end = offset + field.element_bytes() * field.element_count();
        let (size, count) = (field.element_bytes(), field.element_count());
        writeln!(table, "  {{\"{}\", {offset}, {size}, {count}}},", field.name).unwrap();
    }
    let size = schema.frame.size_bytes;
    assert_eq!(end, size);
    format!(
        "
/* The frame of an engine as shipped: R = {RADIUS}, no models. */
struct cobring_frame {{
{fields}}};

#ifdef __cplusplus
#define COBRING_PIN static_assert
#else
#define COBRING_PIN _Static_assert
#endif
COBRING_PIN(sizeof(struct cobring_frame) == {size}, \"size of a frame\");
COBRING_PIN(sizeof(double) == 8, \"doubles of 64 bits\");
COBRING_PIN(sizeof(struct CobringField) == 48, \"size of a field's description\");
COBRING_PIN(sizeof(struct CobringRows) == 40, \"size of rows\");
COBRING_PIN(sizeof(struct CobringHeatmap) == 56, \"size of a heatmap\");
{pins}
/* Whether struct cobring_frame may be laid over this engine's frames. */
static inline bool cobring_frame_is_shipped(struct CobringReader *reader) {{
  static const struct {{ const char *name; size_t offset, size, count; }} fields[] = {{
{table}  }};
  const size_t fields_count = sizeof fields / sizeof *fields;
  if (cobring_frame_words(reader) * 8 != sizeof(struct cobring_frame)) return false;
  for (size_t i = 0; i < fields_count; i++) {{
    struct CobringField found;
    if (cobring_field(reader, fields[i].name, &found) != COBRING_STATUS_OK) return false;
    if (found.offset != fields[i].offset || found.element_size != fields[i].size || found.count != fields[i].count)
      return false;
  }}
  return true;
}}
"
    )
}

#[test]
fn the_header_is_what_the_sources_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/cobring.h");
    let header = header();
    if std::env::var("COBRING_BLESS").is_ok() {
        std::fs::write(&path, &header).unwrap();
    }
    let held = std::fs::read_to_string(&path).unwrap_or_default();
    let different = header.lines().zip(held.lines()).position(|(new, old)| new != old);
    assert!(
        held == header,
        "{} differs from its sources from line {:?} on; COBRING_BLESS=1 cargo test -p cobring-c --test header writes it",
        path.display(),
        different.map(|line| line + 1)
    );
}
