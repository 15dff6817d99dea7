//! `/api/v3` as the venue has it: what a request asks for and weighs, and the answer from the exchange as it stands.
//! Does not: know HTTP connections, wait, or read a clock.

mod query;
mod weights;

use hyper::StatusCode;

pub(crate) use query::{
    Params, Query, Refusal, bad, decode, find, read_interval, read_range, read_symbol,
};
pub(crate) use weights::{Verdict, Weights};

use crate::book::Book;
use crate::decimal::Fixed;
use crate::exchange::Exchange;
use crate::exchange_info::{self, Listed};
use crate::kline::{Kline, KlineQuery, rest_row};
use crate::market::Market;
use crate::messages;
use crate::time_unit::TimeUnit;

/// One request, read.
pub(crate) struct Request {
    /// The unit is that of times in the answer.
    pub(crate) query: Result<(Query, TimeUnit), Refusal>,
}

impl Request {
    /// `unit` is the header `X-MBX-TIME-UNIT`.
    pub(crate) fn read(path: &str, query: &str, unit: Option<&str>) -> Self {
        let params = decode(query);
        let query = query::read_unit(unit, &params)
            .and_then(|unit| Ok((query::read(path, &params)?, unit)));
        Self { query }
    }

    pub(crate) fn weight(&self) -> u32 {
        self.query.as_ref().map_or(1, |(query, _)| query.weight())
    }
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    /// The `Retry-After` header.
    pub(crate) retry_after_s: Option<u64>,
    pub(crate) is_html: bool,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn ok(body: String) -> Self {
        Self { status: StatusCode::OK, retry_after_s: None, is_html: false, body }
    }

    pub(crate) fn refused((status, code, msg): Refusal) -> Self {
        let body = messages::rest_error(code, &msg);
        Self { status, retry_after_s: None, is_html: false, body }
    }

    fn retry_after(self, retry_after_s: Option<u64>) -> Self {
        Self { retry_after_s, ..self }
    }

    /// 429.
    pub(crate) fn over_limit(limit: u32, retry_after_s: u64) -> Self {
        let msg = format!(
            "Too much request weight used; current limit is {limit} request weight per 1 MINUTE. \
             Please use WebSocket Streams for live updates to avoid polling the API."
        );
        Self::refused((StatusCode::TOO_MANY_REQUESTS, -1003, msg)).retry_after(Some(retry_after_s))
    }

    /// 418, at that UTC time.
    pub(crate) fn banned(retry_after_s: u64, utc_ms: u64) -> Self {
        let until = utc_ms + retry_after_s * 1_000;
        let msg = format!(
            "Way too much request weight used; IP banned until {until}. \
             Please use WebSocket Streams for live updates to avoid bans."
        );
        Self::refused((StatusCode::IM_A_TEAPOT, -1003, msg)).retry_after(Some(retry_after_s))
    }

    /// A fault's answer: the web firewall and broken backends answer in HTML.
    pub(crate) fn faulted(status: u16, retry_after_s: Option<u64>, utc_ms: u64) -> Self {
        let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let reply = match status {
            429 => Self::refused((code, -1003, "Too many requests.".to_owned())),
            418 => Self::banned(retry_after_s.unwrap_or(0), utc_ms),
            _ => {
                let reason = code.canonical_reason().unwrap_or("Error");
                let body = format!("<html><head><title>{status} {reason}</title></head></html>");
                Self { status: code, retry_after_s: None, is_html: true, body }
            }
        };
        reply.retry_after(retry_after_s)
    }

    pub(crate) fn too_many_connections() -> Self {
        let msg = "Too many connections.".to_owned();
        Self::refused((StatusCode::TOO_MANY_REQUESTS, -1003, msg))
    }

    /// The book did not come in time.
    pub(crate) fn timeout() -> Self {
        let msg = "Timeout waiting for response from backend server. Send status unknown; execution status unknown.";
        Self::refused((StatusCode::GATEWAY_TIMEOUT, -1007, msg.to_owned()))
    }

    pub(crate) fn stopped() -> Self {
        let msg = "Internal error; unable to process your request.";
        Self::refused((StatusCode::SERVICE_UNAVAILABLE, -1001, msg.to_owned()))
    }
}

/// Everything that is answered at once.
pub(crate) fn look_up(
    query: &Query,
    unit: TimeUnit,
    exchange: &mut Exchange,
) -> Result<String, Refusal> {
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

static NO_BOOK: Book = Book::EMPTY;

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

pub(crate) fn invalid_symbol() -> Refusal {
    bad(-1121, "Invalid symbol.")
}

/// The body of a `klines` answer.
pub(crate) fn kline_rows(klines: &[Kline], unit: TimeUnit) -> String {
    list(klines.iter().map(|kline| rest_row(kline, unit)))
}
