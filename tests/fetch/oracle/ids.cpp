// ids VOCAB.gguf {0|1}: token ids by llama.cpp, one JSON array a line.
// Input: records of a little-endian uint32 length and that many bytes of text.
// The argument after the vocabulary says whether special-token text is parsed.
#include "llama-model-loader.h"
#include "llama-vocab.h"

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

// A vocabulary is one file: what would find the other parts of a split model is never called.
int32_t llama_split_path(char *, size_t, const char *, int32_t, int32_t) { return 0; }
int32_t llama_split_prefix(char *, size_t, const char *, int32_t, int32_t) { return 0; }

int main(int argc, char ** argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s VOCAB.gguf 0|1 < records\n", argv[0]);
        return 2;
    }
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    std::vector<std::string> splits;
    llama_model_loader loader(nullptr, nullptr, nullptr, argv[1], splits, nullptr, LLAMA_LOAD_MODE_NONE,
                              false, true, false, nullptr, nullptr);
    llama_vocab vocab;
    vocab.load(loader, LLM_KV(loader.get_arch()));
    const bool special = strcmp(argv[2], "1") == 0;
    uint32_t n;
    while (fread(&n, 4, 1, stdin) == 1) {
        std::string text(n, '\0');
        if (n && fread(&text[0], 1, n, stdin) != n) {
            return 1;
        }
        const auto ids = vocab.tokenize(text, false, special);
        printf("[");
        for (size_t i = 0; i < ids.size(); i++) {
            printf(i ? ",%d" : "%d", ids[i]);
        }
        printf("]\n");
    }
    return 0;
}
