"""A profile as a file for speedscope (https://www.speedscope.app/file-format-schema.json)."""

from __future__ import annotations

from typing import Any

from .profile import Profile

SCHEMA = "https://www.speedscope.app/file-format-schema.json"


def speedscope(profile: Profile, name: str) -> dict[str, Any]:
    """The document."""
    plain = profile.plain()
    frames = [
        {"name": name, **({"file": file, "line": line} if file else {})}
        for name, file, line in plain["frames"]
    ]
    return {
        "$schema": SCHEMA,
        "exporter": "headgate",
        "name": name,
        "activeProfileIndex": 0,
        "shared": {"frames": frames},
        "profiles": [
            {
                "type": "sampled",
                "name": name,
                "unit": "seconds",
                "startValue": 0,
                "endValue": sum(seconds for _, seconds in plain["stacks"]),
                "samples": [places for places, _ in plain["stacks"]],
                "weights": [seconds for _, seconds in plain["stacks"]],
            }
        ],
    }
