//! `cobring sim`: the exchange simulator as a server.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::Args;
use cobring_sim::{
    CATALOGUE, FaultSchedule, RandomFaults, SimConfig, SimError, Source, Speed, SyntheticConfig,
    TlsConfig,
};
use serde_json::json;

use crate::demo::parse_duration;
use crate::exit::Failure;
use crate::signals::Signals;

/// How often the signal flag is looked at.
const POLL: Duration = Duration::from_millis(20);

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cobring sim --recording ethusdt.gz btcusdt.gz --speed 20     # plays when the first client has subscribed
  cobring sim --seed 7 --symbols ETHUSDT,BTCUSDT --listen 127.0.0.1:9000
  cobring sim --seed 7 --tls --cert-file /tmp/sim.pem
  cobring sim --recording ethusdt.gz --faults faults.toml
  cobring sim --seed 7 --faults random --every 5s              # a fault of the catalogue in each 5 s, the same for a seed
  cobring sim --list-faults

Any Binance spot client can use it by its base URLs, which are printed. Klines reach back --listed-days, as REST rows
and as archives under /data/spot/monthly/klines/. GET /sim/truth?symbol=ETHUSDT is its own book,
GET /sim/klines?symbol=ETHUSDT&interval=1m its own klines, GET /sim/state what it does; POST /sim/fault makes a fault,
as in {\"kind\":\"outage\",\"for_s\":300.0} or, by its id in the catalogue,
{\"kind\":\"catalogue\",\"id\":\"half_open\",\"symbol\":\"ETHUSDT\"}.")]
pub(crate) struct Sim {
    /// Recordings to play, merged by time.
    #[arg(long, value_name = "FILE", num_args = 1.., required_unless_present_any = ["seed", "list_faults"])]
    recording: Vec<PathBuf>,
    /// Seed of a synthetic market, where there is no recording, and of random faults.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Symbols of the synthetic market.
    #[arg(long, value_name = "A,B", value_delimiter = ',', default_value = "ETHUSDT,BTCUSDT")]
    symbols: Vec<String>,
    /// Simulated seconds a second, or max: as fast as the slowest client reads.
    #[arg(long, value_name = "X", default_value = "1")]
    speed: Speed,
    /// Address of REST and WebSocket; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9443")]
    listen: SocketAddr,
    /// Serve TLS with a certificate made now.
    #[arg(long)]
    tls: bool,
    /// Write that certificate here, for clients to trust (`venue.binance.ca_file`).
    #[arg(long, value_name = "FILE", requires = "tls")]
    cert_file: Option<PathBuf>,
    /// Days before the start of play for which there are klines and archives.
    #[arg(long, value_name = "DAYS", default_value_t = 1_600)]
    listed_days: u32,
    /// Faults that happen by themselves: a file (TOML), or `random` for those that --seed draws from the catalogue.
    #[arg(long, value_name = "FILE|random")]
    faults: Option<PathBuf>,
    /// Simulated time in which one random fault happens.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    every: Duration,
    /// Print the catalogue of faults, and end; with --json as a line of JSON each.
    #[arg(long)]
    list_faults: bool,
    /// Life of a WebSocket connection; the venue's is 24 h.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    connection_life: Option<Duration>,
    /// Write the truth here at the end: book, trades, bars, a JSON line for each symbol.
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Begin to play at once instead of when the first client has subscribed.
    #[arg(long)]
    no_wait: bool,
    /// End when the market has been played to its end; else the server stays up.
    #[arg(long)]
    exit_at_end: bool,
    /// Print where it listens as one JSON object.
    #[arg(long)]
    json: bool,
}

impl From<SimError> for Failure {
    fn from(error: SimError) -> Self {
        Self::failed(error)
    }
}

impl Sim {
    pub(crate) fn run(self) -> Result<(), Failure> {
        if self.list_faults {
            return list_faults(self.json);
        }
        let signals = Signals::catch()?;
        let source = match self.seed {
            Some(seed) if self.recording.is_empty() => Source::Synthetic(SyntheticConfig::new(
                seed,
                &self.symbols.iter().map(String::as_str).collect::<Vec<_>>(),
            )),
            _ => Source::Recording(self.recording.clone()),
        };
        let mut config = SimConfig::new(source);
        config.listen = self.listen;
        config.speed = self.speed;
        config.listed_days = self.listed_days;
        config.truth_file.clone_from(&self.truth);
        config.tls = self
            .tls
            .then(|| TlsConfig { cert_file: self.cert_file.clone(), ..TlsConfig::default() });
        if self.no_wait {
            config.start_after_subscribers = Some(0);
        }
        if let Some(life) = self.connection_life {
            config.limits.connection_life = life;
        }
        match &self.faults {
            Some(random) if random.as_os_str() == "random" => {
                let (seed, every_s) = (self.seed.unwrap_or_default(), self.every.as_secs_f64());
                config.faults.random = Some(RandomFaults { seed, every_s });
            }
            Some(path) => config.faults = FaultSchedule::from_file(path)?,
            None => {}
        }
        let sim = cobring_sim::start(&config)?;
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(
                out,
                "{}",
                json!({ "websocket_url": sim.ws_url(), "rest_url": sim.rest_url() })
            )?;
        } else {
            writeln!(out, "websocket_url = \"{}\"", sim.ws_url())?;
            writeln!(out, "rest_url = \"{}\"", sim.rest_url())?;
        }
        out.flush()?;
        while !(signals.is_set() || self.exit_at_end && sim.finished()) {
            thread::sleep(POLL);
        }
        sim.shutdown();
        signals.outcome()
    }
}

fn list_faults(is_json: bool) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    for entry in CATALOGUE {
        let (faults, group) = (entry.faults("*"), json!(entry.group));
        if is_json {
            let line = json!({
                "id": entry.id, "group": group, "what": entry.what, "is_drawn": entry.is_drawn,
                "faults": faults,
            });
            writeln!(out, "{line}")?;
        } else {
            let group = group.as_str().unwrap_or_default();
            writeln!(out, "{:22} {group:9} {}", entry.id, entry.what)?;
            for fault in faults {
                writeln!(out, "{:32} {}", "", json!(fault))?;
            }
        }
    }
    Ok(())
}
