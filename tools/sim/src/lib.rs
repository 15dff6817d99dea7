//! An exchange on this machine: real HTTP/1.1 and WebSocket servers, over TCP or TLS, that speak Binance spot.
//!
//! Guarantees: any Binance spot client can use it by base URL alone. What clients see has one order and one clock,
//! the venue's; every number is exact. It uses no crate of the engine, so it shares none of its mistakes.
//! Does not: take orders, know users, or hold back a message for a slow client (it is disconnected and counted).
//!
//! ```no_run
//! use cobring_sim::{SimConfig, Source, SyntheticConfig, start};
//!
//! let market = SyntheticConfig::new(42, &["ETHUSDT", "BTCUSDT"]);
//! let sim = start(&SimConfig::new(Source::Synthetic(market)))?;
//! println!("{}/stream?streams=ethusdt@depth@100ms", sim.ws_url());
//! println!("{}/api/v3/depth?symbol=ETHUSDT", sim.rest_url());
//! # Ok::<(), cobring_sim::SimError>(())
//! ```
//!
//! # What it serves, on one port
//!
//! - WebSocket `/stream?streams=a/b`, `/ws/a/b`, `/ws`; `SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`,
//!   `SET_PROPERTY`, `GET_PROPERTY`; pings, the deadline of their pongs, limits and life as in [`Limits`].
//! - Streams of each symbol: `@depth@100ms`, `@depth`, `@depth{5,10,20}[@100ms]`, `@trade`, `@aggTrade`,
//!   `@bookTicker`, `@ticker`, `@miniTicker`, `@kline_<interval>` from `1s` to `1M`, and any other that a recording
//!   holds. A stream without a market stays silent. `timeUnit=MICROSECOND` as in REST.
//! - REST `/api/v3/`: `ping`, `time`, `exchangeInfo`, `depth`, `trades`, `historicalTrades`, `aggTrades`, `klines`,
//!   `uiKlines`, `ticker/24hr`, `ticker/price`, `ticker/bookTicker`, with weights, 429 and 418; `X-MBX-TIME-UNIT`.
//!   Trades are the last 50,000 played.
//! - Kline archives, `/data/spot/{monthly,daily}/klines/…` with `.CHECKSUM`, of periods that have ended.
//! - For tests in other processes, without weight and never faulty, in outages too: `GET /sim/state` ([`SimStats`]),
//!   `GET /sim/truth?symbol=ETHUSDT` ([`Truth`]; with `&levels=10` only those and no bars), `GET /sim/klines?symbol=ETHUSDT&interval=1m` (a list of [`Bar`], the
//!   other parameters as in REST, `limit` up to 100,000), `POST /sim/fault` (a [`Fault`] as JSON), `POST /sim/pause`,
//!   `POST /sim/resume`.
//!
//! # Without sockets
//!
//! [`VirtualExchange`] is the same exchange for somebody who owns the time, as a simulation of a whole client does:
//! hundreds of times faster than real time, and to the byte the same each time.
//!
//! # The past
//!
//! Each symbol has been listed for [`SimConfig::listed_days`] when play begins, and has klines of all that time
//! ([`KlineHistory`]): made from seed and symbol, ending at the market's first price, the same trades summed in every
//! interval. A kline in which play began is the sum of both parts. [`SimHandle::klines`] and
//! [`SimHandle::write_archive`] give them to tests; [`KlineHistory::write_archive`] needs no running simulator:
//!
//! ```no_run
//! use cobring_sim::{Fixed, Interval, KlineHistory, SymbolSpec};
//!
//! let spec = SymbolSpec::of("ETHUSDT");
//! let end_px = Fixed::parse("2700").ok_or("a decimal")?;
//! let past = KlineHistory::new(42, &spec, end_px, 1_767_225_600_000, 60);
//! past.write_archive("ETHUSDT-1s-2025-11.zip".as_ref(), Interval::Second1, "2025-11".parse()?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Its parts
//!
//! A [`MarketSource`] gives events; the exchange thread plays them into markets, which make messages; the broadcast
//! queues these for clients, through the faults; tokio tasks carry them over the sockets, or [`VirtualExchange`] to its
//! caller.

#![forbid(unsafe_code)]

mod archive_request;
mod archive_rows;
mod book;
mod broadcast;
mod catalogue;
mod clock;
mod config;
mod connection;
mod decimal;
mod error;
mod exchange;
mod exchange_info;
mod faults;
mod handle;
mod kline;
mod line_control;
mod market;
mod messages;
mod protocol;
mod random;
mod random_faults;
mod rest;
mod rest_faults;
mod rewrite;
mod server;
mod source;
mod spell;
mod statistics;
mod stats;
mod stream_faults;
mod tape;
mod time_unit;
mod tls;
mod truth;
mod virtual_exchange;
mod virtual_line;
mod wall_clock;

pub use book::{Book, Level, Side};
pub use catalogue::{CATALOGUE, CatalogueEntry, Group};
pub use config::{Limits, SimConfig, Source, Speed, TlsConfig};
pub use decimal::Fixed;
pub use error::SimError;
pub use faults::{Fault, FaultSchedule, RandomFaults, Rewrite, ScheduledFault};
pub use handle::{SimHandle, start};
pub use kline::{ArchivePeriod, Interval, KlineHistory, KlineQuery};
pub use source::{
    Body, BookTicker, Burst, DepthUpdate, MarketEvent, MarketSource, Opening, Pace, Recorded,
    Recording, SymbolSpec, SyntheticConfig, SyntheticMarket, SyntheticSymbol, Trade,
};
pub use statistics::Bar;
pub use stats::{ClientState, Play, SimStats};
pub use truth::Truth;
pub use virtual_exchange::{Connect, Rest, RestAnswer, VirtualExchange};
pub use virtual_line::Delivered;
