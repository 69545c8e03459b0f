"""The line between the supervisor and one worker: JSON messages and file descriptors over a socketpair.

How it works: `SOCK_SEQPACKET` keeps message borders, so a message is one `sendmsg` and needs no framing;
descriptors travel in its ancillary data (unix(7), SCM_RIGHTS). The socket is also the life line: its end of
file tells a worker that the supervisor is gone.

| message  | from       | carries                                                                   |
|----------|------------|---------------------------------------------------------------------------|
| orders   | supervisor | what to serve, as whom, the zone's descriptor and slot                     |
| prepared | worker     | loaded and started up: the addresses it wants, its drain limit             |
| open     | worker     | the shared dictionary it wants, while it loads                              |
| opened   | supervisor | its memory, or why there is none                                            |
| listen   | supervisor | the listening sockets                                                      |
| ready    | worker     | it accepts                                                                 |
| failed   | worker     | why it could not start; it exits afterwards                                |
| draining | worker     | it lets nobody in any more                                                |
| hand_over| supervisor | asks a worker just prepared for its snapshot; it exits afterwards          |
| snapshot | worker     | the snapshot in a memfd, and what else changes without new code            |
| apply    | supervisor | that same, for a worker that serves                                       |
| applied  | worker     | it is in force, or why it is not                                          |
| ticket_keys | supervisor | the keys of TLS session tickets, after a rotation                      |
| query    | supervisor | asks for a report, perhaps with the times of hooks                          |
| report   | worker     | its connections and memory, what its hooks took                            |
| inspect  | supervisor | a place in the code to look at, until `inspect_end` or some seconds are over |
| inspecting | worker   | where that is, or why not                                                  |
| hit      | worker     | what was seen there                                                        |
"""

import json
import socket
from typing import Any

CHANNEL_DESCRIPTOR = 3  # where a worker finds its end
LONGEST_MESSAGE_BYTES = 128 * 1024
MOST_DESCRIPTORS = 200  # below the kernel's SCM_MAX_FD of 253

Message = dict[str, Any]


class ChannelClosed(ConnectionError):
    """The other end is gone."""


class Channel:
    """One end of the line; `receive` blocks or not as the socket is set."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end

    def fileno(self) -> int:
        """The descriptor to watch for messages."""
        return self.socket.fileno()

    def send(self, message: Message, descriptors: list[int] | None = None) -> None:
        """Sends one message; raises ChannelClosed if nobody can read it any more."""
        data = json.dumps(message).encode()
        if len(data) > LONGEST_MESSAGE_BYTES:
            raise ValueError(f"a control message of `{len(data)}` bytes is over {LONGEST_MESSAGE_BYTES}")
        try:
            if descriptors:
                socket.send_fds(self.socket, [data], descriptors)
            else:
                self.socket.send(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ChannelClosed("the other end of the control channel is gone") from error

    def receive(self) -> tuple[Message, list[int]]:
        """The next message and its descriptors (the caller owns them); raises ChannelClosed at the end of
        file."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self.socket, LONGEST_MESSAGE_BYTES, MOST_DESCRIPTORS)
        except ConnectionResetError as error:
            raise ChannelClosed("the other end of the control channel is gone") from error
        if not data:
            raise ChannelClosed("the other end of the control channel is gone")
        return json.loads(data), list(descriptors)

    def close(self) -> None:
        """Closes this end."""
        self.socket.close()
