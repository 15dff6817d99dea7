//! The pages under `/sim/`, for tests in other processes. They cost no weight and meet no fault.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use serde::Serialize;

use super::{Answer, Shared, json};
use crate::faults::Fault;
use crate::rest::{Params, Refusal, decode, read_interval, read_range, read_symbol};

const KLINES_DEFAULT: usize = 500;
const KLINES_MAX: usize = 100_000;
const FAULT_BYTES_MAX: usize = 64 << 10;

pub(super) async fn answer(request: Request<Incoming>, shared: &Shared) -> Answer {
    let path = request.uri().path().to_owned();
    let query = decode(request.uri().query().unwrap_or_default());
    match (request.method(), path.as_str()) {
        (&Method::GET, "/sim/state") => or_stopped(shared.ask(|exchange| exchange.stats()).await),
        (&Method::GET, "/sim/truth") => {
            let value = |wanted| {
                query.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone())
            };
            let levels = value("levels").and_then(|levels| levels.parse().ok());
            truth(value("symbol").unwrap_or_default(), levels, shared).await
        }
        (&Method::GET, "/sim/klines") => klines(&query, shared).await,
        (&Method::POST, "/sim/pause") => or_stopped(shared.ask(|exchange| exchange.pause()).await),
        (&Method::POST, "/sim/resume") => {
            or_stopped(shared.ask(|exchange| exchange.resume()).await)
        }
        (&Method::POST, "/sim/fault") => {
            match Limited::new(request.into_body(), FAULT_BYTES_MAX).collect().await {
                Ok(body) => inject(body.to_bytes(), shared).await,
                Err(error) => refuse(StatusCode::BAD_REQUEST, &error.to_string()),
            }
        }
        _ => refuse(
            StatusCode::NOT_FOUND,
            "no such page: state, truth, klines, fault, pause, resume",
        ),
    }
}

/// Of `levels` levels a side and without bars, where levels are counted.
async fn truth(symbol: String, levels: Option<usize>, shared: &Shared) -> Answer {
    let asked = symbol.clone();
    let truth = shared
        .ask(move |exchange| exchange.symbol_index(&asked).map(|index| exchange.truth(index)))
        .await;
    match truth {
        Some(None) => refuse(StatusCode::NOT_FOUND, &format!("no symbol {symbol:?} here")),
        Some(Some(mut truth)) => {
            if let Some(levels) = levels {
                truth.bids.truncate(levels);
                truth.asks.truncate(levels);
                (truth.bars_1s, truth.bars_1m) = (Vec::new(), Vec::new());
            }
            or_stopped(Some(truth))
        }
        None => or_stopped(None::<()>),
    }
}

/// As REST has them, but exact, and more at once.
async fn klines(params: &Params, shared: &Shared) -> Answer {
    let read = || -> Result<_, Refusal> {
        let (symbol, interval) = (read_symbol(params)?, read_interval(params)?);
        Ok((symbol, interval, read_range(params, KLINES_DEFAULT, KLINES_MAX)?))
    };
    let (symbol, interval, query) = match read() {
        Ok(read) => read,
        Err((status, _, reason)) => return refuse(status, &reason),
    };
    let asked = symbol.clone();
    match shared.ask(move |exchange| exchange.bars(&asked, interval, &query)).await {
        Some(None) => refuse(StatusCode::NOT_FOUND, &format!("no symbol {symbol:?} here")),
        other => or_stopped(other),
    }
}

async fn inject(body: Bytes, shared: &Shared) -> Answer {
    let fault: Fault = match serde_json::from_slice(&body) {
        Ok(fault) => fault,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    if let Some(mistake) = fault.mistake() {
        return refuse(StatusCode::BAD_REQUEST, &mistake);
    }
    or_stopped(shared.ask(move |exchange| exchange.inject(fault)).await)
}

fn or_stopped<T: Serialize>(answer: Option<T>) -> Answer {
    let Some(answer) = answer else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "the simulator has stopped");
    };
    match serde_json::to_vec(&answer) {
        Ok(body) => json(StatusCode::OK, body),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn refuse(status: StatusCode, reason: &str) -> Answer {
    json(status, serde_json::json!({ "error": reason }).to_string())
}
