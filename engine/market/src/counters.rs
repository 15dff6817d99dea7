//! What a symbol's fold passed over, refused or repaired, by reason.

use serde::{Deserialize, Serialize};

cobring_types::counters! {
    /// Counters of one symbol, from the start of the epoch.
    #[derive(Serialize, Deserialize)]
    pub struct MarketCounters {
        /// Depth messages applied to the book.
        depth_applied,
        /// Depth messages whose update ids the book already had.
        depth_old,
        /// Depth messages that waited for another connection to fill the gap before them.
        depth_waited,
        /// Trades that did.
        trades_waited,
        /// Depth messages kept for the next snapshot.
        depth_buffered,
        /// Depth messages given up because too many waited for a snapshot.
        depth_buffer_overflows,
        /// Times that the depth stream fell silent while the venue moved on.
        depth_stalls,
        /// Times that no bookTicker came while the depth book's best prices moved.
        quote_stalls,
        /// Times that no trade came while the venue's bars had some.
        trade_stalls,
        /// Gaps in update ids.
        gaps,
        /// Times that a snapshot (re)started the book.
        syncs,
        /// Snapshots too old for what was buffered.
        snapshots_too_old,
        /// Snapshots older than the live book.
        snapshots_passed_over,
        /// Background re-syncs that adopted a wider book.
        resyncs,
        /// Background re-syncs whose book differed from the live one.
        audit_mismatches,
        /// Whole events that left bid at or above ask, or a side empty.
        crossed,
        /// Best prices compared with bookTicker's at the same update id.
        quote_checks,
        /// Of these, how many differed.
        quote_mismatches,
        /// Levels that gave way because a side was full.
        levels_dropped,
        /// bookTickers.
        quotes,
        /// bookTickers not newer than the last.
        quotes_old,
        /// Trades of the counting stream.
        trades,
        /// Trades whose ids were already counted.
        trades_duplicate,
        /// Trades of the other stream.
        trades_other_stream,
        /// Fills missing between trade ids. Of these, some come later, and some never: what is left may come yet.
        trades_missing,
        /// Missing fills that came later: they were asked for, or another connection brought them.
        trades_backfilled,
        /// Missing fills that were given up.
        trades_unfillable,
        /// Trades in answers that were not missing.
        trades_unmissed,
        /// Trades for bars before those that are kept.
        trades_too_old,
        /// Trades whose venue time lies too far ahead.
        trades_too_far_ahead,
        /// Trades that changed closed bars.
        repairs,
        /// Times that more than 600 timers were missed.
        breaks,
        /// 24 h tickers.
        tickers,
        /// Bars of the venue, by stream and in answers.
        klines,
        /// Answers that nobody waited for.
        klines_unasked,
        /// Own bars that were not what the venue says of them.
        kline_mismatches,
        /// Closed bars that became the venue's.
        bars_told,
        /// Trades for bars that the venue had told already.
        trades_settled,
        /// Times that bars began without a history, because it did not come.
        histories_missed,
        /// Bounds files that were damaged, of another instrument or of a time to come.
        bounds_refused,
        /// Supports and resistances that gave way to nearer ones because there were too many.
        untouched_pivots_dropped,
        /// Models' outputs appended to their windows.
        model_outputs,
        /// Outputs of models that the settings do not name.
        model_outputs_unknown,
    }
}
