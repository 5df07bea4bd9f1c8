"""The cluster: nodes, places, storage, jobs, and what Ray loses."""
