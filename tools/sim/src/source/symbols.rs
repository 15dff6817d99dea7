//! What `exchangeInfo` says about a symbol.

use crate::decimal::Fixed;

/// The rules of one symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymbolSpec {
    /// Upper case, as in `ETHUSDT`.
    pub name: String,
    /// What is bought.
    pub base: String,
    /// What it is paid in.
    pub quote: String,
    /// Smallest step of a price.
    pub tick: Fixed,
    /// Smallest step of an order's quantity; market data may be finer.
    pub lot: Fixed,
    /// False for a recording without a snapshot of this symbol: its book grows from depth events alone.
    pub has_snapshot: bool,
}

/// Name, tick, lot and typical price in units of 10^-8.
const KNOWN: [(&str, i64, i64, i64); 8] = [
    ("BTCUSDT", 1_000_000, 1_000, 6_200_000_000_000),
    ("ETHUSDT", 1_000_000, 10_000, 270_000_000_000),
    ("BNBUSDT", 1_000_000, 100_000, 60_000_000_000),
    ("SOLUSDT", 1_000_000, 100_000, 15_000_000_000),
    ("XRPUSDT", 10_000, 10_000_000, 60_000_000),
    ("ADAUSDT", 10_000, 10_000_000, 40_000_000),
    ("DOGEUSDT", 1_000, 100_000_000, 12_000_000),
    ("LTCUSDT", 1_000_000, 100_000, 7_000_000_000),
];

/// Longest first where one ends with another.
const QUOTES: [&str; 12] =
    ["FDUSD", "USDT", "USDC", "TUSD", "BUSD", "BTC", "ETH", "BNB", "EUR", "TRY", "BRL", "USD"];

impl SymbolSpec {
    /// A symbol with the venue's rules where they are known, a tick of 0.01 and a lot of 0.00001 otherwise.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let known = KNOWN.iter().find(|known| known.0 == name);
        let (base, quote) = QUOTES
            .iter()
            .find_map(|quote| {
                Some((name.strip_suffix(quote).filter(|base| !base.is_empty())?, *quote))
            })
            .unwrap_or((name, ""));
        Self {
            name: name.to_owned(),
            base: base.to_owned(),
            quote: quote.to_owned(),
            tick: Fixed(known.map_or(1_000_000, |known| known.1)),
            lot: Fixed(known.map_or(1_000, |known| known.2)),
            has_snapshot: true,
        }
    }

    /// The name in streams.
    #[must_use]
    pub fn stream_name(&self) -> String {
        self.name.to_lowercase()
    }

    pub(crate) fn is_known(name: &str) -> bool {
        KNOWN.iter().any(|known| known.0 == name)
    }

    /// Where a synthetic market of this symbol starts.
    pub(crate) fn typical_px(name: &str) -> Fixed {
        Fixed(KNOWN.iter().find(|known| known.0 == name).map_or(10_000_000_000, |known| known.3))
    }
}

#[cfg(test)]
mod tests {
    use super::SymbolSpec;

    #[test]
    fn a_name_splits_into_base_and_quote() {
        for (name, base, quote) in
            [("ETHUSDT", "ETH", "USDT"), ("ETHBTC", "ETH", "BTC"), ("USDT", "USDT", "")]
        {
            let spec = SymbolSpec::of(name);
            assert_eq!((spec.base.as_str(), spec.quote.as_str()), (base, quote));
        }
    }
}
