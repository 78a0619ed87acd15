package calibrate

import (
	goruntime "runtime"
	"sync"
)

// each calls f for 0 .. n-1, on all processors.
func each(n int, f func(i int)) {
	workers := min(goruntime.GOMAXPROCS(0), n)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w * n / workers; i < (w+1)*n/workers; i++ {
				f(i)
			}
		})
	}
	wg.Wait()
}
