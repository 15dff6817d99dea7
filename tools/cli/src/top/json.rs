//! A view as JSON: everything that is known, times as integer ns.

use serde_json::{Map, Value, json};

use super::view::{EngineRow, StageRow, SymbolRow, View};
use crate::output::spans_json;
use crate::shm::describe;

pub(crate) fn object(view: &View) -> Value {
    let EngineRow { liveness, pid, epoch, uptime, frames_per_s } = view.engine();
    let mut symbols: Map<String, Value> =
        view.symbols().iter().map(|row| (row.name.clone(), symbol(view, row))).collect();
    let mut counters = json!({});
    view.for_each_counter(|table, row, name, total, per_s| {
        let value = json!({ "total": total, "per_s": per_s });
        match table {
            "symbol" => {
                if let Some(symbol) = symbols.get_mut(row) {
                    symbol["counters"][name] = value;
                }
            }
            // By model and symbol, as its file is named.
            "model" => counters[table][row][name] = value,
            _ => counters[table][name] = value,
        }
    });
    let readers: Vec<Value> = view
        .readers()
        .iter()
        .map(|row| {
            let reader = &row.reader;
            json!({
                "name": reader.name, "symbol": reader.symbol, "pid": reader.pid, "alive": reader.alive,
                "epoch": reader.epoch, "last_seq": reader.last_seq, "lag_frames": row.lag_frames,
                "lapped_total": reader.lapped, "refused_total": reader.refused,
            })
        })
        .collect();
    json!({
        "engine": {
            "state": describe(&liveness), "pid": pid, "epoch": epoch,
            "uptime_s": uptime.map(|uptime| uptime.as_secs()), "frames_per_s": frames_per_s,
        },
        "interval_s": view.interval().map(|interval| interval.as_secs_f64()),
        "symbols": symbols,
        "stages": stages(&view.stages(None)),
        "readers": readers,
        "counters": counters,
        "no_counters": view.no_counters(),
    })
}

fn symbol(view: &View, row: &SymbolRow) -> Value {
    let age_ns = row.age.and_then(|age| u64::try_from(age.as_nanos()).ok());
    json!({
        "book_state": row.book_state, "score": row.score, "weakest": row.weakest,
        "bid_px": row.bid_px, "ask_px": row.ask_px, "spread": row.spread, "mid_px": row.mid_px,
        "imbalance": row.imbalance, "frames": row.frames, "frames_per_s": row.frames_per_s,
        "age_ns": age_ns, "stages": stages(&view.stages(Some(&row.name))), "counters": {},
    })
}

/// By stage: since the sample before and since the engine began.
fn stages(rows: &[StageRow]) -> Value {
    let row = |row: &StageRow| {
        let last = row.last.as_ref().map(spans_json);
        (row.name.clone(), json!({ "last": last, "since_start": spans_json(&row.total) }))
    };
    Value::Object(rows.iter().map(row).collect())
}
