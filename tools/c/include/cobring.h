/* Frames and windows of the cobring engine for C. Made from tools/c/src by its tests: change those, not this.
 *
 * A frame is a copy in the caller's memory, an array of 64-bit words; cobring_field says where a field lies in it, so
 * that a program reads engines of other versions and settings too. struct cobring_frame (at the end) is the layout of
 * an engine as shipped: it may be laid over a frame where cobring_frame_is_shipped says so.
 *
 * Link with -lcobring_c (and for the static library -lpthread -ldl -lm). */


#ifndef COBRING_H
#define COBRING_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/**
 * What a call says: what the caller can do.
 */
typedef enum CobringStatus {
  /**
   * Done.
   */
  COBRING_STATUS_OK = 0,
  /**
   * Nothing there, yet.
   */
  COBRING_STATUS_EMPTY = 1,
  /**
   * No engine has published that symbol there.
   */
  COBRING_STATUS_NO_WRITER = 2,
  /**
   * The engine has ended or hangs; a new one will be followed.
   */
  COBRING_STATUS_WRITER_GONE = 3,
  /**
   * A new engine has begun and is followed: ask for sizes, fields and rows anew.
   */
  COBRING_STATUS_EPOCH_CHANGED = 4,
  /**
   * The segment lacks what was asked for, or is none.
   */
  COBRING_STATUS_SCHEMA_MISMATCH = 5,
  /**
   * The frame is not good enough.
   */
  COBRING_STATUS_LOW_QUALITY = 6,
  /**
   * Overwritten before it was read: take a newer frame.
   */
  COBRING_STATUS_LAPPED = 7,
  /**
   * Fewer rows than asked for.
   */
  COBRING_STATUS_NOT_ENOUGH = 8,
  /**
   * Rows were corrected since the frame: take the next one.
   */
  COBRING_STATUS_REPAIRED = 9,
  /**
   * An argument that cannot be.
   */
  COBRING_STATUS_BAD_ARGUMENT = 10,
  /**
   * The system refused something.
   */
  COBRING_STATUS_SYSTEM = 11,
} CobringStatus;

/**
 * A symbol's segment, opened. One thread at a time.
 */
typedef struct CobringReader CobringReader;

/**
 * Where a field lies and what it is. The texts live until the reader follows a new engine or is closed.
 */
typedef struct CobringField {
  /**
   * Dotted name, as "top.bid_px".
   */
  const char *name;
  /**
   * "quote", "base", "ns", "enum:NAME", "bits:NAME", "bitset:LENGTH", "levels", …
   */
  const char *unit;
  /**
   * Bytes from the start of the frame or row.
   */
  size_t offset;
  /**
   * Bytes of an element.
   */
  size_t element_size;
  /**
   * Elements in all.
   */
  size_t count;
  /**
   * Dimensions: 0 for a scalar. Rows of a matrix lie one after the other.
   */
  uint32_t dimensions;
  /**
   * 'f' float, 'i' signed, 'u' unsigned.
   */
  char kind;
} CobringField;

/**
 * Rows in the engine's memory, oldest first. Read them through volatile or plain loads; what was read counts if
 * cobring_rows_check says OK afterwards. They keep the memory mapped until cobring_rows_release.
 */
typedef struct CobringRows {
  /**
   * First row.
   */
  const void *data;
  /**
   * Rows.
   */
  uint64_t count;
  /**
   * Bytes from a row to the next.
   */
  size_t row_size;
  /**
   * Number of the first row since the engine's start.
   */
  uint64_t from;
  /**
   * The library's.
   */
  void *held;
} CobringRows;

/**
 * The history of buckets as a matrix fixed in price: rows by time, columns by price, both ascending. To be released
 * with cobring_heatmap_release.
 */
typedef struct CobringHeatmap {
  /**
   * Venue second of each row.
   */
  const int64_t *times;
  /**
   * Lower edge of each column's bucket.
   */
  const double *prices;
  /**
   * rows · columns cells; NaN where not valid.
   */
  const float *values;
  /**
   * rows · columns.
   */
  const bool *valid;
  /**
   * T.
   */
  size_t rows;
  /**
   * W = 2 · radius + 1.
   */
  size_t columns;
  /**
   * The library's.
   */
  void *held;
} CobringHeatmap;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Opens a symbol's segment in an engine's directory (usually "/dev/shm/cobring"); to be closed with cobring_close.
 *
 * # Safety
 * `dir` and `symbol` are strings that end in zero; `out` is valid for a write.
 */
enum CobringStatus cobring_open(const char *dir,
                                const char *symbol,
                                struct CobringReader **out);

/**
 * Closes a reader; rows and heatmaps taken through it stay until they are released. Null is allowed.
 *
 * # Safety
 * `reader` is null or came from cobring_open, and is not used again.
 */
void cobring_close(struct CobringReader *reader);

/**
 * What went wrong in this thread's last call that failed: one sentence, valid until the next call that fails.
 */
const char *cobring_error(void);

/**
 * 64-bit words of a frame: the size of the buffer that cobring_latest and cobring_next fill. 0 for null.
 *
 * # Safety
 * `reader` is null or open.
 */
size_t cobring_frame_words(const struct CobringReader *reader);

/**
 * Copies the newest frame and its number (`seq` may be null). EMPTY before the first; EPOCH_CHANGED once for each new
 * engine: ask for sizes and fields anew, and call again. The frame may be of any quality and of a dead engine: see
 * cobring_check.
 *
 * # Safety
 * `reader` is open; `frame` is valid for `words` words, `seq` null or valid for a write.
 */
enum CobringStatus cobring_latest(struct CobringReader *reader,
                                  uint64_t *frame,
                                  size_t words,
                                  uint64_t *seq);

/**
 * Copies the next frame in order. EMPTY where there is none; LAPPED, with the number of frames missed in `lost`, where
 * the engine was faster: call again. `seq` and `lost` may be null.
 *
 * # Safety
 * As cobring_latest; `lost` is null or valid for a write.
 */
enum CobringStatus cobring_next(struct CobringReader *reader,
                                uint64_t *frame,
                                size_t words,
                                uint64_t *seq,
                                uint64_t *lost);

/**
 * Sleeps until there is a frame that has not been taken: OK, or EMPTY when `timeout_ms` are over. WRITER_GONE where
 * the engine has ended, EPOCH_CHANGED after its restart.
 *
 * # Safety
 * `reader` is open.
 */
enum CobringStatus cobring_wait(struct CobringReader *reader,
                                uint64_t timeout_ms);

/**
 * Whether a frame may be used: its engine lives (else WRITER_GONE) and its quality is at least `min_quality` (else
 * LOW_QUALITY; cobring_error then names each block, what was found and what was wanted). 0.8 is the usual threshold.
 *
 * # Safety
 * `reader` is open; `frame` is valid for `words` words.
 */
enum CobringStatus cobring_check(struct CobringReader *reader,
                                 const uint64_t *frame,
                                 size_t words,
                                 double min_quality);

/**
 * Fields of a frame. 0 for null.
 *
 * # Safety
 * `reader` is null or open.
 */
size_t cobring_field_count(const struct CobringReader *reader);

/**
 * Field number `index` of a frame, in order of offsets.
 *
 * # Safety
 * `reader` is open; `out` is valid for a write.
 */
enum CobringStatus cobring_field_at(struct CobringReader *reader,
                                    size_t index,
                                    struct CobringField *out);

/**
 * A field of a frame by its dotted name. SCHEMA_MISMATCH where this engine's frames have none.
 *
 * # Safety
 * `reader` is open; `name` is a string that ends in zero; `out` is valid for a write.
 */
enum CobringStatus cobring_field(struct CobringReader *reader,
                                 const char *name,
                                 struct CobringField *out);

/**
 * A field of a window's rows by name.
 *
 * # Safety
 * `reader` is open; `window` and `name` are strings that end in zero; `out` is valid for a write.
 */
enum CobringStatus cobring_row_field(struct CobringReader *reader,
                                     const char *window,
                                     const char *name,
                                     struct CobringField *out);

/**
 * Name of value `number` of an enumeration, or of bit `number` of a bit set ("trigger", "candle_flags", …); null where
 * there is none.
 *
 * # Safety
 * `reader` is open; `names` is a string that ends in zero.
 */
const char *cobring_name(struct CobringReader *reader,
                         const char *names,
                         uint64_t number);

/**
 * The last `count` rows of a window before a frame's cursor. NOT_ENOUGH where there are fewer, LAPPED and REPAIRED
 * where a newer frame is needed.
 *
 * # Safety
 * `reader` is open; `window` is a string that ends in zero; `frame` is valid for `words` words, `out` for a write.
 */
enum CobringStatus cobring_rows(struct CobringReader *reader,
                                const char *window,
                                const uint64_t *frame,
                                size_t words,
                                uint64_t count,
                                struct CobringRows *out);

/**
 * After use: OK if all that was read from the rows so far was what the engine wrote, else LAPPED or REPAIRED.
 *
 * # Safety
 * `rows` came from cobring_rows and is not released.
 */
enum CobringStatus cobring_rows_check(const struct CobringRows *rows);

/**
 * Lets go of rows. Null and released ones are allowed.
 *
 * # Safety
 * `rows` is null or came from cobring_rows.
 */
