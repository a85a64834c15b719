"""One server process: journal, service and HTTP, from start to a clean end."""

import asyncio
import contextlib
import gc
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from aiohttp import http_parser, web

from banditd.api.app import Api
from banditd.api.listener import HttpServer
from banditd.build import banditd_version, build_id
from banditd.config import Config, check_exposure, diff_reload, merge_reload
from banditd.errors import BanditdError, CannotListen, ConfigError, JournalUnavailable
from banditd.journal.process import JournalProcess, start_journal
from banditd.keys import Keyring
from banditd.logs import get_logger, set_level
from banditd.service import Service

__all__ = ["EXIT_CONFIG", "EXIT_JOURNAL", "serve"]

EXIT_CONFIG: Final = 2
EXIT_JOURNAL: Final = 70  # EX_SOFTWARE: the journal could not be kept alive
_DRAIN_S: Final = 10.0  # how long requests under way may take when the server is told to end
_BACKLOG: Final = 1_024
_GC_YOUNG: Final = 20_000

log = get_logger()


async def serve(config: Config, *, reread: Callable[[], Config]) -> int:
    """Serve until a signal, and return the exit code.

    Parameters
    ----------
    reread
        Reads the configuration anew when SIGHUP comes.
    """
    _require_fast_parser()
    is_new = not config.store_path.exists()
    if not is_new and not config.keyring_path.exists():
        detail = (
            "a store without its keys: new ones are made, but old draws cannot be audited, and users get new pseudonyms"
        )
        log.warning("keys_missing", path=str(config.keyring_path), detail=detail)
    signals = _Signals()
    try:
        async with _journal(config) as process:
            service = Service(config, process.journal, Keyring.load_or_create(config.keyring_path))
            process.watch(service.journal_is_back)
            api = Api(service)
            async with _http(api, config) as address, api.jobs:
                if not await _started(service, signals, process):
                    return EXIT_JOURNAL if process.failed.done() else 0
                _settle_collector()
                log.info(
                    "serving",
                    address=address,
                    store=str(config.store_path.absolute()),
                    new_store=is_new,
                    version=banditd_version(),
                    build=build_id(),
                    pid=os.getpid(),
                )
                code = await _until_told(service, signals, process, reread)
                log.info("stopping")
                service.ending = True
            if code == 0:
                await service.close()
            return code
    except ConfigError as error:
        log.error("config_refused", code=error.code, field=error.field, detail=error.detail)  # noqa: TRY400 - the error says it all
        return EXIT_CONFIG
    except BanditdError as error:
        log.error("start_failed", code=error.code, detail=error.detail)  # noqa: TRY400 - the error says it all
        return EXIT_JOURNAL


@contextlib.asynccontextmanager
async def _journal(config: Config) -> AsyncIterator[JournalProcess]:
    store = config.store
    process = await start_journal(
        config.store_path, durability=store.durability, queue=store.queue, deadline_s=store.deadline_s
    )
    try:
        yield process
    finally:
        await process.stop()


@contextlib.asynccontextmanager
async def _http(api: Api, config: Config) -> AsyncIterator[str]:
    """Listen before the logs are folded, so that liveness can be asked; readiness comes later."""
    server = config.server
    runner = web.ServerRunner(
        HttpServer(api, access_log=None, auto_decompress=False, keepalive_timeout=server.keepalive_s),
        shutdown_timeout=_DRAIN_S,
    )
    await runner.setup()
    try:
        if server.uds:
            try:
                await web.UnixSite(runner, server.uds, backlog=_BACKLOG).start()
            except OSError as error:
                raise CannotListen("cannot_listen", f"{server.uds} cannot be listened on: {error.strerror}") from None
            address = f"unix:{server.uds}"
        else:
            site = web.TCPSite(runner, server.host, server.port, backlog=_BACKLOG)
            try:
                await site.start()
            except OSError as error:
                detail = f"{server.host}:{server.port} cannot be listened on: {error.strerror or error}"
                raise CannotListen("cannot_listen", detail) from None
            host, port = runner.addresses[0][:2]
            address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        yield address
    finally:
        await runner.cleanup()
        if server.uds:
            _remove(server.uds)


class _Signals:
    """What the process is told from outside, from its first moment on."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.end = asyncio.Event()
        self.reload = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.end.set)
        loop.add_signal_handler(signal.SIGHUP, self.reload.set)


async def _started(service: Service, signals: _Signals, process: JournalProcess) -> bool:
    """Fold the logs; return False if the process was told to end, or lost its journal, before that was done."""
    start = asyncio.create_task(service.start(), name="start")
    await _first_of(start, signals.end.wait(), process.failed)
    if not start.done():
        start.cancel()
        await asyncio.gather(start, return_exceptions=True)
        return False
    start.result()
    return True


async def _until_told(
    service: Service, signals: _Signals, process: JournalProcess, reread: Callable[[], Config]
) -> int:
    async def reload_when_wanted() -> None:
        while True:
            await signals.reload.wait()
            signals.reload.clear()
            await _reload(service, reread)

    await _first_of(process.failed, signals.end.wait(), reload_when_wanted())
    if process.failed.done():
        log.critical("journal_failed", detail=process.failed.result())
        return EXIT_JOURNAL
    return 0


async def _first_of(future: "asyncio.Future[Any]", *others: Coroutine[Any, Any, Any] | asyncio.Future[Any]) -> None:
    """Wait for the first of these to be done, and cancel those that were started here."""
    started = [asyncio.ensure_future(other) for other in others if asyncio.iscoroutine(other)]
    waited = {future, *started, *(other for other in others if isinstance(other, asyncio.Future))}
    try:
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in started:
            task.cancel()
        await asyncio.gather(*started, return_exceptions=True)


async def _reload(service: Service, reread: Callable[[], Config]) -> None:
    """Take over what can be taken over of the configuration as it is now, and say what cannot."""
    try:
        wanted = reread()
        taken, needs_restart = diff_reload(service.config, wanted)
        config = merge_reload(service.config, wanted)
        check_exposure(config)
        set_level(config.log.level)
        await service.apply(config)
    except JournalUnavailable as error:
        log.warning("reload_waits", code=error.code, detail=f"{error.detail}; it is tried again until it is done")
        return
    except BanditdError as error:
        log.error("reload_refused", code=error.code, field=error.field, detail=error.detail)  # noqa: TRY400 - the error says it all
        return
    except Exception:  # a fault of ours: the server goes on by the configuration it has
        log.exception("reload_failed")
        return
    log.info("reloaded", taken=taken, needs_restart=needs_restart)


def _remove(path: str) -> None:
    Path(path).unlink(missing_ok=True)


def _settle_collector() -> None:
    """Leave what will live for ever out of the garbage collector's rounds, and let it come round less often.

    A request makes some hundred containers and no cycles: collecting every 700 of them took 4 % of the time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_YOUNG, 20, 100)


def _require_fast_parser() -> None:
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        log.warning("slow_http_parser", detail="aiohttp runs without its C parser: half the speed")
