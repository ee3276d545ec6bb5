/* A part of a JPEG, decoded by libjpeg-turbo.
 *
 * Where the part ends, chroma is interpolated from one sample less than in the whole image. So a little more is decoded than is
 * wanted on the left and on the right; rows above and below libjpeg-turbo takes into account itself. Of the rows outside the
 * part only the Huffman codes are decoded, which is where libjpeg finds damage: it finds the same as if all were decoded. */
#include "_jpeg_part.h"

#include <setjmp.h>
#include <stdio.h> /* which jpeglib.h needs */
#include <stdlib.h>

#include <jpeglib.h>

#if !defined(LIBJPEG_TURBO_VERSION_NUMBER) || LIBJPEG_TURBO_VERSION_NUMBER < 2001000
#error "parts of JPEGs are decoded by libjpeg-turbo 2.1 or later"
#endif

struct fastprep_jpeg {
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr errors;
    jmp_buf failed;
};

static void fail(j_common_ptr info) { longjmp(((fastprep_jpeg *)info->client_data)->failed, 1); }

static void fail_if_warning(j_common_ptr info, int level)
{
    if (level < 0) fail(info); /* the others are traces */
}

static void say_nothing(j_common_ptr info) { (void)info; }

/* Return 1; 0 if there is no memory, or the library has structures of another size than jpeglib.h. */
static int create(fastprep_jpeg *jpeg)
{
    if (setjmp(jpeg->failed)) return 0;
    jpeg_create_decompress(&jpeg->info);
    return 1;
}

fastprep_jpeg *fastprep_jpeg_new(void)
{
    fastprep_jpeg *jpeg = calloc(1, sizeof *jpeg);
    if (!jpeg) return NULL;
    jpeg->info.err = jpeg_std_error(&jpeg->errors);
    jpeg->info.client_data = jpeg;
    jpeg->errors.error_exit = fail;
    jpeg->errors.emit_message = fail_if_warning;
    jpeg->errors.output_message = say_nothing;
    if (create(jpeg)) return jpeg;
    fastprep_jpeg_free(jpeg);
    return NULL;
}

void fastprep_jpeg_free(fastprep_jpeg *jpeg)
{
    if (!jpeg) return;
    jpeg_destroy_decompress(&jpeg->info);
    free(jpeg);
}

/* Tell whether the header, which has been read, is one of those that are decoded here. */
static int is_decoded_here(j_decompress_ptr info, const fastprep_jpeg_part *wanted)
{
    const int is_grey = info->jpeg_color_space == JCS_GRAYSCALE && info->num_components == 1;
    const int is_color = info->jpeg_color_space == JCS_YCbCr && info->num_components == 3;
    return (int64_t)info->image_height == wanted->height && (int64_t)info->image_width == wanted->width
           && !info->progressive_mode && !info->arith_code && !jpeg_has_multiple_scans(info)
           && (is_grey || (is_color && wanted->channels == 3));
}

/* Read rows up to `end`, each to its place. */
static void read_rows(j_decompress_ptr info, JDIMENSION end, uint8_t *first, size_t row_bytes)
{
    while (info->output_scanline < end) {
        JSAMPROW row = first + info->output_scanline * row_bytes;
        jpeg_read_scanlines(info, &row, 1);
    }
}

static void skip_rows(j_decompress_ptr info, JDIMENSION end)
{
    if (info->output_scanline < end) jpeg_skip_scanlines(info, end - info->output_scanline);
}

int fastprep_jpeg_decode(
    fastprep_jpeg *jpeg, const uint8_t *bytes, size_t n_bytes, const fastprep_jpeg_part *wanted, uint8_t *out)
{
    j_decompress_ptr info = &jpeg->info;
    if (setjmp(jpeg->failed)) {
        jpeg_abort_decompress(info);
        return 0;
    }
    jpeg_mem_src(info, bytes, n_bytes);
    jpeg_read_header(info, TRUE);
    if (!is_decoded_here(info, wanted)) {
        jpeg_abort_decompress(info);
        return 0;
    }
    info->out_color_space = wanted->channels == 3 ? JCS_RGB : JCS_GRAYSCALE;
    jpeg_start_decompress(info);
    const int64_t margin = info->max_h_samp_factor > 1 ? info->max_h_samp_factor : 0;
    const int64_t end = wanted->right + margin < wanted->width ? wanted->right + margin : wanted->width;
    JDIMENSION left = wanted->left > margin ? wanted->left - margin : 0;
    JDIMENSION width = end - left;
    if (width < info->output_width) jpeg_crop_scanline(info, &left, &width); /* moves `left` to a block's edge */
    const size_t row_bytes = (size_t)wanted->width * wanted->channels;
    uint8_t *first = out + (size_t)left * wanted->channels;
    skip_rows(info, wanted->top);
    read_rows(info, wanted->bottom, first, row_bytes);
    skip_rows(info, wanted->height - 1); /* not to the end, because then libjpeg would not look at what it skips */
    read_rows(info, wanted->height, first, row_bytes);
    jpeg_finish_decompress(info);
    return 1;
}
