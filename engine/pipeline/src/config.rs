//! What an operator chooses: one typed [`Config`], checked whole before a thread starts.
//!
//! Guarantees: `config/cobring.toml`, compiled in, is the one place for defaults; unknown keys are refused
//! with the nearest name; every violated rule is told with place, key, value and what is allowed, all of
//! them at once. Does not: look at the host (cores, directories and certificates are checked where they are
//! used), read the environment, or watch the file.

mod models;
mod read;
mod rules;
mod schema;
#[cfg(test)]
mod tests;

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use cobring_frame::{ModelRules, WINDOWS, WindowRows};
use cobring_market::{RequiredRows, SymbolConfig};
use cobring_types::{Instrument, Nanos, Symbol, TradeStream};
use thiserror::Error;

pub(crate) use self::schema::MAX_SYMBOLS;
use crate::idle::Idle;
use crate::ingest::RenewalPolicy;
use crate::stages::Layout;

/// The shipped configuration.
/// The built-in configuration, with all its comments.
pub const BUILT_IN: &str = include_str!("../../../config/cobring.toml");
/// Refused above this: 1,000 symbols with every key written need 300 KB.
const MAX_FILE_SIZE_BYTES: u64 = 1 << 20;
/// Problems that an error prints; the rest is counted.
const PROBLEMS_PRINTED: usize = 50;

/// A checked configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[engine]`
    pub engine: EngineSettings,
    /// `[log]`
    pub log: LogSettings,
    /// `[bounds]`
    pub bounds: BoundsSettings,
    /// `[venue.binance]`
    pub binance: BinanceSettings,
    /// `[quality]`
    pub quality: QualitySettings,
    /// `[symbol_defaults]`: what the symbols below began from.
    pub symbol_defaults: SymbolDefaults,
    /// `[model_defaults]`: what the models below began from.
    pub model_defaults: ModelDefaults,
    /// `[models.*]` in order of their names, which is that of [`cobring_types::ModelIndex`] in each symbol.
    pub models: Vec<ModelSettings>,
    /// `[symbols.*]` in order of their names, which is that of [`cobring_types::SymbolIndex`]; never empty.
    pub symbols: Vec<SymbolConfig>,
}

/// Threads, rings and shared memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineSettings {
    /// Directory of the segments, absolute.
    pub shared_memory_dir: PathBuf,
    /// How stages are joined; `None` for "auto".
    pub layout: Option<Layout>,
    /// What a stage does while there is nothing to do; `None` for "auto".
    pub idle: Option<Idle>,
    /// Cores of ingest, parse and aggregate; empty, one (fused) or three, distinct.
    pub cores: Vec<usize>,
    /// Ring from ingest to parse, a power of two.
    pub raw_ring_bytes: usize,
    /// Ring from parse to aggregate, a power of two.
    pub event_ring_bytes: usize,
    /// Frames of a symbol that stay readable, a power of two; `None` for "auto".
    pub frame_slots: Option<u32>,
    /// Whether `run` hashes all frames.
    pub frame_hash: bool,
    /// Whether to `mlockall`.
    pub lock_memory: bool,
}

/// What `cobring import-klines` made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundsSettings {
    /// Directory of its files.
    pub dir: PathBuf,
}

/// The input log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Whether it is written.
    pub enabled: bool,
    /// Directory of its files.
    pub dir: PathBuf,
    /// Ring from ingest to its writer, a power of two.
    pub ring_bytes: usize,
    /// Between two syncs to the disk.
    pub sync_interval: Nanos,
    /// Size of the inputs in a file at which a new one begins.
    pub rotate_bytes: u64,
    /// A new file begins at each multiple of this.
    pub rotate_interval: Nanos,
    /// Whether closed files are compressed.
    pub compress: bool,
    /// Files that ended longer ago are deleted; 0 for none.
    pub keep: Nanos,
    /// The oldest files are deleted while all together are larger; 0 for none.
    pub keep_bytes: u64,
    /// A run goes on from the one before where that ended at most this long ago; 0 never.
    pub resume_within: Nanos,
}

