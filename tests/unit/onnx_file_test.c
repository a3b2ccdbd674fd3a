/* External data: what is read beside a model, and what must not be. */
#include <check.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "onnx/file.h"

static gchar *folder;

static void set_up(void)
{
  folder = g_dir_make_tmp("onnx_file_XXXXXX", NULL);
  ck_assert_ptr_nonnull(folder);
}

static void tear_down(void)
{
  static const gchar *const names[] = {"m.onnx",   "w.bin", "sub/w.bin", "link.bin",
                                       "hard.bin", "sub",   "m2.onnx",   "pipe"};
  for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
    g_autofree gchar *path = g_build_filename(folder, names[i], NULL);
    g_remove(path);
  }
  g_rmdir(folder);
  g_free(folder);
}

static gchar *put(const gchar *name, gconstpointer data, gsize length)
{
  gchar *path = g_build_filename(folder, name, NULL);
  ck_assert(g_file_set_contents(path, data, (gssize)length, NULL));
  return path;
}

/* --- writing protobuf by hand: no reader of ours may have a part in it */

static void put_varint(GByteArray *out, guint64 value)
{
  do {
    guint8 byte = (guint8)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
    g_byte_array_append(out, &byte, 1);
    value >>= 7;
  } while (value > 0);
}

static void put_bytes(GByteArray *out, guint field, gconstpointer data, gsize length)
{
  put_varint(out, field << 3 | 2);
  put_varint(out, length);
  g_byte_array_append(out, data, (guint)length);
}

static void put_entry(GByteArray *tensor, const gchar *key, const gchar *value)
{
  g_autoptr(GByteArray) entry = g_byte_array_new();
  put_bytes(entry, 1, key, strlen(key));
  put_bytes(entry, 2, value, strlen(value));
  put_bytes(tensor, 13, entry->data, entry->len);
}

/* y = x + w, w float32[2] in the other file. entries: key, value, …, NULL. Returns the path. */
static gchar *put_model(const gchar *const *entries)
{
  g_autoptr(OnnxGraph) graph = onnx_graph_new("g");
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "2");
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, "2");
  onnx_graph_take_initialiser(graph, onnx_tensor_new("v", ONNX_TYPE_FLOAT, 1, (gint64[]){2}, NULL));
  onnx_graph_add_node(graph, "", "Add", "x,v", "z");
  onnx_graph_add_node(graph, "", "Add", "z,v", "y");
  g_autoptr(GBytes) bytes = onnx_graph_to_bytes(graph, NULL);
  g_autoptr(GByteArray) tensor = g_byte_array_new(), inner = g_byte_array_new(), model = g_byte_array_new();
  put_varint(tensor, 1 << 3 | 0), put_varint(tensor, 2); /* dims */
  put_varint(tensor, 2 << 3 | 0), put_varint(tensor, 1); /* float */
  put_bytes(tensor, 8, "w", 1);
  for (guint i = 0; entries[i] != NULL; i += 2) put_entry(tensor, entries[i], entries[i + 1]);
  put_varint(tensor, 14 << 3 | 0), put_varint(tensor, 1); /* external */
  put_bytes(inner, 5, tensor->data, tensor->len);
  /* Two graph fields would be refused: the tensor is put into the one that is there, at its end. */
  gsize length;
  const guint8 *data = g_bytes_get_data(bytes, &length);
  for (gsize at = 0; at < length;) {
    gsize start = at;
    guint64 key = data[at++], size = 0;
    if ((key & 7) == 0) {
      while (data[at++] & 0x80)
        ;
    } else {
      guint shift = 0;
      do size |= (guint64)(data[at] & 0x7f) << shift, shift += 7;
      while (data[at++] & 0x80);
      at += size;
    }
    if (key >> 3 != 7) {
      g_byte_array_append(model, data + start, (guint)(at - start));
      continue;
    }
    g_autoptr(GByteArray) whole = g_byte_array_new();
    g_byte_array_append(whole, data + at - size, (guint)size);
    g_byte_array_append(whole, inner->data, inner->len);
    put_bytes(model, 7, whole->data, whole->len);
  }
  return put("m.onnx", model->data, model->len);
}

static const float numbers[4] = {1, 2, 3, 4};

/* --- */

START_TEST(test_reads_beside)
{
  GError *error = NULL;
  g_free(put("w.bin", numbers, sizeof numbers));
  g_autofree gchar *path = put_model((const gchar *[]){"location", "w.bin", "offset", "4", "length", "8", NULL});
  g_autoptr(GBytes) bytes = onnx_file_read(path, NULL, &error);
  ck_assert_msg(bytes != NULL, "%s", error != NULL ? error->message : "");
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(bytes, &error);
  ck_assert_msg(graph != NULL, "%s", error != NULL ? error->message : "");
  const OnnxTensor *tensor = onnx_graph_find_initialiser(graph, "w");
  ck_assert_ptr_nonnull(tensor);
  ck_assert_mem_eq(g_bytes_get_data(tensor->bytes, NULL), numbers + 1, 8);
}
END_TEST

START_TEST(test_file_without_external_data_stays_as_it_is)
{
  g_autoptr(OnnxGraph) graph = onnx_graph_new("g");
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "location", ONNX_TYPE_FLOAT, "2");
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, "2");
  onnx_graph_add_node(graph, "", "Relu", "location", "y");
  g_autoptr(GBytes) written = onnx_graph_to_bytes(graph, NULL);
  g_autofree gchar *path = put("m2.onnx", g_bytes_get_data(written, NULL), g_bytes_get_size(written));
  g_autoptr(GBytes) read = onnx_file_read(path, NULL, NULL);
  ck_assert(read != NULL && g_bytes_equal(read, written));
}
END_TEST

