//go:build !linux

package main

import (
	"errors"
	"time"
)

// errNotLinux says that the figures come from files that only Linux has.
var errNotLinux = errors.New("the benchmark reads CPU and memory as Linux shows them, and runs there only")

func checkDisk(string) error { return errNotLinux }

func cpuTime() (time.Duration, error) { return 0, errNotLinux }

func residentBytes() (int64, error) { return 0, errNotLinux }
