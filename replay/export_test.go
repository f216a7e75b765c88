package replay

// NewMemoryLimit is NewMemory with another cap.
var NewMemoryLimit = newMemory //nolint:gochecknoglobals // only in tests
