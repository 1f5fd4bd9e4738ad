"""Rows that are more than one load on each server: a storm, a slow client, two rooms, durable messages."""

import dataclasses
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

from benchmarks.generator import Failed, Figures, Load, Work
from benchmarks.ours import Parley
from benchmarks.servers import Server
from benchmarks.session import Measured, Session

STORM = Work(10_000, rooms=1000, concurrency=512)
STAYING = Work(1000, rooms=1000, senders=1000, rate=200, seconds=15, warm=2, settle=10)
OTHERS = Work(50, senders=10, rate=400, payload=1000, seconds=8, warm=1, settle=3)
WITH_SILENT = dataclasses.replace(OTHERS, clients=51, silent=1)
LARGE = Work(5000, senders=4, rate=4, seconds=10, warm=1)
SMALL = Work(5, senders=5, rate=20, seconds=7, warm=1, settle=1)
SMALL_NAME = "7"
"""The large room is called 0."""
DURABLE_ROOMS = 200
OFFERED = Work(400, rooms=DURABLE_ROOMS, senders=200, rate=500, seconds=8, warm=2, settle=3)
SATURATED = Work(400, rooms=DURABLE_ROOMS, senders=200, seconds=8, warm=2, settle=3)
BUSY = Work(400, rooms=40, senders=200, seconds=8, warm=3, settle=3)


def storm(session: Session) -> dict[str, list[Measured]]:
    """Cut many connections off at once while others stay."""
    session.warm()
    return session.interleaved("storm", _storm)


def _storm(server: Server) -> Measured:
    assert isinstance(server, Parley)
    assert server.idle is not None
    crowd = Load(server.returning, STORM, hold=True, yielding=True)
    others = Load(server.idle, STAYING)
    with ThreadPoolExecutor(1) as pool:
        staying = pool.submit(others.measure, server.groups)
        time.sleep(STAYING.warm)  # until what they hear counts
        seconds, returns = crowd.cut()
        heard = staying.result()
    crowd.release()
    return {
        "back_s": seconds,
        "back_p50_s": returns.p50_ms / 1000,
        "others_p50_ms": heard.deliveries.p50_ms,
        "others_p99_ms": heard.deliveries.p99_ms,
        "others_missed": heard.owed - heard.arrived,
    }


def slow(session: Session) -> dict[str, list[Measured]]:
    """Have one client never read."""
    session.warm()
    found: dict[str, list[Measured]] = {}
    for label, work in (("alone", OTHERS), ("beside one that never reads", WITH_SILENT)):
        for name, runs in session.interleaved(label, _heard_by_others(work)).items():
            found[f"{name}, {label}"] = runs
    return dict(sorted(found.items(), key=lambda item: list(session.running).index(item[0].partition(",")[0])))


def _heard_by_others(work: Work) -> Callable[[Server], Measured]:
    def measure(server: Server) -> Measured:
        figures = Load(server.template, work).measure(server.groups)
        return {
            "delivered_percent": 100 * figures.arrived / figures.owed,
            "p50_ms": figures.deliveries.p50_ms,
            "p99_ms": figures.deliveries.p99_ms,
            "grown_mib": figures.grown_kib["server"] / 1024,
        }

    return measure


def beside(session: Session) -> dict[str, list[Measured]]:
    """Have a small room talk beside a large one."""
    session.warm()
    return session.interleaved("beside", _beside)


def _beside(server: Server) -> Measured:
    large = Load(server.template, LARGE, yielding=True)
    with ThreadPoolExecutor(1) as pool:
        crowd = pool.submit(large.measure, server.groups)
        small = Load(dataclasses.replace(server.template, names=[SMALL_NAME]), SMALL).measure(server.groups)
        figures = crowd.result()
    if small.deliveries.count == 0 or figures.deliveries.count == 0:
        raise Failed("nothing was delivered")
    return {
        "small_p50_ms": small.deliveries.p50_ms,
        "small_p99_ms": small.deliveries.p99_ms,
        "large_p50_ms": figures.deliveries.p50_ms,
        "large_p99_ms": figures.deliveries.p99_ms,
    }


def durable(session: Session) -> dict[str, list[Measured]]:
    """Send messages that are answered when they are on disk: at a rate, and as many as there is room for."""
    server = next(iter(session.running.values()), None)
    if server is None:
        return {}
    assert isinstance(server, Parley)
    template = server.durable(DURABLE_ROOMS)
    found: dict[str, list[Measured]] = {}
    for label, work in (("500/s offered", OFFERED), ("saturated, 200 under way", SATURATED)):

        def measure(server: Server, work: Work = work) -> Measured:
            assert isinstance(server, Parley)
            return _acknowledged(Load(template, work).measure(server.parts))

        for runs in session.interleaved(label, measure).values():
            found[label] = runs
    return found


def processes(session: Session) -> dict[str, list[Measured]]:
    """Have five talk at once in each of some rooms, with one process of the chat service and with two."""
    server = next(iter(session.running.values()), None)
    if server is None:
        return {}
    assert isinstance(server, Parley)
    template = server.durable(BUSY.rooms)
    session.running = {name: dataclasses.replace(server, name=name) for name in ("one process", "two")}

    def measure(one: Server) -> Measured:
        with server.another_chat() if one.name == "two" else nullcontext():
            return _acknowledged(Load(template, BUSY).measure(server.parts))

    return session.interleaved("busy rooms", measure)


def _acknowledged(figures: Figures) -> Measured:
    answered = figures.replies.count
    if answered == 0:
        raise Failed("nothing was acknowledged")
    if min(figures.cpu.values()) < 0:
        # Processor time is summed over the threads that live; one that ended took its share along.
        raise Failed("a thread ended while it was measured: take the row again")
    return {
        "acknowledged_per_s": answered / figures.seconds,
        "ack_p50_ms": figures.replies.p50_ms,
        "ack_p99_ms": figures.replies.p99_ms,
        "heard_p99_ms": figures.deliveries.p99_ms,
        "refused": figures.refused,
        "gateway_us": 1e6 * figures.cpu["server"] / answered,
        "chat_us": 1e6 * figures.cpu["chat"] / answered,
        "nats_us": 1e6 * figures.cpu["broker"] / answered,
        "generator_cores": figures.generator_cores,
    }
