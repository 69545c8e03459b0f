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
    from headgate.compile.loading import load as load_file

    gateway = load_file(source["file"])
    loaded = compiled(gateway)
    has_code = source["file"].endswith(".py") or loaded.hooks or loaded.startup or loaded.shutdown
    if not has_code:
        return loaded._replace(is_data=True)
    gateway.background.configure(gateway.config.background, usable_cpus())
    return loaded._replace(background=gateway.background)
