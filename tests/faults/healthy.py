"""Paths that work, one at least in every topology. None of them may be accused."""

from __future__ import annotations

from tests.faults.fault import path

HEALTHY = [
    path(words)
    for words in (
        "web app icmp",
        "web app tcp/22",
        "web vm icmp",
        "web far icmp",
        "far web tcp/22",
        "web near icmp",
        "near web tcp/22",
        "web db tcp/22",
        "db web icmp",
        "db near icmp",
        "web deep icmp",
        "deep web tcp/22",
        "deep db icmp",
        "solo other icmp",
        "other solo tcp/22",
        "outside web tcp/22",
        "outside far icmp",
        "web outside icmp",
        "far outside icmp",
        "near outside icmp",
        "db outside icmp",
        "deep outside icmp",
        "web app icmp v6",
        "web far tcp/22 v6",
        "web db icmp v6",
        "far near tcp/22 v6",
        "web dhcp",
        "far dhcp",
        "deep dhcp",
        "other dhcp",
        "web dns",
        "other dns",
        "web metadata",
        "far metadata",
        "deep metadata",
        "other metadata",
    )
]
