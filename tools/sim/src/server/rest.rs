//! `/api/v3`: weights, errors and bodies as the venue has them.

use std::net::IpAddr;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Request, StatusCode};
use tokio::sync::oneshot;

use super::weights::Verdict;
use super::{Answer, Shared, decode, json};
use crate::exchange::Exchange;
use crate::exchange_info;
use crate::market::Market;
use crate::messages;

const USED_WEIGHT: HeaderName = HeaderName::from_static("x-mbx-used-weight");
const USED_WEIGHT_1M: HeaderName = HeaderName::from_static("x-mbx-used-weight-1m");
const DEPTH_LIMIT_MAX: usize = 5_000;
const TRADES_LIMIT_MAX: usize = 1_000;

/// A request that was refused: HTTP status, the venue's code and sentence.
type Refusal = (StatusCode, i32, String);

/// What is asked for, its parameters read.
enum Query {
    Ping,
    Time,
    ExchangeInfo(Option<Vec<String>>),
    Depth { symbol: String, limit: usize },
    Trades { symbol: String, limit: usize },
    DayTicker(Option<Vec<String>>),
    Price(Option<Vec<String>>),
    BookTicker(Option<Vec<String>>),
}

pub(super) async fn answer(request: &Request<Incoming>, ip: IpAddr, shared: &Shared) -> Answer {
    let path = request.uri().path().to_owned();
    let params = decode(request.uri().query().unwrap_or_default());
    let query = read(&path, &params);
    let weight = query.as_ref().map_or(1, Query::weight);
    let verdict = shared.weights.lock().unwrap_or_else(PoisonError::into_inner).charge(
        ip,
        weight,
        Instant::now(),
    );
    let used = match verdict {
        Verdict::Allowed { used } => used,
        Verdict::OverLimit { used, retry_after_s } => {
            shared.counters.rest_429.fetch_add(1, Ordering::Relaxed);
            let limit = shared.limits.weight_per_minute;
            let msg = format!(
                "Too much request weight used; current limit is {limit} request weight per 1 MINUTE. \
                 Please use WebSocket Streams for live updates to avoid polling the API."
            );
            return with_used(
                refused(StatusCode::TOO_MANY_REQUESTS, -1003, &msg, Some(retry_after_s)),
                used,
            );
        }
        Verdict::Banned { retry_after_s } => {
            shared.counters.rest_418.fetch_add(1, Ordering::Relaxed);
            return refused(
                StatusCode::IM_A_TEAPOT,
                -1003,
                &banned(retry_after_s),
                Some(retry_after_s),
            );
        }
    };
    let asked = path.clone();
    let Some(fault) = shared.ask(move |exchange| exchange.take_rest_fault(&asked)).await else {
        return stopped();
    };
    if !fault.delay.is_zero() {
        tokio::time::sleep(fault.delay).await;
    }
    if let Some((status, retry_after_s)) = fault.status {
        return with_used(faulted(status, retry_after_s), used);
    }
    let answer = match query {
        Err((status, code, msg)) => refused(status, code, &msg, None),
        Ok(Query::Depth { symbol, limit }) => depth(symbol, limit, shared).await,
        Ok(query) => match shared.ask(move |exchange| look_up(&query, exchange)).await {
            Some(Ok(body)) => json(StatusCode::OK, body),
            Some(Err((status, code, msg))) => refused(status, code, &msg, None),
            None => stopped(),
        },
    };
    with_used(answer, used)
}

