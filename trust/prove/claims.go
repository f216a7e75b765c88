package prove

import (
	"maps"
	"slices"
	"strings"
)

func cloneMap(m map[string]any) map[string]any {
	out := make(map[string]any, len(m)+4)
	for k, v := range m {
		switch x := v.(type) {
		case map[string]any:
			out[k] = cloneMap(x)
		case int:
			out[k] = int64(x)
		default:
			out[k] = v
		}
	}
	return out
}

// pathOf takes a pointer apart.
func pathOf(id string) []string {
	path := strings.Split(id[1:], "/")
	for i := range path {
		path[i] = unescape(path[i])
	}
	return path
}

// holder is the map that a pointer's last member is in; without make, nil where
// there is none.
func holder(claims map[string]any, path []string, make bool) map[string]any {
	for _, member := range path[:len(path)-1] {
		inner, ok := claims[member].(map[string]any)
		if !ok {
			if !make {
				return nil
			}
			inner = map[string]any{}
			claims[member] = inner
		}
		claims = inner
	}
	return claims
}

func set(claims map[string]any, id string, v any) {
	path := pathOf(id)
	holder(claims, path, true)[path[len(path)-1]] = v
}

func remove(claims map[string]any, id string) {
	path := pathOf(id)
	if in := holder(claims, path, false); in != nil {
		delete(in, path[len(path)-1])
	}
}

// leaves are the pointers of all values in either of the maps, but for those that
// hold others, sorted.
func leaves(ms ...map[string]any) []string {
	seen := map[string]bool{}
	var walk func(m map[string]any, at string)
	walk = func(m map[string]any, at string) {
		for k, v := range m {
			id := at + "/" + escape(k)
			if inner, ok := v.(map[string]any); ok && len(inner) > 0 {
				walk(inner, id)
				continue
			}
			seen[id] = true
		}
	}
	for _, m := range ms {
		walk(m, "")
	}
	return slices.Sorted(maps.Keys(seen))
}

// copyLeaf makes one value what it is in another map, or takes it away.
func copyLeaf(into, from map[string]any, id string) {
	path := pathOf(id)
	v, ok := any(nil), false
	if in := holder(from, path, false); in != nil {
		v, ok = in[path[len(path)-1]]
	}
	if !ok {
		remove(into, id)
		return
	}
	set(into, id, v)
}

// prune takes empty maps away.
func prune(m map[string]any) {
	for k, v := range m {
		if inner, ok := v.(map[string]any); ok {
			if prune(inner); len(inner) == 0 {
				delete(m, k)
			}
		}
	}
}
