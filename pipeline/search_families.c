#include "pipeline/search_families.h"

#include <string.h>

#include "pipeline/graph_architecture.h"

#define ACTIVATIONS "relu,gelu,tanh,silu"

void pipeline_search_recipe_clear(PipelineSearchRecipe *recipe)
{
  g_clear_pointer(&recipe->architecture, g_free);
  g_clear_pointer(&recipe->plan, pipeline_plan_free);
}

/* The text of a choice; new. */
static gchar *choice_text(const PipelineSearchDimension *dimension, double index)
{
  g_auto(GStrv) choices = g_strsplit(dimension->choices, ",", -1);
  return g_strdup(choices[(guint)index]);
}

static double choice_number(const PipelineSearchDimension *dimension, double index)
{
  g_autofree gchar *text = choice_text(dimension, index);
  return g_ascii_strtod(text, NULL);
}

/* --- dense networks ----------------------------------------------------------------------------------------------- */

enum { DEPTH, WIDTH, TAPER, ACTIVATION, NORM, RESIDUAL, DROPOUT, TRANSFORM, RATE, DECAY, BATCH };
static const PipelineSearchDimension dense[] = {
    [DEPTH] = {"depth", PIPELINE_SEARCH_INTEGER, 0, 4, NULL, 2, FALSE}, /* hidden layers; 0: a linear model */
    [WIDTH] = {"width", PIPELINE_SEARCH_LOG_INTEGER, 8, 256, NULL, 64, FALSE},
    [TAPER] = {"taper", PIPELINE_SEARCH_CHOICE, 0, 0, "1,0.5", 0,
               FALSE}, /* width of a layer over that of the one before */
    [ACTIVATION] = {"activation", PIPELINE_SEARCH_CHOICE, 0, 0, ACTIVATIONS, 0, FALSE},
    [NORM] = {"norm", PIPELINE_SEARCH_CHOICE, 0, 0, "none,batch,layer", 0, FALSE},
    [RESIDUAL] = {"residual", PIPELINE_SEARCH_CHOICE, 0, 0, "no,yes", 0, FALSE},
    [DROPOUT] = {"dropout", PIPELINE_SEARCH_CHOICE, 0, 0, "0,0.1,0.25,0.5", 0, FALSE},
    [TRANSFORM] = {"transform", PIPELINE_SEARCH_CHOICE, 0, 0, "standard,robust,quantile,yeo-johnson", 0, TRUE},
    [RATE] = {"learning_rate", PIPELINE_SEARCH_LOG, 2e-4, 2e-2, NULL, 5e-3, FALSE},
    [DECAY] = {"weight_decay", PIPELINE_SEARCH_LOG, 5e-2, 5, NULL, .5, FALSE},
    [BATCH] = {"batch", PIPELINE_SEARCH_CHOICE, 0, 0, "32,64,128,256,512", 2, FALSE}};

/* Every number by that transformation; NULL: it is the usual one, or there is no number. */
static PipelinePlan *make_plan(const DriftSchema *schema, const gchar *transformation)
{
  g_autoptr(PipelinePlan) plan = pipeline_plan_new();
  gboolean power = g_str_equal(transformation, "yeo-johnson"); /* the others centre and scale themselves */
  g_autofree gchar *steps = g_strdup_printf("mean+%s%s", transformation, power ? "+standard" : "");
  if (g_str_equal(transformation, "standard")) return NULL;
  for (guint i = 0; i < drift_schema_n_features(schema); i++) {
    const DriftFeature *feature = drift_schema_get_feature(schema, i);
    if (!feature->input || feature->kind != DRIFT_NUMERIC) continue;
    PipelineChain *chain = pipeline_chain_new(feature->name, NULL, steps, NULL);
    if (chain != NULL) g_ptr_array_add(plan->chains, chain);
  }
  return plan->chains->len > 0 ? g_steal_pointer(&plan) : NULL;
}

/* Without an activation other than relu, normalisation, shortcuts and dropout it is a chain, which is trained fastest.
 */
