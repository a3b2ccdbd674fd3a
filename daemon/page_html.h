/* What the commands' HTML pages share: one file each, no script, no network. */
#pragma once

#include <glib.h>
#include <jansson.h>

G_BEGIN_DECLS

/* Everything up to and with the heading; `title` is text. */
GString *page_html_new(const gchar *title);
void page_html_text(GString *page, const gchar *text); /* escaped; NULL: nothing */
/* A table cell: numbers to four digits at the right, texts at the left, "–" for null and NULL. */
void page_html_cell(GString *page, const json_t *value);
/* Closes the page and writes it. FALSE: the file's error. Frees `page`. */
gboolean page_html_write(GString *page, const gchar *path, GError **error);

G_END_DECLS
