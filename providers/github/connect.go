package github

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"cambio/providers/internal/draft"
)

// Connection is what a GitHub App needs so that it can give what the trusts grant.
// There is nothing at GitHub that trusts our issuer: the App's key is what we show.
type Connection struct {
	Target       string `json:"target"`
	App          string `json:"app"`
	Installation string `json:"installation"`
	Endpoint     string `json:"endpoint"`
	// Permissions are the highest of each that some grant names.
	Permissions map[string]string `json:"permissions"`
	// Repositories are those that some grant names, by name or by id.
	Repositories  []string  `json:"repositories"`
	RepositoryIDs []string  `json:"repository_ids"`
	Grants        []Granted `json:"grants"`
}

// Granted is one grant.
type Granted struct {
	Trust        string   `json:"trust"`
	Repositories []string `json:"repositories"` // names, or ids as #1234
	Permissions  []string `json:"permissions"`
	Shadow       bool     `json:"shadow"`
}

// Grant tells a connection of a grant.
func (c *Connection) Grant(trust, resource string, repositories, ids, scopes []string, shadow bool) {
	g := Granted{Trust: trust, Permissions: slices.Sorted(slices.Values(scopes)), Shadow: shadow}
	if owner, name, ok := ownerAndName(resource); ok {
		repositories = []string{owner + "/" + name}
	}
	g.Repositories = append(g.Repositories, repositories...)
	c.Repositories = append(c.Repositories, repositories...)
	for _, id := range ids {
		g.Repositories = append(g.Repositories, "#"+id)
		c.RepositoryIDs = append(c.RepositoryIDs, id)
	}
	if c.Permissions == nil {
		c.Permissions = map[string]string{}
	}
	for name, l := range permissions(scopes) {
		if level(l) > level(c.Permissions[name]) {
			c.Permissions[name] = l
		}
	}
	c.Grants = append(c.Grants, g)
}

// Finish sorts the whole. It must be called before anything is printed.
func (c *Connection) Finish() {
	for _, list := range []*[]string{&c.Repositories, &c.RepositoryIDs} {
		slices.Sort(*list)
		if *list = slices.Compact(*list); *list == nil {
			*list = []string{}
		}
	}
	slices.SortStableFunc(c.Grants, func(a, b Granted) int { return strings.Compare(a.Trust, b.Trust) })
	if c.Endpoint == "" {
		c.Endpoint = ownEndpoint
	}
}

// Text is the connection for people.
func (c *Connection) Text() string {
	var b strings.Builder
	for _, l := range []string{
		"Made by: cambio connect " + c.Target,
		"What the GitHub App " + c.App + " needs, at " + c.Endpoint + ", installation " + c.Installation + ":",
		"- Give it no permission beyond these, and install it in no repository beyond these: its key opens all that it has.",
		"- GitHub adds metadata: read by itself.",
		"- A token is only for what its grant names. GitHub refuses a grant that is above what the App has.",
	} {
		b.WriteString(l + "\n")
	}
	b.WriteString("\nPermissions\n")
	for _, name := range slices.Sorted(maps.Keys(c.Permissions)) {
		fmt.Fprintf(&b, "  %s: %s\n", name, c.Permissions[name])
	}
	b.WriteString("\nRepositories\n")
	for _, r := range c.Repositories {
		fmt.Fprintf(&b, "  %s\n", r)
	}
	for _, id := range c.RepositoryIDs {
		fmt.Fprintf(&b, "  #%s\n", id)
	}
	for _, g := range c.Grants {
		mode := ""
		if g.Shadow {
			mode = " (in mode shadow: nothing is issued yet)"
		}
		fmt.Fprintf(&b, "\nTrust %s%s\n  repositories  %s\n  permissions   %s\n", g.Trust, mode, strings.Join(g.Repositories, ", "), strings.Join(g.Permissions, ", "))
	}
	return b.String()
}

// JSON is the connection for programs.
func (c *Connection) JSON() string { return draft.JSON(c) }