static void fill_dense(const double *values, const DriftSchema *schema, PipelineSearchRecipe *recipe,
                       PipelineTrainOptions *options)
{
  double width = values[WIDTH], taper = choice_number(&dense[TAPER], values[TAPER]);
  g_autofree gchar *activation = choice_text(&dense[ACTIVATION], values[ACTIVATION]),
                   *norm = choice_text(&dense[NORM], values[NORM]),
                   *transformation = choice_text(&dense[TRANSFORM], values[TRANSFORM]);
  GString *text = g_string_new("mlp:");
  for (guint i = 0; i < (guint)values[DEPTH]; i++, width *= taper)
    g_string_append_printf(text, "%s%u", i > 0 ? "," : "", MAX(2u, (guint)width));
  options->dropout = choice_number(&dense[DROPOUT], values[DROPOUT]);
  gboolean layers = values[DEPTH] > 0; /* a linear model has nothing of the following */
  if (layers && (values[ACTIVATION] > 0 || options->dropout > 0)) g_string_append_printf(text, "+%s", activation);
  if (layers && values[NORM] > 0) g_string_append_printf(text, "+%s-norm", norm);
  if (layers && values[RESIDUAL] > 0) g_string_append(text, "+residual");
  options->learning_rate = values[RATE];
  options->weight_decay = values[DECAY];
  options->batch_size = (guint)choice_number(&dense[BATCH], values[BATCH]);
  recipe->plan = make_plan(schema, transformation);
  recipe->architecture = g_string_free(text, FALSE);
}

/* --- networks for images ------------------------------------------------------------------------------------------ */

enum {
  STAGES,
  CHANNELS,
  GROWTH,
  BLOCKS,
  KERNEL,
  POOL,
  IMAGE_ACTIVATION,
  IMAGE_NORM,
  IMAGE_RESIDUAL,
  UNITS,
  IMAGE_DROPOUT,
  IMAGE_RATE,
  IMAGE_DECAY,
  IMAGE_BATCH
};
static const PipelineSearchDimension cnn[] = {
    [STAGES] = {"depth", PIPELINE_SEARCH_INTEGER, 1, 4, NULL, 2,
                FALSE}, /* stages; each ends in a pool that halves the image */
    [CHANNELS] = {"channels", PIPELINE_SEARCH_LOG_INTEGER, 4, 64, NULL, 32, FALSE}, /* of the first stage */
    [GROWTH] = {"growth", PIPELINE_SEARCH_CHOICE, 0, 0, "1,2", 1, FALSE}, /* of the channels from stage to stage */
    [BLOCKS] = {"blocks", PIPELINE_SEARCH_INTEGER, 1, 2, NULL, 1, FALSE}, /* convolutions of a stage */
    [KERNEL] = {"kernel", PIPELINE_SEARCH_CHOICE, 0, 0, "3,5", 0, FALSE},
    [POOL] = {"pool", PIPELINE_SEARCH_CHOICE, 0, 0, "max,average", 0, FALSE},
    [IMAGE_ACTIVATION] = {"activation", PIPELINE_SEARCH_CHOICE, 0, 0, ACTIVATIONS, 0, FALSE},
    [IMAGE_NORM] = {"norm", PIPELINE_SEARCH_CHOICE, 0, 0, "none,batch,layer", 1, FALSE},
    [IMAGE_RESIDUAL] = {"residual", PIPELINE_SEARCH_CHOICE, 0, 0, "no,yes", 0, FALSE},
    [UNITS] = {"dense", PIPELINE_SEARCH_CHOICE, 0, 0, "0,32,64,128,256", 3, FALSE}, /* behind the stages */
    [IMAGE_DROPOUT] = {"dropout", PIPELINE_SEARCH_CHOICE, 0, 0, "0,0.1,0.25,0.5", 3, FALSE},
    [IMAGE_RATE] = {"learning_rate", PIPELINE_SEARCH_LOG, 2e-4, 2e-2, NULL, 2e-3, FALSE},
    [IMAGE_DECAY] = {"weight_decay", PIPELINE_SEARCH_LOG, 1e-3, 1, NULL, 1e-2, FALSE},
    [IMAGE_BATCH] = {"batch", PIPELINE_SEARCH_CHOICE, 0, 0, "32,64,128,256", 1, FALSE}};

