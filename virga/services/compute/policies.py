"""Who may do what: Nova's default rules, by the role they ask for."""

from __future__ import annotations

ADMIN = "role:admin"
MANAGER = "(role:manager and project_id:%(project_id)s) or role:admin"
MEMBER = "(role:member and project_id:%(project_id)s) or role:admin"
READER = "(role:reader and project_id:%(project_id)s) or role:admin"
SERVICE = "role:service or role:admin"
OWN_USER = "role:admin or user_id:%(user_id)s"

_ADMIN = """
os-admin-actions:reset_state os-admin-actions:inject_network_info os-aggregates:set_metadata
os-aggregates:add_host os-aggregates:create os-aggregates:remove_host os-aggregates:update
os-aggregates:index os-aggregates:delete os-aggregates:show os-availability-zone:detail
os-baremetal-nodes:list os-baremetal-nodes:show os-console-auth-tokens os-evacuate
os-extended-server-attributes os-flavor-access:add_tenant_access os-flavor-access:remove_tenant_access
os-flavor-access os-flavor-extra-specs:create os-flavor-extra-specs:update os-flavor-extra-specs:delete
os-flavor-manage:create os-flavor-manage:update os-flavor-manage:delete os-hosts:list os-hosts:show
os-hosts:update os-hosts:reboot os-hosts:shutdown os-hosts:start os-hypervisors:list
os-hypervisors:list-detail os-hypervisors:statistics os-hypervisors:show os-hypervisors:uptime
os-hypervisors:search os-hypervisors:servers os-instance-actions:events:details os-instance-actions:events
os-instance-usage-audit-log:list os-instance-usage-audit-log:show limits:other_project
os-lock-server:unlock:unlock_override os-migrate-server:migrate:host os-migrate-server:migrate_live:host
os-migrations:index:all_projects os-migrations:index:host os-quota-class-sets:show
os-quota-class-sets:update os-quota-sets:update os-quota-sets:delete os-server-diagnostics
os-server-groups:index:all_projects servers:index:get_all_tenants servers:detail:get_all_tenants
servers:allow_all_filters servers:show:host_status servers:show:host_status:unknown-only
servers:create:forced_host servers:create:zero_disk_flavor servers:create:attach_external_network
servers:migrations:show servers:migrations:index:host os-services:list os-services:update
os-services:delete os-shelve:unshelve_to_host os-shelve:shelve_offload os-simple-tenant-usage:list
"""
_MANAGER = """
os-migrate-server:migrate os-migrate-server:migrate_live os-migrations:index
servers:migrations:force_complete servers:migrations:delete servers:migrations:index
"""
_MEMBER = """
os-admin-password os-attach-interfaces:create os-attach-interfaces:delete os-console-output
os-create-backup os-deferred-delete:restore os-deferred-delete:force os-floating-ips:add
os-floating-ips:remove os-floating-ips:create os-floating-ips:delete os-lock-server:lock
os-lock-server:unlock os-multinic:add os-multinic:remove os-pause-server:pause os-pause-server:unpause
os-remote-consoles os-rescue os-unrescue os-security-groups:create os-security-groups:update
os-security-groups:delete os-security-groups:rule:create os-security-groups:rule:delete
os-security-groups:add os-security-groups:remove os-server-groups:create os-server-groups:delete
server-metadata:create server-metadata:update_all server-metadata:update server-metadata:delete
os-server-password:clear os-server-shares:create os-server-shares:delete os-server-tags:delete_all
os-server-tags:update_all os-server-tags:delete os-server-tags:update servers:create
servers:create:attach_volume servers:create:attach_network servers:create:trusted_certs servers:delete
servers:update servers:confirm_resize servers:revert_resize servers:reboot servers:resize servers:rebuild
servers:rebuild:trusted_certs servers:create_image servers:create_image:allow_volume_backed servers:start
servers:stop servers:trigger_crash_dump os-shelve:shelve os-shelve:unshelve os-suspend-server:resume
os-suspend-server:suspend os-volumes:create os-volumes:delete os-volumes:snapshots:create
os-volumes:snapshots:delete os-volumes-attachments:create os-volumes-attachments:update
os-volumes-attachments:delete
"""
_READER = """
os-attach-interfaces:list os-attach-interfaces:show os-flavor-extra-specs:show
os-flavor-extra-specs:index os-floating-ips:list os-floating-ips:show os-instance-actions:list
os-instance-actions:show ips:show ips:index os-networks:list os-networks:show os-quota-sets:show
os-quota-sets:detail os-security-groups:get os-security-groups:show os-security-groups:list
os-server-groups:index os-server-groups:show server-metadata:index server-metadata:show
os-server-password:show os-server-shares:index os-server-shares:show os-server-tags:index
os-server-tags:show servers:index servers:detail servers:show servers:show:flavor-extra-specs
os-simple-tenant-usage:show os-tenant-networks:list os-tenant-networks:show os-volumes:list
os-volumes:detail os-volumes:show os-volumes:snapshots:list os-volumes:snapshots:detail
os-volumes:snapshots:show os-volumes-attachments:index os-volumes-attachments:show
"""
_ANYONE = "os-availability-zone:list extensions os-floating-ip-pools limits os-quota-sets:defaults"
_SERVICE = """
os-assisted-volume-snapshots:create os-assisted-volume-snapshots:delete
os-server-external-events:create os-volumes-attachments:swap
"""
_USER = "os-keypairs:index os-keypairs:create os-keypairs:delete os-keypairs:show"


def _rules() -> dict[str, str]:
    groups = (
        (_ADMIN, ADMIN),
        (_MANAGER, MANAGER),
        (_MEMBER, MEMBER),
        (_READER, READER),
        (_ANYONE, "@"),
        (_SERVICE, SERVICE),
        (_USER, OWN_USER),
    )
    found = {f"os_compute_api:{name}": rule for names, rule in groups for name in names.split()}
    return found | {
        "compute:aggregates:images": ADMIN,
        "compute:server:topology:index": READER,
        "compute:server:topology:host:index": ADMIN,
        "compute:servers:create:requested_destination": ADMIN,
        "network:attach_external_network": ADMIN,
    }


POLICIES = _rules()
