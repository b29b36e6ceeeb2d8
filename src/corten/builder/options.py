"""The options of a build as the API gives them, as what the builder's parts take."""

from __future__ import annotations

from collections.abc import Mapping

from corten.builder.agents import agent_at
from corten.builder.args import proxy_variables
from corten.builder.convert import ConvertOptions
from corten.builder.entitlements import NETWORK_HOST, parse_entitlements
from corten.builder.epoch import BUILD_ARG, parse_epoch
from corten.builder.executor import ServeAgent
from corten.builder.session import Settings
from corten.builder.sources import NamedContext
from corten.builder.store_images import credentials_in
from corten.errors import InvalidParameter, NotSupported
from corten.platforms import Platform, parse_platform
from corten.reference import parse_normalized
from corten.types.operations import BuildOptions


def checked_tags(options: BuildOptions) -> list[str]:
    """The names for the image as users write them, each once. Raises InvalidParameter."""
    tags = []
    for text in options.tags:
        reference = parse_normalized(text)
        if reference.digest is not None:
            raise InvalidParameter("build tag cannot contain a digest")
        tags.append(reference.with_default_tag().familiar)
    return list(dict.fromkeys(tags))


def refuse_unsupported(options: BuildOptions) -> None:
    """Raises NotSupported for what would have to be ignored."""
    if options.squash:
        raise NotSupported("squash is not supported")


def refuse_of_classic(options: BuildOptions) -> None:
    """Raises NotSupported for what the classic builder does not do."""
    wanted = {
        "outputs and attestations": options.outputs or options.attestations,
        "several platforms": len(options.platforms) > 1,
        "exports of the cache": options.cache_to,
    }
    for what, is_wanted in wanted.items():
        if is_wanted:
            raise NotSupported(f"{what} are not supported by the classic builder")


def settings(options: BuildOptions) -> Settings:
    """What applies to all commands of the build."""

    async def find_secret(identifier: str) -> bytes | None:
        return options.secrets.get(identifier)

    async def find_agent(identifier: str) -> ServeAgent | None:
        path = options.agents.get(identifier)
        return agent_at(path) if path else None

    return Settings(
        limits=options.limits,
        extra_hosts=options.extra_hosts,
        hidden_env=proxy_variables(options.build_args),
        entitlements=_granted(options),
        find_secret=find_secret,
        find_agent=find_agent,
        epoch_ns=epoch_ns(options),
        is_classic=not options.trace,
    )


def _granted(options: BuildOptions) -> frozenset[str]:
    """Whoever has all of a build's commands use the host's network has allowed one of them to."""
    granted = parse_entitlements(options.entitlements)
    return granted | {NETWORK_HOST} if options.network_mode == "host" else granted


def platforms_of(options: BuildOptions) -> tuple[Platform, ...]:
    """What is built for, each platform once; () = this machine. Raises InvalidParameter."""
    return tuple(dict.fromkeys(parse_platform(text) for text in options.platforms))


def convert_options(
    options: BuildOptions, contexts: Mapping[str, NamedContext], platform: Platform | None
) -> ConvertOptions:
    """What the conversion of the Dockerfile goes by. Raises InvalidParameter."""
    return ConvertOptions(
        build_args=options.build_args,
        labels=options.labels,
        target=options.target,
        platform=platform,
        network=options.network_mode or "default",
        entitlements=_granted(options),
        no_cache=options.no_cache,
        no_cache_stages=frozenset(options.no_cache_stages),
        pull=options.pull,
        credentials=credentials_in(options.auth),
        contexts=contexts,
        classic=not options.trace,
    )


def epoch_ns(options: BuildOptions) -> int | None:
    """SOURCE_DATE_EPOCH in nanoseconds, None = it is not given. Raises InvalidParameter."""
    return parse_epoch(options.build_args.get(BUILD_ARG) or "")
