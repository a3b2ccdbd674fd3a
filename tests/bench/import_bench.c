/* Reading a model of 100 MB (scan, protobuf, checks) beside protobuf-c's own unpacking of the same bytes: CPU time in
 * turns, median; and the most memory that reading the file takes, as a share of the file (VmHWM of a process of its
 * own, above what it held before).
 *
 *     import_bench TURNS
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "onnx-ml.pb-c.h"
#include "onnx/file.h"

enum { LAYERS = 25, WIDTH = 1000 };

static double cpu_seconds(void)
{
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* LAYERS products of [WIDTH, WIDTH]. */
static GBytes *make_model(void)
{
  g_autoptr(OnnxGraph) graph = onnx_graph_new("large");
  onnx_graph_set_opset(graph, "", 17);
  onnx_graph_add_input(graph, "v0", ONNX_TYPE_FLOAT, "N,1000");
  g_autofree float *weights = g_new(float, WIDTH *WIDTH);
  for (gsize i = 0; i < WIDTH * WIDTH; i++) weights[i] = (float)(i % 251) / 251 - 0.5f;
  for (guint layer = 0; layer < LAYERS; layer++) {
    g_autofree gchar *name = g_strdup_printf("w%u", layer), *inputs = g_strdup_printf("v%u,w%u", layer, layer),
                     *output = g_strdup_printf("v%u", layer + 1);
    onnx_graph_take_initialiser(graph, onnx_tensor_new(name, ONNX_TYPE_FLOAT, 2, (gint64[]){WIDTH, WIDTH}, weights));
    onnx_graph_add_node(graph, "", "MatMul", inputs, output);
  }
  onnx_graph_add_output(graph, "v25", ONNX_TYPE_FLOAT, "N,1000");
  GError *error = NULL;
  GBytes *bytes = onnx_graph_to_bytes(graph, &error);
  if (bytes == NULL) g_error("%s", error->message);
  return bytes;
}

static double import(GBytes *bytes)
{
  g_autoptr(GError) error = NULL;
  double start = cpu_seconds();
  OnnxGraph *graph = onnx_graph_from_bytes(bytes, &error);
  if (graph == NULL) g_error("%s", error->message);
  onnx_graph_free(graph);
  return cpu_seconds() - start;
}

static double unpack(GBytes *bytes)
{
  gsize length;
  const guint8 *data = g_bytes_get_data(bytes, &length);
  double start = cpu_seconds();
  Onnx__ModelProto *model = onnx__model_proto__unpack(NULL, length, data);
  if (model == NULL) g_error("protobuf-c cannot unpack the model");
  onnx__model_proto__free_unpacked(model, NULL);
  return cpu_seconds() - start;
}

/* A line of /proc/self/status in KiB. */
static gint64 status_line(const gchar *key)
{
  g_autofree gchar *text = NULL;
  if (!g_file_get_contents("/proc/self/status", &text, NULL, NULL)) g_error("no /proc");
  const gchar *line = strstr(text, key);
  return line != NULL ? g_ascii_strtoll(line + strlen(key), NULL, 10) : 0;
}

/* In a child: reads the file as the commands do. The growth of its peak in KiB, by its pipe. */
static gint64 measure_memory(const gchar *path)
{
  int ends[2];
  gint64 grown = 0;
  if (pipe(ends) != 0) g_error("pipe");
  pid_t child = fork();
  if (child == 0) {
    gint64 before = status_line("VmRSS:");
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) bytes = onnx_file_read(path, NULL, &error);
    g_autoptr(OnnxGraph) graph = bytes != NULL ? onnx_graph_from_bytes(bytes, &error) : NULL;
    if (graph == NULL) g_error("%s", error->message);
    grown = status_line("VmHWM:") - before;
    _exit(write(ends[1], &grown, sizeof grown) != sizeof grown);
  }
  close(ends[1]);
  if (child < 0 || read(ends[0], &grown, sizeof grown) != sizeof grown) g_error("the child did not answer");
  close(ends[0]);
  waitpid(child, NULL, 0);
  return grown;
}

static int compare_doubles(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *values, guint n)
{
  qsort(values, n, sizeof *values, compare_doubles);
  return values[n / 2];
}

int main(int argc, char **argv)
{
  guint turns = argc == 2 ? (guint)atoi(argv[1]) : 0;
  if (turns == 0) {
    fprintf(stderr, "usage: import_bench TURNS\n");
    return 2;
  }
  GBytes *bytes = make_model();
  gsize length = g_bytes_get_size(bytes);
  g_autofree gchar *folder = g_dir_make_tmp("import-bench-XXXXXX", NULL),
                   *path = g_build_filename(folder, "m.onnx", NULL);
  if (!g_file_set_contents(path, g_bytes_get_data(bytes, NULL), (gssize)length, NULL)) g_error("cannot write %s", path);
  g_bytes_unref(bytes);
  gint64 grown = measure_memory(path); /* before this process holds the bytes */
  gchar *contents;
  if (!g_file_get_contents(path, &contents, NULL, NULL)) g_error("cannot read %s", path);
  g_unlink(path);
  g_rmdir(folder);
  bytes = g_bytes_new_take(contents, length);
  g_autofree double *ours = g_new(double, turns + 1), *theirs = g_new(double, turns + 1),
                    *ratios = g_new(double, turns + 1);
  for (guint turn = 0; turn <= turns; turn++) { /* turn 0 warms up */
    ours[turn] = import(bytes);
    theirs[turn] = unpack(bytes);
    ratios[turn] = ours[turn] / theirs[turn];
  }
  printf(
      "import: %.0f MB, kedge %.1f ms, protobuf-c %.1f ms: %.2f times its time (median of %u turns); peak memory %.2f "
      "times the file\n",
      (double)length / 1e6, median(ours + 1, turns) * 1e3, median(theirs + 1, turns) * 1e3, median(ratios + 1, turns),
      turns, (double)grown * 1024 / (double)length);
  g_bytes_unref(bytes);
  return 0;
}
