#include "drift/detector_internal.h"

#include <math.h>
#include <string.h>

const gchar *const drift_option_booleans[] = {"false", "true", NULL};

/* Other spellings and other libraries' names of options. */
static const struct {
  const gchar *detector, *alias, *key;
} aliases[] = {{"auto", "per", "rows"},
               {"betting", "center", "centre"},
               {"cusum", "threshold", "lambda"},
               {"ddm", "drift_threshold", "drift"},
               {"ddm", "warning_threshold", "warning"},
               {"geometric-moving-average", "threshold", "lambda"},
               {"hddm-w", "lambda", "lambda_val"}};

static const gchar *find_alias(const gchar *detector, const gchar *key)
{
  for (guint i = 0; i < G_N_ELEMENTS(aliases); i++)
    if (strcmp(aliases[i].detector, detector) == 0 && strcmp(aliases[i].key, key) == 0) return aliases[i].alias;
  return NULL;
}

static const DriftOptionSpec *find_spec(const gchar *detector, const DriftOptionSpec *specs, guint n, const gchar *key)
{
  for (guint i = 0; i < n; i++)
    if (strcmp(specs[i].key, key) == 0 || g_strcmp0(find_alias(detector, specs[i].key), key) == 0) return &specs[i];
  return NULL;
}

static gboolean check_keys(const gchar *detector, GHashTable *options, const DriftOptionSpec *specs, guint n,
                           GError **error)
{
  GHashTableIter iter;
  gpointer key;
  g_hash_table_iter_init(&iter, options);
  while (g_hash_table_iter_next(&iter, &key, NULL)) {
    if (find_spec(detector, specs, n, key) != NULL) continue;
    g_autoptr(GString) known = g_string_new(NULL);
    for (guint i = 0; i < n; i++) g_string_append_printf(known, "%s%s", i > 0 ? ", " : "", specs[i].key);
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "%s has no option \"%s\"; it has %s", detector,
                (const gchar *)key, known->str);
    return FALSE;
  }
  return TRUE;
}

static gboolean in_range(const DriftOptionSpec *spec, double value)
{
  return value >= spec->minimum && value <= spec->maximum && (!spec->whole || value == floor(value));
}

static gboolean read_choice(const gchar *detector, const DriftOptionSpec *spec, const gchar *text, double *value,
                            GError **error)
{
  gboolean is_boolean = spec->choices == drift_option_booleans;
  const gchar *const digits[] = {"0", "1"};
  for (guint i = 0; spec->choices[i] != NULL; i++) {
    gboolean is_it = is_boolean ? g_ascii_strcasecmp(spec->choices[i], text) == 0 || strcmp(digits[i], text) == 0
                                : strcmp(spec->choices[i], text) == 0;
    if (!is_it) continue;
    *value = i;
    return TRUE;
  }
  g_autofree gchar *known = g_strjoinv(", ", (gchar **)spec->choices);
  g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "%s option %s=%s: it is one of %s", detector, spec->key, text,
              known);
  return FALSE;
}

static gboolean read_number(const gchar *detector, const DriftOptionSpec *spec, const gchar *text, double *value,
                            GError **error)
{
  gchar *end;
  double number = g_ascii_strtod(text, &end);
  if (end == text || *end != '\0' || !in_range(spec, number)) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "%s option %s=%s: it is a %snumber from %g to %g", detector,
                spec->key, text, spec->whole ? "whole " : "", spec->minimum, spec->maximum);
    return FALSE;
  }
  *value = number;
  return TRUE;
}

gboolean drift_options_read(const gchar *detector, GHashTable *options, const DriftOptionSpec *specs, guint n,
                            double *values, GError **error)
{
  if (options != NULL && !check_keys(detector, options, specs, n, error)) return FALSE;
  g_autofree double *read = g_new(double, n);
  for (guint i = 0; i < n; i++) {
    const gchar *text = options != NULL ? g_hash_table_lookup(options, specs[i].key) : NULL;
    const gchar *alias = text == NULL && options != NULL ? find_alias(detector, specs[i].key) : NULL;
    if (alias != NULL) text = g_hash_table_lookup(options, alias);
    read[i] = specs[i].default_value;
    if (text == NULL) continue;
    gboolean fine = specs[i].choices != NULL ? read_choice(detector, &specs[i], text, &read[i], error)
                                             : read_number(detector, &specs[i], text, &read[i], error);
    if (!fine) return FALSE;
  }
  memcpy(values, read, n * sizeof *values);
  return TRUE;
}

gboolean drift_options_fit(const DriftOptionSpec *specs, guint n, const double *values)
{
  for (guint i = 0; i < n; i++) {
    guint n_choices = specs[i].choices != NULL ? g_strv_length((gchar **)specs[i].choices) : 0;
    gboolean fits = n_choices == 0 ? in_range(&specs[i], values[i])
                                   : values[i] >= 0 && values[i] < n_choices && values[i] == floor(values[i]);
    if (!fits) return FALSE;
  }
  return TRUE;
}

void drift_options_put(GByteArray *out, const double *values, guint n)
{
  for (guint i = 0; i < n; i++) drift_put_double(out, values[i]);
}

void drift_options_get(DriftReader *reader, double *values, guint n)
{
  for (guint i = 0; i < n; i++) values[i] = drift_get_double(reader);
}
