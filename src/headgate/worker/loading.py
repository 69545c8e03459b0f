"""Loads what a worker serves, with what the supervisor lends it."""

from typing import Any

from headgate import shared
from headgate.config.errors import ConfigError
from headgate.control import messages, resource_memory
from headgate.control.channel import Channel
from headgate.control.resource_messages import GetResources, NodeSettings, ResourcesLent
from headgate.worker.loaded import Loaded
from headgate.worker.source import load, secret_files


def load_for(channel: Channel, source: messages.Source) -> Loaded:
    """Loads what a worker serves; shared dictionaries and resources come from the supervisor."""

    def open_dictionary(name: str, size: int) -> int:
        channel.send(messages.OpenDictionary(name=name, bytes=size))
        reply, descriptors = channel.receive()
        if isinstance(reply, messages.DictionaryOpened) and reply.error:
            raise ValueError(reply.error)
        return descriptors[0]

    def ask(settings: NodeSettings) -> Any:
        channel.send(GetResources(settings=settings))
        reply, descriptors = channel.receive()
        assert isinstance(reply, ResourcesLent), "which was asked for"
        if reply.error:
            raise ConfigError(reply.error)
        told = resource_memory.read(descriptors[0], reply.bytes)
        return told["resources"], told.get("found", {})

    shared.OPENER.set(open_dictionary)
    loaded = load(source, ask)
    if loaded.background:
        _ = loaded.background.node.memory  # opened now: the supervisor is not asked later
    if source.file:
        message = secret_files()
        if message.files:
            channel.send(message)
    shared.OPENER.set(shared.too_late)
    return loaded
