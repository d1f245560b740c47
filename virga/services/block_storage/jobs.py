"""The durable jobs of Block Storage by name."""

from __future__ import annotations

from virga.api.jobs import Job
from virga.services.block_storage import backup_work, manage, upload, work
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
    "volume.manage": Job(manage.manage, VolumeJob),
    "volume.unmanage": Job(manage.unmanage, VolumeJob),
    "volume.manage_snapshot": Job(manage.manage_snapshot, VolumeJob),
    "volume.unmanage_snapshot": Job(manage.unmanage_snapshot, VolumeJob),
    "volume.upload": Job(upload.job, VolumeJob),
}
