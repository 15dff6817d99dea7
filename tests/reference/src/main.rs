//! `cobring-reference FILE… --every 10s`: the expected lines of `cobring replay`.
//!
//! Where the texts are ambiguous, these choices were made (most literal reading):
//!
//! Replay
//! 1. Every line with a stamp is an input, also one passed over: it starts the epoch and makes timers.
//! 2. The symbols are those of all combined messages of all files; each has a line at every instant from the first.
//! 3. A break (more than 600 timers between two inputs) has no timers, so an instant inside it has no line.
//! 4. The break covers (previous input, next input] + the last offset_low: bars wholly inside without a trade are
//!    `hole` (floats null, count 0), bars cut by it `incomplete` (no offset_low: none); its whole seconds are
//!    invalid cob rows.
//!
//! Book
//! 5. empty → syncing at the first buffered depth event. gapped and crossed stay until a snapshot line; one that
//!    cannot be used (L + 1 < U of the first kept event) leaves syncing.
//! 6. Not live: there is no book (update_id, bids, asks, known_to null; levels_known 0; cob quantities and
//!    imbalances null element by element, valid false; coverage 0). Missing levels of a live book: [null, null].
//! 7. ask_known_to = +inf is null. levels_known = how many of the book's levels lie in the known range.
//! 8. Buffered events are applied by the ordinary rule: a gap between them ends in gapped, the rest stays buffered.
//! 9. A crossing event, or one that bookTicker contradicts, is the first of the new buffer, as after a gap; the
//!    state after a contradiction is gapped, with consistency 0 until live. A bookTicker is compared with the event
//!    of its u whichever of them comes first, as long as that event is the last applied one; if it comes second,
//!    nothing is buffered and no row changes. The levels of a crossed book stay visible, its update_id does not.
//! 10. Snapshot on a live book: L < update_id passed over; L = update_id adopted at once; newer: kept (the latest
//!     one) and adopted after the first event with u ≥ L, that event applied if u > L. A gap drops it.
//! 11. book_states: one row for each event applied, valid if the book is live after it, with the levels after it
//!     even if not; a buffered one keeps its own ts_recv. One invalid row a gap: the times of the event that
//!     shows it, update_id and levels null. A snapshot has no row.
//! 12. The remembered bookTicker is the one with the highest u since the last restart; `top.source`: bookTicker, depth.
//!
//! Flow, quality
//! 13. OFI runs over consecutive bookTickers that raised u; the drop at a restart does not cut it (an equal or
//!     older u is passed over). No change in the window: 0, like the volumes.
//! 14. The last trade = last one received that is no duplicate; its ts_event is T. An id that is unknown is null;
//!     an enumeration (source, side) that is unknown or does not apply is "none".
//! 15. A stream never seen has freshness 0. Repaired bars are counted over the last 300 closed 1s rows.
//!
//! Candles
//! 16. The first bar of each interval is `partial`. Open and close are the trades with the lowest and highest id.
//! 17. Duplicate = id seen before (aggTrade: `a`); gap = first trade id > highest so far + 1, and flags the bars from
//!     the trade before it to the trade after it, closed ones `repaired` too. Filled later: the flag stays.
//! 18. A late trade flags its bar `repaired`, and the flat bars after it, whether or not its close changed. Before
//!     the first bar: no candle, but flow. Flat after a hole: prices null until a trade.
//!
//! Price, ticks, ticker
//! 19. Ages of `price`: since the receipt of the remembered bookTicker (one passed over does not renew it), of the
//!     last trade, of the last applied depth event or starting snapshot, of the last ticker row. Limits are
//!     inclusive; book and ticker have none. A ticker without a last price (0) is none. Source none: px and age null.
//! 20. ticks: one quote row at most an input, where price or quantity at the best differ from those last known (a
//!     top that becomes unknown has no row); its ts_event is the input's (a depth event's E, else null), its id
//!     the top's update id; px, qty null. A trade row has T, the trade's id, and the top of its instant. Duplicates
//!     and the kind of trade that does not count have no row.
//! 21. ticker: a row for each well-formed 24hrTicker message, its fields under the names of message.rs.
//!
//! COB rows, heatmap
//! 22. venue_second is a number of seconds, with offset_low of the timer ts_end; offset_low unknown: null. Imbalances
//!     are the means after the sample at ts_end. The second is ts_end - 1 s ≤ ts_recv < ts_end.
//! 23. Not live: all but ts_end and venue_second null, overflows too. Seconds of a break are such rows, with the last
//!     offset_low before it.
//! 24. Heatmap: the last T rows, fewer if there are fewer; columns around the newest known centre among them. A cell
//!     is valid where its row's bucket is, for every metric; imbalance of an empty bucket is 0.
//!
//! Indicators, pivots
//! 25. Closes: all closed rows with a price, flat ones too. A row without one (hole, or flat after it) restarts
//!     what needs closes; vwap_day goes on over a hole (null in it), and counts from the first bar of the day that
//!     there is. After a repair all rows follow the repaired bars.
//! 26. macd: null until there is a signal, the fast mean seeded late, as TA-Lib does. rsi: 0 where nothing moved.
//! 27. Pivots: bars with trades, of 1 min too; the partial first bar counts. Only holes between the five bars of
//!     level 1 matter. After a repair all pivots follow the repaired bars.
//! 28. strength: the newest row above it in the same window that is of the other kind; of a bar that completes both,
//!     the high comes first. None: null.
//! 29. support: of all lows since the origin, price < mid_px, no later closed bar with trades of the same interval
//!     has low < price (a touch is not through). No top: null. trend needs two highs and two lows.
//!
//! PivotBounds
//! 30. The period ends with the last UTC hour of which all bars are closed (for archives: told), by the venue's
//!     clock, so it may end after our clock's instant, as a closed bar may. It begins 720 hours before, though
//!     bars be fewer; an hour watched in part counts.
//! 31. bar_count: bars that are no holes, flat ones too. Prices are of those with a price, volumes of all of them.
//! 32. support, resistance: nearest to the last close in the period, as the bars before its end have them, from
//!     the origin of the pivots on (so also a pivot from before the period). They change with the period only.
//! 33. A second that no archive has is a hole. pivots_from: the first bar with trades.

