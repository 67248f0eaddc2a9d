"""One module per inference engine, each imported only when used."""
