"""What the Network API says when it refuses: type names, statuses and sentences as Neutron has them."""

from __future__ import annotations

from typing import Any

from virga.api.faults import Fault


class Refusal(Fault):
    """Base: a sentence with named gaps."""

    sentence = ""

    def __init__(self, **gaps: Any) -> None:
        super().__init__(self.sentence.format(**gaps))


def refusal(name: str, status: int, sentence: str) -> type[Refusal]:
    """A fault class of this type name."""
    return type(name, (Refusal,), {"status": status, "type": name, "sentence": sentence})


def _missing(name: str, what: str) -> type[Refusal]:
    return refusal(name, 404, what + " {id} could not be found.")


NetworkNotFound = _missing("NetworkNotFound", "Network")
SubnetNotFound = _missing("SubnetNotFound", "Subnet")
PortNotFound = _missing("PortNotFound", "Port")
SubnetPoolNotFound = _missing("SubnetPoolNotFound", "Subnet pool")
AddressScopeNotFound = _missing("AddressScopeNotFound", "Address scope")
AddressGroupNotFound = _missing("AddressGroupNotFound", "Address group")
RouterNotFound = refusal("RouterNotFound", 404, "Router {id} could not be found")
FloatingIPNotFound = refusal("FloatingIPNotFound", 404, "Floating IP {id} could not be found")
SecurityGroupNotFound = refusal("SecurityGroupNotFound", 404, "Security group {id} does not exist")
SecurityGroupRuleNotFound = refusal(
    "SecurityGroupRuleNotFound", 404, "Security group rule {id} does not exist"
)
DefaultRuleNotFound = refusal(
    "DefaultSecurityGroupRuleNotFound", 404, "Default Security Group rule {id} does not exist."
)
AgentNotFound = refusal("AgentNotFound", 404, "Agent {id} could not be found.")
RbacPolicyNotFound = refusal(
    "RbacPolicyNotFound", 404, "RBAC policy of type {object_type} with ID {id} not found"
)
PortForwardingNotFound = _missing("PortForwardingNotFound", "Port Forwarding")
TrunkNotFound = _missing("TrunkNotFound", "Trunk")
SubPortNotFound = refusal(
    "SubPortNotFound", 404, "SubPort on trunk {trunk_id} with parent port {port_id} could not be found."
)
SegmentNotFound = _missing("SegmentNotFound", "Segment")
NetworkIdsDontMatch = refusal(
    "NetworkIdsDontMatch",
    400,
    "The subnet's network id, '{subnet_network}', doesn't match the network_id of segment '{segment_id}'",
)
SubnetSegmentAssociationChangeNotAllowed = refusal(
    "SubnetSegmentAssociationChangeNotAllowed",
    409,
    "A subnet that is already associated with a segment cannot have its segment association changed from "
    "'{current_segment}' to '{new_segment}'",
)
SegmentRangeNotFound = refusal(
    "NetworkSegmentRangeNotFound", 404, "Network Segment Range {id} could not be found."
)
ExtensionNotFound = refusal("HTTPNotFound", 404, "Extension with alias {id} does not exist")
ResourceNotFound = refusal("HTTPNotFound", 404, "The resource could not be found.")
QuotaResourceUnknown = refusal("QuotaResourceUnknown", 404, "Unknown quota resources {unknown}.")
TenantQuotaNotFound = refusal("TenantQuotaNotFound", 404, "Quota for tenant {id} could not be found.")

InvalidInput = refusal("InvalidInput", 400, "Invalid input for operation: {reason}.")
HTTPBadRequest = refusal("HTTPBadRequest", 400, "{reason}")
BadRequest = refusal("BadRequest", 400, "Bad {resource} request: {reason}.")
OverQuota = refusal("OverQuota", 409, "Quota exceeded for resources: {overs}.")

