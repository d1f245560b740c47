"""The durable jobs of Block Storage by name."""

from __future__ import annotations

from virga.api.jobs import Job
from virga.services.block_storage import backup_work, upload, work
from virga.services.block_storage.jobs_arguments import VolumeJob

JOBS: dict[str, Job] = {
    "volume.create": Job(work.create, VolumeJob),
    "volume.delete": Job(work.delete, VolumeJob),
    "volume.extend": Job(work.extend, VolumeJob),
    "volume.snapshot_create": Job(work.snapshot_create, VolumeJob),
    "volume.snapshot_delete": Job(work.snapshot_delete, VolumeJob),
    "volume.revert": Job(work.revert, VolumeJob),
    "volume.backup": Job(backup_work.make, VolumeJob),
    "volume.backup_delete": Job(backup_work.drop, VolumeJob),
    "volume.restore": Job(backup_work.restore, VolumeJob),
    "volume.upload": Job(upload.job, VolumeJob),
}
