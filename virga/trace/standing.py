"""How the objects on a path stand in the database: instances that do not run, ports in error, who changed what when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from msgspec.structs import replace as with_fields

from virga.contract.explain import Change, Explanation, Hop, Ref, Verdict
from virga.db.tx import Tx
from virga.desired import objects, record
from virga.lib.clock import iso_seconds
from virga.trace.model import End, Finding, Leg, Path
from virga.trace.world import World

RUNS = ("active", "rescued")
START = {
    "paused": "openstack server unpause",
    "suspended": "openstack server resume",
    "shelved": "openstack server unshelve",
    "shelved_offloaded": "openstack server unshelve",
}


def judge(
    tx: Tx, world: World, path: Path, ends: tuple[End, End] | None, intent: Finding | None
) -> Finding | None:
    """Something that stands in the way whatever the rules say; else what was found before."""
    for end in ends or ():
        found = _instance(tx, end)
        if found is not None:
            return found
    if intent is not None and intent.code in ("PORT_UNBOUND", "PORT_DOWN"):
        return _unbound_instance(tx, world, intent) or intent
    return _networks(tx, path) or intent or _ports(tx, path)


def _instance(tx: Tx, end: End) -> Finding | None:
    port = end.port
    if port is None or not port.device_owner.startswith("compute:"):
        return None
    return _not_running(tx, port.device_id)


def _not_running(tx: Tx, server_id: str) -> Finding | None:
    stands = objects.standings(tx, [("server", server_id)]).get(("server", server_id))
    if stands is None or stands.status in RUNS:
        return None
    return Finding(
        "INSTANCE_DOWN",
        f"The instance does not run: its state is {stands.status}.",
        Ref(kind="server", id=server_id, name=stands.name, host=stands.host),
        f"{START.get(stands.status, 'openstack server start')} {server_id}",
        step=-1,
    )


def _unbound_instance(tx: Tx, world: World, intent: Finding) -> Finding | None:
    """A port of an instance that is nowhere because the instance is."""
    fact = world.ports.get(intent.culprit.id) if intent.culprit else None
    if fact is None or not fact.device_owner.startswith("compute:"):
        return None
    return _not_running(tx, fact.device_id)


def _networks(tx: Tx, path: Path) -> Finding | None:
    ids = dict.fromkeys(step.network.key for step in path.steps if isinstance(step, Leg))
    for network_id in ids:
        if not objects.network_is_up(tx, network_id):
            return Finding(
                "NETWORK_DOWN",
                "The network was administratively shut.",
                Ref(kind="network", id=network_id),
                f"openstack network set --enable {network_id}",
                step=0,
            )
    return None


def _ports(tx: Tx, path: Path) -> Finding | None:
    """A port that its host could not realise says why itself."""
    for number, step in enumerate(path.steps):
        spots = (step.sender, step.receiver) if isinstance(step, Leg) else ()
        for spot in spots:
            if spot.port is None:
                continue
            stands = objects.standings(tx, [("port", spot.port.key)]).get(("port", spot.port.key))
            if stands is not None and stands.status == "ERROR":
                return Finding(
                    "PORT_NOT_REALISED",
                    f"Host {spot.host} could not realise the port: {stands.reason or 'it does not say why'}.",
                    Ref(kind="port", id=spot.port.key, host=spot.host),
                    f"openstack port show {spot.port.key}",
                    step=number,
                )
    return None


def seen_from_outside(world: World, end: End) -> End | Finding:
    """From outside an instance is known by its floating IP, unless it is on an external network itself."""
    assert end.port is not None
    if end.network_id in world.external or end.router_id or ":" in end.address:
        return end
    for fact in world.floating.values():
        if fact.port_id == end.port.key and fact.fixed_ip_address == end.address:
            return replace(end, address=fact.address)
    return Finding(
        "FIP_UNASSOCIATED",
        f"{end.address} is known inside only: the port has no floating IP.",
        Ref(kind="port", id=end.port.key, host=end.host),
        f"openstack server add floating ip {end.port.device_id} ADDRESS",
    )


def own_name(world: World, end: End) -> str:
    """A name that the network's name server must know: that of the port itself."""
    assert end.port is not None
    for host, network in world.dhcp_networks(end.network_id):
        entry = world.item(host, "dhcp_host", end.port.key)
        name = getattr(entry, "hostname", "")
        if name:
            return f"{name}.{network.dns_domain}" if network.dns_domain else str(name)
    return "localhost"


def changes(tx: Tx, explanation: Explanation, since_us: int) -> list[Change]:
    """What was announced of the objects on the path since a time, oldest first."""
    refs = {ref.id: ref for hop in explanation.hops for ref in hop.objects if ref.id}
    for ref in (explanation.source, explanation.destination, explanation.verdict.culprit):
        if ref is not None and ref.id:
            refs.setdefault(ref.id, ref)
    ids = [(ref.kind, ref.id) for ref in refs.values()]
    ids += [
        ("security_group", one) for one in objects.groups_of_ports(tx, [i for k, i in ids if k == "port"])
    ]
    known = {object_id for _, object_id in ids}
    found = []
    for one in record.changes(tx, known, since_us) if known else ():
        ref = refs.get(one.object_id, Ref(kind=OBJECTS.get(one.kind, one.kind), id=one.object_id))
        what = one.action or f"{one.kind} changed"
        found.append(
            Change(at=iso_seconds(one.at) or "", object=ref, what=what, by=one.by, request_id=one.request_id)
        )
    return sorted([*found, *_drifts(tx, refs, since_us)], key=lambda one: one.at)


def _drifts(tx: Tx, refs: Mapping[str, Ref], since_us: int) -> list[Change]:
    """Differences on hosts that the doctor saw at things of these objects: nobody asked the API for them."""
    found = []
    for row in record.observations(tx, since_us, "drift"):
        # Names in the kernel carry a whole id, or its first eleven characters.
        ref = next((ref for key, ref in refs.items() if key in row.subject or key[:11] in row.subject), None)
        if ref is not None:
            what = f"seen on {row.host}: {row.body['sentence']}"
            found.append(Change(at=iso_seconds(row.observed_at) or "", object=ref, what=what))
    return found


# -- names -----------------------------------------------------------------------------------------

OBJECTS = {"dhcp_host": "port", "dhcp_network": "network", "instance": "server"}


def named(tx: Tx, said: Verdict) -> Verdict:
    """With the culprit's name, and who changed it when, as far as that is known."""
    culprit = said.culprit
    if culprit is None or not culprit.id:
        return said
    kind = OBJECTS.get(culprit.kind, culprit.kind)
    stands = objects.standings(tx, [(kind, culprit.id)]).get((kind, culprit.id))
    if stands is None:
        return said
    by = ", ".join(filter(None, (stands.changed_by, stands.request_id and f"request {stands.request_id}")))
    return with_fields(
        said,
        culprit=with_fields(culprit, name=culprit.name or stands.name, kind=kind),
        changed_by=by,
        changed_at=iso_seconds(stands.changed_at) or "" if stands.changed_at else "",
    )


def named_hop(tx: Tx, hop: Hop) -> Hop:
    stands = objects.standings(tx, [(ref.kind, ref.id) for ref in hop.objects if ref.id])
    if not stands:
        return hop
    return with_fields(
        hop,
        objects=[
            with_fields(ref, name=stands[ref.kind, ref.id].name) if (ref.kind, ref.id) in stands else ref
            for ref in hop.objects
        ],
    )
