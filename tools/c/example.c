/* Prints the newest frame of a symbol as JSON, by the segment's own description, and takes the last 1 s bars in place.
 *
 *   cc -I tools/c/include tools/c/example.c target/release/libcobring_c.a -lpthread -ldl -lm -o example
 *   ./example /dev/shm/cobring ETHUSDT */
#include "cobring.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static uint64_t unsigned_at(const uint64_t *frame, const struct CobringField *field, size_t index) {
  uint64_t value = 0;
  memcpy(&value, (const char *)frame + field->offset + index * field->element_size, field->element_size);
  return value;
}

/* The shortest decimal that reads as this number. */
static void print_double(double value) {
  if (!isfinite(value)) {
    printf("null"); /* unknown, or without bound */
    return;
  }
  char text[40];
  for (int digits = 1; digits <= 17; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, value);
    if (strtod(text, NULL) == value) break;
  }
  printf(strpbrk(text, ".e") ? "%s" : "%s.0", text);
}

static void print_element(const uint64_t *frame, const struct CobringField *field, size_t index) {
  uint64_t bits = unsigned_at(frame, field, index);
  if (field->kind == 'f' && field->element_size == 8) {
    double value;
    memcpy(&value, &bits, sizeof value);
    print_double(value);
  } else if (field->kind == 'f') {
    float value;
    memcpy(&value, &bits, sizeof value);
    print_double(value);
  } else if (field->kind == 'i') {
    int64_t value = (int64_t)bits;
    if (value == INT64_MIN)
      printf("null"); /* unknown */
    else
      printf("%" PRId64, value);
  } else {
    printf("%" PRIu64, bits);
  }
}

static void print_names(struct CobringReader *reader, const char *names, uint64_t set) {
  printf("[");
  for (int bit = 0, printed = 0; bit < 64; bit++) {
    if (!(set >> bit & 1)) continue;
    const char *name = cobring_name(reader, names, bit);
    printf(printed++ ? "," : "");
    name ? printf("\"%s\"", name) : printf("%d", bit);
  }
  printf("]");
}

/* A value as its unit says. */
static void print_value(struct CobringReader *reader, const uint64_t *frame, const struct CobringField *field) {
  const char *colon = strchr(field->unit, ':');
  size_t length = colon ? (size_t)(colon - field->unit) : strlen(field->unit);
  const char *argument = colon ? colon + 1 : "";
#define UNIT_IS(text) (length == strlen(text) && memcmp(field->unit, text, length) == 0)
  uint64_t first = unsigned_at(frame, field, 0);
  if (UNIT_IS("text")) {
    printf("\"%.*s\"", (int)field->count, (const char *)frame + field->offset);
  } else if (UNIT_IS("bool")) {
    printf(first ? "true" : "false");
  } else if (UNIT_IS("enum")) {
    const char *name = cobring_name(reader, argument, first);
    name ? printf("\"%s\"", name) : printf("%" PRIu64, first);
  } else if (UNIT_IS("bits")) {
    print_names(reader, argument, first);
  } else if (UNIT_IS("bitset")) {
    printf("[");
    for (size_t bit = 0; bit < strtoul(argument, NULL, 10); bit++)
      printf("%s%s", bit ? "," : "", unsigned_at(frame, field, bit / 64) >> bit % 64 & 1 ? "true" : "false");
    printf("]");
  } else if (UNIT_IS("update_id") && first == 0) {
    printf("null");
  } else if (UNIT_IS("levels")) {
    /* Pairs of price and quantity; no price at all is no book. */
    bool any = false;
    for (size_t i = 0; i < field->count; i += 2) {
      uint64_t bits = unsigned_at(frame, field, i);
      double price;
      memcpy(&price, &bits, sizeof price);
      any |= !isnan(price);
    }
    if (!any) {
      printf("null");
      return;
    }
    for (size_t i = 0; i < field->count; i++) {
      printf("%s", i == 0 ? "[[" : i % 2 ? "," : "],[");
      print_element(frame, field, i);
    }
    printf("]]");
  } else if (field->dimensions == 0) {
    print_element(frame, field, 0);
  } else {
    for (size_t i = 0; i < field->count; i++) {
      printf(i ? "," : "[");
      print_element(frame, field, i);
    }
    printf("]");
  }
}

