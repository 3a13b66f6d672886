// SPDX-License-Identifier: Apache-2.0
// goroutines FILE: goroutines that compute, allocate, sleep and talk over channels; the sum goes to FILE.
package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"
)

func main() {
	work := make(chan int)
	results := make(chan [32]byte)
	var group sync.WaitGroup
	for w := 0; w < 8; w++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for n := range work {
				block := make([]byte, 20000+n) // garbage for the collector
				for i := range block {
					block[i] = byte(i * n)
				}
				sum := sha256.Sum256(block)
				for i := 0; i < 40; i++ {
					sum = sha256.Sum256(append(sum[:], block...))
				}
				results <- sum
			}
		}()
	}
	go func() {
		for n := 0; n < 1200; n++ {
			work <- n
			if n%10 == 0 {
				asked := time.Millisecond
				start := time.Now()
				time.Sleep(asked)
				if time.Since(start) < asked {
					fmt.Fprintln(os.Stderr, "a sleep ended early")
					os.Exit(1)
				}
			}
		}
		close(work)
		group.Wait()
		close(results)
	}()
	var total [32]byte
	count := 0
	for sum := range results {
		for i := range total {
			total[i] ^= sum[i]
		}
		count++
		if count%200 == 0 {
			runtime.GC()
		}
	}
	if err := os.WriteFile(os.Args[1], []byte(fmt.Sprintf("%d %x\n", count, total)), 0o644); err != nil {
		os.Exit(2)
	}
}
