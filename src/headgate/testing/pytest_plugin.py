"""The fixtures that pytest loads automatically where headgate is installed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .gateway import TestGateway
    from .live import LiveGateway


@pytest.fixture
def headgate_gateway() -> Iterator[Callable[..., TestGateway]]:
    """`headgate_gateway(source, upstreams=...)` gives a `TestGateway` that lives as long as the test."""
    with contextlib.ExitStack() as stack:

        def start(source: Any, **options: Any) -> TestGateway:
            from .gateway import TestGateway

            return stack.enter_context(TestGateway(source, **options))

        yield start


@pytest.fixture
def headgate_live() -> Iterator[Callable[..., LiveGateway]]:
    """`headgate_live(source, upstreams=...)` gives a `LiveGateway`, on ports, that lives as long as the test."""
    with contextlib.ExitStack() as stack:

        def start(source: Any, **options: Any) -> LiveGateway:
            from .live import LiveGateway

            return stack.enter_context(LiveGateway(source, **options))

        yield start
