// Package strictyaml reads the part of YAML 1.2 that has one meaning: one
// document to one canonical tree, or findings that say where and what to write
// instead. Configuration and trust documents are read with it.
//
// Anchors, aliases, tags, merge keys, directives, tabs as indentation, duplicate
// names, names that are not text, a second document and invisible characters
// are refused. Plain scalars follow the YAML 1.2 core schema, and those that
// another reader takes for something else (0755, 1_000, 0x1F, 2027-03-31) are
// [Ambiguous]: they are nothing until they are quoted.
package strictyaml
