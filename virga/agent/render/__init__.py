"""Pure text: rules and configuration files of routers and DHCP, from values to strings and nothing else."""
