"""A mutational fuzzer of everything that reads Dockerfiles, without any I/O.

An input may be refused (CortenError) but must not raise anything else, nor take longer than `LIMIT_S`.
"""

import asyncio
import json
import random
import signal
import sys
import time
import traceback
from pathlib import Path

from corten.builder.asking import Questions
from corten.builder.convert import Converter, ConvertOptions
from corten.builder.dockerfile.shell import expand, expand_raw, expand_words
from corten.builder.dockerfile.stages import read_dockerfile
from corten.builder.gitref import parse_git_ref
from corten.builder.graph import LocalSource, Vertex
from corten.builder.ignore import IgnoreMatcher, read_ignore_file
from corten.builder.sources import BaseImage
from corten.digest import digest_of
from corten.errors import CortenError

LIMIT_S = 5
TESTS = Path(__file__).parent.parent
PIECES = """
FROM RUN COPY ADD ARG ENV LABEL EXPOSE USER WORKDIR VOLUME STOPSIGNAL SHELL CMD ENTRYPOINT HEALTHCHECK ONBUILD
MAINTAINER AS scratch --from= --mount=type= cache secret ssh bind tmpfs --chmod= --chown= --link --parents
--exclude= --checksum=sha256: --network= --security= --device= --platform= --interval= <<EOF <<-'E' EOF <<<
${a} ${a:-b} ${a:+b} ${a:?b} ${a#*} ${a##*} ${a%*} ${a%%*} ${a/b/c} ${a//b/c} ${a:-${a:-${a}}} $a $$ \\ ` ' "
["a","b"] [" # #syntax= #escape=` #check=skip=all;error=true target= source= id= env= required mode=0999 ** *
../ / /./ [!a] [a-z] {} 80/tcp 1-65535/udp 0x 99999999999999999999 https://h/x.git#r:s?q git@h:p \x00 \ufeff \xff
""".split()  # noqa: SIM905


class Shelf:
    """Every image is here."""

    def find(self, reference, platform):
        config = {"architecture": "amd64", "os": "linux", "config": {"Env": ["A=1"], "OnBuild": ["RUN x"]}}
        config["rootfs"] = {"type": "layers", "diff_ids": []}
        return BaseImage(id=digest_of(b""), config=json.dumps(config).encode(), diff_ids=())

    async def resolve(self, reference, **_):
        return self.find(reference, None)


def targets(data, chooser):
    """Calls of one input, each to be made for itself."""
    text = data.decode(errors="replace")
    env = {"a": "aXbXa" * chooser.randrange(50), "b": "*"}
    escape = chooser.choice("\\`")
    line = text.split("\n")[0][:4000]
    yield lambda: read_dockerfile(data)
    yield lambda: expand(line, env, escape)
    yield lambda: expand_words(line, env, escape)
    yield lambda: expand_raw(text, env)
    yield lambda: IgnoreMatcher(read_ignore_file(text)).ignores("a/b/c/" * 20)
    yield lambda: parse_git_ref(line)
    questions = Questions(text, Shelf(), build_args={"a": "1"}, ignore=["*.log"])
    for call in ("check", "outline", "targets"):
        yield lambda call=call: questions.answer(call)
    yield lambda: asyncio.run(convert(data))


async def convert(data):
    async with asyncio.TaskGroup() as tasks:
        context = Vertex(op=LocalSource(key="c"))
        made = Converter(read_dockerfile(data), ConvertOptions(), Shelf(), context, tasks, lambda *_: None)
        (await made.plan(made.target)).last  # noqa: B018


def mutated(data, chooser, corpus):
    """A neighbour of an input: pieces put in, cut out, doubled, exchanged."""
    for _ in range(chooser.randrange(1, 8)):
        at = chooser.randrange(len(data) + 1)
        end = min(len(data), at + chooser.randrange(1, 40))
        kind = chooser.randrange(6)
        if kind == 0:
            data = (
                data[:at] + chooser.choice(PIECES).encode() + chooser.choice([b"", b" ", b"\n"]) + data[at:]
            )
        elif kind == 1:
            data = data[:at] + data[end:]
        elif kind == 2:
            data = data[:at] + data[at:end] * chooser.choice([2, 3, 50, 1000]) + data[end:]
        elif kind == 3:
            data = data[:at] + bytes([chooser.randrange(256)]) + data[at + 1 :]
        elif kind == 4:
            other = chooser.choice(corpus)
            cut = chooser.randrange(len(other) + 1)
            data = data[:at] + other[cut : cut + 200] + data[at:]
        else:
            lines = data.split(b"\n")
            chooser.shuffle(lines)
            data = b"\n".join(lines)
    return data[:20_000]


def main(seconds, seed):
    chooser = random.Random(seed)
    corpus = [path.read_bytes() for path in sorted(TESTS.glob("unit/builder/dockerfile/golden/*.dockerfile"))]
    corpus += [path.read_bytes() for path in sorted(TESTS.glob("clients/projects/**/Dockerfile"))]

    def ended(*_):
        raise TimeoutError

    signal.signal(signal.SIGALRM, ended)
    until, count, found = time.monotonic() + seconds, 0, {}
    while time.monotonic() < until:
        data = mutated(chooser.choice(corpus), chooser, corpus)
        count += 1
        for call in targets(data, chooser):
            signal.alarm(LIMIT_S)
            try:
                call()
            except CortenError:
                pass
            except ExceptionGroup as group:
                if group.split(CortenError)[1] is not None:
                    report(found, data, group)
            except Exception as error:
                report(found, data, error)
            finally:
                signal.alarm(0)
        if len(corpus) < 2000 and chooser.random() < 0.02:
            corpus.append(data)
    print(f"seed {seed}: {count} inputs, {len(found)} kinds of failures")
    return bool(found)


def report(found, data, error):
    place = traceback.extract_tb(error.__traceback__)[-1]
    key = (type(error).__name__, place.filename, place.lineno)
    if key not in found:
        found[key] = data
        print(f"{type(error).__name__}: {error} at {place.filename}:{place.lineno}\n  {data!r}", flush=True)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
