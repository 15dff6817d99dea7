//! What a seed decides: the market, the configuration, the network, and which fault comes when.

use std::collections::VecDeque;

use cobring_sim::{CATALOGUE, Fault, Pace, SyntheticConfig, SyntheticSymbol};
use cobring_types::Nanos;

use crate::network::Latency;
use crate::random::Random;

/// In order of names, as the engine counts them.
pub(crate) const SYMBOLS: [&str; 2] = ["BTCUSDT", "ETHUSDT"];

/// No fault before the first books are live, and none in the last part of a run.
const FIRST_FAULT: Nanos = Nanos(4 * Nanos::SECOND.0);
const FAULTS_END_BEFORE: Nanos = Nanos(12 * Nanos::SECOND.0);
const OUTAGE: Nanos = Nanos(600 * Nanos::SECOND.0);

/// The limit of freshness lets the score fall below a good one by then, though bytes that trickle come late.
pub(crate) const BEHIND_MAX: Nanos = Nanos(12 * Nanos::SECOND.0);

/// Faults of the host itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostFault {
    /// The wall clock steps.
    ClockStep(Nanos),
    /// The engine gets no processor for so long.
    Hiccup(Nanos),
    /// The host sleeps for so long.
    Suspend(Nanos),
    /// No name resolves for so long.
    NamesFail(Nanos),
    /// The process is gone, with the inputs that were not on the disk; the next one begins where the log ends, or anew.
    Crash {
        /// Inputs of so long before are lost.
        unsynced: Nanos,
        /// The next run takes over what the log tells.
        is_warm: bool,
    },
}

impl HostFault {
    /// Its name, as the tables have it.
    pub(crate) const fn id(self) -> &'static str {
        match self {
            Self::ClockStep(_) => "clock_step",
            Self::Hiccup(_) => "hiccup",
            Self::Suspend(_) => "suspend",
            Self::NamesFail(_) => "dns",
            Self::Crash { is_warm: true, .. } => "crash_warm",
            Self::Crash { is_warm: false, .. } => "crash_cold",
        }
    }
}

/// Names of the faults that are not the exchange's.
pub const HOST_FAULTS: [&str; 10] = [
    "clock_step",
    "clock_slew",
    "clock_skew",
    "hiccup",
    "suspend",
    "dns",
    "crash_warm",
    "crash_cold",
    "model_flood",
    "model_gone",
];

/// Something that is to happen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Planned {
    Venue(Fault),
    Host(HostFault),
}

/// All that a seed decides.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) market: SyntheticConfig,
    /// A configuration file's text.
    pub(crate) config: String,
    pub(crate) joins_fills: bool,
    pub(crate) latency: Latency,
    pub(crate) skew: Nanos,
    pub(crate) slew_ppb: i64,
    /// By position of play.
    pub(crate) faults: VecDeque<(i64, Planned)>,
    pub(crate) end_ns: i64,
    /// A frame of a good score shows all that the venue sent so long ago.
    pub(crate) behind_max: Nanos,
    /// Whether frames are hashed, which is much of a run's time.
    pub(crate) is_hashed: bool,
    /// Whether the inputs are kept and folded once more, to the same frames.
    pub(crate) is_replayed: bool,
}

impl Plan {
    /// A run of that length with faults all along.
    pub(crate) fn of_seed(seed: u64, length: Nanos) -> Self {
        let mut random = Random::of(seed, 1);
        let mut market = SyntheticConfig::new(seed, &[]);
        market.symbols = SYMBOLS.iter().map(|name| symbol(name, &mut random)).collect();
        // At any point of a second, so that hours and days begin in some runs.
        let day_ms = 86_400_000;
        market.start_ms += random.below(300) * day_ms + random.below(day_ms);
        let joins_fills = random.percent(50);
        let latency = Latency {
            base_ns: random.between(200_000, 40_000_000),
            jitter_ns: random.between(1_000, 20_000_000),
        };
        let config = config(joins_fills, &mut random);
        let skew = Nanos(random.between(-2_000_000_000, 2_000_000_000));
        let slew_ppb = if random.percent(30) { random.between(-200_000, 200_000) } else { 0 };
        let (faults, end_ns) = faults(length, &mut random);
        Self {
            seed,
            market,
            config,
            joins_fills,
            latency,
            skew,
            slew_ppb,
            faults,
            end_ns,
            behind_max: BEHIND_MAX,
            is_hashed: true,
            is_replayed: seed.is_multiple_of(8),
        }
    }
}

