"""Who may do what: Cinder's default rules, by the role they ask for."""

from __future__ import annotations

ADMIN = "role:admin"
MEMBER = "(role:member and project_id:%(project_id)s) or role:admin"
READER = "(role:reader and project_id:%(project_id)s) or role:admin"

_ADMIN = """
volume:force_delete volume_extension:volume_admin_actions:force_delete
volume_extension:volume_admin_actions:reset_status volume_extension:volume_admin_actions:force_detach
volume_extension:volume_admin_actions:migrate_volume
volume_extension:snapshot_admin_actions:reset_status volume_extension:snapshot_admin_actions:force_delete
volume_extension:backup_admin_actions:reset_status volume_extension:backup_admin_actions:force_delete
volume_extension:volume_host_attribute volume_extension:volume_mig_status_attribute
volume_extension:types_manage volume_extension:type_create volume_extension:type_update
volume_extension:type_delete volume_extension:types_extra_specs:create
volume_extension:types_extra_specs:update volume_extension:types_extra_specs:delete
volume_extension:volume_type_access:addProjectAccess volume_extension:volume_type_access:removeProjectAccess
volume_extension:volume_type_access:get_all_for_type volume_extension:qos_specs_manage:create
volume_extension:qos_specs_manage:get volume_extension:qos_specs_manage:get_all
volume_extension:qos_specs_manage:update volume_extension:qos_specs_manage:delete
volume_extension:default_set_or_update volume_extension:default_get volume_extension:default_get_all
volume_extension:default_unset volume_extension:quotas:update volume_extension:quotas:delete
volume_extension:quota_classes:get volume_extension:quota_classes:update
volume_extension:services:index volume_extension:services:update volume_extension:hosts
scheduler_extension:scheduler_stats:get_pools volume_extension:capabilities
backup:backup_project_attribute backup:get_project_attribute volume:get_all_transfers_of_all_projects
volume_extension:types_extra_specs:read_sensitive volume_extension:access_types_qos_specs_id
volume_extension:volume_type_encryption:get volume_extension:volume_type_encryption:create
volume_extension:volume_type_encryption:update volume_extension:volume_type_encryption:delete
backup:export-import backup:backup-import group:group_types_manage group:group_types_specs group:reset_status
group:reset_group_snapshot_status
volume_extension:volume_manage volume_extension:volume_unmanage volume_extension:list_manageable
snapshot_extension:snapshot_manage snapshot_extension:snapshot_unmanage snapshot_extension:list_manageable
"""
_MEMBER = """
volume:create volume:create_from_image volume:update volume:delete volume:extend
volume:extend_attached_volume volume:revert_to_snapshot volume:retype volume:update_readonly_flag
volume:update_volume_metadata volume:create_volume_metadata volume:delete_volume_metadata
volume_extension:volume_image_metadata:set volume_extension:volume_image_metadata:remove
volume_extension:volume_actions:upload_image volume_extension:volume_actions:attach
volume_extension:volume_actions:detach volume_extension:volume_actions:begin_detaching
volume_extension:volume_actions:roll_detaching volume_extension:volume_actions:reserve
volume_extension:volume_actions:unreserve volume_extension:volume_actions:initialize_connection
volume_extension:volume_actions:terminate_connection volume_extension:volume_actions:set_bootable
volume:create_snapshot volume:update_snapshot volume:delete_snapshot volume:update_snapshot_metadata
volume:delete_snapshot_metadata snapshot_extension:snapshot_actions:update_snapshot_status
volume:attachment_create volume:attachment_update volume:attachment_delete volume:attachment_complete
volume:create_transfer volume:accept_transfer volume:delete_transfer
group:create group:update group:delete group:create_group_snapshot group:delete_group_snapshot
backup:create backup:update backup:delete backup:restore message:delete volume:multiattach
"""
_READER = """
volume:get volume:get_all volume:get_volume_metadata volume_extension:volume_image_metadata:show
volume_extension:volume_tenant_attribute volume:get_snapshot volume:get_all_snapshots
volume:get_snapshot_metadata volume_extension:extended_snapshot_attributes
group:get group:get_all group:get_group_snapshot group:get_all_group_snapshots
volume:get_transfer volume:get_all_transfers backup:get backup:get_all
volume_extension:quotas:show limits_extension:used_limits message:get message:get_all
volume_extension:volume_encryption_metadata
"""
_ANYONE = """
group:group_types_read volume_extension:type_get volume_extension:type_get_all volume_extension:types_extra_specs:index
volume_extension:types_extra_specs:show volume_extension:access_types_extra_specs
volume_extension:list_extensions volume:availability_zone_list volume:get_limits
volume_extension:volume_type_access
"""


def _rules() -> dict[str, str]:
    groups = ((_ADMIN, ADMIN), (_MEMBER, MEMBER), (_READER, READER), (_ANYONE, "@"))
    return {name: rule for names, rule in groups for name in names.split()}


POLICIES = _rules()
