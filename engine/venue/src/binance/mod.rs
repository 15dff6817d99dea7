//! Binance spot.
//!
//! Streams: <https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams>; REST:
//! <https://developers.binance.com/docs/binance-spot-api-docs/rest-api>. Text messages only; the SBE
//! streams need an API key.

mod decode;
mod hot;
mod message;
mod rest;
mod subscribe;

pub use decode::Decoder;
pub use rest::{
    ApiError, KLINES_LIMIT_MAX, RestRequest, TRADES_LIMIT_MAX, api_error, depth_request,
    depth_weight, exchange_info_request, is_any_halted_in_exchange_info, klines_request,
    server_time, tick_size_in_exchange_info, ticker_request, time_request, trades_request,
};
pub use subscribe::{ConnectionPlan, plan_connections, streams_of_symbol};

use cobring_types::Nanos;

/// Where the streams are; `wss://data-stream.binance.vision` mirrors the market data.
pub const STREAM_URL: &str = "wss://stream.binance.com:9443";
/// Where REST is; `https://data-api.binance.vision` mirrors the market data.
pub const REST_URL: &str = "https://api.binance.com";

/// Messages that a client may send a second on one connection; pongs and pings count.
pub const MAX_SENT_MESSAGES_PER_SECOND: u32 = 5;
/// Streams on one connection.
pub const MAX_STREAMS_PER_CONNECTION: usize = 1024;
/// Connection attempts from one address in [`CONNECTION_ATTEMPTS_WINDOW`].
pub const MAX_CONNECTION_ATTEMPTS: u32 = 300;
/// See [`MAX_CONNECTION_ATTEMPTS`].
pub const CONNECTION_ATTEMPTS_WINDOW: Nanos = Nanos(300 * Nanos::SECOND.0);
/// The venue ends each connection after this.
pub const MAX_CONNECTION_LIFE: Nanos = Nanos(24 * 3600 * Nanos::SECOND.0);
/// The venue sends a ping this often.
pub const PING_INTERVAL: Nanos = Nanos(20 * Nanos::SECOND.0);
/// The venue closes a connection that did not answer a ping for this long.
pub const PONG_DEADLINE: Nanos = Nanos(60 * Nanos::SECOND.0);

/// REST weight that one address may use a minute.
pub const MAX_WEIGHT_PER_MINUTE: u32 = 6000;
/// Header with the weight used in this minute.
pub const USED_WEIGHT_HEADER: &str = "x-mbx-used-weight-1m";
/// Header of replies 429 and 418: seconds until the next request.
pub const RETRY_AFTER_HEADER: &str = "retry-after";
/// Most levels a side in a depth snapshot.
pub const MAX_DEPTH_LIMIT: u32 = 5000;
/// REST weight of `exchangeInfo`.
pub const EXCHANGE_INFO_WEIGHT: u32 = 20;
/// REST weight of `time`.
pub const TIME_WEIGHT: u32 = 1;
/// Weight of `klines`, whatever the limit.
pub const KLINES_WEIGHT: u32 = 2;
/// Weight of `historicalTrades`, whatever the limit.
pub const TRADES_WEIGHT: u32 = 25;
/// Weight of `aggTrades`, whatever the limit.
pub const AGG_TRADES_WEIGHT: u32 = 4;
/// Weight of `ticker/24hr` of one symbol.
pub const TICKER_WEIGHT: u32 = 2;