/// Binance spot: addresses, limits and patience.
#[derive(Debug, Clone, PartialEq)]
pub struct BinanceSettings {
    /// `ws://host[:port]` or `wss://host[:port]`, without a slash at the end.
    pub websocket_url: String,
    /// `http://host[:port]` or `https://host[:port]`, likewise.
    pub rest_url: String,
    /// PEM file with an additional certificate authority.
    pub ca_file: Option<PathBuf>,
    /// The trades to subscribe to.
    pub trade_stream: TradeStream,
    /// Whether depth has a connection of its own.
    pub separate_depth_connection: bool,
    /// When connections are renewed, and whether there are two of each.
    pub renewal: RenewalPolicy,
    /// Messages that a connection sends at most in a second.
    pub outgoing_messages_per_s: u32,
    /// The venue's budget for an address.
    pub weight_per_minute: u32,
    /// This process's share of it, in (0, 1].
    pub weight_share: f64,
    /// DNS, TCP, TLS and upgrade together.
    pub connect_timeout: Nanos,
    /// A REST answer.
    pub request_timeout: Nanos,
    /// First pause before connecting again.
    pub reconnect_min: Nanos,
    /// Longest one.
    pub reconnect_max: Nanos,
    /// Data must have flowed this long before the pause begins anew.
    pub reconnect_reset: Nanos,
    /// Whether a tick size that the venue states differently refuses the start.
    pub verify_tick_size: bool,
}

impl BinanceSettings {
    /// Request weight that this process may use in a minute.
    #[must_use]
    pub fn weight_budget(&self) -> u32 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share in (0, 1] of a u32, rounded down"
        )]
        let budget = (f64::from(self.weight_per_minute) * self.weight_share) as u32;
        budget
    }
}

/// What frames and readers hold good enough.
#[derive(Debug, Clone, PartialEq)]
pub struct QualitySettings {
    /// Age at which a stream begins to lower freshness; at twice that it is 0.
    pub freshness_limit: Nanos,
    /// Score below which readers refuse by default, in [0, 1].
    pub min_score: f64,
    /// Rows that a frame of full completeness has.
    pub required: Vec<RequiredRows>,
}

/// What a symbol has that does not say otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SymbolDefaults {
    /// R, buckets in a frame on each side of the centre.
    pub radius: usize,
    /// Levels a side of a book.
    pub max_levels: usize,
    /// Levels a side of the snapshot at start.
    pub snapshot_levels: u32,
    /// Levels a side of the snapshot after a gap.
    pub resync_levels: u32,
    /// Rows of the ticks window that readers may count on.
    pub ticks_promised: u64,
    /// Bars before the first own one are loaded from the venue, and doubtful ones later.
    pub klines: bool,
    /// Trades that are missing between two ids and asked for, at most.
    pub backfill_trades_max: u64,
    /// Quantities are counted in 10^-this of the base asset.
    pub qty_decimals: u8,
}

/// What is asked of a model that does not say otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ModelDefaults {
    /// Outputs, exactly.
    pub outputs: usize,
    /// Whether they sum to 1.
    pub sum_to_one: bool,
    /// Age of the frame that an output answers, at most.
    pub age_max: Nanos,
    /// Outputs in any second, at most.
    pub rate_per_s: u32,
}

/// A model whose outputs the engine takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSettings {
    /// Its name.
    pub name: String,
    /// The symbols that it speaks about, in order of their names.
    pub symbols: Vec<Symbol>,
    /// What is asked of its outputs.
    pub rules: ModelRules,
}

/// Slots of each symbol's frame ring, where nothing else is asked for and no model answers.
///
/// Two rings of 256 stay near the core that writes them: of 1,024 they did not, and a depth message took a sixth longer
/// wherever others used the last cache too, 20 symbols half as long again. Fewer are no faster to write, and slower to read: of
/// the last so many frames, a reader's core still holds the lines that the writer comes to.
#[must_use]
pub fn auto_frame_slots(symbols: usize) -> u32 {
    if symbols <= 16 { 256 } else { 128 }
}

