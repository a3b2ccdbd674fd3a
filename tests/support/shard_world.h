/* A small world for the shard tests: a model, seeded traffic of one partition and its labels in several label
 * partitions, with everything that goes wrong (late, duplicate, batched, undecodable, foreign, early, repeated), and a
 * recorder of what checkpoints hand over. */
#pragma once

#include "daemon/shard.h"

typedef struct {
  SourceRecord record;
  gboolean dead;
  DriftEvent *events; /* traffic: of n_events */
  guint n_events;
  DecodedLabel label; /* labels */
} WorldRecord;

typedef struct {
  DriftGrid *grid;
  ShardSettings settings;
  GArray *traffic;   /* of WorldRecord */
  GPtrArray *labels; /* of GArray of WorldRecord, by label partition */
  GStringChunk *texts;
  GPtrArray *memory;
} World;

World *world_new(guint32 seed, guint n_events, gint32 n_label_partitions);
void world_free(World *world);
DriftGrid *world_grid(void);
void world_feed(const World *world, Shard *shard, gint32 stream, guint index); /* stream -1: traffic, else labels */
guint world_length(const World *world, gint32 stream);

/* Everything handed over, in one text per sequence that must not depend on order: panes, label panes and labelled log
 * by label partition, dead letters by topic. */
typedef struct {
  GHashTable *sequences; /* name → GByteArray */
} Recorder;
Recorder *recorder_new(void);
void recorder_free(Recorder *recorder);
void recorder_add(Recorder *recorder, const ShardCheckpoint *checkpoint);
gchar *recorder_digest(const Recorder *recorder);                   /* SHA-256 of all, new */
guint recorder_length(const Recorder *recorder, const gchar *name); /* bytes */
