package gateway

import (
	_ "embed" // the schema is a file that editors can fetch too
	"slices"
)

//go:embed cambio.schema.json
var schema []byte

// Schema is the JSON Schema (draft 2020-12) of cambio.yaml. It is made from
// [Config] and says what a field may look like; what fields must be to each
// other, only [ParseConfig] says.
func Schema() []byte { return slices.Clone(schema) }
