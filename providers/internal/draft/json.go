package draft

import (
	"encoding/json"
	"strings"
)

// JSON is a connection for programs, indented, with < and & as they are. v holds
// texts, numbers, and lists and maps of them, which always encode.
func JSON(v any) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if enc.Encode(v) != nil { //nolint:errchkjson // as said above
		return ""
	}
	return b.String()
}
