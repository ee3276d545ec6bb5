/* Runs launches that a file describes: CASES is generated, a list of kernels compiled as C++. For each: int64 threads, first
 * block, blocks; then for each argument int64 its bytes (-1: a null pointer), bytes between it and a multiple of 16, and bytes of
 * its end that follow in the file (of the fifth argument, that are wanted back; the sixth is wanted back, too). */
#include "cuda_host.h"

#include <sanitizer/asan_interface.h>
#include <sys/mman.h>

#include "cases.h"

static int64_t number(FILE *file)
{
    int64_t value;
    if (std::fread(&value, sizeof value, 1, file) != 1) std::abort();
    return value;
}

/* Memory of exactly that size, so that whatever is touched around it is an error. Huge ones exist on paper only. */
static char *allocate(int64_t bytes, int64_t past)
{
    if (bytes > 1 << 30) {
        void *pages = mmap(nullptr, bytes + past, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (pages == MAP_FAILED) std::abort();
        return (char *)pages + past;
    }
    char *memory = (char *)std::malloc(bytes + past);
    std::memset(memory, 0xA5, bytes + past);
    ASAN_POISON_MEMORY_REGION(memory, past);
    return memory + past;
}

int main(int, char **names)
{
    FILE *input = std::fopen(names[1], "rb"), *output = std::fopen(names[2], "wb");
    if (!input || !output) return 1;
    for (auto kernel : CASES) {
        const int threads = (int)number(input);
        const int64_t first_block = number(input), n_blocks = number(input);
        void *arguments[6] = {};
        int64_t bytes[6], past[6], tail[6];
        for (int k = 0; k < 6; k++) {
            bytes[k] = number(input);
            past[k] = number(input);
            tail[k] = number(input);
            if (bytes[k] < 0) continue;
            char *memory = allocate(bytes[k], past[k]);
            arguments[k] = memory;
            if (k != 4 && std::fread(memory + bytes[k] - tail[k], 1, tail[k], input) != (size_t)tail[k]) return 1;
        }
        launch(kernel, arguments, first_block, n_blocks, threads);
        for (int k = 4; k < 6; k++)
            if (bytes[k] >= 0) std::fwrite((char *)arguments[k] + bytes[k] - tail[k], 1, tail[k], output);
        for (int k = 0; k < 6; k++)
            if (bytes[k] >= 0 && bytes[k] <= 1 << 30) std::free((char *)arguments[k] - past[k]);
    }
    return std::fclose(output);
}
