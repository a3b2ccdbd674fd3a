#include "daemon/page_html.h"
#include "pipeline/output_file.h"

static const gchar style[] =
    ":root{color-scheme:light dark;--ink:#1b2430;--soft:#5c6a7a;--line:#d8dee6;--paper:#fff;--before:#7d8fa6;"
    "--after:#d9622b;--bad:#b3261e;--good:#1f7a4d}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6ebf1;--soft:#9aa8b8;--line:#333d49;--paper:#12171d;"
    "--bad:#ff8a80;--good:#6fd3a2}}"
    "body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:1120px;margin:2rem "
    "auto;padding:0 1rem}h1{font-size:1.5rem;margin:0}h2{font-size:1.15rem;margin:2rem 0 .5rem}"
    ".answer{font-size:1.1rem;font-weight:600;margin:.75rem 0}.yes{color:var(--bad)}.no{color:var(--good)}"
    "p.note{color:var(--soft);margin:.25rem 0}"
    "table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}"
    "th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--line)}"
    "th{color:var(--soft);font-weight:500}td.n,th.n{text-align:right}"
    "svg{width:100%;height:auto}svg text{fill:var(--soft);font-size:11px}"
    ".band{fill:var(--before);opacity:.35}.mean{stroke:var(--before);fill:none;stroke-width:1.5}"
    ".bar{fill:var(--before)}.axis{stroke:var(--line)}.drift{stroke:var(--bad)}"
    ".change{stroke:var(--after);stroke-dasharray:4 3}";

GString *page_html_new(const gchar *title)
{
  GString *page = g_string_new("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" "
                               "content=\"width=device-width,initial-scale=1\"><title>");
  page_html_text(page, title);
  g_string_append_printf(page, "</title><style>%s</style><h1>", style);
  page_html_text(page, title);
  g_string_append(page, "</h1>");
  return page;
}

void page_html_text(GString *page, const gchar *text)
{
  if (text == NULL) return;
  g_autofree gchar *valid = g_utf8_make_valid(text, -1);
  g_autofree gchar *escaped = g_markup_escape_text(valid, -1);
  g_string_append(page, escaped);
}

void page_html_cell(GString *page, const json_t *value)
{
  g_string_append(page, json_is_number(value) ? "<td class=\"n\">" : "<td>");
  if (json_is_integer(value))
    g_string_append_printf(page, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
  else if (json_is_real(value))
    g_string_append_printf(page, "%.4g", json_real_value(value));
  else if (json_is_boolean(value))
    g_string_append(page, json_is_true(value) ? "yes" : "no");
  else
    page_html_text(page, json_is_string(value) ? json_string_value(value) : "–");
  g_string_append(page, "</td>");
}

gboolean page_html_write(GString *page, const gchar *path, GError **error)
{
  g_string_append(page, "</html>\n");
  gboolean done = pipeline_output_file_write(path, page->str, page->len, error);
  g_string_free(page, TRUE);
  return done;
}
