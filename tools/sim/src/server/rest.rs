//! `/api/v3`: weights, errors and bodies as the venue has them.

use std::net::IpAddr;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Request, StatusCode};
use tokio::sync::oneshot;

use super::query::{self, Query, Refusal, bad};
use super::weights::Verdict;
use super::{Answer, Shared, decode, json};
use crate::decimal::Fixed;
use crate::exchange::Exchange;
use crate::exchange_info::{self, Listed};
use crate::kline::{Interval, KlineQuery, rest_row};
use crate::market::Market;
use crate::messages;
use crate::time_unit::TimeUnit;

const USED_WEIGHT: HeaderName = HeaderName::from_static("x-mbx-used-weight");
const USED_WEIGHT_1M: HeaderName = HeaderName::from_static("x-mbx-used-weight-1m");

pub(super) async fn answer(request: &Request<Incoming>, ip: IpAddr, shared: &Shared) -> Answer {
    let path = request.uri().path().to_owned();
    let params = decode(request.uri().query().unwrap_or_default());
    let header = request.headers().get("x-mbx-time-unit").and_then(|value| value.to_str().ok());
    let query =
        query::read_unit(header, &params).and_then(|unit| Ok((query::read(&path, &params)?, unit)));
    let weight = query.as_ref().map_or(1, |(query, _)| query.weight());
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
    if let Some(instead) = meet_fault(&path, shared).await {
        return with_used(instead, used);
    }
    let answer = match query {
        Err((status, code, msg)) => refused(status, code, &msg, None),
        Ok((Query::Depth { symbol, limit }, _)) => depth(symbol, limit, shared).await,
        Ok((Query::Klines { symbol, interval, query }, unit)) => {
            klines(symbol, interval, query, unit, shared).await
        }
        Ok((query, unit)) => {
            match shared.ask(move |exchange| look_up(&query, unit, exchange)).await {
                Some(Ok(body)) => json(StatusCode::OK, body),
                Some(Err((status, code, msg))) => refused(status, code, &msg, None),
                None => stopped(),
            }
        }
    };
    with_used(answer, used)
}

/// Waits as long as a fault lets a request of `path` wait, and gives what it has instead of its answer.
pub(super) async fn meet_fault(path: &str, shared: &Shared) -> Option<Answer> {
    let asked = path.to_owned();
    let Some(fault) = shared.ask(move |exchange| exchange.take_rest_fault(&asked)).await else {
        return Some(stopped());
    };
    if !fault.delay.is_zero() {
        tokio::time::sleep(fault.delay).await;
    }
    fault.status.map(|(status, retry_after_s)| faulted(status, retry_after_s))
}

/// Everything that is answered at once.
fn look_up(query: &Query, unit: TimeUnit, exchange: &mut Exchange) -> Result<String, Refusal> {
    let now_ms = exchange.venue_ms();
    let now = unit.of(now_ms);
    match query {
        Query::Ping => Ok("{}".to_owned()),
        Query::Time => Ok(format!(r#"{{"serverTime":{now}}}"#)),
        Query::ExchangeInfo(names) => {
            let at_ns = exchange.position_ns();
            let symbols = select(names.as_deref(), exchange)?.into_iter().map(|market| Listed {
                spec: &market.spec,
                tick: market.listed_tick,
                is_halted: market.is_halted(at_ns),
            });
            Ok(exchange_info::json(now, symbols))
        }
        // Asked for by `depth`, which may have to wait, and `klines`, which writes many rows.
        Query::Depth { .. } | Query::Klines { .. } => Ok(String::new()),
        Query::Trades { symbol, from_id, limit } => {
            let trades = one(symbol, exchange)?.tape().trades(*from_id, *limit);
            Ok(list(trades.iter().map(|trade| messages::rest_trade(trade, unit))))
        }
        Query::AggTrades { symbol, from_id, range: KlineQuery { start_ms, end_ms, limit } } => {
            let aggs = one(symbol, exchange)?.tape().aggs(*from_id, *start_ms, *end_ms, *limit);
            Ok(list(aggs.iter().map(|agg| messages::rest_agg_trade(agg, unit))))
        }
        Query::DayTicker(names) => each(names.as_deref(), exchange, |market| {
            let (name, book) = (&market.spec.name, market.book().unwrap_or(&NO_BOOK));
            messages::rest_day_ticker(name, now_ms, &market.day(now_ms), book, unit)
        }),
        Query::Price(names) => each(names.as_deref(), exchange, |market| {
            let last = Fixed(market.day(now_ms).sums.close);
            format!(r#"{{"symbol":"{}","price":"{last}"}}"#, market.spec.name)
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

fn one<'a>(symbol: &str, exchange: &'a Exchange) -> Result<&'a Market, Refusal> {
    exchange.symbol_index(symbol).map(|index| &exchange.markets()[index]).ok_or_else(invalid_symbol)
}

fn list(elements: impl Iterator<Item = String>) -> String {
    format!("[{}]", elements.collect::<Vec<_>>().join(","))
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

/// The rows are written here, so that the market need not wait for it.
async fn klines(
    symbol: String,
    interval: Interval,
    query: KlineQuery,
    unit: TimeUnit,
    shared: &Shared,
) -> Answer {
    match shared.ask(move |exchange| exchange.klines(&symbol, interval, &query)).await {
        Some(Some(klines)) => {
            json(StatusCode::OK, list(klines.iter().map(|kline| rest_row(kline, unit))))
        }
        Some(None) => {
            let (status, code, msg) = invalid_symbol();
            refused(status, code, &msg, None)
        }
        None => stopped(),
    }
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
