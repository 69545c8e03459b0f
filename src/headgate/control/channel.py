"""The line between the supervisor and one worker: messages and file descriptors over a socketpair.

How it works: `SOCK_SEQPACKET` keeps message borders, so a message is one `sendmsg` and needs no framing;
descriptors travel in its ancillary data (unix(7), SCM_RIGHTS). The socket is also the life line: its end of
file shows a worker that the supervisor has exited. The messages are in `messages`.
"""

import os
import socket

from headgate.control.records import Message, MessageError, MessageKinds

CHANNEL_DESCRIPTOR = 3  # where a worker finds its end
LONGEST_MESSAGE_BYTES = 128 * 1024
MOST_DESCRIPTORS = 200  # below the kernel's SCM_MAX_FD of 253


class ChannelClosed(ConnectionError):
    """The other end is closed."""


class Channel:
    """One end of the line, which understands `kinds`; `receive` blocks or not as the socket is set."""

    def __init__(self, end: socket.socket, kinds: MessageKinds) -> None:
        self.socket, self._kinds = end, kinds

    @classmethod
    def inherited(cls, kinds: MessageKinds) -> "Channel":
        """The end that this process was started with; processes that it starts do not get it."""
        os.set_inheritable(CHANNEL_DESCRIPTOR, False)
        return cls(socket.socket(fileno=CHANNEL_DESCRIPTOR), kinds)

    def fileno(self) -> int:
        """The descriptor to watch for messages."""
        return self.socket.fileno()

    def send(self, message: Message, descriptors: list[int] | None = None) -> None:
        """Sends one message; raises ChannelClosed if the other end is closed, ValueError if it is too long."""
        data = message.encode()
        if len(data) > LONGEST_MESSAGE_BYTES:
            raise ValueError(
                f"a control message of `{len(data)}` bytes is larger than {LONGEST_MESSAGE_BYTES}"
            )
        try:
            if descriptors:
                socket.send_fds(self.socket, [data], descriptors)
            else:
                self.socket.send(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ChannelClosed("the other end of the control channel is closed") from error

    def receive(self) -> tuple[Message, list[int]]:
        """The next message and its descriptors (the caller owns them).

        Raises ChannelClosed at the end of file, MessageError for what is not valid.
        """
        try:
            data, descriptors, _, _ = socket.recv_fds(self.socket, LONGEST_MESSAGE_BYTES, MOST_DESCRIPTORS)
        except ConnectionResetError as error:
            raise ChannelClosed("the other end of the control channel is closed") from error
        if not data:
            raise ChannelClosed("the other end of the control channel is closed")
        try:
            return self._kinds.decode(data), list(descriptors)
        except MessageError:
            for descriptor in descriptors:
                os.close(descriptor)
            raise

    def close(self) -> None:
        """Closes this end."""
        self.socket.close()
