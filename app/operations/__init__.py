"""Files for those who run the gateway: alert rules for Prometheus and a dashboard for Grafana."""
