package web_test

import (
	"log/slog"
	"os"
	"testing"
)

// The OAuth library tells the default logger of each route.
func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}