static const struct {
  const gchar *location, *offset, *length, *message;
} refusals[] = {
    {"w.bin", "8", "12", "ask for 8"},
    {"w.bin", "12", "8", "do not fit"},
    {"w.bin", "9223372036854775807", "8", "do not fit"},
    {"w.bin", "99999999999999999999", "8", "no number"},
    {"w.bin", "-8", "8", "no number"},
    {"w.bin", "0", NULL, "to its end"},
    {"none.bin", "0", "8", "cannot be opened"},
    {"", "0", "8", "cannot be opened"},
    {".", "0", "8", "no regular file"},
    {"../w.bin", "0", "8", "cannot be opened"},
    {"sub/../../w.bin", "0", "8", "cannot be opened"},
    {"/etc/passwd", "0", "8", "cannot be opened"},
    {"link.bin", "0", "8", "cannot be opened"},
    {"hard.bin", "0", "8", "hard links"},
    {"pipe", "0", "8", "no regular file"},
};

START_TEST(test_refuses)
{
  GError *error = NULL;
  g_autofree gchar *data = put("w.bin", numbers, sizeof numbers),
                   *link_path = g_build_filename(folder, "link.bin", NULL),
                   *hard = g_build_filename(folder, "hard.bin", NULL),
                   *pipe_path = g_build_filename(folder, "pipe", NULL);
  if (strcmp(refusals[_i].location, "hard.bin") == 0) ck_assert_int_eq(link(data, hard), 0);
  ck_assert_int_eq(symlink(data, link_path), 0);
  ck_assert_int_eq(mkfifo(pipe_path, 0600), 0);
  g_autofree gchar *path =
      put_model((const gchar *[]){"location", refusals[_i].location, "offset", refusals[_i].offset,
                                  refusals[_i].length != NULL ? "length" : NULL, refusals[_i].length, NULL});
  g_autoptr(GBytes) bytes = onnx_file_read(path, NULL, &error);
  ck_assert_ptr_eq(bytes, NULL);
  ck_assert_msg(strstr(error->message, refusals[_i].message) != NULL && strstr(error->message, "'w'") != NULL &&
                    strstr(error->message, "m.onnx") != NULL,
                "%s", error->message);
  g_error_free(error);
}
END_TEST

START_TEST(test_limits)
{
  OnnxLimits limits = ONNX_LIMITS_INIT;
  g_free(put("w.bin", numbers, sizeof numbers));
  g_autofree gchar *path = put_model((const gchar *[]){"location", "w.bin", "offset", "0", "length", "8", NULL});
  g_autoptr(GBytes) whole = onnx_file_read(path, &limits, NULL);
  ck_assert_ptr_nonnull(whole);
  GError *error = NULL;
  limits.max_bytes = 16;
  ck_assert_ptr_eq(onnx_file_read(path, &limits, &error), NULL);
  ck_assert(g_error_matches(error, ONNX_ERROR, ONNX_ERROR_LIMIT));
  g_clear_error(&error);
  limits = (OnnxLimits)ONNX_LIMITS_INIT;
  limits.max_messages = 5;
  ck_assert_ptr_eq(onnx_graph_from_bytes_with(whole, &limits, NULL, NULL, &error), NULL);
  ck_assert_msg(g_error_matches(error, ONNX_ERROR, ONNX_ERROR_LIMIT) && strstr(error->message, "5 parts") != NULL, "%s",
                error->message);
  g_clear_error(&error);
  limits = (OnnxLimits)ONNX_LIMITS_INIT;
  limits.max_depth = 2;
  ck_assert_ptr_eq(onnx_graph_from_bytes_with(whole, &limits, NULL, NULL, &error), NULL);
  ck_assert(g_error_matches(error, ONNX_ERROR, ONNX_ERROR_LIMIT));
  g_clear_error(&error);
}
END_TEST

/* Fields that the schema of this program does not know yet, as metadata_props of nodes (field 9), survive. */
START_TEST(test_unknown_fields_survive)
{
  g_autoptr(OnnxGraph) graph = onnx_graph_new("g");
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "x", ONNX_TYPE_FLOAT, "2");
  onnx_graph_add_output(graph, "y", ONNX_TYPE_FLOAT, "2");
  OnnxNode *node = onnx_graph_add_node(graph, "", "Relu", "x", "y");
  g_autoptr(GByteArray) entry = g_byte_array_new(), field = g_byte_array_new();
  put_bytes(entry, 1, "pkg.torch.onnx.name_scopes", 26);
  put_bytes(entry, 2, "['', 'relu']", 12);
  put_bytes(field, 9, entry->data, entry->len);
  node->preserved = g_bytes_new(field->data, field->len);
  g_autoptr(GBytes) bytes = onnx_graph_to_bytes(graph, NULL);
  g_autoptr(OnnxGraph) again = onnx_graph_from_bytes(bytes, NULL);
  ck_assert_ptr_nonnull(again);
  onnx_graph_simplify(again);
  const OnnxNode *read = g_ptr_array_index(again->nodes, 0);
  ck_assert(read->preserved != NULL && g_bytes_equal(read->preserved, node->preserved));
  g_autoptr(GBytes) written = onnx_graph_to_bytes(again, NULL);
  ck_assert(memmem(g_bytes_get_data(written, NULL), g_bytes_get_size(written), field->data, field->len) != NULL);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("onnx_file");
  TCase *cases = tcase_create("file");
  tcase_add_checked_fixture(cases, set_up, tear_down);
  tcase_add_test(cases, test_reads_beside);
  tcase_add_test(cases, test_file_without_external_data_stays_as_it_is);
  tcase_add_loop_test(cases, test_refuses, 0, G_N_ELEMENTS(refusals));
  tcase_add_test(cases, test_limits);
  tcase_add_test(cases, test_unknown_fields_survive);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
