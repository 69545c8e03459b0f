"""What a worker serves: a file, or the arguments of `headgate proxy`, loaded into what the engine takes."""

from typing import Any

from headgate.control.cpus import usable_cpus
from headgate.worker.loaded import Loaded, compiled

Source = dict[str, Any]
"""`{"file": "/path/gate.py"}` or `{"proxy": {"listen": ..., "to": [...], "access_log": ...}}`; plain JSON
data."""


def load(source: Source) -> Loaded:
    """Loads the source; raises ConfigError, or whatever the user's code raises."""
    if "proxy" in source:
        from headgate.worker import proxying

        return proxying.quick(source["proxy"]) or compiled(proxying.gateway(source["proxy"]))
    from pathlib import Path  # which `headgate proxy` starts without

    from headgate.compile.loading import load as load_file
    from headgate.compile.names import CannotTake, Names
    from headgate.compile.order import compile_gateway
    from headgate.compile.sources import Sources, is_users_module, now_ns

    begun_ns, file = now_ns(), source["file"]
    gateway = load_file(file)
    made = compile_gateway(gateway)
    loaded = compiled(gateway, made)
    has_code = file.endswith(".py") or loaded.hooks or loaded.startup or loaded.shutdown
    if not has_code:
        return loaded
    gateway.background.configure(gateway.config.background, usable_cpus())
    sources = Sources(begun_ns, (Path(file),) if file.endswith(".py") else ())
    names = Names(gateway, made, is_users_module)
    try:
        described = {**names.described(made), "sources": sources.users}
    except CannotTake as error:
        described = {"error": str(error)}
    return loaded._replace(background=gateway.background, names=names, sources=sources, described=described)
