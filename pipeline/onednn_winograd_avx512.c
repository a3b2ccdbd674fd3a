/* Winograd's convolutions in blocks of 16 channels. */
#define LANES 16
#define LOOPS pipeline_onednn_winograd_avx512
#ifdef __x86_64__
#define FUSED __attribute__((target("avx512f")))
#define IS_SUPPORTED __builtin_cpu_supports("avx512f")
#else
#define FUSED
#define IS_SUPPORTED FALSE
#endif
#include "pipeline/onednn_winograd_loops.h"
