//! A bar in exact integers.

use cobring_frame::{CANDLE_FLAT, CANDLE_HOLE, CANDLE_INCOMPLETE, CANDLE_PARTIAL, CandleRow};
use cobring_types::{Instrument, Kline, Nanos, Px, Side, Trade};
use serde::{Deserialize, Serialize};

use crate::indicators::ClosedBar;
use crate::pivots::PivotBar;

/// Flags of a bar that may lack trades: what klines are asked for.
const DOUBTFUL: u64 = CANDLE_PARTIAL | CANDLE_INCOMPLETE;

/// Prices in ticks, volumes in quantity units, quote volumes in their product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bar {
    pub(crate) open_time: Nanos,
    pub(crate) ts_closed: Nanos,
    pub(crate) open: Px,
    pub(crate) high: Px,
    pub(crate) low: Px,
    pub(crate) close: Px,
    pub(crate) volume: i128,
    pub(crate) quote_volume: i128,
    pub(crate) taker_buy_volume: i128,
    pub(crate) taker_buy_quote_volume: i128,
    pub(crate) trade_count: u64,
    /// Flags but `flat` and `hole`, which follow from the rest.
    pub(crate) flags: u64,
    /// No moment of the interval was observed.
    pub(crate) unobserved: bool,
    /// Id of the fill that opened it; 0 where the venue told of it.
    pub(crate) first_id: u64,
    /// Id of the fill that it closed with, likewise.
    pub(crate) last_id: u64,
    /// Gaps between ids that may have taken trades of it and that nothing has filled.
    pub(crate) gaps: u32,
    /// Nothing tells whether it lacks trades: the venue is to be asked.
    pub(crate) suspect: bool,
    /// The venue's own bar is known: no trade changes it any more, and it is not asked for again.
    pub(crate) settled: bool,
}

impl Bar {
    /// A bar without a trade, at the close before it.
    pub(crate) fn flat(open_time: Nanos, px: Px) -> Self {
        Self {
            open_time,
            ts_closed: Nanos::UNDEF,
            open: px,
            high: px,
            low: px,
            close: px,
            volume: 0,
            quote_volume: 0,
            taker_buy_volume: 0,
            taker_buy_quote_volume: 0,
            trade_count: 0,
            flags: 0,
            unobserved: false,
            first_id: 0,
            last_id: 0,
            gaps: 0,
            suspect: false,
            settled: false,
        }
    }

    /// The venue's bar.
    pub(crate) fn of_kline(kline: &Kline, instrument: &Instrument) -> Self {
        Self {
            open_time: kline.open_time,
            ts_closed: Nanos::UNDEF,
            open: kline.open,
            high: kline.high,
            low: kline.low,
            close: kline.close,
            volume: i128::from(kline.volume.0),
            quote_volume: instrument.kline_notional(kline.quote_volume),
            taker_buy_volume: i128::from(kline.taker_buy_volume.0),
            taker_buy_quote_volume: instrument.kline_notional(kline.taker_buy_quote_volume),
            trade_count: kline.trade_count,
            flags: 0,
            unobserved: false,
            first_id: 0,
            last_id: 0,
            gaps: 0,
            suspect: false,
            settled: true,
        }
    }

    pub(crate) fn add(&mut self, trade: &Trade) {
        if self.trade_count == 0 {
            (self.open, self.high, self.low) = (trade.px, trade.px, trade.px);
            self.first_id = trade.first_id;
        }
        self.close = trade.px;
        self.last_id = trade.last_id;
        self.count_in(trade);
    }

    /// Takes in a trade whose turn was earlier. `false` where the venue has told of it already.
    pub(crate) fn fill(&mut self, trade: &Trade) -> bool {
        if self.settled {
            return false;
        }
        if self.trade_count == 0 {
            self.add(trade);
            return true;
        }
        if trade.first_id < self.first_id {
            (self.open, self.first_id) = (trade.px, trade.first_id);
        }
        if trade.last_id > self.last_id {
            (self.close, self.last_id) = (trade.px, trade.last_id);
        }
        self.count_in(trade);
        true
    }

    /// The prices between and the sums.
    fn count_in(&mut self, trade: &Trade) {
        self.high = self.high.max(trade.px);
        self.low = self.low.min(trade.px);
        let (qty, quote) =
            (i128::from(trade.qty.0), i128::from(trade.px.0) * i128::from(trade.qty.0));
        self.volume += qty;
        self.quote_volume += quote;
        if trade.side == Side::Buy {
            self.taker_buy_volume += qty;
            self.taker_buy_quote_volume += quote;
        }
        self.trade_count += trade.count();
        self.unobserved = false;
    }

