"""What a process tells of its own cost."""

import gc
import time
from pathlib import Path

from prometheus_client import REGISTRY

from chassis import process
from tests.bench.clients import eventually


def sample(name: str, **labels: str) -> float:
    """Return the value of a sample, 0 before there was any."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_an_open_file_is_counted(tmp_path: Path) -> None:
    """Each open file is one descriptor more."""
    before = process.open_descriptors()
    with (tmp_path / "one").open("w"), (tmp_path / "two").open("w"):
        assert process.open_descriptors() == before + 2
    assert process.open_descriptors() == before


def test_memory_is_what_the_process_holds() -> None:
    """Memory that is taken is seen: 64 MiB here."""
    before = process.resident_bytes()
    taken = bytearray(b"x") * (64 << 20)
    assert process.resident_bytes() - before > 60 << 20, len(taken)


def test_the_least_limit_of_memory_counts(tmp_path: Path) -> None:
    """A container's limit counts in either form; without one, it is the machine's memory."""
    machine = process.memory_limit_bytes([tmp_path / "not there"])
    limit = tmp_path / "limit"
    for text, expected in (("104857600\n", 104857600), ("max\n", machine), ("9223372036854771712\n", machine)):
        limit.write_text(text)
        assert process.memory_limit_bytes([limit]) == expected
    assert 64 << 20 < machine < 1 << 50


def test_pauses_are_kept_until_they_are_taken() -> None:
    """A collection is kept aside, and handed out once."""
    pauses = process.Pauses()
    gc.callbacks.append(pauses.on_collection)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(pauses.on_collection)
    found = pauses.taken()
    assert found
    assert all(0 < pause < 10 for pause in found)
    assert pauses.taken() == []


async def test_a_blocked_loop_is_seen() -> None:
    """While watched, a loop that stands still for 0.6 s shows as lag, collections as pauses, work as processor time."""
    late = {"le": "0.25"}
    name = "parley_event_loop_lag_seconds"
    cpu, pauses = sample("parley_process_cpu_seconds_total"), sample("parley_gc_pause_seconds_count")
    async with process.watched():
        await eventually(lambda: sample("parley_process_cpu_seconds_total") > cpu, "the first sample")
        slow = sample(f"{name}_count") - sample(f"{name}_bucket", **late)
        gc.collect()
        time.sleep(0.6)  # the blocked loop is what this is about
        await eventually(lambda: sample(f"{name}_count") - sample(f"{name}_bucket", **late) == slow + 1, "the lag")
        await eventually(lambda: sample("parley_gc_pause_seconds_count") > pauses, "the pause")
        assert sample("parley_processes") == 1
        assert sample("parley_process_open_fds") <= sample("parley_process_max_fds")
    assert sample("parley_processes") == 0
