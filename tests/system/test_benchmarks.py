"""`make bench-quick`, as small as it gets."""

import json
import subprocess
import sys

from tests.bench.ring import ROOT

RATIOS = {
    "fanout_vs_node_ws",
    "fanout_vs_nchan",
    "small_rooms_vs_node_ws",
    "p50_vs_node_ws",
    "p99_vs_node_ws",
    "cpu_vs_c_send",
    "idle_kib",
    "idle_kib_vs_socketio",
    "connects_vs_socketio",
}
TINY = ["--repeats", "1", "--connections", "50", "--members", "10", "--seconds", "0.2"]


def test_quick_comparison_prints_its_ratios() -> None:
    """Every server starts and is measured, and the last line is JSON with each ratio. How large they are is no test."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "quick", *TINY], cwd=ROOT, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr
    ratios = json.loads(done.stdout.splitlines()[-1])
    assert ratios.keys() == RATIOS
    assert all(isinstance(value, float) for value in ratios.values()), ratios
