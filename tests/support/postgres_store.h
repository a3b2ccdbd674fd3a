/* Stores for tests: each gives an empty store of its own, on SQLite (always) or PostgreSQL (a schema of its own, when
 * KEDGE_TEST_POSTGRES holds a store URI). Use with tcase_add_loop_test(tcase, test, 0, test_stores_count()). */
#pragma once

#include "registry/store.h"

/* 2 with PostgreSQL, else 1; then it says loudly that PostgreSQL is skipped (once). */
int test_stores_count(void);

typedef struct {
  gchar *uri;       /* opens another connection to the same store */
  gchar *directory; /* a private temporary folder, for artifacts too */
  gboolean is_postgresql;
  RegistryStore *store;
} TestStore;
/* index: 0 SQLite, 1 PostgreSQL. Fails the test when it cannot. */
TestStore *test_store_open(int index);
void test_store_close(TestStore *test); /* removes folder and schema */
/* Runs SQL that must succeed, without parameters; returns the number of changed rows. */
gint64 test_store_sql(RegistryStore *store, const gchar *sql);
