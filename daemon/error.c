#include "daemon/settings.h"

G_DEFINE_QUARK(kedge-daemon-error, daemon_error)
