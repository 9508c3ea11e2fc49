"""
One worker's part of a load: requests go out when they are due, whatever the server does.

One that finds no idle connection waits for the next: that wait is the server's, and part of its response time. What the
client itself is late, with an idle connection at hand, is its lag. Those that wait need no queue: they are due in the
order of their numbers, so the next number is all there is to know.
"""

import select
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, cycle, repeat
from typing import Final

import numpy as np

from engram_diagnose.bench.sending.answers import Answer, AnswerReader, NoHttpError, usual_heading
from engram_diagnose.bench.sending.connections import NO_DESCRIPTOR, Connection, Connections, word_of
from engram_diagnose.bench.sending.failures import Failures
from engram_diagnose.bench.sending.recording import Lane, second_at
from engram_diagnose.bench.sending.task import STOPPED, Progress, Result, Second, Task

_NS: Final = 1_000_000_000
_READ: Final = 1 << 16
"""Bytes read at once: below what the C library takes from the kernel anew each time."""
_EVENTS: Final = 64
"""Looked at before it is seen again what is due."""
_LOOK: Final = _NS // 4
"""Between two looks at timeouts and failures, each with a word of progress."""
_SHORTEST: Final = 30e-6
"""Seconds: what is due within so short a time is sent together, rather than awaited by spinning."""
_HEADINGS: Final = 1024
_HEAD_END: Final = b"\r\n\r\n"
_IN: Final = select.EPOLLIN
_NEVER: Final = 1 << 62
"""The instant at which the request behind the last one is due."""
_BLOCK: Final = 4096
"""Instants that are computed at once."""


