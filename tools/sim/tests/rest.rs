//! REST: bodies, weights, refusals.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use cobring_sim::{Limits, SimConfig, SimHandle, Source, SyntheticConfig, Truth, start};
use common::{get, post};

fn sim(limits: Limits) -> SimHandle {
    let market = SyntheticConfig::new(1, &["ETHUSDT", "BTCUSDT"]);
    start(&SimConfig { limits, ..SimConfig::new(Source::Synthetic(market)) }).unwrap()
}

#[test]
fn bodies_have_the_venues_form() {
    let sim = sim(Limits::default());
    assert_eq!(get(&sim, "/api/v3/ping").body, "{}");
    let time = get(&sim, "/api/v3/time").json()["serverTime"].as_i64().unwrap();
    assert!((1_767_225_600_000..1_767_225_700_000).contains(&time));
    let info = get(&sim, "/api/v3/exchangeInfo?symbols=[%22BTCUSDT%22,%22ETHUSDT%22]").json();
    assert_eq!(info["symbols"][0]["symbol"], "BTCUSDT");
    assert_eq!(info["symbols"][1]["filters"][0]["tickSize"], "0.01000000");
    assert_eq!(
        get(&sim, "/api/v3/exchangeInfo?symbol=ETHUSDT").json()["symbols"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let book = get(&sim, "/api/v3/depth?symbol=ETHUSDT");
    assert!(
        book.body.starts_with(r#"{"lastUpdateId":"#) && book.body.contains(r#","bids":[[""#),
        "{}",
        book.body
    );
    assert_eq!(book.json()["bids"].as_array().unwrap().len(), 100);
    assert!(
        get(&sim, "/api/v3/depth?symbol=ETHUSDT&limit=99999").json()["asks"]
            .as_array()
            .unwrap()
            .len()
            > 3_000
    );
    sim.pause().unwrap();
    let ticker = get(&sim, "/api/v3/ticker/bookTicker?symbol=ETHUSDT").json();
    let truth = sim.truth("ETHUSDT").unwrap().unwrap();
    assert_eq!(ticker["bidPrice"], truth.bids[0].0.to_string());
    assert_eq!(get(&sim, "/api/v3/ticker/24hr").json().as_array().unwrap().len(), 2);
    assert_eq!(get(&sim, "/api/v3/ticker/price?symbol=BTCUSDT").json()["symbol"], "BTCUSDT");
    assert!(
        get(&sim, "/api/v3/trades?symbol=ETHUSDT&limit=5").json().as_array().unwrap().len() <= 5
    );
    let told: Truth = serde_json::from_str(&get(&sim, "/sim/truth?symbol=ETHUSDT").body).unwrap();
    assert_eq!(told, sim.truth("ETHUSDT").unwrap().unwrap());
}

#[test]
fn refusals_name_the_venues_codes() {
    let sim = sim(Limits::default());
    for (path, status, code) in [
        ("/api/v3/depth?symbol=NOSUCH", 400, -1121),
        ("/api/v3/depth", 400, -1102),
        ("/api/v3/depth?symbol=ethusdt", 400, -1100),
        ("/api/v3/depth?symbol=ETHUSDT&limit=x", 400, -1100),
        ("/api/v3/exchangeInfo?symbol=NOSUCH", 400, -1121),
        ("/api/v3/nothing", 404, -1000),
        ("/ws", 400, -1000),
    ] {
        let reply = get(&sim, path);
        assert_eq!(
            (reply.status, reply.json()["code"].as_i64().unwrap()),
            (status, code),
            "{path}"
        );
    }
    assert_eq!(
        get(&sim, "/api/v3/depth?symbol=NOSUCH").body,
        r#"{"code":-1121,"msg":"Invalid symbol."}"#
    );
    assert_eq!(get(&sim, "/sim/truth?symbol=NOSUCH").status, 404);
    assert_eq!(post(&sim, "/sim/fault", r#"{"kind":"explode"}"#).status, 400);
    assert_eq!(post(&sim, "/api/v3/depth", "").status, 405);
}

#[test]
fn weights_add_up_and_end_in_429_and_418() {
    let sim = sim(Limits { weight_per_minute: 400, refusals_before_ban: 2, ..Limits::default() });
    let mut used = 0;
    for (limit, weight) in [(5, 5), (100, 5), (500, 25), (1_000, 50), (5_000, 250)] {
        let reply = get(&sim, &format!("/api/v3/depth?symbol=ETHUSDT&limit={limit}"));
        used += weight;
        assert_eq!(
            (reply.status, reply.header("x-mbx-used-weight-1m")),
            (200, used.to_string().as_str())
        );
    }
    let over = get(&sim, "/api/v3/depth?symbol=ETHUSDT&limit=5000");
    assert_eq!((over.status, over.json()["code"].as_i64()), (429, Some(-1003)));
    assert!((1..=60).contains(&over.header("retry-after").parse::<u32>().unwrap()));
    assert_eq!(get(&sim, "/api/v3/ping").status, 429);
    let banned = get(&sim, "/api/v3/ping");
    assert_eq!((banned.status, banned.header("retry-after")), (418, "120"));
    assert_eq!(get(&sim, "/sim/state").json()["rest_418"], 1);
}
