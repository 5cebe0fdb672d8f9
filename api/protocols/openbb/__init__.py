"""OpenBB Workspace."""