/* Whether `name` lies below the first `length` characters of `path`, dot included. */
static bool is_below(const char *name, const char *path, size_t length) {
  return strncmp(name, path, length) == 0;
}

/* The fields whose names begin with the first `length` characters of `path`, each block where its first field is. */
static void print_block(struct CobringReader *reader, const uint64_t *frame, const char *path, size_t length) {
  size_t count = cobring_field_count(reader), printed = 0;
  printf("{");
  for (size_t i = 0; i < count; i++) {
    struct CobringField field, earlier;
    if (cobring_field_at(reader, i, &field) != COBRING_STATUS_OK || !is_below(field.name, path, length)) continue;
    const char *rest = field.name + length, *dot = strchr(rest, '.');
    size_t part = dot ? (size_t)(dot - rest) : strlen(rest);
    bool seen = false;
    for (size_t j = 0; dot && j < i && !seen; j++)
      seen = cobring_field_at(reader, j, &earlier) == COBRING_STATUS_OK &&
             is_below(earlier.name, field.name, length + part + 1);
    if (seen) continue;
    printf("%s\"%.*s\":", printed++ ? "," : "", (int)part, rest);
    if (dot)
      print_block(reader, frame, field.name, length + part + 1);
    else
      print_value(reader, frame, &field);
  }
  printf("}");
}

/* Mean close of the last bars, read in place. */
static void print_bars(struct CobringReader *reader, const uint64_t *frame, size_t words, uint64_t count) {
  struct CobringRows rows;
  struct CobringField close;
  if (cobring_row_field(reader, "candles.1s", "close", &close) != COBRING_STATUS_OK ||
      cobring_rows(reader, "candles.1s", frame, words, count, &rows) != COBRING_STATUS_OK) {
    fprintf(stderr, "bars: %s\n", cobring_error());
    return;
  }
  double sum = 0;
  for (uint64_t i = 0; i < rows.count; i++)
    sum += *(const volatile double *)((const char *)rows.data + i * rows.row_size + close.offset);
  /* What was read counts only now. */
  if (cobring_rows_check(&rows) == COBRING_STATUS_OK)
    fprintf(stderr, "mean close of %" PRIu64 " bars: %.8f\n", rows.count, sum / (double)rows.count);
  else
    fprintf(stderr, "bars: %s\n", cobring_error());
  cobring_rows_release(&rows);
}

int main(int count, char **arguments) {
  if (count != 3) {
    fprintf(stderr, "usage: %s DIR SYMBOL\n", arguments[0]);
    return 2;
  }
  struct CobringReader *reader;
  if (cobring_open(arguments[1], arguments[2], &reader) != COBRING_STATUS_OK) {
    fprintf(stderr, "%s\n", cobring_error());
    return 1;
  }
  size_t words = cobring_frame_words(reader);
  uint64_t *frame = calloc(words, sizeof *frame), seq = 0;
  enum CobringStatus status = cobring_latest(reader, frame, words, &seq);
  if (status == COBRING_STATUS_OK) {
    print_block(reader, frame, "", 0);
    printf("\n");
    if (cobring_check(reader, frame, words, 0.8) != COBRING_STATUS_OK) fprintf(stderr, "%s\n", cobring_error());
    if (cobring_frame_is_shipped(reader)) {
      const struct cobring_frame *shipped = (const struct cobring_frame *)frame;
      fprintf(stderr, "frame %" PRIu64 " as shipped: bid %.8g, ask %.8g\n", shipped->seq, shipped->top_bid_px,
              shipped->top_ask_px);
    }
    print_bars(reader, frame, words, 3);
  } else {
    fprintf(stderr, "%s\n", status == COBRING_STATUS_EMPTY ? "no frame yet" : cobring_error());
  }
  free(frame);
  cobring_close(reader);
  return status == COBRING_STATUS_OK ? 0 : 1;
}
