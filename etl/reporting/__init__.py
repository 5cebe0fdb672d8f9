"""The parts of make report: what is asked of the store, and how it is drawn."""