fn symbol(name: &str, random: &mut Random) -> SyntheticSymbol {
    let level_count = usize::try_from(random.between(1_200, 4_000)).unwrap_or(2_000);
    let share = random.between(10, 100);
    let clusters = i64::from(Pace::VENUE.clusters_per_hour) * share / 100;
    let pace = Pace { clusters_per_hour: u32::try_from(clusters).unwrap_or(1), ..Pace::VENUE };
    SyntheticSymbol { level_count, pace, ..SyntheticSymbol::of(name) }
}

/// The addresses that requests are told apart by; nobody resolves them.
pub(crate) const ADDRESSES: &str =
    "websocket_url = \"ws://exchange\"\nrest_url = \"http://exchange\"\n";

/// Of [`SYMBOLS`], as shipped.
pub(crate) const SYMBOL_TABLES: &str = "\
[symbols.BTCUSDT]
tick_size = \"0.01\"
bucket_size = \"10\"
range = \"50\"
[symbols.ETHUSDT]
tick_size = \"0.01\"
bucket_size = \"1\"
range = \"5\"
";

fn config(joins_fills: bool, random: &mut Random) -> String {
    let stream = if joins_fills { "aggTrade" } else { "trade" };
    let separate = random.percent(40);
    let twin = random.percent(25);
    // Most runs see no renewal by age, some several.
    let renew_after_s = *random.pick(&[82_800, 82_800, 120, 60]);
    let resync_levels = *random.pick(&[500, 1_000]);
    let models = if random.percent(30) { "[models.echo]\n" } else { "" };
    format!(
        "[venue.binance]\n{ADDRESSES}trade_stream = \"{stream}\"\n\
         separate_depth_connection = {separate}\ntwin_connections = {twin}\n\
         renew_after_s = {renew_after_s}\nreconnect_min_s = 0.2\nreconnect_max_s = 2\n\
         connect_timeout_s = 3\nrequest_timeout_s = 5\nverify_tick_size = false\n\
         [symbol_defaults]\nticks_promised = 20_000\nresync_levels = {resync_levels}\n{models}{SYMBOL_TABLES}"
    )
}

/// Faults by their time, and when the last one is over.
fn faults(length: Nanos, random: &mut Random) -> (VecDeque<(i64, Planned)>, i64) {
    let mut faults = VecDeque::new();
    let end = length.0 - FAULTS_END_BEFORE.0;
    let pause = random.between(1_500, 9_000) * Nanos::MILLISECOND.0;
    let mut at_ns = FIRST_FAULT.0 + random.below(pause);
    while at_ns < end {
        let fault = fault(random);
        let is_outage =
            matches!(&fault, Planned::Venue(Fault::Catalogue { id, .. }) if id == "outage_10min");
        if is_outage && random.percent(80) {
            // Ten minutes in few runs, and then nothing else.
            faults.push_back((at_ns, Planned::Venue(Fault::Outage { for_s: 8.0 })));
        } else {
            faults.push_back((at_ns, fault));
            if is_outage {
                return (faults, at_ns + OUTAGE.0 + FAULTS_END_BEFORE.0);
            }
        }
        at_ns += random.between(pause / 4, 2 * pause);
    }
    (faults, length.0)
}

fn fault(random: &mut Random) -> Planned {
    let ms = |low, high, random: &mut Random| Nanos(random.between(low, high) * 1_000_000);
    if random.percent(80) {
        let drawn: Vec<_> = CATALOGUE.iter().filter(|entry| is_drawn(entry.id)).collect();
        let id = random.pick(&drawn).id.to_owned();
        let symbol = random.pick(&[SYMBOLS[0], SYMBOLS[1], "*"]).to_string();
        return Planned::Venue(Fault::Catalogue { id, symbol });
    }
    Planned::Host(match random.below(12) {
        0 | 1 => HostFault::ClockStep(ms(-2_000, 2_000, random)),
        2..=5 => HostFault::Hiccup(ms(20, 3_000, random)),
        6 => HostFault::Suspend(ms(3_000, 90_000, random)),
        7 | 8 => HostFault::NamesFail(ms(500, 4_000, random)),
        9 | 10 => HostFault::Crash { unsynced: ms(0, 1_000, random), is_warm: true },
        _ => HostFault::Crash { unsynced: ms(0, 1_000, random), is_warm: false },
    })
}

/// A tick size that changes ends a run by design, and names fail at the host.
fn is_drawn(id: &str) -> bool {
    !matches!(id, "tick_size_change" | "dns")
}
