"""Each script answers one question about the package; `README.md` says which."""