void cobring_rows_release(struct CobringRows *rows);

/**
 * The heatmap of the last `seconds` before a frame (or as many as there are), `radius` buckets on each side of the
 * last centre. `metric` is one of bid_qty, ask_qty, qty, net_qty, bid_quote, ask_quote, quote, net_quote, imbalance,
 * buy_volume, sell_volume.
 *
 * # Safety
 * `reader` is open; `metric` is a string that ends in zero; `frame` is valid for `words` words, `out` for a write.
 */
enum CobringStatus cobring_heatmap(struct CobringReader *reader,
                                   const uint64_t *frame,
                                   size_t words,
                                   uint64_t seconds,
                                   size_t radius,
                                   const char *metric,
                                   struct CobringHeatmap *out);

/**
 * Lets go of a heatmap. Null and released ones are allowed.
 *
 * # Safety
 * `map` is null or came from cobring_heatmap.
 */
void cobring_heatmap_release(struct CobringHeatmap *map);

/**
 * Fields of a frame. 0 for null.
 *
 * # Safety
 * `reader` is null or open.
 */
size_t cobring_field_count(const struct CobringReader *reader);

/**
 * Field number `index` of a frame, in order of offsets.
 *
 * # Safety
 * `reader` is open; `out` is valid for a write.
 */
enum CobringStatus cobring_field_at(struct CobringReader *reader,
                                    size_t index,
                                    struct CobringField *out);

/**
 * A field of a frame by its dotted name. SCHEMA_MISMATCH where this engine's frames have none.
 *
 * # Safety
 * `reader` is open; `name` is a string that ends in zero; `out` is valid for a write.
 */
enum CobringStatus cobring_field(struct CobringReader *reader,
                                 const char *name,
                                 struct CobringField *out);

/**
 * A field of a window's rows by name.
 *
 * # Safety
 * `reader` is open; `window` and `name` are strings that end in zero; `out` is valid for a write.
 */
enum CobringStatus cobring_row_field(struct CobringReader *reader,
                                     const char *window,
                                     const char *name,
                                     struct CobringField *out);

/**
 * Name of value `number` of an enumeration, or of bit `number` of a bit set ("trigger", "candle_flags", …); null where
 * there is none.
 *
 * # Safety
 * `reader` is open; `names` is a string that ends in zero.
 */
const char *cobring_name(struct CobringReader *reader,
                         const char *names,
                         uint64_t number);

/**
 * The last `count` rows of a window before a frame's cursor. NOT_ENOUGH where there are fewer, LAPPED and REPAIRED
 * where a newer frame is needed.
 *
 * # Safety
 * `reader` is open; `window` is a string that ends in zero; `frame` is valid for `words` words, `out` for a write.
 */
enum CobringStatus cobring_rows(struct CobringReader *reader,
                                const char *window,
                                const uint64_t *frame,
                                size_t words,
                                uint64_t count,
                                struct CobringRows *out);

/**
 * After use: OK if all that was read from the rows so far was what the engine wrote, else LAPPED or REPAIRED.
 *
 * # Safety
 * `rows` came from cobring_rows and is not released.
 */
enum CobringStatus cobring_rows_check(const struct CobringRows *rows);

/**
 * Lets go of rows. Null and released ones are allowed.
 *
 * # Safety
 * `rows` is null or came from cobring_rows.
 */
void cobring_rows_release(struct CobringRows *rows);

/**
 * The heatmap of the last `seconds` before a frame (or as many as there are), `radius` buckets on each side of the
 * last centre. `metric` is one of bid_qty, ask_qty, qty, net_qty, bid_quote, ask_quote, quote, net_quote, imbalance,
 * buy_volume, sell_volume.
 *
 * # Safety
 * `reader` is open; `metric` is a string that ends in zero; `frame` is valid for `words` words, `out` for a write.
 */
enum CobringStatus cobring_heatmap(struct CobringReader *reader,
                                   const uint64_t *frame,
                                   size_t words,
                                   uint64_t seconds,
                                   size_t radius,
                                   const char *metric,
                                   struct CobringHeatmap *out);

/**
 * Lets go of a heatmap. Null and released ones are allowed.
 *
 * # Safety
 * `map` is null or came from cobring_heatmap.
 */
void cobring_heatmap_release(struct CobringHeatmap *map);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* COBRING_H */


