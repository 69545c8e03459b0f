"""What others have changed in a folder, once it has been at rest for a moment."""

import time
from pathlib import Path

from headgate.stores.base import Key
from headgate.stores.errors import StoreCorrupt
from headgate.stores.files_history import State, difference
from headgate.stores.files_tree import FolderTree
from headgate.stores.planning import Step

REST_S, REST_OF_LOSS_S = 0.02, 0.3


def rested(tree: FolderTree, state: State, touched: set[Path] | None) -> tuple[Step, ...]:
    """What differs from the history in some files, or in all, once it has been the same for a moment.

    Longer where something is lost, since an editor may be in the middle of renaming.
    """
    since = time.monotonic()
    seen: object = None
    keys: set[Key] = set()
    while True:
        steps: tuple[Step, ...] = ()
        corrupt: StoreCorrupt | None = None
        try:
            if touched is None:
                keys = state.resources.keys() | tree.read().keys()
            else:
                keys |= tree.reread(touched)
            steps = difference(state, tree.places, keys)
        except StoreCorrupt as error:
            corrupt = error
        now: object = str(corrupt) if corrupt else steps
        if not steps and not corrupt:
            return ()
        if now != seen:
            seen, since = now, time.monotonic()
        is_loss = corrupt is not None or any(step.edit.after is None for step in steps)
        if time.monotonic() - since >= (REST_OF_LOSS_S if is_loss else REST_S):
            if corrupt:
                raise corrupt
            return steps
        time.sleep(REST_S / 2)