class Sender:
    """
    Runs one task; the descriptor `control` becomes readable when it is to end.

    `say` is given the progress, four times a second.
    """

    def __init__(self, task: Task, control: int, say: Callable[[Progress], None]) -> None:
        self._task = task
        self._control = control
        self._say = say
        self._poll = select.epoll()
        self._connections = Connections(self._poll, task.host, task.port)
        self._lanes = [Lane(kind, number) for number, kind in enumerate(task.kinds)]
        self._seconds: dict[int, Second] = {}
        self._failures = Failures(task.window, task.hang)
        self._number = task.first_number
        self._next_lane = cycle([self._lanes[number] for number in _own(task.order, task)]).__next__
        self._next_pick = cycle(_own(task.picks, task)).__next__
        self._failed_count = 0
        self._headings: dict[bytes, tuple[int, int]] = {}
        self._last_answer = self._last_good = 0
        self._start = self._end = 0
        self._ended = ""
        self._connected_most = 0

    # Before

    def connect(self) -> str:
        """Open the connections, or as many as there are within the wait for an answer; why there are none, or ""."""
        connections, task = self._connections, self._task
        try:
            connections.resolve()
        except OSError as error:
            return f"no connection could be made: {task.host} is not known ({error.strerror})"
        for _ in range(task.connections):
            connections.open()
        until = time.monotonic() + task.wait
        while any(not one.made for one in connections.by_fd.values()) and time.monotonic() < until:
            for fd, _ in self._poll.poll(0.05):
                self._connected(fd)
        why = self._why_not()
        if why:
            connections.close()
        return why

    def _why_not(self) -> str:
        connections, made = self._connections, len(self._connections.idle)
        if NO_DESCRIPTOR in connections.failures:
            return (f"only {made:,} of {self._task.connections:,} connections could be opened: no more files may be "
                    "open at once; raise the limit (ulimit -n), or give fewer --connections")  # fmt: skip
        why = (connections.failures or ["timeout"])[-1]
        connections.failures.clear()
        return "" if made else f"no connection could be made ({why})"

    def _connected(self, fd: int) -> None:
        connection = self._connections.by_fd[fd]
        if not connection.made:
            self._connections.made(connection)
        else:
            self._read(connection)

    # The load

    def run(self, start: int) -> Result:
        """The load from the instant `start` on, of the monotonic clock in nanoseconds."""
        task = self._task
        self._start, self._end = start, start + int(task.seconds * _NS)
        self._last_answer = self._last_good = start
        self._count_connections()
        self._poll.register(self._control, _IN)
        cpu = time.process_time_ns()
        place = self._loop(start)
        now = time.monotonic_ns()
        cpu_share = (time.process_time_ns() - cpu) / max(1, now - start)
        found = self._result(place, now, cpu_share)
        self._connections.close()
        self._poll.close()
        return found

    def _loop(self, start: int) -> int:
        """Send what is due and take the answers until all is done; gives the number of the first request not sent."""
        task, connections, poll = self._task, self._connections, self._poll.poll
        idle, by_fd, headings = connections.idle, connections.by_fd, self._headings
        clock, fds, send = time.monotonic_ns, (self._poll.fileno(),), self._send
        usual, head_end, most = _IN, _HEAD_END, _READ
        place, workers, end = task.worker, task.workers, self._end
        last = end + int(task.drain * _NS)
        next_due = chain(chain.from_iterable(_dues(task, start)), repeat(_NEVER)).__next__
        due = next_due()
        idle_since = start
        now = clock()
        look = now + _LOOK
        while not self._ended:
            while idle and due <= now:
                send(idle.pop(), due, now, now - (due if due > idle_since else idle_since))
                place += workers
                due = next_due()
                now = clock()
            if now >= look:
                look = now + _LOOK
                self._look(now, over=due == _NEVER)
            if now >= last or (due == _NEVER and now >= end and not connections.under_way()):
                break
            ahead = min(due, look) if idle else look
            wait = (min(ahead, end if now < end else last) - now) / _NS
            if idle:
                # The timeout of epoll counts in milliseconds, rounded up.
                select.select(fds, (), (), max(wait, _SHORTEST))
                wait = 0.0
            was_idle = bool(idle)
            for fd, event in poll(max(0.0, wait), _EVENTS):
                connection = by_fd.get(fd)
                if event != usual or connection is None or connection.lane is None or connection.reader is not None:
                    self._event(fd, event)
                    continue
                try:
                    data = connection.recv(most)
                except OSError as error:
                    self._read_failed(connection, error)
                    continue
                now = clock()
                lane = connection.lane
                if not (len(data) == lane.known_size and data.startswith(lane.known)):
                    body = data.find(head_end) + 4
                    heading = headings.get(data[:body])
                    if (
                        heading is None
                        or len(data) != body + heading[1]
                        or heading[0] not in lane.good
                        or not data.startswith(b"{", body)
                    ):
                        self._take(connection, data, now)
                        continue
                    lane.known, lane.known_size = data[: body + 1], len(data)
                if data.find(lane.first_sign, len(lane.known) - 1) < 0:
                    self._take(connection, data, now)
                    continue
                self._last_good = now
                lane.note_done(connection.due)
                lane.note_start(connection.sent)
                lane.note_end(now)
                if due <= now:
                    send(connection, due, now, 0)
                    place += workers
                    due = next_due()
                else:
                    connection.lane = None
                    idle.append(connection)
            now = clock()
            if idle and not was_idle:
                idle_since = now
        return place

    def _send(self, connection: Connection, due: int, now: int, lag: int) -> None:
        lane = self._next_lane()
        request = lane.ready[self._next_pick() % lane.size]
        if lane.mark:
            request = request.replace(lane.mark, b"%0*d" % (len(lane.mark), self._number), 1)
            self._number += self._task.workers
        lane.note_sent(due)
        if lag:
            lane.note_lag(lag)
        connection.lane, connection.due, connection.sent = lane, due, now
        try:
            done = connection.send(request)
        except BlockingIOError:
            done = 0
        except OSError as error:
            self._broken(connection, word_of(error.errno))
            return
        if done != len(request):
            self._connections.wait_to_write(connection, request[done:])

    # What is not usual

    def _event(self, fd: int, event: int) -> None:
        if fd == self._control:
            self._ended = STOPPED
            return
        connection = self._connections.by_fd.get(fd)
        if connection is None:
            return
        if not connection.made:
            if not self._connections.made(connection):
                self._note_connections()
            return
        if event & select.EPOLLOUT and connection.out:
            try:
                self._connections.write_rest(connection)
            except OSError as error:
                self._broken(connection, word_of(error.errno))
                return
        if event & ~select.EPOLLOUT:
            self._read(connection)

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.recv(_READ)
        except OSError as error:
            self._read_failed(connection, error)
            return
        self._take(connection, data, time.monotonic_ns())

    def _read_failed(self, connection: Connection, error: OSError) -> None:
        if not isinstance(error, BlockingIOError):
            self._broken(connection, word_of(error.errno))

    def _take(self, connection: Connection, data: bytes, now: int) -> None:
        """Bytes of an answer that is not usual, or not yet known to be."""
        if connection.lane is None:
            # Closed while nobody asked anything, or an answer to nothing: the next request takes another one.
            self._connections.replace(connection, now=now, later=True)
            return
        reader = connection.reader
        try:
            if data:
                if reader is None:
                    self._learn(data)
                    reader = connection.reader = AnswerReader()
                found = reader.feed(data)
                if found is None:
                    return
            else:
                found = reader.closed() if reader is not None else None
        except NoHttpError:
            self._broken(connection, "garbage")
            return
        if found is None:
            self._broken(connection, "closed")
            return
        self._answered(connection, found, now)

    def _learn(self, data: bytes) -> None:
        """Know this heading again, if it is a usual one."""
        heading = data[: data.find(_HEAD_END) + 4]
        usual = usual_heading(heading) if len(heading) > len(_HEAD_END) else None
        if usual is None:
            return
        if len(self._headings) >= _HEADINGS:
            self._headings.clear()
        self._headings[heading] = usual

    def _answered(self, connection: Connection, found: Answer, now: int) -> None:
        lane, due = connection.lane, connection.due
        assert lane is not None  # noqa: S101 -- narrows the type
        self._last_answer = now
        if found.status not in lane.good:
            self._failed(lane, due, f"http-{found.status}", now, come_back=found.retry_after)
        elif not lane.makes_sense(found.body):
            self._failed(lane, due, "garbage", now)
        else:
            self._last_good = now
            lane.note_done(due)
            lane.note_start(connection.sent)
            lane.note_end(now)
        connection.lane = connection.reader = None
        if found.stays and not connection.out:
            self._connections.idle.append(connection)
        else:
            self._connections.replace(connection, now=now, later=False)
            self._note_connections()

    def _failed(self, lane: Lane, due: int, why: str, now: int, *, come_back: str = "") -> None:
        errors = lane.told.errors
        errors[why] = errors.get(why, 0) + 1
        second_at(self._seconds, (due - self._start) // _NS).errors += 1
        self._failed_count += 1
        self._failures.add(why, now, come_back=come_back)

    def _broken(self, connection: Connection, why: str) -> None:
        """A connection is gone, and with it the request under way on it; another one takes its place."""
        now, lane, due = time.monotonic_ns(), connection.lane, connection.due
        self._connections.replace(connection, now=now, later=True)
        if lane is not None:
            self._failed(lane, due, why, now)

    def _note_connections(self) -> None:
        for why in self._connections.failures:
            self._failures.add(why, time.monotonic_ns())
        self._connections.failures.clear()

    def _count_connections(self) -> None:
        if self._connected_most < self._task.connections:
            made = sum(one.made for one in self._connections.by_fd.values())
            self._connected_most = max(self._connected_most, made)

    # Now and then

    def _look(self, now: int, *, over: bool) -> None:
        """End what takes too long, and a load that nothing good comes of; one that is `over` ends by itself."""
        wait = int(self._task.wait * _NS)
        for connection in self._connections.under_way():
            if now - connection.sent > wait:
                self._broken(connection, "timeout")
        self._connections.retry(now)
        self._note_connections()
        self._count_connections()
        oldest = min((one.sent for one in self._connections.under_way()), default=now)
        self._last_answer = max(self._last_answer, self._last_good)
        if not over and not self._ended:
            self._ended = self._failures.verdict(
                now, last_good=self._last_good, last_answer=self._last_answer, oldest=oldest
            )
        for lane in self._lanes:
            if lane.is_full:
                lane.take_over(self._seconds, start=self._start, end=self._end)
        sent, ok = sum(lane.sent for lane in self._lanes), sum(lane.ok for lane in self._lanes)
        self._say(Progress(sent, ok, self._failed_count))

    # After

    def _result(self, place: int, now: int, cpu_share: float) -> Result:
        task, early = self._task, bool(self._ended)
        planned = _among(round(task.seconds / task.interval), task)
        sent = _among(place, task)
        self._settle(now)
        if self._ended != STOPPED:
            self._not_served(place, by=now)
        for lane in self._lanes:
            lane.take_over(self._seconds, start=self._start, end=self._end)
        told = tuple((lane.kind.operation, lane.told) for lane in self._lanes)
        lasted = max(1, min(now, self._end) - self._start) / _NS
        return Result(told, self._seconds, sent if early else planned, lasted, cpu_share, self._ended,
                      self._connected_most)  # fmt: skip

    def _settle(self, now: int) -> None:
        """What has no answer yet is failed; of a load that was stopped by hand, only what is long overdue."""
        overdue = int(self._task.wait * _NS) if self._ended == STOPPED else 0
        for connection in self._connections.under_way():
            if connection.lane is not None and now - connection.sent >= overdue:
                self._failed(connection.lane, connection.due, "timeout", now)

    def _not_served(self, place: int, *, by: int) -> None:
        """Requests that were due by then and that no connection became free for."""
        task = self._task
        due = min(round(task.seconds / task.interval), int(max(0, by - self._start) / (task.interval * _NS)) + 1)
        numbers = np.arange(place, due, task.workers)
        kinds = np.frombuffer(task.order, np.uint8)[numbers % len(task.order)]
        for kind, count in zip(*np.unique(kinds, return_counts=True), strict=True):
            told = self._lanes[kind].told
            told.errors["not-served"] = told.errors.get("not-served", 0) + int(count)
            told.sent += int(count)
        places = (numbers * task.interval).astype(np.int64)
        for second, count in zip(*np.unique(places, return_counts=True), strict=True):
            found = second_at(self._seconds, int(second))
            found.sent += int(count)
            found.errors += int(count)


def _dues(task: Task, start: int) -> Iterator[list[int]]:
    """The instants at which this worker's requests are due, block by block."""
    count, step = round(task.seconds / task.interval), task.interval * _NS
    for first in range(task.worker, count, _BLOCK * task.workers):
        numbers = np.arange(first, min(count, first + _BLOCK * task.workers), task.workers)
        yield (start + (numbers * step).astype(np.int64)).tolist()


def _own(dealt: Sequence[int], task: Task) -> list[int]:
    """What this worker's requests have of what is dealt over and over, in their order."""
    return [dealt[(task.worker + place * task.workers) % len(dealt)] for place in range(len(dealt))]


def _among(count: int, task: Task) -> int:
    """How many of the numbers below `count` are this worker's."""
    return max(0, -(-(count - task.worker) // task.workers))
