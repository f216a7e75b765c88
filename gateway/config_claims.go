package gateway

import (
	"strconv"
	"strings"

	"cambio/providers/oidc"
	"cambio/trust"
	"cambio/trust/strictyaml"
)

// claims checks the declared claims, the anchors and the workload id.
func (c *checker) claims(n *strictyaml.Node, p IdentityProvider, platform oidc.Platform) {
	declared := n.Get("claims")
	anchors := 0
	seen := map[string]bool{}
	for i, key := range declared.Keys() {
		item := declared.Items()[i]
		claim := p.Claims[key.Text]
		typed := c.oneOf(item.Get("type"), []string{"string", "bool", "int", "double", "list"}, "claim-type")
		if strings.HasPrefix(key.Text, "/") && !pointer(key.Text) {
			c.r.Error(key, "claim-name", strconv.Quote(key.Text)+" is not a JSON pointer", "write ~0 for ~ and ~1 for / (RFC 6901)")
		}
		// x and /x are one claim: with a type each, the order of a map would say
		// which one counts.
		name := flatName(key.Text)
		if key.Text == "" || seen[name] {
			c.r.Error(key, "claim-name", strconv.Quote(key.Text)+" names no claim, or one that was declared above", "name each claim once")
			continue
		}
		seen[name] = true
		known, builtin := platform.Claims[name]
		_, alias := platform.Aliases[name]
		for _, pointer := range platform.Aliases {
			alias = alias || pointer == name
		}
		if alias || builtin && (!platform.Generic || name != "sub") || name == "act" || name == "may_act" {
			c.r.Error(key, "claim-known", key.Text+" is the platform's own claim", "leave it out")
			continue
		}
		if builtin && typed && claim.Type != known.Type {
			c.r.Error(item.Find("type"), "claim-type", key.Text+" is of type "+string(known.Type), "write "+string(known.Type))
		}
		if !claim.Anchor {
			continue
		}
		anchors++
		switch {
		case !platform.Generic:
			c.r.Error(item.Find("anchor"), "anchor", "the anchors of this platform are fixed", "leave anchor out")
		case typed && claim.Type != trust.StringClaim && claim.Type != trust.IntClaim:
			c.r.Error(item.Find("anchor"), "anchor", "an anchor names one tenant, which a "+string(claim.Type)+" cannot", "anchor a string or an int")
		}
	}
	if platform.Generic && anchors == 0 && (declared == nil || declared.Kind == strictyaml.Map) {
		c.r.Error(n.Find("claims"), "anchor-required", "no claim is declared an anchor, so that no trust could rest on one", "write claims: {sub: {type: string, anchor: true}} or another immutable claim")
	}
	workload := n.Get("workload")
	if !platform.Generic {
		return // the catalogue's check refuses it
	}
	for _, item := range workload.Items() {
		claim, ok := p.Claims[item.Text]
		if !usable(item) || item.Text == "sub" || ok && claim.Type == trust.StringClaim {
			continue
		}
		if ok {
			c.r.Error(item, "workload-claim", item.Show()+" is of type "+string(claim.Type)+": 1 and \"1\" would be one workload", "use claims of type string")
			continue
		}
		c.r.Error(item, "workload-claim", item.Show()+" is not declared", "declare it under claims")
	}
}

// flatName is a claim's name without the pointer that it may be written as:
// /sub is sub, and /a/b stays.
func flatName(s string) string {
	name, ok := strings.CutPrefix(s, "/")
	if !ok || strings.Contains(name, "/") {
		return s
	}
	return strings.NewReplacer("~1", "/", "~0", "~").Replace(name)
}

// pointer reports whether the escapes of a JSON pointer are whole (RFC 6901
// section 3).
func pointer(s string) bool {
	rest := strings.NewReplacer("~0", "", "~1", "").Replace(s)
	return !strings.Contains(rest, "~") && s != "/"
}
