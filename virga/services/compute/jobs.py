"""The durable jobs of Compute by name."""

from __future__ import annotations

from virga.api.jobs import Job
from virga.services.compute import (
    action_power,
    action_shelve,
    build,
    live_migration,
    resize,
    server_delete,
    snapshot,
    volume_attachment,
)
from virga.services.compute.jobs_arguments import ServerJob

JOBS: dict[str, Job] = {
    "compute.build": Job(build.build, ServerJob),
    "compute.reboot": Job(action_power.reboot_job, ServerJob),
    "compute.snapshot": Job(snapshot.job, ServerJob),
    "compute.resize": Job(resize.job, ServerJob),
    "compute.live_migrate": Job(live_migration.prepare, ServerJob),
    "compute.live_migrate_carry": Job(live_migration.carry, ServerJob),
    "compute.live_migrate_watch": Job(live_migration.watch, ServerJob),
    "compute.unshelve": Job(action_shelve.unshelve_job, ServerJob),
    "compute.attach": Job(build.attach, ServerJob),
    "compute.detach": Job(volume_attachment.detach, ServerJob),
    "compute.delete": Job(server_delete.watch, ServerJob),
}
