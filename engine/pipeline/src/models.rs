//! Models' outputs on their way into the sequence of inputs.
//!
//! Guarantees: an output is looked at when its model's file was written to, and at each timer in any case;
//! a turn looks at a bounded number of them; what a model does wrong is counted and, at most every ten
//! seconds, told by name. Does not: judge outputs (`cobring_frame::ModelPoller`), stamp them, or wait.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use cobring_frame::{
    EngineDir, FrameError, ModelCounters, ModelPoller, ModelWatch, Segment, Written,
};
use cobring_types::{ModelIndex, ModelOutput, Nanos, Symbol, SymbolIndex};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use crate::config::ModelSettings;

/// Outputs of one model and symbol that a turn takes.
const OUTPUTS_A_TURN: usize = 4;
/// Between two turns: a model that floods costs ingest a few microseconds in this time.
const TURN_INTERVAL: Nanos = Nanos(200_000);
/// Every file is looked at this often, whether or not the kernel told of a write.
const SWEEP_INTERVAL: Nanos = Nanos(100_000_000);
/// A model that does wrong is told of this often.
const TELL_INTERVAL: Nanos = Nanos(10_000_000_000);

/// What became of one model's outputs for one symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelReport {
    /// The symbol.
    pub symbol: String,
    /// The model's name.
    pub model: String,
    /// By outcome.
    pub counters: ModelCounters,
}

/// One model and symbol, beside its poller.
#[derive(Debug)]
struct Feed {
    symbol: SymbolIndex,
    model: ModelIndex,
    names: (String, String),
    /// There may be outputs.
    is_due: bool,
    told: ModelCounters,
}

/// All models of all symbols.
#[derive(Debug, Default)]
pub(crate) struct Models {
    feeds: Vec<Feed>,
    pollers: Vec<ModelPoller>,
    /// None where the system refused it: then every turn looks at every file.
    watch: Option<ModelWatch>,
    /// The kernel has told of writes that were not read yet.
    unread: bool,
    next_turn: Nanos,
    next_sweep: Nanos,
    next_telling: Nanos,
}

impl Models {
    /// Makes the files of a symbol's models.
    ///
    /// # Errors
    /// [`FrameError`] where a file cannot be made.
    pub(crate) fn add(
        &mut self,
        dir: &EngineDir,
        symbol: SymbolIndex,
        name: &Symbol,
        models: &[ModelSettings],
        segment: &Segment,
    ) -> Result<(), FrameError> {
        let of_symbol = models.iter().filter(|model| model.symbols.contains(name));
        for (model, settings) in (0..).map(ModelIndex).zip(of_symbol) {
            let ModelSettings { name: model_name, rules, .. } = settings;
            let poller = ModelPoller::create(dir, model_name, *rules, segment.reader())?;
            self.pollers.push(poller);
            let names = (name.to_string(), model_name.clone());
            let told = ModelCounters::default();
            self.feeds.push(Feed { symbol, model, names, is_due: false, told });
        }
        Ok(())
    }

    /// Lets `token` be told where a model wrote.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        if self.pollers.is_empty() {
            return Ok(());
        }
        match ModelWatch::new(&self.pollers) {
            Ok(watch) => {
                let fd = watch.as_fd().as_raw_fd();
                registry.register(&mut SourceFd(&fd), token, Interest::READABLE)?;
                self.watch = Some(watch);
            }
            Err(error) => {
                tracing::warn!("{error}; models' outputs are looked for at each turn instead");
            }
        }
        Ok(())
    }

    /// The token was told.
    pub(crate) fn mark_written(&mut self) {
        self.unread = true;
    }

    /// When the next turn is due, where there may be outputs.
    pub(crate) fn next_turn(&self) -> Option<Nanos> {
        let is_due = self.unread || self.feeds.iter().any(|feed| feed.is_due);
        is_due.then_some(self.next_turn)
    }

    /// Hands out what may be taken now. `put` says whether there is room for more.
    pub(crate) fn serve(
        &mut self,
        now: Nanos,
        mut put: impl FnMut(SymbolIndex, ModelIndex, &ModelOutput) -> bool,
    ) {
        if self.feeds.is_empty() || now < self.next_turn {
            return;
        }
        self.next_turn = Nanos(now.0 + TURN_INTERVAL.0);
        self.find_due(now);
        for (feed, poller) in self.feeds.iter_mut().zip(&mut self.pollers) {
            if !feed.is_due {
                continue;
            }
            for _ in 0..OUTPUTS_A_TURN {
                let Some(output) = poller.poll(now) else {
                    feed.is_due = false;
                    break;
                };
                if !put(feed.symbol, feed.model, output) {
                    return;
                }
            }
        }
        if now >= self.next_telling {
            self.next_telling = Nanos(now.0 + TELL_INTERVAL.0);
            self.tell();
        }
    }

    fn find_due(&mut self, now: Nanos) {
        let feeds = &mut self.feeds;
        let all = |feeds: &mut [Feed]| feeds.iter_mut().for_each(|feed| feed.is_due = true);
        if self.unread
            && let Some(watch) = &mut self.watch
        {
            self.unread = watch.take(|written| match written {
                Written::One(at) => feeds[at].is_due = true,
                Written::Any => all(feeds),
            });
        }
        if self.watch.is_none() || now >= self.next_sweep {
            self.next_sweep = Nanos(now.0 + SWEEP_INTERVAL.0);
            all(feeds);
        }
    }

    /// Says what models did wrong since the last telling.
    fn tell(&mut self) {
        for (feed, poller) in self.feeds.iter_mut().zip(&self.pollers) {
            let now = poller.counters();
            if now.wrongs() == feed.told.wrongs() {
                continue;
            }
            let since: Vec<String> = now
                .iter()
                .zip(feed.told.iter())
                .filter(|((name, now), (_, told))| now > told && *name != "accepted_total")
                .map(|((name, now), (_, told))| format!("{name} +{}", now - told))
                .collect();
            feed.told = now;
            let (symbol, model) = &feed.names;
            tracing::warn!(symbol, model, "a model's outputs were refused: {}", since.join(", "));
        }
    }

    /// Of each model and symbol, as its file is named.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        self.feeds.iter().map(|Feed { names: (symbol, model), .. }| format!("{symbol}.{model}"))
    }

    /// What became of the outputs, in the order of [`Self::names`].
    pub(crate) fn counters(&self) -> impl Iterator<Item = ModelCounters> {
        self.pollers.iter().map(ModelPoller::counters)
    }

    /// What became of the outputs.
    pub(crate) fn report(&self) -> Vec<ModelReport> {
        let report = |(feed, poller): (&Feed, &ModelPoller)| {
            let (symbol, model) = feed.names.clone();
            ModelReport { symbol, model, counters: poller.counters() }
        };
        self.feeds.iter().zip(&self.pollers).map(report).collect()
    }
}