#![forbid(unsafe_code)]

use clap::{Args, Parser, Subcommand};
use cobring_reference::{
    Dec, Metric, Nanos, ReplayError, Symbol, SymbolConfig, archive_bounds, compare, fold, read_all,
    replay,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    about = "Recomputes what `cobring replay --jsonl` prints",
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    replay: ReplayArgs,
}

#[derive(Args)]
struct InputArgs {
    /// Recordings: lines `<receive ns> <raw message>`, plain, .gz or .zst
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// SYMBOL:tick=0.01,bucket=1,range=5,r=20 (all four); may be repeated
    #[arg(long, value_parser = parse_symbol_config)]
    symbol_config: Vec<(String, SymbolConfig)>,
}

#[derive(Args)]
struct ReplayArgs {
    #[command(flatten)]
    input: InputArgs,
    /// Receive time between lines, such as 10s or 500ms: a multiple of 100ms
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    every: Nanos,
}

#[derive(Subcommand)]
enum Command {
    /// Print every closed row of every window, as it is after the last input
    Rows {
        #[command(flatten)]
        input: InputArgs,
    },
    /// Print the heatmap of price buckets of each symbol, as of its last cob row
    Heatmap {
        #[command(flatten)]
        input: InputArgs,
        #[arg(long, default_value_t = 300)]
        seconds: usize,
        /// Buckets on each side of the last row's centre
        #[arg(long, default_value_t = 20)]
        radius: u32,
        /// bid_qty, ask_qty, qty, net_qty, bid_quote, ask_quote, quote, net_quote, imbalance, buy_volume or
        /// sell_volume; may be repeated
        #[arg(long, default_value = "net_quote")]
        metric: Vec<Metric>,
    },
    /// Print the bounds that kline archives of 1s bars come to
    Bounds {
        /// Archives: zip files with one CSV, or CSV
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Compare two streams of JSON lines; exit code 1 when they differ
    Compare {
        expected: PathBuf,
        actual: PathBuf,
        /// Keys that the actual side lacks are reported, but no failure
        #[arg(long)]
        allow_missing: bool,
    },
}

/// Exit codes: 0 done or equal, 1 different, 2 could not be done.
fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.command {
        Some(Command::Compare { expected, actual, allow_missing }) => {
            print_comparison(expected, actual, *allow_missing)
        }
        Some(Command::Rows { input }) => print_end(input, Symbol::window_rows),
        Some(Command::Heatmap { input, seconds, radius, metric }) => {
            let map = |symbol: &Symbol, metric| symbol.cob_heatmap(*seconds, *radius, metric);
            print_end(input, |symbol| metric.iter().map(|metric| map(symbol, *metric)).collect())
        }
        Some(Command::Bounds { files }) => print_bounds(files),
        None => print_replay(&cli.replay),
    };
    done.unwrap_or_else(|error| {
        // Nothing is left to tell if stderr is closed.
        let _ = writeln!(std::io::stderr().lock(), "cobring-reference: {error}");
        ExitCode::from(2)
    })
}

