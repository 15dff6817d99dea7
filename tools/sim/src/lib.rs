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
//!   `@bookTicker`, `@ticker`, `@miniTicker`, and any other that a recording holds. A stream without a market stays silent.
//! - REST `/api/v3/`: `ping`, `time`, `exchangeInfo`, `depth`, `trades`, `ticker/24hr`, `ticker/price`,
//!   `ticker/bookTicker`, with weights, 429 and 418.
//! - For tests in other processes, without weight and never faulty: `GET /sim/state` ([`SimStats`]),
//!   `GET /sim/truth?symbol=ETHUSDT` ([`Truth`]), `POST /sim/fault` (a [`Fault`] as JSON), `POST /sim/pause`,
//!   `POST /sim/resume`.
//!
//! # Its parts
//!
//! A [`MarketSource`] gives events; the exchange thread plays them into markets, which make messages; the broadcast
//! queues these for clients, through the faults; tokio tasks carry them over the sockets.

#![forbid(unsafe_code)]

mod book;
mod broadcast;
mod clock;
mod config;
mod decimal;
mod error;
mod exchange;
mod exchange_info;
mod faults;
mod handle;
mod kline;
mod market;
mod messages;
mod protocol;
mod random;
mod rest_faults;
mod server;
mod source;
mod statistics;
mod stats;
mod time_unit;
mod tls;
mod truth;

pub use book::{Book, Level, Side};
pub use config::{Limits, SimConfig, Source, Speed, TlsConfig};
pub use decimal::Fixed;
pub use error::SimError;
pub use faults::{Fault, FaultSchedule, ScheduledFault};
pub use handle::{SimHandle, start};
pub use kline::{ArchivePeriod, Interval, KlineHistory, KlineQuery};
pub use source::{
    Body, BookTicker, DepthUpdate, MarketEvent, MarketSource, Recorded, Recording, SymbolSpec,
    SyntheticConfig, SyntheticMarket, SyntheticSymbol, Trade,
};
pub use statistics::Bar;
pub use stats::{ClientState, Play, SimStats};
pub use truth::Truth;
