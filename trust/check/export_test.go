package check

// GlobsMeet reports whether two globs have a value in common.
func GlobsMeet(a, b string) bool { return globsMeet(a, b, true) }

// GlobFits reports whether a glob takes a text.
func GlobFits(glob, text string) bool { return globsMeet(glob, text, false) }

// GlobWithin reports whether one glob takes all that another does.
var GlobWithin = globWithin

// BareDot reports a dot in a pattern that stands for any character.
var BareDot = bareDot

// Ends are what a pattern says about the beginning and the end of a text.
var Ends = ends

// Words are those of a name.
var Words = words
