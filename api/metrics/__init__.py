"""GET /metrics: what the service, its store and the runs of the ETL count, for Prometheus."""
