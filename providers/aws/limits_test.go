package aws_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"cambio/providers/aws"
	"cambio/trust"
)

func TestRolePattern(t *testing.T) {
	t.Parallel()
	one, any := aws.TargetType(account, "").Fields["resource"], aws.TargetType("", "").Fields["resource"]
	if !one.Required || !one.Pattern.MatchString(one.Example) || !any.Pattern.MatchString(any.Example) {
		t.Errorf("the examples %q and %q", one.Example, any.Example)
	}
	const head = "arn:aws:iam::" + account + ":role/"
	for arn, want := range map[string]bool{
		deployer:                                     true,
		head + "a":                                   true,
		head + "a/b/c+=,.@-_":                        true,
		head + strings.Repeat("x", 64):               true,
		"arn:aws-cn:iam::" + account + ":role/a":     true,
		"arn:aws-us-gov:iam::" + account + ":role/a": true,
		head:                           false,
		head + strings.Repeat("x", 65): false,
		head + "*":                     false,
		head + "a*":                    false,
		head + "a?":                    false,
		head + "a/*/b":                 false,
		head + "/a":                    false,
		head + "a//b":                  false,
		head + "a/":                    false,
		head + "a ":                    false,
		head + "a\n":                   false,
		" " + head + "a":               false,
		head + "é":                     false,
		"arn:aws-iso:iam::" + account + ":role/a":         false,
		"arn:aws:iam::" + account + ":user/a":             false,
		"arn:aws:sts::" + account + ":assumed-role/a/b":   false,
		"arn:aws:iam:eu-central-1:" + account + ":role/a": false,
		"ARN:aws:iam::" + account + ":role/a":             false,
		"arn:aws:iam::444455556666:role/a":                false,
		"arn:aws:iam::11112222333:role/a":                 false,
		"":                                                false,
	} {
		if got := one.Pattern.MatchString(arn); got != want {
			t.Errorf("%q: %v", arn, got)
		}
	}
	if !any.Pattern.MatchString("arn:aws:iam::444455556666:role/a") || any.Pattern.MatchString("arn:aws:iam::4444555566667:role/a") {
		t.Error("any account")
	}
}

// TestRolesOfOtherStores: an endpoint that is not AWS's names roles its own way;
// AWS's account, where one is written, still holds.
func TestRolesOfOtherStores(t *testing.T) {
	t.Parallel()
	const endpoint = "https://sts.store.example"
	other, own := aws.TargetType("", endpoint).Fields["resource"].Pattern, aws.TargetType(account, endpoint).Fields["resource"].Pattern
	for arn, want := range map[string][2]bool{
		deployer:                              {true, true},
		"arn:minio:iam:::role/idmp-deploy":    {true, false},
		"arn:aws:iam::tenant-1:role/S3Access": {true, false},
		"arn:aws:iam::444455556666:role/a":    {true, false},
		"arn:minio:iam:::role/*":              {false, false},
		"arn:minio:iam:::user/a":              {false, false},
		"arn:MINIO:iam:::role/a":              {false, false},
	} {
		if got := [2]bool{other.MatchString(arn), own.MatchString(arn)}; got != want {
			t.Errorf("%q: %v, want %v", arn, got, want)
		}
	}
}

