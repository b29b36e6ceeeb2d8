"""Templates of --format; expectations are Go's own output."""

import pytest

from corten.cli.errors import ExitError
from corten.cli.table import Row
from corten.cli.template.render import Program, one

DOCUMENT = {
    "Name": "/web",
    "State": {"Running": True, "Pid": 12, "Error": None},
    "Config": {"Env": ["A=1", "B=2"], "Labels": {"b": "2", "a": "1"}, "Empty": []},
    "Ports": {"80/tcp": [{"HostPort": "8080"}], "443/tcp": None},
    "Size": 1.5,
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.Name}}", "/web"),
        ("{{.State.Running}} {{.State.Pid}} {{.Size}}", "true 12 1.5"),
        ("{{.Config.Env}}", "[A=1 B=2]"),
        ("{{.Config.Labels}}", "map[a:1 b:2]"),
        ("{{json .Config.Env}}", '["A=1","B=2"]'),
        ("{{.State.Error}}", "<no value>"),
        ("{{range .Config.Env}}<{{.}}>{{end}}", "<A=1><B=2>"),
        ("{{range $i, $e := .Config.Env}}{{$i}}={{$e}};{{end}}", "0=A=1;1=B=2;"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}:{{$v}} {{end}}", "a:1 b:2 "),
        ("{{range .Config.Empty}}x{{else}}none{{end}}", "none"),
        ('{{range .Config.Env}}{{if eq . "B=2"}}{{break}}{{end}}{{.}}{{end}}', "A=1"),
        ('{{range .Config.Env}}{{if eq . "A=1"}}{{continue}}{{end}}{{.}}{{end}}', "B=2"),
        ("{{if eq .State.Pid 12}}yes{{else}}no{{end}}", "yes"),
        ("{{if .State.Error}}a{{else if .State.Running}}b{{else}}c{{end}}", "b"),
        ("{{with .Config}}{{len .Env}}{{end}}", "2"),
        ("{{with .State.Error}}x{{else}}y{{end}}", "y"),
        ('{{(index (index .Ports "80/tcp") 0).HostPort}}', "8080"),
        ('{{index .Config.Labels "a"}}{{index .Config.Labels "zz"}}', "1"),
        ('{{join .Config.Env ","}}', "A=1,B=2"),
        ('{{split "a,b" ","}}', "[a b]"),
        ('{{.Name | upper | printf "%s-%s" "x"}}', "x-/WEB"),
        ('{{printf "%-6s|%5d|%q|%v|%t" "ab" 42 "c" true false}}', 'ab    |   42|"c"|true|false'),
        ("{{println .Name 3}}", "/web 3\n"),
        ('{{title "abc"}} {{lower "AB"}} {{truncate "abcdef" 3}} {{pad "x" 1 2}}|', "Abc ab abc  x  |"),
        ("a {{- .Name -}} b", "a/webb"),
        ("{{/* nothing */}}x", "x"),
        ("{{$x := .Name}}{{$x}}", "/web"),
        ("{{$x := 1}}{{range .Config.Env}}{{$x = .}}{{end}}{{$x}}", "B=2"),
        ("{{and true .State.Pid}} {{or .State.Error 5}} {{not false}}", "12 5 true"),
        ("{{lt 1 2}} {{ge 2 3}} {{ne 1 2}} {{eq 1 2 1}}", "true false true true"),
        ("{{`raw`}}{{'a'}}{{0x10}}{{1.5}}", "raw97161.5"),
        ("{{slice .Name 1 3}}", "we"),
        ("{{$.Name}}{{with .State}}{{$.Name}}{{end}}", "/web/web"),
        ('{{html "<a>"}}', "&lt;a&gt;"),
        ("\\t{{.Name}}\\n", "\t/web\n"),
        ("{{if .Name}}{{if false}}{{else}}in{{end}}{{end}}", "in"),
    ],
)
def test_output(template, text):
    assert one(template, DOCUMENT) == text


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{.Name", "unclosed action"),
        ("{{foo .}}", 'function "foo" not defined'),
        ("{{end}}", "unexpected {{end}}"),
        ("{{if .Name}}", "unexpected EOF"),
        ("{{}}", "missing value for command"),
        ('{{"abc}}', "unterminated quoted string"),
        ("{{(.Name}}", "unclosed left paren"),
        ("{{.Name | }}", "missing value for command"),
    ],
)
def test_bad_templates(template, why):
    with pytest.raises(ExitError) as caught:
        Program(template)
    assert str(caught.value) == f"template parsing error: template: :1: {why}"
    assert caught.value.code == 64


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{.Nope}}", 'executing "" at <.Nope>: map has no entry for key "Nope"'),
        ("{{.State.Error.Foo}}", "nil pointer evaluating interface {}.Foo"),
        ("{{.Name.Foo}}", "can't evaluate field Foo"),
        ("{{index .Config.Env 5}}", "index out of range: 5"),
        ("{{$y}}", 'undefined variable "$y"'),
    ],
)
def test_templates_that_do_not_fit(template, why):
    with pytest.raises(ExitError) as caught:
        one(template, DOCUMENT)
    assert why in str(caught.value)
    assert caught.value.code == 1


def test_rows_are_json_in_order_without_methods():
    row = Row(B="<x>", A=1, Label=str)
    assert one("{{json .}}", row) == '{"A":1,"B":"\\u003cx\\u003e"}'
    assert one('{{.Label "q"}}', row) == "q"
