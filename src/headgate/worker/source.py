"""What a worker serves: a file, or the arguments of `headgate proxy`, loaded into what the engine takes."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from headgate.control.cpus import usable_cpus
from headgate.control.messages import Source
from headgate.control.resource_messages import MOST_SECRET_FILES, NodeSettings, SecretFile, SecretFiles
from headgate.worker.loaded import Loaded, compiled

if TYPE_CHECKING:
    from pathlib import Path  # which `headgate proxy` starts without

    from headgate._parts import Parts
    from headgate.compile.order import Compiled
    from headgate.compile.sources import Sources
    from headgate.config.discovered import Sets
    from headgate.config.resources import Resources
    from headgate.gateway import Gateway

Ask = Callable[[NodeSettings], tuple["Resources", "Sets"]]
"""Gives the resources that are merged with a file which has a `store` or `admin`, and the servers found by name."""


def load(source: Source, ask: Ask | None = None) -> Loaded:
    """Loads the source, with resources if `ask` can give some; raises ConfigError, or what the user's code raises."""
    if source.proxy:
        from headgate.worker import proxying

        return proxying.quick(source.proxy) or compiled(proxying.gateway(source.proxy))
    # as what follows, not needed by `headgate proxy`
    from headgate.compile.allocation import without_collecting

    with without_collecting():
        assert source.file, "which is what a source is without `proxy`"
        return _load_file(source.file, ask)


def _load_file(file: str, ask: Ask | None) -> Loaded:
    from pathlib import Path

    from headgate.compile.loading import load as load_file
    from headgate.compile.sources import now_ns

    begun_ns = now_ns()
    gateway = load_file(file)
    settings = node_settings(gateway, Path(file)) if ask else None
    if ask and settings:
        from headgate.compile.resources import Merged

        resources, found = ask(settings)
        gateway = Merged(gateway, resources, found=found).gateway
    return loaded_gateway(gateway, Path(file), begun_ns)


def secret_files() -> SecretFiles:
    """The files that this process has read secrets from."""
    from headgate.config.secrets import files_read

    return SecretFiles(files=[SecretFile(**one._asdict()) for one in files_read()[:MOST_SECRET_FILES]])


def node_settings(gateway: "Gateway", file: "Path") -> NodeSettings | None:
    """What an agent must know of the gateway before it loads the file; none where no agent is needed."""
    from importlib.util import find_spec

    from headgate.config.errors import ConfigError
    from headgate.config.model import GatewayConfig
    from headgate.config.snapshot_tls import acme_folder
    from headgate.config.state_folders import state_folder

    settings = gateway._parts.settings
    config = GatewayConfig.parse(
        {key: settings[key] for key in ("store", "admin", "state_folder", "acme") if key in settings}
    )
    uses_acme = any(listener.config.uses_acme for listener in gateway._parts.listeners)
    has_state = config.store is not None or config.admin is not None or uses_acme
    if not has_state and not seeks_servers(gateway._parts):
        return None
    if config.admin is not None and find_spec("starlette") is None:
        raise ConfigError("the Admin API needs the package `starlette`", hint="pip install 'headgate[admin]'")
    if uses_acme and find_spec("acme") is None:
        raise ConfigError(
            "ordering certificates needs the package `acme`", hint="pip install 'headgate[acme]'"
        )
    return NodeSettings(
        state_folder=str(state_folder(config.state_folder, file)),
        listen=config.admin.listen if config.admin else None,
        store=config.store.get_secret_value() if config.store else None,
        acme_folder=str(acme_folder(config, gateway._parts.folder)) if uses_acme else None,
        has_state=has_state,
    )


def seeks_servers(parts: "Parts") -> bool:
    """Whether a server of the file is to be looked up by its name."""
    from headgate.config.discovered import sought, sought_by

    servers = (server for upstream in parts.upstreams.values() for server in upstream.config.servers)
    if any(map(sought, servers)):
        return True
    streams = (one.config for one in (*parts.tcp, *parts.udp))
    targets = {one.to for one in (*(route.config for route in parts.routes), *parts.tls_routes, *streams)}
    return any(to is not None and to not in parts.upstreams and sought_by(to) is not None for to in targets)


def loaded_gateway(
    gateway: "Gateway", file: "Path", loaded_from: "int | Sources", made: "Compiled | None" = None
) -> Loaded:
    """A gateway of `file`, compiled, and how it is told to processes that have loaded the same file.

    `loaded_from` are the files that it was loaded from, or when that began, in the time that files are dated by.
    `made` is what it was compiled to already.
    """
    from headgate.compile.names import CannotTake, Names
    from headgate.compile.order import compile_gateway
    from headgate.compile.sources import Sources, is_users_module
    from headgate.config.consumers import plain_consumers

    made = made or compile_gateway(gateway)
    loaded = compiled(gateway, made)
    is_python = file.suffix == ".py"
    has_code = is_python or loaded.hooks or loaded.startup or loaded.shutdown or loaded.server_state
    if not has_code:
        return loaded
    gateway.background.configure(gateway.config.background, usable_cpus())
    sources = (
        Sources(loaded_from, (file,) if is_python else ()) if isinstance(loaded_from, int) else loaded_from
    )
    names = Names(gateway, made, is_users_module)
    try:
        described = {
            **names.described(made),
            "sources": sources.users,
            "consumers": plain_consumers(made.config.consumers, made.config.consumer_groups),
            "secrets": [gateway.background.secrets.names, gateway.background.secrets.paths],
        }
    except CannotTake as error:
        described = {"error": str(error)}
    return loaded._replace(background=gateway.background, names=names, sources=sources, described=described)
