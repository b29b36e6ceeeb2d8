"""Flags are read by pflag's rules and refused with its texts."""

import pytest

from corten.cli.errors import FlagError
from corten.cli.flags import Flag, parse

FLAGS = (
    Flag("interactive", "bool", "", "i"),
    Flag("tty", "bool", "", "t"),
    Flag("publish", "list", "", "p"),
    Flag("name", "string", ""),
    Flag("memory", "bytes", "", "m"),
    Flag("sig-proxy", "bool", "", default=True),
    Flag("cpu-shares", "int", "", "c"),
    Flag("platform", "strings", ""),
)


def test_clusters_values_and_repetition():
    options, rest = parse(FLAGS, ["-it", "-p8080:80", "-p", "1:2", "-p=3:4", "--name=x", "-m", "1k", "image"])
    assert options.on("interactive")
    assert options.on("tty")
    assert options.items("publish") == ["8080:80", "1:2", "3:4"]
    assert options["name"] == "x"
    assert options.number("memory") == 1024
    assert rest == ["image"]


def test_first_argument_ends_the_flags_of_run():
    options, rest = parse(FLAGS, ["-i", "image", "-t", "--name"], interspersed=False)
    assert not options.on("tty")
    assert rest == ["image", "-t", "--name"]


def test_interspersed_otherwise():
    options, rest = parse(FLAGS, ["a", "-t", "b", "--", "-i"])
    assert options.on("tty")
    assert rest == ["a", "b", "-i"]


def test_switches_take_values_only_after_equals():
    options, rest = parse(FLAGS, ["--sig-proxy=false", "--tty", "false"])
    assert not options.on("sig-proxy")
    assert options.on("tty")
    assert rest == ["false"]


def test_cluster_ending_in_a_value():
    options, _ = parse(FLAGS, ["-itm5m"])
    assert options.number("memory") == 5 << 20
    assert options.on("tty")


def test_comma_separated_lists():
    options, _ = parse(FLAGS, ["--platform", "a,b", "--platform", "c"])
    assert options.items("platform") == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (["--foo"], "unknown flag: --foo"),
        (["--foo=1"], "unknown flag: --foo"),
        (["-x"], "unknown shorthand flag: 'x' in -x"),
        (["-ix"], "unknown shorthand flag: 'x' in -x"),
        (["--name"], "flag needs an argument: --name"),
        (["-p"], "flag needs an argument: 'p' in -p"),
        (["-ip"], "flag needs an argument: 'p' in -ip"),
        (["--=x"], "bad flag syntax: --=x"),
        (
            ["--tty=maybe"],
            'invalid argument "maybe" for "-t, --tty" flag: '
            'strconv.ParseBool: parsing "maybe": invalid syntax',
        ),
        (["-m", "12Q"], 'invalid argument "12Q" for "-m, --memory" flag: invalid suffix: \'q\''),
        (["-m", "xx"], 'invalid argument "xx" for "-m, --memory" flag: invalid size: \'xx\''),
        (
            ["-c", "x"],
            'invalid argument "x" for "-c, --cpu-shares" flag: strconv.ParseInt: parsing "x": invalid syntax',
        ),
    ],
)
def test_texts_of_errors(line, text):
    with pytest.raises(FlagError) as caught:
        parse(FLAGS, line)
    assert str(caught.value) == text
    assert caught.value.code == 125
