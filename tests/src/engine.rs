//! `cobring run` as a process, with a configuration and directories of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use toml::{Table, Value as Setting};

use crate::process::{Finished, Process};
use crate::program::cobring;
use crate::sim::Sim;
use crate::{OwnDir, SOON, wait_until};

/// Where an engine runs and with what settings; outlives its engines.
#[derive(Debug)]
pub struct Setup {
    settings: Table,
    shared_memory: OwnDir,
    files: TempDir,
}

impl Setup {
    /// The built-in configuration, in directories of its own and against a closed port.
    #[must_use]
    pub fn new() -> Self {
        let text = cobring(["check-config", "--print"]).succeeded().stdout;
        let settings = text.parse().expect("the built-in configuration is TOML");
        let files = tempfile::tempdir().expect("a temporary directory");
        let shared_memory = OwnDir::new();
        let mut setup = Self { settings, shared_memory, files };
        setup.set("engine.shared_memory_dir", path_text(setup.shared_memory.path()));
        setup.set("log.dir", path_text(&setup.log_dir()));
        setup.set("venue.binance.websocket_url", "ws://127.0.0.1:1");
        setup.set("venue.binance.rest_url", "http://127.0.0.1:1");
        setup
    }

    /// Connected to that simulator.
    #[must_use]
    pub fn of(sim: &Sim) -> Self {
        let mut setup = Self::new();
        setup.connect(sim);
        setup
    }

    /// To another simulator from the next start on.
    pub fn connect(&mut self, sim: &Sim) {
        self.set("venue.binance.websocket_url", sim.websocket_url.as_str());
        self.set("venue.binance.rest_url", sim.rest_url.as_str());
    }

    /// Sets a key, as in `log.rotate_bytes`.
    pub fn set(&mut self, key: &str, value: impl Into<Setting>) {
        let (tables, name) = key.rsplit_once('.').expect("a key lies in a table");
        let mut table = &mut self.settings;
        for part in tables.split('.') {
            table = table[part].as_table_mut().expect("a table");
        }
        let known = table.insert(name.to_owned(), value.into());
        assert!(known.is_some(), "the configuration has no {key}");
    }

    /// Lets the engine take the outputs of a model for all symbols.
    pub fn add_model(&mut self, name: &str, settings: Table) {
        let models = self.settings.entry("models").or_insert_with(|| Table::new().into());
        let models = models.as_table_mut().expect("a table");
        models.insert(name.to_owned(), settings.into());
    }

    /// As [`Self::set`], for chains.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Setting>) -> Self {
        self.set(key, value);
        self
    }

    #[must_use]
    pub fn shared_memory_dir(&self) -> &Path {
        self.shared_memory.path()
    }

    #[must_use]
    pub fn log_dir(&self) -> PathBuf {
        self.files.path().join("log")
    }

    /// A path for a file that goes with this set-up.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// The files of the log, in order.
    #[must_use]
    pub fn log_files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.log_dir()).expect("a log was written");
        let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        files.retain(|file| {
            let name = file.to_string_lossy();
            name.ends_with(".cblog") || name.ends_with(".cblog.zst")
        });
        files.sort();
        files
    }

    /// The arguments of a run with these settings.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let config = self.file("cobring.toml");
        std::fs::write(&config, self.settings.to_string()).expect("the configuration is written");
        ["run", "--json", "--config"]
            .map(str::to_owned)
            .into_iter()
            .chain([path_text(&config)])
            .collect()
    }

    /// Starts an engine and waits until its segments are there.
    #[must_use]
    pub fn run(&self) -> Engine {
        let mut engine = Engine { process: Process::start(self.arguments()) };
        wait_until("the engine publishes", SOON, || {
            assert!(engine.process.is_running(), "{}", engine.process.stderr());
            engine.process.stderr().contains("frames are published")
        });
        engine
    }

    /// `frame show` of a symbol.
    #[must_use]
    pub fn show(&self, symbol: &str) -> Finished {
        let dir = path_text(self.shared_memory_dir());
        cobring(["frame", "show", symbol, "--json", "--dir", &dir])
    }

    /// `frame rows` of a window of a symbol.
    #[must_use]
    pub fn rows(&self, symbol: &str, window: &str) -> Vec<Value> {
        let dir = path_text(self.shared_memory_dir());
        let text = cobring(["frame", "rows", symbol, window, "--dir", &dir]).succeeded().stdout;
        text.lines().map(|line| serde_json::from_str(line).expect("a row of JSON")).collect()
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

/// A running engine.
#[derive(Debug)]
pub struct Engine {
    pub process: Process,
}

impl Engine {
    /// Ends it by SIGTERM and gives its report.
    #[must_use]
    pub fn stop(self) -> Value {
        self.process.terminate(SOON).ended_with(143).json()
    }

    /// Ends it by SIGTERM, within that time.
    #[must_use]
    pub fn stop_within(self, limit: Duration) -> Finished {
        self.process.terminate(limit)
    }
}

fn path_text(path: &Path) -> String {
    path.to_str().expect("paths of tests are text").to_owned()
}
