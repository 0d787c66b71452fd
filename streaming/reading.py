"""Reading with Faust so that nothing is skipped: every override of its consumer, with the reason.

Stock faust-streaming 0.15.3 loses events at ordinary rebalances. After a recovery it resumes the source partitions,
then awaits a seek, then clears the stream queues: what was fetched in between is gone, and later offsets are
acknowledged over the hole. Here source partitions are held back until all of that is over, a gate checks that each
offset comes exactly once and in order, and another that it is acknowledged so.

What a message costs in Faust, 80 us in objects, sensors and queues, is paid once for a piece of a partition: the
records that a fetch brought travel through Faust together, and are taken apart by the agent.

This file and `streaming.writing` are the only ones that touch private parts of Faust and aiokafka.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode.utils.futures import notify

from streaming.event_queue import Received
from streaming.exits import Exit, die
from streaming.turns import Turns

logger = logging.getLogger(__name__)

FETCH_WAIT_MS = 100
"""How long a broker may keep a fetch open when it has nothing. Faust has 1,500 hard-coded, and the requests for end
offsets that a recovery makes wait behind it."""

IDLE_SLEEP_S = 0.02
"""Pause of the drain loop while no partition is active, or enough waits. Faust: 1 s."""

YIELD_EVERY = 100
"""Messages delivered before other tasks get the loop."""

PIECE = 64
"""Records of a source partition that go through Faust as one message, at most."""
PIECES_AHEAD = 8
"""Such messages that wait for an agent before no more are fetched."""


class ActivePartitions(Collection[Any]):
    """The partitions to fetch from, as aiokafka's `fetched_records` must see them: empty means none.

    There the check is `if partitions and tp not in partitions`, so that an empty set returns, and drops, everything.
    """

    def __init__(self, active: Collection[Any]) -> None:
        self._active = active

    def __bool__(self) -> bool:
        return True

    def __contains__(self, tp: object) -> bool:
        return tp in self._active

    def __iter__(self) -> Any:
        return iter(self._active)

    def __len__(self) -> int:
        return len(self._active)


class FetchThread(driver.AIOKafkaConsumerThread):
    """The thread that owns the aiokafka consumer."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer

    async def on_start(self) -> None:
        await super().on_start()
        fetcher = self._consumer._fetcher
        fetcher._proc_fetch_request = self.consumer.turns.taken(fetcher._proc_fetch_request)

    async def getmany(self, active_partitions: Any, timeout: float) -> Any:
        """As Faust's, whose queue of methods makes four tasks for each."""
        consumer = self._ensure_consumer()
        records = self._fetch_records(consumer, active_partitions, timeout, consumer._max_poll_records)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(records, self.thread_loop))

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: Any,
        timeout: float | None = None,
        max_records: int | None = None,
    ) -> Any:
        active = ActivePartitions(active_partitions)
        return await super()._fetch_records(consumer, active, timeout=timeout, max_records=max_records)