/* The frame of an engine as shipped: R = 20, no models. */
struct cobring_frame {
  uint8_t symbol[24]; /* symbol: text */
  uint64_t schema_id; /* schema_id: id */
  uint64_t epoch; /* epoch: id */
  uint64_t seq; /* seq: id */
  uint64_t input_seq; /* input_seq: id */
  uint8_t trigger; /* trigger: enum:trigger */
  uint8_t pad0[7];
  int64_t times_ts_event; /* times.ts_event: ns */
  int64_t times_ts_kernel; /* times.ts_kernel: ns */
  int64_t times_ts_recv; /* times.ts_recv: ns */
  int64_t times_ts_parsed; /* times.ts_parsed: ns */
  int64_t times_ts_applied; /* times.ts_applied: ns */
  int64_t times_ts_published; /* times.ts_published: ns */
  int64_t times_clock_offset; /* times.clock_offset: ns */
  int64_t times_offset_low; /* times.offset_low: ns */
  int64_t times_offset_high; /* times.offset_high: ns */
  int64_t times_wall_offset; /* times.wall_offset: ns */
  double quality_score; /* quality.score: ratio */
  double quality_sync; /* quality.sync: ratio */
  double quality_freshness; /* quality.freshness: ratio */
  double quality_completeness; /* quality.completeness: ratio */
  double quality_consistency; /* quality.consistency: ratio */
  double quality_coverage; /* quality.coverage: ratio */
  uint64_t quality_reasons; /* quality.reasons: bits:reasons */
  uint64_t quality_valid; /* quality.valid: bits:blocks */
  int64_t quality_age_depth; /* quality.age_depth: ns */
  int64_t quality_age_quote; /* quality.age_quote: ns */
  int64_t quality_age_trade; /* quality.age_trade: ns */
  double top_bid_px; /* top.bid_px: quote */
  double top_bid_qty; /* top.bid_qty: base */
  double top_ask_px; /* top.ask_px: quote */
  double top_ask_qty; /* top.ask_qty: base */
  double top_mid_px; /* top.mid_px: quote */
  double top_micro_px; /* top.micro_px: quote */
  double top_spread; /* top.spread: quote */
  uint64_t top_update_id; /* top.update_id: update_id */
  uint8_t top_source; /* top.source: enum:top_source */
  uint8_t pad1[7];
  double price_px; /* price.px: quote */
  int64_t price_age; /* price.age: ns */
  uint8_t price_source; /* price.source: enum:price_source */
  uint8_t pad2[7];
  uint64_t book_update_id; /* book.update_id: update_id */
  double book_bids[10][2]; /* book.bids: levels */
  double book_asks[10][2]; /* book.asks: levels */
  double book_bid_known_to; /* book.bid_known_to: quote */
  double book_ask_known_to; /* book.ask_known_to: quote */
  uint32_t book_levels_known_bid; /* book.levels_known_bid: count */
  uint32_t book_levels_known_ask; /* book.levels_known_ask: count */
  uint8_t book_book_state; /* book.book_state: enum:book_state */
  uint8_t pad3[7];
  double cob_bucket_size; /* cob.bucket_size: quote */
  int64_t cob_centre_bucket; /* cob.centre_bucket: bucket */
  double imbalance_imbalance; /* imbalance.imbalance: ratio */
  double imbalance_imbalance_ma_1s; /* imbalance.imbalance_ma_1s: ratio */
  double imbalance_imbalance_ma_5s; /* imbalance.imbalance_ma_5s: ratio */
  double imbalance_imbalance_ma_15s; /* imbalance.imbalance_ma_15s: ratio */
  double imbalance_imbalance_ma_60s; /* imbalance.imbalance_ma_60s: ratio */
  double imbalance_imbalance_px; /* imbalance.imbalance_px: ratio */
  double imbalance_imbalance_px_ma_1s; /* imbalance.imbalance_px_ma_1s: ratio */
  double imbalance_imbalance_px_ma_5s; /* imbalance.imbalance_px_ma_5s: ratio */
  double imbalance_imbalance_px_ma_15s; /* imbalance.imbalance_px_ma_15s: ratio */
  double imbalance_imbalance_px_ma_60s; /* imbalance.imbalance_px_ma_60s: ratio */
  uint32_t imbalance_imbalance_samples[4]; /* imbalance.imbalance_samples: count */
  uint8_t imbalance_imbalance_valid; /* imbalance.imbalance_valid: bool */
  uint8_t pad4[7];
  double flow_last_px; /* flow.last_px: quote */
  double flow_last_qty; /* flow.last_qty: base */
  uint64_t flow_last_id; /* flow.last_id: id */
  int64_t flow_last_ts_event; /* flow.last_ts_event: ns */
  double flow_buy_volume[4]; /* flow.buy_volume: base */
  double flow_sell_volume[4]; /* flow.sell_volume: base */
  double flow_vwap[4]; /* flow.vwap: quote */
  double flow_ofi[4]; /* flow.ofi: base */
  uint64_t flow_buy_count[4]; /* flow.buy_count: count */
  uint64_t flow_sell_count[4]; /* flow.sell_count: count */
  uint8_t flow_last_side; /* flow.last_side: enum:side */
  uint8_t pad5[7];
  int64_t candles_1s_open_open_time; /* candles.1s.open.open_time: ns */
  int64_t candles_1s_open_ts_closed; /* candles.1s.open.ts_closed: ns */
  double candles_1s_open_open; /* candles.1s.open.open: quote */
  double candles_1s_open_high; /* candles.1s.open.high: quote */
  double candles_1s_open_low; /* candles.1s.open.low: quote */
  double candles_1s_open_close; /* candles.1s.open.close: quote */
  double candles_1s_open_volume; /* candles.1s.open.volume: base */
  double candles_1s_open_quote_volume; /* candles.1s.open.quote_volume: quote */
  double candles_1s_open_taker_buy_volume; /* candles.1s.open.taker_buy_volume: base */
  double candles_1s_open_taker_buy_quote_volume; /* candles.1s.open.taker_buy_quote_volume: quote */
  uint64_t candles_1s_open_trade_count; /* candles.1s.open.trade_count: count */
  uint64_t candles_1s_open_flags; /* candles.1s.open.flags: bits:candle_flags */
  int64_t candles_1m_open_open_time; /* candles.1m.open.open_time: ns */
  int64_t candles_1m_open_ts_closed; /* candles.1m.open.ts_closed: ns */
  double candles_1m_open_open; /* candles.1m.open.open: quote */
  double candles_1m_open_high; /* candles.1m.open.high: quote */
  double candles_1m_open_low; /* candles.1m.open.low: quote */
  double candles_1m_open_close; /* candles.1m.open.close: quote */
  double candles_1m_open_volume; /* candles.1m.open.volume: base */
  double candles_1m_open_quote_volume; /* candles.1m.open.quote_volume: quote */
  double candles_1m_open_taker_buy_volume; /* candles.1m.open.taker_buy_volume: base */
  double candles_1m_open_taker_buy_quote_volume; /* candles.1m.open.taker_buy_quote_volume: quote */
  uint64_t candles_1m_open_trade_count; /* candles.1m.open.trade_count: count */
  uint64_t candles_1m_open_flags; /* candles.1m.open.flags: bits:candle_flags */
  int64_t candles_1h_open_open_time; /* candles.1h.open.open_time: ns */
  int64_t candles_1h_open_ts_closed; /* candles.1h.open.ts_closed: ns */
  double candles_1h_open_open; /* candles.1h.open.open: quote */
  double candles_1h_open_high; /* candles.1h.open.high: quote */
  double candles_1h_open_low; /* candles.1h.open.low: quote */
  double candles_1h_open_close; /* candles.1h.open.close: quote */
  double candles_1h_open_volume; /* candles.1h.open.volume: base */
  double candles_1h_open_quote_volume; /* candles.1h.open.quote_volume: quote */
  double candles_1h_open_taker_buy_volume; /* candles.1h.open.taker_buy_volume: base */
  double candles_1h_open_taker_buy_quote_volume; /* candles.1h.open.taker_buy_quote_volume: quote */
  uint64_t candles_1h_open_trade_count; /* candles.1h.open.trade_count: count */
  uint64_t candles_1h_open_flags; /* candles.1h.open.flags: bits:candle_flags */
  int64_t candles_1d_open_open_time; /* candles.1d.open.open_time: ns */
  int64_t candles_1d_open_ts_closed; /* candles.1d.open.ts_closed: ns */
  double candles_1d_open_open; /* candles.1d.open.open: quote */
  double candles_1d_open_high; /* candles.1d.open.high: quote */
  double candles_1d_open_low; /* candles.1d.open.low: quote */
  double candles_1d_open_close; /* candles.1d.open.close: quote */
  double candles_1d_open_volume; /* candles.1d.open.volume: base */
  double candles_1d_open_quote_volume; /* candles.1d.open.quote_volume: quote */
  double candles_1d_open_taker_buy_volume; /* candles.1d.open.taker_buy_volume: base */
  double candles_1d_open_taker_buy_quote_volume; /* candles.1d.open.taker_buy_quote_volume: quote */
  uint64_t candles_1d_open_trade_count; /* candles.1d.open.trade_count: count */
  uint64_t candles_1d_open_flags; /* candles.1d.open.flags: bits:candle_flags */
  int64_t pivots_1s_1_trend; /* pivots.1s.1.trend: sign */
  double pivots_1s_1_support; /* pivots.1s.1.support: quote */
  double pivots_1s_1_resistance; /* pivots.1s.1.resistance: quote */
  int64_t pivots_1s_2_trend; /* pivots.1s.2.trend: sign */
  double pivots_1s_2_support; /* pivots.1s.2.support: quote */
  double pivots_1s_2_resistance; /* pivots.1s.2.resistance: quote */
  int64_t pivots_1s_3_trend; /* pivots.1s.3.trend: sign */
  double pivots_1s_3_support; /* pivots.1s.3.support: quote */
  double pivots_1s_3_resistance; /* pivots.1s.3.resistance: quote */
  int64_t pivots_1s_4_trend; /* pivots.1s.4.trend: sign */
  double pivots_1s_4_support; /* pivots.1s.4.support: quote */
  double pivots_1s_4_resistance; /* pivots.1s.4.resistance: quote */
  int64_t pivots_1s_5_trend; /* pivots.1s.5.trend: sign */
  double pivots_1s_5_support; /* pivots.1s.5.support: quote */
  double pivots_1s_5_resistance; /* pivots.1s.5.resistance: quote */
  int64_t pivots_1m_1_trend; /* pivots.1m.1.trend: sign */
  double pivots_1m_1_support; /* pivots.1m.1.support: quote */
  double pivots_1m_1_resistance; /* pivots.1m.1.resistance: quote */
  int64_t pivots_1m_2_trend; /* pivots.1m.2.trend: sign */
  double pivots_1m_2_support; /* pivots.1m.2.support: quote */
  double pivots_1m_2_resistance; /* pivots.1m.2.resistance: quote */
  int64_t pivots_1m_3_trend; /* pivots.1m.3.trend: sign */
  double pivots_1m_3_support; /* pivots.1m.3.support: quote */
  double pivots_1m_3_resistance; /* pivots.1m.3.resistance: quote */
  int64_t pivots_1m_4_trend; /* pivots.1m.4.trend: sign */
  double pivots_1m_4_support; /* pivots.1m.4.support: quote */
  double pivots_1m_4_resistance; /* pivots.1m.4.resistance: quote */
  int64_t pivots_1m_5_trend; /* pivots.1m.5.trend: sign */
  double pivots_1m_5_support; /* pivots.1m.5.support: quote */
  double pivots_1m_5_resistance; /* pivots.1m.5.resistance: quote */
  int64_t pivot_bounds_period_start; /* pivot_bounds.period_start: ns */
  int64_t pivot_bounds_period_end; /* pivot_bounds.period_end: ns */
  uint64_t pivot_bounds_bar_count; /* pivot_bounds.bar_count: count */
  double pivot_bounds_price_min; /* pivot_bounds.price_min: quote */
  double pivot_bounds_price_max; /* pivot_bounds.price_max: quote */
  double pivot_bounds_volume_min; /* pivot_bounds.volume_min: base */
  double pivot_bounds_volume_max; /* pivot_bounds.volume_max: base */
  double pivot_bounds_support[5]; /* pivot_bounds.support: quote */
  double pivot_bounds_resistance[5]; /* pivot_bounds.resistance: quote */
  int64_t quality_age_top; /* quality.age.top: ns */
  int64_t quality_age_price; /* quality.age.price: ns */
  int64_t quality_age_book; /* quality.age.book: ns */
  int64_t quality_age_cob; /* quality.age.cob: ns */
  int64_t quality_age_imbalance; /* quality.age.imbalance: ns */
  int64_t quality_age_flow; /* quality.age.flow: ns */
  int64_t quality_age_candles_1s; /* quality.age.candles.1s: ns */
  int64_t quality_age_candles_1m; /* quality.age.candles.1m: ns */
  int64_t quality_age_candles_1h; /* quality.age.candles.1h: ns */
  int64_t quality_age_candles_1d; /* quality.age.candles.1d: ns */
  int64_t quality_age_pivots_1s; /* quality.age.pivots.1s: ns */
  int64_t quality_age_pivots_1m; /* quality.age.pivots.1m: ns */
  int64_t quality_age_pivot_bounds; /* quality.age.pivot_bounds: ns */
  int64_t quality_age_clock_offset; /* quality.age.clock_offset: ns */
  uint64_t quality_valid_rows_candles_1s; /* quality.valid_rows.candles.1s: count */
  uint64_t quality_valid_rows_candles_1m; /* quality.valid_rows.candles.1m: count */
  uint64_t quality_valid_rows_candles_1h; /* quality.valid_rows.candles.1h: count */
  uint64_t quality_valid_rows_candles_1d; /* quality.valid_rows.candles.1d: count */
  uint64_t quality_valid_rows_indicators_1s; /* quality.valid_rows.indicators.1s: count */
  uint64_t quality_valid_rows_indicators_1m; /* quality.valid_rows.indicators.1m: count */
  uint64_t quality_valid_rows_cob_rows; /* quality.valid_rows.cob_rows: count */
  uint64_t quality_valid_rows_book_states; /* quality.valid_rows.book_states: count */
  uint64_t quality_valid_rows_ticks; /* quality.valid_rows.ticks: count */
  uint64_t quality_valid_rows_pivots_1s_1; /* quality.valid_rows.pivots.1s.1: count */
  uint64_t quality_valid_rows_pivots_1s_2; /* quality.valid_rows.pivots.1s.2: count */
  uint64_t quality_valid_rows_pivots_1s_3; /* quality.valid_rows.pivots.1s.3: count */
  uint64_t quality_valid_rows_pivots_1s_4; /* quality.valid_rows.pivots.1s.4: count */
  uint64_t quality_valid_rows_pivots_1s_5; /* quality.valid_rows.pivots.1s.5: count */
  uint64_t quality_valid_rows_pivots_1m_1; /* quality.valid_rows.pivots.1m.1: count */
  uint64_t quality_valid_rows_pivots_1m_2; /* quality.valid_rows.pivots.1m.2: count */
  uint64_t quality_valid_rows_pivots_1m_3; /* quality.valid_rows.pivots.1m.3: count */
  uint64_t quality_valid_rows_pivots_1m_4; /* quality.valid_rows.pivots.1m.4: count */
  uint64_t quality_valid_rows_pivots_1m_5; /* quality.valid_rows.pivots.1m.5: count */
  uint64_t quality_valid_rows_ticker; /* quality.valid_rows.ticker: count */
  uint64_t cursors_candles_1s[2]; /* cursors.candles.1s: cursor */
  uint64_t cursors_candles_1m[2]; /* cursors.candles.1m: cursor */
  uint64_t cursors_candles_1h[2]; /* cursors.candles.1h: cursor */
  uint64_t cursors_candles_1d[2]; /* cursors.candles.1d: cursor */
  uint64_t cursors_indicators_1s[2]; /* cursors.indicators.1s: cursor */
  uint64_t cursors_indicators_1m[2]; /* cursors.indicators.1m: cursor */
  uint64_t cursors_cob_rows[2]; /* cursors.cob_rows: cursor */
  uint64_t cursors_book_states[2]; /* cursors.book_states: cursor */
  uint64_t cursors_ticks[2]; /* cursors.ticks: cursor */
  uint64_t cursors_pivots_1s_1[2]; /* cursors.pivots.1s.1: cursor */
  uint64_t cursors_pivots_1s_2[2]; /* cursors.pivots.1s.2: cursor */
  uint64_t cursors_pivots_1s_3[2]; /* cursors.pivots.1s.3: cursor */
  uint64_t cursors_pivots_1s_4[2]; /* cursors.pivots.1s.4: cursor */
  uint64_t cursors_pivots_1s_5[2]; /* cursors.pivots.1s.5: cursor */
  uint64_t cursors_pivots_1m_1[2]; /* cursors.pivots.1m.1: cursor */
  uint64_t cursors_pivots_1m_2[2]; /* cursors.pivots.1m.2: cursor */
  uint64_t cursors_pivots_1m_3[2]; /* cursors.pivots.1m.3: cursor */
  uint64_t cursors_pivots_1m_4[2]; /* cursors.pivots.1m.4: cursor */
  uint64_t cursors_pivots_1m_5[2]; /* cursors.pivots.1m.5: cursor */
  uint64_t cursors_ticker[2]; /* cursors.ticker: cursor */
  double cob_bid_qty[41]; /* cob.bid_qty: base */
  double cob_ask_qty[41]; /* cob.ask_qty: base */
  uint64_t cob_valid[1]; /* cob.valid: bitset:41 */
  double imbalance_imbalance_within[21]; /* imbalance.imbalance_within: ratio */
};

