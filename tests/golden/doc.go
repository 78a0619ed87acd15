// Package golden holds the IR and its passes against text: testdata/PACKAGE/CONCEPT.txt,
// one concept a file, named for the claim, in the format of cockroachdb/datadriven.
//
//	go test ./tests/golden              # all
//	go test ./tests/golden -run /awq    # the files of one package
//	go test ./tests/golden -rewrite     # then read the diff: it is the review
//
// Each case is a directive, IR text, a line of dashes and what comes out:
//
//	cat                       the canonical text, or (unchanged); syntax errors with their caret
//	verify                    each wrong line with "// error: ..." behind it, or ok
//	run pass=a,b ...          the module after the passes, or (unchanged)
//	eval seed=N ...           the oracle's numbers for a seeded case
//
// run takes, besides pass (names of passes; standard is the whole pipeline):
//
//	expect=(rule, rule)       these rules must fire
//	expect-not=(rule, rule)   these must not; why they did not is printed
//	show=@f,@g  show=diff     only these functions; only the lines that went and came
//	show=steps  show=none     the lines that each rule changed; nothing
//	bound=1e-3                how far an approximating pass may go (relative L2 of a row)
//	exact                     the parameters are the approximating pass's exact case
//	caches                    the caches hold other numbers afterwards; what is read of them is the same
//	either-order              the passes in reverse give the same text
//	more-results              results come behind those that were there
//	duo=(mask=10/01, sink=1, recent=2, chunk=4)
//	quest=(budget=4, page=2, physical-page=2, dense-layers=0, per=head)
//	kv=4                      options of duo.split-heads, quest.select-pages and
//	                          kvquant.quantise-caches, and that standard has them; absent: the package's Defaults. A mask has
//	                          a row a layer: 1 retrieval, 0 streaming
//	target=sm_90a             passes that choose kernels choose that machine's; absent: any CPU's
//	not-idempotent            a second run may change the text again (say why in a comment)
//
// eval takes seed, func (default step) and steps (default 1).
//
// Whatever it shows, every run is also verified before and after each pass, run
// twice from the same text (same bytes), run again on its own result (nothing
// more changes), run once more with the values shuffled before each pass (the
// same rules fire as often), and evaluated by the oracle before and after, each
// function with the one of its name and each specialisation with the function
// that it specialises, within the passes' numerics. So a golden whose meaning is
// wrong cannot be rewritten into green.
//
// Border law: tests only; imports ir, passes and the oracle.
package golden
