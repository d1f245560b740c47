"""Who may do what in the Image service by default: OpenStack's rules of today."""

from __future__ import annotations

ADMIN = "rule:image_admin"
_MEMBER = "role:member and project_id:%(project_id)s"
_READER = "role:reader and project_id:%(project_id)s"
_SEEN = "project_id:%(project_id)s or project_id:%(member_id)s or 'community':%(visibility)s or 'public':%(visibility)s"
_SEES = f"({_SEEN} or 'shared':%(visibility)s)"
ADMIN_OR_MEMBER = f"{ADMIN} or ({_MEMBER})"
ADMIN_OR_READER = f"{ADMIN} or ({_READER})"
ADMIN_OR_READER_OR_SHARED = (
    f"{ADMIN} or role:reader and (project_id:%(project_id)s or project_id:%(member_id)s)"
)

_READS_NAMESPACE = f"{ADMIN} or (role:reader and (project_id:%(project_id)s or 'public':%(visibility)s))"
_METADEF_READ = (
    *(
        "namespace",
        "namespaces",
        "object",
        "objects",
        "property",
        "properties",
        "tag",
        "tags",
        "resource_type",
    ),
)
_METADEF_CHANGE = (
    *("modify_metadef_namespace", "add_metadef_namespace", "delete_metadef_namespace"),
    *("modify_metadef_object", "add_metadef_object", "delete_metadef_object"),
    *("modify_metadef_property", "add_metadef_property", "remove_metadef_property"),
    *("modify_metadef_tag", "add_metadef_tag", "add_metadef_tags", "delete_metadef_tag"),
    *("add_metadef_resource_type_association", "remove_metadef_resource_type_association"),
)

POLICIES = {
    "image_admin": "role:admin",
    "image_service": "role:service or role:admin",
    "add_image": f"{ADMIN} or ({_MEMBER} and project_id:%(owner)s)",
    "delete_image": ADMIN_OR_MEMBER,
    "get_image": f"{ADMIN} or (role:reader and {_SEES})",
    "get_images": ADMIN_OR_READER,
    "modify_image": ADMIN_OR_MEMBER,
    "publicize_image": ADMIN,
    "communitize_image": ADMIN_OR_MEMBER,
    "download_image": f"{ADMIN} or (role:member and {_SEES})",
    "upload_image": ADMIN_OR_MEMBER,
    "delete_image_location": ADMIN,
    "get_image_location": ADMIN_OR_READER,
    "set_image_location": ADMIN_OR_MEMBER,
    "add_image_location": f"rule:image_service or ({_MEMBER} and project_id:%(owner)s)",
    "fetch_image_location": "rule:image_service",
    "add_member": ADMIN_OR_MEMBER,
    "delete_member": ADMIN_OR_MEMBER,
    "get_member": ADMIN_OR_READER_OR_SHARED,
    "get_members": ADMIN_OR_READER_OR_SHARED,
    "modify_member": f"{ADMIN} or (role:member and project_id:%(member_id)s)",
    "deactivate": ADMIN_OR_MEMBER,
    "reactivate": ADMIN_OR_MEMBER,
    "copy_image": ADMIN,
    "manage_image_cache": ADMIN,
    "stores_info_detail": ADMIN,
    "tasks_api_access": ADMIN,
    **{f"get_metadef_{name}": _READS_NAMESPACE for name in _METADEF_READ},
    "list_metadef_resource_types": _READS_NAMESPACE,
    **dict.fromkeys(_METADEF_CHANGE, ADMIN),
}
