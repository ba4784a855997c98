"""What `benches/run` measures with: the proxies, the loads, the tables and the drawings."""
