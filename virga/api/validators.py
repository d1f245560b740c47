"""Checks and conversions of attribute values, with the sentences that OpenStack's Network API says.

A validator takes the value from the wire and gives the value to keep, or raises Invalid with the
reason; the resource layer adds which attribute it was.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from virga.lib.ids import is_uuid_like

Validator = Callable[[Any], Any]

MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z", re.IGNORECASE)
NAME_LENGTH = 255
INT32 = 2**31 - 1


class Invalid(ValueError):
    """A value that an attribute cannot have; the text is the reason."""


def anything(value: Any) -> Any:
    return value


def boolean(value: Any) -> bool:
    """true, false, 1, 0 and their texts."""
    if isinstance(value, str):
        lowered = value.lower()
        if lowered in ("true", "1"):
            return True
        if lowered in ("false", "0"):
            return False
    elif isinstance(value, bool):
        return value
    elif isinstance(value, int) and value in (0, 1):
        return bool(value)
    raise Invalid(f"'{value}' cannot be converted to boolean")


def integer(value: Any) -> int:
    try:
        if isinstance(value, bool) or (isinstance(value, float) and value != int(value)):
            raise ValueError
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise Invalid(f"'{value}' is not an integer") from None


def between(low: int | None, high: int | None) -> Validator:
    """An integer from ``low`` to ``high``; what no column can hold is too large in any case."""
    high = INT32 if high is None else high

    def check(value: Any) -> int:
        number = integer(value)
        if low is not None and number < low:
            raise Invalid(f"'{number}' is too small - must be at least '{low}'")
        if number > high:
            raise Invalid(f"'{number}' is too large - must be no larger than '{high}'")
        return number

    return check


def text(max_length: int | None = NAME_LENGTH) -> Validator:
    def check(value: Any) -> str:
        if not isinstance(value, str):
            raise Invalid(f"'{value}' is not a valid string")
        if max_length is not None and len(value) > max_length:
            raise Invalid(f"'{value}' exceeds maximum length of {max_length}")
        return value

    return check


def filled_text(max_length: int | None = NAME_LENGTH) -> Validator:
    plain = text(max_length)

    def check(value: Any) -> str:
        result = str(plain(value))
        if not result.strip():
            raise Invalid(f"'{value}' Blank strings are not permitted")
        return result

    return check


def one_of(values: Sequence[Any]) -> Validator:
    def check(value: Any) -> Any:
        if isinstance(value, list | dict) or value not in values:
            raise Invalid(f"'{value}' is not in {values}")
        return value

    return check


def or_none(validator: Validator) -> Validator:
    return lambda value: None if value is None else validator(value)


def none_to(replacement: Any, validator: Validator) -> Validator:
    """An explicit null means ``replacement`` (a fresh copy of a list or dictionary)."""

    def check(value: Any) -> Any:
        if value is None:
            return type(replacement)(replacement) if isinstance(replacement, list | dict) else replacement
        return validator(value)

    return check


def uuid(value: Any) -> str:
    if not is_uuid_like(value):
        raise Invalid(f"'{value}' is not a valid UUID")
    return str(value)


def mac_address(value: Any) -> str:
    """Six bytes, neither multicast by accident nor zero; lower case."""
    if not isinstance(value, str) or not MAC.match(value.replace("-", ":")) or value == "00:00:00:00:00:00":
        raise Invalid(f"'{value}' is not a valid MAC address")
    return value.replace("-", ":").lower()


def ip_address(value: Any) -> str:
    """An address in canonical text."""
    try:
        if not isinstance(value, str) or "/" in value:
            raise ValueError
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise Invalid(f"'{value}' is not a valid IP address") from None


def cidr(value: Any) -> str:
    """A subnet in canonical text: host bits are dropped, as Neutron drops them."""
    try:
        if not isinstance(value, str):
            raise ValueError
        interface = ipaddress.ip_interface(value)
    except ValueError:
        raise Invalid(f"'{value}' is not a valid IP subnet") from None
    network = interface.network
    if "/" not in value:
        raise Invalid(f"'{value}' isn't a recognized IP subnet cidr, '{network}' is recommended")
    return str(network)


def list_of(validator: Validator, unique: bool = True) -> Validator:
    def check(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise Invalid(f"'{value}' is not a list")
        result = [validator(item) for item in value]
        if unique and len({str(item) for item in result}) != len(result):
            raise Invalid(f"Duplicate items in the list: '{', '.join(str(item) for item in value)}'")
        return result

    return check


def mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Invalid(f"'{value}' is not a dictionary")
    return value


def mapping_of(keys: Mapping[str, Validator], required: Sequence[str] = (), closed: bool = True) -> Validator:
    """A dictionary whose values are checked one by one."""

    def check(value: Any) -> dict[str, Any]:
        mapping(value)
        missing = [key for key in required if key not in value]
        if missing:
            raise Invalid(
                f"Validation of dictionary's keys failed. Expected keys: {sorted(required)} "
                f"Provided keys: {sorted(value)}"
            )
        if closed and (extra := sorted(key for key in value if key not in keys)):
            raise Invalid(f"Unexpected keys supplied: {', '.join(map(str, extra))}")
        return {key: keys[key](item) if key in keys else item for key, item in value.items()}

    return check


def _shaped(value: Any, what: str, keys: Mapping[str, Validator], required: Sequence[str]) -> dict[str, Any]:
    if (
        not isinstance(value, dict)
        or set(value) - set(keys)
        or any(key not in value for key in required)
        or not value
    ):
        raise Invalid(f"Invalid data format for {what}: '{value}'")
    return {key: keys[key](item) for key, item in value.items() if item is not None or key in required}


def allocation_pools(value: Any) -> list[dict[str, str]]:
    if not isinstance(value, list):
        raise Invalid(f"Invalid data format for IP pool: '{value}'")
    result = []
    for pool in value:
        if not isinstance(pool, dict) or set(pool) != {"start", "end"}:
            raise Invalid(f"Invalid data format for IP pool: '{pool}'")
        result.append({key: ip_address(pool[key]) for key in ("start", "end")})
    return result


def host_routes(value: Any) -> list[dict[str, str]]:
    if not isinstance(value, list):
        raise Invalid(f"Invalid data format for hostroute: '{value}'")
    result: list[dict[str, str]] = []
    for route in value:
        if not isinstance(route, dict) or set(route) != {"destination", "nexthop"}:
            raise Invalid(f"Invalid data format for hostroute: '{route}'")
        item = {"destination": cidr(route["destination"]), "nexthop": ip_address(route["nexthop"])}
        if item in result:
            raise Invalid(f"Duplicate hostroute '{route}'")
        result.append(item)
    return result


def nameservers(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise Invalid(f"Invalid data format for nameserver: '{value}'")
    result: list[str] = []
    for host in value:
        try:
            address = ip_address(host)
        except Invalid as problem:
            raise Invalid(f"'{host}' is not a valid nameserver. {problem}") from None
        if address in result:
            raise Invalid(f"Duplicate nameserver '{host}'")
        result.append(address)
    return result


def fixed_ips(value: Any) -> list[dict[str, str]]:
    """``[{"subnet_id", "ip_address"}]``, either or both of them, no address twice."""
    if not isinstance(value, list):
        raise Invalid(f"Invalid data format for fixed IP: '{value}'")
    result: list[dict[str, str]] = []
    for fixed in value:
        if not isinstance(fixed, dict):
            raise Invalid(f"Invalid data format for fixed IP: '{fixed}'")
        item: dict[str, str] = {}
        for key, inner in fixed.items():
            if key == "ip_address":
                if inner is not None:
                    item[key] = ip_address(inner)
            elif key == "subnet_id":
                item[key] = uuid(inner)
        if "ip_address" in item and any(
            other.get("ip_address") == item["ip_address"] and other.get("subnet_id") == item.get("subnet_id")
            for other in result
        ):
            raise Invalid(f"Duplicate IP address '{fixed['ip_address']}'")
        result.append(item)
    return result


def routes(value: Any) -> list[dict[str, str]]:
    """Extra routes of a router."""
    return host_routes(value)


_DNS_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)\Z", re.IGNORECASE)


def dns_name(value: Any) -> str:
    """A relative or full DNS name, or nothing; lower case."""
    name = str(text(NAME_LENGTH)(value)).lower()
    if not name:
        return ""
    stripped = name[:-1] if name.endswith(".") else name
    for label in stripped.split("."):
        if not label:
            raise Invalid(f"'{value}' not a valid PQDN or FQDN. Reason: Encountered an empty component.")
        if label[0] == "-" or label[-1] == "-":
            raise Invalid(
                f"'{value}' not a valid PQDN or FQDN. Reason: Name '{label}' must not start or end "
                "with a hyphen."
            )
        if not _DNS_LABEL.match(label):
            raise Invalid(
                f"'{value}' not a valid PQDN or FQDN. Reason: Name '{label}' must be 1-63 characters "
                "long, each of which can only be alphanumeric or a hyphen."
            )
    return name


def dns_domain(value: Any) -> str:
    """A full domain name that ends with a dot, or nothing; lower case."""
    name = dns_name(value)
    if name and not name.endswith("."):
        raise Invalid(f"'{value}' is not a FQDN")
    return name


def tags(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise Invalid(f"'{value}' is not a list")
    for tag in value:
        filled_text(NAME_LENGTH)(tag)
    return list(dict.fromkeys(value))