func TestMisfit(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:iam::aws:policy/ReadOnlyAccess"
	policy := func(n int) string {
		const head, tail = `{"Version":"2012-10-17","Statement":[{"Sid":"`, `"}]}`
		return head + strings.Repeat("x", n-len(head)-len(tail)) + tail
	}
	many := func(n, size int) map[string]string {
		tags := make(map[string]string, n)
		for i := range n {
			tags[fmt.Sprintf("k%02d", i)] = strings.Repeat("v", size)
		}
		return tags
	}
	with := func(tags map[string]string, key, value string) map[string]string {
		tags = maps.Clone(tags)
		tags[key] = value
		return tags
	}
	type extra = map[string]any
	for name, tt := range map[string]struct {
		extra extra
		field string // "": it fits
	}{
		"nothing":              {nil, ""},
		"all of it":            {extra{"policy": policy(100), "policy_arns": []string{arn}, "tags": map[string]string{"repository": "acme/app"}, "source_identity": "octocat"}, ""},
		"a long policy":        {extra{"policy": policy(2048)}, ""},
		"a longer policy":      {extra{"policy": policy(2049)}, "policy"},
		"no JSON":              {extra{"policy": `{"Statement":[]`}, "policy"},
		"two values":           {extra{"policy": `{"Statement":[]} {}`}, "policy"},
		"a list":               {extra{"policy": `[]`}, "policy"},
		"null":                 {extra{"policy": `null`}, "policy"},
		"no statement":         {extra{"policy": `{"Version":"2012-10-17"}`}, "policy"},
		"a statement of text":  {extra{"policy": `{"Statement":"x"}`}, "policy"},
		"one statement":        {extra{"policy": `{"Statement":{}}`}, ""},
		"Latin":                {extra{"policy": `{"Statement":[{"Sid":"ÿ"}]}`}, ""},
		"beyond Latin":         {extra{"policy": `{"Statement":[{"Sid":"Ā"}]}`}, "policy"},
		"another type":         {extra{"policy": 1}, "policy"},
		"an unknown field":     {extra{"boundary": "x"}, "boundary"},
		"ten policies":         {extra{"policy_arns": arns(10)}, ""},
		"eleven policies":      {extra{"policy_arns": arns(11)}, "policy_arns"},
		"a policy twice":       {extra{"policy_arns": []string{arn, arn}}, "policy_arns"},
		"a role":               {extra{"policy_arns": []string{deployer}}, "policy_arns"},
		"a wildcard":           {extra{"policy_arns": []string{"arn:aws:iam::aws:policy/*"}}, "policy_arns"},
		"a foreign policy":     {extra{"policy_arns": []string{"arn:aws:iam::444455556666:policy/x"}}, "policy_arns"},
		"another partition":    {extra{"policy_arns": []string{"arn:aws-cn:iam::aws:policy/ReadOnlyAccess"}}, "policy_arns"},
		"both just":            {extra{"policy": policy(2048 - len(arn)), "policy_arns": []string{arn}}, ""},
		"both too long":        {extra{"policy": policy(2049 - len(arn)), "policy_arns": []string{arn}}, "policy_arns"},
		"fifty tags":           {extra{"tags": many(50, 10)}, ""},
		"fifty-one tags":       {extra{"tags": many(51, 10)}, "tags"},
		"a long key":           {extra{"tags": map[string]string{strings.Repeat("é", 128): "v"}}, ""},
		"a longer key":         {extra{"tags": map[string]string{strings.Repeat("k", 129): "v"}}, "tags." + strings.Repeat("k", 129)},
		"no key":               {extra{"tags": map[string]string{"": "v"}}, "tags."},
		"no value":             {extra{"tags": map[string]string{"k": ""}}, ""},
		"a long value":         {extra{"tags": map[string]string{"k": strings.Repeat("é", 256)}}, ""},
		"a longer value":       {extra{"tags": with(many(3, 4), "ref", strings.Repeat("v", 257))}, "tags.ref"},
		"other letters":        {extra{"tags": map[string]string{"größe": "中文 _.:/=+-@"}}, ""},
		"a comma":              {extra{"tags": map[string]string{"k": "a,b"}}, "tags.k"},
		"a line break":         {extra{"tags": map[string]string{"k": "a\nb"}}, "tags.k"},
		"a star":               {extra{"tags": map[string]string{"k*": "a"}}, "tags.k*"},
		"no UTF-8":             {extra{"tags": map[string]string{"k": "\xff"}}, "tags.k"},
		"AWS's own":            {extra{"tags": map[string]string{"aws:x": "a"}}, "tags.aws:x"},
		"AWS's own by case":    {extra{"tags": map[string]string{"AwS:x": "a"}}, "tags.AwS:x"},
		"equal but for case":   {extra{"tags": map[string]string{"Team": "a", "team": "b"}}, "tags.team"},
		"packed too large":     {extra{"tags": with(many(49, 52), "ref", strings.Repeat("v", 200))}, "tags.ref"},
		"packed with a policy": {extra{"policy": policy(2000), "tags": with(many(10, 60), "ref", strings.Repeat("v", 200))}, "tags.ref"},
		"an identity":          {extra{"source_identity": "a+=,.@-_"}, ""},
		"a short identity":     {extra{"source_identity": "a"}, "source_identity"},
		"no identity":          {extra{"source_identity": ""}, "source_identity"},
		"a long identity":      {extra{"source_identity": strings.Repeat("a", 65)}, "source_identity"},
		"a slash":              {extra{"source_identity": "acme/app"}, "source_identity"},
		"AWS's identity":       {extra{"source_identity": "aws:me"}, "source_identity"},
	} {
		field, problem := aws.TargetType(account, "").Misfit(trust.Grant{Resource: deployer, Extra: tt.extra})
		if field != tt.field || (problem == "") != (field == "") {
			t.Errorf("%s: %q %q, want %q", name, field, problem, tt.field)
		}
	}
	path := strings.Repeat("p/", 255)
	for resource, want := range map[string]string{
		"arn:aws:iam::111122223333:role/" + path + "x":    "",
		"arn:aws:iam::111122223333:role/" + path + "pp/x": "resource",
		"": "resource",
	} {
		if field, problem := aws.TargetType(account, "").Misfit(trust.Grant{Resource: resource}); field != want {
			t.Errorf("%d bytes: %q %q", len(resource), field, problem)
		}
	}
}

func arns(n int) []string {
	out := make([]string, n)
	for i := range n {
		out[i] = fmt.Sprintf("arn:aws:iam::aws:policy/Policy%d", i)
	}
	return out
}
