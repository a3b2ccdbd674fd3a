/* Compiles daemon/dashboard/ in by the assembler's .incbin (paths are relative to the root of the source tree).
 * Adding a file: a line of EMBED, a line in the table, a route in daemon/http_routes.c. */
#include "daemon/dashboard.h"

#define EMBED(symbol, file)                                                                                            \
  __asm__(".pushsection .rodata\n"                                                                                     \
          ".hidden dashboard_" #symbol "\n.hidden dashboard_" #symbol "_end\n"                                         \
          ".global dashboard_" #symbol "\n.global dashboard_" #symbol "_end\n"                                         \
          "dashboard_" #symbol ":\n.incbin \"daemon/dashboard/" file "\"\n"                                            \
          "dashboard_" #symbol "_end:\n.byte 0\n.popsection\n");                                                       \
  extern const guint8 dashboard_##symbol[] __attribute__((visibility("hidden")));                                      \
  extern const guint8 dashboard_##symbol##_end[] __attribute__((visibility("hidden")));

EMBED(page, "index.html")
EMBED(program, "dashboard.js")
EMBED(charts, "charts.js")
EMBED(style, "dashboard.css")
EMBED(icon, "icon.svg")

typedef struct {
  const gchar *path, *content_type;
  const guint8 *begin, *end;
} Embedded;

static const Embedded embedded[] = {
    {"/", "text/html; charset=utf-8", dashboard_page, dashboard_page_end},
    {"/static/dashboard.js", "text/javascript; charset=utf-8", dashboard_program, dashboard_program_end},
    {"/static/charts.js", "text/javascript; charset=utf-8", dashboard_charts, dashboard_charts_end},
    {"/static/dashboard.css", "text/css; charset=utf-8", dashboard_style, dashboard_style_end},
    {"/static/icon.svg", "image/svg+xml", dashboard_icon, dashboard_icon_end},
};

gboolean dashboard_find(const gchar *path, DashboardAsset *asset)
{
  for (guint i = 0; i < G_N_ELEMENTS(embedded); i++) {
    if (!g_str_equal(embedded[i].path, path)) continue;
    *asset = (DashboardAsset){.content_type = embedded[i].content_type,
                              .bytes = embedded[i].begin,
                              .length = (gsize)(embedded[i].end - embedded[i].begin)};
    return TRUE;
  }
  return FALSE;
}
