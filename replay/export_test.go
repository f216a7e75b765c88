package replay

// NewMemoryLimit is NewMemory with another cap.
var NewMemoryLimit = newMemory

// Waiting is how many calls wait behind one that is under way.
func (r *Redis) Waiting() int {
	r.line.mu.Lock()
	defer r.line.mu.Unlock()
	return len(r.line.queue)
}
