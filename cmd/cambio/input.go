package main

import (
	"fmt"
	"io"
)

// maxInput bounds what is read from a file or standard input: the largest token
// and the largest claims stay far below.
const maxInput = 1 << 20

// readInput reads a file, or standard input for "-".
func (c *common) readInput(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(io.LimitReader(c.io.in, maxInput))
	}
	data, err := c.io.readFile(name)
	if err != nil {
		return nil, &failure{code: exitError, err: fmt.Errorf("%s: %w", name, unwrapPath(err)), next: "name an existing file, or - for standard input"}
	}
	return data, nil
}
