"""Gives up root: workers run as the user they were told, before they load any of the user's code."""

import os
import pwd


def become(user: str | None, group: str | None) -> None:
    """Changes to `user` (and its groups) and `group`; does nothing if neither is given. Raises as the system
    does."""
    if user is None and group is None:
        return
    uid, gid = resolve(user, group)
    if user is not None:
        os.initgroups(pwd.getpwuid(uid).pw_name, gid)
    else:
        os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def resolve(user: str | None, group: str | None) -> tuple[int, int]:
    """The ids meant by names or numbers; LookupError names what does not exist."""
    uid, gid = os.getuid(), os.getgid()
    if user is not None:
        try:
            entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
        except KeyError:
            raise LookupError(f"there is no user `{user}`") from None
        uid, gid = entry.pw_uid, entry.pw_gid
    if group is not None:
        import grp  # a shared library to load, and seldom asked

        try:
            gid = grp.getgrgid(int(group)).gr_gid if group.isdigit() else grp.getgrnam(group).gr_gid
        except KeyError:
            raise LookupError(f"there is no group `{group}`") from None
    return uid, gid