#ifdef __cplusplus
#define COBRING_PIN static_assert
#else
#define COBRING_PIN _Static_assert
#endif
COBRING_PIN(sizeof(struct cobring_frame) == 3224, "size of a frame");
COBRING_PIN(sizeof(double) == 8, "doubles of 64 bits");
COBRING_PIN(sizeof(struct CobringField) == 48, "size of a field's description");
COBRING_PIN(sizeof(struct CobringRows) == 40, "size of rows");
COBRING_PIN(sizeof(struct CobringHeatmap) == 56, "size of a heatmap");
COBRING_PIN(offsetof(struct cobring_frame, symbol) == 0, "symbol");
COBRING_PIN(offsetof(struct cobring_frame, schema_id) == 24, "schema_id");
COBRING_PIN(offsetof(struct cobring_frame, epoch) == 32, "epoch");
COBRING_PIN(offsetof(struct cobring_frame, seq) == 40, "seq");
COBRING_PIN(offsetof(struct cobring_frame, input_seq) == 48, "input_seq");
COBRING_PIN(offsetof(struct cobring_frame, trigger) == 56, "trigger");
COBRING_PIN(offsetof(struct cobring_frame, times_ts_event) == 64, "times_ts_event");
COBRING_PIN(offsetof(struct cobring_frame, times_ts_kernel) == 72, "times_ts_kernel");
COBRING_PIN(offsetof(struct cobring_frame, times_ts_recv) == 80, "times_ts_recv");
COBRING_PIN(offsetof(struct cobring_frame, times_ts_parsed) == 88, "times_ts_parsed");
COBRING_PIN(offsetof(struct cobring_frame, times_ts_applied) == 96, "times_ts_applied");
COBRING_PIN(offsetof(struct cobring_frame, times_ts_published) == 104, "times_ts_published");
COBRING_PIN(offsetof(struct cobring_frame, times_clock_offset) == 112, "times_clock_offset");
COBRING_PIN(offsetof(struct cobring_frame, times_offset_low) == 120, "times_offset_low");
COBRING_PIN(offsetof(struct cobring_frame, times_offset_high) == 128, "times_offset_high");
COBRING_PIN(offsetof(struct cobring_frame, times_wall_offset) == 136, "times_wall_offset");
COBRING_PIN(offsetof(struct cobring_frame, quality_score) == 144, "quality_score");
COBRING_PIN(offsetof(struct cobring_frame, quality_sync) == 152, "quality_sync");
COBRING_PIN(offsetof(struct cobring_frame, quality_freshness) == 160, "quality_freshness");
COBRING_PIN(offsetof(struct cobring_frame, quality_completeness) == 168, "quality_completeness");
COBRING_PIN(offsetof(struct cobring_frame, quality_consistency) == 176, "quality_consistency");
COBRING_PIN(offsetof(struct cobring_frame, quality_coverage) == 184, "quality_coverage");
COBRING_PIN(offsetof(struct cobring_frame, quality_reasons) == 192, "quality_reasons");
COBRING_PIN(offsetof(struct cobring_frame, quality_valid) == 200, "quality_valid");
COBRING_PIN(offsetof(struct cobring_frame, quality_age_depth) == 208, "quality_age_depth");
COBRING_PIN(offsetof(struct cobring_frame, quality_age_quote) == 216, "quality_age_quote");
COBRING_PIN(offsetof(struct cobring_frame, quality_age_trade) == 224, "quality_age_trade");
COBRING_PIN(offsetof(struct cobring_frame, top_bid_px) == 232, "top_bid_px");
COBRING_PIN(offsetof(struct cobring_frame, top_bid_qty) == 240, "top_bid_qty");
COBRING_PIN(offsetof(struct cobring_frame, top_ask_px) == 248, "top_ask_px");
COBRING_PIN(offsetof(struct cobring_frame, top_ask_qty) == 256, "top_ask_qty");
COBRING_PIN(offsetof(struct cobring_frame, top_mid_px) == 264, "top_mid_px");
COBRING_PIN(offsetof(struct cobring_frame, top_micro_px) == 272, "top_micro_px");
COBRING_PIN(offsetof(struct cobring_frame, top_spread) == 280, "top_spread");
COBRING_PIN(offsetof(struct cobring_frame, top_update_id) == 288, "top_update_id");
COBRING_PIN(offsetof(struct cobring_frame, top_source) == 296, "top_source");
COBRING_PIN(offsetof(struct cobring_frame, price_px) == 304, "price_px");
COBRING_PIN(offsetof(struct cobring_frame, price_age) == 312, "price_age");
COBRING_PIN(offsetof(struct cobring_frame, price_source) == 320, "price_source");
COBRING_PIN(offsetof(struct cobring_frame, book_update_id) == 328, "book_update_id");
COBRING_PIN(offsetof(struct cobring_frame, book_bids) == 336, "book_bids");
COBRING_PIN(offsetof(struct cobring_frame, book_asks) == 496, "book_asks");
COBRING_PIN(offsetof(struct cobring_frame, book_bid_known_to) == 656, "book_bid_known_to");
COBRING_PIN(offsetof(struct cobring_frame, book_ask_known_to) == 664, "book_ask_known_to");
COBRING_PIN(offsetof(struct cobring_frame, book_levels_known_bid) == 672, "book_levels_known_bid");
COBRING_PIN(offsetof(struct cobring_frame, book_levels_known_ask) == 676, "book_levels_known_ask");
COBRING_PIN(offsetof(struct cobring_frame, book_book_state) == 680, "book_book_state");
COBRING_PIN(offsetof(struct cobring_frame, cob_bucket_size) == 688, "cob_bucket_size");
COBRING_PIN(offsetof(struct cobring_frame, cob_centre_bucket) == 696, "cob_centre_bucket");
COBRING_PIN(offsetof(struct cobring_frame, imbalance_imbalance) == 704, "imbalance_imbalance");
COBRING_PIN(offsetof(struct cobring_frame, imbalance_imbalance_ma_1s) == 712, "imbalance_imbalance_ma_1s");
COBRING_PIN(offsetof(struct cobring_frame, imbalance_imbalance_ma_5s) == 720, "imbalance_imbalance_ma_5s");
COBRING_PIN(offsetof(struct cobring_frame, imbalance_imbalance_ma_15s) == 728, "imbalance_imbalance_ma_15s");
COBRING_PIN(offsetof(struct cobring_frame, imbalance_imbalance_ma_60s) == 736, "imbalance_imbalance_ma_60s");
COBRING_PIN(offsetof(struct cobring_frame, imbalance_imbalance_px) == 744, "imbalance_imbalance_px");
COBRING_PIN(offsetof(struct cobring_frame, imbalance_imbalance_px_ma_1s) == 752, "imbalance_imbalance_px_ma_1s");
COBRING_PIN(offsetof(struct cobring_frame, imbalance_imbalance_px_ma_5s) == 760, "imbalance_imbalance_px_ma_5s");
COBRING_PIN(offsetof(struct cobring_frame, imbalance_imbalance_px_ma_15s) == 768, "imbalance_imbalance_px_ma_15s");
COBRING_PIN(offsetof(struct cobring_frame, imbalance_imbalance_px_ma_60s) == 776, "imbalance_imbalance_px_ma_60s");
COBRING_PIN(offsetof(struct cobring_frame, imbalance_imbalance_samples) == 784, "imbalance_imbalance_samples");
COBRING_PIN(offsetof(struct cobring_frame, imbalance_imbalance_valid) == 800, "imbalance_imbalance_valid");
COBRING_PIN(offsetof(struct cobring_frame, flow_last_px) == 808, "flow_last_px");
COBRING_PIN(offsetof(struct cobring_frame, flow_last_qty) == 816, "flow_last_qty");
COBRING_PIN(offsetof(struct cobring_frame, flow_last_id) == 824, "flow_last_id");
COBRING_PIN(offsetof(struct cobring_frame, flow_last_ts_event) == 832, "flow_last_ts_event");
COBRING_PIN(offsetof(struct cobring_frame, flow_buy_volume) == 840, "flow_buy_volume");
COBRING_PIN(offsetof(struct cobring_frame, flow_sell_volume) == 872, "flow_sell_volume");
COBRING_PIN(offsetof(struct cobring_frame, flow_vwap) == 904, "flow_vwap");
COBRING_PIN(offsetof(struct cobring_frame, flow_ofi) == 936, "flow_ofi");
COBRING_PIN(offsetof(struct cobring_frame, flow_buy_count) == 968, "flow_buy_count");
COBRING_PIN(offsetof(struct cobring_frame, flow_sell_count) == 1000, "flow_sell_count");
COBRING_PIN(offsetof(struct cobring_frame, flow_last_side) == 1032, "flow_last_side");
COBRING_PIN(offsetof(struct cobring_frame, candles_1s_open_open_time) == 1040, "candles_1s_open_open_time");
COBRING_PIN(offsetof(struct cobring_frame, candles_1s_open_ts_closed) == 1048, "candles_1s_open_ts_closed");
COBRING_PIN(offsetof(struct cobring_frame, candles_1s_open_open) == 1056, "candles_1s_open_open");
COBRING_PIN(offsetof(struct cobring_frame, candles_1s_open_high) == 1064, "candles_1s_open_high");
COBRING_PIN(offsetof(struct cobring_frame, candles_1s_open_low) == 1072, "candles_1s_open_low");
COBRING_PIN(offsetof(struct cobring_frame, candles_1s_open_close) == 1080, "candles_1s_open_close");
COBRING_PIN(offsetof(struct cobring_frame, candles_1s_open_volume) == 1088, "candles_1s_open_volume");
COBRING_PIN(offsetof(struct cobring_frame, candles_1s_open_quote_volume) == 1096, "candles_1s_open_quote_volume");
COBRING_PIN(offsetof(struct cobring_frame, candles_1s_open_taker_buy_volume) == 1104, "candles_1s_open_taker_buy_volume");
COBRING_PIN(offsetof(struct cobring_frame, candles_1s_open_taker_buy_quote_volume) == 1112, "candles_1s_open_taker_buy_quote_volume");
COBRING_PIN(offsetof(struct cobring_frame, candles_1s_open_trade_count) == 1120, "candles_1s_open_trade_count");
COBRING_PIN(offsetof(struct cobring_frame, candles_1s_open_flags) == 1128, "candles_1s_open_flags");
COBRING_PIN(offsetof(struct cobring_frame, candles_1m_open_open_time) == 1136, "candles_1m_open_open_time");
COBRING_PIN(offsetof(struct cobring_frame, candles_1m_open_ts_closed) == 1144, "candles_1m_open_ts_closed");
COBRING_PIN(offsetof(struct cobring_frame, candles_1m_open_open) == 1152, "candles_1m_open_open");
COBRING_PIN(offsetof(struct cobring_frame, candles_1m_open_high) == 1160, "candles_1m_open_high");
COBRING_PIN(offsetof(struct cobring_frame, candles_1m_open_low) == 1168, "candles_1m_open_low");
COBRING_PIN(offsetof(struct cobring_frame, candles_1m_open_close) == 1176, "candles_1m_open_close");
COBRING_PIN(offsetof(struct cobring_frame, candles_1m_open_volume) == 1184, "candles_1m_open_volume");
COBRING_PIN(offsetof(struct cobring_frame, candles_1m_open_quote_volume) == 1192, "candles_1m_open_quote_volume");
COBRING_PIN(offsetof(struct cobring_frame, candles_1m_open_taker_buy_volume) == 1200, "candles_1m_open_taker_buy_volume");
COBRING_PIN(offsetof(struct cobring_frame, candles_1m_open_taker_buy_quote_volume) == 1208, "candles_1m_open_taker_buy_quote_volume");
COBRING_PIN(offsetof(struct cobring_frame, candles_1m_open_trade_count) == 1216, "candles_1m_open_trade_count");
COBRING_PIN(offsetof(struct cobring_frame, candles_1m_open_flags) == 1224, "candles_1m_open_flags");
COBRING_PIN(offsetof(struct cobring_frame, candles_1h_open_open_time) == 1232, "candles_1h_open_open_time");
COBRING_PIN(offsetof(struct cobring_frame, candles_1h_open_ts_closed) == 1240, "candles_1h_open_ts_closed");
COBRING_PIN(offsetof(struct cobring_frame, candles_1h_open_open) == 1248, "candles_1h_open_open");
COBRING_PIN(offsetof(struct cobring_frame, candles_1h_open_high) == 1256, "candles_1h_open_high");
COBRING_PIN(offsetof(struct cobring_frame, candles_1h_open_low) == 1264, "candles_1h_open_low");
COBRING_PIN(offsetof(struct cobring_frame, candles_1h_open_close) == 1272, "candles_1h_open_close");
COBRING_PIN(offsetof(struct cobring_frame, candles_1h_open_volume) == 1280, "candles_1h_open_volume");
COBRING_PIN(offsetof(struct cobring_frame, candles_1h_open_quote_volume) == 1288, "candles_1h_open_quote_volume");
COBRING_PIN(offsetof(struct cobring_frame, candles_1h_open_taker_buy_volume) == 1296, "candles_1h_open_taker_buy_volume");
COBRING_PIN(offsetof(struct cobring_frame, candles_1h_open_taker_buy_quote_volume) == 1304, "candles_1h_open_taker_buy_quote_volume");
COBRING_PIN(offsetof(struct cobring_frame, candles_1h_open_trade_count) == 1312, "candles_1h_open_trade_count");
COBRING_PIN(offsetof(struct cobring_frame, candles_1h_open_flags) == 1320, "candles_1h_open_flags");
COBRING_PIN(offsetof(struct cobring_frame, candles_1d_open_open_time) == 1328, "candles_1d_open_open_time");
COBRING_PIN(offsetof(struct cobring_frame, candles_1d_open_ts_closed) == 1336, "candles_1d_open_ts_closed");
COBRING_PIN(offsetof(struct cobring_frame, candles_1d_open_open) == 1344, "candles_1d_open_open");
COBRING_PIN(offsetof(struct cobring_frame, candles_1d_open_high) == 1352, "candles_1d_open_high");
COBRING_PIN(offsetof(struct cobring_frame, candles_1d_open_low) == 1360, "candles_1d_open_low");
COBRING_PIN(offsetof(struct cobring_frame, candles_1d_open_close) == 1368, "candles_1d_open_close");
COBRING_PIN(offsetof(struct cobring_frame, candles_1d_open_volume) == 1376, "candles_1d_open_volume");
COBRING_PIN(offsetof(struct cobring_frame, candles_1d_open_quote_volume) == 1384, "candles_1d_open_quote_volume");
COBRING_PIN(offsetof(struct cobring_frame, candles_1d_open_taker_buy_volume) == 1392, "candles_1d_open_taker_buy_volume");
COBRING_PIN(offsetof(struct cobring_frame, candles_1d_open_taker_buy_quote_volume) == 1400, "candles_1d_open_taker_buy_quote_volume");
COBRING_PIN(offsetof(struct cobring_frame, candles_1d_open_trade_count) == 1408, "candles_1d_open_trade_count");
COBRING_PIN(offsetof(struct cobring_frame, candles_1d_open_flags) == 1416, "candles_1d_open_flags");
COBRING_PIN(offsetof(struct cobring_frame, pivots_1s_1_trend) == 1424, "pivots_1s_1_trend");
COBRING_PIN(offsetof(struct cobring_frame, pivots_1s_1_support) == 1432, "pivots_1s_1_support");
COBRING_PIN(offsetof(struct cobring_frame, pivots_1s_1_resistance) == 1440, "pivots_1s_1_resistance");
COBRING_PIN(offsetof(struct cobring_frame, pivots_1s_2_trend) == 1448, "pivots_1s_2_trend");
COBRING_PIN(offsetof(struct cobring_frame, pivots_1s_2_support) == 1456, "pivots_1s_2_support");
COBRING_PIN(offsetof(struct cobring_frame, pivots_1s_2_resistance) == 1464, "pivots_1s_2_resistance");
COBRING_PIN(offsetof(struct cobring_frame, pivots_1s_3_trend) == 1472, "pivots_1s_3_trend");
COBRING_PIN(offsetof(struct cobring_frame, pivots_1s_3_support) == 1480, "pivots_1s_3_support");
COBRING_PIN(offsetof(struct cobring_frame, pivots_1s_3_resistance) == 1488, "pivots_1s_3_resistance");
COBRING_PIN(offsetof(struct cobring_frame, pivots_1s_4_trend) == 1496, "pivots_1s_4_trend");
COBRING_PIN(offsetof(struct cobring_frame, pivots_1s_4_support) == 1504, "pivots_1s_4_support");
COBRING_PIN(offsetof(struct cobring_frame, pivots_1s_4_resistance) == 1512, "pivots_1s_4_resistance");
COBRING_PIN(offsetof(struct cobring_frame, pivots_1s_5_trend) == 1520, "pivots_1s_5_trend");
COBRING_PIN(offsetof(struct cobring_frame, pivots_1s_5_support) == 1528, "pivots_1s_5_support");
COBRING_PIN(offsetof(struct cobring_frame, pivots_1s_5_resistance) == 1536, "pivots_1s_5_resistance");
COBRING_PIN(offsetof(struct cobring_frame, pivots_1m_1_trend) == 1544, "pivots_1m_1_trend");
COBRING_PIN(offsetof(struct cobring_frame, pivots_1m_1_support) == 1552, "pivots_1m_1_support");
COBRING_PIN(offsetof(struct cobring_frame, pivots_1m_1_resistance) == 1560, "pivots_1m_1_resistance");
COBRING_PIN(offsetof(struct cobring_frame, pivots_1m_2_trend) == 1568, "pivots_1m_2_trend");
COBRING_PIN(offsetof(struct cobring_frame, pivots_1m_2_support) == 1576, "pivots_1m_2_support");
COBRING_PIN(offsetof(struct cobring_frame, pivots_1m_2_resistance) == 1584, "pivots_1m_2_resistance");
COBRING_PIN(offsetof(struct cobring_frame, pivots_1m_3_trend) == 1592, "pivots_1m_3_trend");
COBRING_PIN(offsetof(struct cobring_frame, pivots_1m_3_support) == 1600, "pivots_1m_3_support");
COBRING_PIN(offsetof(struct cobring_frame, pivots_1m_3_resistance) == 1608, "pivots_1m_3_resistance");
COBRING_PIN(offsetof(struct cobring_frame, pivots_1m_4_trend) == 1616, "pivots_1m_4_trend");
COBRING_PIN(offsetof(struct cobring_frame, pivots_1m_4_support) == 1624, "pivots_1m_4_support");
COBRING_PIN(offsetof(struct cobring_frame, pivots_1m_4_resistance) == 1632, "pivots_1m_4_resistance");
COBRING_PIN(offsetof(struct cobring_frame, pivots_1m_5_trend) == 1640, "pivots_1m_5_trend");
COBRING_PIN(offsetof(struct cobring_frame, pivots_1m_5_support) == 1648, "pivots_1m_5_support");
COBRING_PIN(offsetof(struct cobring_frame, pivots_1m_5_resistance) == 1656, "pivots_1m_5_resistance");
COBRING_PIN(offsetof(struct cobring_frame, pivot_bounds_period_start) == 1664, "pivot_bounds_period_start");
COBRING_PIN(offsetof(struct cobring_frame, pivot_bounds_period_end) == 1672, "pivot_bounds_period_end");
COBRING_PIN(offsetof(struct cobring_frame, pivot_bounds_bar_count) == 1680, "pivot_bounds_bar_count");
COBRING_PIN(offsetof(struct cobring_frame, pivot_bounds_price_min) == 1688, "pivot_bounds_price_min");
COBRING_PIN(offsetof(struct cobring_frame, pivot_bounds_price_max) == 1696, "pivot_bounds_price_max");
COBRING_PIN(offsetof(struct cobring_frame, pivot_bounds_volume_min) == 1704, "pivot_bounds_volume_min");
COBRING_PIN(offsetof(struct cobring_frame, pivot_bounds_volume_max) == 1712, "pivot_bounds_volume_max");
COBRING_PIN(offsetof(struct cobring_frame, pivot_bounds_support) == 1720, "pivot_bounds_support");
COBRING_PIN(offsetof(struct cobring_frame, pivot_bounds_resistance) == 1760, "pivot_bounds_resistance");
COBRING_PIN(offsetof(struct cobring_frame, quality_age_top) == 1800, "quality_age_top");
COBRING_PIN(offsetof(struct cobring_frame, quality_age_price) == 1808, "quality_age_price");
COBRING_PIN(offsetof(struct cobring_frame, quality_age_book) == 1816, "quality_age_book");
COBRING_PIN(offsetof(struct cobring_frame, quality_age_cob) == 1824, "quality_age_cob");
COBRING_PIN(offsetof(struct cobring_frame, quality_age_imbalance) == 1832, "quality_age_imbalance");
COBRING_PIN(offsetof(struct cobring_frame, quality_age_flow) == 1840, "quality_age_flow");
COBRING_PIN(offsetof(struct cobring_frame, quality_age_candles_1s) == 1848, "quality_age_candles_1s");
COBRING_PIN(offsetof(struct cobring_frame, quality_age_candles_1m) == 1856, "quality_age_candles_1m");
COBRING_PIN(offsetof(struct cobring_frame, quality_age_candles_1h) == 1864, "quality_age_candles_1h");
COBRING_PIN(offsetof(struct cobring_frame, quality_age_candles_1d) == 1872, "quality_age_candles_1d");
COBRING_PIN(offsetof(struct cobring_frame, quality_age_pivots_1s) == 1880, "quality_age_pivots_1s");
COBRING_PIN(offsetof(struct cobring_frame, quality_age_pivots_1m) == 1888, "quality_age_pivots_1m");
COBRING_PIN(offsetof(struct cobring_frame, quality_age_pivot_bounds) == 1896, "quality_age_pivot_bounds");
COBRING_PIN(offsetof(struct cobring_frame, quality_age_clock_offset) == 1904, "quality_age_clock_offset");
COBRING_PIN(offsetof(struct cobring_frame, quality_valid_rows_candles_1s) == 1912, "quality_valid_rows_candles_1s");
COBRING_PIN(offsetof(struct cobring_frame, quality_valid_rows_candles_1m) == 1920, "quality_valid_rows_candles_1m");
COBRING_PIN(offsetof(struct cobring_frame, quality_valid_rows_candles_1h) == 1928, "quality_valid_rows_candles_1h");
COBRING_PIN(offsetof(struct cobring_frame, quality_valid_rows_candles_1d) == 1936, "quality_valid_rows_candles_1d");
COBRING_PIN(offsetof(struct cobring_frame, quality_valid_rows_indicators_1s) == 1944, "quality_valid_rows_indicators_1s");
COBRING_PIN(offsetof(struct cobring_frame, quality_valid_rows_indicators_1m) == 1952, "quality_valid_rows_indicators_1m");
COBRING_PIN(offsetof(struct cobring_frame, quality_valid_rows_cob_rows) == 1960, "quality_valid_rows_cob_rows");
COBRING_PIN(offsetof(struct cobring_frame, quality_valid_rows_book_states) == 1968, "quality_valid_rows_book_states");
COBRING_PIN(offsetof(struct cobring_frame, quality_valid_rows_ticks) == 1976, "quality_valid_rows_ticks");
COBRING_PIN(offsetof(struct cobring_frame, quality_valid_rows_pivots_1s_1) == 1984, "quality_valid_rows_pivots_1s_1");
COBRING_PIN(offsetof(struct cobring_frame, quality_valid_rows_pivots_1s_2) == 1992, "quality_valid_rows_pivots_1s_2");
COBRING_PIN(offsetof(struct cobring_frame, quality_valid_rows_pivots_1s_3) == 2000, "quality_valid_rows_pivots_1s_3");
COBRING_PIN(offsetof(struct cobring_frame, quality_valid_rows_pivots_1s_4) == 2008, "quality_valid_rows_pivots_1s_4");
COBRING_PIN(offsetof(struct cobring_frame, quality_valid_rows_pivots_1s_5) == 2016, "quality_valid_rows_pivots_1s_5");
COBRING_PIN(offsetof(struct cobring_frame, quality_valid_rows_pivots_1m_1) == 2024, "quality_valid_rows_pivots_1m_1");
COBRING_PIN(offsetof(struct cobring_frame, quality_valid_rows_pivots_1m_2) == 2032, "quality_valid_rows_pivots_1m_2");
COBRING_PIN(offsetof(struct cobring_frame, quality_valid_rows_pivots_1m_3) == 2040, "quality_valid_rows_pivots_1m_3");
COBRING_PIN(offsetof(struct cobring_frame, quality_valid_rows_pivots_1m_4) == 2048, "quality_valid_rows_pivots_1m_4");
COBRING_PIN(offsetof(struct cobring_frame, quality_valid_rows_pivots_1m_5) == 2056, "quality_valid_rows_pivots_1m_5");
COBRING_PIN(offsetof(struct cobring_frame, quality_valid_rows_ticker) == 2064, "quality_valid_rows_ticker");
COBRING_PIN(offsetof(struct cobring_frame, cursors_candles_1s) == 2072, "cursors_candles_1s");
COBRING_PIN(offsetof(struct cobring_frame, cursors_candles_1m) == 2088, "cursors_candles_1m");
COBRING_PIN(offsetof(struct cobring_frame, cursors_candles_1h) == 2104, "cursors_candles_1h");
COBRING_PIN(offsetof(struct cobring_frame, cursors_candles_1d) == 2120, "cursors_candles_1d");
COBRING_PIN(offsetof(struct cobring_frame, cursors_indicators_1s) == 2136, "cursors_indicators_1s");
COBRING_PIN(offsetof(struct cobring_frame, cursors_indicators_1m) == 2152, "cursors_indicators_1m");
COBRING_PIN(offsetof(struct cobring_frame, cursors_cob_rows) == 2168, "cursors_cob_rows");
COBRING_PIN(offsetof(struct cobring_frame, cursors_book_states) == 2184, "cursors_book_states");
COBRING_PIN(offsetof(struct cobring_frame, cursors_ticks) == 2200, "cursors_ticks");
COBRING_PIN(offsetof(struct cobring_frame, cursors_pivots_1s_1) == 2216, "cursors_pivots_1s_1");
COBRING_PIN(offsetof(struct cobring_frame, cursors_pivots_1s_2) == 2232, "cursors_pivots_1s_2");
COBRING_PIN(offsetof(struct cobring_frame, cursors_pivots_1s_3) == 2248, "cursors_pivots_1s_3");
COBRING_PIN(offsetof(struct cobring_frame, cursors_pivots_1s_4) == 2264, "cursors_pivots_1s_4");
COBRING_PIN(offsetof(struct cobring_frame, cursors_pivots_1s_5) == 2280, "cursors_pivots_1s_5");
COBRING_PIN(offsetof(struct cobring_frame, cursors_pivots_1m_1) == 2296, "cursors_pivots_1m_1");
COBRING_PIN(offsetof(struct cobring_frame, cursors_pivots_1m_2) == 2312, "cursors_pivots_1m_2");
COBRING_PIN(offsetof(struct cobring_frame, cursors_pivots_1m_3) == 2328, "cursors_pivots_1m_3");
COBRING_PIN(offsetof(struct cobring_frame, cursors_pivots_1m_4) == 2344, "cursors_pivots_1m_4");
COBRING_PIN(offsetof(struct cobring_frame, cursors_pivots_1m_5) == 2360, "cursors_pivots_1m_5");
COBRING_PIN(offsetof(struct cobring_frame, cursors_ticker) == 2376, "cursors_ticker");
COBRING_PIN(offsetof(struct cobring_frame, cob_bid_qty) == 2392, "cob_bid_qty");
COBRING_PIN(offsetof(struct cobring_frame, cob_ask_qty) == 2720, "cob_ask_qty");
COBRING_PIN(offsetof(struct cobring_frame, cob_valid) == 3048, "cob_valid");
COBRING_PIN(offsetof(struct cobring_frame, imbalance_imbalance_within) == 3056, "imbalance_imbalance_within");

