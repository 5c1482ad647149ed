"""The server of `halnet serve`: photos or crops come by HTTP, and ages are answered."""
