//! What is in shared memory at one moment, as any reader finds it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use cobring_frame::{
    CounterFile, CounterTable, EngineDir, FrameError, Histogram, Liveness, Reader, Schema,
    SegmentState, SubscriberInfo,
};
use serde_json::Value;

/// One engine's directory at one moment.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) at: Instant,
    pub(crate) wall_ns: i64,
    pub(crate) engine: EngineSample,
    /// In order of names.
    pub(crate) symbols: Vec<SymbolSample>,
    pub(crate) counters: Result<CounterSample, String>,
    pub(crate) readers: Vec<SubscriberInfo>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct EngineSample {
    pub(crate) epoch: u64,
    pub(crate) pid: u32,
    pub(crate) liveness: Liveness,
}

#[derive(Debug)]
pub(crate) struct SymbolSample {
    pub(crate) name: String,
    pub(crate) published: u64,
    /// The newest frame; `None` before the first.
    pub(crate) frame: Option<Value>,
    /// Now, by the clock of frames.
    pub(crate) now_ns: i64,
}

#[derive(Debug)]
pub(crate) struct CounterSample {
    pub(crate) made_ns: i64,
    pub(crate) tables: Vec<TableSample>,
}

/// A table with the values of its rows.
#[derive(Debug)]
pub(crate) struct TableSample {
    pub(crate) names: CounterTable,
    pub(crate) counters: Vec<Vec<u64>>,
    pub(crate) histograms: Vec<Vec<Histogram>>,
}

impl CounterSample {
    pub(crate) fn table(&self, name: &str) -> Option<&TableSample> {
        self.tables.iter().find(|table| table.names.name == name)
    }
}

impl TableSample {
    /// The sum of counters over all rows, or over one; `None` where the engine has none of them.
    pub(crate) fn sum<'a>(
        &self,
        counters: impl IntoIterator<Item = &'a str>,
        row: Option<&str>,
    ) -> Option<u64> {
        let places: Vec<usize> = counters
            .into_iter()
            .filter_map(|counter| self.names.counters.iter().position(|name| name == counter))
            .collect();
        let rows = self.names.rows.iter().zip(&self.counters);
        let values = rows
            .filter(|(name, _)| row.is_none_or(|row| row == *name))
            .flat_map(|(_, values)| places.iter().map(|&at| values[at]));
        // The words of a file may be anything.
        (!places.is_empty()).then(|| values.fold(0, u64::saturating_add))
    }
}

/// Why there is nothing to show.
#[derive(Debug)]
pub(crate) enum NoSample {
    /// No engine has been there, or what it left was removed.
    NoEngine,
    /// The system refused, or all segments are damaged.
    Failed(FrameError),
}

/// Looks at one engine's directory again and again, through whatever engine is there.
#[derive(Debug)]
pub(crate) struct Looker {
    dir: PathBuf,
    readers: BTreeMap<String, Open>,
    counters: Option<CounterFile>,
}

#[derive(Debug)]
struct Open {
    reader: Reader,
    schema: Schema,
    words: Vec<u64>,
}

impl Open {
    fn new(dir: &Path, symbol: &str) -> Option<Self> {
        let reader = Reader::open(dir, symbol).ok()?;
        let schema = Schema::from_json(reader.schema()).ok()?;
        let words = vec![0; reader.frame_size_bytes() / 8];
        Some(Self { reader, schema, words })
    }

    /// The newest frame; `None` before the first, and where an engine has just taken the place of another one.
    fn frame(&mut self) -> Option<Value> {
        self.reader.latest(&mut self.words).ok()??;
        Some(self.schema.frame_to_json(&self.words))
    }

    fn now_ns(&self) -> i64 {
        let monotonic_ns =
            self.reader.heartbeat_ns().saturating_add(self.reader.heartbeat_age_ns());
        monotonic_ns.cast_signed().saturating_sub(self.reader.mono_minus_ts())
    }
}

impl Looker {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir, readers: BTreeMap::new(), counters: None }
    }

    /// All that is there now.
    pub(crate) fn look(&mut self) -> Result<Sample, NoSample> {
        let segments = match EngineDir::list(&self.dir) {
            Ok(segments) => segments,
            Err(FrameError::NoDirectory { .. }) => return Err(NoSample::NoEngine),
            Err(error) => return Err(NoSample::Failed(error)),
        };
        let mut states: Vec<(String, SegmentState)> = Vec::new();
        let mut refused = None;
        for segment in segments {
            match segment.state {
                Ok(state) => states.push((segment.symbol, state)),
                Err(error) => refused = Some(error),
            }
        }
        // An engine with fewer symbols leaves the segments of the one before.
        let Some(epoch) = states.iter().map(|(_, state)| state.epoch).max() else {
            return Err(refused.map_or(NoSample::NoEngine, NoSample::Failed));
        };
        states.retain(|(_, state)| state.epoch == epoch);
        self.readers.retain(|symbol, _| states.iter().any(|(name, _)| name == symbol));
        let SegmentState { writer_pid: pid, liveness, .. } = states[0].1;
        Ok(Sample {
            at: Instant::now(),
            wall_ns: wall_ns(),
            engine: EngineSample { epoch, pid, liveness },
            symbols: states.iter().map(|(name, state)| self.symbol(name, state)).collect(),
            counters: self.counters(epoch),
            readers: SubscriberInfo::list(&self.dir).unwrap_or_default(),
        })
    }

    fn symbol(&mut self, name: &str, state: &SegmentState) -> SymbolSample {
        let open = match self.readers.remove(name) {
            Some(open) if open.reader.epoch() == state.epoch => Some(open),
            _ => Open::new(&self.dir, name),
        };
        let mut sample = SymbolSample {
            name: name.to_owned(),
            published: state.published,
            frame: None,
            now_ns: i64::MIN,
        };
        if let Some(mut open) = open {
            (sample.frame, sample.now_ns) = (open.frame(), open.now_ns());
            self.readers.insert(name.to_owned(), open);
        }
        sample
    }

    fn counters(&mut self, epoch: u64) -> Result<CounterSample, String> {
        if self.counters.as_ref().is_none_or(CounterFile::is_replaced) {
            self.counters = None;
            let file = CounterFile::open(&self.dir).map_err(|error| error.to_string())?;
            self.counters = Some(file);
        }
        let file = self.counters.as_ref().filter(|file| file.epoch() == epoch);
        let file = file.ok_or_else(|| "the counters are those of another engine".to_owned())?;
        let tables = file.tables().iter().enumerate().map(|(at, names)| {
            let rows = 0..names.rows.len();
            let spans = |row| {
                let histograms = 0..names.histograms.len();
                histograms.map(|histogram| file.histogram(at, row, histogram)).collect()
            };
            TableSample {
                names: names.clone(),
                counters: rows.clone().map(|row| file.counters(at, row)).collect(),
                histograms: rows.map(spans).collect(),
            }
        });
        Ok(CounterSample { made_ns: file.made_ns(), tables: tables.collect() })
    }
}

fn wall_ns() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