/// The same where models answer: frames of a while ago, which are looked up.
const FRAME_SLOTS_OF_MODELS: u32 = 1_024;

impl Config {
    /// The shipped `config/cobring.toml`.
    ///
    /// # Panics
    /// Where that file was changed against its own rules before the build; a test holds it.
    #[must_use]
    pub fn built_in() -> Self {
        schema::read(BUILT_IN, "config/cobring.toml (built in)", None)
            .unwrap_or_else(|error| panic!("invariant: the shipped configuration is good: {error}"))
    }

    /// Slots of each symbol's frame ring.
    #[must_use]
    pub fn frame_slots(&self) -> u32 {
        self.engine.frame_slots.unwrap_or_else(|| match self.models.as_slice() {
            [] => auto_frame_slots(self.symbols.len()),
            _ => FRAME_SLOTS_OF_MODELS,
        })
    }

    /// The configuration in a file.
    ///
    /// # Errors
    /// [`ConfigError`] where it cannot be read or breaks a rule.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let mut bytes = Vec::new();
        let size = File::open(path)
            .and_then(|file| file.take(MAX_FILE_SIZE_BYTES + 1).read_to_end(&mut bytes))
            .map_err(|source| ConfigError::Unreadable { name: name.clone(), source })?;
        if size as u64 > MAX_FILE_SIZE_BYTES {
            return Err(ConfigError::TooLarge { name });
        }
        match std::str::from_utf8(&bytes) {
            Ok(text) => Self::parse(text, &name),
            Err(error) => Err(ConfigError::NotUtf8 { name, at: error.valid_up_to() }),
        }
    }

    /// The configuration in a text; `name` is what its errors call it.
    ///
    /// # Errors
    /// [`ConfigError::Refused`] with every problem found.
    pub fn parse(text: &str, name: &str) -> Result<Self, ConfigError> {
        schema::read(text, name, Some(&Self::built_in()))
    }

    /// What each symbol is folded with, in order of [`cobring_types::SymbolIndex`].
    #[must_use]
    pub fn symbol_configs(&self) -> Vec<SymbolConfig> {
        self.symbols.clone()
    }

    /// Checksum of the venue's addresses, as logs carry it: never 0.
    #[must_use]
    pub fn venue_digest(&self) -> u32 {
        let binance = &self.binance;
        crc32c::crc32c(format!("{} {}", binance.websocket_url, binance.rest_url).as_bytes()).max(1)
    }

    /// The settings that decide what frames contain, and nothing else, in one canonical form: equal texts
    /// fold equal inputs into equal frames. A TOML fragment, kept in the header of our own log.
    #[must_use]
    pub fn fold_digest_text(&self) -> String {
        let mut text = format!(
            "[quality]\nfreshness_limit_s = {}\n\n[quality.require]\n",
            seconds_text(self.quality.freshness_limit)
        );
        for (window, name) in WINDOWS.into_iter().enumerate() {
            let required = self.quality.required.iter().find(|required| required.window == window);
            let rows = required.map_or(0, |required| required.rows);
            // What the shipped file requires is told even where it is not.
            if rows == 0 && RequiredRows::DEFAULT.iter().all(|default| default.window != window) {
                continue;
            }
            writeln!(text, "{} = {rows}", toml_key(name)).expect(STRING_TAKES_ALL);
        }
        for model in &self.models {
            // Whose outputs there are decides frames; what is asked of them decided the log.
            let symbols: Vec<_> =
                model.symbols.iter().map(|symbol| format!("{:?}", symbol.as_str())).collect();
            let (name, symbols) = (toml_key(&model.name), symbols.join(", "));
            write!(text, "\n[models.{name}]\nsymbols = [{symbols}]\n").expect(STRING_TAKES_ALL);
        }
        for symbol in &self.symbols {
            // Whole, so that a setting added to it is not forgotten here.
            let SymbolConfig {
                instrument,
                bucket_ticks,
                range_ticks,
                layout,
                // The same for all of them, above.
                freshness_limit: _,
                required: _,
                max_levels,
                snapshot_levels,
                resync_levels,
                rows: WindowRows { ticks, candles: _ },
                // Above, by model.
                models: _,
                klines,
                backfill_trades_max,
            } = symbol;
            write!(
                text,
                "\n[symbols.{symbol}]\n\
                 tick_size = \"{tick_size}\"\n\
                 bucket_size = \"{bucket_size}\"\n\
                 range = \"{range}\"\n\
                 radius = {radius}\n\
                 max_levels = {max_levels}\n\
                 snapshot_levels = {snapshot_levels}\n\
                 resync_levels = {resync_levels}\n\
                 ticks_promised = {ticks}\n\
                 klines = {klines}\n\
                 backfill_trades_max = {backfill_trades_max}\n\
                 qty_decimals = {qty_decimals}\n",
                symbol = toml_key(instrument.symbol.as_str()),
                tick_size = instrument.tick_size(),
                bucket_size = ticks_text(instrument, *bucket_ticks),
                range = ticks_text(instrument, *range_ticks),
                radius = layout.radius(),
                qty_decimals = instrument.qty_decimals,
            )
            .expect(STRING_TAKES_ALL);
        }
        text
    }

    /// The built-in configuration with the settings of a [`Self::fold_digest_text`], so that a log is
    /// replayed with what it was written with, whatever the file says today.
    ///
    /// # Errors
    /// [`ConfigError::Refused`] where the text is no such text.
    pub fn from_fold_text(text: &str) -> Result<Self, ConfigError> {
        Self::parse(text, "the log's configuration")
    }
}

