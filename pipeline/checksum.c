#include "pipeline/checksum.h"

void pipeline_checksum_update(GChecksum *checksum, gconstpointer data, gsize size)
{
  const guchar *bytes = data;
  for (gsize done = 0; done < size;) {
    gsize part = MIN(size - done, (gsize)1 << 30);
    g_checksum_update(checksum, bytes + done, (gssize)part);
    done += part;
  }
}