fn print_comparison(
    expected: &Path,
    actual: &Path,
    allow_missing: bool,
) -> Result<ExitCode, Box<dyn Error>> {
    let open = |path: &Path| {
        File::open(path).map(BufReader::new).map_err(|error| format!("{}: {error}", path.display()))
    };
    let report = compare(open(expected)?, open(actual)?)?;
    write!(std::io::stdout().lock(), "{report}")?;
    Ok(ExitCode::from(u8::from(!report.is_equal(allow_missing))))
}

fn print_bounds(files: &[PathBuf]) -> Result<ExitCode, Box<dyn Error>> {
    writeln!(std::io::stdout().lock(), "{}", archive_bounds(files)?)?;
    Ok(ExitCode::SUCCESS)
}

fn print_replay(args: &ReplayArgs) -> Result<ExitCode, Box<dyn Error>> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let symbols =
        replay(read_all(&args.input.files)?, &configs(&args.input), args.every, |line| {
            writeln!(out, "{line}").map_err(Box::<dyn Error>::from)
        })?;
    out.flush()?;
    for (name, symbol) in &symbols {
        writeln!(std::io::stderr().lock(), "{}", summary(name, symbol))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The lines that `of` makes of each symbol after the last input.
fn print_end(
    input: &InputArgs,
    of: impl Fn(&Symbol) -> Vec<Value>,
) -> Result<ExitCode, Box<dyn Error>> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let inputs = read_all(&input.files)?;
    for symbol in fold(inputs, &configs(input), |_, _| Ok::<_, ReplayError>(()))?.values() {
        for line in of(symbol) {
            writeln!(out, "{line}")?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn configs(input: &InputArgs) -> BTreeMap<String, SymbolConfig> {
    let mut configs = default_configs();
    configs.extend(input.symbol_config.iter().cloned());
    configs
}

fn summary(name: &str, symbol: &Symbol) -> String {
    let (compared, disagreeing) = symbol.sync.quote_agreement();
    format!(
        "{name}: {} trades, {} duplicate, {} id gaps; {:?}; bookTicker ids compared {compared}, disagreeing {disagreeing}",
        symbol.trade_count(),
        symbol.duplicate_trades,
        symbol.trade_id_gaps,
        symbol.sync.counts
    )
}

fn default_configs() -> BTreeMap<String, SymbolConfig> {
    ["ETHUSDT:tick=0.01,bucket=1,range=5,r=20", "BTCUSDT:tick=0.01,bucket=10,range=50,r=20"]
        .into_iter()
        .map(|text| parse_symbol_config(text).expect("invariant: the defaults are well-formed"))
        .collect()
}

fn parse_symbol_config(text: &str) -> Result<(String, SymbolConfig), String> {
    let (symbol, fields) = text.split_once(':').ok_or("expected SYMBOL:key=value,…")?;
    let mut values = BTreeMap::new();
    for field in fields.split(',') {
        let (key, value) = field.split_once('=').ok_or(format!("{field}: expected key=value"))?;
        if !["tick", "bucket", "range", "r"].contains(&key) {
            return Err(format!("{key}: no such key; there are tick, bucket, range, r"));
        }
        values.insert(key, value);
    }
    let decimal = |key: &str| {
        let value = values.get(key).ok_or(format!("{key} is missing"))?;
        Dec::parse(value).filter(|d| *d > Dec::ZERO).ok_or(format!("{key}={value}: must be > 0"))
    };
    let radius = values.get("r").ok_or("r is missing")?;
    let config = SymbolConfig {
        tick: decimal("tick")?,
        bucket: decimal("bucket")?,
        range: decimal("range")?,
        radius: radius.parse::<u32>().map_err(|error| format!("r={radius}: {error}"))?.into(),
    };
    Ok((symbol.to_owned(), config))
}

fn parse_duration(text: &str) -> Result<Nanos, String> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits_end);
    let unit: Nanos = match unit {
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        _ => return Err(format!("{text}: expected a number with ms, s or m")),
    };
    let number: Nanos = number.parse().map_err(|error| format!("{text}: {error}"))?;
    number.checked_mul(unit).ok_or(format!("{text}: too long"))
}
