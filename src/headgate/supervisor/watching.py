"""Reloads when files change, for development: `headgate run FILE --reload`."""

import os
import signal
import threading


def reload_on_changes(folder: str) -> None:
    """Sends this process SIGHUP whenever a file under `folder` changes; ImportError without watchfiles.

    The wait is in a thread; that is safe here, since the supervisor starts processes by exec and never by
    fork.
    """
    from watchfiles import DefaultFilter, watch

    class SourceFiles(DefaultFilter):
        """What a gateway may be made of; not caches, version control and editors' own files."""

        def __call__(self, change: object, path: str) -> bool:
            wanted = path.endswith((".py", ".yaml", ".yml", ".toml", ".json"))
            return wanted and super().__call__(change, path)  # type: ignore[arg-type]

    def wait() -> None:
        for _ in watch(folder, watch_filter=SourceFiles(), raise_interrupt=False, debounce=200):
            os.kill(os.getpid(), signal.SIGHUP)

    threading.Thread(target=wait, name="watching", daemon=True).start()
