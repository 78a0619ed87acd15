// Package e2e holds whole models, compiled and run through the embedder's API, against
// other people's software: Hugging Face transformers on tiny models of the whole
// family (reference/) and on SmolLM2 (testdata/smollm2).
//
// SmolLM2's file (98 MB) comes by tests/fetch/smollm2.sh into the cache folder
// (QUIRE_CACHE_DIR, else ~/.cache/quire). A test that needs it skips with a word where
// it is absent, and fails with QUIRE_REQUIRE_DATA=1.
//
// greedy.py asks the same of a built quire on any device, where there is no Go.
//
// Border law: tests only.
package e2e
