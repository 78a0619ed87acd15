package model_test

import (
	"context"
	"fmt"
	"log"

	"quire/runtime"
	"quire/runtime/token"
	"quire/tools/model"
)

// A tiny model, and a prompt that transformers goes on from with the ids below.
const (
	file   = "../../tests/e2e/reference/smollm2"
	prompt = "The printer folded the leaves of the quire in the year 1473, and the reader's words"
)

// The README shows the body of this function; TestReadme compares them.
func Example() {
	ctx := context.Background()
	rt, err := runtime.Open(ctx, runtime.NewConfig().WithDevice(runtime.CPU).WithThreads(2))
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close(ctx) // closes everything that it opened

	prog, _, err := model.Load(ctx, rt, file, model.Options{}) // compiles once, then maps one file
	if err != nil {
		log.Fatal(err)
	}
	tok, err := prog.Tokenizer()
	if err != nil {
		log.Fatal(err)
	}
	ids, err := tok.Encode(prompt, token.EncodeOptions{})
	if err != nil {
		log.Fatal(err)
	}

	sess, err := prog.NewSession(ctx) // one sequence; many may run at once, and share steps
	if err != nil {
		log.Fatal(err)
	}
	for piece, err := range sess.Generate(ctx, runtime.GenerateOptions{Prompt: ids, MaxTokens: 4}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(piece.Token, " ") // and piece.Text
	}
	// Output: 24 312 10 56
}
