/* The multivariate tests by name, with their defaults. */
#include "drift/multivariate.h"

#include <math.h>

#define FEATURES 256
#define FOLDS 5

static gboolean test_mmd(const DriftMatrix *reference, const DriftMatrix *current,
                         const DriftPermutationSettings *settings, DriftTestResult *result, GError **error)
{
  DriftMmd mmd;
  if (!drift_mmd(reference, current, 0, settings, &mmd, error)) return FALSE;
  *result = (DriftTestResult){mmd.unbiased, mmd.p, NAN, isnan(mmd.p) ? NULL : "permutation", NULL};
  return TRUE;
}

static gboolean test_mmd_features(const DriftMatrix *reference, const DriftMatrix *current,
                                  const DriftPermutationSettings *settings, DriftTestResult *result, GError **error)
{
  DriftMmd mmd;
  if (!drift_mmd_features(reference, current, 0, FEATURES, settings, &mmd, error)) return FALSE;
  *result = (DriftTestResult){mmd.unbiased, mmd.p, NAN, isnan(mmd.p) ? NULL : "permutation", NULL};
  return TRUE;
}

static gboolean test_energy(const DriftMatrix *reference, const DriftMatrix *current,
                            const DriftPermutationSettings *settings, DriftTestResult *result, GError **error)
{
  DriftEnergy energy;
  if (!drift_energy_distance(reference, current, settings, &energy, error)) return FALSE;
  *result = (DriftTestResult){energy.statistic, energy.p, NAN, isnan(energy.p) ? NULL : "permutation", NULL};
  return TRUE;
}

static gboolean test_hotelling(const DriftMatrix *reference, const DriftMatrix *current,
                               const DriftPermutationSettings *settings, DriftTestResult *result, GError **error)
{
  (void)settings;
  DriftHotelling hotelling;
  if (!drift_hotelling(reference, current, &hotelling, error)) return FALSE;
  *result = (DriftTestResult){hotelling.t2, hotelling.p, hotelling.df1, "F law", NULL};
  return TRUE;
}

static gboolean test_lsdd(const DriftMatrix *reference, const DriftMatrix *current,
                          const DriftPermutationSettings *settings, DriftTestResult *result, GError **error)
{
  DriftLsdd lsdd;
  if (!drift_lsdd(reference, current, 0, settings, &lsdd, error)) return FALSE;
  *result = (DriftTestResult){lsdd.statistic, lsdd.p, NAN, isnan(lsdd.p) ? NULL : "permutation", NULL};
  return TRUE;
}

static gboolean test_classifier(const DriftMatrix *reference, const DriftMatrix *current,
                                const DriftPermutationSettings *settings, DriftTestResult *result, GError **error)
{
  DriftClassifierTest test;
  if (!drift_classifier_test(reference, current, &drift_learner_logistic, FOLDS, settings, &test, error)) return FALSE;
  *result = (DriftTestResult){test.auc, test.p, NAN, isnan(test.p) ? NULL : "permutation", NULL};
  return TRUE;
}

const DriftMultivariateMethod drift_multivariate_methods[] = {
    {"mmd", "maximum mean discrepancy squared, unbiased, median bandwidth", test_mmd},
    {"mmd-features", "the same by 256 random features, for many rows", test_mmd_features},
    {"energy", "energy distance times nm/(n+m)", test_energy},
    {"hotelling", "Hotelling's T squared: a difference of means", test_hotelling},
    {"lsdd", "least-squares density difference", test_lsdd},
    {"classifier", "held-out AUC of a logistic regression that tells the sides apart", test_classifier},
    {"mahalanobis", "distances from the reference's mean by its covariance, of held-out rows and of the current ones",
     drift_mahalanobis_test},
    {"pca", "what the reference's principal components leave of held-out rows and of the current ones", drift_pca_test},
    {NULL, NULL, NULL},
};

const DriftMultivariateMethod *drift_multivariate_find(const gchar *name)
{
  for (const DriftMultivariateMethod *method = drift_multivariate_methods; method->name != NULL; method++)
    if (g_strcmp0(method->name, name) == 0) return method;
  return NULL;
}