fn read(path: &str, params: &[(String, String)]) -> Result<Query, Refusal> {
    let limit = |default, max| read_limit(params, default, max);
    Ok(match path {
        "/api/v3/ping" => Query::Ping,
        "/api/v3/time" => Query::Time,
        "/api/v3/exchangeInfo" => Query::ExchangeInfo(read_symbols(params)?),
        "/api/v3/depth" => {
            Query::Depth { symbol: read_symbol(params)?, limit: limit(100, DEPTH_LIMIT_MAX)? }
        }
        "/api/v3/trades" => {
            Query::Trades { symbol: read_symbol(params)?, limit: limit(500, TRADES_LIMIT_MAX)? }
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
    fn weight(&self) -> u32 {
        match self {
            Self::Ping | Self::Time => 1,
            Self::ExchangeInfo(_) => 20,
            Self::Depth { limit: 0..=100, .. } => 5,
            Self::Depth { limit: 101..=500, .. } => 25,
            Self::Depth { limit: 501..=1_000, .. } => 50,
            Self::Depth { .. } => 250,
            Self::Trades { .. } => 25,
            Self::DayTicker(None) => 80,
            Self::Price(None) | Self::BookTicker(None) => 4,
            Self::DayTicker(Some(_)) | Self::Price(Some(_)) | Self::BookTicker(Some(_)) => 2,
        }
    }
}

fn find<'a>(params: &'a [(String, String)], wanted: &str) -> Option<&'a str> {
    params.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
}

fn bad(code: i32, msg: impl Into<String>) -> Refusal {
    (StatusCode::BAD_REQUEST, code, msg.into())
}

fn read_symbol(params: &[(String, String)]) -> Result<String, Refusal> {
    match find(params, "symbol") {
        None | Some("") => Err(bad(
            -1102,
            "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.",
        )),
        Some(symbol) => check_symbol(symbol),
    }
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
fn read_symbols(params: &[(String, String)]) -> Result<Option<Vec<String>>, Refusal> {
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

fn read_limit(params: &[(String, String)], default: usize, max: usize) -> Result<usize, Refusal> {
    let Some(text) = find(params, "limit") else { return Ok(default) };
    if text.is_empty() || text.len() > 20 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        let msg = "Illegal characters found in parameter 'limit'; legal range is '^[0-9]{1,20}$'.";
        return Err(bad(-1100, msg));
    }
    match text.parse::<usize>() {
        Ok(0) => Err(bad(
            -1100,
            "Illegal characters found in parameter 'limit'; legal range is '1-5000'.",
        )),
        Ok(limit) => Ok(limit.min(max)),
        Err(_) => Ok(max),
    }
}

/// Everything that is answered at once.
fn look_up(query: &Query, exchange: &mut Exchange) -> Result<String, Refusal> {
    let now_ms = exchange.venue_ms();
    match query {
        Query::Ping => Ok("{}".to_owned()),
        Query::Time => Ok(format!(r#"{{"serverTime":{now_ms}}}"#)),
        Query::ExchangeInfo(names) => {
            let markets = select(names.as_deref(), exchange)?;
            Ok(exchange_info::json(now_ms, markets.iter().map(|market| &market.spec)))
        }
        // Asked for by `depth`, which may have to wait.
        Query::Depth { .. } => Ok(String::new()),
        Query::Trades { symbol, limit } => {
            let markets = select(Some(std::slice::from_ref(symbol)), exchange)?;
            let trades: Vec<_> = markets
                .iter()
                .flat_map(|market| market.recent_trades(*limit))
                .map(messages::rest_trade)
                .collect();
            Ok(format!("[{}]", trades.join(",")))
        }
        Query::DayTicker(names) => each(names.as_deref(), exchange, |market| {
            messages::rest_day_ticker(
                &market.spec.name,
                now_ms,
                market.day(),
                market.book().unwrap_or(&NO_BOOK),
            )
        }),
        Query::Price(names) => each(names.as_deref(), exchange, |market| {
            format!(r#"{{"symbol":"{}","price":"{}"}}"#, market.spec.name, market.day().last)
        }),
        Query::BookTicker(names) => each(names.as_deref(), exchange, |market| {
            messages::rest_book_ticker(&market.spec.name, market.book().unwrap_or(&NO_BOOK))
        }),
    }
}

static NO_BOOK: crate::book::Book = crate::book::Book::EMPTY;

/// One object for one `symbol`, a list otherwise.
fn each(
    names: Option<&[String]>,
    exchange: &Exchange,
    element: impl Fn(&Market) -> String,
) -> Result<String, Refusal> {
    let markets: Vec<String> = select(names, exchange)?.into_iter().map(element).collect();
    match (names, markets.as_slice()) {
        (Some([_]), [only]) => Ok(only.clone()),
        _ => Ok(format!("[{}]", markets.join(","))),
    }
}

fn select<'a>(
    names: Option<&[String]>,
    exchange: &'a Exchange,
) -> Result<Vec<&'a Market>, Refusal> {
    let Some(names) = names else { return Ok(exchange.markets().iter().collect()) };
    let find = |name: &String| exchange.symbol_index(name).map(|index| &exchange.markets()[index]);
    names.iter().map(|name| find(name).ok_or_else(invalid_symbol)).collect()
}

fn invalid_symbol() -> Refusal {
    bad(-1121, "Invalid symbol.")
}

/// Waits until the book is known.
async fn depth(symbol: String, limit: usize, shared: &Shared) -> Answer {
    let (reply, book) = oneshot::channel();
    let asked = shared
        .ask(move |exchange| {
            let index = exchange.symbol_index(&symbol)?;
            exchange.depth(index, limit, reply);
            Some(())
        })
        .await;
    if asked == Some(None) {
        let (status, code, msg) = invalid_symbol();
        return refused(status, code, &msg, None);
    }
    match tokio::time::timeout(shared.limits.depth_wait, book).await {
        Ok(Ok(body)) => json(StatusCode::OK, body),
        Ok(Err(_)) => stopped(),
        Err(_) => refused(
            StatusCode::GATEWAY_TIMEOUT,
            -1007,
            "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
            None,
        ),
    }
}

fn refused(status: StatusCode, code: i32, msg: &str, retry_after_s: Option<u64>) -> Answer {
    let mut answer = json(status, messages::rest_error(code, msg));
    if let Some(seconds) = retry_after_s {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

/// A fault's answer: the web firewall and broken backends answer in HTML.
fn faulted(status: u16, retry_after_s: Option<u64>) -> Answer {
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match status {
        429 => refused(code, -1003, "Too many requests.", retry_after_s),
        418 => refused(code, -1003, &banned(retry_after_s.unwrap_or(0)), retry_after_s),
        _ => {
            let reason = code.canonical_reason().unwrap_or("Error");
            let mut answer =
                json(code, format!("<html><head><title>{status} {reason}</title></head></html>"));
            answer
                .headers_mut()
                .insert(hyper::header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
            if let Some(seconds) = retry_after_s {
                answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
            answer
        }
    }
}

fn banned(retry_after_s: u64) -> String {
    let since =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let until = since.as_millis() + u128::from(retry_after_s) * 1_000;
    format!(
        "Way too much request weight used; IP banned until {until}. \
         Please use WebSocket Streams for live updates to avoid bans."
    )
}

fn stopped() -> Answer {
    refused(
        StatusCode::SERVICE_UNAVAILABLE,
        -1001,
        "Internal error; unable to process your request.",
        None,
    )
}

fn with_used(mut answer: Answer, used: u32) -> Answer {
    for name in [USED_WEIGHT, USED_WEIGHT_1M] {
        answer.headers_mut().insert(name, HeaderValue::from(used));
    }
    answer
}