class HeldConsumer(driver.Consumer):
    """Faust's consumer, with its source partitions held back until `release`, and a gate for their offsets."""

    source_topics: frozenset[str] = frozenset()
    """The topics whose events change the state; set by the app before it starts."""
    state_topic: str = ""
    """The changelog that goes with them."""
    lost_to_retention: int = 0
    """Offsets that the broker had deleted before they were read."""

    _revoking = True
    _holding = True
    _held: frozenset[Any] = frozenset()
    _expected: dict[Any, int] = {}  # noqa: RUF012 - replaced as a whole, never changed in place
    _done: dict[Any, int] = {}  # noqa: RUF012 - as `_expected`
    _pieces: defaultdict[Any, deque[Any]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pieces = defaultdict(deque)
        self.turns = Turns(self.flowing)

    def _new_consumer_thread(self) -> FetchThread:
        return FetchThread(self, loop=self.loop, beacon=self.beacon)

    # ------------------------------------------------------------------------------------------------ holding back
    async def on_partitions_revoked(self, revoked: Any) -> None:
        self._revoking, self._held = True, frozenset()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: Any, generation_id: int = 0) -> None:
        self._revoking, self._holding = False, True
        self._held, self._expected, self._done = frozenset(), {}, {}
        for pieces in self._pieces.values():  # of the older assignment: what is left of them is read again
            self._unacked_messages.difference_update(pieces)
        self._pieces.clear()
        await super().on_partitions_assigned(assigned, generation_id)

    def resume_partitions(self, tps: Any) -> None:
        """Hold source partitions back; let all others (the changelog's, while it is recovered) through."""
        if self._holding or self._revoking:
            source = frozenset(tp for tp in tps if tp.topic in self.source_topics)
            self._held |= source
            tps = set(tps) - source
        super().resume_partitions(tps)

    def release(self) -> None:
        """Let the source partitions flow, once recovery, seek and the clearing of the queues are over.

        Only those of which this worker has every source topic and the state: while one member's subscription differs,
        the assignor gives them to different workers.
        """
        have, state = self.assignment(), self.owned_partitions()
        source = {tp for tp in have if tp.topic in self.source_topics}
        if (
            self._revoking or not self._holding or not source <= self._expected.keys()
        ):  # the last: it was not sought yet
            return
        self._holding = False
        ready = {
            tp
            for tp in self._held & have
            if tp.partition in state and all(TP(topic, tp.partition) in have for topic in self.source_topics)
        }
        if ready != source:
            logger.warning("held back until the next rebalance, state elsewhere: %s", sorted(self._held - ready))
        super().resume_partitions(ready)

    def owned_partitions(self) -> set[int]:
        """The partitions whose state is this worker's: active, not standby."""
        return {tp.partition for tp in self.app.assignor.assigned_actives() if tp.topic == self.state_topic}

    # -------------------------------------------------------------------------------------------------------- gate
    def admit(self, message: Any) -> list[Received]:
        """Those of the message's records that come next in their partition, without those that were read before in this
        assignment. A message of an older one is forgotten, never acknowledged: its offsets are read again.

        A hole ends the process: what lies in it would be committed unread.
        """
        expected, generation = self._expected.get(message.tp), message.generation_id
        if expected is None or generation != self.app.consumer_generation_id or message.offset < expected:
            self._unacked_messages.discard(message)
            return []
        admitted = []
        for record in message.value:
            if record.offset > expected:
                die(Exit.HOLE, f"{message.tp}: expected offset {expected}, got {record.offset}")
            if record.offset == expected:
                admitted.append(Received(record, generation))
                expected += 1
        self._expected[message.tp] = expected
        self._pieces[message.tp].append(message)
        return admitted

    def acknowledge(self, received: Sequence[Received]) -> None:
        """These records need not be read again. Each must follow the one acknowledged before it in its partition, or
        the process ends."""
        places = set()
        for each in received:
            record = each.message
            place = record.topic, record.partition  # equals Faust's TP
            if record.offset != self._done.get(place):
                die(Exit.HOLE, f"{place}: {record.offset} is done, expected {self._done.get(place)}")
            self._done[place] = record.offset + 1
            self._acked[TP(*place)].append(record.offset)
            places.add(place)
        for place in places:
            pieces = self._pieces[place]
            while pieces and pieces[0].offset < self._done[place]:
                self._unacked_messages.discard(pieces.popleft())
        notify(self._waiting_for_ack)  # whoever waits until all is done, before a rebalance

    def fetch(self) -> None:
        """What was read is decided: fetch what has come since."""
        self.turns.give()

    def _new_offset(self, tp: Any) -> int | None:
        """What may be committed: all that is acknowledged, for it is so in order. Faust sorts it and looks for gaps."""
        acked = self._acked.pop(tp, None)
        return acked[-1] + 1 if acked else None

    def committed(self, topic: str, partition: int) -> int | None:
        """The offset from which the partition would be read again, as last committed in this assignment."""
        offset: int | None = self._committed_offset.get(TP(topic, partition))
        return offset

    def uncommitted(self) -> int:
        """Records acknowledged and not committed yet."""
        return sum(len(offsets) for tp, offsets in self._acked.items() if tp.topic in self.source_topics)

    def flowing(self) -> bool:
        """True once the source partitions of this assignment were released."""
        return not (self._revoking or self._holding)

    def caught_up(self, topic: str, partition: int) -> bool:
        """True if every record of the partition that the broker has told of was let through the gate."""
        tp = TP(topic, partition)
        end, expected = self.highwater(tp), self._expected.get(tp)
        return end is not None and expected is not None and expected >= end

    def unread(self) -> dict[tuple[str, int], int]:
        """Records of the source partitions that this worker owns and has not read yet, by topic and partition."""
        behind = {}
        for tp, expected in self._expected.items():
            end = self.highwater(tp)
            if end is not None:
                behind[(tp.topic, tp.partition)] = max(0, end - expected)
        return behind

    async def perform_seek(self) -> None:
        """Seek to what is committed, else to the beginning; remember what must come first.

        A late call, made while the flow is stopped, would move the read offset back under events in flight: ignored.
        aiokafka does not seek a partition that is committed at none or 0, so these are sought here. Where retention has
        deleted what was committed, reading goes on from the first offset that is left, counted and logged. Where
        another assignment came meanwhile, nothing is remembered: it seeks itself, and until then nothing may flow.
        """
        if not self.flow_active:
            return
        assigned = self._expected
        await super().perform_seek()
        source = [tp for tp in self.assignment() if tp.topic in self.source_topics]
        if not source:
            return
        beginning = await self._thread.earliest_offsets(*source)
        expected, moved = {}, {}
        for tp in source:
            committed, first = self._committed_offset.get(tp), beginning[tp]
            if committed and committed < first:
                self.lost_to_retention += first - committed
                logger.error("%s: offsets %d to %d were deleted by retention unread", tp, committed, first - 1)
                self._committed_offset[tp] = first  # else Faust waits for ever for the offsets in between
            expected[tp] = max(committed or 0, first)
            if expected[tp] != committed:
                moved[tp] = expected[tp]
        if moved:
            await self._thread.seek_wait(moved)
        if self._expected is assigned:
            self._expected, self._done = expected, dict(expected)

    # ------------------------------------------------------------------------------------------------------- drain
    async def _drain_messages(self, fetcher: Any) -> None:
        """Faust's loop from the broker to the streams, with the common case taken straight.

        Stock, each message goes through `wait_first`, four tasks: two thirds of Faust's CPU per event. When the flow is
        on and every queue has room the callback cannot block, so it is awaited directly; else the stock way. Nothing is
        fetched while agents have enough: what waits is bounded in records.
        """
        deliver = self._direct_delivery()
        since_yield = 0
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):
                if self.flow_active and (not self._get_active_partitions() or self._enough_waits()):
                    await asyncio.sleep(IDLE_SLEEP_S)
                    continue
                records, active = await self._wait_next_records(1.0)
                if self.should_stop:
                    continue
                for tp, message in self._messages(records or {}, active):
                    since_yield += 1
                    if since_yield > YIELD_EVERY:
                        await asyncio.sleep(0)
                        since_yield = 0
                    read = self._read_offset[tp]
                    if read is not None and message.offset < read:
                        continue
                    if not await deliver(message):
                        await self.wait_first(self.callback(message), self.suspend_flow.wait())
                    self._read_offset[tp] = message.offset
        except self.consumer_stopped_errors:
            if not self.transport.app.should_stop:
                raise
        except asyncio.CancelledError:
            if not self.transport.app.should_stop:
                raise

    def _enough_waits(self) -> bool:
        return any(
            channel.queue.qsize() >= PIECES_AHEAD
            for name in self.source_topics
            for channel in self.app.topics._topic_name_index[name]
        )

    def _messages(self, records: Mapping[Any, Sequence[Any]], active: Any) -> Iterator[tuple[Any, Any]]:
        """What was fetched, as long as the flow is on and the assignment stays; those of source partitions in pieces.

        Stock, each record is asked for the partition's end, and for the assignment.
        """
        generation = self.app.consumer_generation_id
        for tp, found in records.items():
            if tp not in active and tp not in self._buffered_partitions:
                continue
            if tp.topic in self.source_topics:
                messages = (self._piece(tp, found[start : start + PIECE]) for start in range(0, len(found), PIECE))
            else:
                messages = (self._to_message(tp, record) for record in found)
            for message in messages:
                if not self.flow_active or self.app.consumer_generation_id != generation:
                    return
                yield tp, message

    def _piece(self, tp: Any, records: Sequence[Any]) -> Any:
        """Records that follow each other as one message, at the offset of the last."""
        message = self._to_message(tp, records[-1])
        message.key, message.value, message.headers = None, records, None
        return message

    def _direct_delivery(self) -> Callable[[Any], Any]:
        app = self.app
        flow_active, buffer = app.flow_control.is_active, app.producer.buffer
        channels, callbacks = app.topics._tp_index, app.topics._tp_to_callback

        async def deliver(message: Any) -> bool:
            if (
                self.flow_active
                and flow_active()
                and buffer.size <= buffer.max_messages
                and not any(channel.queue.full() for channel in channels[message.tp])
            ):
                await callbacks[message.tp](message)
                return True
            return False

        return deliver
