/* Winograd's convolutions in blocks of 8 channels. */
#define LANES 8
#define LOOPS pipeline_onednn_winograd_avx2
#ifdef __x86_64__
#define FUSED __attribute__((target("avx2,fma")))
#define IS_SUPPORTED (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#else
#define FUSED
#define IS_SUPPORTED FALSE
#endif
#include "pipeline/onednn_winograd_loops.h"
