package gateway

import (
	_ "embed" // the schema is a file that editors can fetch too
	"maps"
	"slices"

	"cambio/providers"
	"cambio/trust"
	"cambio/trust/schema"
)

//go:embed cambio.schema.json
var configSchema []byte

// Schema is the JSON Schema (draft 2020-12) of cambio.yaml. It is made from
// [Config] and says what a field may look like; what fields must be to each
// other, only [ParseConfig] says.
func Schema() []byte { return slices.Clone(configSchema) }

// TrustSchema is the JSON Schema of trust documents, guardrails, invariants and
// files of tests: for what can be configured at all, or with a configuration for
// its own names.
func TrustSchema(c *Config) ([]byte, error) {
	if c != nil {
		return schema.Configured(World(*c))
	}
	types := providers.TargetTypes()
	out := make([]trust.TargetType, 0, len(types))
	for _, name := range slices.Sorted(maps.Keys(types)) {
		out = append(out, types[name])
	}
	return schema.Documents(out)
}
