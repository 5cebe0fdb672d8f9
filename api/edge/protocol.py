"""How requests come in over a connection, in what uvicorn leaves open.

A head has an end, in bytes and in seconds; a client has so many connections; and an answer that
nobody takes is given up. How an answer is written stands in api.edge.cycle.
"""

import asyncio
import resource
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from api.edge.cycle import Cycle, write_lines
from api.edge.gate import MOST_HEADER_BYTES, Proxies, is_for_others, refuse
from api.edge.ready import Ready
from api.edge.request_ids import HEADER, choose_id

MOST_HEAD_BYTES = 2**16 + MOST_HEADER_BYTES  # of which the address may have 64 KiB
LINGER = 2.0  # seconds in which a refused client may read why, while what it sends is thrown away
WRITE_TIMEOUT = 30.0  # seconds in which a client must take something of its answer
OTHER_FILES = 64  # descriptors for all that is not a connection
MOST_DESCRIPTORS = 65_536
WEBSOCKETS = b"/v2/"  # the paths below which a connection may be one


class Connections:
    """The open connections of a worker: at most so many of a client, and as there are descriptors.

    A proxy speaks for many clients: of `proxies` there is no most, but that of all together.
    One too many takes the place of the oldest that asks for nothing, first of one that never did.
    """

    def __init__(self, of_client: int, in_all: int, proxies: Proxies | None = None) -> None:
        self.of_client = min(of_client, in_all)
        self.proxies = proxies or Proxies("")
        self.in_all = in_all
        self.by_client: dict[str, dict[Protocol, None]] = {}
        self.count = 0

    def enter(self, client: str, connection: "Protocol") -> bool:
        """Whether there is room for it, if need be by closing another."""
        own = self.by_client.setdefault(client, {})
        own[connection] = None
        self.count += 1
        if len(own) > self.of_client and not self.proxies.trust((client,)):
            return self.close_idle(own, connection)
        if self.count > self.in_all:
            everyone = [each for many in self.by_client.values() for each in many]
            return self.close_idle(everyone, connection)
        return True

    def close_idle(self, among: Iterable["Protocol"], newest: "Protocol") -> bool:
        idle = [each for each in among if each is not newest and each.is_idle()]
        if not idle:
            return False
        never_asked = (each for each in idle if each.cycle is None)
        next(never_asked, idle[0]).give_up()
        return True

    def leave(self, client: str, connection: "Protocol") -> None:
        own = self.by_client.get(client, {})
        if connection in own:
            del own[connection]
            self.count -= 1
        if not own:
            self.by_client.pop(client, None)


def build_connections(of_client: int, proxies: Proxies | None = None) -> Connections:
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    in_all = max(16, min(descriptors, MOST_DESCRIPTORS) - OTHER_FILES)
    return Connections(of_client, in_all, proxies)