/* Whether struct cobring_frame may be laid over this engine's frames. */
static inline bool cobring_frame_is_shipped(struct CobringReader *reader) {
  static const struct { const char *name; size_t offset, size, count; } fields[] = {
  {"symbol", 0, 1, 24},
  {"schema_id", 24, 8, 1},
  {"epoch", 32, 8, 1},
  {"seq", 40, 8, 1},
  {"input_seq", 48, 8, 1},
  {"trigger", 56, 1, 1},
  {"times.ts_event", 64, 8, 1},
  {"times.ts_kernel", 72, 8, 1},
  {"times.ts_recv", 80, 8, 1},
  {"times.ts_parsed", 88, 8, 1},
  {"times.ts_applied", 96, 8, 1},
  {"times.ts_published", 104, 8, 1},
  {"times.clock_offset", 112, 8, 1},
  {"times.offset_low", 120, 8, 1},
  {"times.offset_high", 128, 8, 1},
  {"times.wall_offset", 136, 8, 1},
  {"quality.score", 144, 8, 1},
  {"quality.sync", 152, 8, 1},
  {"quality.freshness", 160, 8, 1},
  {"quality.completeness", 168, 8, 1},
  {"quality.consistency", 176, 8, 1},
  {"quality.coverage", 184, 8, 1},
  {"quality.reasons", 192, 8, 1},
  {"quality.valid", 200, 8, 1},
  {"quality.age_depth", 208, 8, 1},
  {"quality.age_quote", 216, 8, 1},
  {"quality.age_trade", 224, 8, 1},
  {"top.bid_px", 232, 8, 1},
  {"top.bid_qty", 240, 8, 1},
  {"top.ask_px", 248, 8, 1},
  {"top.ask_qty", 256, 8, 1},
  {"top.mid_px", 264, 8, 1},
  {"top.micro_px", 272, 8, 1},
  {"top.spread", 280, 8, 1},
  {"top.update_id", 288, 8, 1},
  {"top.source", 296, 1, 1},
  {"price.px", 304, 8, 1},
  {"price.age", 312, 8, 1},
  {"price.source", 320, 1, 1},
  {"book.update_id", 328, 8, 1},
  {"book.bids", 336, 8, 20},
  {"book.asks", 496, 8, 20},
  {"book.bid_known_to", 656, 8, 1},
  {"book.ask_known_to", 664, 8, 1},
  {"book.levels_known_bid", 672, 4, 1},
  {"book.levels_known_ask", 676, 4, 1},
  {"book.book_state", 680, 1, 1},
  {"cob.bucket_size", 688, 8, 1},
  {"cob.centre_bucket", 696, 8, 1},
  {"imbalance.imbalance", 704, 8, 1},
  {"imbalance.imbalance_ma_1s", 712, 8, 1},
  {"imbalance.imbalance_ma_5s", 720, 8, 1},
  {"imbalance.imbalance_ma_15s", 728, 8, 1},
  {"imbalance.imbalance_ma_60s", 736, 8, 1},
  {"imbalance.imbalance_px", 744, 8, 1},
  {"imbalance.imbalance_px_ma_1s", 752, 8, 1},
  {"imbalance.imbalance_px_ma_5s", 760, 8, 1},
  {"imbalance.imbalance_px_ma_15s", 768, 8, 1},
  {"imbalance.imbalance_px_ma_60s", 776, 8, 1},
  {"imbalance.imbalance_samples", 784, 4, 4},
  {"imbalance.imbalance_valid", 800, 1, 1},
  {"flow.last_px", 808, 8, 1},
  {"flow.last_qty", 816, 8, 1},
  {"flow.last_id", 824, 8, 1},
  {"flow.last_ts_event", 832, 8, 1},
  {"flow.buy_volume", 840, 8, 4},
  {"flow.sell_volume", 872, 8, 4},
  {"flow.vwap", 904, 8, 4},
  {"flow.ofi", 936, 8, 4},
  {"flow.buy_count", 968, 8, 4},
  {"flow.sell_count", 1000, 8, 4},
  {"flow.last_side", 1032, 1, 1},
  {"candles.1s.open.open_time", 1040, 8, 1},
  {"candles.1s.open.ts_closed", 1048, 8, 1},
  {"candles.1s.open.open", 1056, 8, 1},
  {"candles.1s.open.high", 1064, 8, 1},
  {"candles.1s.open.low", 1072, 8, 1},
  {"candles.1s.open.close", 1080, 8, 1},
  {"candles.1s.open.volume", 1088, 8, 1},
  {"candles.1s.open.quote_volume", 1096, 8, 1},
  {"candles.1s.open.taker_buy_volume", 1104, 8, 1},
  {"candles.1s.open.taker_buy_quote_volume", 1112, 8, 1},
  {"candles.1s.open.trade_count", 1120, 8, 1},
  {"candles.1s.open.flags", 1128, 8, 1},
  {"candles.1m.open.open_time", 1136, 8, 1},
  {"candles.1m.open.ts_closed", 1144, 8, 1},
  {"candles.1m.open.open", 1152, 8, 1},
  {"candles.1m.open.high", 1160, 8, 1},
  {"candles.1m.open.low", 1168, 8, 1},
  {"candles.1m.open.close", 1176, 8, 1},
  {"candles.1m.open.volume", 1184, 8, 1},
  {"candles.1m.open.quote_volume", 1192, 8, 1},
  {"candles.1m.open.taker_buy_volume", 1200, 8, 1},
  {"candles.1m.open.taker_buy_quote_volume", 1208, 8, 1},
  {"candles.1m.open.trade_count", 1216, 8, 1},
  {"candles.1m.open.flags", 1224, 8, 1},
  {"candles.1h.open.open_time", 1232, 8, 1},
  {"candles.1h.open.ts_closed", 1240, 8, 1},
  {"candles.1h.open.open", 1248, 8, 1},
  {"candles.1h.open.high", 1256, 8, 1},
  {"candles.1h.open.low", 1264, 8, 1},
  {"candles.1h.open.close", 1272, 8, 1},
  {"candles.1h.open.volume", 1280, 8, 1},
  {"candles.1h.open.quote_volume", 1288, 8, 1},
  {"candles.1h.open.taker_buy_volume", 1296, 8, 1},
  {"candles.1h.open.taker_buy_quote_volume", 1304, 8, 1},
  {"candles.1h.open.trade_count", 1312, 8, 1},
  {"candles.1h.open.flags", 1320, 8, 1},
  {"candles.1d.open.open_time", 1328, 8, 1},
  {"candles.1d.open.ts_closed", 1336, 8, 1},
  {"candles.1d.open.open", 1344, 8, 1},
  {"candles.1d.open.high", 1352, 8, 1},
  {"candles.1d.open.low", 1360, 8, 1},
  {"candles.1d.open.close", 1368, 8, 1},
  {"candles.1d.open.volume", 1376, 8, 1},
  {"candles.1d.open.quote_volume", 1384, 8, 1},
  {"candles.1d.open.taker_buy_volume", 1392, 8, 1},
  {"candles.1d.open.taker_buy_quote_volume", 1400, 8, 1},
  {"candles.1d.open.trade_count", 1408, 8, 1},
  {"candles.1d.open.flags", 1416, 8, 1},
  {"pivots.1s.1.trend", 1424, 8, 1},
  {"pivots.1s.1.support", 1432, 8, 1},
  {"pivots.1s.1.resistance", 1440, 8, 1},
  {"pivots.1s.2.trend", 1448, 8, 1},
  {"pivots.1s.2.support", 1456, 8, 1},
  {"pivots.1s.2.resistance", 1464, 8, 1},
  {"pivots.1s.3.trend", 1472, 8, 1},
  {"pivots.1s.3.support", 1480, 8, 1},
  {"pivots.1s.3.resistance", 1488, 8, 1},
  {"pivots.1s.4.trend", 1496, 8, 1},
  {"pivots.1s.4.support", 1504, 8, 1},
  {"pivots.1s.4.resistance", 1512, 8, 1},
  {"pivots.1s.5.trend", 1520, 8, 1},
  {"pivots.1s.5.support", 1528, 8, 1},
  {"pivots.1s.5.resistance", 1536, 8, 1},
  {"pivots.1m.1.trend", 1544, 8, 1},
  {"pivots.1m.1.support", 1552, 8, 1},
  {"pivots.1m.1.resistance", 1560, 8, 1},
  {"pivots.1m.2.trend", 1568, 8, 1},
  {"pivots.1m.2.support", 1576, 8, 1},
  {"pivots.1m.2.resistance", 1584, 8, 1},
  {"pivots.1m.3.trend", 1592, 8, 1},
  {"pivots.1m.3.support", 1600, 8, 1},
  {"pivots.1m.3.resistance", 1608, 8, 1},
  {"pivots.1m.4.trend", 1616, 8, 1},
  {"pivots.1m.4.support", 1624, 8, 1},
  {"pivots.1m.4.resistance", 1632, 8, 1},
  {"pivots.1m.5.trend", 1640, 8, 1},
  {"pivots.1m.5.support", 1648, 8, 1},
  {"pivots.1m.5.resistance", 1656, 8, 1},
  {"pivot_bounds.period_start", 1664, 8, 1},
  {"pivot_bounds.period_end", 1672, 8, 1},
  {"pivot_bounds.bar_count", 1680, 8, 1},
  {"pivot_bounds.price_min", 1688, 8, 1},
  {"pivot_bounds.price_max", 1696, 8, 1},
  {"pivot_bounds.volume_min", 1704, 8, 1},
  {"pivot_bounds.volume_max", 1712, 8, 1},
  {"pivot_bounds.support", 1720, 8, 5},
  {"pivot_bounds.resistance", 1760, 8, 5},
  {"quality.age.top", 1800, 8, 1},
  {"quality.age.price", 1808, 8, 1},
  {"quality.age.book", 1816, 8, 1},
  {"quality.age.cob", 1824, 8, 1},
  {"quality.age.imbalance", 1832, 8, 1},
  {"quality.age.flow", 1840, 8, 1},
  {"quality.age.candles.1s", 1848, 8, 1},
  {"quality.age.candles.1m", 1856, 8, 1},
  {"quality.age.candles.1h", 1864, 8, 1},
  {"quality.age.candles.1d", 1872, 8, 1},
  {"quality.age.pivots.1s", 1880, 8, 1},
  {"quality.age.pivots.1m", 1888, 8, 1},
  {"quality.age.pivot_bounds", 1896, 8, 1},
  {"quality.age.clock_offset", 1904, 8, 1},
  {"quality.valid_rows.candles.1s", 1912, 8, 1},
  {"quality.valid_rows.candles.1m", 1920, 8, 1},
  {"quality.valid_rows.candles.1h", 1928, 8, 1},
  {"quality.valid_rows.candles.1d", 1936, 8, 1},
  {"quality.valid_rows.indicators.1s", 1944, 8, 1},
  {"quality.valid_rows.indicators.1m", 1952, 8, 1},
  {"quality.valid_rows.cob_rows", 1960, 8, 1},
  {"quality.valid_rows.book_states", 1968, 8, 1},
  {"quality.valid_rows.ticks", 1976, 8, 1},
  {"quality.valid_rows.pivots.1s.1", 1984, 8, 1},
  {"quality.valid_rows.pivots.1s.2", 1992, 8, 1},
  {"quality.valid_rows.pivots.1s.3", 2000, 8, 1},
  {"quality.valid_rows.pivots.1s.4", 2008, 8, 1},
  {"quality.valid_rows.pivots.1s.5", 2016, 8, 1},
  {"quality.valid_rows.pivots.1m.1", 2024, 8, 1},
  {"quality.valid_rows.pivots.1m.2", 2032, 8, 1},
  {"quality.valid_rows.pivots.1m.3", 2040, 8, 1},
  {"quality.valid_rows.pivots.1m.4", 2048, 8, 1},
  {"quality.valid_rows.pivots.1m.5", 2056, 8, 1},
  {"quality.valid_rows.ticker", 2064, 8, 1},
  {"cursors.candles.1s", 2072, 8, 2},
  {"cursors.candles.1m", 2088, 8, 2},
  {"cursors.candles.1h", 2104, 8, 2},
  {"cursors.candles.1d", 2120, 8, 2},
  {"cursors.indicators.1s", 2136, 8, 2},
  {"cursors.indicators.1m", 2152, 8, 2},
  {"cursors.cob_rows", 2168, 8, 2},
  {"cursors.book_states", 2184, 8, 2},
  {"cursors.ticks", 2200, 8, 2},
  {"cursors.pivots.1s.1", 2216, 8, 2},
  {"cursors.pivots.1s.2", 2232, 8, 2},
  {"cursors.pivots.1s.3", 2248, 8, 2},
  {"cursors.pivots.1s.4", 2264, 8, 2},
  {"cursors.pivots.1s.5", 2280, 8, 2},
  {"cursors.pivots.1m.1", 2296, 8, 2},
  {"cursors.pivots.1m.2", 2312, 8, 2},
  {"cursors.pivots.1m.3", 2328, 8, 2},
  {"cursors.pivots.1m.4", 2344, 8, 2},
  {"cursors.pivots.1m.5", 2360, 8, 2},
  {"cursors.ticker", 2376, 8, 2},
  {"cob.bid_qty", 2392, 8, 41},
  {"cob.ask_qty", 2720, 8, 41},
  {"cob.valid", 3048, 8, 1},
  {"imbalance.imbalance_within", 3056, 8, 21},
  };
  const size_t fields_count = sizeof fields / sizeof *fields;
  if (cobring_frame_words(reader) * 8 != sizeof(struct cobring_frame)) return false;
  for (size_t i = 0; i < fields_count; i++) {
    struct CobringField found;
    if (cobring_field(reader, fields[i].name, &found) != COBRING_STATUS_OK) return false;
    if (found.offset != fields[i].offset || found.element_size != fields[i].size || found.count != fields[i].count)
      return false;
  }
  return true;
}
