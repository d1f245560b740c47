"""Which route the kernel would take, by what `ip route` and `ip rule` print."""

from __future__ import annotations

from virga.trace.kernel_routes import decide, lookup, parse

ROUTES = parse(
    [
        "default via 172.24.4.1 dev qg-1 proto static",
        "10.1.0.0/24 dev qr-1 proto kernel scope link src 10.1.0.1",
        "10.2.0.0/24 dev qr-2 proto kernel scope link src 10.2.0.1",
        "blackhole 10.2.0.7",
        "10.3.0.0/24 proto static",
        "\tnexthop via 10.2.0.8 dev qr-2 weight 1",
        "\tnexthop via 10.2.0.9 dev qr-2 weight 1",
        "fd00:1::/64 dev qr-1 proto kernel metric 256 pref medium",
        "default via fe80::1 dev qg-1 metric 1024 pref medium",
        "10.9.0.0/16 dev qr-9 table 10",
    ]
)


def found(address: str) -> tuple[str, tuple[str, ...], str]:
    route = lookup(ROUTES, address)
    assert route is not None
    return route.device, route.via, route.kind


def test_the_longest_prefix_of_the_main_table_is_taken() -> None:
    assert found("10.1.0.9") == ("qr-1", (), "")
    assert found("10.2.0.7") == ("", (), "blackhole")
    assert found("8.8.8.8") == ("qg-1", ("172.24.4.1",), "")
    assert found("10.9.0.1") == ("qg-1", ("172.24.4.1",), "")
    assert found("10.3.0.1")[1] == ("10.2.0.8", "10.2.0.9")


def test_families_do_not_mix() -> None:
    assert found("fd00:1::5") == ("qr-1", (), "")
    assert found("2001:db8::1") == ("qg-1", ("fe80::1",), "")
    assert lookup(parse(["default via 172.24.4.1 dev qg-1"]), "2001:db8::1") is None
    assert lookup([], "10.0.0.1") is None


def test_policies_decide_in_order() -> None:
    lines = [
        "0: from all lookup local",
        "5: from 10.1.0.3 to 10.2.0.0/24 prohibit",
        "6: from all fwmark 0x9 lookup 99",
        "7: from all to 10.1.0.9 iif qr-2 lookup 77",
        "32766: from all lookup main",
    ]
    routes = [*parse(["default via 10.1.0.5 dev qr-5 table 77"]), *parse(["10.1.0.0/24 dev qr-1"])]
    assert decide(routes, lines, "10.1.0.3", "10.2.0.4") == (lines[1], None)
    assert decide(routes, lines, "10.1.0.4", "10.2.0.4") == ("", None)
    policy, route = decide(routes, lines, "10.1.0.4", "10.1.0.9", "qr-2")
    assert (policy, route and route.device) == (lines[3], "qr-5")
    policy, route = decide(routes, lines, "10.1.0.4", "10.1.0.9", "qr-3")
    assert (policy, route and route.device) == ("", "qr-1")
    assert decide(routes, [], "10.1.0.4", "10.1.0.9") == ("", route)
