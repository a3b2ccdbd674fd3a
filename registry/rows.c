/* Result rows, copied out of the database's own buffers: cells in row order. */
#include "registry/store_internal.h"

typedef struct {
  RegistryValueType type;
  gint64 integer;
  double real;
  const gchar *text; /* in RegistryRows.texts */
  GBytes *blob;      /* owned */
} Cell;

struct _RegistryRows {
  guint n_columns;
  GArray *cells; /* of Cell */
  GStringChunk *texts;
};

static void cell_clear(gpointer data)
{
  Cell *cell = data;
  g_clear_pointer(&cell->blob, g_bytes_unref);
}

RegistryRows *registry_rows_new(guint n_columns)
{
  RegistryRows *rows = g_new0(RegistryRows, 1);
  rows->n_columns = n_columns;
  rows->cells = g_array_new(FALSE, FALSE, sizeof(Cell));
  g_array_set_clear_func(rows->cells, cell_clear);
  return rows;
}

void registry_rows_free(RegistryRows *rows)
{
  if (rows == NULL) return;
  g_array_unref(rows->cells);
  if (rows->texts != NULL) g_string_chunk_free(rows->texts);
  g_free(rows);
}

static void add_cell(RegistryRows *rows, Cell cell)
{
  g_array_append_val(rows->cells, cell);
}

void registry_rows_add_null(RegistryRows *rows)
{
  add_cell(rows, (Cell){.type = REGISTRY_NULL});
}

void registry_rows_add_integer(RegistryRows *rows, gint64 value)
{
  add_cell(rows, (Cell){.type = REGISTRY_INTEGER, .integer = value});
}

void registry_rows_add_real(RegistryRows *rows, double value)
{
  add_cell(rows, (Cell){.type = REGISTRY_REAL, .real = value});
}

void registry_rows_add_text(RegistryRows *rows, const gchar *text, gsize length)
{
  if (rows->texts == NULL) rows->texts = g_string_chunk_new(256);
  const gchar *copy = g_string_chunk_insert_len(rows->texts, text, (gssize)length);
  add_cell(rows, (Cell){.type = REGISTRY_TEXT, .text = copy});
}

void registry_rows_add_blob(RegistryRows *rows, const void *data, gsize length)
{
  add_cell(rows, (Cell){.type = REGISTRY_BLOB, .blob = g_bytes_new(data, length)});
}

static const Cell *get_cell(const RegistryRows *rows, guint row, guint column)
{
  static const Cell none = {.type = REGISTRY_NULL};
  guint index = row * rows->n_columns + column;
  if (column >= rows->n_columns || index >= rows->cells->len) return &none;
  return &g_array_index(rows->cells, Cell, index);
}

guint registry_rows_get_count(const RegistryRows *rows)
{
  return rows->n_columns == 0 ? 0 : rows->cells->len / rows->n_columns;
}

guint registry_rows_get_n_columns(const RegistryRows *rows)
{
  return rows->n_columns;
}

gboolean registry_rows_is_null(const RegistryRows *rows, guint row, guint column)
{
  return get_cell(rows, row, column)->type == REGISTRY_NULL;
}

gint64 registry_rows_get_integer(const RegistryRows *rows, guint row, guint column)
{
  const Cell *cell = get_cell(rows, row, column);
  return cell->type == REGISTRY_INTEGER ? cell->integer : 0;
}

double registry_rows_get_real(const RegistryRows *rows, guint row, guint column)
{
  const Cell *cell = get_cell(rows, row, column);
  return cell->type == REGISTRY_INTEGER ? (double)cell->integer : cell->real;
}

const gchar *registry_rows_get_text(const RegistryRows *rows, guint row, guint column)
{
  return get_cell(rows, row, column)->text;
}

gchar *registry_rows_copy_text(const RegistryRows *rows, guint row, guint column)
{
  return g_strdup(get_cell(rows, row, column)->text);
}

GBytes *registry_rows_get_blob(const RegistryRows *rows, guint row, guint column)
{
  const Cell *cell = get_cell(rows, row, column);
  return cell->blob == NULL ? NULL : g_bytes_ref(cell->blob);
}

RegistryValue registry_rows_get_value(const RegistryRows *rows, guint row, guint column)
{
  const Cell *cell = get_cell(rows, row, column);
  RegistryValue value = {.type = cell->type, .integer = cell->integer, .real = cell->real, .data = cell->text};
  if (cell->blob != NULL) value.data = g_bytes_get_data(cell->blob, &value.length);
  return value;
}
