"""Studies: measurements that maintainers run, for the tables in the documents."""
