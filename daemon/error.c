#include "daemon/settings.h"

G_DEFINE_QUARK(kedge_daemon_error, daemon_error)
