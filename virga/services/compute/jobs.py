"""The durable jobs of Compute by name."""

from __future__ import annotations

from virga.api.jobs import Job
from virga.services.compute import build, server_delete
from virga.services.compute.jobs_arguments import ServerJob

JOBS: dict[str, Job] = {
    "compute.build": Job(build.build, ServerJob),
    "compute.delete": Job(server_delete.watch, ServerJob),
}
