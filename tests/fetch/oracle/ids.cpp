// ids VOCAB.gguf 0|1 [PRE]: token ids by llama.cpp, one JSON array a line.
// Input: records of a little-endian uint32 length and that many bytes of text.
// 0|1 says whether special-token text is parsed, PRE replaces the file's tokenizer.ggml.pre.
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
    if (argc != 3 && argc != 4) {
        fprintf(stderr, "usage: %s VOCAB.gguf 0|1 [PRE] < records\n", argv[0]);
        return 2;
    }
    llama_model_kv_override given[3] = {};
    const bool forced = argc == 4 && argv[3][0];
    if (forced) {
        const char * pairs[2][2] = {{"tokenizer.ggml.pre", argv[3]}, {"tokenizer.ggml.model", "gpt2"}};
        for (int i = 0; i < 2; i++) {
            given[i].tag = LLAMA_KV_OVERRIDE_TYPE_STR;
            snprintf(given[i].key, sizeof(given[i].key), "%s", pairs[i][0]);
            snprintf(given[i].val_str, sizeof(given[i].val_str), "%s", pairs[i][1]);
        }
    }
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    std::vector<std::string> splits;
    llama_model_loader loader(nullptr, nullptr, nullptr, argv[1], splits, nullptr, LLAMA_LOAD_MODE_NONE,
                              false, true, false, forced ? given : nullptr, nullptr);
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
