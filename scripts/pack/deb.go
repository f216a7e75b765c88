package main

import (
	"bytes"
	"crypto/md5" //nolint:gosec // dpkg's own format: it finds broken disks, not attackers
	"fmt"
	"strings"
)

// debianVersion is the version in Debian's order: a hyphen would begin a Debian
// revision, and a tilde sorts before the release that it leads up to.
func debianVersion(version string) string { return strings.ReplaceAll(version, "-", "~") }

// debian is the Debian package of one platform (deb(5), deb-control(5)).
func debian(r *release) ([]byte, error) {
	data := []file{{name: "usr/bin/cambio", mode: 0o755, content: r.program}, {name: "usr/share/doc/cambio/sbom.cdx.json", mode: 0o644, content: r.sbom}}
	for from, to := range map[string]string{
		"deploy/systemd/cambio.service": "usr/lib/systemd/system/cambio.service",
		"deploy/debian/cambio.yaml":     "etc/cambio/cambio.yaml",
		"deploy/debian/trust/README":    "etc/cambio/trust/README",
		"LICENSE":                       "usr/share/doc/cambio/copyright",
		"CHANGELOG.md":                  "usr/share/doc/cambio/CHANGELOG.md",
	} {
		content, err := source(from)
		if err != nil {
			return nil, err
		}
		data = append(data, file{name: to, mode: 0o644, content: content})
	}
	var md5sums, conffiles strings.Builder
	size := 0
	for _, f := range withFolders(data) {
		if f.content == nil {
			continue
		}
		size += len(f.content)
		if strings.HasPrefix(f.name, "etc/") { // what the administrator changed, an upgrade keeps
			fmt.Fprintf(&conffiles, "/%s\n", f.name)
			continue
		}
		fmt.Fprintf(&md5sums, "%x  %s\n", md5.Sum(f.content), f.name) //nolint:gosec // see above
	}
	control := []file{
		{name: "control", mode: 0o644, content: fmt.Appendf(nil, controlForm, debianVersion(r.version), r.goarch, (size+1023)/1024)},
		{name: "md5sums", mode: 0o644, content: []byte(md5sums.String())},
		{name: "conffiles", mode: 0o644, content: []byte(conffiles.String())},
	}
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		content, err := source("deploy/debian/" + script)
		if err != nil {
			return nil, err
		}
		control = append(control, file{name: script, mode: 0o755, content: content})
	}
	members := []file{{name: "debian-binary", content: []byte("2.0\n")}}
	for _, part := range []struct {
		name  string
		files []file
	}{{"control.tar.gz", control}, {"data.tar.gz", data}} {
		content, err := tarball("./", part.files, r.time)
		if err != nil {
			return nil, err
		}
		members = append(members, file{name: part.name, content: content})
	}
	return ar(members, r.time.Unix()), nil
}

const controlForm = `Package: cambio
Version: %s
Architecture: %s
Maintainer: The Cambio authors <security@cambio.invalid>
Installed-Size: %d
Section: net
Priority: optional
Recommends: ca-certificates
Description: workload identity federation gateway
 A workload shows the identity that it already has and gets, once, on the record
 and by policy, the narrowest credential that lives the shortest time.
 .
 The service is not started by the installation: fill in /etc/cambio/cambio.yaml,
 then run: systemctl enable --now cambio
`

// ar is the archive that a package is (ar(5), System V form without long names).
func ar(members []file, at int64) []byte {
	var out bytes.Buffer
	out.WriteString("!<arch>\n")
	for _, m := range members {
		fmt.Fprintf(&out, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.name, at, 0, 0, "100644", len(m.content))
		out.Write(m.content)
		if len(m.content)%2 == 1 {
			out.WriteByte('\n')
		}
	}
	return out.Bytes()
}
