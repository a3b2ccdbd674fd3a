/* Loops compiled for several widths of vectors; the processor chooses when the program starts. */
#pragma once

/* Vectors of every width compute the same bits: there are no fused or reordered operations. Resolvers of such functions
 * run before sanitizers do. */
#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) &&          \
    !defined(__SANITIZE_THREAD__)
#define WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDE
#endif
