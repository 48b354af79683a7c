/* libjpeg-turbo, driven as Pillow's JpegDecode.c drives it: the one function that libjpeg.rs calls.
 *
 * It is C because libjpeg reports errors by longjmp, which must not cross frames of Rust.
 * Warnings are no errors; a file that ends before the last row is written is truncated. Bounds come from the caller. */

#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jpeglib.h>

/* Pillow hands its file over in blocks of this size (ImageFile.MAXBLOCK). What follows the last row within its block is
 * parsed, and may be an error; what follows in later blocks is never seen. */
#define BLOCK 65536

/* What Rust has read of the header, and what decoding may cost: `Order` in libjpeg.rs. */
struct order {
  uint32_t width, height, components, scans;
  size_t memory;
  const _Atomic(bool) *cancelled;
};

enum outcome { DECODED = 0, TRUNCATED = 1, FAILED = 2, MISREAD = 3, CANCELLED = 4 };

struct decoder {
  struct jpeg_decompress_struct jpeg;
  struct jpeg_error_mgr errors;
  struct jpeg_source_mgr source;
  struct jpeg_progress_mgr progress;
  jmp_buf escape;
  enum outcome outcome;
  const uint8_t *next, *end;
  int finishing;
  const struct order *order;
};

static void leave(struct decoder *decoder, enum outcome outcome) {
  decoder->outcome = outcome;
  longjmp(decoder->escape, 1);
}

static void on_error(j_common_ptr jpeg) { leave(jpeg->client_data, FAILED); }

static void on_message(j_common_ptr jpeg) { (void)jpeg; }

/* Called for each row of blocks that a scan visits, and for each row of the output.
 * The walk over the markers has counted the scans, and what they cost is bounded: more of them must not be decoded. */
static void on_progress(j_common_ptr jpeg) {
  struct decoder *decoder = jpeg->client_data;
  if (atomic_load_explicit(decoder->order->cancelled, memory_order_relaxed)) leave(decoder, CANCELLED);
  if ((uint32_t)decoder->jpeg.input_scan_number > decoder->order->scans) leave(decoder, MISREAD);
}

static void nothing(j_decompress_ptr jpeg) { (void)jpeg; }

/* Hands the next block over; FALSE makes libjpeg suspend, which it can only do at the end of the file, or once all rows
 * are written. */
static boolean fill(j_decompress_ptr jpeg) {
  struct decoder *decoder = jpeg->client_data;
  size_t left = (size_t)(decoder->end - decoder->next);
  if (left == 0 || decoder->finishing) return FALSE;
  jpeg->src->next_input_byte = decoder->next;
  jpeg->src->bytes_in_buffer = left < BLOCK ? left : BLOCK;
  decoder->next += jpeg->src->bytes_in_buffer;
  return TRUE;
}

static void skip(j_decompress_ptr jpeg, long bytes) {
  while (bytes > (long)jpeg->src->bytes_in_buffer) {
    bytes -= (long)jpeg->src->bytes_in_buffer;
    if (!fill(jpeg)) {
      jpeg->src->bytes_in_buffer = 0;
      return;
    }
  }
  jpeg->src->next_input_byte += bytes;
  jpeg->src->bytes_in_buffer -= (size_t)bytes;
}

static void decode(struct decoder *decoder, uint8_t *samples) {
  const struct order *order = decoder->order;
  j_decompress_ptr jpeg = &decoder->jpeg;
  int header;
  do header = jpeg_read_header(jpeg, FALSE);
  while (header == JPEG_HEADER_TABLES_ONLY);
  if (header == JPEG_SUSPENDED) leave(decoder, TRUNCATED);
  if (jpeg->image_width != order->width || jpeg->image_height != order->height ||
      (uint32_t)jpeg->num_components != order->components)
    leave(decoder, MISREAD);
  jpeg->out_color_space = order->components == 1 ? JCS_GRAYSCALE : order->components == 3 ? JCS_RGB : JCS_CMYK;
  if (!jpeg_start_decompress(jpeg)) leave(decoder, TRUNCATED);
  if (jpeg->output_width != order->width || jpeg->output_height != order->height ||
      (uint32_t)jpeg->output_components != order->components)
    leave(decoder, MISREAD);
  size_t row_bytes = (size_t)order->width * order->components;
  while (jpeg->output_scanline < jpeg->output_height) {
    JSAMPROW row = samples + jpeg->output_scanline * row_bytes;
    if (jpeg_read_scanlines(jpeg, &row, 1) != 1) leave(decoder, TRUNCATED);
  }
  decoder->finishing = 1;
  (void)jpeg_finish_decompress(jpeg);
}

/* Decodes `bytes` into `samples`, which holds width * height * components; `message` (JMSG_LENGTH_MAX) gets an error's text. */
int graft_jpeg_decode(const uint8_t *bytes, size_t length, const struct order *order, uint8_t *samples, char *message) {
  struct decoder decoder = {0};
  decoder.end = bytes + length;
  decoder.next = bytes;
  decoder.order = order;
  decoder.outcome = DECODED;
  decoder.jpeg.err = jpeg_std_error(&decoder.errors);
  decoder.jpeg.client_data = &decoder;
  decoder.errors.error_exit = on_error;
  decoder.errors.output_message = on_message;
  decoder.source.init_source = nothing;
  decoder.source.fill_input_buffer = fill;
  decoder.source.skip_input_data = skip;
  decoder.source.resync_to_restart = jpeg_resync_to_restart;
  decoder.source.term_source = nothing;
  decoder.progress.progress_monitor = on_progress;
  if (setjmp(decoder.escape) == 0) {
    jpeg_create_decompress(&decoder.jpeg); /* Keeps `err` and `client_data`. */
    decoder.jpeg.src = &decoder.source;
    decoder.jpeg.progress = &decoder.progress;
    decoder.jpeg.mem->max_memory_to_use = (long)order->memory;
    decode(&decoder, samples);
  } else if (decoder.outcome == FAILED) {
    decoder.errors.format_message((j_common_ptr)&decoder.jpeg, message);
  }
  jpeg_destroy_decompress(&decoder.jpeg);
  return (int)decoder.outcome;
}
