/* latency: a histogram of times in bins of 20 us, up to a minute; what is later counts as a minute and is told apart. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define BIN_US 20
#define BINS 3000000

struct latencies {
  uint64_t count, late;
  uint32_t *bins;
};

static void note_latency(struct latencies *of, double seconds) {
  if (!of->bins && !(of->bins = calloc(BINS, sizeof *of->bins))) abort();
  long bin = (long)(seconds * 1e6 / BIN_US);
  if (bin < 0) bin = 0;
  if (bin >= BINS) { of->late++; bin = BINS - 1; }
  of->bins[bin]++;
  of->count++;
}

/* Return the time below which `share` of all are, in milliseconds; 0 without any. */
static double percentile(const struct latencies *of, double share) {
  uint64_t so_far = 0;
  for (int i = 0; of->count && i < BINS; i++)
    if ((so_far += of->bins[i]) >= share * of->count) return (i + 0.5) * BIN_US / 1000.0;
  return 0;
}

static void tell_latencies(const char *name, const struct latencies *of) {
  printf("\"%s\": {\"count\": %llu, \"late\": %llu, \"p50_ms\": %.3f, \"p90_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f}",
         name, (unsigned long long)of->count, (unsigned long long)of->late, percentile(of, 0.5), percentile(of, 0.9),
         percentile(of, 0.99), percentile(of, 1));
}
