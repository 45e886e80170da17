// Goroutines over threads, a child process, timers, the collector and files, as Go's runtime does them without libc.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

func main() {
	sums := make(chan int, 50)
	var group sync.WaitGroup
	for i := 0; i < 50; i++ {
		group.Add(1)
		go func(factor int) {
			defer group.Done()
			sum := 0
			for j := 0; j < 100000; j++ {
				sum += j * factor
			}
			sums <- sum
		}(i)
	}
	group.Wait()
	close(sums)
	total := 0
	for sum := range sums {
		total += sum
	}
	fmt.Println(total, runtime.NumGoroutine())

	output, err := exec.Command("/bin/sh", "-c", "echo child; exit 3").Output()
	fmt.Printf("%q %v\n", output, err)

	ticker := time.NewTicker(time.Millisecond)
	for i := 0; i < 5; i++ {
		<-ticker.C
	}
	for i := 0; i < 100; i++ {
		_ = make([]byte, 1<<20)
	}
	runtime.GC()

	directory, err := os.MkdirTemp("", "osv-go")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(directory)
	file := filepath.Join(directory, "file")
	fmt.Println(os.WriteFile(file, []byte("written"), 0o640))
	text, err := os.ReadFile(file)
	info, _ := os.Stat(file)
	fmt.Println(string(text), err, info.Mode())

	defer func() { fmt.Println("recovered:", recover() != nil) }()
	var nothing *int
	*nothing = 1
}
