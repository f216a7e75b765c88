package tighten

import (
	"fmt"
	"strings"
	"time"

	"cambio/trust"
	"cambio/trust/strictyaml"
)

// grants takes away what was never given, and shortens what lives longer than
// anybody asked for.
func (d *drafting) grants() error {
	list := d.e.root.Get("grants")
	if list == nil || len(list.Items()) != len(d.t.Grants) {
		return errByHand
	}
	to := make([][]string, len(d.t.Grants))
	dropped := false
	for i, g := range d.t.Grants {
		field := fmt.Sprintf("grants[%d]", i)
		given := d.k.grants[[2]string{g.Target, g.Resource}]
		if given == nil {
			dropped = true
			c := Change{Field: field, From: strings.TrimSpace("to " + g.Target + " " + g.Resource), Evidence: "never given " + d.over()}
			d.Changes = append(d.Changes, c)
			continue
		}
		to[i] = []string{keep}
	}
	if dropped {
		if d.e.flow(list) {
			// Brackets are written anew as a whole, and nothing inside can be changed
			// beside that.
			return d.e.items(list, to)
		}
		if err := d.e.items(list, to); err != nil {
			return err
		}
	}
	for i, g := range d.t.Grants {
		if to[i] == nil {
			continue
		}
		if err := d.grant(i, g, list.Items()[i], d.k.grants[[2]string{g.Target, g.Resource}]); err != nil {
			return err
		}
	}
	return nil
}

func (d *drafting) grant(i int, g trust.WrittenGrant, node *strictyaml.Node, given *given) error {
	over := fmt.Sprintf("of %d decisions", given.count)
	if ttl := given.ttl; ttl >= max(g.MinTTL, time.Second) && ttl < g.TTL {
		text := strictyaml.Duration(ttl).String()
		c := Change{Field: fmt.Sprintf("grants[%d].ttl", i), From: strictyaml.Duration(g.TTL).String(), To: text, Evidence: "the longest " + over}
		var err error
		if at := node.Get("ttl"); at != nil {
			err = d.e.value(at, text)
		} else {
			err = d.e.add(node, "ttl", text)
		}
		if err := d.change(c, err); err != nil {
			return err
		}
	}
	list := node.Get("scopes")
	if list == nil || len(list.Items()) != len(g.Scopes) || len(given.scopes) == 0 {
		return nil
	}
	to := make([][]string, len(g.Scopes))
	var gone []string
	for k, scope := range g.Scopes {
		if given.scopes[scope] == nil {
			gone = append(gone, scope)
			continue
		}
		to[k] = []string{keep}
	}
	if gone == nil || len(gone) == len(g.Scopes) {
		return nil
	}
	c := Change{Field: fmt.Sprintf("grants[%d].scopes", i), From: strings.Join(gone, ", "), Evidence: "never given in any " + over}
	return d.change(c, d.e.items(list, to))
}
