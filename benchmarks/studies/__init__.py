"""Studies: measurements that maintainers run by `python -m halnet.benchmarks.studies.NAME`."""
