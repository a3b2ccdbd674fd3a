/* What a search may try: families of models, each a list of dimensions (pipeline/search_families.h has the tables); the
 * text of --space, or a file (daemon/command_search_space.c), narrows them.
 *
 *     g_autoptr(PipelineSearchSpace) space = pipeline_search_space_parse("dense:depth=1..2;trees", &error);
 *
 * A configuration of a family is one double a dimension, in its order: the number itself, or the index of a choice. */
#pragma once

#include <jansson.h>

#include "pipeline/trainer.h"
#include "pipeline/trainer_random.h"

G_BEGIN_DECLS

#define PIPELINE_SEARCH_MAX_DIMENSIONS 16u

typedef enum {
  PIPELINE_SEARCH_REAL,        /* uniform */
  PIPELINE_SEARCH_LOG,         /* uniform in the logarithm; low > 0 */
  PIPELINE_SEARCH_INTEGER,     /* uniform over the whole numbers from low to high */
  PIPELINE_SEARCH_LOG_INTEGER, /* whole numbers, uniform in the logarithm */
  PIPELINE_SEARCH_CHOICE       /* one of `choices`, without an order */
} PipelineSearchScale;

typedef struct {
  const gchar *name;
  PipelineSearchScale scale;
  double low, high;     /* inclusive; of a choice: unused */
  const gchar *choices; /* "32,64,128"; NULL for numbers */
  double usual;         /* the value (or index) of the first trial: what `kedge train` takes by itself */
  gboolean only_asked;  /* of choices: the usual one alone, unless the space names others */
} PipelineSearchDimension;

/* What a configuration is, besides the numbers that it sets in PipelineTrainOptions. Owned. */
typedef struct {
  gchar *architecture;
  PipelinePlan *plan; /* or NULL: the default one */
} PipelineSearchRecipe;

typedef enum { PIPELINE_SEARCH_TABLES, PIPELINE_SEARCH_IMAGES } PipelineSearchData;

typedef struct {
  const gchar *name, *unit; /* "dense", "epochs" */
  guint units;             /* epochs or rounds of the first rung; a rung has `reduction` times those of the one below */
  PipelineSearchData data; /* what it is tried on unless the space says otherwise; images are what it needs */
  const PipelineSearchDimension *table;
  guint n_dimensions;
  /* Sets what the values [n_dimensions] mean. */
  void (*fill)(const double *values, const DriftSchema *schema, PipelineSearchRecipe *recipe,
               PipelineTrainOptions *options);
} PipelineSearchFamily;

/* A family with the ranges that this search has. */
typedef struct {
  const PipelineSearchFamily *family;
  PipelineSearchDimension dimensions[PIPELINE_SEARCH_MAX_DIMENSIONS]; /* copies of the table's, narrowed */
  gchar *choices[PIPELINE_SEARCH_MAX_DIMENSIONS];                     /* owned texts of narrowed choices, or NULL */
} PipelineSearchPart;

typedef struct {
  GPtrArray *parts; /* of PipelineSearchPart* */
} PipelineSearchSpace;

/* NULL or "": no family yet (pipeline_search_space_fit takes those that go with the data).
 * "FAMILY[:DIMENSION=RANGE,…][;FAMILY…]" with RANGE LOW..HIGH, a number, or choices A|B. INVALID names what is unknown
 * or outside of the table's range. */
PipelineSearchSpace *pipeline_search_space_parse(const gchar *text, GError **error);
void pipeline_search_space_free(PipelineSearchSpace *space);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineSearchSpace, pipeline_search_space_free)
/* A family as its table has it, last in the space; borrowed. INVALID: unknown, or in the space already. */
PipelineSearchPart *pipeline_search_space_add(PipelineSearchSpace *space, const gchar *family, GError **error);
/* Narrows one dimension: range as in the text; scale "log", "linear" or NULL: as the table has it. INVALID. */
gboolean pipeline_search_part_narrow(PipelineSearchPart *part, const gchar *dimension, const gchar *range,
                                     const gchar *scale, GError **error);
/* Takes all families of the data when there is none, and narrows them to what the data let: stages to the size of the
 * image (height, width; 0: the data are a table), transformations to those of tables. INVALID: nothing is left of a
 * dimension, or a family needs images. */
gboolean pipeline_search_space_fit(PipelineSearchSpace *space, guint height, guint width, GError **error);
/* The space as a file that --space reads; new. */
gchar *pipeline_search_space_format(const PipelineSearchSpace *space);
/* The part of that family, or NULL. */
const PipelineSearchPart *pipeline_search_space_find(const PipelineSearchSpace *space, const gchar *family);
/* [{"family", "DIMENSION": [low, high] (and the scale, where it is not the table's) or the choices}]: what a journal is
 * compared by; new. */
json_t *pipeline_search_space_describe(const PipelineSearchSpace *space);

/* values [n_dimensions] as {"depth": 2, "batch": "64"}, and back: DATA names the member that is missing, not in the
 * table's range or no choice. */
json_t *pipeline_search_values_format(const PipelineSearchFamily *family, const double *values);
gboolean pipeline_search_values_parse(const PipelineSearchFamily *family, const json_t *json, double *values,
                                      GError **error);
/* What the first trial of the family takes: the usual values, moved into the part's ranges. */
void pipeline_search_part_usual(const PipelineSearchPart *part, double *values);
guint pipeline_search_n_choices(const PipelineSearchDimension *dimension);

G_END_DECLS
