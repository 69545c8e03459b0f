"""Profiles: what a sample counts for and for whom, sums over processes, and the files they are drawn in."""

import functools
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest

from headgate.profiling.flame_graph import flame_graph
from headgate.profiling.profile import OTHER, Frame, Profile
from headgate.profiling.sampler import Sampler, owners
from headgate.profiling.speedscope import speedscope

SCHEMA = Path(__file__).parents[2] / "data" / "speedscope-schema.json"
HOSTILE = "<script>alert(1)</script>\x1b\x00\ud800\"'&"
SVG = "{http://www.w3.org/2000/svg}"


class Held:
    """A thread that is inside a function until told otherwise."""

    def __init__(self, function: Callable[[threading.Event, threading.Event], None]) -> None:
        self.inside, self.released = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=function, args=(self.inside, self.released), name="worker 7")

    def __enter__(self) -> "Held":
        self.thread.start()
        assert self.inside.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self.thread.join()


def hook(inside: threading.Event, released: threading.Event) -> None:
    deeper(inside, released)


def deeper(inside: threading.Event, released: threading.Event) -> None:
    inside.set()
    released.wait()


def poll(inside: threading.Event, released: threading.Event) -> None:
    inside.set()
    while not released._flag:  # type: ignore[attr-defined]  # without a call
        pass


def sampled(held: Held, hooks: Any = (), *, is_loop: bool = False, waits: Any = None) -> Profile:
    """Two samples of one second each."""
    loop = held.thread.ident if is_loop else 0
    sampler = Sampler(
        owners(hooks),
        loop or 0,
        (waits or test_a_stack_counts_for_its_hook).__code__,
        seconds=1,
        interval_s=1,
        done=print,
    )
    sampler.take(1.0)
    sampler.take(1.0)
    return sampler._profile


def names(profile: Profile) -> list[list[str]]:
    return [[frame.name for frame in stack] for stack in profile.stacks]


def test_a_stack_counts_for_its_hook() -> None:
    with Held(hook) as held:
        profile = sampled(held, [("request", "gate.py:hook", hook)])
    (stack,) = [one for one in names(profile) if one[0] == "request"]
    assert stack[:4] == ["request", "gate.py:hook", "hook", "deeper"]
    assert profile.by_hook()[0] == ("request", "gate.py:hook", 2.0)


def test_the_loops_thread_counts_though_it_only_waits() -> None:
    with Held(deeper) as held:
        profile = sampled(held, is_loop=True)
    assert next(one for one in names(profile) if one[0] == "event loop")[-3:-1] == ["deeper", "Event.wait"]
    assert profile.by_hook()[0] == ("", "event loop", 2.0)


def test_what_waits_in_the_engine_is_idle() -> None:
    with Held(poll) as held:
        profile = sampled(held, is_loop=True, waits=poll)
    assert profile.stacks == {} or "event loop" not in [one[0] for one in names(profile)]
    assert profile.idle_s + profile.engine_s == 2.0


def test_other_threads_count_while_they_run() -> None:
    with Held(deeper) as held:
        assert [one for one in names(sampled(held)) if one[0] == "thread worker 7"] == []


def test_hooks_are_known_through_what_wraps_them() -> None:
    class Plugin:
        def request(self) -> None: ...

        def __call__(self) -> None: ...

    @functools.wraps(hook)
    def wrapper() -> None: ...

    plugin = Plugin()
    found = owners([
        ("request", "a", plugin.request), ("request", "b", functools.partial(hook, None)),
        ("response", "c", wrapper), ("log", "d", plugin), ("log", "e", print),
    ])  # fmt: skip
    assert found[Plugin.request.__code__] == ("request", "a") and found[Plugin.__call__.__code__] == (
        "log",
        "d",
    )
    assert found[hook.__code__] == ("request", "b") and found[wrapper.__code__] == ("response", "c")


@pytest.mark.parametrize(("seconds", "is_stopped"), [(0.0, False), (3600.0, True)])
def test_a_sampler_ends_by_itself_and_when_it_is_told(seconds: float, is_stopped: bool) -> None:
    done = threading.Event()
    sampler = Sampler({}, 0, hook.__code__, seconds=seconds, interval_s=0.001, done=lambda _: done.set())
    sampler.begin()
    if is_stopped:
        sampler.stop()
    assert done.wait(20)


def made() -> Profile:
    profile = Profile()
    profile.add(
        (Frame("request"), Frame("gate.py:a"), Frame("a", "/gate.py", 3), Frame("b", "/gate.py", 9)), 0.5
    )
    profile.add((Frame("request"), Frame("gate.py:a"), Frame("a", "/gate.py", 3)), 0.25)
    profile.add((Frame("event loop"), Frame(HOSTILE, HOSTILE, 1)), 0.25)
    profile.idle_s, profile.samples = 2.0, 7
    return profile


def test_profiles_of_processes_add_up_and_travel_as_json() -> None:
    whole = made()
    whole.merge(Profile.of(json.loads(json.dumps(made().plain()))))
    assert (whole.python_s, whole.idle_s, whole.samples) == (2.0, 4.0, 14)
    assert whole.by_hook() == [("request", "gate.py:a", 1.5), ("", "event loop", 0.5)]


def test_what_is_kept_is_bounded(monkeypatch: Any) -> None:
    monkeypatch.setattr("headgate.profiling.profile.MOST_STACKS", 3)
    profile = Profile()
    for number in range(10):
        profile.add((Frame(f"f{number}"),), 1.0)
    assert len(profile.stacks) == 4 and profile.stacks[Frame(OTHER),] == 7.0 and profile.python_s == 10.0


def test_speedscopes_schema_accepts_the_file() -> None:
    schema = json.loads(SCHEMA.read_text())
    document = json.loads(json.dumps(speedscope(made(), "headgate")))
    jsonschema.validate(document, schema)
    (profile,) = document["profiles"]
    assert sum(profile["weights"]) == profile["endValue"] == 1.0
    frames = document["shared"]["frames"]
    assert [frames[place]["name"] for place in profile["samples"][0]] == ["request", "gate.py:a", "a", "b"]
    jsonschema.validate(json.loads(json.dumps(speedscope(Profile(), "empty"))), schema)


def test_the_flame_graph_is_one_safe_picture() -> None:
    text = flame_graph(made(), f"title {HOSTILE}")
    root = ElementTree.fromstring(text)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {"svg", "rect", "text", "title", "g"}
    titles = [element.text or "" for element in root.iter(f"{SVG}title")]
    assert "b (/gate.py:9): 0.500 s, 50.0 %" in titles
    assert not any(
        name.startswith("on") or "href" in name for element in root.iter() for name in element.attrib
    )
    widths = {element[0].text: float(element[1].attrib["width"]) for element in root.iter(f"{SVG}g")}
    assert abs(widths["a (/gate.py:3): 0.750 s, 75.0 %"] / 1180 - 0.75) < 0.01
    ElementTree.fromstring(flame_graph(Profile(), "nothing"))
