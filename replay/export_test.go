package replay

// NewMemoryLimit is NewMemory with another cap.
var NewMemoryLimit = newMemory
