"""The second halves of shelve and unshelve: what follows once the host let go, or runs it again."""

from __future__ import annotations

from virga.db.tx import Tx
from virga.services.compute import instance_action, port_allocation, server, states
from virga.services.compute.server import Server
from virga.services.image import image as images
from virga.services.placement import claim


def offloaded(tx: Tx, row: Server) -> None:
    """Nothing of it is left on the host; only its image, ports and volumes remain."""
    claim.release(tx, row.id)
    port_allocation.bind(tx, row.id, None)
    instance_action.finish(tx, row.id, "compute_shelve_offload_instance")
    server.save(
        tx,
        row.id,
        vm_state=states.OFFLOADED,
        task_state=None,
        power_state=states.NOSTATE,
        host=None,
        on_host=False,
        realised="",
    )


def unshelved(tx: Tx, row: Server, status: str) -> None:
    """It runs again."""
    if status != "running":
        return
    instance_action.finish(tx, row.id, "compute_unshelve_instance")
    image = images.find(tx, row.shelved_image_id) if row.shelved_image_id else None
    if image is not None and not image.protected:
        images.remove(tx, image)
    server.save(
        tx, row.id, vm_state=states.ACTIVE, task_state=None, launched_at=tx.now, shelved_image_id=None
    )
