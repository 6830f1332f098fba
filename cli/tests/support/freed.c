#define _GNU_SOURCE
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
extern void __libc_free(void *);
static unsigned char marks[8][64];
static size_t lengths[8];
static const char *to;
__attribute__((constructor)) static void begin(void) {
  const char *hex = getenv("MARKS");
  for (int mark = 0; hex && *hex && mark < 8; mark++) {
    unsigned byte;
    while (lengths[mark] < 64 && *hex && *hex != ',' && sscanf(hex, "%2x", &byte) == 1) { marks[mark][lengths[mark]++] = byte; hex += 2; }
    if (*hex == ',') hex++;
  }
  to = getenv("FREED");
}
static void look(void *block) {
  size_t size = malloc_usable_size(block);
  for (int mark = 0; mark < 8 && lengths[mark]; mark++) {
    if (!to || !memmem(block, size, marks[mark], lengths[mark])) continue;
    char line[64];
    int length = snprintf(line, sizeof line, "mark %d in %zu bytes\n", mark, size);
    int log = open(to, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (write(log, line, length) < 0) abort();
    close(log);
  }
}
void free(void *block) { if (block) { look(block); __libc_free(block); } }
void *realloc(void *block, size_t size) {
  if (!block) return malloc(size);
  if (!size) { free(block); return NULL; }
  void *grown = malloc(size);
  if (!grown) return NULL;
  size_t had = malloc_usable_size(block);
  memcpy(grown, block, had < size ? had : size);
  free(block);
  return grown;
}
