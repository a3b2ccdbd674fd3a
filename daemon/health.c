#include "daemon/health.h"

/* A handful of components: a list searched in order is shorter than a table and keeps the order of start. */
typedef struct {
  gchar *name;
  gboolean ready;
  gchar *text;    /* why not ready, or NULL */
  gint64 beat_at; /* monotonic, microseconds */
} Component;

struct _Health {
  GMutex mutex;
  GPtrArray *components;    /* of Component* */
  gint64 (*get_time)(void); /* monotonic; replaced by tests */
};

static void component_free(gpointer data)
{
  Component *component = data;
  g_free(component->name);
  g_free(component->text);
  g_free(component);
}

Health *health_new(void)
{
  Health *health = g_new0(Health, 1);
  g_mutex_init(&health->mutex);
  health->components = g_ptr_array_new_with_free_func(component_free);
  health->get_time = g_get_monotonic_time;
  return health;
}

void health_free(Health *health)
{
  if (health == NULL) return;
  g_ptr_array_unref(health->components);
  g_mutex_clear(&health->mutex);
  g_free(health);
}

void health_set_clock(Health *health, gint64 (*get_time)(void))
{
  health->get_time = get_time;
}

/* A component is known from the first time it is heard of; it then counts as having made progress just now. */
static Component *get_component(Health *health, const gchar *name)
{
  for (guint i = 0; i < health->components->len; i++) {
    Component *component = g_ptr_array_index(health->components, i);
    if (g_str_equal(component->name, name)) return component;
  }
  Component *component = g_new0(Component, 1);
  component->name = g_strdup(name);
  component->ready = TRUE;
  component->beat_at = health->get_time();
  g_ptr_array_add(health->components, component);
  return component;
}

void health_beat(Health *health, const gchar *component)
{
  g_mutex_lock(&health->mutex);
  get_component(health, component)->beat_at = health->get_time();
  g_mutex_unlock(&health->mutex);
}

void health_set(Health *health, const gchar *component, gboolean ready, const gchar *text)
{
  g_mutex_lock(&health->mutex);
  Component *found = get_component(health, component);
  found->ready = ready;
  if (g_strcmp0(found->text, text) != 0) {
    g_free(found->text);
    found->text = g_strdup(text);
  }
  g_mutex_unlock(&health->mutex);
}

gboolean health_is_ready(Health *health, gchar **why)
{
  g_autoptr(GString) text = g_string_new(NULL);
  g_mutex_lock(&health->mutex);
  for (guint i = 0; i < health->components->len; i++) {
    const Component *component = g_ptr_array_index(health->components, i);
    if (component->ready) continue;
    g_string_append_printf(text, "%s: %s\n", component->name, component->text ? component->text : "not ready");
  }
  g_mutex_unlock(&health->mutex);
  gboolean ready = text->len == 0;
  if (!ready && why != NULL) *why = g_string_free(g_steal_pointer(&text), FALSE);
  return ready;
}

gboolean health_is_alive(Health *health, gint64 max_silence_us, gchar **who)
{
  g_autoptr(GString) text = g_string_new(NULL);
  g_mutex_lock(&health->mutex);
  gint64 now = health->get_time();
  for (guint i = 0; i < health->components->len; i++) {
    const Component *component = g_ptr_array_index(health->components, i);
    gint64 silence = now - component->beat_at;
    if (silence <= max_silence_us) continue;
    g_string_append_printf(text, "%s%s (no progress for %.1f s)", text->len > 0 ? ", " : "", component->name,
                           (double)silence / G_USEC_PER_SEC);
  }
  g_mutex_unlock(&health->mutex);
  gboolean alive = text->len == 0;
  if (!alive && who != NULL) *who = g_string_free(g_steal_pointer(&text), FALSE);
  return alive;
}

gchar *health_summary(Health *health)
{
  GString *text = g_string_new(NULL);
  guint waiting = 0;
  g_mutex_lock(&health->mutex);
  for (guint i = 0; i < health->components->len; i++) {
    const Component *component = g_ptr_array_index(health->components, i);
    if (component->ready && component->text == NULL) continue;
    if (!component->ready) waiting++;
    g_string_append_printf(text, "%s%s: %s", text->len > 0 ? "; " : "", component->name,
                           component->text ? component->text : "not ready");
  }
  guint known = health->components->len;
  g_mutex_unlock(&health->mutex);
  /* systemd keeps one line. */
  g_strdelimit(text->str, "\r\n", ' ');
  if (waiting == 0)
    g_string_prepend(text, text->len > 0 ? "ready; " : "ready");
  else
    g_string_prepend(text, "waiting; ");
  if (known == 0) g_string_assign(text, "starting");
  return g_string_free(text, FALSE);
}
