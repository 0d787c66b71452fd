"""Operators' orders, carried out by every worker, each with a receipt."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from streaming.batcher import Batcher
from streaming.errors import BeforehandError, InputError
from streaming.event_queue import Forget
from streaming.exits import Exit, die
from streaming.items import Shop
from streaming.privacy import Pseudonyms
from streaming.records import Control, Receipt

logger = logging.getLogger(__name__)


class Orders:
    """Carries out `forget`, `set_rule` and `switch_model`."""

    def __init__(
        self,
        worker_id: str,
        batcher: Batcher,
        pseudonyms: Pseudonyms,
        *,
        in_model_thread: Callable[..., Awaitable[Any]],
        open_model: Callable[[Path], Shop],
        serve_model: Callable[[Shop], None],
        drop_model: Callable[[Shop], None],
        send: Callable[[Receipt], Awaitable[None]],
    ) -> None:
        self._worker_id = worker_id
        self._batcher = batcher
        self._pseudonyms = pseudonyms
        self._in_model_thread = in_model_thread
        self._open_model, self._serve_model, self._drop_model = open_model, serve_model, drop_model
        self._waiting: set[asyncio.Task[None]] = set()
        self._send = send
        self._assigned = asyncio.Event()
        self._sessions: dict[str, int] = {}
        self._users: dict[str, int] = {}

    async def carry_out(self, order: Control, sent: int) -> None:
        """Do what the order says, or refuse it with the reason; a receipt either way. Doing it twice does no harm.

        Returns once it is done; of a switch that is to take effect later, at once.

        Args:
            sent: when the order was sent, in ms since the epoch.
        """
        if order.action == "switch_model" and order.effective_at is not None and order.effective_at > _now():
            task = asyncio.create_task(self._tell(order, self._do(order, sent)))
            self._waiting.add(task)
            task.add_done_callback(self._ended)
            return
        await self._tell(order, self._do(order, sent))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._waiting.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            die(Exit.BROADCAST, error)  # as where the order is carried out while its topic is read

    async def _tell(self, order: Control, doing: Awaitable[str]) -> None:
        try:
            why, done = await doing, True
        except BeforehandError as exc:
            why, done = str(exc), False
        logger.info("control %s, %s: %s", order.control_id, "done" if done else "refused", why)
        told = Receipt(control_id=order.control_id, done=done, worker=self._worker_id, time=_now(), why=why)
        await self._send(told)

    async def _do(self, order: Control, sent: int) -> str:
        if order.action == "forget":
            return await self._forget(order, sent)
        if order.action == "set_rule":
            if order.rule is None or order.value is None:
                raise InputError("set_rule needs `rule` and `value`; send the order again with both")
            await self._in_model_thread(self._batcher.engine.set_rule, order.rule, order.value)
            return f"{order.rule} = {order.value:g}"
        if order.model is None:
            raise InputError("switch_model needs `model`, a model folder; send the order again with it")
        opened = await asyncio.to_thread(self._open_model, Path(order.model))
        try:
            self._batcher.engine.suited(opened)  # or it is refused now and not when it is to take effect
            if order.effective_at is not None:
                await asyncio.sleep(max(0, order.effective_at - _now()) / 1000)
            before = self._batcher.engine.shop.texts.digest
            await self._in_model_thread(self._serve_model, opened)
        except BaseException:
            self._drop_model(opened)
            raise
        texts = opened.texts.digest
        return f"serving {order.model}" + (
            f", with text encoder {texts} in place of {before}" if texts != before else ""
        )

    async def _forget(self, order: Control, sent: int) -> str:
        if (order.session_id is None) == (order.user_id is None):
            raise InputError("forget needs `session_id` or `user_id`, one of them; send the order again so")
        if order.session_id is not None:
            sessions, users = {self._pseudonyms(order.session_id): sent}, {}
        else:
            sessions, users = {}, {self._pseudonyms(str(order.user_id)): sent}
        self._sessions |= sessions
        self._users |= users
        await self._assigned.wait()
        return f"{await self._forgotten(sessions, users)} sessions forgotten here"

    async def reassigned(self) -> None:
        """Partitions came from elsewhere: their last owner may have gone before it could forget."""
        self._assigned.set()
        if self._sessions or self._users:
            await self._forgotten(self._sessions, self._users)

    async def _forgotten(self, sessions: dict[str, int], users: dict[str, int]) -> int:
        forget = Forget(sessions, users, asyncio.get_running_loop().create_future())
        await self._batcher.queue.put(forget)
        return await forget.done


def _now() -> int:
    """ms since the epoch."""
    return time.time_ns() // 1_000_000