NetworkInUse = refusal(
    "NetworkInUse",
    409,
    "Unable to complete operation on network {id}. There are one or more ports still in use on the network, "
    "id for these ports is: {ports}.",
)
SubnetInUse = refusal("SubnetInUse", 409, "Unable to complete operation on subnet {id}: {reason}")
SubnetPoolInUse = refusal(
    "SubnetPoolInUse", 409, "Unable to complete operation on subnet pool {id}. Subnet pool is in use."
)
SubnetPoolDeleteError = refusal(
    "SubnetPoolDeleteError", 409, "Unable to delete subnet pool: Subnet pool has existing allocations."
)
PortInUse = refusal(
    "PortInUse",
    409,
    "Unable to complete operation on port {port_id} for network {net_id}. Port already has an attached device "
    "{device_id}.",
)
ServicePortInUse = refusal(
    "ServicePortInUse", 409, "Port {id} cannot be deleted directly via the port API: {reason}."
)
MacAddressInUse = refusal(
    "MacAddressInUse",
    409,
    "Unable to complete operation for network {net_id}. The mac address {mac} is in use.",
)
NetworkMTUSubnetConflict = refusal(
    "NetworkMTUSubnetConflict",
    409,
    "The MTU {mtu} of network {id} is less than the minimum {least} for its IPv{version} subnets.",
)
IpAddressAlreadyAllocated = refusal(
    "IpAddressAlreadyAllocated", 409, "IP address {ip} already allocated in subnet {subnet_id}"
)
IpAddressGenerationFailure = refusal(
    "IpAddressGenerationFailure", 409, "No more IP addresses available on network {net_id}."
)
InvalidIpForSubnet = refusal(
    "InvalidIpForSubnet", 400, "IP address {ip} is not a valid IP for the specified subnet."
)
InvalidIpForNetwork = refusal(
    "InvalidIpForNetwork",
    400,
    "IP address {ip} is not a valid IP for any of the subnets on the specified network.",
)
NoNetworkAvailable = refusal(
    "NoNetworkAvailable", 503, "Unable to create the network. No tenant network is available for allocation."
)
VlanIdInUse = refusal(
    "VlanIdInUse",
    409,
    "Unable to create the network. The VLAN {segmentation_id} on physical network {physical_network} is in use.",
)
TunnelIdInUse = refusal(
    "TunnelIdInUse", 409, "Unable to create the network. The tunnel ID {segmentation_id} is in use."
)
FlatNetworkInUse = refusal(
    "FlatNetworkInUse",
    409,
    "Unable to create the flat network. Physical network {physical_network} is in use.",
)
InvalidSharedSetting = refusal(
    "InvalidSharedSetting",
    409,
    "Unable to reconfigure sharing settings for network {network}. Multiple projects are using it.",
)
ExternalNetworkInUse = refusal(
    "ExternalNetworkInUse",
    409,
    "External network {id} cannot be updated to be made non-external, since it has existing gateway ports.",
)
GatewayConflictWithAllocationPools = refusal(
    "GatewayConflictWithAllocationPools", 409, "Gateway ip {ip} conflicts with allocation pool {pool}."
)
GatewayIpInUse = refusal(
    "GatewayIpInUse",
    409,
    "Current gateway ip {ip} already in use by port {port_id}. Unable to update.",
)
InvalidAllocationPool = refusal("InvalidAllocationPool", 400, "The allocation pool {pool} is not valid.")
OutOfBoundsAllocationPool = refusal(
    "OutOfBoundsAllocationPool", 400, "The allocation pool {pool} spans beyond the subnet cidr {cidr}."
)
OverlappingAllocationPools = refusal(
    "OverlappingAllocationPools",
    409,
    "Found overlapping allocation pools: {pool_1} {pool_2} for subnet {cidr}.",
)
HostRoutesExhausted = refusal(
    "HostRoutesExhausted",
    400,
    "Unable to complete operation for {id}. The number of host routes exceeds the limit {quota}.",
)
DNSNameServersExhausted = refusal(
    "DNSNameServersExhausted",
    400,
    "Unable to complete operation for {id}. The number of DNS nameservers exceeds the limit {quota}.",
)
SubnetAllocationError = refusal("SubnetAllocationError", 409, "Failed to allocate subnet: {reason}.")
SubnetPoolQuotaExceeded = refusal(
    "SubnetPoolQuotaExceeded", 409, "Per-project subnet pool prefix quota exceeded."
)
MinPrefixSubnetAllocationError = refusal(
    "MinPrefixSubnetAllocationError",
    400,
    "Unable to allocate subnet with prefix length {prefixlen}, minimum allowed prefix is {bound}.",
)
MaxPrefixSubnetAllocationError = refusal(
    "MaxPrefixSubnetAllocationError",
    400,
    "Unable to allocate subnet with prefix length {prefixlen}, maximum allowed prefix is {bound}.",
)
IllegalSubnetPoolPrefixBounds = refusal(
    "IllegalSubnetPoolPrefixBounds",
    400,
    "Illegal prefix bounds: {prefix_type}={prefixlen}, {base_prefix_type}={base_prefixlen}.",
)
IllegalSubnetPoolUpdate = refusal("IllegalSubnetPoolUpdate", 400, "Illegal subnetpool update : {reason}.")
IllegalSubnetPoolAssociation = refusal(
    "IllegalSubnetPoolAssociationToAddressScope",
    400,
    "Illegal subnetpool association: subnetpool {pool_id}  cannot be associated with address scope {scope_id}.",
)
IllegalSubnetPoolIpVersion = refusal(
    "IllegalSubnetPoolIpVersionAssociationToAddressScope",
    400,
    "Illegal subnetpool association: subnetpool {pool_id} cannot associate with address scope {scope_id} because "
    "subnetpool ip_version is not {ip_version}.",
)
AddressScopePrefixConflict = refusal(
    "AddressScopePrefixConflict",
    409,
    "Failed to associate address scope: subnetpools within an address scope must have unique prefixes.",
)
AddressScopeInUse = refusal(
    "AddressScopeInUse",
    409,
    "Unable to complete operation on address scope {id}. There are one or more subnet pools in use on the "
    "address scope.",
)
NetworkSubnetPoolAffinityError = refusal(
    "NetworkSubnetPoolAffinityError",
    400,
    "Subnets hosted on the same network must be allocated from the same subnet pool.",
)
NetworkAddressScopeAffinityError = refusal(
    "NetworkAddressScopeAffinityError",
    409,
    "Subnets of the same address family hosted on the same network must all be allocated from the same "
    "subnet pool or address scope.",
)
PortSecurityAndIPRequired = refusal(
    "PortSecurityAndIPRequiredForSecurityGroups",
    400,
    "Port security must be enabled and port must have an IP address in order to use security groups.",
)
PortSecurityPortHasSecurityGroup = refusal(
    "PortSecurityPortHasSecurityGroup",
    409,
    "Port has security group associated. Cannot disable port security or IP address until security group is removed.",
)
AddressPairAndPortSecurityRequired = refusal(
    "AddressPairAndPortSecurityRequired",
    409,
    "Port Security must be enabled in order to have allowed address pairs on a port.",
)
DeviceIDNotOwnedByTenant = refusal(
    "DeviceIDNotOwnedByTenant",
    409,
    "The following device_id {device_id} is not owned by your tenant or matches another tenants router.",
)
PortBound = refusal(
    "PortBound",
    409,
    "Unable to complete operation on port {port_id}, port is already bound, port type: {vif_type}, old_mac "
    "{old_mac}, new_mac {new_mac}.",
)
RbacPolicyInUse = refusal(
    "RbacPolicyInUse",
    409,
    "RBAC policy on object {object_id} cannot be removed because other objects depend on it.\nDetails: {details}",
)
DuplicateRbac = refusal(
    "NeutronDbObjectDuplicateEntry",
    409,
    "Failed to create a duplicate {object_type}: for attribute(s) {attributes} with value(s) {values}",
)
