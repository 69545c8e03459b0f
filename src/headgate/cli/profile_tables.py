"""The table of a profile, drawn by rich; imported only when one is printed."""

from rich.table import Table

from headgate.cli.log_lines import harmless
from headgate.cli.tables import made_console
from headgate.profiling.profile import Profile


def print_profile(profile: Profile, whole_s: float, most: int) -> None:
    """Which hooks took how much of the time, of all workers together, and what the rest was."""
    console = made_console()
    table = Table(box=None, pad_edge=False)
    for heading in ("phase", "hook", "seconds", "share"):
        table.add_column(heading, justify="left" if heading in ("phase", "hook") else "right")
    rest = [("", "engine", profile.engine_s), ("", "idle", profile.idle_s)]
    for phase, hook, seconds in [*profile.by_hook()[:most], *rest]:
        share = f"{100 * seconds / max(whole_s, 1e-9):.1f} %"
        table.add_row(phase or "-", harmless(hook).replace("[", r"\["), f"{seconds:.3f}", share)
    console.print(table)
    console.print(f"{profile.samples} samples")
