package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"maps"
	"path"
	"slices"
	"time"
)

// tarball is a gzipped tar of these files, and of the folders that they lie in,
// each name behind the prefix.
func tarball(prefix string, files []file, at time.Time) ([]byte, error) {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression) // its header has neither name nor time
	if err != nil {
		return nil, err
	}
	w := tar.NewWriter(z)
	for _, f := range withFolders(files) {
		h := &tar.Header{Format: tar.FormatUSTAR, Typeflag: tar.TypeReg, Name: prefix + f.name, Mode: f.mode, Size: int64(len(f.content)), ModTime: at, Uname: "root", Gname: "root"}
		if f.content == nil {
			h.Typeflag, h.Name = tar.TypeDir, prefix+f.name+"/"
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// withFolders sorts the files and puts each folder before what is in it. A folder
// has nil content.
func withFolders(files []file) []file {
	folders := map[string]file{}
	for _, f := range files {
		for dir := path.Dir(f.name); dir != "." && dir != "/"; dir = path.Dir(dir) {
			folders[dir] = file{name: dir, mode: 0o755}
		}
	}
	all := slices.AppendSeq(slices.Clone(files), maps.Values(folders))
	slices.SortFunc(all, func(a, b file) int { return cmp.Compare(a.name, b.name) })
	return all
}

func sorted(m map[string][]byte) []string { return slices.Sorted(maps.Keys(m)) }