def raise_descriptors() -> None:
    """As many open files as the system lets this process have; processes it starts inherit that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Protocol(HttpToolsProtocol):
    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        app = find_app(config.loaded_app)
        state, self.watch = app.state, app.layers.outermost
        self.known: Connections = state.connections
        self.head_timeout: float = state.settings.head_timeout
        self.ready: Ready | None = app.layers.answers.ready
        self.is_undecided: bool = app.layers.gate.is_undecided
        self.first: tuple[list[tuple[bytes, bytes]] | None, bytes] = None, b""
        self.is_in_head = self.is_refused = False
        self.is_between = True  # two requests
        self.chunk: bytes | None = None  # what came last, if a request began with it
        self.running: RequestResponseCycle | None = None  # cycle is the last that was asked for
        self.head_bytes = 0
        self.head_timer: asyncio.TimerHandle | None = None
        self.write_timer: asyncio.TimerHandle | None = None
        self.body_timer: asyncio.TimerHandle | None = None

    # The connection.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        self.head_timer = self.loop.call_later(self.head_timeout, self.on_head_timeout)
        if self.is_undecided and is_for_others(self.server):
            self.ready = None  # the gate refuses whatever comes
        if not self.known.enter(self.get_client(), self):
            self.refuse(503, "Too many connections of one client: close some, or use them again.")

    def connection_lost(self, exc: Exception | None) -> None:
        self.known.leave(self.get_client(), self)
        self.stop_timers()
        super().connection_lost(exc)
        if self.running is not None and not self.running.response_complete:
            self.running.disconnected = True  # uvicorn tells the last one alone
            self.running.message_event.set()

    def get_client(self) -> str:
        return self.client[0] if self.client else ""

    def is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def give_up(self) -> None:
        self.transport.close()

    def _should_upgrade_to_ws(self) -> bool:
        return self.url.startswith(WEBSOCKETS)

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over; what speaks WebSocket is imported for the first of them."""
        from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

        self.stop_timers()
        self.known.leave(self.get_client(), self)
        self.ws_protocol_class = WebSocketsSansIOProtocol
        super().handle_websocket_upgrade()

    def shutdown(self) -> None:
        """The service ends. An answer under way goes on to its end; a stream is told to end."""
        super().shutdown()
        if self.running is not None and not self.running.response_complete:
            end = self.running.scope["state"].get("end_stream")
            if end is not None:
                self.pipeline.clear()  # what was asked for behind a stream may be another
                self.running.keep_alive = False
                end()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.running = cycle
        super()._start_asgi_task(cycle, app)

    def stop_timers(self) -> None:
        for timer in (self.head_timer, self.write_timer, self.body_timer):
            if timer is not None:
                timer.cancel()
        self.head_timer = self.write_timer = self.body_timer = None

    # The head of a request.

    def data_received(self, data: bytes) -> None:
        if self.is_refused:  # read on, or the client would lose the answer
            return
        if self.is_between and self.answer_again(data):
            return
        self.chunk = data if self.is_between else None
        super().data_received(data)
        if not self.is_in_head:
            if self.cycle is not None and self.cycle.more_body and self.body_timer is None:
                self.body_timer = self.loop.call_later(
                    self.head_timeout, self.on_body_timeout, self.cycle
                )
            return
        self.head_bytes += len(data)
        if self.head_bytes > MOST_HEAD_BYTES:
            self.refuse(431, f"The head of the request has more than {MOST_HEAD_BYTES} bytes.")
        elif self.head_timer is None:
            self.head_timer = self.loop.call_later(self.head_timeout, self.on_head_timeout)

    def answer_again(self, data: bytes) -> bool:
        """Answer a request whose answer is ready; False: it is to be read."""
        if self.ready is None or self.cycle is None or not self.cycle.response_complete:
            return False
        if self.flow.write_paused or self.transport.is_closing():
            return False
        found = self.ready.answer(data, self.client)
        if found is None:
            return False
        self.transport.writelines((self.write_first() + found[0], found[1]))
        self.on_response_complete()
        return True

    def write_first(self) -> bytes:
        """The status and the headers of all answers (date), which are new ones each second."""
        headers = self.server_state.default_headers
        if self.first[0] is not headers:
            self.first = headers, STATUS_LINE[200] + write_lines(headers)
        return self.first[1]

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.is_between = False
        self.is_in_head, self.head_bytes = True, 0

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.is_between = True

    def on_headers_complete(self) -> None:
        self.is_in_head = False
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None
        super().on_headers_complete()
        if type(self.cycle) is RequestResponseCycle:  # uvicorn names no other class to make it of
            self.cycle.__class__ = Cycle
            if self.cycle.keep_alive:
                self.scope["state"]["request"] = self.chunk
            self.chunk = None  # what follows in it is another request

    def on_head_timeout(self) -> None:
        self.head_timer = None
        if self.is_in_head and not self.is_refused:
            self.refuse(
                408, f"The head of the request did not come within {self.head_timeout:g} s."
            )
        elif self.is_idle():
            self.give_up()

    def on_body_timeout(self, cycle: RequestResponseCycle) -> None:
        """A body takes no longer than a head, be it one that is read or one that is thrown away."""
        self.body_timer = None
        if cycle.more_body:
            self.give_up()

    def send_400_response(self, msg: str) -> None:
        self.refuse(400, "This is not HTTP/1.1 as it should be written.")

    def refuse(self, status: int, detail: str) -> None:
        """Say why, and hang up once the client had time to read it."""
        self.is_refused = True
        self.stop_timers()
        if self.is_idle() and not self.transport.is_closing():
            name = choose_id(None).decode()
            answer = refuse(status, detail, {HEADER.decode(): name}, request_id=name)
            lines = [b"%b: %b\r\n" % pair for pair in answer.raw_headers]
            retry = b"retry-after: 5\r\n" if status == 503 else b""
            first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
            head = b"".join((first, *lines, retry, b"connection: close\r\n\r\n"))
            self.transport.write(head)
            self.transport.write(bytes(answer.body))
            self.watch.note_refused(name, self.get_client(), status, len(answer.body))
            self.loop.call_later(LINGER, self.give_up)
        else:
            self.give_up()

    # The answer.

    def pause_writing(self) -> None:
        self.write_timer = self.loop.call_later(WRITE_TIMEOUT, self.transport.abort)
        super().pause_writing()

    def resume_writing(self) -> None:
        if self.write_timer is not None:
            self.write_timer.cancel()
            self.write_timer = None
        super().resume_writing()


def find_app(app: Any) -> Any:
    """The service, below what the server wraps it into."""
    while not hasattr(app, "layers"):
        app = app.app
    return app