const STRING_TAKES_ALL: &str = "invariant: a String takes all text";

/// A symbol as a key: bare where it can be. No symbol holds what needs more escapes than this.
fn toml_key(symbol: &str) -> String {
    if symbol.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')) {
        symbol.to_owned()
    } else {
        format!("\"{}\"", symbol.replace('"', "\\\""))
    }
}

/// A whole number of ticks as an exact decimal.
fn ticks_text(instrument: &Instrument, ticks: i64) -> String {
    decimal_text(
        i128::from(ticks) * i128::from(instrument.tick_mantissa),
        usize::from(instrument.price_decimals),
    )
}

fn seconds_text(time: Nanos) -> String {
    decimal_text(i128::from(time.0), 9)
}

/// `units` / 10^`decimals` without zeros at the end; `units` is not negative.
fn decimal_text(units: i128, decimals: usize) -> String {
    let digits = format!("{units:0width$}", width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    match fraction.trim_end_matches('0') {
        "" => whole.to_owned(),
        fraction => format!("{whole}.{fraction}"),
    }
}

/// Why a configuration cannot be used. Prints one line a problem.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{name}: cannot be read: {source}")]
    Unreadable {
        /// The file.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// Not a configuration at all, or a device.
    #[error("{name}: has more than {MAX_FILE_SIZE_BYTES} bytes")]
    TooLarge {
        /// The file.
        name: String,
    },
    /// TOML is UTF-8.
    #[error("{name}: no UTF-8 at byte {at}")]
    NotUtf8 {
        /// The file.
        name: String,
        /// Offset of the first byte that is none.
        at: usize,
    },
    /// No TOML, or it breaks rules.
    #[error("{}", Lines { name, problems })]
    Refused {
        /// The file.
        name: String,
        /// What is wrong, in order of place; never empty.
        problems: Vec<Problem>,
    },
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// From 1; `None` where something is missing altogether.
    pub line: Option<usize>,
    /// In characters from 1, where a name or the syntax is wrong rather than a value.
    pub column: Option<usize>,
    /// Key, value and rule.
    pub message: String,
}

struct Lines<'a> {
    name: &'a str,
    problems: &'a [Problem],
}

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().take(PROBLEMS_PRINTED).enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}{}:", self.name)?;
            for number in [problem.line, problem.column].into_iter().flatten() {
                write!(f, "{number}:")?;
            }
            write!(f, " {}", problem.message)?;
        }
        match self.problems.len().saturating_sub(PROBLEMS_PRINTED) {
            0 => Ok(()),
            more => write!(f, "\n{}: and {more} more", self.name),
        }
    }
}
