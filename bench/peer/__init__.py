"""A real OpenStack Neutron beside Virga: installed in a directory of its own, started, loaded by the same script, ended."""
