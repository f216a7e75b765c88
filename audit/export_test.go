package audit

// What tests of the line's form use.
var (
	ParseLine  = parseLine
	AppendLine = appendLine
)
