//! `/api/v3` over HTTP: headers, and the waits that faults and books in the making bring.

use std::net::IpAddr;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use tokio::sync::oneshot;

use super::{Answer, Shared, json, unix_ms};
use crate::kline::{Interval, KlineQuery};
use crate::rest::{self, Query, Reply, Verdict};
use crate::time_unit::TimeUnit;

const USED_WEIGHT: HeaderName = HeaderName::from_static("x-mbx-used-weight");
const USED_WEIGHT_1M: HeaderName = HeaderName::from_static("x-mbx-used-weight-1m");

pub(super) async fn answer(request: &Request<Incoming>, ip: IpAddr, shared: &Shared) -> Answer {
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    let unit = request.headers().get("x-mbx-time-unit").and_then(|value| value.to_str().ok());
    let asked = rest::Request::read(path, query, unit);
    let verdict = shared.weights.lock().unwrap_or_else(PoisonError::into_inner).charge(
        ip,
        asked.weight(),
        shared.clock.now(),
    );
    let used = match verdict {
        Verdict::Allowed { used } => used,
        Verdict::OverLimit { used, retry_after_s } => {
            shared.counters.rest_429.fetch_add(1, Ordering::Relaxed);
            let reply = Reply::over_limit(shared.limits.weight_per_minute, retry_after_s);
            return with_used(written(reply), used);
        }
        Verdict::Banned { retry_after_s } => {
            shared.counters.rest_418.fetch_add(1, Ordering::Relaxed);
            return written(Reply::banned(retry_after_s, unix_ms()));
        }
    };
    if let Some(instead) = meet_fault(path, shared).await {
        return with_used(instead, used);
    }
    let reply = match asked.query {
        Err(refusal) => Reply::refused(refusal),
        Ok((Query::Depth { symbol, limit }, _)) => depth(symbol, limit, shared).await,
        Ok((Query::Klines { symbol, interval, query }, unit)) => {
            klines(symbol, interval, query, unit, shared).await
        }
        Ok((query, unit)) => {
            match shared.ask(move |exchange| rest::look_up(&query, unit, exchange)).await {
                Some(Ok(body)) => Reply::ok(body),
                Some(Err(refusal)) => Reply::refused(refusal),
                None => Reply::stopped(),
            }
        }
    };
    with_used(written(reply), used)
}

/// Waits as long as a fault lets a request of `path` wait, and gives what it has instead of its answer.
pub(super) async fn meet_fault(path: &str, shared: &Shared) -> Option<Answer> {
    let asked = path.to_owned();
    let Some(fault) = shared.ask(move |exchange| exchange.take_rest_fault(&asked)).await else {
        return Some(written(Reply::stopped()));
    };
    if !fault.delay.is_zero() {
        tokio::time::sleep(fault.delay).await;
    }
    let reply = |(status, retry_after_s)| Reply::faulted(status, retry_after_s, unix_ms());
    fault.status.map(reply).map(written)
}

/// The rows are written here, so that the market need not wait for it.
async fn klines(
    symbol: String,
    interval: Interval,
    query: KlineQuery,
    unit: TimeUnit,
    shared: &Shared,
) -> Reply {
    match shared.ask(move |exchange| exchange.klines(&symbol, interval, &query)).await {
        Some(Some(klines)) => Reply::ok(rest::kline_rows(&klines, unit)),
        Some(None) => Reply::refused(rest::invalid_symbol()),
        None => Reply::stopped(),
    }
}

/// Waits until the book is known.
async fn depth(symbol: String, limit: usize, shared: &Shared) -> Reply {
    let (reply, book) = oneshot::channel();
    let asked = shared
        .ask(move |exchange| {
            let index = exchange.symbol_index(&symbol)?;
            exchange.depth(index, limit, reply);
            Some(())
        })
        .await;
    if asked == Some(None) {
        return Reply::refused(rest::invalid_symbol());
    }
    match tokio::time::timeout(shared.limits.depth_wait, book).await {
        Ok(Ok(body)) => Reply::ok(body),
        Ok(Err(_)) => Reply::stopped(),
        Err(_) => Reply::timeout(),
    }
}

/// As HTTP.
pub(super) fn written(reply: Reply) -> Answer {
    let mut answer = json(reply.status, reply.body);
    if reply.is_html {
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    }
    if let Some(seconds) = reply.retry_after_s {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

fn with_used(mut answer: Answer, used: u32) -> Answer {
    for name in [USED_WEIGHT, USED_WEIGHT_1M] {
        answer.headers_mut().insert(name, HeaderValue::from(used));
    }
    answer
}
