//! What a REST request asks for: its parameters read, refused as the venue refuses, and weighed.

use std::str::FromStr;

use hyper::StatusCode;

use crate::kline::{Interval, KlineQuery};
use crate::time_unit::{TimeUnit, first_ms, last_ms};

const DEPTH_LIMIT_MAX: usize = 5_000;
/// Of trades, aggregate trades and klines.
const ROWS_LIMIT_MAX: usize = 1_000;
const ROWS_LIMIT_DEFAULT: usize = 500;

/// A request that was refused: HTTP status, the venue's code and sentence.
pub(crate) type Refusal = (StatusCode, i32, String);

/// Names and values as they came, percent-decoded.
pub(crate) type Params = [(String, String)];

/// What is asked for.
pub(crate) enum Query {
    Ping,
    Time,
    ExchangeInfo(Option<Vec<String>>),
    Depth { symbol: String, limit: usize },
    Trades { symbol: String, from_id: Option<u64>, limit: usize },
    AggTrades { symbol: String, from_id: Option<u64>, range: KlineQuery },
    Klines { symbol: String, interval: Interval, query: KlineQuery },
    DayTicker(Option<Vec<String>>),
    Price(Option<Vec<String>>),
    BookTicker(Option<Vec<String>>),
}

pub(super) fn read(path: &str, params: &Params) -> Result<Query, Refusal> {
    let limit = |default, max| read_limit(params, default, max);
    Ok(match path {
        "/api/v3/ping" => Query::Ping,
        "/api/v3/time" => Query::Time,
        "/api/v3/exchangeInfo" => Query::ExchangeInfo(read_symbols(params)?),
        "/api/v3/depth" => {
            Query::Depth { symbol: read_symbol(params)?, limit: limit(100, DEPTH_LIMIT_MAX)? }
        }
        "/api/v3/trades" => Query::Trades {
            symbol: read_symbol(params)?,
            from_id: None,
            limit: limit(ROWS_LIMIT_DEFAULT, ROWS_LIMIT_MAX)?,
        },
        "/api/v3/historicalTrades" => Query::Trades {
            symbol: read_symbol(params)?,
            from_id: read_number(params, "fromId")?,
            limit: limit(ROWS_LIMIT_DEFAULT, ROWS_LIMIT_MAX)?,
        },
        "/api/v3/aggTrades" => {
            let symbol = read_symbol(params)?;
            let range = read_range(params, ROWS_LIMIT_DEFAULT, ROWS_LIMIT_MAX)?;
            let from_id = read_number(params, "fromId")?;
            if from_id.is_some() && (range.start_ms.is_some() || range.end_ms.is_some()) {
                return Err(bad(-1128, "Combination of optional parameters invalid."));
            }
            Query::AggTrades { symbol, from_id, range }
        }
        "/api/v3/klines" | "/api/v3/uiKlines" => {
            if find(params, "timeZone").is_some_and(|zone| !matches!(zone, "0" | "00:00")) {
                return Err(bad(
                    -1100,
                    "Illegal characters found in parameter 'timeZone'; this simulator knows '0' alone.",
                ));
            }
            Query::Klines {
                symbol: read_symbol(params)?,
                interval: read_interval(params)?,
                query: read_range(params, ROWS_LIMIT_DEFAULT, ROWS_LIMIT_MAX)?,
            }
        }
        "/api/v3/ticker/24hr" => Query::DayTicker(read_symbols(params)?),
        "/api/v3/ticker/price" => Query::Price(read_symbols(params)?),
        "/api/v3/ticker/bookTicker" => Query::BookTicker(read_symbols(params)?),
        _ => {
            return Err((
                StatusCode::NOT_FOUND,
                -1000,
                format!("Path {path}, Method GET is invalid"),
            ));
        }
    })
}

impl Query {
    /// The venue's weights of 2026.
    pub(crate) fn weight(&self) -> u32 {
        match self {
            Self::Ping | Self::Time => 1,
            Self::ExchangeInfo(_) => 20,
            Self::Depth { limit: 0..=100, .. } => 5,
            Self::Depth { limit: 101..=500, .. } => 25,
            Self::Depth { limit: 501..=1_000, .. } => 50,
            Self::Depth { .. } => 250,
            Self::Trades { .. } => 25,
            Self::AggTrades { .. } => 4,
            Self::Klines { .. } => 2,
            Self::DayTicker(None) => 80,
            Self::Price(None) | Self::BookTicker(None) => 4,
            Self::DayTicker(Some(_)) | Self::Price(Some(_)) | Self::BookTicker(Some(_)) => 2,
        }
    }
}

