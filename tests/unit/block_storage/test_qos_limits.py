"""Speed limits of a type: from specs to numbers, from numbers to QEMU's words."""

from __future__ import annotations

from virga.agent.drivers.qemu_throttle import arguments
from virga.services.block_storage.qos_limits import limits


def test_specs_become_numbers() -> None:
    specs = {"total_iops_sec": "500", "read_bytes_sec_max": "1000", "size_iops_sec": "4096", "own:word": "x"}
    assert limits(specs, 1) == {"total_iops_sec": 500, "read_bytes_sec_max": 1000, "size_iops_sec": 4096}


def test_limits_grow_with_the_volume_but_not_below_their_least() -> None:
    specs = {
        "total_iops_sec_per_gb": "10",
        "total_iops_sec_per_gb_min": "50",
        "total_iops_sec_max_per_gb": "20",
    }
    assert limits(specs, 3) == {"total_iops_sec": 50, "total_iops_sec_max": 60}
    assert limits(specs, 30) == {"total_iops_sec": 300, "total_iops_sec_max": 600}


def test_what_is_no_number_is_no_limit() -> None:
    assert limits({"total_iops_sec": "fast", "read_iops_sec": "0"}, 1) == {}


def test_qemu_is_told_in_its_own_words() -> None:
    said = arguments(
        {"total_iops_sec": 5, "write_bytes_sec_max": 7, "write_bytes_sec_max_length": 2, "size_iops_sec": 9}
    )
    assert said == {
        "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 5, "iops_rd": 0, "iops_wr": 0,
        "bps_wr_max": 7, "bps_wr_max_length": 2, "iops_size": 9,
    }  # fmt: skip
