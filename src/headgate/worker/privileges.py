"""Gives up root: workers run as the user that was given, before they load any of the user's code."""

import os
import pwd

from headgate._digits import whole_number

_KEEP_CAPABILITIES = 8  # PR_SET_KEEPCAPS, see prctl(2)
_VERSION_3 = 0x20080522  # of the header of capset(2)
_NET_ADMIN = 1 << 12  # CAP_NET_ADMIN, see capabilities(7)


def become(user: str | None, group: str | None, *, keep_net_admin: bool = False) -> None:
    """Changes to `user` (and its groups) and `group`; does nothing if neither is given. Raises as the system
    does. `keep_net_admin` keeps CAP_NET_ADMIN, which upstreams with `source: client` need, and nothing else."""
    if user is None and group is None:
        return
    uid, gid = resolve(user, group)
    if user is not None:
        os.initgroups(pwd.getpwuid(uid).pw_name, gid)
    else:
        os.setgroups([])
    os.setresgid(gid, gid, gid)
    if keep_net_admin:
        _call("prctl", _KEEP_CAPABILITIES, 1, 0, 0, 0)
    os.setresuid(uid, uid, uid)
    if keep_net_admin and uid != 0:
        _keep_only(_NET_ADMIN)


def _keep_only(capabilities: int) -> None:
    import ctypes

    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)  # 0: this thread, which is the only one yet
    low = (capabilities, capabilities, 0)  # effective, permitted, inheritable
    _call("capset", header, (ctypes.c_uint32 * 6)(*low, 0, 0, 0))


def _call(name: str, *arguments: object) -> None:
    import ctypes  # seldom needed

    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def resolve(user: str | None, group: str | None) -> tuple[int, int]:
    """The ids meant by names or numbers; LookupError names what does not exist."""
    uid, gid = os.getuid(), os.getgid()
    if user is not None:
        try:
            entry = pwd.getpwnam(user) if (number := whole_number(user)) is None else pwd.getpwuid(number)
        except KeyError:
            raise LookupError(f"the user `{user}` does not exist") from None
        uid, gid = entry.pw_uid, entry.pw_gid
    if group is not None:
        import grp  # a shared library to load, and seldom asked

        try:
            gid = (
                grp.getgrnam(group) if (number := whole_number(group)) is None else grp.getgrgid(number)
            ).gr_gid
        except KeyError:
            raise LookupError(f"the group `{group}` does not exist") from None
    return uid, gid