/// Names and values of a query or path, percent-decoded.
pub(crate) fn decode(text: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

pub(crate) fn find<'a>(params: &'a Params, wanted: &str) -> Option<&'a str> {
    params.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
}

pub(crate) fn bad(code: i32, msg: impl Into<String>) -> Refusal {
    (StatusCode::BAD_REQUEST, code, msg.into())
}

pub(crate) fn read_symbol(params: &Params) -> Result<String, Refusal> {
    mandatory(params, "symbol").and_then(check_symbol)
}

pub(crate) fn read_interval(params: &Params) -> Result<Interval, Refusal> {
    mandatory(params, "interval")?.parse().map_err(|_| bad(-1120, "Invalid interval."))
}

fn mandatory<'a>(params: &'a Params, name: &str) -> Result<&'a str, Refusal> {
    find(params, name).filter(|value| !value.is_empty()).ok_or_else(|| {
        bad(
            -1102,
            format!("Mandatory parameter '{name}' was not sent, was empty/null, or malformed."),
        )
    })
}

/// `startTime`, `endTime` in ms or µs, and `limit`.
pub(crate) fn read_range(
    params: &Params,
    limit_default: usize,
    limit_max: usize,
) -> Result<KlineQuery, Refusal> {
    let time = |name| read_number::<i64>(params, name);
    Ok(KlineQuery {
        start_ms: time("startTime")?.map(first_ms),
        end_ms: time("endTime")?.map(last_ms),
        limit: read_limit(params, limit_default, limit_max)?,
    })
}

/// From the header `X-MBX-TIME-UNIT`, or else the parameter.
pub(super) fn read_unit(header: Option<&str>, params: &Params) -> Result<TimeUnit, Refusal> {
    let Some(text) = header.or_else(|| find(params, "timeUnit")) else {
        return Ok(TimeUnit::Millisecond);
    };
    let msg = "Illegal characters found in parameter 'timeUnit'; legal range is 'MILLISECOND', 'MICROSECOND'.";
    TimeUnit::parse(text).ok_or_else(|| bad(-1100, msg))
}

fn check_symbol(symbol: &str) -> Result<String, Refusal> {
    if symbol.bytes().any(|byte| byte.is_ascii_lowercase()) || symbol.len() > 50 {
        return Err(bad(
            -1100,
            "Illegal characters found in parameter 'symbol'; legal range is '^[\\w\\-._&&[^a-z]]{1,50}$'.",
        ));
    }
    Ok(symbol.to_owned())
}

/// `symbol=A`, `symbols=["A","B"]` or neither.
fn read_symbols(params: &Params) -> Result<Option<Vec<String>>, Refusal> {
    match (find(params, "symbol"), find(params, "symbols")) {
        (Some(_), Some(_)) => Err(bad(-1101, "Too many parameters; expected '0' or '1'.")),
        (Some(symbol), None) => Ok(Some(vec![check_symbol(symbol)?])),
        (None, Some(list)) => {
            let names: Vec<String> = serde_json::from_str(list)
                .map_err(|_| bad(-1100, "Illegal characters found in parameter 'symbols'."))?;
            names.iter().map(|name| check_symbol(name)).collect::<Result<_, _>>().map(Some)
        }
        (None, None) => Ok(None),
    }
}

fn read_limit(params: &Params, default: usize, max: usize) -> Result<usize, Refusal> {
    match read_number::<usize>(params, "limit")? {
        None => Ok(default),
        Some(0) => Err(bad(
            -1100,
            format!("Illegal characters found in parameter 'limit'; legal range is '1-{max}'."),
        )),
        Some(limit) => Ok(limit.min(max)),
    }
}

/// Twenty digits are more than fit: the largest number stands for them, as it means the same.
fn read_number<T: FromStr + Largest>(params: &Params, name: &str) -> Result<Option<T>, Refusal> {
    let Some(text) = find(params, name) else { return Ok(None) };
    if text.is_empty() || text.len() > 20 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad(
            -1100,
            format!(
                "Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'."
            ),
        ));
    }
    Ok(Some(text.parse().unwrap_or(T::LARGEST)))
}

trait Largest {
    const LARGEST: Self;
}

impl Largest for i64 {
    const LARGEST: Self = Self::MAX;
}

impl Largest for u64 {
    const LARGEST: Self = Self::MAX;
}

impl Largest for usize {
    const LARGEST: Self = Self::MAX;
}
