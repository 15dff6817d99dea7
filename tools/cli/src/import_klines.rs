//! `cobring import-klines`: the venue's archives of 1s bars become bounds and pivots that a run begins with.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use cobring_market::{BoundsTracker, PERIOD_HOURS, PivotBounds};
use cobring_pipeline::bounds_file::{BoundsFile, BoundsImport};
use cobring_pipeline::klines_archive::KlineReader;
use cobring_pipeline::utc;
use cobring_types::{Instrument, Nanos, Px};
use serde_json::{Value, json};

use crate::exit::Failure;
use crate::output;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cobring import-klines ETHUSDT-1s-2026-10.zip --symbol ETHUSDT
  cobring import-klines ETHUSDT-1s-2026-*.zip --symbol ETHUSDT --config my.toml --json

An archive is a zip file with one CSV of 1s klines, a month or a day, as the venue publishes
them under data/spot/monthly/klines/<SYMBOL>/1s. Several are read in order of their times. The
bounds are those of the last 720 whole hours, the pivots those of all bars.")]
pub(crate) struct ImportKlines {
    /// Archives of 1s klines, in any order.
    #[arg(required = true, value_name = "FILE.zip")]
    files: Vec<PathBuf>,
    /// Whose klines they are.
    #[arg(long, value_name = "S")]
    symbol: String,
    /// Symbols' settings; by default the built-in ones.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the bounds go, a file for each symbol.
    #[arg(long, value_name = "DIR", default_value = "cobring-bounds")]
    dir: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What an import came to.
struct Imported {
    file: BoundsFile,
    bounds: PivotBounds,
    /// Seconds between the first and the last bar that no archive has.
    missing: u64,
    path: PathBuf,
}

impl ImportKlines {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let config = output::config(self.config.as_deref())?;
        let instrument = config
            .symbols
            .iter()
            .map(|symbol| &symbol.instrument)
            .find(|instrument| instrument.symbol.as_str() == self.symbol)
            .ok_or_else(|| {
                Failure::Configuration(format!(
                    "[symbols.{0}] is missing: {0}'s tick size is wanted to read its klines",
                    self.symbol
                ))
            })?;
        let imported = self.import(instrument)?;
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", imported.json(instrument))?;
        } else {
            imported.print(&mut out, instrument)?;
        }
        Ok(())
    }

    fn import(&self, instrument: &Instrument) -> Result<Imported, Failure> {
        let mut reader = KlineReader::new(instrument, Nanos::SECOND);
        let mut files = Vec::with_capacity(self.files.len());
        for path in &self.files {
            files.push((reader.summary(path).map_err(Failure::failed)?, path));
        }
        files.sort_by_key(|(summary, _)| summary.first_open_time);
        let bar = output::progress_bar("import");
        bar.set_length(files.iter().map(|(summary, _)| summary.csv_size_bytes).sum());
        let mut import = BoundsImport::new();
        let mut before = 0;
        for (summary, path) in files {
            let on_kline = |kline: &_| import.on_kline(kline, instrument);
            let on_progress = |bytes| bar.set_position(before + bytes);
            reader.read(path, on_kline, on_progress).map_err(Failure::failed)?;
            before += summary.csv_size_bytes;
        }
        bar.finish_and_clear();
        let file = import.finish(instrument).ok_or_else(|| {
            Failure::Failed(
                "no hour ends among the klines, wanted at least one whole hour".to_owned(),
            )
        })?;
        // Checked as the engine will check it.
        let mut tracker = BoundsTracker::new();
        tracker.import(&file.imported, file.imported.period_end).map_err(Failure::failed)?;
        let bounds = tracker.bounds().copied().expect("invariant: an import has bars");
        let path = file.write(&self.dir).map_err(Failure::failed)?;
        Ok(Imported { file, bounds, missing: reader.missing(), path })
    }
}

impl Imported {
    fn json(&self, instrument: &Instrument) -> Value {
        let px = |px: Px| instrument.px_f64(px);
        let prices = |prices: [Option<Px>; 5]| {
            prices.map(|price| price.map(|price| instrument.px_f64(price)))
        };
        json!({
            "symbol": self.file.symbol,
            "path": path_text(&self.path),
            "bars_read": self.file.bars,
            "bars_missing": self.missing,
            "pivots_from": self.file.structure.origin().get(),
            "price_min": px(self.bounds.price_min),
            "price_max": px(self.bounds.price_max),
            "volume_min": instrument.qty_sum_f64(self.bounds.volume_min),
            "volume_max": instrument.qty_sum_f64(self.bounds.volume_max),
            "support": prices(self.bounds.nearest.support),
            "resistance": prices(self.bounds.nearest.resistance),
            "period_start": self.bounds.period_start.0,
            "period_end": self.bounds.period_end.0,
            "bar_count": self.bounds.bar_count,
        })
    }

    fn print(&self, out: &mut impl io::Write, instrument: &Instrument) -> io::Result<()> {
        let decimals = usize::from(instrument.price_decimals);
        let px = |px: Px| format!("{:.decimals$}", instrument.px_f64(px));
        let bounds = &self.bounds;
        writeln!(
            out,
            "{}: {} bars read, {} seconds missing",
            self.file.symbol, self.file.bars, self.missing
        )?;
        writeln!(
            out,
            "{PERIOD_HOURS} hours  {} to {}, {} bars",
            utc::text(bounds.period_start),
            utc::text(bounds.period_end),
            bounds.bar_count
        )?;
        writeln!(out, "price      {} to {}", px(bounds.price_min), px(bounds.price_max))?;
        writeln!(
            out,
            "volume     {} to {} a second",
            instrument.qty_sum_f64(bounds.volume_min),
            instrument.qty_sum_f64(bounds.volume_max)
        )?;
        writeln!(out, "level  {:>12}  {:>12}", "support", "resistance")?;
        let levels = bounds.nearest.support.iter().zip(&bounds.nearest.resistance);
        for (level, (support, resistance)) in (1..).zip(levels) {
            let cell = |price: &Option<Px>| price.map_or("–".to_owned(), px);
            writeln!(out, "{level:<5}  {:>12}  {:>12}", cell(support), cell(resistance))?;
        }
        writeln!(io::stderr(), "written: {}", self.path.display())
    }
}

fn path_text(path: &Path) -> String {
    path.display().to_string()
}
