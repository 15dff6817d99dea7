//! How fast an exchange in virtual time plays: `cargo run --release -p cobring-sim --example virtual_speed`.

use std::time::Instant;

use cobring_sim::{
    Body, Connect, Delivered, Pace, SimConfig, SimError, Source, SyntheticConfig, VirtualExchange,
};

const S: i64 = 1_000_000_000;
const STREAMS: &str = "/stream?streams=ethusdt@depth@100ms/ethusdt@trade/ethusdt@bookTicker/btcusdt@depth@100ms/btcusdt@trade/btcusdt@bookTicker";

fn main() -> Result<(), SimError> {
    for (name, pace, level_count, length_s) in [
        ("venue", Pace::VENUE, 4_000, 600),
        ("calm", Pace::CALM, 1_000, 3_600),
        ("quiet", Pace::QUIET, 1_000, 24 * 3_600),
    ] {
        let mut market = SyntheticConfig::new(1, &["ETHUSDT", "BTCUSDT"]);
        for symbol in &mut market.symbols {
            (symbol.pace, symbol.level_count) = (pace, level_count);
        }
        let config = SimConfig { listed_days: 2, ..SimConfig::new(Source::Synthetic(market)) };
        let began = Instant::now();
        let mut exchange = VirtualExchange::new(&config)?;
        let opened = began.elapsed();
        let Connect::Open { mut client, .. } = exchange.connect(STREAMS) else { return Ok(()) };
        let (mut depth, mut trades, mut quotes, mut bytes) = (0_u64, 0_u64, 0_u64, 0_usize);
        while let Some(due_ns) = exchange.next_due_ns().filter(|due_ns| *due_ns <= length_s * S) {
            exchange.advance_to(due_ns, &mut |event| match event.body {
                Body::Depth(_) => depth += 1,
                Body::Trade(_) => trades += 1,
                _ => quotes += 1,
            });
            while let Some(delivered) = exchange.take(client) {
                match delivered {
                    Delivered::Text(text) => bytes += text.len(),
                    Delivered::Ping(payload) => exchange.pong(client, &payload),
                    // The end of its 24 hours.
                    _ => {
                        if let Connect::Open { client: next, .. } = exchange.connect(STREAMS) {
                            client = next;
                        }
                    }
                }
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "shown, not computed with")]
        let per_s = |count: u64| count as f64 / length_s as f64 / 2.0;
        #[expect(clippy::cast_precision_loss, reason = "shown, not computed with")]
        let times = length_s as f64 / (began.elapsed() - opened).as_secs_f64();
        eprintln!(
            "{name}: {times:.0} times real time; opened in {opened:.0?}; a second and symbol: {:.2} depth, {:.2} trades, \
             {:.2} quotes; {bytes} bytes",
            per_s(depth),
            per_s(trades),
            per_s(quotes),
        );
    }
    Ok(())
}