    /// A gap between ids may have taken trades of it.
    pub(crate) fn lack(&mut self) {
        self.flags |= CANDLE_INCOMPLETE;
        self.gaps = self.gaps.saturating_add(1);
    }

    /// All trades of a gap have come, the first of them behind `since`; where all others are known, nothing is missing.
    /// Whether that changes it.
    pub(crate) fn gap_filled(&mut self, since: Nanos, is_known: bool) -> bool {
        if self.settled {
            return false;
        }
        let before = (self.flags, self.unobserved);
        self.gaps = self.gaps.saturating_sub(1);
        if self.open_time > since {
            // Watched from its beginning after all.
            self.flags &= !CANDLE_PARTIAL;
        }
        if self.gaps == 0 && is_known {
            self.flags &= !CANDLE_INCOMPLETE;
            self.unobserved = false;
        }
        before != (self.flags, self.unobserved)
    }

    /// Takes a later, shorter bar of its interval in.
    pub(crate) fn join(&mut self, part: &Self) {
        self.flags |= part.flags & DOUBTFUL;
        self.gaps = self.gaps.saturating_add(part.gaps);
        if part.unobserved {
            self.lack();
        }
        if part.trade_count == 0 {
            return;
        }
        if self.trade_count == 0 {
            (self.open, self.high, self.low) = (part.open, part.high, part.low);
            self.first_id = part.first_id;
        }
        self.last_id = self.last_id.max(part.last_id);
        self.high = self.high.max(part.high);
        self.low = self.low.min(part.low);
        self.close = part.close;
        self.volume += part.volume;
        self.quote_volume += part.quote_volume;
        self.taker_buy_volume += part.taker_buy_volume;
        self.taker_buy_quote_volume += part.taker_buy_quote_volume;
        self.trade_count += part.trade_count;
        self.unobserved = false;
    }

    /// Whether trades of it may be missing.
    pub(crate) fn is_doubtful(&self) -> bool {
        !self.settled && (self.unobserved || self.flags & DOUBTFUL != 0)
    }

    /// Whether the venue's bar says the same. Its quote volumes are rounded to 10^-8 of the quote asset, at worst
    /// once a trade.
    pub(crate) fn agrees_with(&self, venue: &Self, instrument: &Instrument) -> bool {
        let tolerance = instrument.kline_notional(1) * (i128::from(self.trade_count) + 1);
        let near = |one: i128, other: i128| (one - other).abs() <= tolerance;
        !self.unobserved
            && (self.open, self.high, self.low, self.close)
                == (venue.open, venue.high, venue.low, venue.close)
            && (self.volume, self.taker_buy_volume, self.trade_count)
                == (venue.volume, venue.taker_buy_volume, venue.trade_count)
            && near(self.quote_volume, venue.quote_volume)
            && near(self.taker_buy_quote_volume, venue.taker_buy_quote_volume)
    }

    /// Becomes the venue's bar, its own times and flags apart; nothing of it is doubtful any more.
    pub(crate) fn settle(&mut self, venue: &Self) {
        let (ts_closed, flags) = (self.ts_closed, self.flags & !DOUBTFUL);
        *self = Self { ts_closed, flags, settled: true, ..*venue };
    }

    pub(crate) fn row(&self, instrument: &Instrument) -> CandleRow {
        if self.unobserved {
            return CandleRow::hole(self.open_time.0, self.ts_closed.0, self.flags | CANDLE_HOLE);
        }
        CandleRow {
            open_time: self.open_time.0,
            ts_closed: self.ts_closed.0,
            open: instrument.px_f64(self.open),
            high: instrument.px_f64(self.high),
            low: instrument.px_f64(self.low),
            close: instrument.px_f64(self.close),
            volume: instrument.qty_sum_f64(self.volume),
            quote_volume: instrument.notional_f64(self.quote_volume),
            taker_buy_volume: instrument.qty_sum_f64(self.taker_buy_volume),
            taker_buy_quote_volume: instrument.notional_f64(self.taker_buy_quote_volume),
            trade_count: self.trade_count,
            flags: self.flags | if self.trade_count == 0 { CANDLE_FLAT } else { 0 },
        }
    }

    /// What indicators see of it.
    pub(crate) fn closed(&self) -> ClosedBar {
        ClosedBar {
            open_time: self.open_time,
            high: self.high,
            low: self.low,
            close: self.close,
            volume: self.volume,
            quote_volume: self.quote_volume,
            hole: self.unobserved,
        }
    }

    /// What pivots see of it.
    pub(crate) fn pivot(&self) -> PivotBar {
        PivotBar {
            open_time: self.open_time,
            ts_closed: self.ts_closed,
            high: self.high,
            low: self.low,
            hole: self.unobserved,
        }
    }
}
