"""`virga explain`: why a packet arrives, or what stops it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from virga.cli.options import existing_cloud, state_dir_option

SIGNS = {"ok": "✓", "stopped": "✗", "missing": "·", "unknown": "?", "skipped": "-"}
EXIT_UNKNOWN = 2


@click.command()
@state_dir_option
@click.argument("source")
@click.argument("destination")
@click.argument("traffic", default="icmp")
@click.option("--json", "as_json", is_flag=True, help="Print the whole answer as JSON.")
@click.option("--no-probe", is_flag=True, help="Send nothing: only compare what is meant with what is there.")
@click.option("-6", "--ipv6", "six", is_flag=True, help="Ask about IPv6.")
@click.option("--from", "source_address", default="", help="Source address, when it is not the port's own.")
@click.option("--src-port", type=int, default=0, help="Source port.")
@click.option(
    "--since", default="", help="Tell also what changed on the path since then: 10:02, or a date and time."
)
@click.option("--project", type=click.Choice(["admin", "demo"]), default="admin", help="As whom to ask.")
@click.option("-v", "--verbose", is_flag=True, help="Show flows, rules and frames of each hop.")
def explain(
    state_dir: Path | None,
    source: str,
    destination: str,
    traffic: str,
    as_json: bool,
    no_probe: bool,
    six: bool,
    source_address: str,
    src_port: int,
    since: str,
    project: str,
    verbose: bool,
) -> None:
    """Say whether TRAFFIC (icmp, tcp/PORT, udp/PORT) gets from SOURCE to DESTINATION and back, and what stops it.

    An end is an instance, port, router or address, or `outside`; a destination may be `dhcp`, `metadata` or
    `dns`, too. Exit status: 0 it gets there, 1 it does not, 2 it cannot be told or the question is wrong.
    """
    from virga.lab import credentials
    from virga.lab.wire import Wire, WireError

    cloud = existing_cloud(state_dir)
    account = next(a for a in credentials.accounts(cloud.settings) if a.project == project)
    body: dict[str, Any] = {
        "source": source,
        "destination": destination,
        "traffic": traffic,
        "source_address": source_address,
        "source_port": src_port,
        "probe": not no_probe,
        "since": _moment(since),
    }
    if six:
        body["ip_version"] = 6
    try:
        answer = Wire(cloud.settings, account).post("/v1/explain", body)
    except WireError as error:
        click.echo(f"Error: {_said(str(error))}", err=True)
        raise SystemExit(EXIT_UNKNOWN) from None
    explanation = answer["explanation"]
    if as_json:
        click.echo(json.dumps(explanation, indent=2))
    else:
        _print(explanation, verbose)
    raise SystemExit({True: 0, False: 1}.get(explanation["verdict"].get("reachable"), EXIT_UNKNOWN))


def _moment(text: str) -> str:
    """``10:02`` is that time of today, here; anything else goes as it is."""
    import datetime

    try:
        clock = datetime.time.fromisoformat(text)
    except ValueError:
        return text
    return datetime.datetime.combine(datetime.date.today(), clock).astimezone().isoformat() if text else ""


def _said(text: str) -> str:
    """The message inside the API's answer."""
    start = text.find("{")
    try:
        return str(json.loads(text[start:])["error"]["message"]) if start >= 0 else text
    except (ValueError, KeyError, TypeError):
        return text


def _print(explanation: dict[str, Any], verbose: bool) -> None:
    for way, title in (("there", "There"), ("back", "Back")):
        rows = _told([hop for hop in explanation.get("hops", []) if hop["direction"] == way])
        if rows:
            click.echo(title)
            _table(rows, verbose)
    verdict = explanation["verdict"]
    culprit = verdict.get("culprit")
    click.echo(f"\n{verdict['code']}  {verdict['sentence']}")
    if culprit:
        name = " ".join(
            part for part in (culprit["kind"], culprit.get("name", ""), culprit.get("id", "")) if part
        )
        click.echo(f"  culprit   {name}" + (f" on {culprit['host']}" if culprit.get("host") else ""))
    if verdict.get("changed_at"):
        click.echo(f"  changed   {verdict['changed_at']} {verdict.get('changed_by', '')}".rstrip())
    for line in verdict.get("evidence", []):
        click.echo(f"  evidence  {line}")
    if verdict.get("mend"):
        click.echo(f"  mend      {verdict['mend']}")
    for change in explanation.get("changes", []):
        thing = " ".join(
            part for part in (change["object"]["kind"], change["object"].get("name", "")) if part
        )
        by = f"by {change['by']} " if change.get("by") else ""
        click.echo(f"  {change['at']}  {thing}: {change['what']} {by}{change.get('request_id', '')}".rstrip())


def _told(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Up to the last hop of which there is something to say."""
    columns = ("expected", "realised", "observed")
    states = [{hop[column].get("state", "skipped") for column in columns} for hop in rows]
    last = max((n for n, found in enumerate(states) if found & {"ok", "stopped", "unknown"}), default=-1)
    return rows[: last + 1]


def _table(rows: list[dict[str, Any]], verbose: bool) -> None:
    click.echo(f"  {'HOST':<7} {'HOP':<24} {'MEANT':<34} {'THERE':<22} SEEN")
    for hop in rows:
        cells = [
            _cell(hop[name], width) for name, width in (("expected", 34), ("realised", 22), ("observed", 60))
        ]
        kind = hop["kind"] if hop["name"].startswith(hop["kind"]) else f"{hop['kind']} {hop['name']}"
        name = hop["name"] if hop["name"].startswith(hop["kind"]) else kind
        click.echo(f"  {hop['host']:<7} {name[:24]:<24} {cells[0]:<34} {cells[1]:<22} {cells[2]}".rstrip())
        if verbose:
            for column in ("expected", "realised", "observed"):
                for line in hop[column].get("details", []):
                    click.echo(f"            {column:<9} {line}")


def _cell(column: dict[str, Any], width: int) -> str:
    sign = SIGNS[column.get("state", "skipped")]
    return f"{sign} {column.get('text', '')}".rstrip()[:width]