static void fill_cnn(const double *values, const DriftSchema *schema, PipelineSearchRecipe *recipe,
                     PipelineTrainOptions *options)
{
  double channels = values[CHANNELS], growth = choice_number(&cnn[GROWTH], values[GROWTH]);
  g_autofree gchar *activation = choice_text(&cnn[IMAGE_ACTIVATION], values[IMAGE_ACTIVATION]),
                   *norm = choice_text(&cnn[IMAGE_NORM], values[IMAGE_NORM]),
                   *pool = choice_text(&cnn[POOL], values[POOL]);
  GString *text = g_string_new("cnn:");
  (void)schema;
  for (guint i = 0; i < (guint)values[STAGES]; i++, channels *= growth)
    g_string_append_printf(text, "%s%u", i > 0 ? "," : "", (guint)channels);
  g_string_append_printf(text, "+%s+%s%s-norm+%s-pool+kernel=%g+blocks=%u+dense=%g", activation,
                         values[IMAGE_NORM] > 0 ? "" : "no", values[IMAGE_NORM] > 0 ? norm : "", pool,
                         choice_number(&cnn[KERNEL], values[KERNEL]), (guint)values[BLOCKS],
                         choice_number(&cnn[UNITS], values[UNITS]));
  if (values[IMAGE_RESIDUAL] > 0) g_string_append(text, "+residual");
  options->dropout = choice_number(&cnn[IMAGE_DROPOUT], values[IMAGE_DROPOUT]);
  options->learning_rate = values[IMAGE_RATE];
  options->weight_decay = values[IMAGE_DECAY];
  options->batch_size = (guint)choice_number(&cnn[IMAGE_BATCH], values[IMAGE_BATCH]);
  recipe->architecture = g_string_free(text, FALSE);
}

/* --- boosted trees ------------------------------------------------------------------------------------------------ */

static const PipelineSearchDimension trees[] = {{"depth", PIPELINE_SEARCH_INTEGER, 2, 12, NULL, 6, FALSE},
                                                {"eta", PIPELINE_SEARCH_LOG, 1e-2, .5, NULL, .1, FALSE},
                                                {"subsample", PIPELINE_SEARCH_REAL, .4, 1, NULL, 1, FALSE},
                                                {"colsample", PIPELINE_SEARCH_REAL, .4, 1, NULL, 1, FALSE},
                                                {"min_child_weight", PIPELINE_SEARCH_LOG, .1, 100, NULL, 1, FALSE},
                                                {"lambda", PIPELINE_SEARCH_LOG, 1e-2, 100, NULL, 1, FALSE}};

/* The rounds are the resource; 50 rounds without a better validation loss end a trial. */
static void fill_trees(const double *values, const DriftSchema *schema, PipelineSearchRecipe *recipe,
                       PipelineTrainOptions *options)
{
  (void)options, (void)schema;
  GString *text = g_string_new("trees:");
  for (guint i = 0; i < G_N_ELEMENTS(trees); i++) {
    gchar number[G_ASCII_DTOSTR_BUF_SIZE];
    g_ascii_formatd(number, sizeof number, "%.9g", values[i]);
    g_string_append_printf(text, "%s%s=%s", i > 0 ? "," : "", trees[i].name, number);
  }
  recipe->architecture = g_string_free(text, FALSE);
}

/* --- the families ------------------------------------------------------------------------------------------------- */

#define TABLE(name) name, G_N_ELEMENTS(name), fill_##name
static const PipelineSearchFamily dense_family = {"dense", "epochs", 3, PIPELINE_SEARCH_TABLES, TABLE(dense)};
static const PipelineSearchFamily trees_family = {"trees", "rounds", 50, PIPELINE_SEARCH_TABLES, TABLE(trees)};
static const PipelineSearchFamily cnn_family = {"cnn", "epochs", 1, PIPELINE_SEARCH_IMAGES, TABLE(cnn)};
static const PipelineSearchFamily *const families[] = {&dense_family, &trees_family, &cnn_family, NULL};

const PipelineSearchFamily *const *pipeline_search_families(void)
{
  return families;
}

const PipelineSearchFamily *pipeline_search_family_find(const gchar *name)
{
  for (guint i = 0; families[i] != NULL; i++)
    if (g_strcmp0(families[i]->name, name) == 0) return families[i];
  return NULL;
}

void pipeline_search_family_fill(const PipelineSearchFamily *family, const double *values, const DriftSchema *schema,
                                 PipelineSearchRecipe *recipe, PipelineTrainOptions *options)
{
  *recipe = (PipelineSearchRecipe){NULL, NULL};
  family->fill(values, schema, recipe, options);
  options->architecture = recipe->architecture;
  options->plan = recipe->plan;
}
